//! Point reads in random order, from a file that is in the system's cache.

use std::time::Instant;

use holdall_core::{
    Batch, CollectionName, Condition, Doc, DynBackend, GetOptions, Key, Parts, Put,
};
use rusqlite::Connection;
use tokio::runtime::Runtime;

use crate::options::Options;
use crate::peers::{self, Peer};
use crate::place::{self, Place};
use crate::report::{Report, Target};
use crate::rounds::{self, Contender, Work};
use crate::{Result, data, raw, size};

/// Bytes of a body, items in the file, reads of a round.
const SIZES: [(usize, u64, u64); 2] = [(1024, 20_000, 100_000), (64 * 1024, 2_000, 20_000)];

pub(crate) fn run(options: &Options, report: &mut Report) -> Result<()> {
    for (bytes, count, reads) in SIZES {
        run_size(options, report, bytes, count, reads)?;
    }
    Ok(())
}

pub(crate) fn doc(number: u64) -> String {
    format!("{{\"number\":{number},\"name\":\"the item {number}\"}}")
}

fn run_size(
    options: &Options,
    report: &mut Report,
    bytes: usize,
    count: u64,
    reads: u64,
) -> Result<()> {
    let place = Place::make(options)?;
    let runtime = place::runtime()?;
    let name = CollectionName::new("items")?;
    let keys = (0..count)
        .map(|number| Key::new(data::key(number)))
        .collect::<Result<Vec<_>, _>>()?;

    let backend = runtime.block_on(place::holdall(&place.file("holdall.db")))?;
    runtime.block_on(fill(&backend, &name, &keys, bytes))?;
    let connection = raw::create(&place.file("raw.db"))?;
    fill_raw(&connection, count, bytes)?;
    let mut statement = connection.prepare(&raw::select("items", "WHERE key = ?1"))?;

    let mut sqlite = None;
    let mut redb = None;
    if options.peers {
        let program = peers::build()?;
        let file = place.file("opendal.db");
        fill_peer(&file, count, bytes)?;
        sqlite = Some(Peer::start(
            &program,
            "opendal-sqlite",
            file.display(),
            count,
            bytes,
        )?);
        let file = place.file("opendal.redb");
        redb = Some(Peer::start(
            &program,
            "opendal-redb",
            file.display(),
            count,
            bytes,
        )?);
    }

    let mut contenders = vec![
        Contender::new("Holdall", |round| {
            read_holdall(&runtime, &backend, &name, &keys, reads, round)
        }),
        Contender::new("rusqlite by hand", |round| {
            let order = data::order(keys.len(), reads, round as u64);
            let start = Instant::now();
            for at in order {
                let key = keys.get(at).ok_or("a key that there is not")?;
                let item = statement.query_row([key.as_str()], raw::Item::read)?;
                std::hint::black_box(&item);
            }
            Ok(work(reads, start))
        }),
    ];
    if let Some(peer) = &mut sqlite {
        contenders.push(Contender::new("OpenDAL sqlite", |round| {
            peer.read(reads, round as u64)
        }));
    }
    if let Some(peer) = &mut redb {
        contenders.push(Contender::new("OpenDAL redb", |round| {
            peer.read(reads, round as u64)
        }));
    }
    let rates = rounds::run(options.rounds, &mut contenders)?;
    drop(contenders);

    let shown = size::show(bytes as u64);
    report.part(&format!("{count} items of {shown}"), &rates);
    let Some((holdall, others)) = rates.split_first() else {
        return Ok(());
    };
    for other in others {
        let target = match other.name {
            "rusqlite by hand" => Target::AtLeast(0.8),
            _ => Target::None,
        };
        let what = format!("read {shown}: Holdall over {}", other.name);
        report.ratio(&what, holdall.over(other), target);
    }
    runtime.block_on(backend.close())?;
    Ok(())
}

fn work(operations: u64, start: Instant) -> Work {
    Work {
        operations,
        nanos: start.elapsed().as_nanos(),
    }
}

fn read_holdall(
    runtime: &Runtime,
    backend: &DynBackend,
    name: &CollectionName,
    keys: &[Key],
    reads: u64,
    round: usize,
) -> Result<Work> {
    let order = data::order(keys.len(), reads, round as u64);
    let start = Instant::now();
    runtime.block_on(async {
        for at in order {
            let key = keys.get(at).ok_or("a key that there is not")?;
            let item = backend
                .get(name, key, GetOptions::parts(Parts::ALL))
                .await?
                .ok_or("an item is missing")?;
            std::hint::black_box(&item);
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    Ok(work(reads, start))
}

async fn fill(
    backend: &DynBackend,
    name: &CollectionName,
    keys: &[Key],
    bytes: usize,
) -> Result<()> {
    for (chunk, keys) in keys.chunks(100).enumerate() {
        let mut batch = Batch::new();
        for (at, key) in keys.iter().enumerate() {
            let number = (chunk * 100 + at) as u64;
            let put = Put::bytes(data::body(number, bytes)).with_doc(Doc::parse(doc(number))?);
            batch = batch.put(name, key, Condition::Any, put);
        }
        backend.write(batch).await?;
    }
    Ok(())
}

fn fill_raw(connection: &Connection, count: u64, bytes: usize) -> Result<()> {
    let transaction = connection.unchecked_transaction()?;
    let mut put = connection.prepare(&raw::put())?;
    for number in 0..count {
        let body = data::body(number, bytes);
        raw::insert(
            &mut put,
            number,
            &data::key(number),
            &doc(number),
            Some(&body),
        )?;
    }
    transaction.commit()?;
    Ok(())
}

/// The file of OpenDAL's service, which makes no table of its own: WAL and
/// `synchronous=FULL` too.
pub(crate) fn fill_peer(file: &std::path::Path, count: u64, bytes: usize) -> Result<()> {
    let connection = raw::connect(file)?;
    connection.execute_batch("CREATE TABLE items (key TEXT PRIMARY KEY, value BLOB)")?;
    let transaction = connection.unchecked_transaction()?;
    let mut put = connection.prepare("INSERT INTO items (key, value) VALUES (?1, ?2)")?;
    for number in 0..count {
        put.execute((data::key(number), data::body(number, bytes)))?;
    }
    transaction.commit()?;
    Ok(())
}
