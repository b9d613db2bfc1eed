//! Two servers on one PostgreSQL database.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod story;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStderr, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;
use holdall::{
    BackendExt, Batch, CollectionName, Condition, Doc, DynBackend, Env, ErrorKind, GetOptions, Key,
    Outcome, Put, Retry, Transaction, TransactionOptions, Version, WatchFrom, json, transact,
};
use holdall_testing::services::need;
use story::Folder;

struct Server {
    process: Child,
    _log: BufReader<ChildStderr>,
    store: DynBackend,
}

/// Starts a server on the database.
async fn start(folder: &Folder, store: &str) -> Server {
    let serve = [
        "serve",
        "--store",
        store,
        "--listen",
        "127.0.0.1:0",
        "--log",
        "warn",
    ];
    let mut process = folder.command(serve).stdout(Stdio::null()).spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("serving") {
        line.clear();
        assert!(log.read_line(&mut line).unwrap() > 0, "it did not start");
    }
    let (_, rest) = line.split_once("http://").unwrap();
    let url = format!("http://{}", rest.split_whitespace().next().unwrap());
    let store = holdall::open(&url).await.unwrap().backend().clone();
    Server {
        process,
        _log: log,
        store,
    }
}

/// Whoever comes first takes a key, whichever server it asks; increments through
/// both are all counted; a watcher on one hears of all that is written through
/// the other. Then one is killed in the middle of writes: the other has all that
/// was acknowledged, and knows what became of the rest.
#[tokio::test(flavor = "multi_thread")]
async fn two_servers_on_one_database_are_one_store() {
    let Some(url) = need("postgres") else { return };
    let folder = Folder::new();
    let schema = format!("holdall_{}", Env::system().version()).replace('-', "");
    let (sql, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    sql.batch_execute(&format!("CREATE SCHEMA {schema}"))
        .await
        .unwrap();
    let store = format!("{url}?schema={schema}");
    let (one, mut two) = (start(&folder, &store).await, start(&folder, &store).await);
    let both = [one.store.clone(), two.store.clone()];
    let items = CollectionName::new("items").unwrap();

    let takers = (0..40).map(|number: usize| {
        let (store, items) = (both[number % 2].clone(), items.clone());
        tokio::spawn(async move {
            let key = Key::new(format!("seat {}", number / 4)).unwrap();
            match store
                .put(&items, &key, Condition::Absent, Put::default())
                .await
            {
                Ok(_) => 1,
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                    0
                }
            }
        })
    });
    let mut taken = 0;
    for taker in takers.collect::<Vec<_>>() {
        taken += taker.await.unwrap();
    }
    assert_eq!(taken, 10);

    let counter = Key::new("counter").unwrap();
    let adders = (0..8).map(|number: usize| {
        let (store, items, counter) = (both[number % 2].clone(), items.clone(), counter.clone());
        tokio::spawn(async move {
            for _ in 0..10 {
                let (items, counter) = (items.clone(), counter.clone());
                let add = move |transaction: Transaction| {
                    let (items, counter) = (items.clone(), counter.clone());
                    async move {
                        let count = match transaction.get(&items, &counter).await? {
                            Some(item) => item.doc()?.value()?["count"].as_u64().unwrap_or(0),
                            None => 0,
                        };
                        let doc = Doc::from_value(&json!({"count": count + 1}))?;
                        transaction.put(&items, &counter, Put::doc(doc))
                    }
                };
                transact(
                    &store,
                    TransactionOptions {
                        attempts: 1000,
                        ..Default::default()
                    },
                    add,
                )
                .await
                .unwrap();
            }
        })
    });
    for adder in adders.collect::<Vec<_>>() {
        adder.await.unwrap();
    }
    let found = one.store.get(&items, &counter, GetOptions::default()).await;
    let doc = found.unwrap().unwrap().doc.unwrap();
    assert_eq!(doc.value().unwrap()["count"], 80);

    let mut changes = one.store.watch(Some(&items), WatchFrom::Now).await.unwrap();
    let mut wanted = BTreeSet::new();
    for number in 0..20 {
        let key = Key::new(format!("told {number}")).unwrap();
        two.store
            .put(&items, &key, Condition::Any, Put::default())
            .await
            .unwrap();
        wanted.insert(key);
    }
    while !wanted.is_empty() {
        let change = changes.next().await.unwrap().unwrap();
        wanted.remove(&change.key.unwrap());
    }

    let acknowledged = Arc::new(AtomicU64::new(0));
    let writers = (0..8).map(|writer| {
        let (store, items, acknowledged) = (two.store.clone(), items.clone(), acknowledged.clone());
        tokio::spawn(async move {
            let mut tried = Vec::new();
            for number in 0.. {
                let key = Key::new(format!("{writer}/{number}")).unwrap();
                let id = Env::system().version();
                let batch = Batch::with_id(id).put(&items, &key, Condition::Absent, Put::default());
                let told = match store.write(batch).await {
                    Ok(_) => Some(true),
                    Err(error) if error.retry() == Retry::Unknown => None,
                    Err(_) => Some(false),
                };
                acknowledged.fetch_add(u64::from(told == Some(true)), Ordering::Relaxed);
                tried.push((key, id, told));
                if told != Some(true) {
                    break;
                }
            }
            tried
        })
    });
    let writers: Vec<_> = writers.collect();
    while acknowledged.load(Ordering::Relaxed) < 200 {
        tokio::task::yield_now().await;
    }
    two.process.kill().unwrap();
    two.process.wait().unwrap();
    let mut tried: Vec<(Key, Version, Option<bool>)> = Vec::new();
    for writer in writers {
        tried.extend(writer.await.unwrap());
    }
    for (key, id, told) in tried {
        // Asked first: what is still under way is waited for, or given up.
        let happened = match told {
            Some(told) => told,
            None => match one.store.resolve(id, Some((&items, &key))).await.unwrap() {
                Outcome::Committed(_) => true,
                Outcome::Aborted => false,
                Outcome::Unknown => panic!("the log says what became of {key}"),
            },
        };
        let there = one.store.head(&items, &key).await.unwrap();
        let there = there.is_some_and(|entry| entry.version == id);
        assert_eq!(there, happened, "{key}, {told:?}");
    }
    let mut one = one;
    one.process.kill().unwrap();
    one.process.wait().unwrap();
    sql.batch_execute(&format!("DROP SCHEMA {schema} CASCADE"))
        .await
        .unwrap();
}
