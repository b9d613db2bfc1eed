//! MySQL as it is met: servers that would lose data, that go away, that refuse,
//! and what one who ended in the middle left there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use futures_util::future::join_all;
use holdall_backends::mysql::{MysqlBackend, MysqlOptions};
use holdall_core::{
    Backend, BackendExt, Batch, CollectionName, Condition, Doc, Env, Error, ErrorKind, Filter,
    GetOptions, Index, Item, Key, MemoryBackend, Put, Query, Retry, Scan,
};
use holdall_testing::faults::{self, Subject};
use holdall_testing::services::{Authority, Certificate, need, private, private_with};
use mysql_async::prelude::Queryable;
use mysql_async::{Conn, Opts, OptsBuilder, Pool, PoolConstraints, PoolOpts};

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

/// Makes an empty database, and answers the URL of a store in it.
async fn fresh(url: &str) -> String {
    let name = format!("holdall_{}", Env::system().version()).replace('-', "");
    let mut sql = Conn::from_url(url).await.unwrap();
    sql.query_drop(format!("CREATE DATABASE {name}"))
        .await
        .unwrap();
    sql.disconnect().await.unwrap();
    let (server, _) = url.rsplit_once('/').unwrap();
    format!("{server}/{name}")
}

async fn open(url: &str) -> MysqlBackend {
    MysqlBackend::open(MysqlOptions::new(url)).await.unwrap()
}

async fn refused(options: MysqlOptions) -> Error {
    match MysqlBackend::open(options).await {
        Ok(store) => panic!("{store:?} should be refused"),
        Err(error) => error,
    }
}

