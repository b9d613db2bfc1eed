//! A file that appears when it is complete, or not at all.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use holdall::Env;

use crate::exit::Failure;

/// Written beside its target, and renamed over it when it is complete and on
/// disk. Dropped before that, it is removed.
pub(crate) struct AtomicFile {
    target: PathBuf,
    /// `None` where the target is no regular file, like a pipe or /dev/null: it
    /// is written as it is.
    temporary: Option<PathBuf>,
    file: File,
}

impl AtomicFile {
    pub(crate) fn create(path: &Path) -> Result<Self, Failure> {
        // Behind a symlink lies the file that is meant.
        let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let found = fs::metadata(&target).ok();
        let fail = |error| Failure::file("write", path, error);
        if found.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(Failure::usage(format!(
                "{:?} is a folder, not a file",
                path.display().to_string()
            )));
        }
        if found.as_ref().is_some_and(|meta| !meta.is_file()) {
            let file = OpenOptions::new().write(true).open(&target).map_err(fail)?;
            return Ok(Self {
                target,
                temporary: None,
                file,
            });
        }
        let Some(name) = target.file_name() else {
            return Err(Failure::usage(format!(
                "{:?} names no file",
                path.display().to_string()
            )));
        };
        // A name of its own, so that two writers do not destroy each other.
        let mut hidden = OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.part", Env::system().version()));
        let temporary = target.with_file_name(hidden);
        let file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&temporary)
            .map_err(fail)?;
        if let Some(meta) = found {
            // A file that is replaced keeps who may read it, as far as we may
            // say so.
            let _ = fs::set_permissions(&temporary, meta.permissions());
        }
        Ok(Self {
            target,
            temporary: Some(temporary),
            file,
        })
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.file
            .write_all(bytes)
            .map_err(|error| Failure::file("write", &self.target, error))
    }

    /// Makes it appear.
    pub(crate) fn finish(mut self) -> Result<(), Failure> {
        let Some(temporary) = self.temporary.clone() else {
            return Ok(());
        };
        self.file
            .sync_all()
            .and_then(|()| fs::rename(&temporary, &self.target))
            .map_err(|error| Failure::file("write", &self.target, error))?;
        self.temporary = None;
        sync_folder(&self.target).map_err(|error| Failure::file("sync", &self.target, error))
    }
}

impl Drop for AtomicFile {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            let _ = fs::remove_file(temporary);
        }
    }
}

/// The rename survives a loss of power.
fn sync_folder(file: &Path) -> io::Result<()> {
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    if cfg!(unix) {
        File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}
