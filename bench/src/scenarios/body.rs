//! One large body in and out of an SQLite file: how far memory and WAL grow.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{
    BackendExt, ByteStream, CollectionName, Condition, DynBackend, GetOptions, Key, Parts, Put,
};

use crate::memory::Memory;
use crate::options::Options;
use crate::place::{self, Place};
use crate::report::{Report, Target};
use crate::{Result, data, size};

const MIB: f64 = 1024.0 * 1024.0;

/// Bytes of a piece as the caller gives it.
const PIECE: usize = 64 * 1024;

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    let place = Place::make(options)?;
    let output = Command::new(std::env::current_exe()?)
        .args(["child", "body"])
        .arg(place.file("body.db"))
        .arg(options.body.to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()?;
    if !output.status.success() {
        return Err("the process that moves the body failed".into());
    }
    let text = String::from_utf8(output.stdout)?;
    let numbers: Vec<f64> = text
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()?;
    let [into, out, memory_in, memory_out, wal] = numbers.as_slice() else {
        return Err(format!("the process that moves the body answered {text:?}").into());
    };
    let shown = size::show(options.body);
    let rate = |seconds: f64| options.body as f64 / MIB / seconds;
    report.note(&format!(
        "{shown}: {:.0} MiB/s in, {:.0} MiB/s out, on this machine",
        rate(*into),
        rate(*out)
    ));
    for (what, bytes, most) in [
        ("resident memory grows on the way in", memory_in, 32.0),
        ("resident memory grows on the way out", memory_out, 32.0),
        ("the WAL grows to", wal, 64.0),
    ] {
        let what = format!("body of {shown}: {what}");
        report.number(&what, bytes / MIB, "MiB", Target::AtMost(most));
    }
    Ok(())
}

/// What `bench child body FILE SIZE` does: moves the body and answers seconds
/// in and out, and how far memory in and out and the WAL grew.
pub(crate) fn child(file: &Path, bytes: u64) -> Result<()> {
    let runtime = place::runtime()?;
    runtime.block_on(async {
        let backend = place::holdall(file).await?;
        // Threads, statements and caches are there before it counts.
        let warm = size::parse("4MiB")?;
        put(&backend, "warm", warm).await?;
        get(&backend, "warm", warm).await?;

        let wal = Wal::watch(file);
        let before = Memory::mark()?;
        let start = Instant::now();
        put(&backend, "large", bytes).await?;
        let (into, memory_in) = (start.elapsed(), before.grown()?);

        let before = Memory::mark()?;
        let start = Instant::now();
        get(&backend, "large", bytes).await?;
        let (out, memory_out) = (start.elapsed(), before.grown()?);

        let wal = wal.most();
        backend.close().await?;
        println!(
            "{} {} {memory_in} {memory_out} {wal}",
            into.as_secs_f64(),
            out.as_secs_f64()
        );
        Ok(())
    })
}

pub(crate) async fn put(backend: &DynBackend, key: &str, bytes: u64) -> Result<()> {
    let name = CollectionName::new("bodies")?;
    backend
        .put_stream(
            &name,
            &Key::new(key)?,
            Condition::Any,
            Put::default(),
            made(bytes),
        )
        .await?;
    Ok(())
}

pub(crate) async fn get(backend: &DynBackend, key: &str, bytes: u64) -> Result<()> {
    let name = CollectionName::new("bodies")?;
    let item = backend
        .get(&name, &Key::new(key)?, GetOptions::parts(Parts::BODY))
        .await?
        .ok_or("the body is missing")?;
    let mut pieces = item.into_body()?.into_stream();
    let mut found = 0;
    while let Some(piece) = pieces.try_next().await? {
        found += piece.len() as u64;
    }
    if found != bytes {
        return Err(format!("{found} bytes came back of {bytes}").into());
    }
    Ok(())
}

/// A stream that makes its pieces as it is asked for them.
fn made(bytes: u64) -> ByteStream {
    stream::unfold(0, move |at: u64| async move {
        let length = bytes.saturating_sub(at).min(PIECE as u64);
        let piece = data::body(at, usize::try_from(length).unwrap_or(PIECE));
        (length > 0).then(|| (Ok(Bytes::from(piece)), at + length))
    })
    .boxed()
}

/// Looks at the length of the WAL again and again.
struct Wal {
    most: Arc<AtomicU64>,
    ended: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<()>,
}

impl Wal {
    fn watch(file: &Path) -> Self {
        let mut name = file.as_os_str().to_owned();
        name.push("-wal");
        let (most, ended) = (
            Arc::new(AtomicU64::new(0)),
            Arc::new(AtomicBool::new(false)),
        );
        let (seen, end) = (most.clone(), ended.clone());
        let thread = std::thread::spawn(move || {
            let file = PathBuf::from(name);
            while !end.load(Ordering::Relaxed) {
                let length = std::fs::metadata(&file).map_or(0, |found| found.len());
                seen.fetch_max(length, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self {
            most,
            ended,
            thread,
        }
    }

    fn most(self) -> u64 {
        self.ended.store(true, Ordering::Relaxed);
        let _ended = self.thread.join();
        self.most.load(Ordering::Relaxed)
    }
}