fn told(error: &Error, kind: ErrorKind, retry: Retry, part: &str) {
    assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

async fn keys(store: &MysqlBackend, collection: &CollectionName) -> Vec<String> {
    let found: Vec<_> = store
        .scan(collection, Scan::default())
        .try_collect()
        .await
        .unwrap();
    found
        .iter()
        .map(|item| item.key.as_str().to_owned())
        .collect()
}

/// The pool kept no connection that nobody used just then, so every call made one.
#[tokio::test]
async fn calls_share_connections() {
    let Some(server) = private("mysql") else {
        return;
    };
    let url = fresh(&server.url()).await;
    let mut options = MysqlOptions::new(&url);
    options.connections = 4;
    let store = MysqlBackend::open(options).await.unwrap();
    let mut sql = Conn::from_url(&url).await.unwrap();
    let mut made = async || {
        let found = sql.query_first("SHOW GLOBAL STATUS LIKE 'Connections'");
        let (_, made): (String, u64) = found.await.unwrap().unwrap();
        made
    };
    let before = made().await;
    for number in 0..50 {
        let key = key(&number.to_string());
        store.put(&items(), &key, ANY, doc("{}")).await.unwrap();
        let found = store.get(&items(), &key, GetOptions::default()).await;
        assert!(found.unwrap().is_some());
    }
    assert!(made().await <= before + 4);
    store.close().await.unwrap();
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_answered_is_no_durable_store() {
    let server = private_with("mysql", |options| {
        options.argument("--innodb-flush-log-at-trx-commit=2")
    });
    let Some(server) = server else { return };
    let mut options = MysqlOptions::new(fresh(&server.url()).await);
    let error = refused(options.clone()).await;
    told(
        &error,
        ErrorKind::Unsupported,
        Retry::No,
        "innodb_flush_log_at_trx_commit = 2",
    );
    assert!(error.to_string().contains("durable=false"), "{error}");
    options.set("durable", "false").unwrap();
    let store = MysqlBackend::open(options).await.unwrap();
    assert!(!store.capabilities().durable);
    let put = store.put(&items(), &key("a"), ANY, doc("{}")).await;
    put.unwrap();
}

#[tokio::test]
async fn what_cannot_be_reached_or_is_not_there_is_told_by_name() {
    let Some(url) = need("mysql") else { return };
    let error = refused(MysqlOptions::new("mysql://root:hunter2@127.0.0.1:1/test")).await;
    let part = "cannot reach MySQL at 127.0.0.1:1";
    told(&error, ErrorKind::Unavailable, Retry::Yes, part);
    assert!(!format!("{error:?} {error}").contains("hunter"), "{error}");

    let (server, _) = url.rsplit_once('/').unwrap();
    let error = refused(MysqlOptions::new(format!("{server}/nope"))).await;
    told(&error, ErrorKind::NotFound, Retry::No, "'nope'");
    assert!(error.to_string().contains("CREATE DATABASE"), "{error}");

    for url in ["mysql://127.0.0.1/test", "mysql://root@127.0.0.1"] {
        let error = refused(MysqlOptions::new(url)).await;
        told(
            &error,
            ErrorKind::Invalid,
            Retry::No,
            "a user and a database",
        );
    }
    let error = refused(MysqlOptions::new("mysql://a:b:c@:x/y")).await;
    told(
        &error,
        ErrorKind::Invalid,
        Retry::No,
        "the URL is not valid",
    );

    let mut options = MysqlOptions::new(fresh(&url).await);
    options.server.create = false;
    let error = refused(options.clone()).await;
    told(&error, ErrorKind::NotFound, Retry::No, "no tables there");
    open(&options.url).await;
    MysqlBackend::open(options).await.unwrap();
}

#[tokio::test]
async fn who_may_not_is_told_what_is_missing() {
    let Some(server) = private("mysql") else {
        return;
    };
    let url = fresh(&server.url()).await;
    let (_, database) = url.rsplit_once('/').unwrap();
    let mut sql = Conn::from_url(&url).await.unwrap();
    sql.query_drop("CREATE USER reader@localhost IDENTIFIED BY 'hunter2'")
        .await
        .unwrap();
    sql.query_drop(format!("GRANT SELECT ON {database}.* TO reader@localhost"))
        .await
        .unwrap();
    let reader = |password: &str| {
        let mut options = MysqlOptions::new(url.replace("root@", "reader@"));
        options.password = Some(password.to_owned());
        options
    };
    let error = refused(reader("hunter3")).await;
    told(
        &error,
        ErrorKind::Denied,
        Retry::No,
        "does not let this user in",
    );
    assert!(!format!("{error:?} {error}").contains("hunter"), "{error}");
    let error = refused(reader("hunter2")).await;
    told(
        &error,
        ErrorKind::Denied,
        Retry::No,
        "Grant the user what it needs",
    );

    // Who may not change the schema uses what is there.
    let store = open(&url).await;
    let put = store.put(&items(), &key("a"), ANY, doc("{}")).await;
    put.unwrap();
    let rights = "SELECT, INSERT, UPDATE, DELETE";
    sql.query_drop(format!(
        "GRANT {rights} ON {database}.* TO reader@localhost"
    ))
    .await
    .unwrap();
    let store = MysqlBackend::open(reader("hunter2")).await.unwrap();
    let put = store.put(&items(), &key("b"), ANY, doc("{}")).await;
    put.unwrap();
    assert_eq!(keys(&store, &items()).await, ["a", "b"]);
    let other = CollectionName::new("other").unwrap();
    let put = store.put(&other, &key("b"), ANY, doc("{}")).await;
    told(&put.unwrap_err(), ErrorKind::Denied, Retry::No, "Grant");
}

#[tokio::test]
async fn what_a_packet_takes_is_what_is_sent_and_more_is_refused_before() {
    let small = private_with("mysql", |options| {
        options.argument("--max-allowed-packet=1M")
    });
    let Some(small) = small else { return };
    let error = refused(MysqlOptions::new(small.url())).await;
    told(
        &error,
        ErrorKind::Unsupported,
        Retry::No,
        "max_allowed_packet",
    );

    let server = private_with("mysql", |options| {
        options.argument("--max-allowed-packet=4M")
    });
    let Some(server) = server else { return };
    let store = open(&fresh(&server.url()).await).await;
    let most = store.capabilities().batch.max_ops;
    assert!(most < 10_000, "{most}");
    let long = |number: usize| key(&format!("{number:0>1024}"));
    let batch = |count: usize| {
        (0..count).fold(Batch::new(), |batch, number| {
            batch.put(&items(), &long(number), ANY, doc("{}"))
        })
    };
    let error = store.write(batch(most + 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge, "{error}");
    assert!(keys(&store, &items()).await.is_empty());
    // The longest keys, new ones and those that are there.
    for _ in 0..2 {
        store.write(batch(most)).await.unwrap();
    }
    assert_eq!(keys(&store, &items()).await.len(), most);
    // More than a packet of docs.
    let text = format!("{{\"t\":\"{}\"}}", "x".repeat(1_000_000));
    let large = (0..20).fold(Batch::new(), |batch, number| {
        batch.put(&items(), &key(&format!("large {number}")), ANY, doc(&text))
    });
    store.write(large).await.unwrap();
    assert_eq!(keys(&store, &items()).await.len(), most + 20);
}

#[tokio::test]
async fn a_server_that_goes_and_comes_back_has_what_was_answered() {
    let Some(server) = private("mysql") else {
        return;
    };
    let store = open(&fresh(&server.url()).await).await;
    let put = store.put(&items(), &key("a"), ANY, doc("{}")).await;
    put.unwrap();
    server.kill().unwrap();
    let error = store
        .get(&items(), &key("a"), GetOptions::default())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Yes),
        "{error}"
    );
    server.start().unwrap();
    server.await_health().unwrap();
    let put = store.put(&items(), &key("b"), ANY, doc("{}")).await;
    put.unwrap();
    assert_eq!(keys(&store, &items()).await, ["a", "b"]);
}

/// A disk that is full also takes the log of InnoDB along, without which MariaDB ends by
/// itself. So here the file of its tables may not grow, which it tells in the same way.
#[tokio::test]
async fn where_no_room_is_left_nothing_is_written() {
    let server = private_with("mysql", |options| {
        options
            .argument("--innodb-file-per-table=0")
            .argument("--innodb-data-file-path=ibdata1:12M:autoextend:max:40M")
    });
    let Some(server) = server else { return };
    let store = open(&fresh(&server.url()).await).await;
    let large = || doc(&format!("{{\"t\":\"{}\"}}", "x".repeat(1_000_000)));
    let mut written: Vec<String> = Vec::new();
    let error = loop {
        let name = format!("{:03}", written.len());
        match store.put(&items(), &key(&name), ANY, large()).await {
            Ok(_) => written.push(name),
            Err(error) => break error,
        }
        assert!(written.len() < 100, "it does not get full");
    };
    told(&error, ErrorKind::Unavailable, Retry::No, "disk is full");
    assert_eq!(keys(&store, &items()).await, written);
    let at = key(&format!("{:03}", written.len()));
    let there = store.get(&items(), &at, GetOptions::default()).await;
    assert!(there.unwrap().is_none());
}

/// Waits until a transaction waits for a lock.
async fn someone_waits(sql: &mut Conn) {
    let waiting =
        "SELECT COUNT(*) FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT'";
    while sql.query_first::<u64, _>(waiting).await.unwrap() == Some(0) {
        // Who asks again within a tenth of a second is told the same: InnoDB looks anew
        // only when nobody has asked for so long.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
}

#[tokio::test]
async fn who_waits_in_a_circle_is_tried_again() {
    let Some(server) = private("mysql") else {
        return;
    };
    let url = fresh(&server.url()).await;
    let store = Arc::new(open(&url).await);
    let batch = |n: u32| {
        let doc = || doc(&format!("{{\"n\":{n}}}"));
        let batch = Batch::new().put(&items(), &key("a"), ANY, doc());
        batch.put(&items(), &key("b"), ANY, doc())
    };
    store.write(batch(1)).await.unwrap();
    let mut sql = Conn::from_url(&url).await.unwrap();
    // Who has written more stays.
    sql.query_drop("CREATE TABLE others (n INT)").await.unwrap();
    sql.query_drop("BEGIN").await.unwrap();
    let many = "INSERT INTO others SELECT seq FROM seq_1_to_1000";
    sql.query_drop(many).await.unwrap();
    let lock = |key: &str| format!("SELECT 1 FROM items WHERE `key` = '{key}' FOR UPDATE");
    sql.query_drop(lock("b")).await.unwrap();
    let written = tokio::spawn({
        let (store, batch) = (store.clone(), batch(2));
        async move { store.write(batch).await }
    });
    let mut look = Conn::from_url(&url).await.unwrap();
    someone_waits(&mut look).await;
    sql.query_drop(lock("a")).await.unwrap();
    sql.query_drop("COMMIT").await.unwrap();
    written.await.unwrap().unwrap();
    let deadlocks =
        "SELECT COUNT FROM information_schema.innodb_metrics WHERE name = 'lock_deadlocks'";
    let met: Option<u64> = look.query_first(deadlocks).await.unwrap();
    assert_eq!(met, Some(1));
    let wanted = Filter::eq("n", 2).unwrap();
    let found = store.count(&items(), &wanted).await.unwrap();
    assert_eq!(found, 2);
}

#[tokio::test]
async fn a_lock_that_another_keeps_is_waited_for_in_vain_and_so_is_a_connection() {
    let Some(server) = private("mysql") else {
        return;
    };
    let url = fresh(&server.url()).await;
    let mut options = MysqlOptions::new(&url);
    options.connections = 1;
    options.set("timeout", "6s").unwrap();
    options.set("connect_timeout", "1s").unwrap();
    let store = Arc::new(MysqlBackend::open(options).await.unwrap());
    let put = |n: u32| doc(&format!("{{\"n\":{n}}}"));
    store.put(&items(), &key("a"), ANY, put(1)).await.unwrap();
    let mut sql = Conn::from_url(&url).await.unwrap();
    sql.query_drop("BEGIN").await.unwrap();
    sql.query_drop("SELECT 1 FROM items FOR UPDATE")
        .await
        .unwrap();
    let written = tokio::spawn({
        let (store, put) = (store.clone(), put(2));
        async move { store.put(&items(), &key("a"), ANY, put).await }
    });
    let mut look = Conn::from_url(&url).await.unwrap();
    someone_waits(&mut look).await;
    let busy = store.count(&items(), &Filter::all()).await.unwrap_err();
    told(
        &busy,
        ErrorKind::Timeout,
        Retry::Yes,
        "connections were busy",
    );
    let error = written.await.unwrap().unwrap_err();
    told(
        &error,
        ErrorKind::Timeout,
        Retry::Yes,
        "holds a lock for too long",
    );
    sql.query_drop("COMMIT").await.unwrap();
    let wanted = Filter::eq("n", 1).unwrap();
    let found = store.count(&items(), &wanted).await.unwrap();
    assert_eq!(found, 1);
}

#[tokio::test]
async fn only_a_server_that_shows_who_it_is_is_talked_to() {
    let Some(url) = need("mysql") else { return };
    let ca = Authority::get().unwrap().certificate_file();
    let safe = |url: &str, ca: Option<&Path>| {
        let mut options = MysqlOptions::new(url);
        options.set("ssl-mode", "VERIFY_IDENTITY").unwrap();
        options.ca = ca.map(Path::to_owned);
        options
    };
    let store = MysqlBackend::open(safe(&fresh(&url).await, Some(&ca)))
        .await
        .unwrap();
    let put = store.put(&items(), &key("a"), ANY, doc("{}")).await;
    put.unwrap();
    let error = refused(safe(&url, None)).await;
    told(&error, ErrorKind::Denied, Retry::No, "no safe connection");
    for certificate in [Certificate::WrongHost, Certificate::Expired] {
        let server = private_with("mysql", |options| options.certificate(certificate));
        let Some(server) = server else { return };
        let error = refused(safe(&server.url(), Some(&ca))).await;
        told(&error, ErrorKind::Denied, Retry::No, "no safe connection");
    }
}

#[tokio::test]
async fn others_read_the_tables_with_plain_sql() {
    let Some(url) = need("mysql") else { return };
    let url = fresh(&url).await;
    let store = open(&url).await;
    let books = CollectionName::new("Books").unwrap();
    let emma = doc(r#"{"title":"Emma","author":"Jane Austen"}"#);
    store.put(&books, &key("émma"), ANY, emma).await.unwrap();
    let entry = store.get(&books, &key("émma"), GetOptions::default()).await;
    let entry = entry.unwrap().unwrap().entry;
    let mut sql = Conn::from_url(&url).await.unwrap();
    let row: Option<(String, String, i64)> = sql
        .query_first(
            "SELECT CONVERT(`key` USING utf8mb4), JSON_VALUE(doc, '$.title'), \
             TIMESTAMPDIFF(MICROSECOND, '1970-01-01', created) \
             FROM books WHERE JSON_VALUE(doc, '$.author') = 'Jane Austen' ORDER BY `key`",
        )
        .await
        .unwrap();
    let created = entry.created.as_micros();
    assert_eq!(row, Some(("émma".to_owned(), "Emma".to_owned(), created)));
}

/// Each change of the schema is committed at once, so whoever ends in the middle
/// leaves a part of it.
#[tokio::test]
async fn what_was_left_in_the_middle_of_a_change_is_repaired_by_the_next() {
    let Some(url) = need("mysql") else { return };
    let url = fresh(&url).await;
    let mut sql = Conn::from_url(&url).await.unwrap();

    // Own tables, as far as the last.
    open(&url).await;
    sql.query_drop("DROP TABLE holdall_meta").await.unwrap();
    sql.query_drop("DROP TABLE holdall_log").await.unwrap();
    let store = open(&url).await;

    // A table of a collection that was not listed yet, or not any more.
    let put = store.put(&items(), &key("a"), ANY, doc(r#"{"n":1}"#)).await;
    put.unwrap();
    sql.query_drop("CREATE TABLE notes LIKE items")
        .await
        .unwrap();
    sql.query_drop("INSERT INTO notes SELECT * FROM items")
        .await
        .unwrap();
    // One of somebody else's.
    sql.query_drop("CREATE TABLE files (id INT)").await.unwrap();
    for (collection, table) in [("notes", "notes"), ("files", "files_2")] {
        let name = CollectionName::new(collection).unwrap();
        let put = store.put(&name, &key("b"), ANY, doc("{}")).await;
        put.unwrap();
        assert_eq!(keys(&store, &name).await, ["b"]);
        let listed: Option<String> = sql
            .exec_first(
                "SELECT table_name FROM holdall_collections WHERE name = ?",
                (collection,),
            )
            .await
            .unwrap();
        assert_eq!(listed.as_deref(), Some(table));
    }

    // A column and an index that the layout does not have.
    sql.query_drop("ALTER TABLE items ADD COLUMN holdall_1 VARBINARY(256)")
        .await
        .unwrap();
    let index = Index::parse(&["n"]).unwrap().unique();
    let (items, declared) = (items(), [index]);
    store.define(&items, &declared).await.unwrap();
    let found: Vec<_> = store
        .query(&items, Query::new(Filter::eq("n", 1).unwrap()))
        .try_collect()
        .await
        .unwrap();
    assert_eq!(found.len(), 1);
    let put = store.put(&items, &key("c"), ANY, doc(r#"{"n":1}"#)).await;
    assert_eq!(put.unwrap_err().kind(), ErrorKind::Conflict);

    // The index is there, and the layout does not say so yet.
    sql.query_drop(
        "UPDATE holdall_collections SET layout = REPLACE(layout, '\"ready\":true', '\"ready\":false') \
         WHERE name = 'items'",
    )
    .await
    .unwrap();
    store.define(&items, &declared).await.unwrap();
    let ready: Option<String> = sql
        .query_first("SELECT layout FROM holdall_collections WHERE name = 'items'")
        .await
        .unwrap();
    assert!(!ready.unwrap().contains("false,\"ready\":false"));
    store.drop_collection(&items).await.unwrap();
    assert!(keys(&store, &items).await.is_empty());
}

#[tokio::test]
async fn many_start_and_declare_at_once() {
    let Some(url) = need("mysql") else { return };
    let url = fresh(&url).await;
    let started = (0..8).map(|number| {
        let url = url.clone();
        async move {
            let store = open(&url).await;
            let put = format!(r#"{{"n":{number}}}"#);
            let put = store
                .put(&items(), &key(&format!("{number}")), ANY, doc(&put))
                .await;
            put.unwrap();
            let index = Index::parse(&["n"]).unwrap().unique();
            store.define(&items(), &[index]).await.unwrap();
            store
        }
    });
    let stores = join_all(started).await;
    for (number, store) in (0i64..).zip(&stores) {
        let query = Query::new(Filter::eq("n", number).unwrap());
        let found: Vec<_> = store.query(&items(), query).try_collect().await.unwrap();
        assert_eq!(found.len(), 1);
    }
    // A unique index that cannot be made leaves nothing behind that would refuse.
    let (Some(store), other) = (stores.first(), CollectionName::new("pairs").unwrap()) else {
        return;
    };
    for name in ["a", "b"] {
        let put = store
            .put(&other, &key(name), ANY, doc(r#"{"x":1,"y":1}"#))
            .await;
        put.unwrap();
    }
    let x = Index::parse(&["x"]).unwrap();
    let y = Index::parse(&["y"]).unwrap().unique();
    let error = store.define(&other, &[x, y]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    let put = store
        .put(&other, &key("c"), ANY, doc(r#"{"x":1,"y":1}"#))
        .await;
    put.unwrap();
}

#[tokio::test]
async fn what_no_index_has_is_narrowed_down_and_nothing_is_missed() {
    let Some(url) = need("mysql") else { return };
    let store = open(&fresh(&url).await).await;
    let reference = MemoryBackend::new();
    let deep = format!(r#"{{"d":{}{},"a":"x"}}"#, "[".repeat(40), "]".repeat(40));
    let docs = [
        r#"{"a":"x"}"#,
        r#"{"a":"x "}"#,
        r#"{"a":"X"}"#,
        r#"{"a":"x!"}"#,
        r#"{"a":"x\u0021y"}"#,
        r#"{"\u0061":"x"}"#,
        r#"{"a":"a\\b"}"#,
        r#"{"a":"ö😀"}"#,
        r#"{"a":"x#"}"#,
        r#"{"a":["x",1]}"#,
        r#"{"a":{"b":"x"}}"#,
        r#"{ "a" : 1.0 }"#,
        r#"{"a":1}"#,
        r#"{"a":"1"}"#,
        r#"{"a":9007199254740992}"#,
        r#"{"a":9007199254740993}"#,
        r#"{"a":18446744073709551615}"#,
        r#"{"a":-1e300}"#,
        r#"{"a":true}"#,
        r#"{"a":null}"#,
        r#"{"b":"x"}"#,
        &deep,
    ];
    for (n, text) in docs.iter().enumerate() {
        let key = key(&format!("{n:02}"));
        store.put(&items(), &key, ANY, doc(text)).await.unwrap();
        reference.put(&items(), &key, ANY, doc(text)).await.unwrap();
    }
    let wanted = [
        r#""x""#,
        r#""x ""#,
        r#""x!""#,
        r#""x!y""#,
        r#""ö😀""#,
        r#""a\\b""#,
        r#""""#,
        "1",
        "1.0",
        "0",
        "true",
        "null",
        "9007199254740992",
        "9007199254740993",
        "18446744073709551615",
        "-1e300",
        r#"["x",1]"#,
    ];
    let mut found = 0;
    for wanted in wanted {
        for operator in ["$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$contains"] {
            let texts = [
                format!(r#"{{"a":{{"{operator}":{wanted}}}}}"#),
                format!(r#"{{"a.b":{{"{operator}":{wanted}}}}}"#),
                format!(r#"{{"a":{{"$in":[{wanted},"y"]}}}}"#),
                format!(
                    r#"{{"$or":[{{"a":{{"{operator}":{wanted}}}}},{{"a":{{"$startsWith":"x"}}}},{{"b":{{"$exists":true}}}}]}}"#
                ),
            ];
            for text in texts {
                // Not every operator takes every value.
                let Ok(filter) = Filter::parse(&text) else {
                    continue;
                };
                let query = Query::new(filter);
                let keys =
                    |all: Vec<Item>| all.into_iter().map(|item| item.key).collect::<Vec<_>>();
                let here: Vec<_> = store
                    .query(&items(), query.clone())
                    .try_collect()
                    .await
                    .unwrap();
                let there: Vec<_> = reference
                    .query(&items(), query)
                    .try_collect()
                    .await
                    .unwrap();
                found += there.len();
                assert_eq!(keys(here), keys(there), "{text}");
            }
        }
    }
    assert!(found > 1000, "{found}");
}

#[tokio::test]
async fn a_pool_that_was_handed_in_is_shared_and_stays_as_it_was() {
    let Some(url) = need("mysql") else { return };
    let url = fresh(&url).await;
    let opts = |found| {
        let one = PoolOpts::default()
            .with_constraints(PoolConstraints::new(0, 1).unwrap())
            // As one who does without it.
            .with_reset_connection(false);
        OptsBuilder::from_opts(Opts::from_url(&url).unwrap())
            .client_found_rows(found)
            .stmt_cache_size(0)
            .pool_opts(one)
    };
    let mut options = MysqlOptions::new("");
    options.connections = 1;
    options.connect_timeout = Duration::from_secs(1);
    let error = MysqlBackend::from_pool(Pool::new(opts(false)), options.clone()).await;
    let error = error.unwrap_err();
    told(&error, ErrorKind::Invalid, Retry::No, "client_found_rows");
    let pool = Pool::new(opts(true));
    let store = MysqlBackend::from_pool(pool.clone(), options.clone())
        .await
        .unwrap();
    let put = store.put(&items(), &key("a"), ANY, doc(r#"{"n":1}"#)).await;
    put.unwrap();
    // All are on one connection, and each finds its session as it needs it.
    let mut others = pool.get_conn().await.unwrap();
    let busy = store.get(&items(), &key("a"), GetOptions::default()).await;
    let level = "SELECT CAST(@@tx_isolation AS CHAR)";
    let level: Option<String> = others.query_first(level).await.unwrap();
    assert_eq!(level.as_deref(), Some("REPEATABLE-READ"));
    told(
        &busy.unwrap_err(),
        ErrorKind::Timeout,
        Retry::Yes,
        "did not answer in time",
    );
    drop(others);
    let put = store.put(&items(), &key("b"), ANY, doc(r#"{"n":2}"#)).await;
    put.unwrap();
    assert_eq!(keys(&store, &items()).await, ["a", "b"]);
    store.close().await.unwrap();
    pool.get_conn().await.unwrap();
    let again = MysqlBackend::from_pool(pool, options).await.unwrap();
    assert_eq!(keys(&again, &items()).await, ["a", "b"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_where_connections_break_and_the_server_dies() {
    let Some(server) = private("mysql") else {
        return;
    };
    let open = |url: String| async move {
        let mut options = MysqlOptions::new(url);
        options.set("timeout", "2s")?;
        options.set("connect_timeout", "2s")?;
        Ok(MysqlBackend::open(options).await?.into())
    };
    let url = fresh(&server.url()).await;
    // Beside the proxy nothing is lost, but a busy machine takes its time.
    let beside = MysqlBackend::open(MysqlOptions::new(&url)).await.unwrap();
    let subject = Subject::new(url, open).beside(beside.into());
    let summary = faults::check(subject.killed(server)).await;
    assert!(
        summary.acknowledged > 0 && summary.broken > 0,
        "{summary:?}"
    );
}
