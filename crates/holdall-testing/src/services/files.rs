//! Where things lie.
//!
//! Programs and the file of URLs are in `~/.cache/holdall/services`; data is in a
//! temporary folder, which the users that servers run as can enter.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::{Result, system};

fn cache() -> Result<PathBuf> {
    let folder = |name| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    folder("XDG_CACHE_HOME")
        .or_else(|| Some(folder("HOME")?.join(".cache")))
        .map(|cache| cache.join("holdall/services"))
        .ok_or_else(|| "servers need a folder; set HOME or XDG_CACHE_HOME".into())
}

/// Where a package from crates.io is installed, in this version.
///
/// # Errors
/// If there is no home folder.
pub fn bin_folder(package: &str, version: &str) -> Result<PathBuf> {
    Ok(cache()?.join(format!("{package}-{version}")))
}

/// The file that tests read the URLs from, a line `NAME=URL` for each: as a rule
/// `~/.cache/holdall/services/run/urls`, else what `HOLDALL_SERVICES` says.
///
/// # Errors
/// If there is no home folder.
pub fn urls_file() -> Result<PathBuf> {
    match std::env::var_os("HOLDALL_SERVICES").filter(|value| !value.is_empty()) {
        Some(path) => Ok(path.into()),
        None => Ok(cache()?.join("run/urls")),
    }
}

/// All that stands in the file of URLs, in its order; nothing if there is none.
///
/// # Errors
/// If it cannot be read.
pub fn urls() -> Result<Vec<(String, String)>> {
    let path = urls_file()?;
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("cannot read {}: {error}", path.display())),
    };
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    Ok(pairs
        .map(|(name, url)| (name.to_owned(), url.to_owned()))
        .collect())
}

/// The URL of a server that was started, by its name, such as `postgres` or
/// `redis-tls`. It may have ended since; [`need`](super::need) looks.
pub fn url(name: &str) -> Option<String> {
    let all = urls().ok()?;
    all.into_iter()
        .find(|(is, _)| is == name)
        .map(|(_, url)| url)
}

/// Sets the lines of these names; `None` removes one.
pub(super) fn set_urls(changes: &[(&str, Option<String>)]) -> Result {
    let path = urls_file()?;
    let mut all = urls()?;
    for (name, url) in changes {
        all.retain(|(is, _)| is != name);
        all.extend(url.clone().map(|url| ((*name).to_owned(), url)));
    }
    all.sort();
    let text: String = all
        .iter()
        .map(|(name, url)| format!("{name}={url}\n"))
        .collect();
    make_folder(path.parent().unwrap_or(Path::new(".")))?;
    // Readers find the old file or the new one.
    let part = path.with_extension(format!("part-{}", std::process::id()));
    fs::write(&part, text)
        .and_then(|()| fs::rename(&part, &path))
        .map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// The folder of all data: `/tmp/holdall-services-UID`.
pub(super) fn base() -> Result<PathBuf> {
    // A folder of this process, so its user's.
    let me = system::owner(Path::new("/proc/self/")).map_err(|error| {
        format!(
            "servers are started on Linux alone ({error}); elsewhere, name a file with lines \
             NAME=URL of servers of your own in HOLDALL_SERVICES"
        )
    })?;
    let base = PathBuf::from(format!("/tmp/holdall-services-{me}"));
    make_folder(&base)?;
    // Others could lay links in a folder of theirs.
    let is_ours = system::owner(&base).is_ok_and(|owner| owner == me);
    if is_ours && !base.is_symlink() {
        Ok(base)
    } else {
        Err(format!(
            "{} belongs to somebody else; remove it",
            base.display()
        ))
    }
}

/// Removes what all servers share, when none of them is left: certificates, and
/// what private ones could not tidy up.
///
/// # Errors
/// If it cannot be removed.
pub fn clean() -> Result {
    let base = base()?;
    remove_folder(&base.join("certificates"))?;
    remove_folder(&base.join("private"))?;
    let _lock = Lock::wait("urls")?;
    set_urls(&[("ca", None)])
}

/// A folder that others can enter.
pub(super) fn make_folder(path: &Path) -> Result {
    let is_new = !path.exists();
    fs::create_dir_all(path)
        .and_then(|()| {
            if is_new {
                system::permit(path, 0o755)
            } else {
                Ok(())
            }
        })
        .map_err(|error| format!("cannot make {}: {error}", path.display()))
}

pub(super) fn remove_folder(path: &Path) -> Result {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(format!("cannot remove {}: {error}", path.display()))
        }
        _ => Ok(()),
    }
}

pub(super) fn write(path: &Path, text: &str) -> Result {
    fs::write(path, text).map_err(|error| format!("cannot write {}: {error}", path.display()))
}

/// Keeps others from what this names, in all processes, until it is dropped.
pub(super) struct Lock(#[allow(dead_code, reason = "it is held")] File);

impl Lock {
    fn file(name: &str) -> Result<(PathBuf, File)> {
        let folder = base()?.join("locks");
        make_folder(&folder)?;
        let path = folder.join(name);
        let file = File::create(&path)
            .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok((path, file))
    }

    /// Waits for it.
    pub(super) fn wait(name: &str) -> Result<Self> {
        let (path, file) = Self::file(name)?;
        file.lock()
            .map_err(|error| format!("cannot lock {}: {error}", path.display()))?;
        Ok(Self(file))
    }

    /// Takes it if nobody has it.
    pub(super) fn take(name: &str) -> Result<Option<Self>> {
        let (_, file) = Self::file(name)?;
        Ok(file.try_lock().is_ok().then_some(Self(file)))
    }
}
