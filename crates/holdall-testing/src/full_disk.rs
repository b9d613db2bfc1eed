//! A disk that gets full, and has room again.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use holdall_core::{
    Batch, CollectionName, Condition, Doc, DynBackend, Env, Error, ErrorKind, Filter, Key, Outcome,
    Put, Result as Answer, Retry, Scope, Version, json,
};

use crate::services::{Private, not_run, private_with};

/// An answer; the error is a sentence.
type Result<T = ()> = std::result::Result<T, String>;

/// A file system of its own, in memory, until it is dropped.
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of so many MiB on an empty folder, which has to exist.
    ///
    /// # Errors
    /// If it cannot be mounted: that needs root.
    pub fn mount(folder: &Path, mebibytes: u64) -> Result<Self> {
        let size = format!("size={mebibytes}m,mode=755");
        let mut mount = Command::new("mount");
        mount
            .args(["-t", "tmpfs", "-o", &size, "tmpfs"])
            .arg(folder);
        said(&mut mount)?;
        Ok(Self(folder.to_owned()))
    }

    fn ballast(&self) -> PathBuf {
        self.0.join("ballast")
    }

    /// Takes all room but so many bytes.
    ///
    /// # Errors
    /// If the room cannot be told, or be taken.
    pub fn leave(&self, bytes: u64) -> Result {
        let mut df = Command::new("df");
        let said = said(df.args(["--output=avail", "-B1"]).arg(&self.0))?;
        let room: Option<u64> = said
            .lines()
            .nth(1)
            .and_then(|line| line.trim().parse().ok());
        let room = room.ok_or_else(|| format!("df says {said:?}"))?;
        let taken = usize::try_from(room.saturating_sub(bytes)).unwrap_or(0);
        std::fs::write(self.ballast(), vec![0; taken])
            .map_err(|error| format!("cannot take room: {error}"))
    }

    /// Gives it back.
    ///
    /// # Errors
    /// If none was taken.
    pub fn free(&self) -> Result {
        std::fs::remove_file(self.ballast()).map_err(|error| format!("cannot give room: {error}"))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _tidied = said(Command::new("umount").arg("-l").arg(&self.0));
    }
}

fn said(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .map_err(|error| format!("cannot run {command:?}: {error}"))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("{command:?} failed: {}", why.trim()))
}

/// Room for a server with empty data, and for what it makes beside them.
const DISK: u64 = 768;

/// What is left of it for the test.
const ROOM: u64 = 48 << 20;

/// Fills the disk of a private server of a kind through a store that `open` opens on
/// its URL. What was acknowledged before is there, what was refused is not or can be
/// resolved, and with room again the same store writes again. `revive` does then what
/// whoever sees to the server would: a server that ended itself is started again.
///
/// # Panics
/// If something does not hold.
#[allow(clippy::panic, reason = "a test fails so")]
pub async fn check<F>(
    service: &str,
    open: impl FnOnce(String) -> F,
    revive: impl FnOnce(&Private) -> Result,
) where
    F: Future<Output = Answer<DynBackend>>,
{
    let folder =
        std::env::temp_dir().join(format!("holdall-full-{service}-{}", std::process::id()));
    let made = std::fs::create_dir_all(&folder).map_err(|error| error.to_string());
    let mounted = made.and_then(|()| SmallDisk::mount(&folder, DISK));
    let disk = match mounted {
        Ok(disk) => disk,
        Err(why) => return not_run("a small disk", &why),
    };
    let server = private_with(service, |options| options.folder(folder.join("server")));
    if let Some(server) = server {
        let filled = async {
            let store = open(server.url()).await.map_err(text)?;
            fill(&disk, &store, ROOM, || revive(&server)).await
        };
        if let Err(why) = filled.await {
            panic!("{why}");
        }
    }
    drop(disk);
    let _tidied = std::fs::remove_dir(&folder);
}

/// Fills a disk that a store stands on to all but the last of `room` bytes; see
/// [`check`]. `revive` is called when there is room again.
///
/// # Errors
/// What does not hold.
pub async fn fill(
    disk: &SmallDisk,
    store: &DynBackend,
    room: u64,
    revive: impl FnOnce() -> Result,
) -> Result {
    let env = Env::system();
    let items = CollectionName::new("items").map_err(text)?;
    let write = async |id| store.write(batch(store, &items, &env, id)?).await;
    write(env.version()).await.map_err(text)?;
    let mut written = 1;
    disk.leave(room)?;
    let (error, last) = loop {
        let id = env.version();
        match write(id).await {
            Ok(_) => written += 1,
            Err(error) => break (error, id),
        }
        if written * BODY as u64 > 2 * room {
            return Err(format!(
                "a disk with room for {room} bytes took {written} bodies"
            ));
        }
    };
    eprintln!("after {written} batches: {error}");
    let is_told = match error.retry() {
        Retry::Unknown => matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout),
        _ => error.kind() == ErrorKind::Unavailable,
    };
    if !is_told {
        return Err(format!(
            "a full disk is told as {}, retry {:?}: {error}",
            error.kind().name(),
            error.retry()
        ));
    }
    disk.free()?;
    revive()?;
    let witness = Key::new(format!("{last}-left")).map_err(text)?;
    let id = env.version();
    again(async || write(id).await).await?;
    written += 1;
    let became = again(async || store.resolve(last, Some((&items, &witness))).await).await?;
    let counted = again(async || store.count(&items, &Filter::all()).await).await?;
    let happened = match became {
        Outcome::Committed(_) if error.retry() == Retry::Unknown => 1,
        Outcome::Committed(_) => return Err(format!("{last} was refused, and happened: {error}")),
        Outcome::Aborted => 0,
        Outcome::Unknown => return Err(format!("nobody can tell what became of {last}")),
    };
    let each = each(store);
    if counted == (written + happened) * each {
        return Ok(());
    }
    Err(format!(
        "{written} batches of {each} were acknowledged, {happened} happened beside them, and \
         {counted} items are there"
    ))
}

/// Of a body.
const BODY: usize = 100_000;

/// Items of a batch: one, where a batch holds no two.
fn each(store: &DynBackend) -> u64 {
    if store.capabilities().batch.scope == Scope::Item {
        1
    } else {
        2
    }
}

/// An item with a body that cannot be packed, and one beside it.
fn batch(
    store: &DynBackend,
    items: &CollectionName,
    env: &Env,
    id: Version,
) -> std::result::Result<Batch, Error> {
    let key = |name| Key::new(format!("{id}-{name}"));
    let doc = Doc::from_value(&json!({"id": id.to_string()}))?;
    let mut body = vec![0; BODY];
    env.fill(&mut body);
    let put = Put::bytes(body).with_doc(doc.clone());
    let batch = Batch::with_id(id).put(items, &key("left")?, Condition::Absent, put);
    Ok(match each(store) {
        1 => batch,
        _ => batch.put(items, &key("right")?, Condition::Absent, Put::doc(doc)),
    })
}

/// Tries until a server that was away is there again.
async fn again<T>(call: impl AsyncFn() -> Answer<T>) -> Result<T> {
    const MOST: u32 = 600;
    let mut tries = 1;
    loop {
        match call().await {
            Ok(answer) => return Ok(answer),
            Err(error) if error.kind() == ErrorKind::Unavailable && tries < MOST => tries += 1,
            Err(error) => return Err(format!("with room again, {error}")),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

fn text(error: Error) -> String {
    error.to_string()
}
