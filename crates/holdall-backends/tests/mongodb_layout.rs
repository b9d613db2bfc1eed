//! What lies in MongoDB, as docs/mongodb.md says, and what is swept from it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod mongo;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_backends::mongodb::driver::Client;
use holdall_backends::mongodb::driver::bson::spec::ElementType;
use holdall_backends::mongodb::driver::bson::{Binary, Bson, Document, doc};
use holdall_backends::mongodb::driver::event::EventHandler;
use holdall_backends::mongodb::driver::event::command::CommandEvent;
use holdall_backends::mongodb::driver::options::ClientOptions;
use holdall_backends::mongodb::{MongoBackend, MongoOptions};
use holdall_core::{
    Backend, BackendExt, Batch, Condition, Doc, Env, Error, ErrorKind, Filter, Holds, Index, Key,
    ManualClock, Put, Query, Sort, Timestamp, WatchFrom, byte_stream, json,
};
use holdall_testing::services::need;
use mongo::own::{Own, items, key};
use mongo::{clear, database};

const ANY: Condition = Condition::Any;

#[tokio::test]
async fn docs_are_natural_documents() {
    let Some(own) = Own::new(|_| {}).await else {
        return;
    };
    let doc = Doc::parse(
        r#"{"title":"Emma","year":1815,"big":5000000000,"huge":18446744073709551615,"half":0.5,"whole":1.0,
            "tags":["a","b"],"none":null,"by":{"first.name":"Jane","$x":1,"":2},"_id":"mine","_holdall":true}"#,
    )
    .unwrap();
    let entry = own
        .store
        .put(
            &items(),
            &key("emma"),
            ANY,
            Put::bytes("body!").with_doc(doc.clone()),
        )
        .await
        .unwrap();
    let found = own.document("emma").await;
    let types = |name: &str| found.get(name).unwrap().element_type();
    assert_eq!(found.get_str("title").unwrap(), "Emma");
    assert_eq!(types("year"), ElementType::Int32);
    assert_eq!(types("big"), ElementType::Int64);
    assert_eq!(
        found.get("huge").unwrap().to_string(),
        "18446744073709551615"
    );
    assert_eq!(types("huge"), ElementType::Decimal128);
    assert_eq!(types("half"), ElementType::Double);
    assert_eq!(types("whole"), ElementType::Double);
    assert_eq!(types("none"), ElementType::Null);
    assert_eq!(
        found.get_document("by").unwrap(),
        &doc! { "first%2Ename": "Jane", "%24x": 1, "%": 2 }
    );
    assert_eq!(found.get_str("%5Fid").unwrap(), "mine");
    let inner = found.get_document("_holdall").unwrap();
    let bytes = |name: &str| match inner.get(name).unwrap() {
        Bson::Binary(Binary { bytes, .. }) => bytes.clone(),
        other => panic!("{other}"),
    };
    assert_eq!(bytes("version"), entry.version.as_bytes());
    assert_eq!(bytes("digest"), entry.digest.unwrap().as_bytes());
    assert_eq!(bytes("body"), b"body!");
    assert_eq!(inner.get_i64("created").unwrap(), entry.created.as_micros());
    assert_eq!(inner.get_i64("size").unwrap(), 5);
    let natural = own.database.collection::<Document>("items");
    let old = natural.count_documents(doc! { "year": { "$lt": 1900 }, "tags": "b" });
    assert_eq!(old.await.unwrap(), 1);
    let item = own
        .store
        .get(&items(), &key("emma"), holdall_core::GetOptions::default())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(item.doc().unwrap(), &doc);
    own.end().await;
}

