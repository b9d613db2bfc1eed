//! Durable single writes: each is on disk before it is answered.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use bytes::Bytes;
use holdall_core::{BackendExt, CollectionName, Condition, Doc, DynBackend, Key, Put};
use rusqlite::Connection;
use tokio::runtime::Runtime;

use super::read::{doc, fill_peer};
use crate::options::Options;
use crate::peers::{self, Peer};
use crate::place::{self, Place};
use crate::report::{Report, Target};
use crate::rounds::{self, Contender, Work};
use crate::{Result, data, raw, size};

/// Writers at once.
const TASKS: u64 = 64;

/// Bytes of a body; writes of a round: of each of the tasks, of one by hand,
/// and of each of the tasks of a peer.
const SIZES: [(usize, u64, u64, u64); 2] = [(1024, 64, 512, 8), (64 * 1024, 16, 256, 4)];

/// Writes of each task while the syncs are counted.
const COUNTED: u64 = 64;

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    for (bytes, each, alone, peers_each) in SIZES {
        run_size(options, report, bytes, each, alone, peers_each)?;
        let what = format!("write {}: writes for one sync", size::show(bytes as u64));
        match writes_for_one_sync(options, bytes) {
            Ok(found) => report.number(&what, found, "", Target::AtLeast(16.0)),
            Err(why) => report.not_measured(&what, &why.to_string()),
        }
    }
    Ok(())
}

fn run_size(
    options: &Options,
    report: &mut Report,
    bytes: usize,
    each: u64,
    alone: u64,
    peers_each: u64,
) -> Result<()> {
    let place = Place::make(options)?;
    let runtime = place::runtime()?;
    let backend = runtime.block_on(place::holdall(&place.file("holdall.db")))?;
    let connection = raw::create(&place.file("raw.db"))?;
    let mut sqlite = None;
    let mut redb = None;
    if options.peers {
        let program = peers::build()?;
        let file = place.file("opendal.db");
        fill_peer(&file, 1, bytes)?;
        sqlite = Some(Peer::start(
            &program,
            "opendal-sqlite",
            file.display(),
            1,
            bytes,
        )?);
        let file = place.file("opendal.redb");
        redb = Some(Peer::start(
            &program,
            "opendal-redb",
            file.display(),
            1,
            bytes,
        )?);
    }

    let mut contenders = vec![
        Contender::new("Holdall", |round| {
            write_holdall(&runtime, &backend, each, bytes, round)
        }),
        Contender::new("rusqlite, a transaction each", |round| {
            write_raw(&connection, alone, bytes, round)
        }),
    ];
    if let Some(peer) = &mut sqlite {
        contenders.push(Contender::new("OpenDAL sqlite", |round| {
            peer.write(TASKS, peers_each, bytes, round)
        }));
    }
    if let Some(peer) = &mut redb {
        contenders.push(Contender::new("OpenDAL redb", |round| {
            peer.write(TASKS, peers_each, bytes, round)
        }));
    }
    let rates = rounds::run(options.rounds, &mut contenders)?;
    drop(contenders);

    let shown = size::show(bytes as u64);
    report.part(&format!("items of {shown}, {TASKS} writers"), &rates);
    let Some((holdall, others)) = rates.split_first() else {
        return Ok(());
    };
    for other in others {
        let target = match other.name {
            "rusqlite, a transaction each" => Target::AtLeast(10.0),
            _ => Target::None,
        };
        let what = format!("write {shown}: Holdall over {}", other.name);
        report.ratio(&what, holdall.over(other), target);
    }
    runtime.block_on(backend.close())?;
    Ok(())
}

fn write_holdall(
    runtime: &Runtime,
    backend: &DynBackend,
    each: u64,
    bytes: usize,
    round: usize,
) -> Result<Work> {
    let body = Bytes::from(data::body(0, bytes));
    let start = Instant::now();
    runtime.block_on(write_at_once(backend, each, &body, &round.to_string()))?;
    Ok(Work {
        operations: TASKS * each,
        nanos: start.elapsed().as_nanos(),
    })
}

/// Writes new items from all tasks at once.
async fn write_at_once(backend: &DynBackend, each: u64, body: &Bytes, round: &str) -> Result<()> {
    let name = CollectionName::new("items")?;
    let mut running = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        let (backend, name) = (backend.clone(), name.clone());
        let (body, round) = (body.clone(), round.to_owned());
        running.spawn(async move {
            for number in 0..each {
                let key = Key::new(data::written_key(&round, task, number))?;
                let put = Put::bytes(body.clone()).with_doc(Doc::parse(doc(number))?);
                backend.put(&name, &key, Condition::Any, put).await?;
            }
            Ok::<_, holdall_core::Error>(())
        });
    }
    while let Some(done) = running.join_next().await {
        done??;
    }
    Ok(())
}

/// One after the other on one connection: several would only wait for each
/// other.
pub(crate) fn write_raw(
    connection: &Connection,
    count: u64,
    bytes: usize,
    round: usize,
) -> Result<Work> {
    let body = data::body(0, bytes);
    let mut put = connection.prepare_cached(&raw::put())?;
    let start = Instant::now();
    for number in 0..count {
        let key = data::written_key(&round.to_string(), 0, number);
        raw::insert(&mut put, number, &key, &doc(number), Some(&body))?;
    }
    Ok(Work {
        operations: count,
        nanos: start.elapsed().as_nanos(),
    })
}

/// What `bench child writes FILE EACH SIZE` does, to be counted from outside.
pub(crate) fn child(file: &Path, each: u64, bytes: usize) -> Result<()> {
    let runtime = place::runtime()?;
    let body = Bytes::from(data::body(0, bytes));
    runtime.block_on(async {
        let backend = place::holdall(file).await?;
        write_at_once(&backend, each, &body, "counted").await?;
        backend.close().await?;
        Ok(())
    })
}

/// Counts the syncs of a process that writes, less those of one that only
/// opens and closes.
fn writes_for_one_sync(options: &Options, bytes: usize) -> Result<f64> {
    let place = Place::make(options)?;
    let idle = syncs(&place, "idle", 0, bytes)?;
    let busy = syncs(&place, "busy", COUNTED, bytes)?;
    let more = busy.saturating_sub(idle).max(1);
    Ok((TASKS * COUNTED) as f64 / more as f64)
}

fn syncs(place: &Place, name: &str, each: u64, bytes: usize) -> Result<u64> {
    let counts = place.file(&format!("{name}.strace"));
    let status = Command::new("strace")
        .args([
            "-f",
            "-c",
            "-U",
            "name,calls",
            "-e",
            "trace=fsync,fdatasync,sync_file_range",
            "-o",
        ])
        .arg(&counts)
        .arg(std::env::current_exe()?)
        .args(["child", "writes"])
        .arg(place.file(&format!("{name}.db")))
        .args([each.to_string(), bytes.to_string()])
        .stdin(Stdio::null())
        .status()
        .map_err(|error| format!("strace counts the syncs, and cannot be started: {error}"))?;
    if !status.success() {
        return Err("strace failed".into());
    }
    let mut total = 0;
    for line in std::fs::read_to_string(&counts)?.lines() {
        let mut words = line.split_whitespace();
        if let (Some("fsync" | "fdatasync"), Some(calls)) = (words.next(), words.next()) {
            total += calls.parse::<u64>()?;
        }
    }
    Ok(total)
}
