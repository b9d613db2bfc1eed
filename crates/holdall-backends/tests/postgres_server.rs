//! PostgreSQL as it is met: servers that would lose data, that go away, that
//! refuse, and what stands in them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod postgres_suite;

use std::path::Path;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use holdall_backends::postgres::deadpool_postgres::tokio_postgres::NoTls;
use holdall_backends::postgres::deadpool_postgres::{Manager, Pool};
use holdall_backends::postgres::{PostgresBackend, PostgresOptions};
use holdall_core::{
    Backend, BackendExt, Batch, CollectionName, Condition, Doc, Env, Error, ErrorKind, GetOptions,
    Index, Key, ManualClock, MemoryBackend, Outcome, Put, Query, Retry, Sort, Timestamp, WatchFrom,
    byte_stream, json,
};
use holdall_testing::faults::{self, Subject};
use holdall_testing::services::{Authority, Certificate, need, private, private_with};
use postgres_suite::{client, fresh, schema};

const ANY: Condition = Condition::Any;

fn items() -> CollectionName {
    CollectionName::new("items").unwrap()
}

fn key(key: &str) -> Key {
    Key::new(key).unwrap()
}

fn doc(text: &str) -> Put {
    Put::doc(Doc::parse(text.to_owned()).unwrap())
}

async fn open(options: &PostgresOptions) -> PostgresBackend {
    PostgresBackend::open(options.clone()).await.unwrap()
}

async fn refused(options: PostgresOptions) -> Error {
    match PostgresBackend::open(options).await {
        Ok(store) => panic!("{store:?} should be refused"),
        Err(error) => error,
    }
}

