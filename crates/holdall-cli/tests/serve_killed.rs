//! A server that is killed again and again under load.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod story;

use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdall::{
    BackendExt, Batch, CollectionName, Condition, DynBackend, Env, ErrorKind, Key, Outcome, Put,
    Retry, Store, Version,
};
use story::Folder;

const KILLS: u64 = 200;
const WRITERS: usize = 16;

/// No server takes longer to start.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of a write, as its writer was told.
enum Told {
    Done,
    /// It did not happen.
    Failed,
    /// It may have happened.
    Unknown,
}

struct Tried {
    key: Key,
    id: Version,
    told: Told,
}

/// Each of 16 clients writes one item after the other, in batches of one and of
/// two items and with staged bodies, while the server is killed 200 times. All
/// that was acknowledged is there, all that failed is not, and all that was
/// left open is resolved as what happened.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_there_after_every_kill() {
    let folder = Folder::new();
    let (mut server, mut log, at) = start(&folder, "127.0.0.1:0");
    let url = format!("http://{at}");
    let store: DynBackend = holdall::open(&url).await.unwrap().backend().clone();
    let items = CollectionName::new("items").unwrap();
    let (over, acknowledged) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let writers: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let (store, items) = (store.clone(), items.clone());
            let (over, acknowledged) = (over.clone(), acknowledged.clone());
            tokio::spawn(async move {
                let mut tried = Vec::new();
                for number in 0.. {
                    if over.load(Ordering::Relaxed) {
                        break;
                    }
                    let write = write(&store, &items, writer, number).await;
                    if matches!(write.told, Told::Done) {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                    tried.push(write);
                }
                tried
            })
        })
        .collect();

    let env = Env::system();
    for _ in 0..KILLS {
        // It has work before it is killed, and is killed in the middle of some.
        let before = acknowledged.load(Ordering::Relaxed);
        let begun = Instant::now();
        while acknowledged.load(Ordering::Relaxed) < before + 10 {
            assert!(begun.elapsed() < PATIENCE, "nobody could write any more");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        tokio::time::sleep(Duration::from_micros(env.below(20_000))).await;
        server.kill().unwrap();
        server.wait().unwrap();
        drop(log);
        (server, log, _) = start(&folder, &at);
    }
    over.store(true, Ordering::Relaxed);
    let mut tried = Vec::new();
    for writer in writers {
        tried.extend(writer.await.unwrap());
    }

    let (mut done, mut unknown) = (0, 0);
    for Tried { key, id, told } in &tried {
        let entry = store.head(&items, key).await.unwrap();
        let happened = match told {
            Told::Done => {
                done += 1;
                true
            }
            Told::Failed => false,
            Told::Unknown => {
                unknown += 1;
                match store.resolve(*id, Some((&items, key))).await.unwrap() {
                    Outcome::Committed(_) => true,
                    Outcome::Aborted => false,
                    Outcome::Unknown => panic!("the outcome of {key} cannot be told"),
                }
            }
        };
        let found = entry.is_some_and(|entry| entry.version == *id);
        assert_eq!(found, happened, "{key}, {id}");
    }
    println!(
        "{} writes: {done} acknowledged, {unknown} left open",
        tried.len()
    );
    assert!(done >= 10 * KILLS);
    store.close().await.unwrap();
    server.kill().unwrap();
    server.wait().unwrap();

    // The file itself says the same.
    let file = Store::open(
        holdall::Settings::parse(&format!("sqlite:{}", folder.path("holdall.db").display()))
            .unwrap(),
    );
    let file = file.await.unwrap();
    for Tried { key, .. } in tried
        .iter()
        .filter(|tried| matches!(tried.told, Told::Done))
    {
        assert!(
            file.backend().head(&items, key).await.unwrap().is_some(),
            "{key}"
        );
    }
    file.close().await.unwrap();
}

async fn write(store: &DynBackend, items: &CollectionName, writer: usize, number: u64) -> Tried {
    let id = Env::system().version();
    let key = Key::new(format!("{writer}/{number}")).unwrap();
    let mut put = Put::bytes(format!("the body of {number}"));
    let mut failed = None;
    if number.is_multiple_of(8) {
        match store
            .stage(items, holdall::byte_stream(vec![7; 100_000]))
            .await
        {
            Ok(staged) => put = Put::staged(staged),
            Err(error) => failed = Some(error),
        }
    }
    let result = match failed {
        Some(error) => Err(error),
        None => {
            let mut batch = Batch::with_id(id).put(items, &key, Condition::Absent, put);
            if number.is_multiple_of(2) {
                let other = Key::new(format!("{writer}/last")).unwrap();
                batch = batch.put(items, &other, Condition::Any, Put::default());
            }
            store.write(batch).await.map(drop)
        }
    };
    let told = match result {
        Ok(()) => Told::Done,
        Err(error) => {
            let is_down = matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout);
            assert!(is_down, "{error}");
            if error.retry() == Retry::Unknown {
                Told::Unknown
            } else {
                // The server is about to come back.
                tokio::time::sleep(Duration::from_millis(2)).await;
                Told::Failed
            }
        }
    };
    Tried { key, id, told }
}

/// Starts a server, and waits until it says that it is ready.
fn start(folder: &Folder, listen: &str) -> (Child, BufReader<ChildStderr>, String) {
    let mut command: Command = folder.command(["serve", "--listen", listen, "--log", "warn"]);
    let mut child = command.stdout(Stdio::null()).spawn().unwrap();
    let mut log = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("serving") {
        line.clear();
        assert!(
            log.read_line(&mut line).unwrap() > 0,
            "the server did not start"
        );
    }
    let (_, rest) = line.split_once("http://").unwrap();
    let at = rest.split_whitespace().next().unwrap().to_owned();
    (child, log, at)
}
