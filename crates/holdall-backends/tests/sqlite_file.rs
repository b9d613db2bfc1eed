//! Stories of the SQLite file: who may read it, what damages it, what it costs.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "the helpers of tests"
)]

use std::fs;
use std::path::Path as FilePath;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_backends::sqlite::{SqliteBackend, SqliteOptions};
use holdall_core::{
    Backend, BackendExt, Batch, ByteRange, CollectionName, Condition, Doc, DynBackend, Env,
    ErrorKind, Filter, GetOptions, Holds, Index, Key, ManualClock, MemoryBackend, Put, Query,
    Retry, Sort, Timestamp, Type, WatchFrom, byte_stream, json,
};
use rusqlite::Connection;

fn name(text: &str) -> CollectionName {
    CollectionName::new(text).unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn doc(value: serde_json::Value) -> Put {
    Put::doc(Doc::from_value(&value).unwrap())
}

async fn open(path: &FilePath) -> SqliteBackend {
    SqliteBackend::open(SqliteOptions::new(path)).await.unwrap()
}

async fn refused(path: &FilePath) -> holdall_core::Error {
    SqliteBackend::open(SqliteOptions::new(path))
        .await
        .unwrap_err()
}

/// Every file of a folder, with its content.
fn content(folder: &FilePath) -> Vec<(std::path::PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| (path.clone(), fs::read(path).unwrap()))
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_person_reads_a_collection_with_plain_sql() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path).await;
    let books = name("my-Books");
    store
        .define(
            &books,
            &[
                Index::parse(&["year"]).unwrap(),
                Index::parse(&["author"]).unwrap().unique(),
            ],
        )
        .await
        .unwrap();
    store
        .put(
            &books,
            &key("emma"),
            Condition::Any,
            doc(json!({"author": "Austen", "year": 1815})),
        )
        .await
        .unwrap();
    store
        .put(
            &books,
            &key("ulysses"),
            Condition::Any,
            doc(json!({"author": "Joyce", "year": 1922})),
        )
        .await
        .unwrap();

    let plain = Connection::open(&path).unwrap();
    let table: String = plain
        .query_row(
            "SELECT table_name FROM holdall_collections WHERE name = 'my-Books'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(table, "my_books");
    let year: i64 = plain
        .query_row(
            "SELECT doc ->> 'year' FROM my_books WHERE key = 'emma'",
            [],
            |row| row.get(0),
        )
        .unwrap();
    assert_eq!(year, 1815);
    let late: Vec<String> = plain
        .prepare("SELECT key FROM my_books WHERE doc ->> '$.year' > 1900")
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(late, ["ulysses"]);
}

#[tokio::test]
async fn a_file_of_a_newer_format_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    open(&path).await.close().await.unwrap();
    Connection::open(&path)
        .unwrap()
        .pragma_update(None, "user_version", 999)
        .unwrap();
    let before = content(folder.path());
    let error = refused(&path).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(error.to_string().contains("format 999"), "{error}");
    assert_eq!(content(folder.path()), before);
}

#[tokio::test]
async fn the_database_of_another_program_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("other.db");
    Connection::open(&path)
        .unwrap()
        .execute_batch("CREATE TABLE theirs (x); INSERT INTO theirs VALUES (1)")
        .unwrap();
    let before = content(folder.path());
    let error = refused(&path).await;
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert!(error.to_string().contains("another program"), "{error}");
    assert_eq!(content(folder.path()), before);
}

#[tokio::test]
async fn what_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "Dear diary, this is no database. ".repeat(100)).unwrap();
    let before = content(folder.path());
    assert_eq!(refused(&text).await.kind(), ErrorKind::Corrupt);
    assert_eq!(content(folder.path()), before);

    let mut missing = SqliteOptions::new(folder.path().join("typo.db"));
    missing.create = false;
    let error = SqliteBackend::open(missing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(content(folder.path()), before);

    let error = refused(&folder.path().join("no/such/folder/store.db")).await;
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::No)
    );
    assert!(error.to_string().contains("folder"), "{error}");
    assert!(
        refused(folder.path())
            .await
            .to_string()
            .contains("cannot be opened")
    );
}

