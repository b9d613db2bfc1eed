//! What `http:` makes of connections that break.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod serving;

use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_backends::http::{HttpBackend, HttpOptions};
use holdall_core::{
    BackendExt, Batch, ByteRange, CollectionName, Condition, Digest, Doc, DynBackend, Env,
    ErrorKind, Filter, GetOptions, Key, MemoryBackend, Outcome, Parts, Put, Query, Retry, Scan,
    WatchFrom, byte_stream, json,
};

use holdall_testing::proxy::{Fault, Held, Proxy};

const ANY: Condition = Condition::Any;

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn items() -> CollectionName {
    CollectionName::new("items").unwrap()
}

/// The store itself, a proxy before its server, and a client of that.
async fn all() -> (DynBackend, Proxy, DynBackend) {
    all_with(|_| ()).await
}

async fn all_with(set: impl FnOnce(&mut HttpOptions)) -> (DynBackend, Proxy, DynBackend) {
    let store = DynBackend::from(MemoryBackend::new());
    let (url, _) = serving::serve(store.clone(), Env::system()).await;
    let proxy = Proxy::before(&url).await;
    let mut options = HttpOptions::new(&proxy.url);
    set(&mut options);
    let client = HttpBackend::open(options).await.unwrap();
    (store, proxy, client.into())
}

/// Places to cut a request or an answer of some hundred bytes: in the first
/// line, in the headers, in the content, and at its end.
fn places() -> impl Iterator<Item = usize> {
    [0, 1, 5, 17].into_iter().chain((40..700).step_by(30))
}

