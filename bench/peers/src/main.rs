//! What Holdall is compared with: OpenDAL's services and a `DashMap`.
//!
//! `bench` drives this program over its standard input and output, a line each
//! way. The clock runs here, around the work alone, so that the pipe costs
//! nothing:
//!
//! ```text
//! open PEER PLACE COUNT SIZE   makes the peer ready, with COUNT items of SIZE bytes
//! read COUNT SEED              reads so many items at random, one after the other
//! write TASKS EACH SIZE ROUND  writes new items from many tasks at once
//! ```
//!
//! The answer is `ok` with the nanoseconds that it took, or `error` and why.

use std::io::{BufRead, Write};
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use dashmap::DashMap;
use opendal::{Operator, services};
use tokio::runtime::Runtime;

#[path = "../../src/data.rs"]
mod data;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

/// The table of OpenDAL in an SQLite file and a schema of PostgreSQL, which `bench` has
/// made, and in redb.
const TABLE: &str = "items";

enum Peer {
    OpenDal(Operator),
    Map(DashMap<String, Bytes>),
}

struct Opened {
    peer: Peer,
    keys: Vec<String>,
}

fn main() -> Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let mut opened = None;
    let mut output = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        match answer(&runtime, &mut opened, &line?) {
            Ok(nanos) => writeln!(output, "ok {nanos}")?,
            Err(error) => writeln!(output, "error {error}")?,
        }
        output.flush()?;
    }
    Ok(())
}

fn answer(runtime: &Runtime, opened: &mut Option<Opened>, line: &str) -> Result<u128> {
    let words: Vec<&str> = line.split('\t').collect();
    match (words.as_slice(), opened) {
        (["open", peer, place, count, size], opened) => {
            *opened = Some(open(runtime, peer, place, count.parse()?, size.parse()?)?);
            Ok(0)
        }
        (["read", count, seed], Some(opened)) => {
            read(runtime, opened, count.parse()?, seed.parse()?)
        }
        (["write", tasks, each, size, round], Some(opened)) => write(
            runtime,
            opened,
            tasks.parse()?,
            each.parse()?,
            size.parse()?,
            round,
        ),
        _ => Err(format!("no such command: {line}").into()),
    }
}

fn open(runtime: &Runtime, peer: &str, place: &str, count: u64, size: usize) -> Result<Opened> {
    let keys: Vec<String> = (0..count).map(data::key).collect();
    let items = || (0..count).map(|number| (data::key(number), data::body(number, size)));
    let peer = match peer {
        "dashmap" => Peer::Map(
            items()
                .map(|(key, body)| (key, Bytes::from(body)))
                .collect(),
        ),
        "opendal-memory" => {
            let operator = Operator::new(services::Memory::default())?;
            runtime.block_on(async {
                for (key, body) in items() {
                    operator.write(&key, body).await?;
                }
                Ok::<_, opendal::Error>(())
            })?;
            Peer::OpenDal(operator)
        }
        // `bench` has made and filled the file.
        "opendal-sqlite" => Peer::OpenDal(Operator::new(
            services::Sqlite::default()
                .connection_string(&format!("sqlite://{place}"))
                .table(TABLE),
        )?),
        // A schema of the server, which `bench` has made and filled.
        "opendal-postgresql" => Peer::OpenDal(Operator::new(
            services::Postgresql::default()
                .connection_string(place)
                .table(TABLE),
        )?),
        "opendal-redb" => {
            fill_redb(place, items())?;
            Peer::OpenDal(Operator::new(
                services::Redb::default().datadir(place).table(TABLE),
            )?)
        }
        _ => return Err(format!("no such peer: {peer}").into()),
    };
    Ok(Opened { peer, keys })
}

/// In one transaction; OpenDAL would take one for each item.
fn fill_redb(path: &str, items: impl Iterator<Item = (String, Vec<u8>)>) -> Result<()> {
    let database = redb::Database::create(path)?;
    let transaction = database.begin_write()?;
    {
        let table = redb::TableDefinition::<&str, &[u8]>::new(TABLE);
        let mut table = transaction.open_table(table)?;
        for (key, body) in items {
            table.insert(key.as_str(), body.as_slice())?;
        }
    }
    transaction.commit()?;
    Ok(())
}

fn read(runtime: &Runtime, opened: &Opened, count: u64, seed: u64) -> Result<u128> {
    let order = data::order(opened.keys.len(), count, seed);
    let mut bytes = 0;
    let start = Instant::now();
    match &opened.peer {
        Peer::Map(map) => {
            for at in order {
                let key = opened.keys.get(at).ok_or("a key that there is not")?;
                let found = map.get(key.as_str()).ok_or("an item is missing")?;
                let found: Bytes = found.clone();
                bytes += std::hint::black_box(found).len();
            }
        }
        Peer::OpenDal(operator) => runtime.block_on(async {
            for at in order {
                let key = opened.keys.get(at).ok_or("a key that there is not")?;
                let found = operator.read(key).await?.to_bytes();
                bytes += std::hint::black_box(found).len();
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
        })?,
    }
    let nanos = start.elapsed().as_nanos();
    if bytes == 0 {
        return Err("nothing was read".into());
    }
    Ok(nanos)
}

fn write(
    runtime: &Runtime,
    opened: &Opened,
    tasks: u64,
    each: u64,
    size: usize,
    round: &str,
) -> Result<u128> {
    let Peer::OpenDal(operator) = &opened.peer else {
        return Err("a map is not written here".into());
    };
    let body = Arc::new(Bytes::from(data::body(0, size)));
    let start = Instant::now();
    runtime.block_on(async {
        let mut running = tokio::task::JoinSet::new();
        for task in 0..tasks {
            let (operator, body, round) = (operator.clone(), body.clone(), round.to_owned());
            running.spawn(async move {
                for number in 0..each {
                    let key = data::written_key(&round, task, number);
                    while let Err(error) = operator.write(&key, body.as_ref().clone()).await {
                        // "Database is locked": the writers of one pool stand
                        // in each other's way.
                        if !error.is_temporary() {
                            return Err(error);
                        }
                    }
                }
                Ok(())
            });
        }
        while let Some(done) = running.join_next().await {
            done??;
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(())
    })?;
    Ok(start.elapsed().as_nanos())
}