#[tokio::test]
async fn a_damaged_page_is_reported_and_never_read_as_data() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path).await;
    let items = name("items");
    let mut batch = Batch::new();
    for number in 0..2000 {
        batch = batch.put(
            &items,
            &key(&format!("{number:05}")),
            Condition::Any,
            doc(json!({"text": "x".repeat(500)})),
        );
    }
    store.write(batch).await.unwrap();
    store.close().await.unwrap();
    let mut bytes = fs::read(&path).unwrap();
    let (start, end) = (bytes.len() / 2, bytes.len() / 2 + 100 * 4096);
    bytes[start..end].fill(0xA5);
    fs::write(&path, bytes).unwrap();

    let store = open(&path).await;
    let read: Result<Vec<_>, _> = store
        .scan(&items, holdall_core::Scan::all())
        .try_collect()
        .await;
    let error = read.expect_err("a fifth of the file is overwritten");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("backup"), "{error}");
}

/// A row that another program changed is not taken for one of ours.
#[tokio::test]
async fn a_row_of_another_shape_is_corrupt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let store = open(&path).await;
    let items = name("items");
    store
        .put(&items, &key("a"), Condition::Any, doc(json!({})))
        .await
        .unwrap();
    let plain = Connection::open(&path).unwrap();
    for change in [
        "doc = 'no json'",
        "doc = '[1]'",
        "version = x'00'",
        "digest = x'01'",
        "attrs = x'FF'",
    ] {
        plain.execute_batch("UPDATE items SET doc = '{}', version = randomblob(16), digest = NULL, attrs = NULL").unwrap();
        assert!(
            store
                .get(&items, &key("a"), GetOptions::default())
                .await
                .is_ok()
        );
        plain
            .execute_batch(&format!("UPDATE items SET {change}"))
            .unwrap();
        let read = match store.get(&items, &key("a"), GetOptions::default()).await {
            Ok(item) => item.unwrap().doc().unwrap().value().map(drop),
            Err(error) => Err(error),
        };
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Corrupt, "{change}");
        if change.starts_with("doc") {
            let filter = Filter::eq("x", 1).unwrap();
            assert_eq!(
                store.count(&items, &filter).await.unwrap_err().kind(),
                ErrorKind::Corrupt,
                "{change}"
            );
        }
    }
}

#[tokio::test]
async fn a_lock_that_another_process_holds_is_a_timeout_and_passes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let mut options = SqliteOptions::new(&path);
    options.busy_timeout = Duration::from_millis(20);
    let store = SqliteBackend::open(options.clone()).await.unwrap();
    let items = name("items");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store
        .put(&items, &key("a"), Condition::Any, doc(json!({})))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Timeout, Retry::Yes),
        "{error}"
    );
    assert!(error.to_string().contains("another process"), "{error}");
    // Readers are not in the way of writers, nor writers of readers.
    assert!(
        store
            .get(&items, &key("a"), GetOptions::default())
            .await
            .unwrap()
            .is_none()
    );
    assert_eq!(
        SqliteBackend::open(options).await.unwrap_err().kind(),
        ErrorKind::Timeout
    );
    other.execute_batch("ROLLBACK").unwrap();
    store
        .put(&items, &key("a"), Condition::Absent, doc(json!({})))
        .await
        .unwrap();
}

#[tokio::test]
async fn another_handle_sees_collections_indexes_and_drops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let (one, two) = (open(&path).await, open(&path).await);
    let items = name("items");
    let mut changes = two.watch(None, WatchFrom::Now).await.unwrap();
    one.put(&items, &key("a"), Condition::Any, doc(json!({"n": 1})))
        .await
        .unwrap();
    assert_eq!(changes.next().await.unwrap().unwrap().key, Some(key("a")));
    assert!(
        two.get(&items, &key("a"), GetOptions::default())
            .await
            .unwrap()
            .is_some()
    );
    two.define(&items, &[Index::parse(&["n"]).unwrap().unique()])
        .await
        .unwrap();
    let error = one
        .put(&items, &key("b"), Condition::Any, doc(json!({"n": 1.0})))
        .await
        .unwrap_err();
    assert!(error.is_conflict());
    assert!(
        error.to_string().contains("\"a\"") && error.to_string().contains("\"b\""),
        "{error}"
    );
    one.drop_collection(&items).await.unwrap();
    assert!(two.collections().await.unwrap().is_empty());
    two.put(&items, &key("b"), Condition::Any, doc(json!({"n": 1})))
        .await
        .unwrap();
    one.put(&items, &key("c"), Condition::Any, doc(json!({"n": 1})))
        .await
        .unwrap();
}

fn plan_uses(plan: &[String], what: &str) -> bool {
    plan.iter().any(|line| line.contains(what))
}