fn cuts() -> impl Iterator<Item = Fault> {
    places()
        .map(Fault::CutRequest)
        .chain(places().map(Fault::CutAnswer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_is_there_once_wherever_its_connection_breaks() {
    let (store, proxy, client) = all().await;
    for (n, fault) in cuts().enumerate() {
        let name = key(&format!("k{n}"));
        let put = Put::bytes("body").with_doc(Doc::from_value(&json!({"n": n})).unwrap());
        proxy.arm([fault.clone()]);
        // Written twice, it would meet itself.
        let entry = client.put(&items(), &name, Condition::Absent, put).await;
        let entry = entry.unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert_eq!(
            store.head(&items(), &name).await.unwrap(),
            Some(entry),
            "{fault:?}"
        );
    }
    assert!(proxy.broken() > 20, "only {} broke", proxy.broken());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_with_an_id_is_there_or_certainly_not() {
    let (store, proxy, client) = all().await;
    let env = Env::system();
    let (mut there, mut not) = (0, 0);
    for (n, fault) in cuts().enumerate() {
        let (a, b, id) = (key(&format!("a{n}")), key(&format!("b{n}")), env.version());
        let batch = Batch::with_id(id)
            .put(&items(), &a, Condition::Absent, Put::bytes("small"))
            .put(&items(), &b, Condition::Absent, Put::default())
            .delete(&items(), &key("none"), ANY);
        proxy.arm([fault.clone()]);
        match client.write(batch).await {
            Ok(written) => {
                let found = [
                    store.head(&items(), &a).await.unwrap(),
                    store.head(&items(), &b).await.unwrap(),
                    None,
                ];
                assert_eq!(written.entries, found, "{fault:?}");
                assert_eq!(written.id, id);
                there += 1;
            }
            Err(error) => {
                assert_eq!(
                    (error.kind(), error.retry()),
                    (ErrorKind::Unavailable, Retry::Yes),
                    "{fault:?}: {error}"
                );
                assert_eq!(error.batch(), Some(id));
                assert_eq!(store.head(&items(), &a).await.unwrap(), None, "{fault:?}");
                assert_eq!(client.resolve(id, None).await.unwrap(), Outcome::Aborted);
                not += 1;
            }
        }
    }
    assert!(there > 10 && not > 5, "{there} there, {not} not");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_nobody_tells_of_is_unknown_and_can_be_resolved() {
    let (store, proxy, client) = all().await;
    let a = key("a");
    // Its server does it, the answer is lost, and nobody can be asked.
    let held = Held::new();
    proxy.arm([Fault::Hold(held.clone())]);
    let writing = {
        let (client, a) = (client.clone(), a.clone());
        tokio::spawn(async move { client.put(&items(), &a, ANY, Put::bytes("x")).await })
    };
    held.arrived.acquire().await.unwrap().forget();
    proxy.refuse(true);
    held.go.add_permits(1);
    let error = writing.await.unwrap().unwrap_err();
    assert_eq!(error.retry(), Retry::Unknown, "{error}");
    let id = error.batch().unwrap();
    assert!(error.message().contains(&id.to_string()), "{error}");
    proxy.refuse(false);
    let Outcome::Committed(Some(commit)) = client.resolve(id, None).await.unwrap() else {
        panic!("it is not told as committed");
    };
    let entry = store.head(&items(), &a).await.unwrap().unwrap();
    assert_eq!((entry.version, entry.modified), (id, commit.at));
}

/// A request that is held up on the way, and comes when its client has given
/// it up and knows so, must change nothing any more.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_comes_too_late_changes_nothing() {
    let (store, proxy, client) =
        all_with(|options| options.timeout = Duration::from_millis(200)).await;
    let held = Held::new();
    proxy.arm([Fault::Hold(held.clone())]);
    let error = client
        .put(&items(), &key("a"), ANY, Put::bytes("late"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Timeout, Retry::Yes),
        "{error}"
    );
    held.go.add_permits(1);
    held.answered.acquire().await.unwrap().forget();
    assert_eq!(store.head(&items(), &key("a")).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn reads_are_whole_or_errors_wherever_their_connection_breaks() {
    let (store, proxy, client) = all().await;
    let names: Vec<_> = (0..30).map(|n| format!("k{n:02}")).collect();
    for name in &names {
        let put =
            Put::bytes(name.clone()).with_doc(Doc::from_value(&json!({"name": name})).unwrap());
        store.put(&items(), &key(name), ANY, put).await.unwrap();
    }
    let keys: Vec<_> = names.iter().map(|name| key(name)).collect();
    let reads = async |client: &DynBackend| -> holdall_core::Result<()> {
        let item = client
            .get(&items(), &keys[7], GetOptions::default())
            .await?
            .unwrap();
        assert_eq!(item.doc()?.value()?, json!({"name": "k07"}));
        assert_eq!(item.into_body()?.bytes(100).await?, "k07");
        Ok(())
    };
    let scans = async |client: &DynBackend| -> holdall_core::Result<()> {
        let found: Vec<_> = client
            .scan(&items(), Scan::all().parts(Parts::ALL))
            .try_collect()
            .await?;
        let found: Vec<_> = found
            .iter()
            .map(|item| item.key.as_str().to_owned())
            .collect();
        assert_eq!(found, names);
        Ok(())
    };
    let queries = async |client: &DynBackend| -> holdall_core::Result<()> {
        let query = Query::new(Filter::eq("name", "k09")?);
        assert_eq!(client.query_all(&items(), query, 100).await?.len(), 1);
        Ok(())
    };
    let many = async |client: &DynBackend| -> holdall_core::Result<()> {
        let found = client.get_many(&items(), &keys, Parts::DOC).await?;
        assert_eq!(found.iter().flatten().count(), 30);
        Ok(())
    };
    let counts = async |client: &DynBackend| -> holdall_core::Result<()> {
        assert_eq!(client.count(&items(), &Filter::all()).await?, 30);
        assert_eq!(
            client
                .count_by(&items(), &Filter::all(), &"name".parse()?)
                .await?
                .len(),
            30
        );
        assert_eq!(client.collections().await?, [items()]);
        Ok(())
    };
    for fault in cuts().chain([Fault::CutAnswer(2000), Fault::CutAnswer(5000)]) {
        for times in [1, 2] {
            macro_rules! tried {
                ($read:ident) => {
                    proxy.arm(vec![fault.clone(); times]);
                    let result = $read(&client).await;
                    // One that breaks is tried again; one that breaks twice is told.
                    match result {
                        Ok(()) => {}
                        Err(error) => {
                            assert_eq!(times, 2, "{fault:?} of {}: {error}", stringify!($read));
                            assert_eq!(
                                (error.kind(), error.retry()),
                                (ErrorKind::Unavailable, Retry::Yes),
                                "{error}"
                            );
                        }
                    }
                };
            }
            tried!(reads);
            tried!(scans);
            tried!(queries);
            tried!(many);
            tried!(counts);
        }
    }
    assert!(proxy.broken() > 200, "only {} broke", proxy.broken());
}

/// Once, a refusal that was cut off behind its headers was told as `Invalid`.
#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_is_told_as_what_it_is_wherever_its_connection_breaks() {
    let (store, proxy, client) = all().await;
    let a = key("a");
    let there = store.put(&items(), &a, ANY, Put::bytes("there")).await;
    let there = there.unwrap();
    let other = GetOptions::default().if_version(Env::system().version());
    for fault in cuts() {
        proxy.arm([fault.clone()]);
        let put = Put::bytes("other");
        let written = client.put(&items(), &a, Condition::Absent, put).await;
        let error = written.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{fault:?}: {error}");
        proxy.arm([fault.clone()]);
        let error = client.get(&items(), &a, other).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{fault:?}: {error}");
    }
    assert!(proxy.broken() > 40, "only {} broke", proxy.broken());
    assert_eq!(store.head(&items(), &a).await.unwrap(), Some(there));
}

/// Waits until something holds; what never does fails.
async fn until(holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            tokio::task::yield_now().await;
        }
    };
    let patience = Duration::from_secs(30);
    tokio::time::timeout(patience, waiting).await.unwrap();
}

fn pattern(size: usize) -> Bytes {
    (0..size)
        .map(|at| (at * at % 251) as u8)
        .collect::<Vec<_>>()
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_body_goes_on_where_its_connection_broke() {
    let (store, proxy, client) = all().await;
    let bytes = pattern(3_000_000);
    store
        .put(&items(), &key("a"), ANY, Put::bytes(bytes.clone()))
        .await
        .unwrap();
    for cuts in [
        vec![100_000],
        vec![1_000_000, 1, 500_000],
        vec![300, 700_000, 700_000, 700_000],
    ] {
        // The first is in the headers: the read itself is made again.
        let count = cuts.len();
        proxy.arm(cuts.into_iter().map(Fault::CutAnswer));
        let item = client
            .get(&items(), &key("a"), GetOptions::default())
            .await
            .unwrap()
            .unwrap();
        let read = item.into_body().unwrap().bytes(4_000_000).await.unwrap();
        assert!(read == bytes, "another body after {count} cuts");
        assert_eq!(proxy.left(), 0, "faults that were not met");
    }
    proxy.arm([Fault::CutAnswer(500_000)]);
    let range = GetOptions::range(ByteRange::Bounded(1000, 2_000_000));
    let item = client
        .get(&items(), &key("a"), range)
        .await
        .unwrap()
        .unwrap();
    let read = item.into_body().unwrap().bytes(4_000_000).await.unwrap();
    assert!(read == bytes.slice(1000..2_000_000), "another range");
    // Bodies of a scan are read when they are consumed.
    let mut scan = client.scan(&items(), Scan::all().parts(Parts::ALL));
    let item = scan.try_next().await.unwrap().unwrap();
    proxy.arm([Fault::CutAnswer(2_000_000)]);
    let read = item.into_body().unwrap().bytes(4_000_000).await.unwrap();
    assert!(read == bytes, "another body of a scan");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_whose_item_changed_when_its_connection_broke_is_a_conflict() {
    let (store, proxy, client) = all().await;
    for deletes in [false, true] {
        store
            .put(&items(), &key("a"), ANY, Put::bytes(pattern(3_000_000)))
            .await
            .unwrap();
        proxy.arm([Fault::CutAnswer(100_000)]);
        let item = client
            .get(&items(), &key("a"), GetOptions::default())
            .await
            .unwrap()
            .unwrap();
        if deletes {
            store.delete(&items(), &key("a"), ANY).await.unwrap();
        } else {
            store
                .put(&items(), &key("a"), ANY, Put::bytes(vec![1; 3_000_000]))
                .await
                .unwrap();
        }
        let error = item
            .into_body()
            .unwrap()
            .bytes(4_000_000)
            .await
            .unwrap_err();
        assert!(error.is_conflict(), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_never_gets_on_is_given_up() {
    let (store, proxy, client) = all().await;
    store
        .put(&items(), &key("a"), ANY, Put::bytes(pattern(300_000)))
        .await
        .unwrap();
    let item = client
        .scan(&items(), Scan::all().parts(Parts::ALL))
        .try_next()
        .await
        .unwrap()
        .unwrap();
    proxy.arm(vec![Fault::CutAnswer(10); 20]);
    let error = item.into_body().unwrap().bytes(400_000).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Yes),
        "{error}"
    );
    assert!(proxy.left() > 10, "it went on for too long");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_breaks_on_its_way_in_is_not_there() {
    let (store, proxy, client) = all().await;
    for fault in [
        Fault::CutRequest(0),
        Fault::CutRequest(100_000),
        Fault::CutAnswer(0),
        Fault::CutAnswer(50),
    ] {
        proxy.arm([fault]);
        let pieces = stream::iter((0..10).map(|_| Ok(Bytes::from(vec![1; 50_000])))).boxed();
        let error = client.stage(&items(), pieces).await.unwrap_err();
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Unavailable, Retry::Yes),
            "{error}"
        );
    }
    let staged = client
        .stage(&items(), byte_stream(pattern(100_000)))
        .await
        .unwrap();
    assert_eq!(staged.digest, Digest::of(&pattern(100_000)));
    assert_eq!(store.collections().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_loses_nothing_when_its_connection_breaks() {
    let (store, proxy, client) = all().await;
    // Of the whole answer of a watch: some changes come each time.
    proxy.arm([700, 900, 1200, 2000].map(Fault::CutAnswer));
    let mut changes = client.watch(Some(&items()), WatchFrom::Now).await.unwrap();
    let mut versions = Vec::new();
    for n in 0..60 {
        let entry = store
            .put(&items(), &key(&format!("k{n}")), ANY, Put::default())
            .await
            .unwrap();
        versions.push(entry.version);
        // One at a time, so that a change was told before anything breaks.
        let mut told = changes.next().await.unwrap().unwrap();
        while versions[..n]
            .iter()
            .any(|version| told.version == Some(*version))
        {
            told = changes.next().await.unwrap().unwrap();
        }
        assert_eq!(told.version, Some(entry.version), "change {n}");
    }
    assert_eq!((proxy.left(), proxy.broken()), (0, 4));
    // A watch that is behind is told of all that it missed.
    let last = store
        .put(&items(), &key("x"), ANY, Put::default())
        .await
        .unwrap();
    assert_eq!(
        changes.next().await.unwrap().unwrap().version,
        Some(last.version)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_broke_before_it_told_anything_says_that_changes_may_be_lost() {
    let (store, proxy, client) = all().await;
    proxy.arm([Fault::CutAnswer(400)]);
    let mut changes = client.watch(None, WatchFrom::Now).await.unwrap();
    let big = key(&"k".repeat(1000));
    store
        .put(&items(), &big, ANY, Put::default())
        .await
        .unwrap();
    let error = changes.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Expired, "{error}");
    assert!(changes.next().await.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_beyond_the_connections_wait_for_their_turn() {
    let (_, proxy, client) = all_with(|options| options.connections = 3).await;
    let writes = (0..60).map(|n| {
        let client = client.clone();
        async move {
            client
                .put(&items(), &key(&format!("k{n}")), ANY, Put::default())
                .await
        }
    });
    futures_util::future::try_join_all(writes).await.unwrap();
    let (items, all) = (items(), Filter::all());
    let reads = (0..60).map(|_| client.count(&items, &all));
    assert_eq!(
        futures_util::future::try_join_all(reads).await.unwrap(),
        vec![60; 60]
    );
    // Beside each that is under way, one may be on its way back into the pool.
    assert!(
        (2..=6).contains(&proxy.most_open()),
        "{}",
        proxy.most_open()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn closing_lets_connections_go_and_ends_what_would_last() {
    let (_, proxy, client) = all().await;
    let mut changes = client.watch(None, WatchFrom::Now).await.unwrap();
    let bytes = pattern(3_000_000);
    let put = Put::bytes(bytes);
    client.put(&items(), &key("a"), ANY, put).await.unwrap();
    changes.next().await.unwrap().unwrap();
    let read = GetOptions::default();
    let item = client.get(&items(), &key("a"), read).await.unwrap();
    let mut body = item.unwrap().into_body().unwrap().into_stream();
    body.next().await.unwrap().unwrap();
    // A body whose source has nothing for now.
    let staging = {
        let client = client.clone();
        let pieces = stream::once(async { Ok(Bytes::from_static(b"x")) });
        let pieces = pieces.chain(stream::pending()).boxed();
        tokio::spawn(async move { client.stage(&items(), pieces).await })
    };
    until(|| proxy.open() >= 3).await;
    client.close().await.unwrap();
    for error in [
        changes.next().await.unwrap().map(drop).unwrap_err(),
        body.next().await.unwrap().map(drop).unwrap_err(),
        staging.await.unwrap().map(drop).unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Closed, "{error}");
    }
    drop((changes, body));
    until(|| proxy.open() == 0).await;
}

/// What many clients do while a seeded plan breaks their connections.
mod many {
    use std::time::Duration;

    use async_trait::async_trait;
    use holdall_backends::http::{HttpBackend, HttpOptions};
    use holdall_core::{
        Backend, Batch, ByteStream, Capabilities, CollectionName, DynBackend, Env, GetOptions,
        Index, Item, ItemStream, Key, MemoryBackend, Result, Retry, Scan, Staged, Written,
    };
    use holdall_testing::faults::{self, Options, Subject};

    use super::serving;

    async fn open(url: String) -> Result<DynBackend> {
        let options = HttpOptions {
            timeout: Duration::from_secs(1),
            ..HttpOptions::new(url)
        };
        Ok(HttpBackend::open(options).await?.into())
    }

    #[cfg(feature = "sqlite")]
    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_acknowledged_is_there_whatever_breaks() {
        use holdall_backends::sqlite::{SqliteBackend, SqliteOptions};
        let folder = tempfile::tempdir().unwrap();
        let options = SqliteOptions::new(folder.path().join("store.db"));
        let store = DynBackend::from(SqliteBackend::open(options).await.unwrap());
        let (url, _) = serving::serve(store.clone(), Env::system()).await;
        faults::check(Subject::new(url, open).beside(store)).await;
    }

    /// A client that does not take losses well.
    #[derive(Debug)]
    struct Wrong {
        client: DynBackend,
        how: How,
    }

    #[derive(Clone, Copy, Debug)]
    enum How {
        /// What was lost, it tells as done.
        Lies,
        /// It writes what was lost again, under another id.
        Repeats,
        /// It waits for ever for what was lost.
        Hangs,
    }

    #[async_trait]
    impl Backend for Wrong {
        fn capabilities(&self) -> Capabilities {
            self.client.capabilities()
        }

        async fn get(
            &self,
            collection: &CollectionName,
            key: &Key,
            options: GetOptions,
        ) -> Result<Option<Item>> {
            self.client.get(collection, key, options).await
        }

        async fn stage(&self, collection: &CollectionName, body: ByteStream) -> Result<Staged> {
            self.client.stage(collection, body).await
        }

        async fn write(&self, batch: Batch) -> Result<Written> {
            let id = batch.id().unwrap();
            match (self.client.write(batch.clone()).await, self.how) {
                (Err(error), How::Lies) if error.retry() != Retry::No => Ok(Written {
                    id,
                    entries: Vec::new(),
                }),
                (Err(error), How::Repeats) if error.retry() != Retry::No => {
                    let mut again = Batch::new();
                    for operation in batch.operations() {
                        again.push(operation.clone());
                    }
                    self.client.write(again).await?;
                    Err(error)
                }
                (Err(error), How::Hangs) if error.retry() != Retry::No => {
                    std::future::pending().await
                }
                (answer, _) => answer,
            }
        }

        fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream {
            self.client.scan(collection, scan)
        }

        async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
            self.client.define(collection, indexes).await
        }

        async fn collections(&self) -> Result<Vec<CollectionName>> {
            self.client.collections().await
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn clients_that_lie_repeat_or_hang_are_found_out() {
        // What shows a lie first depends on what was lost: an item, an increment, or what
        // was written over before anybody looked.
        let lost: &[&str] = &["should be one of", "the counter shows", "watch never told"];
        for (how, wanted) in [
            (How::Lies, lost),
            (How::Repeats, &[""]),
            (How::Hangs, &["a write hangs"]),
        ] {
            let store = DynBackend::from(MemoryBackend::new());
            let (url, _) = serving::serve(store.clone(), Env::system()).await;
            let opener = move |url| async move {
                let client = open(url).await?;
                Ok(std::sync::Arc::new(Wrong { client, how }) as DynBackend)
            };
            let options = Options {
                runs: 20,
                patience: Duration::from_secs(5),
                ..Options::from_environment().unwrap()
            };
            let result = faults::run(Subject::new(url, opener).beside(store), options).await;
            let why = result.expect_err("nobody noticed");
            let is_told = wanted.iter().any(|wanted| why.contains(wanted));
            assert!(is_told, "{how:?}: {why}");
            assert!(why.contains("HOLDALL_FAULT_SEED="), "{why}");
        }
    }
}
