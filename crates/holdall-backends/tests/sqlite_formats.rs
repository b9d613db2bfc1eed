//! Files of every released format are still read, and damaged ones refused.
//!
//! `fixtures/sqlite-format-N.db` was written once by the code of its time, and
//! is never written again. `HOLDALL_WRITE_FIXTURE=FILE` writes one of today.

#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use futures_util::TryStreamExt;
use holdall_backends::sqlite::{SqliteBackend, SqliteOptions};
use holdall_core::{
    Backend, BackendExt, CollectionName, Condition, Doc, Env, ErrorKind, Filter, GetOptions, Holds,
    Index, Key, ManualClock, Put, Query, Scan, Timestamp, Type, byte_stream, json,
};

fn fixture(format: i32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../fixtures/sqlite-format-{format}.db"))
}

fn name(text: &str) -> CollectionName {
    CollectionName::new(text).unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn large() -> Vec<u8> {
    (0..200_000_u32)
        .map(|at| u8::try_from(at % 251).unwrap())
        .collect()
}

/// One item of each kind that the format knows.
async fn write(path: &Path) {
    let clock = ManualClock::at(Timestamp::from_micros(1_790_000_000_000_000));
    let options = SqliteOptions {
        env: Env::seeded(clock.clone(), 42),
        ..SqliteOptions::new(path)
    };
    let store = SqliteBackend::open(options).await.unwrap();
    let books = name("Books & more");
    let indexes = [
        Index::parse(&["isbn"]).unwrap().unique(),
        Index::parse(&["author", "year"]).unwrap(),
        Index::parse(&["year"])
            .unwrap()
            .holding(Holds::Only(Type::Number)),
        Index::parse(&["title"]).unwrap().holding(Holds::Words),
    ];
    store.define(&books, &indexes).await.unwrap();
    for (id, doc) in [
        (
            "emma",
            json!({"author": "Austen", "year": 1815, "title": "Emma", "isbn": 1}),
        ),
        (
            "straße",
            json!({"author": "Döblin", "year": 1929.0, "title": "Die Straße", "isbn": 18_446_744_073_709_551_615_u64}),
        ),
        (
            "odd",
            json!({"author": null, "year": "unknown", "tags": [1, "a", {"b": false}]}),
        ),
    ] {
        store
            .put(
                &books,
                &key(id),
                Condition::Absent,
                Put::doc(Doc::from_value(&doc).unwrap()),
            )
            .await
            .unwrap();
        clock.advance(Duration::from_secs(1));
    }
    let files = name("files");
    store
        .put(&files, &key("empty"), Condition::Any, Put::bytes(""))
        .await
        .unwrap();
    store
        .put(&files, &key("small"), Condition::Any, Put::bytes("hello"))
        .await
        .unwrap();
    store
        .put_stream(
            &files,
            &key("large"),
            Condition::Any,
            Put::default(),
            byte_stream(large()),
        )
        .await
        .unwrap();
    let mut with_attrs = Put::bytes("x");
    with_attrs.attrs.set("layer", vec![1, 2, 3]).unwrap();
    store
        .put(&files, &key("attrs"), Condition::Any, with_attrs)
        .await
        .unwrap();
    store
        .put(&name("gone"), &key("x"), Condition::Any, Put::default())
        .await
        .unwrap();
    store.drop_collection(&name("gone")).await.unwrap();
    store.close().await.unwrap();
}

async fn check(path: &Path) {
    let store = SqliteBackend::open(SqliteOptions::new(path)).await.unwrap();
    let books = name("Books & more");
    assert_eq!(
        store.collections().await.unwrap(),
        [books.clone(), name("files")]
    );
    let keys = |items: Vec<holdall_core::Item>| {
        items
            .into_iter()
            .map(|item| item.key.to_string())
            .collect::<Vec<_>>()
    };
    let all: Vec<_> = store.scan(&books, Scan::all()).try_collect().await.unwrap();
    assert_eq!(keys(all), ["emma", "odd", "straße"]);
    for (filter, wanted) in [
        (r#"{"author":"Austen"}"#, "emma"),
        (r#"{"year":1929}"#, "straße"),
        (r#"{"title":{"$match":"STRASSE"}}"#, "straße"),
        (r#"{"isbn":18446744073709551615}"#, "straße"),
        (r#"{"tags":[1.0,"a",{"b":false}]}"#, "odd"),
    ] {
        let query = Query::new(Filter::parse(filter).unwrap());
        assert_eq!(
            keys(store.query_all(&books, query, 10).await.unwrap()),
            [wanted],
            "{filter}"
        );
    }
    let emma = store
        .get(&books, &key("emma"), GetOptions::default())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        emma.entry.created,
        Timestamp::from_micros(1_790_000_000_000_000)
    );
    assert_eq!(
        emma.entry.version.time(),
        Some(Timestamp::from_micros(1_790_000_000_000_000))
    );
    let taken = Put::doc(Doc::parse(r#"{"isbn":1.0}"#).unwrap());
    assert!(
        store
            .put(&books, &key("other"), Condition::Any, taken)
            .await
            .unwrap_err()
            .is_conflict()
    );
    let files = name("files");
    for (id, wanted) in [
        ("empty", vec![]),
        ("small", b"hello".to_vec()),
        ("large", large()),
        ("attrs", b"x".to_vec()),
    ] {
        let item = store
            .get(&files, &key(id), GetOptions::default())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(item.attrs.get("layer").is_some(), id == "attrs");
        assert_eq!(
            item.into_body().unwrap().bytes(usize::MAX).await.unwrap(),
            wanted,
            "{id}"
        );
    }
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_file_of_today_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("today.db");
    write(&path).await;
    check(&path).await;
    #[allow(
        clippy::disallowed_methods,
        reason = "a test binary has no other settings"
    )]
    if let Ok(fixture) = std::env::var("HOLDALL_WRITE_FIXTURE") {
        let fresh = folder.path().join("fresh.db");
        write(&fresh).await;
        std::fs::copy(&fresh, fixture).unwrap();
    }
}

#[tokio::test]
async fn files_of_released_formats_are_read() {
    for format in [1] {
        let folder = tempfile::tempdir().unwrap();
        let copy = folder.path().join("copy.db");
        std::fs::copy(fixture(format), &copy).unwrap();
        check(&copy).await;
    }
}

/// Each byte of the header, and pages here and there, are damaged in turn. The
/// file may be refused, or read as it was; it never panics, and never answers
/// with an error of another kind.
#[tokio::test]
async fn damaged_files_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let whole = std::fs::read(fixture(1)).unwrap();
    let mut refused = 0;
    for at in (0..100).chain((100..whole.len()).step_by(3001)) {
        let mut damaged = whole.clone();
        let end = (at + if at < 100 { 1 } else { 64 }).min(damaged.len());
        damaged
            .get_mut(at..end)
            .unwrap()
            .iter_mut()
            .for_each(|byte| *byte ^= 0x5A);
        let path = folder.path().join(format!("{at}.db"));
        std::fs::write(&path, damaged).unwrap();
        if let Err(error) = read_all(&path).await {
            // Byte 18 says whether the file may be written.
            assert!(
                matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Invalid)
                    || (at == 18 && error.kind() == ErrorKind::Denied),
                "byte {at}: {:?} {error}",
                error.kind()
            );
            refused += 1;
        }
    }
    assert!(refused > 20, "only {refused} damaged files were refused");
}

async fn read_all(path: &Path) -> holdall_core::Result<()> {
    let store = SqliteBackend::open(SqliteOptions::new(path)).await?;
    for collection in store.collections().await? {
        let mut items = store.scan(&collection, Scan::all().parts(holdall_core::Parts::ALL));
        while let Some(item) = items.try_next().await? {
            item.doc()?.value()?;
            if let Some(body) = item.body {
                body.bytes(usize::MAX).await?;
            }
        }
        store
            .count(&collection, &Filter::eq("author", "Austen")?)
            .await?;
    }
    store.close().await
}