#[tokio::test]
async fn queries_use_the_indexes_that_were_declared() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db")).await;
    let items = name("items");
    let indexes = [
        Index::parse(&["section"]).unwrap(),
        Index::parse(&["maintainer", "size"]).unwrap(),
        Index::parse(&["score"])
            .unwrap()
            .holding(Holds::Only(Type::Number)),
        Index::parse(&["text"]).unwrap().holding(Holds::Words),
        Index::parse(&["$modified"]).unwrap(),
    ];
    store.define(&items, &indexes).await.unwrap();
    let query = |filter: &str| Query::new(Filter::parse(filter).unwrap());
    // The index that SQLite takes, and whether it still has to sort: several
    // stretches of an index are not in the order of keys.
    for (query, index, sorts) in [
        (
            query(r#"{"section":"editors"}"#),
            "holdall_index_1 (<expr>=?)",
            false,
        ),
        (
            query(r#"{"section":{"$in":["a","b"]}}"#),
            "holdall_index_1 (<expr>=?)",
            true,
        ),
        (
            query(r#"{"section":{"$gt":"a","$lt":"c"}}"#),
            "holdall_index_1 (<expr>>? AND <expr><?)",
            true,
        ),
        (
            query(r#"{"section":{"$startsWith":"lib"}}"#),
            "holdall_index_1 (<expr>>? AND <expr><?)",
            true,
        ),
        (
            query("{}").sort(Sort::parse("section").unwrap()),
            "holdall_index_1",
            false,
        ),
        (
            query("{}").sort(Sort::parse("section:desc").unwrap()),
            "holdall_index_1",
            false,
        ),
        (
            query(r#"{"maintainer":"x"}"#).sort(Sort::parse("size:desc").unwrap()),
            "holdall_index_2 (<expr>=? AND <expr>>?)",
            false,
        ),
        (query(r#"{"score":5}"#), "holdall_index_3 (<expr>=?)", false),
        (query(r#"{"score":{"$gte":5}}"#), "holdall_index_3", true),
        (
            query(r#"{"text":{"$match":"fast editor"}}"#),
            "holdall_words_4",
            true,
        ),
        (
            query("{}").sort(Sort::parse("$modified:desc").unwrap()),
            "holdall_index_5",
            false,
        ),
        (
            query(r#"{"$key":{"$startsWith":"lib"}}"#),
            "(key>? AND key<?)",
            false,
        ),
    ] {
        let plan = store.explain(&items, query.clone()).await.unwrap();
        assert!(plan_uses(&plan, index), "{query:?}\n{plan:#?}");
        assert_eq!(
            plan_uses(&plan, "USE TEMP B-TREE"),
            sorts,
            "{query:?}\n{plan:#?}"
        );
    }
    // Without an index that could give the order, there is nothing to use.
    let plan = store
        .explain(&items, query("{}").sort(Sort::parse("other").unwrap()))
        .await
        .unwrap();
    assert!(plan_uses(&plan, "TEMP B-TREE"));
}

/// Small pieces of odd sizes, so that they never fit those of the backend.
fn odd_pieces(total: usize) -> (Vec<u8>, holdall_core::ByteStream) {
    let whole: Vec<u8> = (0..total)
        .map(|at| u8::try_from(at * 31 % 251).unwrap())
        .collect();
    let pieces: Vec<_> = whole
        .chunks(77_777)
        .map(|piece| Ok(bytes::Bytes::copy_from_slice(piece)))
        .collect();
    (whole, stream::iter(pieces).boxed())
}

#[tokio::test]
async fn a_large_body_comes_back_whole_and_in_ranges() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("store.db")).await;
    let files = name("files");
    let (whole, stream) = odd_pieces(3_000_001);
    store
        .put_stream(
            &files,
            &key("big"),
            Condition::Absent,
            Put::default(),
            stream,
        )
        .await
        .unwrap();
    let read = |range| {
        let (store, files) = (&store, &files);
        async move {
            let options = GetOptions {
                range,
                ..GetOptions::default()
            };
            let item = store
                .get(files, &key("big"), options)
                .await
                .unwrap()
                .unwrap();
            item.into_body().unwrap().bytes(usize::MAX).await.unwrap()
        }
    };
    assert_eq!(read(None).await, whole);
    for (start, end) in [
        (0, 1),
        (65_535, 65_537),
        (65_536, 131_072),
        (1_000_000, 2_900_000),
        (3_000_000, 9_999_999),
    ] {
        let wanted = &whole[start..end.min(whole.len())];
        assert_eq!(
            read(Some(ByteRange::Bounded(start as u64, end as u64))).await,
            wanted
        );
    }
    assert_eq!(
        read(Some(ByteRange::Last(5))).await,
        whole[whole.len() - 5..]
    );
}

fn chunks(path: &FilePath) -> (i64, i64) {
    let plain = Connection::open(path).unwrap();
    let count = |table: &str| {
        plain
            .query_row(&format!("SELECT count(*) FROM {table}"), [], |row| {
                row.get::<_, i64>(0)
            })
            .unwrap()
    };
    (count("holdall_bodies"), count("holdall_chunks"))
}

#[tokio::test]
async fn abandoned_and_overwritten_bodies_are_swept_when_their_time_is_over() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let clock = ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000));
    let options = SqliteOptions {
        env: Env::seeded(clock.clone(), 1),
        ..SqliteOptions::new(&path)
    };
    let store = SqliteBackend::open(options).await.unwrap();
    let files = name("files");
    let (_, abandoned) = odd_pieces(1_000_000);
    let staged = store.stage(&files, abandoned).await.unwrap();
    let (_, first) = odd_pieces(2_000_000);
    store
        .put_stream(
            &files,
            &key("big"),
            Condition::Absent,
            Put::default(),
            first,
        )
        .await
        .unwrap();
    let old = store
        .get(&files, &key("big"), GetOptions::default())
        .await
        .unwrap()
        .unwrap()
        .into_body()
        .unwrap();
    let mut slow = store
        .get(&files, &key("big"), GetOptions::default())
        .await
        .unwrap()
        .unwrap()
        .into_body()
        .unwrap()
        .into_stream();
    slow.next().await.unwrap().unwrap();

    store
        .put(&files, &key("big"), Condition::Any, Put::bytes("new"))
        .await
        .unwrap();
    store.sweep().await.unwrap();
    assert_eq!(chunks(&path).0, 2);
    assert_eq!(
        old.bytes(usize::MAX).await.unwrap().len(),
        2_000_000,
        "readable for a grace period"
    );

    clock.advance(Duration::from_secs(60 * 60 + 1));
    store.sweep().await.unwrap();
    assert_eq!(chunks(&path), (0, 0));
    let late: Result<Vec<_>, _> = slow.try_collect::<Vec<_>>().await;
    assert_eq!(late.unwrap_err().kind(), ErrorKind::Conflict);
    let error = store
        .put(&files, &key("late"), Condition::Any, Put::staged(staged))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Expired);
}

#[tokio::test]
async fn a_stream_that_fails_leaves_nothing_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let clock = ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000));
    let options = SqliteOptions {
        env: Env::seeded(clock.clone(), 1),
        ..SqliteOptions::new(&path)
    };
    let store = SqliteBackend::open(options).await.unwrap();
    let broken = byte_stream(vec![1; 2_000_000]).chain(stream::once(async {
        Err(holdall_core::Error::other("cut"))
    }));
    let error = store
        .put_stream(
            &name("files"),
            &key("x"),
            Condition::Any,
            Put::default(),
            broken.boxed(),
        )
        .await;
    assert_eq!(error.unwrap_err().message(), "cut");
    assert!(
        store
            .head(&name("files"), &key("x"))
            .await
            .unwrap()
            .is_none()
    );
    clock.advance(Duration::from_secs(2 * 60 * 60));
    store.sweep().await.unwrap();
    assert_eq!(chunks(&path), (0, 0));
}

#[tokio::test]
async fn the_log_is_kept_for_a_day_and_then_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store.db");
    let clock = ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000));
    let env = Env::seeded(clock.clone(), 1);
    let options = SqliteOptions {
        env: env.clone(),
        ..SqliteOptions::new(&path)
    };
    let store = SqliteBackend::open(options).await.unwrap();
    let items = name("items");
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    let (first, lost) = (env.version(), env.version());
    store
        .write(Batch::with_id(first).put(&items, &key("a"), Condition::Any, doc(json!({}))))
        .await
        .unwrap();
    store
        .put(&items, &key("b"), Condition::Any, doc(json!({})))
        .await
        .unwrap();
    let cursor = changes.next().await.unwrap().unwrap().cursor;
    assert!(matches!(
        store.resolve(first, None).await.unwrap(),
        holdall_core::Outcome::Committed(Some(_))
    ));
    assert_eq!(
        store.resolve(lost, None).await.unwrap(),
        holdall_core::Outcome::Aborted
    );

    clock.advance(Duration::from_secs(25 * 60 * 60));
    store
        .put(&items, &key("c"), Condition::Any, doc(json!({})))
        .await
        .unwrap();
    store.sweep().await.unwrap();
    let expired = store
        .watch(None, WatchFrom::After(cursor))
        .await
        .err()
        .unwrap();
    assert_eq!(expired.kind(), ErrorKind::Expired);
    assert_eq!(
        store.resolve(first, None).await.unwrap(),
        holdall_core::Outcome::Unknown
    );
    // The id that was given up is forgotten, and too old to arrive.
    assert_eq!(
        store.resolve(lost, None).await.unwrap(),
        holdall_core::Outcome::Unknown
    );
    let late = Batch::with_id(lost).put(&items, &key("d"), Condition::Any, doc(json!({})));
    assert_eq!(
        store.write(late).await.unwrap_err().kind(),
        ErrorKind::Expired
    );
}