fn told(error: &Error, kind: ErrorKind, retry: Retry, part: &str) {
    assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_answered_is_no_durable_store() {
    let server = private_with("postgres", |options| {
        options.argument("-c").argument("fsync=off")
    });
    let Some(server) = server else { return };
    let mut options = PostgresOptions::new(server.url());
    let error = refused(options.clone()).await;
    told(&error, ErrorKind::Unsupported, Retry::No, "fsync = off");
    assert!(error.to_string().contains("durable=false"), "{error}");
    options.set("durable", "false").unwrap();
    let store = open(&options).await;
    assert!(!store.capabilities().durable);
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_commit_waits_for_the_disk_where_the_database_would_not() {
    let Some(server) = private("postgres") else {
        return;
    };
    let sql = client(&server.url()).await;
    sql.batch_execute("ALTER DATABASE postgres SET synchronous_commit = off")
        .await
        .unwrap();
    let store = open(&PostgresOptions::new(server.url())).await;
    assert!(store.capabilities().durable);
    // What each commit goes by is written down by the server itself.
    sql.batch_execute(
        "CREATE TABLE seen (setting text);
         CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
           INSERT INTO seen VALUES (current_setting('synchronous_commit')); RETURN new;
         END $$;
         CREATE TRIGGER see BEFORE INSERT ON holdall_log FOR EACH ROW EXECUTE FUNCTION see()",
    )
    .await
    .unwrap();
    for _ in 0..3 {
        store
            .put(&items(), &key("a"), ANY, doc("{}"))
            .await
            .unwrap();
    }
    let seen = sql.query("SELECT setting FROM seen", &[]).await.unwrap();
    assert_eq!(seen.len(), 3);
    for row in seen {
        assert_eq!(row.get::<_, String>(0), "on");
    }
}

#[tokio::test]
async fn what_cannot_be_reached_or_is_not_there_is_told_by_name() {
    let Some(url) = need("postgres") else { return };
    let nobody = PostgresOptions::new("postgres://postgres:hunter2@127.0.0.1:1/postgres");
    let error = refused(nobody).await;
    told(
        &error,
        ErrorKind::Unavailable,
        Retry::Yes,
        "cannot reach PostgreSQL at 127.0.0.1:1",
    );
    assert!(error.to_string().contains("Is the server running?"));
    assert!(!format!("{error:?} {error}").contains("hunter"), "{error}");

    let error = refused(PostgresOptions::new(
        url.replace("5432/postgres", "5432/nope"),
    ))
    .await;
    told(
        &error,
        ErrorKind::NotFound,
        Retry::No,
        "\"nope\" does not exist",
    );
    assert!(error.to_string().contains("CREATE DATABASE"), "{error}");

    let mut options = PostgresOptions::new(&url);
    options.set("schema", "nope").unwrap();
    told(
        &refused(options).await,
        ErrorKind::NotFound,
        Retry::No,
        "nope",
    );

    let error = refused(PostgresOptions::new("postgres://127.0.0.1/postgres")).await;
    told(&error, ErrorKind::Invalid, Retry::No, "names no user");
    let error = refused(PostgresOptions::new("postgres://a:b:c@:x/y")).await;
    told(
        &error,
        ErrorKind::Invalid,
        Retry::No,
        "the URL is not valid",
    );

    let mut options = fresh(&url).await;
    options.server.create = false;
    let error = refused(options.clone()).await;
    told(&error, ErrorKind::NotFound, Retry::No, "no tables there");
    options.server.create = true;
    open(&options).await;
    options.server.create = false;
    open(&options).await;
}

#[tokio::test]
async fn who_may_not_is_told_what_is_missing() {
    let Some(url) = need("postgres") else { return };
    let options = fresh(&url).await;
    let schema = options.schema.clone().unwrap();
    let sql = client(&url).await;
    // A user that may not come in, and one that may only look.
    sql.batch_execute(&format!(
        "CREATE ROLE {schema}_out NOLOGIN PASSWORD 'hunter2'; \
         CREATE ROLE {schema}_in LOGIN PASSWORD 'hunter2'; \
         GRANT USAGE ON SCHEMA {schema} TO {schema}_in"
    ))
    .await
    .unwrap();
    let other = |user: &str| PostgresOptions {
        url: url.replace("postgres@", &format!("{schema}_{user}@")),
        password: Some("hunter2".to_owned()),
        ..options.clone()
    };
    let wrong = PostgresOptions {
        password: Some("hunter3".to_owned()),
        ..other("in")
    };
    let error = refused(wrong).await;
    told(
        &error,
        ErrorKind::Denied,
        Retry::No,
        "password authentication failed",
    );
    assert!(!format!("{error:?} {error}").contains("hunter"), "{error}");
    let error = refused(other("out")).await;
    told(
        &error,
        ErrorKind::Denied,
        Retry::No,
        "not permitted to log in",
    );
    let error = refused(other("in")).await;
    told(
        &error,
        ErrorKind::Denied,
        Retry::No,
        "permission denied for schema",
    );
    // Once the tables are there, no more than rights on them is needed.
    let store = open(&options).await;
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    let error = refused(other("in")).await;
    told(
        &error,
        ErrorKind::Denied,
        Retry::No,
        "permission denied for table",
    );
    sql.batch_execute(&format!(
        "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA {schema} TO {schema}_in"
    ))
    .await
    .unwrap();
    let store = open(&other("in")).await;
    store
        .put(&items(), &key("b"), ANY, doc("{}"))
        .await
        .unwrap();
    let new = CollectionName::new("new").unwrap();
    let error = store
        .put(&new, &key("a"), ANY, doc("{}"))
        .await
        .unwrap_err();
    told(
        &error,
        ErrorKind::Denied,
        Retry::No,
        "permission denied for schema",
    );
    sql.batch_execute(&format!(
        "DROP SCHEMA {schema} CASCADE; DROP ROLE {schema}_in; DROP ROLE {schema}_out"
    ))
    .await
    .unwrap();
}

#[tokio::test]
async fn a_pool_whose_connections_are_all_busy_says_so_and_recovers() {
    let Some(url) = need("postgres") else { return };
    let mut options = fresh(&url).await;
    options.set("connections", "1").unwrap();
    let store = std::sync::Arc::new(open(&options).await);
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    let mut impatient = options.clone();
    impatient.set("connect_timeout", "300ms").unwrap();
    let other = std::sync::Arc::new(open(&impatient).await);
    let schema = options.schema.clone().unwrap();
    let sql = client(&url).await;
    sql.batch_execute(&format!("BEGIN; LOCK TABLE {schema}.items"))
        .await
        .unwrap();
    let held = {
        let other = other.clone();
        tokio::spawn(async move { other.put(&items(), &key("b"), ANY, doc("{}")).await })
    };
    // The only connection is in the hands of the write once it waits for the lock.
    let waiting = format!(
        "SELECT 1 FROM pg_locks AS l JOIN pg_class AS c ON c.oid = l.relation \
         JOIN pg_namespace AS n ON n.oid = c.relnamespace \
         WHERE NOT l.granted AND n.nspname = '{schema}'"
    );
    let look = client(&url).await;
    while look.query(&waiting, &[]).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let error = other
        .get(&items(), &key("a"), GetOptions::default())
        .await
        .unwrap_err();
    told(
        &error,
        ErrorKind::Timeout,
        Retry::Yes,
        "all 1 connections were busy",
    );
    sql.batch_execute("COMMIT").await.unwrap();
    held.await.unwrap().unwrap();
    assert!(
        other
            .get(&items(), &key("b"), GetOptions::default())
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_write_that_waits_for_too_long_is_unknown_or_did_not_happen_and_is_resolved() {
    let Some(url) = need("postgres") else { return };
    let mut options = fresh(&url).await;
    let schema = options.schema.clone().unwrap();
    let patient = open(&options).await;
    patient
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    options.set("timeout", "300ms").unwrap();
    let store = open(&options).await;
    let sql = client(&url).await;
    sql.batch_execute(&format!("BEGIN; LOCK TABLE {schema}.items"))
        .await
        .unwrap();
    let id = Env::system().version();
    let batch = Batch::with_id(id).put(&items(), &key("b"), ANY, doc("{}"));
    let error = store.write(batch).await.unwrap_err();
    assert!(
        matches!(error.retry(), Retry::Unknown | Retry::Yes),
        "{error}"
    );
    assert!(error.to_string().contains("timeout"), "{error}");
    sql.batch_execute("COMMIT").await.unwrap();
    let is_there = || async {
        let found = patient
            .get(&items(), &key("b"), GetOptions::default())
            .await;
        found.unwrap().is_some()
    };
    match patient.resolve(id, None).await.unwrap() {
        Outcome::Committed(_) => assert!(is_there().await),
        Outcome::Aborted => assert!(!is_there().await),
        Outcome::Unknown => panic!("the log says what became of it"),
    }
}

#[tokio::test]
async fn only_a_server_that_proves_who_it_is_gets_a_password() {
    let Some(url) = need("postgres") else { return };
    let ca = Authority::get().unwrap().certificate_file();
    let safe = |url: &str, ca: Option<&Path>| {
        let mut options = PostgresOptions::new(url);
        options.set("sslmode", "verify-full").unwrap();
        options.ca = ca.map(Path::to_owned);
        options
    };
    let mut options = safe(&url, Some(&ca));
    options.schema = fresh(&url).await.schema;
    let store = open(&options).await;
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    // Those who listen for changes go the same way.
    let error = refused(safe(&url, None)).await;
    told(&error, ErrorKind::Denied, Retry::No, "no safe connection");
    for certificate in [Certificate::WrongHost, Certificate::Expired] {
        let server = private_with("postgres", |options| options.certificate(certificate));
        let Some(server) = server else { return };
        let error = refused(safe(&server.url(), Some(&ca))).await;
        told(&error, ErrorKind::Denied, Retry::No, "no safe connection");
    }
}

#[tokio::test]
async fn others_read_the_tables_with_plain_sql() {
    let Some(url) = need("postgres") else { return };
    let options = fresh(&url).await;
    let store = open(&options).await;
    let books = CollectionName::new("Books").unwrap();
    let same = CollectionName::new("books").unwrap();
    store
        .put(
            &books,
            &key("emma"),
            ANY,
            doc(r#"{"title":"Emma","year":1815}"#),
        )
        .await
        .unwrap();
    store.put(&same, &key("b"), ANY, doc("{}")).await.unwrap();
    let sql = client(&url).await;
    let schema = options.schema.unwrap();
    let ask = format!(
        "SELECT key, doc->>'title', (doc->'year')::int, version::text, created = modified \
         FROM {schema}.books"
    );
    let row = sql.query_one(&ask, &[]).await.unwrap();
    let entry = store.get(&books, &key("emma"), GetOptions::default()).await;
    let entry = entry.unwrap().unwrap().entry;
    assert_eq!(row.get::<_, String>(0), "emma");
    assert_eq!(row.get::<_, String>(1), "Emma");
    assert_eq!(row.get::<_, i32>(2), 1815);
    assert_eq!(row.get::<_, String>(3), entry.version.to_string());
    assert!(row.get::<_, bool>(4));
    let tables =
        format!("SELECT table_name FROM {schema}.holdall_collections ORDER BY name COLLATE \"C\"");
    let tables = sql.query(&tables, &[]).await.unwrap();
    let tables: Vec<String> = tables.iter().map(|row| row.get(0)).collect();
    assert_eq!(tables, ["books", "books_2"]);
}

/// Numbers of a log become visible out of order where each commits when it likes: a
/// reader that goes by the number alone skips the slow one, and one that waits for
/// it is stalled by it.
#[tokio::test]
async fn a_transaction_that_takes_long_is_neither_skipped_nor_waited_for() {
    let Some(url) = need("postgres") else { return };
    let options = fresh(&url).await;
    let store = open(&options).await;
    store
        .put(&items(), &key("first"), ANY, doc("{}"))
        .await
        .unwrap();
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    let schema = options.schema.clone().unwrap();
    // A batch that is added to the log, and not committed yet.
    let slow = client(&url).await;
    let id = Env::system().version();
    let mut kept = vec![1, 0, 0, 0, 1, 0, 4];
    kept.extend_from_slice(b"slow");
    kept.push(0);
    kept.extend_from_slice(&0_i64.to_be_bytes());
    let hex: String = kept.iter().map(|byte| format!("{byte:02x}")).collect();
    slow.batch_execute(&format!(
        "BEGIN; INSERT INTO {schema}.holdall_log (batch, at, until, changes) \
         VALUES ('{id}', now(), now(), '\\x{hex}')"
    ))
    .await
    .unwrap();
    store
        .put(&items(), &key("quick"), ANY, doc("{}"))
        .await
        .unwrap();
    let change = changes.next().await.unwrap().unwrap();
    assert_eq!(change.key, Some(key("quick")));
    slow.batch_execute("COMMIT").await.unwrap();
    let change = changes.next().await.unwrap().unwrap();
    assert_eq!((change.key, change.batch), (Some(key("slow")), id));
}

#[tokio::test]
async fn a_watcher_is_woken_by_another_process_and_need_not_look() {
    let Some(url) = need("postgres") else { return };
    let mut options = fresh(&url).await;
    let writer = open(&options).await;
    options.set("poll", "24h").unwrap();
    let watcher = open(&options).await;
    let mut changes = watcher.watch(None, WatchFrom::Now).await.unwrap();
    // Until the connection that listens is there, a word may be missed.
    let schema = options.schema.clone().unwrap();
    let sql = client(&url).await;
    let listens = format!(
        "SELECT 1 FROM pg_stat_activity WHERE query = 'LISTEN \"holdall_{schema}\"' AND state = 'idle'"
    );
    while sql.query(&listens, &[]).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    writer
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    let change = changes.next().await.unwrap().unwrap();
    assert_eq!(change.key, Some(key("a")));
}

/// An index holds no more than the start of a long value. Order and comparisons must
/// go by all of it.
#[tokio::test]
async fn long_values_that_share_their_start_are_told_apart() {
    let Some(url) = need("postgres") else { return };
    let store = open(&fresh(&url).await).await;
    let reference = MemoryBackend::new();
    let index = Index::parse(&["title"]).unwrap();
    for backend in [&store as &dyn Backend, &reference] {
        backend
            .define(&items(), std::slice::from_ref(&index))
            .await
            .unwrap();
        for (number, ending) in ["z", "b", "", "m", "aa", "a"].iter().enumerate() {
            for length in [200, 222, 223, 254, 400] {
                let title = format!("{}{ending}", "x".repeat(length));
                let doc = Doc::from_value(&json!({"title": title})).unwrap();
                let key = key(&format!("{number}-{length}"));
                let batch = Batch::new().put(&items(), &key, ANY, Put::doc(doc));
                backend.write(batch).await.unwrap();
            }
        }
    }
    let wanted = "x".repeat(223) + "b";
    for operator in ["$eq", "$gt", "$gte", "$lt", "$lte", "$startsWith"] {
        let filter = json!({"title": {operator: wanted}});
        let filter = holdall_core::Filter::parse(&filter.to_string()).unwrap();
        for sort in ["title", "title:desc", "$key"] {
            for limit in [None, Some(3)] {
                let mut query = Query::new(filter.clone()).sort(Sort::parse(sort).unwrap());
                query.limit = limit;
                let keys = |backend: &dyn Backend, query: Query| {
                    let items = backend.query(&items(), query);
                    items.map_ok(|item| item.key).try_collect::<Vec<_>>()
                };
                let found = keys(&store, query.clone()).await.unwrap();
                let wanted = keys(&reference, query).await.unwrap();
                assert_eq!(found, wanted, "{operator} by {sort}, limit {limit:?}");
            }
        }
    }
}

#[tokio::test]
async fn tables_of_a_newer_format_are_left_alone() {
    let Some(url) = need("postgres") else { return };
    let options = fresh(&url).await;
    open(&options).await;
    let schema = options.schema.clone().unwrap();
    client(&url)
        .await
        .batch_execute(&format!(
            "UPDATE {schema}.holdall_meta SET number = 99 WHERE name = 'format'"
        ))
        .await
        .unwrap();
    told(
        &refused(options).await,
        ErrorKind::Corrupt,
        Retry::No,
        "format 99",
    );
}

#[tokio::test]
async fn what_nobody_needs_goes_when_its_time_is_over() {
    let Some(url) = need("postgres") else { return };
    let mut options = fresh(&url).await;
    let clock = ManualClock::at(Timestamp::from_micros(1_800_000_000_000_000));
    options.server.env = Env::seeded(clock.clone(), 1);
    let store = open(&options).await;
    let schema = options.schema.clone().unwrap();
    let sql = client(&url).await;
    let rows = |table: &str| {
        let ask = format!("SELECT count(*) FROM {schema}.{table}");
        let sql = &sql;
        async move { sql.query_one(&ask, &[]).await.unwrap().get::<_, i64>(0) }
    };
    let large = || byte_stream(vec![7; 1_000_000]);
    let staged = store.stage(&items(), large()).await.unwrap();
    store
        .put(&items(), &key("a"), ANY, Put::staged(staged))
        .await
        .unwrap();
    let cursor = {
        let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
        store
            .put(&items(), &key("a"), ANY, doc("{}"))
            .await
            .unwrap();
        changes.next().await.unwrap().unwrap().cursor
    };
    store.stage(&items(), large()).await.unwrap();
    store.sweep().await.unwrap();
    assert_eq!(rows("holdall_bodies").await, 2, "both are kept for a while");
    clock.advance(Duration::from_secs(2 * 60 * 60));
    store.sweep().await.unwrap();
    assert_eq!(
        (rows("holdall_bodies").await, rows("holdall_chunks").await),
        (0, 0)
    );
    assert_eq!(rows("holdall_log").await, 2);
    clock.advance(Duration::from_secs(24 * 60 * 60));
    store
        .put(&items(), &key("b"), ANY, doc("{}"))
        .await
        .unwrap();
    store.sweep().await.unwrap();
    assert_eq!(rows("holdall_log").await, 1);
    let error = match store.watch(None, WatchFrom::After(cursor)).await {
        Ok(_) => panic!("the cursor should be expired"),
        Err(error) => error,
    };
    assert_eq!(error.kind(), ErrorKind::Expired, "{error}");
}

#[tokio::test]
async fn a_pool_that_was_handed_in_is_shared_and_not_closed() {
    let Some(url) = need("postgres") else { return };
    let mut options = PostgresOptions::new("");
    options.schema = Some(schema(&url).await);
    options.connect_timeout = Duration::from_millis(200);
    options.server.poll = Duration::from_millis(20);
    let manager = Manager::new(url.parse().unwrap(), NoTls);
    let pool = Pool::builder(manager).max_size(1).build().unwrap();
    let store = PostgresBackend::from_pool(pool.clone(), options.clone())
        .await
        .unwrap();
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    let change = changes.next().await.unwrap().unwrap();
    assert_eq!(change.key, Some(key("a")));
    drop(changes);
    // The pool has one connection, and waits for it for ever.
    let others = pool.get().await.unwrap();
    let error = store.get(&items(), &key("a"), GetOptions::default()).await;
    told(
        &error.unwrap_err(),
        ErrorKind::Timeout,
        Retry::Yes,
        "connections were busy",
    );
    drop(others);
    store.close().await.unwrap();
    assert!(!pool.is_closed());
    let again = PostgresBackend::from_pool(pool, options).await.unwrap();
    let item = again.get(&items(), &key("a"), GetOptions::default()).await;
    assert!(item.unwrap().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_where_connections_break_and_the_server_dies() {
    let Some(server) = private("postgres") else {
        return;
    };
    let open = |url: String| async move {
        let mut options = PostgresOptions::new(url);
        options.set("timeout", "2s")?;
        options.set("connect_timeout", "2s")?;
        Ok(PostgresBackend::open(options).await?.into())
    };
    let summary = faults::check(Subject::new(server.url(), open).killed(server)).await;
    assert!(
        summary.acknowledged > 0 && summary.broken > 0,
        "{summary:?}"
    );
}