#[tokio::test]
async fn a_value_is_never_an_operator() {
    let Some(own) = Own::new(|_| {}).await else {
        return;
    };
    for (name, doc) in [
        ("a", r#"{"v":{"$gt":0}}"#),
        ("b", r#"{"v":5}"#),
        ("c", r#"{"v":"/.*/"}"#),
    ] {
        own.store
            .put(
                &items(),
                &key(name),
                ANY,
                Put::doc(Doc::parse(doc).unwrap()),
            )
            .await
            .unwrap();
    }
    for (value, wanted) in [
        (json!({"$gt": 0}), "a"),
        (json!(5), "b"),
        (json!("/.*/"), "c"),
    ] {
        let query = Query::new(Filter::eq("v", value).unwrap());
        let found = own.store.query_all(&items(), query, 10).await.unwrap();
        assert_eq!(
            found
                .iter()
                .map(|item| item.key.as_str())
                .collect::<Vec<_>>(),
            [wanted]
        );
    }
    own.end().await;
}

#[tokio::test]
async fn large_bodies_are_files_of_gridfs() {
    let Some(own) = Own::new(|_| {}).await else {
        return;
    };
    let body: Vec<u8> = (0..1_000_000_u32).map(|n| n.to_le_bytes()[1]).collect();
    own.store
        .put_stream(
            &items(),
            &key("a"),
            ANY,
            Put::default(),
            byte_stream(body.clone()),
        )
        .await
        .unwrap();
    let file = own
        .document("a")
        .await
        .get_document("_holdall")
        .unwrap()
        .get("file")
        .unwrap()
        .clone();
    let bucket = own.database.gridfs_bucket(
        holdall_backends::mongodb::driver::options::GridFsBucketOptions::builder()
            .bucket_name("holdall.bodies".to_owned())
            .build(),
    );
    let mut stream = bucket.open_download_stream(file).await.unwrap();
    let mut read = Vec::new();
    futures_util::AsyncReadExt::read_to_end(&mut stream, &mut read)
        .await
        .unwrap();
    assert!(read == body, "GridFS reads another body");
    own.end().await;
}

/// A write that failed, and an upload that was given up, used to leave files for ever in
/// stores that write the file first.
#[tokio::test]
async fn nothing_is_left_of_what_failed_or_was_given_up() {
    let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
    let env = Env::seeded(clock.clone(), 7);
    let Some(own) = Own::new(|options| options.env = env).await else {
        return;
    };
    let store = &own.store;
    let large = || Put::bytes(vec![1; 400_000]);
    // A refused batch removes what it brought along.
    store
        .put(&items(), &key("a"), ANY, Put::default())
        .await
        .unwrap();
    store
        .put(&items(), &key("a"), Condition::Absent, large())
        .await
        .unwrap_err();
    assert_eq!(
        (
            own.count("holdall.bodies.files").await,
            own.count("holdall.bodies.chunks").await
        ),
        (0, 0)
    );
    // So does a stream that fails.
    let pieces = (0..4).map(|_| Ok(vec![1; 700_000].into()));
    let failing = stream::iter(pieces.chain([Err(Error::other("the sender is gone"))])).boxed();
    store.stage(&items(), failing).await.unwrap_err();
    assert_eq!(
        (
            own.count("holdall.bodies.files").await,
            own.count("holdall.bodies.chunks").await
        ),
        (0, 0)
    );
    // An upload that is dropped in the middle lies there until its lease ends.
    let endless = stream::iter((0..3).map(|_| Ok(vec![1; 1_500_000].into())))
        .chain(stream::pending())
        .boxed();
    let _timeout = tokio::time::timeout(Duration::from_millis(500), store.stage(&items(), endless))
        .await
        .unwrap_err();
    assert!(
        own.count("holdall.bodies.chunks").await > 0,
        "nothing was sent"
    );
    store.sweep().await.unwrap();
    assert_eq!(own.count("holdall.bodies.files").await, 1);
    clock.advance(Duration::from_secs(3601));
    store.sweep().await.unwrap();
    assert_eq!(
        (
            own.count("holdall.bodies.files").await,
            own.count("holdall.bodies.chunks").await
        ),
        (0, 0)
    );
    // A body that was overwritten stays for a while, one that an item has for ever.
    store.put(&items(), &key("a"), ANY, large()).await.unwrap();
    store.put(&items(), &key("b"), ANY, large()).await.unwrap();
    let old = store
        .get(&items(), &key("a"), holdall_core::GetOptions::default())
        .await
        .unwrap()
        .unwrap();
    store
        .put(&items(), &key("a"), ANY, Put::default())
        .await
        .unwrap();
    store.sweep().await.unwrap();
    assert_eq!(own.count("holdall.bodies.files").await, 2);
    assert_eq!(
        old.into_body()
            .unwrap()
            .bytes(1_000_000)
            .await
            .unwrap()
            .len(),
        400_000
    );
    clock.advance(Duration::from_secs(3601));
    store.sweep().await.unwrap();
    assert_eq!(own.count("holdall.bodies.files").await, 1);
    clock.advance(Duration::from_secs(86_400));
    store.sweep().await.unwrap();
    assert_eq!(own.count("holdall.bodies.files").await, 1);
    assert_eq!(
        own.count("holdall.batches").await,
        0,
        "records of batches older than a day"
    );
    own.end().await;
}

#[tokio::test]
async fn a_body_that_went_while_it_was_read_is_a_conflict() {
    let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
    let env = Env::seeded(clock.clone(), 8);
    let Some(own) = Own::new(|options| options.env = env).await else {
        return;
    };
    let store = &own.store;
    store
        .put(&items(), &key("a"), ANY, Put::bytes(vec![1; 4_000_000]))
        .await
        .unwrap();
    let item = store
        .get(&items(), &key("a"), holdall_core::GetOptions::default())
        .await
        .unwrap()
        .unwrap();
    let mut body = item.into_body().unwrap().into_stream();
    body.try_next().await.unwrap().unwrap();
    store.delete(&items(), &key("a"), ANY).await.unwrap();
    clock.advance(Duration::from_secs(3601));
    store.sweep().await.unwrap();
    let error = body.try_collect::<Vec<_>>().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    own.end().await;
}

#[tokio::test]
async fn an_index_serves_filters_and_orders() {
    let Some(own) = Own::new(|_| {}).await else {
        return;
    };
    let store = &own.store;
    let words = Index::parse(&["t"]).unwrap().holding(Holds::Words);
    store
        .define(&items(), &[Index::parse(&["n"]).unwrap(), words])
        .await
        .unwrap();
    let mut batch = Batch::new();
    for n in 0..200 {
        let doc = Doc::parse(format!("{{\"n\":{},\"t\":\"word{n} Straße\"}}", n % 50)).unwrap();
        batch = batch.put(&items(), &key(&format!("k{n:03}")), ANY, Put::doc(doc));
    }
    store.write(batch).await.unwrap();
    let found = own.document("k051").await;
    let inner = found.get_document("_holdall").unwrap();
    assert_eq!(
        inner.get_document("words").unwrap().get_array("2").unwrap(),
        &vec![Bson::from("strasse"), "word51".into()]
    );
    let text = inner.get_document("sort").unwrap().get_str("1").unwrap();
    assert!(
        text.ends_with("l162"),
        "the key k051, a character further, ends {text:?}"
    );
    // Pages by the index, in both directions, through every tie.
    for (sort, first) in [("n:asc", "k000"), ("n:desc", "k199")] {
        let query = || {
            Query::new(Filter::parse(r#"{"n":{"$gte":0}}"#).unwrap())
                .sort(Sort::parse(sort).unwrap())
                .limit(7)
        };
        let (mut all, mut next) = (Vec::new(), query());
        loop {
            let page: Vec<_> = store.query(&items(), next).try_collect().await.unwrap();
            let Some(last) = page.last() else { break };
            next = query().after(query().cursor(last).unwrap());
            all.extend(page.into_iter().map(|item| item.key));
        }
        assert_eq!((all.len(), all[0].as_str()), (200, first));
    }
    let search = Filter::parse(r#"{"t":{"$match":"STRASSE word7"}}"#).unwrap();
    assert_eq!(store.count(&items(), &search).await.unwrap(), 1);
    own.end().await;
}

#[tokio::test]
async fn a_client_that_was_handed_in_is_not_closed() {
    let Some(server) = need("mongodb") else {
        return;
    };
    let base = database();
    let client = Client::with_uri_str(&server).await.unwrap();
    let store = MongoBackend::from_client(client.clone(), &base, MongoOptions::new(""))
        .await
        .unwrap();
    store
        .put(&items(), &key("a"), ANY, Put::default())
        .await
        .unwrap();
    store.close().await.unwrap();
    let count = client
        .database(&base)
        .collection::<Document>("items")
        .count_documents(doc! {})
        .await
        .unwrap();
    assert_eq!(count, 1);
    clear(&server, &base).await;
}

#[tokio::test]
async fn journal_false_is_not_durable() {
    let Some(own) = Own::new(|options| options.journal = false).await else {
        return;
    };
    assert!(!own.store.capabilities().durable);
    own.store
        .put(&items(), &key("a"), ANY, Put::default())
        .await
        .unwrap();
    own.end().await;
}

#[tokio::test]
async fn a_store_without_change_streams_numbers_its_batches() {
    let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
    let env = Env::seeded(clock.clone(), 9);
    let set = |options: &mut MongoOptions| {
        options.env = env.clone();
        options.streams = false;
    };
    let Some(own) = Own::new(set).await else {
        return;
    };
    let store = &own.store;
    let put = async |name: &str| store.put(&items(), &key(name), ANY, Put::default()).await;
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    put("a").await.unwrap();
    put("b").await.unwrap();
    // What is refused takes no number.
    let there = Condition::Absent;
    store
        .put(&items(), &key("a"), there, Put::default())
        .await
        .unwrap_err();
    store.drop_collection(&items()).await.unwrap();
    let batches = own.database.collection::<Document>("holdall.batches");
    let records = batches.find(doc! {}).sort(doc! { "number": 1 }).await;
    let records: Vec<_> = records.unwrap().try_collect().await.unwrap();
    let numbers = records
        .iter()
        .map(|record| record.get_i64("number").unwrap());
    assert_eq!(numbers.collect::<Vec<_>>(), [1, 2, 3]);
    let meta = own.database.collection::<Document>("holdall.meta");
    let counter = meta.find_one(doc! { "_id": "counter" }).await.unwrap();
    assert_eq!(counter.unwrap().get_i64("number").unwrap(), 3);
    let mut told = Vec::new();
    for _ in 0..3 {
        told.push(changes.next().await.unwrap().unwrap());
    }
    let keys: Vec<_> = told
        .iter()
        .map(|change| change.key.as_ref().map(Key::as_str))
        .collect();
    assert_eq!(keys, [Some("a"), Some("b"), None]);
    let after = async |at: usize| {
        let from = WatchFrom::After(told[at].cursor.clone());
        store.watch(None, from).await
    };
    // Once records are swept, a watch that needs them is told so, and others go on.
    clock.advance(Duration::from_secs(90_000));
    store.sweep().await.unwrap();
    assert_eq!(own.count("holdall.batches").await, 0);
    let Err(error) = after(1).await else {
        panic!("what follows was swept");
    };
    assert_eq!(error.kind(), ErrorKind::Expired, "{error}");
    let mut rest = after(2).await.unwrap();
    put("c").await.unwrap();
    let next = rest.next().await.unwrap().unwrap();
    assert_eq!(next.key, Some(key("c")));
    own.end().await;
}

/// A large batch is written without a look at what is there, if there was nothing the last
/// time. What is there all the same must not be lost, nor overwritten against a condition.
#[tokio::test]
async fn a_large_batch_finds_what_it_did_not_look_for() {
    let Some(own) = Own::new(|_| {}).await else {
        return;
    };
    let finds = Arc::new(AtomicUsize::new(0));
    let mut client = ClientOptions::parse(&own.server).await.unwrap();
    let count = finds.clone();
    client.command_event_handler = Some(EventHandler::callback(move |event| {
        if let CommandEvent::Started(started) = event
            && started
                .command
                .get_str("find")
                .is_ok_and(|name| name == "items")
        {
            count.fetch_add(1, Ordering::SeqCst);
        }
    }));
    let client = Client::with_options(client).unwrap();
    let store = MongoBackend::from_client(client, &own.base, MongoOptions::new(""))
        .await
        .unwrap();
    let batch = |from: usize, condition: Condition| {
        let mut batch = Batch::new();
        for n in from..from + 150 {
            let doc = Doc::parse(format!(r#"{{"from":{from}}}"#)).unwrap();
            batch = batch.put(
                &items(),
                &key(&format!("k{n:04}")),
                condition,
                Put::doc(doc),
            );
        }
        batch
    };
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    let first = store.write(batch(0, ANY)).await.unwrap();
    assert_eq!(finds.swap(0, Ordering::SeqCst), 1);
    // From here on nobody looks, until something is there.
    store.write(batch(150, Condition::Absent)).await.unwrap();
    assert_eq!(finds.load(Ordering::SeqCst), 0);
    let error = store
        .write(batch(200, Condition::Absent))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    store.write(batch(300, ANY)).await.unwrap();
    store.write(batch(450, ANY)).await.unwrap();
    let over = store.write(batch(100, ANY)).await.unwrap();
    let (old, new) = (first.entries[100].unwrap(), over.entries[0].unwrap());
    assert_eq!(
        new.created, old.created,
        "it was first put by the first batch"
    );
    let mut told = Vec::new();
    for _ in 0..5 * 150 {
        told.push(changes.next().await.unwrap().unwrap());
    }
    let last = &told[4 * 150];
    assert_eq!(
        (last.version, last.previous),
        (Some(over.id), Some(first.id))
    );
    assert_eq!(own.count("items").await, 600);
    own.end().await;
}
