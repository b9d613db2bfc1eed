//! Redis as it is met: servers that would lose data, that go away, that refuse, and
//! what stands in them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt};
use holdall_backends::redis::{RedisBackend, RedisOptions};
use holdall_core::{
    Backend, BackendExt, Batch, CollectionName, Condition, Doc, Env, Error, ErrorKind, GetOptions,
    Index, Key, ManualClock, Outcome, Put, Retry, Scan, SystemClock, Timestamp, Version, WatchFrom,
    byte_stream,
};
use holdall_testing::faults::{self, Subject};
use holdall_testing::proxy::{Fault, Held, Proxy};
use holdall_testing::services::{Authority, Certificate, Private, need, private, private_with};

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

/// A store of its own on a shared server.
fn options(url: &str) -> RedisOptions {
    RedisOptions {
        prefix: Env::system().version().to_string(),
        ..RedisOptions::new(url)
    }
}

async fn open(url: &str) -> RedisBackend {
    RedisBackend::open(options(url)).await.unwrap()
}

async fn refused(options: RedisOptions) -> Error {
    match RedisBackend::open(options).await {
        Ok(store) => panic!("{store:?} should be refused"),
        Err(error) => error,
    }
}

/// Asks Redis itself.
async fn ask(url: &str, words: &[&str]) -> ::redis::Value {
    asked(url, words).await.unwrap()
}

async fn asked(url: &str, words: &[&str]) -> ::redis::RedisResult<::redis::Value> {
    let client = ::redis::Client::open(url).unwrap();
    let mut connection = client.get_multiplexed_async_connection().await?;
    let mut command = ::redis::cmd(words[0]);
    for word in &words[1..] {
        command.arg(*word);
    }
    command.query_async(&mut connection).await
}

fn told(error: &Error, kind: ErrorKind, retry: Retry, part: &str) {
    assert_eq!((error.kind(), error.retry()), (kind, retry), "{error}");
    assert!(error.to_string().contains(part), "{error}");
}