/// A stream is made of pages of some hundred rows, and goes on behind the last
/// row of each. Ties, missing values and both directions make that hard.
#[tokio::test]
async fn a_stream_of_many_pages_is_that_of_the_reference() {
    let folder = tempfile::tempdir().unwrap();
    let store: DynBackend = open(&folder.path().join("store.db")).await.into();
    let reference: DynBackend = MemoryBackend::new().into();
    let items = name("items");
    for chunk in 0..3 {
        let mut batch = Batch::with_id(Env::system().version());
        for number in chunk * 1000..(chunk + 1) * 1000 {
            let value = match number % 7 {
                0 => json!({"n": number}),
                1 => json!({"n": number, "group": null, "other": number % 3}),
                2 | 3 => json!({"n": number, "group": number % 4, "other": number % 3}),
                4 => json!({"n": number, "group": format!("g{}", number % 2)}),
                _ => json!({"n": number, "group": 1.0, "other": [number % 2]}),
            };
            batch = batch.put(
                &items,
                &key(&format!("k{:05}", number * 7919 % 10_000)),
                Condition::Any,
                doc(value),
            );
        }
        store.write(batch.clone()).await.unwrap();
        reference.write(batch).await.unwrap();
    }
    let keys = |backend: DynBackend, query: Query| {
        let items = items.clone();
        async move {
            let found: Vec<_> = backend.query(&items, query).try_collect().await.unwrap();
            found.into_iter().map(|item| item.key).collect::<Vec<_>>()
        }
    };
    for round in ["without indexes", "with indexes"] {
        for filter in [
            "{}",
            r#"{"group":1}"#,
            r#"{"n":{"$gte":100}}"#,
            r#"{"group":{"$exists":true},"other":{"$ne":2}}"#,
        ] {
            for sort in [
                "",
                "$key",
                "$key:desc",
                "group",
                "group:desc",
                "group:asc:first",
                "group:desc:first",
                "group,other",
                "group:desc,other",
                "other:asc:first,group:desc:first",
                "$created,group",
                "$modified:desc",
                "n:desc",
            ] {
                let mut query = Query::new(Filter::parse(filter).unwrap());
                if !sort.is_empty() {
                    query.sort = Sort::parse_list(sort).unwrap();
                }
                for (offset, limit) in [(0, None), (513, Some(1025))] {
                    let query = Query {
                        offset,
                        limit,
                        ..query.clone()
                    };
                    let (found, wanted) = (
                        keys(store.clone(), query.clone()).await,
                        keys(reference.clone(), query).await,
                    );
                    assert!(
                        found == wanted,
                        "{round}: {filter} by {sort:?}, {offset} {limit:?}: {} of {}",
                        found.len(),
                        wanted.len()
                    );
                }
            }
        }
        let indexes = [
            Index::parse(&["group"]).unwrap(),
            Index::parse(&["group", "other"]).unwrap(),
            Index::parse(&["$modified"]).unwrap(),
            Index::parse(&["other"])
                .unwrap()
                .holding(Holds::Only(Type::Number)),
        ];
        store.define(&items, &indexes).await.unwrap();
    }
}

/// A bug: the groups of a count had a number as their limit, whatever the size
/// of their values.
#[tokio::test]
async fn a_count_holds_so_many_bytes_of_values_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder.path().join("db")).await;
    let (collection, filled) = (name("c"), "x".repeat(1_000_000));
    for number in 0..70 {
        let put = doc(json!({"a": format!("{number}{filled}")}));
        let key = key(&format!("{number:02}"));
        let put = store.put(&collection, &key, Condition::Any, put);
        put.await.unwrap();
    }
    let path = "a".parse().unwrap();
    let few = Filter::parse(r#"{"$key":{"$lt":"60"}}"#).unwrap();
    let groups = store.count_by(&collection, &few, &path).await.unwrap();
    assert_eq!(groups.len(), 60);
    let all = store.count_by(&collection, &Filter::all(), &path).await;
    assert_eq!(all.unwrap_err().kind(), ErrorKind::TooLarge);
}
