//! What several who use one store in MongoDB do to each other.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

mod mongo;

use std::sync::Mutex;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use holdall_backends::mongodb::driver::bson::{Document, doc};
use holdall_backends::mongodb::driver::event::EventHandler;
use holdall_backends::mongodb::driver::event::command::CommandEvent;
use holdall_backends::mongodb::driver::options::{ClientOptions, IndexOptions};
use holdall_backends::mongodb::driver::{Client, Database, IndexModel};
use holdall_backends::mongodb::{MongoBackend, MongoOptions};
use holdall_core::{
    Backend, BackendExt, Condition, Doc, ErrorKind, Filter, Index, Put, Query, Sort, Watch,
    WatchFrom, json,
};
use mongo::options;
use mongo::own::{Own, items, key};

const ANY: Condition = Condition::Any;

/// A store with numbers that is written without them would have watchers that miss what
/// was written.
#[tokio::test]
async fn whether_batches_have_numbers_is_said_by_the_store_and_not_by_the_option() {
    let Some(own) = Own::new(|options| options.streams = false).await else {
        return;
    };
    let beside = MongoBackend::open(options(&own.server, &own.base))
        .await
        .unwrap();
    assert_eq!(beside.capabilities().watch, Watch::Total);
    let mut changes = own.store.watch(None, WatchFrom::Now).await.unwrap();
    let (items, a, b) = (items(), key("a"), key("b"));
    let put = beside.put(&items, &a, ANY, Put::default());
    let entry = put.await.unwrap();
    let told = changes.next().await.unwrap().unwrap();
    assert_eq!(told.version, Some(entry.version));
    let cursor = WatchFrom::After(told.cursor);
    let mut there = beside.watch(None, cursor).await.unwrap();
    let put = own.store.put(&items, &b, ANY, Put::default());
    put.await.unwrap();
    assert_eq!(there.next().await.unwrap().unwrap().key, Some(b));
    beside.close().await.unwrap();
    own.end().await;

    let Some(own) = Own::new(|_| {}).await else {
        return;
    };
    let mut without = options(&own.server, &own.base);
    without.streams = false;
    let beside = MongoBackend::open(without).await.unwrap();
    assert_eq!(beside.capabilities().watch, Watch::None);
    let refused = beside.watch(None, WatchFrom::Now).await.map(drop);
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Unsupported);
    beside.close().await.unwrap();
    own.end().await;
}

/// A reader goes by the indexes that it knew. Documents that came after these were dropped are
/// in none of them.
#[tokio::test]
async fn an_index_that_another_dropped_is_not_believed() {
    let Some(own) = Own::new(|_| {}).await else {
        return;
    };
    let other = MongoBackend::open(options(&own.server, &own.base))
        .await
        .unwrap();
    let index = Index::parse(&["n"]).unwrap();
    let put = async |name: &str| {
        let doc = Put::doc(Doc::parse(r#"{"n":1}"#).unwrap());
        other.put(&items(), &key(name), ANY, doc).await.unwrap();
    };
    let found = async || {
        let filter = || Filter::eq("n", json!(1)).unwrap();
        let query = Query::new(filter()).sort(Sort::parse("n:asc").unwrap());
        let found = own.store.query_all(&items(), query, 10).await.unwrap();
        let count = own.store.count(&items(), &filter()).await.unwrap();
        assert_eq!(count, found.len() as u64);
        let keys = found.into_iter().map(|item| item.key.as_str().to_owned());
        keys.collect::<Vec<_>>()
    };
    for round in 0..3 {
        other
            .define(&items(), std::slice::from_ref(&index))
            .await
            .unwrap();
        let (before, after) = (format!("before {round}"), format!("after {round}"));
        put(&before).await;
        assert_eq!(found().await, [before.as_str()]);
        other.drop_collection(&items()).await.unwrap();
        put(&after).await;
        assert_eq!(found().await, [after.as_str()]);
        other.drop_collection(&items()).await.unwrap();
    }
    other.close().await.unwrap();
    own.end().await;
}

/// A store, and what another does to its catalogue while it makes the index of `holdall_1_sort`.
async fn disturbed(own: &Own, other: fn(&Database) -> BoxFuture<'_, ()>) -> MongoBackend {
    let mut client = ClientOptions::parse(&own.server).await.unwrap();
    let place = Mutex::new(Some((own.server.clone(), own.base.clone())));
    client.command_event_handler = Some(EventHandler::callback(move |event| {
        if let CommandEvent::Started(started) = event
            && started
                .command
                .get_str("createIndexes")
                .is_ok_and(|name| name == "items")
            && let Some((server, base)) = place.lock().unwrap().take()
        {
            let meddling = std::thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .unwrap();
                runtime.block_on(async {
                    let client = Client::with_uri_str(&server).await.unwrap();
                    other(&client.database(&base)).await;
                });
            });
            meddling.join().unwrap();
        }
    }));
    let client = Client::with_options(client).unwrap();
    let options = MongoOptions::new("");
    MongoBackend::from_client(client, &own.base, options)
        .await
        .unwrap()
}

/// The ids of declared indexes, and whether each is ready.
async fn declared(own: &Own) -> Vec<(i32, bool)> {
    let catalogue = own.database.collection::<Document>("holdall.collections");
    let entry = catalogue.find_one(doc! { "_id": "items" }).await.unwrap();
    let entry = entry.unwrap();
    let indexes = entry.get_array("indexes").unwrap().iter();
    let indexes = indexes.map(|index| index.as_document().unwrap());
    indexes
        .map(|index| {
            (
                index.get_i32("id").unwrap(),
                index.get_bool("ready").unwrap(),
            )
        })
        .collect()
}

/// Two that declare one index share its entry. One that failed used to remove what the other had
/// finished, and a unique index bound no more.
#[tokio::test]
async fn who_fails_to_make_an_index_leaves_one_that_another_finished() {
    let Some(own) = Own::new(|_| {}).await else {
        return;
    };
    let store = disturbed(&own, |database| {
        Box::pin(async move {
            let finished =
                doc! { "$set": { "indexes.0.ready": true }, "$inc": { "generation": 1_i64 } };
            let catalogue = database.collection::<Document>("holdall.collections");
            catalogue
                .update_one(doc! { "_id": "items" }, finished)
                .await
                .unwrap();
            // In the way of whoever makes it once more.
            let name = IndexOptions::builder().name("holdall_1_sort".to_owned());
            let index = IndexModel::builder().keys(doc! { "alien": 1 });
            let index = index.options(name.build()).build();
            let items = database.collection::<Document>("items");
            items.create_index(index).await.unwrap();
        })
    })
    .await;
    let index = Index::parse(&["n"]).unwrap();
    let error = store.define(&items(), &[index]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    assert_eq!(declared(&own).await, [(1, true)]);
    own.end().await;
}

/// The other of the two used to be told that the index is there, when it was removed meanwhile.
#[tokio::test]
async fn an_index_that_another_gave_up_is_made_again() {
    let Some(own) = Own::new(|_| {}).await else {
        return;
    };
    let store = disturbed(&own, |database| {
        Box::pin(async move {
            let none = doc! { "$set": { "indexes": [] }, "$inc": { "generation": 1_i64 } };
            let catalogue = database.collection::<Document>("holdall.collections");
            catalogue
                .update_one(doc! { "_id": "items" }, none)
                .await
                .unwrap();
        })
    })
    .await;
    let index = Index::parse(&["n"]).unwrap();
    store.define(&items(), &[index]).await.unwrap();
    assert_eq!(declared(&own).await, [(2, true)]);
    own.end().await;
}