#[tokio::test]
async fn a_server_that_may_lose_what_it_answered_is_no_durable_store() {
    let Some(server) = private("redis") else {
        return;
    };
    let url = server.url();
    assert!(open(&url).await.capabilities().durable);
    for (name, value, back) in [
        ("appendfsync", "everysec", "always"),
        ("appendonly", "no", "yes"),
    ] {
        ask(&url, &["CONFIG", "SET", name, value]).await;
        let error = refused(options(&url)).await;
        told(
            &error,
            ErrorKind::Unsupported,
            Retry::No,
            &format!("{name} is {value}"),
        );
        assert!(error.to_string().contains("durable=false"), "{error}");
        ask(&url, &["CONFIG", "SET", name, back]).await;
    }
    ask(&url, &["CONFIG", "SET", "appendfsync", "no"]).await;
    let mut weak = options(&url);
    weak.set("durable", "false").unwrap();
    let store = RedisBackend::open(weak).await.unwrap();
    assert!(!store.capabilities().durable);
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn what_a_server_does_not_say_is_not_claimed() {
    let Some(server) = private("redis") else {
        return;
    };
    let url = server.url();
    let rules = [
        "ACL", "SETUSER", "app", "on", ">hunter2", "~*", "+@all", "-config",
    ];
    ask(&url, &rules).await;
    let url = url.replace("redis://", "redis://app:hunter2@");
    let error = refused(options(&url)).await;
    told(
        &error,
        ErrorKind::Unsupported,
        Retry::No,
        "does not say what appendonly is",
    );
    let weak = RedisOptions {
        durable: false,
        ..options(&url)
    };
    let store = RedisBackend::open(weak).await.unwrap();
    assert!(!store.capabilities().durable);
}

#[tokio::test]
async fn a_server_that_evicts_keys_is_refused_even_where_the_last_writes_may_be_lost() {
    let Some(server) = private("redis") else {
        return;
    };
    let url = server.url();
    ask(&url, &["CONFIG", "SET", "maxmemory-policy", "allkeys-lru"]).await;
    for durable in [true, false] {
        let options = RedisOptions {
            durable,
            ..options(&url)
        };
        let error = refused(options).await;
        told(
            &error,
            ErrorKind::Unsupported,
            Retry::No,
            "maxmemory-policy allkeys-lru",
        );
    }
}

#[tokio::test]
async fn who_is_not_let_in_is_told_so_without_a_password() {
    let Some(server) = private("redis") else {
        return;
    };
    let url = server.url();
    ask(&url, &["CONFIG", "SET", "requirepass", "hunter2"]).await;
    let wrong = url.replace("redis://", "redis://:hunter3@");
    for url in [&url, &wrong] {
        let error = refused(options(url)).await;
        told(&error, ErrorKind::Denied, Retry::No, "does not let in");
        assert!(
            !format!("{error:?} {error}").contains("hunter"),
            "{error:?}"
        );
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("password");
    std::fs::write(&path, "hunter2\n").unwrap();
    let with_file = RedisOptions {
        password_file: Some(path),
        ..options(&url)
    };
    let store = RedisBackend::open(with_file.clone()).await.unwrap();
    store.health().await.unwrap();
    assert!(!format!("{store:?} {with_file:?}").contains("hunter2"));
    let twice = RedisOptions {
        password: Some("hunter2".to_owned()),
        ..with_file
    };
    told(
        &refused(twice).await,
        ErrorKind::Invalid,
        Retry::No,
        "several passwords",
    );
}

/// A script that is not allowed a command fails in its middle, and what it wrote until
/// then stays. So opening tries all commands.
#[tokio::test]
async fn a_user_who_may_not_do_all_is_refused_when_opening() {
    let Some(server) = private("redis") else {
        return;
    };
    let url = server.url();
    for (missing, rule) in [("a command", "-xadd"), ("keys", "resetkeys")] {
        let rules = ["ACL", "SETUSER", "app", "on", "nopass", "~*", "+@all", rule];
        ask(&url, &rules).await;
        let url = url.replace("redis://", "redis://app:x@");
        let error = refused(options(&url)).await;
        told(&error, ErrorKind::Denied, Retry::No, "does not allow");
        assert!(
            error.to_string().contains("docs/redis.md"),
            "{missing}: {error}"
        );
        ask(&server.url(), &["ACL", "DELUSER", "app"]).await;
    }
    // What the page says is enough.
    let rules = [
        "ACL",
        "SETUSER",
        "app",
        "on",
        "nopass",
        "~{holdall}:*",
        "+@read",
        "+@write",
        "+@scripting",
        "+@connection",
        "+info",
        "+wait",
        "+config|get",
        "+cluster|slots",
    ];
    ask(&url, &rules).await;
    let url = url.replace("redis://", "redis://app:x@");
    let store = RedisBackend::open(RedisOptions::new(&url)).await.unwrap();
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    store
        .put_stream(
            &items(),
            &key("a"),
            ANY,
            Put::default(),
            byte_stream(vec![1; 100_000]),
        )
        .await
        .unwrap();
    changes.next().await.unwrap().unwrap();
    store.drop_collection(&items()).await.unwrap();
    store.sweep().await.unwrap();
}

/// A server has so many databases, and a cluster has one.
#[tokio::test]
async fn a_database_that_is_missing_or_not_allowed_is_said_so() {
    let (Some(url), Some(cluster)) = (need("redis"), need("redis-cluster")) else {
        return;
    };
    for url in [format!("{url}/99"), format!("{cluster}/1")] {
        let error = refused(options(&url)).await;
        told(
            &error,
            ErrorKind::NotFound,
            Retry::No,
            "has no database of this number",
        );
    }
    let Some(server) = private("redis") else {
        return;
    };
    let rules = [
        "ACL", "SETUSER", "app", "on", "nopass", "~*", "+@all", "-select",
    ];
    ask(&server.url(), &rules).await;
    let url = server.url().replace("redis://", "redis://app:x@");
    let error = refused(options(&format!("{url}/1"))).await;
    told(&error, ErrorKind::Denied, Retry::No, "does not allow");
}

#[tokio::test]
async fn a_server_that_takes_no_more_connections_may_take_them_later() {
    let Some(server) = private("redis") else {
        return;
    };
    let client = ::redis::Client::open(server.url()).unwrap();
    let mut only = client.get_multiplexed_async_connection().await.unwrap();
    let mut set = async |most: &str| {
        let mut set = ::redis::cmd("CONFIG");
        let set = set.arg("SET").arg("maxclients").arg(most);
        set.exec_async(&mut only).await.unwrap();
    };
    set("1").await;
    let with_login = server.url().replace("redis://", "redis://default:x@");
    for url in [server.url(), with_login] {
        let error = refused(options(&url)).await;
        told(&error, ErrorKind::Unavailable, Retry::Yes, "maxclients");
    }
    set("100").await;
    open(&server.url()).await;
}

/// Its last snapshot failed, so it takes no writes.
#[tokio::test]
async fn a_server_that_cannot_write_to_its_disk_refuses_a_batch_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap().to_owned();
    let server = private_with("redis", |options| {
        options
            .argument("--dir")
            .argument(path)
            .argument("--save")
            .argument("3600 1")
    });
    let Some(server) = server else { return };
    let url = server.url();
    let store = open(&url).await;
    folder.close().unwrap();
    ask(&url, &["BGSAVE"]).await;
    until(&url, "rdb_last_bgsave_status:err").await;
    let batch = Batch::new().put(&items(), &key("a"), ANY, doc("{}")).put(
        &items(),
        &key("b"),
        ANY,
        doc("{}"),
    );
    let error = store.write(batch.clone()).await.unwrap_err();
    told(
        &error,
        ErrorKind::Unavailable,
        Retry::Yes,
        "cannot write to its disk",
    );
    for name in ["a", "b"] {
        assert_eq!(store.head(&items(), &key(name)).await.unwrap(), None);
    }
    ask(&url, &["CONFIG", "SET", "save", ""]).await;
    store.write(batch).await.unwrap();
}

#[tokio::test]
async fn a_key_that_another_program_wrote_is_told_as_damage() {
    let Some(url) = need("redis") else { return };
    let options = options(&url);
    let store = RedisBackend::open(options.clone()).await.unwrap();
    let entries = format!("{{{}}}:entries:items", options.prefix);
    ask(&url, &["SET", &entries, "mine"]).await;
    let error = store.head(&items(), &key("a")).await.unwrap_err();
    told(&error, ErrorKind::Corrupt, Retry::No, "other programs");
    let put = store.put(&items(), &key("a"), ANY, doc("{}")).await;
    told(
        &put.unwrap_err(),
        ErrorKind::Corrupt,
        Retry::No,
        "other programs",
    );
    ask(&url, &["UNLINK", &entries]).await;
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_server_without_memory_refuses_a_batch_as_a_whole() {
    let Some(server) = private("redis") else {
        return;
    };
    let url = server.url();
    let store = open(&url).await;
    let here = store
        .put(&items(), &key("here"), ANY, doc("{}"))
        .await
        .unwrap();
    ask(&url, &["CONFIG", "SET", "maxmemory", "1"]).await;
    let batch = Batch::new()
        .delete(&items(), &key("never"), ANY)
        .put(&items(), &key("here"), ANY, doc(r#"{"n":1}"#))
        .put(&items(), &key("new"), ANY, doc("{}"));
    let error = store.write(batch.clone()).await.unwrap_err();
    told(&error, ErrorKind::Unavailable, Retry::Yes, "no memory left");
    assert_eq!(
        store.head(&items(), &key("here")).await.unwrap(),
        Some(here)
    );
    assert_eq!(store.head(&items(), &key("new")).await.unwrap(), None);
    // Room can be made.
    store.delete(&items(), &key("here"), ANY).await.unwrap();
    ask(&url, &["CONFIG", "SET", "maxmemory", "0"]).await;
    store.write(batch).await.unwrap();
}

#[tokio::test]
async fn a_server_that_ends_is_gone_for_a_while_and_loses_nothing_it_answered() {
    let Some(server) = private("redis") else {
        return;
    };
    let url = server.url();
    let (mine, store) = (options(&url), open(&url).await);
    let mut answered = Vec::new();
    for round in 0..3 {
        let writers = (0..16).map(|writer| {
            let store = &store;
            async move {
                let mut done = Vec::new();
                for n in 0.. {
                    let name = key(&format!("{round}-{writer}-{n}"));
                    match store.put(&items(), &name, ANY, doc("{}")).await {
                        Ok(entry) => done.push((name, entry.version)),
                        Err(error) => {
                            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
                            return done;
                        }
                    }
                }
                done
            }
        });
        let kill = async {
            while store
                .count(&items(), &holdall_core::Filter::all())
                .await
                .unwrap()
                < 100 * (round + 1)
            {}
            server.kill().unwrap();
        };
        let (done, ()) =
            futures_util::future::join(futures_util::future::join_all(writers), kill).await;
        answered.extend(done.into_iter().flatten());
        let error = store
            .get(&items(), &key("a"), GetOptions::default())
            .await
            .unwrap_err();
        told(
            &error,
            ErrorKind::Unavailable,
            Retry::Yes,
            "Is the server running?",
        );
        told(
            &refused(mine.clone()).await,
            ErrorKind::Unavailable,
            Retry::Yes,
            "connection refused",
        );
        let error = store
            .put(&items(), &key("a"), ANY, doc("{}"))
            .await
            .unwrap_err();
        told(
            &error,
            ErrorKind::Unavailable,
            Retry::Yes,
            "cannot reach Redis at 127.0.0.1",
        );
        server.start().unwrap();
        for (name, version) in &answered {
            let entry = store.head(&items(), name).await.unwrap();
            assert_eq!(entry.map(|entry| entry.version), Some(*version), "{name:?}");
        }
    }
    // The answers of what was under way were lost with the server.
    assert!(answered.len() >= 3 * (100 - 16), "{}", answered.len());
}

/// Stands between a store and a server.
async fn through_proxy(url: &str) -> (RedisBackend, Proxy) {
    let proxy = Proxy::before(url).await;
    let options = RedisOptions {
        timeout: Duration::from_millis(500),
        connections: 2,
        ..options(&proxy.url)
    };
    (RedisBackend::open(options).await.unwrap(), proxy)
}

#[tokio::test]
async fn a_write_whose_answer_is_lost_is_resolved_and_never_sent_twice() {
    let Some(url) = need("redis") else { return };
    let (store, proxy) = through_proxy(&url).await;
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    for (fault, happened) in [
        (Fault::CutRequest(20), false),
        (Fault::CutAnswer(1), true),
        (Fault::CutRequest(1), false),
    ] {
        let mut changes = store.watch(Some(&items()), WatchFrom::Now).await.unwrap();
        let id = Env::system().version();
        let batch = Batch::with_id(id).put(&items(), &key("a"), ANY, doc(r#"{"n":1}"#));
        proxy.arm([fault.clone()]);
        let error = store.write(batch.clone()).await.unwrap_err();
        told(&error, ErrorKind::Unavailable, Retry::Unknown, "broke off");
        assert_eq!(error.batch(), Some(id));
        assert_eq!(proxy.left(), 0);
        let outcome = store.resolve(id, None).await.unwrap();
        assert_eq!(
            matches!(outcome, Outcome::Committed(_)),
            happened,
            "{fault:?}: {outcome:?}"
        );
        // A late arrival changes nothing.
        let late = store.write(batch).await.unwrap_err();
        assert_eq!(
            late.kind(),
            if happened {
                ErrorKind::Conflict
            } else {
                ErrorKind::Expired
            }
        );
        let last = store
            .put(&items(), &key("last"), ANY, doc("{}"))
            .await
            .unwrap();
        let seen: Vec<_> = (&mut changes)
            .map_ok(|change| change.batch)
            .try_take_while(|batch| std::future::ready(Ok(*batch != last.version)))
            .try_collect()
            .await
            .unwrap();
        assert_eq!(seen, if happened { vec![id] } else { vec![] }, "{fault:?}");
    }
}

/// A connection that was cut while it was opened was told as a bug of Holdall, not to be
/// tried again.
#[tokio::test]
async fn a_connection_that_is_cut_while_it_is_opened_may_be_tried_again() {
    let Some(url) = need("redis") else { return };
    let proxy = Proxy::before(&url).await;
    // A login and a database: all that is said first.
    let through = format!("{}/1", proxy.url.replace("redis://", "redis://default:x@"));
    let mut options = options(&through);
    options.connections = 2;
    let client = ::redis::Client::open(through.as_str()).unwrap();
    for handed_in in [false, true] {
        let open = async || match handed_in {
            true => RedisBackend::from_client(client.clone(), options.clone()).await,
            false => RedisBackend::open(options.clone()).await,
        };
        let mut cuts = 0;
        let store = loop {
            proxy.arm([Fault::CutAnswer(cuts)]);
            match open().await {
                Ok(store) => break store,
                Err(error) => {
                    let part = "cannot reach Redis at 127.0.0.1";
                    told(&error, ErrorKind::Unavailable, Retry::Yes, part);
                }
            }
            cuts += 1;
        };
        assert!(cuts > "+OK\r\n+OK\r\n".len(), "{cuts}");

        // A write that finds no connection did not happen.
        proxy.arm([Fault::CutRequest(1), Fault::CutAnswer(7)]);
        for retry in [Retry::Unknown, Retry::Yes] {
            let put = store.put(&items(), &key("a"), ANY, doc("{}")).await;
            let error = put.unwrap_err();
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::Unavailable, retry),
                "{error}"
            );
        }
        assert_eq!(proxy.left(), 0);
        assert_eq!(store.head(&items(), &key("a")).await.unwrap(), None);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_waited_for_as_long_as_allowed() {
    let Some(url) = need("redis") else { return };
    let (store, proxy) = through_proxy(&url).await;
    let held = Held::new();
    proxy.arm([Fault::Hold(held.clone())]);
    let id = Env::system().version();
    let batch = Batch::with_id(id).put(&items(), &key("a"), ANY, doc("{}"));
    let error = store.write(batch).await.unwrap_err();
    told(
        &error,
        ErrorKind::Timeout,
        Retry::Unknown,
        "did not answer within 500ms",
    );
    // It is given up before it arrives, and then it arrives.
    assert_eq!(store.resolve(id, None).await.unwrap(), Outcome::Aborted);
    held.go.add_permits(1);
    held.answered.acquire().await.unwrap().forget();
    assert_eq!(store.head(&items(), &key("a")).await.unwrap(), None);

    proxy.arm([Fault::Hold(Held::new())]);
    let error = store.head(&items(), &key("a")).await.unwrap_err();
    told(&error, ErrorKind::Timeout, Retry::Yes, "timeout");
    // The next call has another connection.
    assert_eq!(store.head(&items(), &key("a")).await.unwrap(), None);
}

#[tokio::test]
async fn a_read_whose_answer_is_lost_is_asked_for_again() {
    let Some(url) = need("redis") else { return };
    let (store, proxy) = through_proxy(&url).await;
    let entry = store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    for fault in [Fault::CutRequest(5), Fault::CutAnswer(1)] {
        proxy.arm([fault]);
        assert_eq!(store.head(&items(), &key("a")).await.unwrap(), Some(entry));
        assert_eq!(proxy.left(), 0);
    }
    // A watch goes on behind a broken connection.
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    proxy.refuse(true);
    proxy.arm([
        Fault::CutRequest(1),
        Fault::CutRequest(1),
        Fault::CutRequest(1),
    ]);
    store
        .put(&items(), &key("b"), ANY, doc("{}"))
        .await
        .unwrap_err();
    proxy.refuse(false);
    proxy.arm([]);
    let entry = loop {
        match store.put(&items(), &key("c"), ANY, doc("{}")).await {
            Ok(entry) => break entry,
            Err(error) => assert_ne!(error.retry(), Retry::No, "{error}"),
        }
    };
    let mut seen = changes.next().await.unwrap();
    while seen
        .as_ref()
        .is_ok_and(|change| change.version != Some(entry.version))
    {
        seen = changes.next().await.unwrap();
    }
    // Or it says that it cannot.
    if let Err(error) = seen {
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
    }
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_told_them_again() {
    let Some(server) = private("redis") else {
        return;
    };
    let url = server.url();
    let store = open(&url).await;
    for _ in 0..3 {
        ask(&url, &["SCRIPT", "FLUSH"]).await;
        let entry = store
            .put(&items(), &key("a"), ANY, doc("{}"))
            .await
            .unwrap();
        ask(&url, &["SCRIPT", "FLUSH"]).await;
        assert_eq!(store.head(&items(), &key("a")).await.unwrap(), Some(entry));
    }
}

#[tokio::test]
async fn tls_lets_in_only_whom_the_authority_vouches_for() {
    let Some(url) = need("redis-tls") else { return };
    let ca = Authority::get().unwrap().certificate_file();
    let with = |url: &str| RedisOptions {
        ca: Some(ca.clone()),
        ..options(url)
    };
    let store = RedisBackend::open(with(&url)).await.unwrap();
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    let error = refused(options(&url)).await;
    told(
        &error,
        ErrorKind::Unavailable,
        Retry::No,
        "name that by the option ca",
    );
    told(
        &refused(with(&url.replace("rediss", "redis"))).await,
        ErrorKind::Invalid,
        Retry::No,
        "rediss:",
    );
    let error = refused(options(&url.replace("rediss", "redis"))).await;
    told(
        &error,
        ErrorKind::Unavailable,
        Retry::Yes,
        "Does it speak TLS",
    );
    for certificate in [Certificate::WrongHost, Certificate::Expired] {
        let server = private_with("redis", |options| options.certificate(certificate));
        let Some(server) = server else { return };
        let urls = server.urls();
        let (_, url) = urls.iter().find(|(name, _)| *name == "redis-tls").unwrap();
        let error = refused(with(url)).await;
        told(
            &error,
            ErrorKind::Unavailable,
            Retry::No,
            "not to be trusted",
        );
    }
}

#[tokio::test]
async fn a_client_of_the_callers_is_used() {
    let Some(url) = need("redis") else { return };
    let client = ::redis::Client::open(url.as_str()).unwrap();
    let with = options("");
    let store = RedisBackend::from_client(client.clone(), with.clone())
        .await
        .unwrap();
    let entry = store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    store.close().await.unwrap();
    let again = RedisBackend::from_client(client, with).await.unwrap();
    assert_eq!(again.head(&items(), &key("a")).await.unwrap(), Some(entry));
}

#[tokio::test]
async fn a_store_that_is_not_there_or_of_another_format_is_not_made() {
    let Some(url) = need("redis") else { return };
    let existing = RedisOptions {
        create: false,
        ..options(&url)
    };
    let meta = format!("{{{}}}:meta", existing.prefix);
    told(
        &refused(existing.clone()).await,
        ErrorKind::NotFound,
        Retry::No,
        "no store with the prefix",
    );
    assert_eq!(ask(&url, &["EXISTS", &meta]).await, ::redis::Value::Int(0));
    ask(&url, &["HSET", &meta, "format", "2"]).await;
    for create in [true, false] {
        let error = refused(RedisOptions {
            create,
            ..existing.clone()
        })
        .await;
        told(&error, ErrorKind::Corrupt, Retry::No, "format 2");
    }
    assert_eq!(ask(&url, &["HLEN", &meta]).await, ::redis::Value::Int(1));
    ask(&url, &["UNLINK", &meta]).await;
}

/// docs/redis.md tells where everything is.
#[tokio::test]
async fn other_programs_find_docs_as_the_page_says() {
    let Some(url) = need("redis") else { return };
    let options = options(&url);
    let name = |what: &str| format!("{{{}}}:{what}", options.prefix);
    let store = RedisBackend::open(options.clone()).await.unwrap();
    let index = Index::parse(&["n"]).unwrap().unique();
    store
        .define(&items(), std::slice::from_ref(&index))
        .await
        .unwrap();
    let put = Put::bytes("body").with_doc(Doc::parse(r#"{ "n": 1 }"#).unwrap());
    let entry = store.put(&items(), &key("ü"), ANY, put).await.unwrap();
    store
        .put_stream(
            &items(),
            &key("large"),
            ANY,
            Put::default(),
            byte_stream(vec![7; 300_000]),
        )
        .await
        .unwrap();
    let text = |value: ::redis::Value| ::redis::from_redis_value::<String>(value).unwrap();
    let bytes = |value: ::redis::Value| ::redis::from_redis_value::<Vec<u8>>(value).unwrap();
    let list = |value: ::redis::Value| ::redis::from_redis_value::<Vec<String>>(value).unwrap();
    assert_eq!(
        text(ask(&url, &["HGET", &name("docs:items"), "ü"]).await),
        r#"{"n":1}"#
    );
    assert_eq!(
        text(ask(&url, &["HGET", &name("bodies:items"), "ü"]).await),
        "body"
    );
    assert_eq!(
        list(ask(&url, &["ZRANGE", &name("keys:items"), "0", "-1"]).await),
        ["large", "ü"]
    );
    assert_eq!(
        list(ask(&url, &["ZRANGE", &name("names"), "0", "-1"]).await),
        ["items"]
    );
    let mut wanted = entry.version.as_bytes().to_vec();
    wanted.extend(entry.created.as_micros().to_be_bytes());
    wanted.extend(entry.modified.as_micros().to_be_bytes());
    wanted.extend(4_u64.to_be_bytes());
    wanted.push(1);
    wanted.extend(entry.digest.unwrap().as_bytes());
    assert_eq!(
        bytes(ask(&url, &["HGET", &name("entries:items"), "ü"]).await),
        wanted
    );

    let large = bytes(ask(&url, &["HGET", &name("entries:items"), "large"]).await);
    assert_eq!(large[40], 3);
    let id = Version::from_slice(&large[41..57]).unwrap();
    let hex = id.to_string().replace('-', "");
    let body = name(&format!("body:{hex}"));
    assert_eq!(ask(&url, &["HLEN", &body]).await, ::redis::Value::Int(2));
    assert_eq!(
        ask(&url, &["HSTRLEN", &body, "0"]).await,
        ::redis::Value::Int(262_144)
    );
    assert_eq!(
        ask(&url, &["SCARD", &name("large:items")]).await,
        ::redis::Value::Int(1)
    );

    let indexes = text(ask(&url, &["HGET", &name("indexes"), "items"]).await);
    let (_, all) = indexes.split_once(' ').unwrap();
    let all: serde_json::Value = serde_json::from_str(all).unwrap();
    assert_eq!(all[0]["paths"], serde_json::json!(["n"]));
    assert_eq!(
        (&all[0]["ready"], &all[0]["holds"]),
        (&true.into(), &"any".into())
    );
    let holds = name(&format!("holds:{}:items", all[0]["id"].as_str().unwrap()));
    assert_eq!(bytes(ask(&url, &["HGET", &holds, "ü"]).await).len(), 32);

    assert_eq!(text(ask(&url, &["HGET", &name("meta"), "seq"]).await), "2");
    assert_eq!(
        ask(&url, &["XLEN", &name("log")]).await,
        ::redis::Value::Int(2)
    );
    // Nothing is left of what was there for a moment.
    for gone in [
        "staged", "leases", "small", "try:1", "try:2", "try:3", "try:4",
    ] {
        assert_eq!(
            ask(&url, &["EXISTS", &name(gone)]).await,
            ::redis::Value::Int(0),
            "{gone}"
        );
    }
}

/// A store whose clock is set.
async fn with_clock(url: &str) -> (RedisBackend, ManualClock, RedisOptions) {
    let clock = ManualClock::at(SystemClock.now_or_so());
    let options = RedisOptions {
        env: Env::seeded(clock.clone(), Env::system().below(u64::MAX)),
        log_bytes: 2000,
        ..options(url)
    };
    let store = RedisBackend::open(options.clone()).await.unwrap();
    (store, clock, options)
}

trait NowOrSo {
    fn now_or_so(&self) -> Timestamp;
}

impl NowOrSo for SystemClock {
    fn now_or_so(&self) -> Timestamp {
        Env::system().now()
    }
}

#[tokio::test]
async fn bodies_that_nobody_has_go_when_their_time_is_over() {
    let Some(url) = need("redis") else { return };
    let (store, clock, options) = with_clock(&url).await;
    let pattern = format!("{{{}}}:body:*", options.prefix);
    let bodies = || async {
        let keys = ask(&url, &["KEYS", &pattern]).await;
        ::redis::from_redis_value::<Vec<String>>(keys)
            .unwrap()
            .len()
    };
    let large = || byte_stream(vec![5; 300_000]);
    let put = |name: &'static str| {
        let store = &store;
        async move {
            store
                .put_stream(&items(), &key(name), ANY, Put::default(), large())
                .await
                .unwrap()
        }
    };
    for name in ["kept", "overwritten", "deleted"] {
        put(name).await;
    }
    let dropped = CollectionName::new("dropped").unwrap();
    for n in 0..70 {
        let name = key(&format!("k{n}"));
        store
            .put_stream(
                &dropped,
                &name,
                ANY,
                Put::default(),
                byte_stream(vec![6; 70_000]),
            )
            .await
            .unwrap();
    }
    let abandoned = store.stage(&items(), large()).await.unwrap();
    let too_early = store
        .get(&items(), &key("deleted"), GetOptions::default())
        .await
        .unwrap();
    let mut reading = too_early.unwrap().into_body().unwrap().into_stream();
    store
        .put(&items(), &key("overwritten"), ANY, doc("{}"))
        .await
        .unwrap();
    store.delete(&items(), &key("deleted"), ANY).await.unwrap();
    store.drop_collection(&dropped).await.unwrap();
    store.sweep().await.unwrap();
    assert_eq!(bodies().await, 3 + 70 + 1);

    clock.advance(Duration::from_secs(60 * 60));
    put("later").await;
    store.sweep().await.unwrap();
    assert_eq!(bodies().await, 2);
    let error = store
        .put(&items(), &key("a"), ANY, Put::staged(abandoned))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Expired);
    let error = reading.try_next().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
    for name in ["kept", "later"] {
        let item = store
            .get(&items(), &key(name), GetOptions::default())
            .await
            .unwrap();
        let body = item
            .unwrap()
            .into_body()
            .unwrap()
            .bytes(1 << 20)
            .await
            .unwrap();
        assert_eq!(body, vec![5; 300_000]);
    }
    for left in ["leases", "staged", "small", "dropped", "gone:*"] {
        let pattern = format!("{{{}}}:{left}", options.prefix);
        let keys = ::redis::from_redis_value::<Vec<String>>(ask(&url, &["KEYS", &pattern]).await);
        assert_eq!(keys.unwrap(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn the_log_has_an_end_and_a_watch_behind_it_is_told() {
    let Some(url) = need("redis") else { return };
    let (store, clock, options) = with_clock(&url).await;
    let log = format!("{{{}}}:log", options.prefix);
    let length =
        || async { ::redis::from_redis_value::<i64>(ask(&url, &["XLEN", &log]).await).unwrap() };
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    let mut ids = Vec::new();
    for n in 0..300 {
        ids.push(
            store
                .put(&items(), &key(&format!("k{n:03}")), ANY, doc("{}"))
                .await
                .unwrap()
                .version,
        );
    }
    let first = changes.next().await.unwrap().unwrap();
    // By size: a change takes about 25 bytes.
    store.sweep().await.unwrap();
    let left = length().await;
    assert!((50..=90).contains(&left), "{left}");
    assert_eq!(store.resolve(ids[0], None).await.unwrap(), Outcome::Unknown);
    let outcome = store.resolve(ids[299], None).await.unwrap();
    assert!(
        matches!(outcome, Outcome::Committed(Some(_))),
        "{outcome:?}"
    );
    let error = store
        .watch(None, WatchFrom::After(first.cursor))
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Expired, "{error}");
    // By age: the last stays, so that numbers go on.
    clock.advance(Duration::from_secs(25 * 60 * 60));
    store.sweep().await.unwrap();
    assert_eq!(length().await, 1);
    let batches = format!("{{{}}}:batches", options.prefix);
    assert_eq!(ask(&url, &["HLEN", &batches]).await, ::redis::Value::Int(1));
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    let next = store
        .put(&items(), &key("next"), ANY, doc("{}"))
        .await
        .unwrap();
    assert_eq!(
        changes.next().await.unwrap().unwrap().version,
        Some(next.version)
    );
}

/// A server that took over may have lost the last changes, and gives their numbers to
/// others.
#[tokio::test]
async fn a_watch_notices_that_the_server_lost_changes() {
    let Some(url) = need("redis") else { return };
    let options = options(&url);
    let store = RedisBackend::open(options.clone()).await.unwrap();
    let mut changes = store.watch(None, WatchFrom::Now).await.unwrap();
    store
        .put(&items(), &key("a"), ANY, doc("{}"))
        .await
        .unwrap();
    store
        .put(&items(), &key("b"), ANY, doc("{}"))
        .await
        .unwrap();
    changes.next().await.unwrap().unwrap();
    let cursor = changes.next().await.unwrap().unwrap().cursor;
    let (meta, log) = (
        format!("{{{}}}:meta", options.prefix),
        format!("{{{}}}:log", options.prefix),
    );
    // As if the second had never been.
    ask(&url, &["XSETID", &log, "2-0"]).await;
    ask(&url, &["XDEL", &log, "2-0"]).await;
    ask(&url, &["XSETID", &log, "1-0"]).await;
    ask(&url, &["HSET", &meta, "seq", "1"]).await;
    let again = |cursor| store.watch(None, WatchFrom::After(cursor));
    let error = again(cursor.clone()).await.map(drop).unwrap_err();
    told(
        &error,
        ErrorKind::Expired,
        Retry::No,
        "another server took over",
    );
    store
        .put(&items(), &key("c"), ANY, doc("{}"))
        .await
        .unwrap();
    let error = again(cursor).await.map(drop).unwrap_err();
    told(
        &error,
        ErrorKind::Expired,
        Retry::No,
        "another server took over",
    );
    let error = changes.next().await.unwrap().unwrap_err();
    told(
        &error,
        ErrorKind::Expired,
        Retry::No,
        "another server took over",
    );
}

/// While an index is made, others write: none slips in unseen.
#[tokio::test]
async fn an_index_that_is_made_while_others_write_binds_all_of_them() {
    let Some(url) = need("redis") else { return };
    let options = options(&url);
    let store = RedisBackend::open(options.clone()).await.unwrap();
    let other = RedisBackend::open(options).await.unwrap();
    for round in 0..8 {
        let items = CollectionName::new(format!("round{round}")).unwrap();
        let mut batch = Batch::new();
        for n in 0..600 {
            batch = batch.put(
                &items,
                &key(&format!("old{n}")),
                ANY,
                doc(&format!(r#"{{"n":{n}}}"#)),
            );
        }
        store.write(batch).await.unwrap();
        let index = [Index::parse(&["n"]).unwrap().unique()];
        let write = async {
            let mut won = 0;
            for n in 0..200 {
                // Every second one shares a value with an old item, or would.
                let value = if n % 2 == 0 && round % 2 == 0 {
                    n
                } else {
                    1000 + n
                };
                let put = doc(&format!(r#"{{"n":{value}}}"#));
                match other.put(&items, &key(&format!("new{n}")), ANY, put).await {
                    Ok(_) => won += i32::from(value < 1000),
                    Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error}"),
                }
            }
            won
        };
        let (defined, shared) = tokio::join!(store.define(&items, &index), write);
        let found = store
            .scan(&items, Scan::all())
            .try_collect::<Vec<_>>()
            .await
            .unwrap();
        let mut values: Vec<_> = found
            .iter()
            .map(|item| item.doc().unwrap().value().unwrap()["n"].as_i64().unwrap())
            .collect();
        let all = values.len();
        values.sort_unstable();
        values.dedup();
        match defined {
            Ok(()) => {
                assert_eq!(
                    values.len(),
                    all,
                    "two items share a value under a unique index"
                );
                let error = other
                    .put(&items, &key("late"), ANY, doc(r#"{"n":7}"#))
                    .await;
                assert_eq!(error.unwrap_err().kind(), ErrorKind::Conflict);
            }
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
                assert!(shared > 0, "{error}");
                // Nothing binds then.
                other
                    .put(&items, &key("late"), ANY, doc(r#"{"n":7}"#))
                    .await
                    .unwrap();
            }
        }
    }
}

/// A write is answered when the replica has it, and not if there is none.
#[tokio::test]
async fn a_replica_has_each_write_before_it_is_answered() {
    let (Some(primary), Some(replica)) = (private("redis"), private("redis")) else {
        return;
    };
    let (url, copy) = (primary.url(), replica.url());
    let port = url.rsplit_once(':').unwrap().1.to_owned();
    ask(&copy, &["REPLICAOF", "127.0.0.1", &port]).await;
    until(&url, "connected_slaves:1").await;
    until(&copy, "master_link_status:up").await;
    let error = refused(options(&url)).await;
    told(&error, ErrorKind::Unsupported, Retry::No, "replicas=1");
    let error = refused(RedisOptions {
        replicas: 1,
        ..options(&copy)
    })
    .await;
    told(&error, ErrorKind::Unavailable, Retry::Yes, "is a replica");
    let options = RedisOptions {
        replicas: 1,
        timeout: Duration::from_secs(1),
        ..options(&url)
    };
    let store = RedisBackend::open(options.clone()).await.unwrap();
    assert!(store.capabilities().durable);
    let docs = format!("{{{}}}:docs:items", options.prefix);
    for n in 0..50 {
        let name = format!("k{n}");
        store
            .put(&items(), &key(&name), ANY, doc("{}"))
            .await
            .unwrap();
        let there = ask(&copy, &["HEXISTS", &docs, &name]).await;
        assert_eq!(there, ::redis::Value::Int(1), "{name}");
    }
    replica.kill().unwrap();
    let id = Env::system().version();
    let batch = Batch::with_id(id).put(&items(), &key("lonely"), ANY, doc("{}"));
    let error = store.write(batch).await.unwrap_err();
    told(&error, ErrorKind::Unavailable, Retry::Unknown, "0 have it");
}

/// Waits until the server says so of itself.
async fn until(url: &str, wanted: &str) {
    let wait = async {
        loop {
            let info = asked(url, &["INFO"]).await;
            let info = info.map(|info| ::redis::from_redis_value::<String>(info).unwrap());
            if info.is_ok_and(|info| info.contains(wanted)) {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.unwrap_or_else(|_| panic!("{wanted} was never so"));
}

/// The node that has the store is killed; its replica takes over with all that was
/// answered, and answers no write before it has a replica of its own.
#[tokio::test]
async fn a_node_of_the_cluster_that_ends_takes_nothing_along() {
    let cluster = private_with("redis-cluster", |options| {
        options.argument("--set-proc-title").argument("no")
    });
    let Some(cluster) = cluster else { return };
    let store = open_cluster(&cluster).await;
    let put = |n: usize| {
        let store = &store;
        async move {
            let name = key(&format!("k{n}"));
            let entry = store.put(&items(), &name, ANY, doc("{}")).await;
            entry.map(|entry| (n, entry.version))
        }
    };
    let mut answered = Vec::new();
    for n in 0..100 {
        answered.push(put(n).await.unwrap());
    }
    let home = home(&store);
    let info = ask(&format!("redis://{home}"), &["INFO", "server"]).await;
    let info = ::redis::from_redis_value::<String>(info).unwrap();
    let pid = info
        .lines()
        .find_map(|line| line.strip_prefix("process_id:"));
    let pid = pid.unwrap().to_owned();
    assert!(cluster.pids().contains(&pid.parse().unwrap()));
    let words = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    let words: Vec<_> = words
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word))
        .collect();
    let killed = std::process::Command::new("kill")
        .args(["-9", &pid])
        .status()
        .unwrap();
    assert!(killed.success());

    within_a_minute(async || match store.head(&items(), &key("k0")).await {
        Ok(entry) => entry.is_some(),
        Err(error) => {
            assert_eq!(error.retry(), Retry::Yes, "{error}");
            false
        }
    })
    .await;
    let other = format!("{store:?}");
    assert!(!other.contains(&home), "{other} is gone");
    let error = put(100).await.unwrap_err();
    told(&error, ErrorKind::Unavailable, Retry::Unknown, "0 have it");

    // It comes back, as a replica of the other.
    let mut again = std::process::Command::new(&*words[0])
        .args(
            words[1..]
                .iter()
                .filter(|word| !word.is_empty())
                .map(|word| &**word),
        )
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let lost = error.batch().unwrap();
    within_a_minute(async || match store.resolve(lost, None).await {
        Ok(outcome) => {
            assert!(matches!(outcome, Outcome::Committed(_)), "{outcome:?}");
            true
        }
        Err(error) => {
            assert_eq!(error.retry(), Retry::Yes, "{error}");
            false
        }
    })
    .await;
    answered.push((100, lost));
    answered.push(put(101).await.unwrap());
    for (n, version) in answered {
        let entry = store.head(&items(), &key(&format!("k{n}"))).await.unwrap();
        assert_eq!(entry.map(|entry| entry.version), Some(version), "k{n}");
    }
    again.kill().unwrap();
    again.wait().unwrap();
}

/// The server that a store is on.
fn home(store: &RedisBackend) -> String {
    let shown = format!("{store:?}");
    shown.split('"').nth(1).unwrap().to_owned()
}

async fn within_a_minute(mut done: impl AsyncFnMut() -> bool) {
    let wait = async { while !done().await {} };
    let waited = tokio::time::timeout(Duration::from_secs(60), wait).await;
    waited.expect("a minute has passed");
}

/// The replicas of a new cluster need a moment.
async fn open_cluster(cluster: &Private) -> RedisBackend {
    let without = RedisOptions {
        connect_timeout: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        ..options(&cluster.url())
    };
    let error = refused(without.clone()).await;
    told(&error, ErrorKind::Unsupported, Retry::No, "replicas=1");
    let options = RedisOptions {
        replicas: 1,
        ..without
    };
    let mut opened = None;
    within_a_minute(async || match RedisBackend::open(options.clone()).await {
        Ok(store) => {
            opened = Some(store);
            true
        }
        Err(error) => {
            assert_eq!(error.retry(), Retry::Yes, "{error}");
            false
        }
    })
    .await;
    let store = opened.unwrap();
    assert!(store.capabilities().durable);
    store
}

/// The promises hold while connections break and the server is killed.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_lost_or_doubled_while_connections_break_and_the_server_dies() {
    let Some(server) = private("redis") else {
        return;
    };
    let open = |url: String| async move {
        let mut options = RedisOptions::new(url);
        options.set("timeout", "2s")?;
        options.set("connect_timeout", "2s")?;
        Ok(RedisBackend::open(options).await?.into())
    };
    faults::check(Subject::new(server.url(), open).killed(server)).await;
}
