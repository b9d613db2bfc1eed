//! What goes wrong between a store and MongoDB, and what is said then.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod mongo;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdall_backends::mongodb::driver::bson::{Document, doc};
use holdall_backends::mongodb::driver::event::EventHandler;
use holdall_backends::mongodb::driver::event::command::CommandEvent;
use holdall_backends::mongodb::driver::options::{ClientOptions, IndexOptions};
use holdall_backends::mongodb::driver::{Client, IndexModel};
use holdall_backends::mongodb::{MongoBackend, MongoOptions, Transactions};
use holdall_core::{
    Backend, BackendExt, Batch, CollectionName, Condition, Doc, Env, Error, ErrorKind, Filter,
    GetOptions, Index, Key, NewBody, Outcome, Put, Retry, byte_stream,
};
use holdall_testing::proxy::{Fault, Proxy};
use holdall_testing::services::{need, private_with};
use mongo::{clear, database, options};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn items() -> CollectionName {
    "items".parse().unwrap()
}

fn key(text: &str) -> Key {
    Key::new(text).unwrap()
}

fn put(text: &str) -> Put {
    Put::doc(Doc::parse(text.to_owned()).unwrap())
}

async fn refused(options: MongoOptions) -> Error {
    match MongoBackend::open(options).await {
        Ok(_) => panic!("this should not have opened"),
        Err(error) => error,
    }
}

fn quick(url: &str) -> MongoOptions {
    MongoOptions {
        connect_timeout: Duration::from_secs(5),
        timeout: Duration::from_secs(20),
        ..MongoOptions::new(url)
    }
}

#[tokio::test]
async fn nobody_listens_and_the_password_is_not_told() {
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let url = format!("mongodb://ada:hunter2@127.0.0.1:{port}/x?directConnection=true");
    let error = refused(quick(&url)).await;
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Yes),
        "{error}"
    );
    assert!(
        error.to_string().contains("Is the server running"),
        "{error}"
    );
    assert!(
        !format!("{error} {error:?}").contains("hunter2"),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_url_that_is_none_is_invalid_and_shows_no_password() {
    for url in [
        "mongodb://ada:hun%ter2@h/x",
        "mongodb://ada:hunter2@h:99999/x",
        "mongodb://ada:hunter2@/x",
        "mongodb://ada:hunter2@h,,i/x?nope",
    ] {
        let error = refused(quick(url)).await;
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Invalid, Retry::No),
            "{error}"
        );
        assert!(!format!("{error} {error:?}").contains("ter2"), "{error:?}");
    }
    let error = refused(quick("mongodb+srv://h/x")).await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let error = refused(MongoOptions {
        password: Some("hunter2".into()),
        ..quick("mongodb://h/x")
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}

#[tokio::test]
async fn who_is_not_known_or_may_not_write_is_denied() {
    let Some(server) = private_with("mongodb", |options| options.argument("--auth")) else {
        return;
    };
    let url = |user: &str| {
        server
            .url()
            .replace("mongodb://", &format!("mongodb://{user}"))
    };
    let anyone = Client::with_uri_str(server.url()).await.unwrap();
    let root = doc! { "createUser": "root", "pwd": "secret", "roles": ["root"] };
    anyone.database("admin").run_command(root).await.unwrap();
    let admin = Client::with_uri_str(url("root:secret@")).await.unwrap();
    let reader =
        doc! { "createUser": "reader", "pwd": "r", "roles": [{ "role": "read", "db": "holdall" }] };
    admin.database("admin").run_command(reader).await.unwrap();
    let store = MongoBackend::open(MongoOptions {
        username: Some("root".into()),
        password: Some("secret".into()),
        ..quick(&server.url())
    });
    let store = store.await.unwrap();
    store
        .put(&items(), &key("a"), Condition::Any, put("{}"))
        .await
        .unwrap();
    store.close().await.unwrap();
    // The same with the password in a file.
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    let mut options = quick(&server.url());
    options.set("username", "root").unwrap();
    options
        .set("password_file", secret.to_str().unwrap())
        .unwrap();
    let store = MongoBackend::open(options.clone()).await.unwrap();
    assert_eq!(store.count(&items(), &Filter::all()).await.unwrap(), 1);
    store.close().await.unwrap();
    options.set("password", "secret").unwrap();
    let error = refused(options.clone()).await;
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
    assert!(error.to_string().contains("password_file"), "{error}");
    options.password = None;
    std::fs::write(&secret, "hunter2").unwrap();
    let error = refused(options.clone()).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(!format!("{error} {error:?}").contains("hunter2"));
    std::fs::remove_file(&secret).unwrap();
    let error = refused(options).await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    for (user, why) in [
        ("root:hunter2@", "password"),
        ("", "readWrite"),
        ("reader:r@", "readWrite"),
    ] {
        let error = refused(quick(&url(user))).await;
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Denied, Retry::No),
            "{user}: {error}"
        );
        assert!(error.to_string().contains(why), "{user}: {error}");
        assert!(
            !format!("{error} {error:?}").contains("hunter2"),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn a_server_that_is_gone_is_unavailable_and_nothing_acknowledged_is_lost() {
    let Some(server) = private_with("mongodb", |options| options) else {
        return;
    };
    let store = MongoBackend::open(quick(&server.url())).await.unwrap();
    for n in 0..20 {
        store
            .put(
                &items(),
                &key(&format!("k{n}")),
                Condition::Absent,
                put("{}"),
            )
            .await
            .unwrap();
    }
    server.kill().unwrap();
    let read = store.head(&items(), &key("k0")).await.unwrap_err();
    assert_eq!(
        (read.kind(), read.retry()),
        (ErrorKind::Unavailable, Retry::Yes),
        "{read}"
    );
    let written = store
        .put(&items(), &key("late"), Condition::Any, put("{}"))
        .await
        .unwrap_err();
    assert!(
        [ErrorKind::Unavailable, ErrorKind::Timeout].contains(&written.kind()),
        "{written}"
    );
    server.start().unwrap();
    // The driver looks for the server now and then.
    let mut tries = 0;
    while let Err(error) = store.health().await {
        tries += 1;
        assert!(tries < 10, "{error}");
    }
    for n in 0..20 {
        assert!(
            store
                .head(&items(), &key(&format!("k{n}")))
                .await
                .unwrap()
                .is_some(),
            "k{n}"
        );
    }
    store
        .put(&items(), &key("k0"), Condition::Present, put("{}"))
        .await
        .unwrap();
    store.close().await.unwrap();
}

/// Forwards all, and swallows the answers to so many requests of a kind, and breaks.
struct Relay {
    url: String,
    breaks: Arc<AtomicUsize>,
    /// So many of them pass before.
    passes: Arc<AtomicUsize>,
}

impl Relay {
    /// Breaks at requests in which this stands.
    async fn before(server: &str, word: &'static str) -> Self {
        let host = server
            .trim_start_matches("mongodb://")
            .split('/')
            .next()
            .unwrap()
            .to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!(
            "mongodb://{}/?directConnection=true",
            listener.local_addr().unwrap()
        );
        let (breaks, passes) = (Arc::new(AtomicUsize::new(0)), Arc::default());
        let armed = (breaks.clone(), Arc::clone(&passes));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&host).await.unwrap();
                tokio::spawn(pass(client, server, word, armed.clone()));
            }
        });
        Self {
            url,
            breaks,
            passes,
        }
    }
}

async fn pass(
    client: TcpStream,
    server: TcpStream,
    word: &str,
    (breaks, passes): (Arc<AtomicUsize>, Arc<AtomicUsize>),
) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answer) = (vec![0; 65536], vec![0; 65536]);
    let mut swallow = false;
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(count @ 1..) = read else { return };
                let is_one = asked[..count].windows(word.len()).any(|window| window == word.as_bytes());
                let take = |left: &AtomicUsize| {
                    let less = |left: usize| left.checked_sub(1);
                    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
                };
                swallow |= is_one && !take(&passes) && take(&breaks);
                if to_server.write_all(&asked[..count]).await.is_err() { return }
            }
            read = from_server.read(&mut answer) => {
                let Ok(count @ 1..) = read else { return };
                if swallow { return }
                if to_client.write_all(&answer[..count]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_found_and_not_repeated() {
    let Some(server) = need("mongodb") else {
        return;
    };
    let base = database();
    let relay = Relay::before(&server, "commitTransaction").await;
    let store = MongoBackend::open(options(&relay.url, &base))
        .await
        .unwrap();
    store
        .put(&items(), &key("n"), Condition::Any, put(r#"{"n":0}"#))
        .await
        .unwrap();
    let mut changes = store
        .watch(None, holdall_core::WatchFrom::Now)
        .await
        .unwrap();
    for n in 1..6 {
        let before = store.head(&items(), &key("n")).await.unwrap().unwrap();
        // The driver asks again once by itself, and then the store does.
        relay.breaks.store(n, Ordering::SeqCst);
        let batch = Batch::new().put(
            &items(),
            &key("n"),
            Condition::Version(before.version),
            put(&format!("{{\"n\":{n}}}")),
        );
        let written = store.write(batch).await.unwrap();
        assert_eq!(relay.breaks.load(Ordering::SeqCst), 0, "no answer was lost");
        let now = store.head(&items(), &key("n")).await.unwrap().unwrap();
        assert_eq!(Some(now), written.entries[0]);
        assert!(matches!(
            store.resolve(written.id, None).await.unwrap(),
            Outcome::Committed(_)
        ));
        let told = futures_util::StreamExt::next(&mut changes)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            (told.version, told.previous),
            (Some(now.version), Some(before.version))
        );
    }
    store.close().await.unwrap();
    clear(&server, &base).await;
}

/// A put without transactions that was written used to be told as failed if what is
/// looked at behind it, the indexes that were declared meanwhile, was out of reach.
#[tokio::test]
async fn a_put_that_was_written_is_never_told_as_failed() {
    let Some(server) = need("mongodb") else {
        return;
    };
    let base = database();
    let relay = Relay::before(&server, "holdall.collections").await;
    let store = MongoBackend::open(MongoOptions {
        transactions: Transactions::Off,
        ..options(&relay.url, &base)
    });
    let store = store.await.unwrap();
    store
        .put(&items(), &key("a"), Condition::Any, put("{}"))
        .await
        .unwrap();
    // The catalogue is read before the item is written, and again behind that; the driver
    // asks twice.
    relay.breaks.store(2, Ordering::SeqCst);
    relay.passes.store(1, Ordering::SeqCst);
    let error = store
        .put(&items(), &key("a"), Condition::Any, put(r#"{"n":2}"#))
        .await
        .unwrap_err();
    assert_eq!(relay.breaks.load(Ordering::SeqCst), 0, "no answer was lost");
    assert_eq!(error.retry(), Retry::Unknown, "{error}");
    let id = error.batch().unwrap();
    let outcome = store.resolve(id, Some((&items(), &key("a")))).await;
    assert!(matches!(outcome.unwrap(), Outcome::Committed(_)));
    clear(&server, &base).await;
}

/// A batch without transactions whose staged body was taken, and the answer to that lost, used
/// to be told that the body is not there when it was sent again, by the store or its user.
#[tokio::test]
async fn a_body_that_was_taken_for_a_batch_is_there_for_it_again() {
    let Some(server) = need("mongodb") else {
        return;
    };
    let base = database();
    let relay = Relay::before(&server, "metadata.batch").await;
    let store = MongoBackend::open(MongoOptions {
        transactions: Transactions::Off,
        ..options(&relay.url, &base)
    });
    let store = store.await.unwrap();
    let body = vec![7; 100_000];
    let staged = store.stage(&items(), byte_stream(body.clone())).await;
    let mut put = put("{}");
    put.body = NewBody::Staged(staged.unwrap());
    // The driver asks twice.
    relay.breaks.store(2, Ordering::SeqCst);
    let first = Batch::with_id(Env::system().version());
    let first = first.put(&items(), &key("a"), Condition::Any, put.clone());
    let error = store.write(first.clone()).await.unwrap_err();
    assert_eq!(error.retry(), Retry::Yes, "{error}");
    store.write(first).await.unwrap();
    assert_eq!(relay.breaks.load(Ordering::SeqCst), 0, "no answer was lost");
    // By another it is not.
    let second = Batch::new().put(&items(), &key("b"), Condition::Any, put);
    let refused = store.write(second).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::Expired);
    let place = (&items(), &key("a"));
    let item = store.get(place.0, place.1, GetOptions::default()).await;
    let read = item.unwrap().unwrap().body.unwrap().bytes(200_000).await;
    assert_eq!(read.unwrap(), body);
    clear(&server, &base).await;
}

/// What a store acknowledges survives the loss of a member, and of power.
#[tokio::test]
async fn every_write_waits_for_the_majority_and_its_journal() {
    let Some(server) = need("mongodb") else {
        return;
    };
    let writes = ["insert", "update", "delete", "findAndModify"];
    for transactions in [Transactions::On, Transactions::Off] {
        let base = database();
        let seen: Arc<Mutex<Vec<Document>>> = Arc::default();
        let mut client = ClientOptions::parse(&server).await.unwrap();
        let keep = seen.clone();
        client.command_event_handler = Some(EventHandler::callback(move |event| {
            if let CommandEvent::Started(started) = event {
                keep.lock().unwrap().push(started.command);
            }
        }));
        let client = Client::with_options(client).unwrap();
        let mut options = MongoOptions::new("");
        options.transactions = transactions;
        let store = MongoBackend::from_client(client, &base, options).await;
        let store = store.unwrap();
        let large = || Put::bytes(vec![1; 300_000]);
        for _ in 0..2 {
            let put = store
                .put(&items(), &key("a"), Condition::Any, large())
                .await;
            put.unwrap();
        }
        let indexes = [Index::parse(&["n"]).unwrap()];
        store.define(&items(), &indexes).await.unwrap();
        let delete = store.delete(&items(), &key("a"), Condition::Any).await;
        delete.unwrap();
        store.drop_collection(&items()).await.unwrap();
        store.sweep().await.unwrap();
        let seen = seen.lock().unwrap().clone();
        let mut count = 0;
        for command in &seen {
            let name = command.keys().next().unwrap();
            let is_write = writes.contains(&name.as_str());
            // In a transaction, its commit says it for all.
            if name == "commitTransaction" || (is_write && !command.contains_key("autocommit")) {
                let Ok(concern) = command.get_document("writeConcern") else {
                    panic!("{command} waits for nothing")
                };
                // A body is sent in pieces, and its last write speaks for them all.
                let is_last = concern.get_str("w").is_ok();
                if name == "insert"
                    && command.get_str(name).unwrap().starts_with("holdall.bodies")
                    && !is_last
                {
                    continue;
                }
                assert_eq!(concern.get_str("w").unwrap(), "majority", "{name}");
                assert!(concern.get_bool("j").unwrap(), "{name}");
                count += 1;
            }
        }
        let commits = |command: &&Document| command.contains_key("commitTransaction");
        let commits = seen.iter().filter(commits).count();
        assert_eq!(commits > 0, transactions == Transactions::On);
        assert!(count > 5, "{count}");
        clear(&server, &base).await;
    }
}

#[tokio::test]
async fn a_pool_that_is_used_up_says_so() {
    let Some(server) = need("mongodb") else {
        return;
    };
    let base = database();
    // Once the store is open, each answer comes late, so that the calls of a moment
    // need the one connection for longer than any of them waits.
    let proxy = Proxy::before(&server).await;
    let own = MongoOptions {
        connections: 1,
        timeout: Duration::from_secs(1),
        ..options(&proxy.url, &base)
    };
    let store = Arc::new(MongoBackend::open(own).await.unwrap());
    store
        .put(&items(), &key("a"), Condition::Any, put("{}"))
        .await
        .unwrap();
    proxy.arm(vec![Fault::Delay(Duration::from_millis(200)); 100]);
    let calls = (0..50).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { store.count(&items(), &holdall_core::Filter::all()).await })
    });
    let mut refused = 0;
    for call in calls.collect::<Vec<_>>() {
        if let Err(error) = call.await.unwrap() {
            assert_eq!(
                (error.kind(), error.retry()),
                (ErrorKind::Unavailable, Retry::Yes),
                "{error}"
            );
            assert!(error.to_string().contains("raise `connections`"), "{error}");
            refused += 1;
        }
    }
    proxy.arm([]);
    assert!(refused > 0, "all calls found a connection");
    clear(&server, &base).await;
}

#[tokio::test]
async fn what_others_left_in_the_way_is_named() {
    let Some(server) = need("mongodb") else {
        return;
    };
    let base = database();
    let client = Client::with_uri_str(&server).await.unwrap();
    let theirs = client.database(&base);
    theirs
        .collection::<Document>("theirs")
        .insert_one(doc! { "_id": 1 })
        .await
        .unwrap();
    let store = MongoBackend::open(options(&server, &base)).await.unwrap();
    let taken: CollectionName = "theirs".parse().unwrap();
    let error = store
        .put(&taken, &key("a"), Condition::Any, put("{}"))
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Conflict, Retry::No),
        "{error}"
    );
    assert!(error.to_string().contains("theirs"), "{error}");

    store
        .put(&items(), &key("a"), Condition::Any, put(r#"{"n":1}"#))
        .await
        .unwrap();
    let other = IndexOptions::builder()
        .name("holdall_1_sort".to_owned())
        .build();
    let other = IndexModel::builder()
        .keys(doc! { "else": 1 })
        .options(other)
        .build();
    theirs
        .collection::<Document>("items")
        .create_index(other)
        .await
        .unwrap();
    let error = store
        .define(&items(), &[Index::parse(&["n"]).unwrap()])
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Conflict, Retry::No),
        "{error}"
    );
    assert!(error.to_string().contains("another definition"), "{error}");

    theirs
        .collection::<Document>("items")
        .insert_one(doc! { "_id": "b", "n": 1 })
        .await
        .unwrap();
    let error = store.head(&items(), &key("b")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    store.close().await.unwrap();
    clear(&server, &base).await;
}

#[tokio::test]
async fn a_store_that_is_not_there_is_not_made_by_one_who_only_looks() {
    let Some(server) = need("mongodb") else {
        return;
    };
    let base = database();
    let error = refused(MongoOptions {
        create: false,
        ..options(&server, &base)
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    MongoBackend::open(options(&server, &base))
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    MongoBackend::open(MongoOptions {
        create: false,
        ..options(&server, &base)
    })
    .await
    .unwrap();
    clear(&server, &base).await;
}

#[tokio::test]
async fn a_newer_format_is_refused() {
    let Some(server) = need("mongodb") else {
        return;
    };
    let base = database();
    MongoBackend::open(options(&server, &base))
        .await
        .unwrap()
        .close()
        .await
        .unwrap();
    let client = Client::with_uri_str(&server).await.unwrap();
    let meta = client
        .database(&base)
        .collection::<Document>("holdall.meta");
    meta.update_one(doc! { "_id": "store" }, doc! { "$set": { "format": 2 } })
        .await
        .unwrap();
    let error = refused(options(&server, &base)).await;
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.to_string().contains("format 2"), "{error}");
    clear(&server, &base).await;
}

#[tokio::test]
async fn a_server_without_transactions_says_what_it_can_do() {
    let Some(server) = private_with("mongodb", |options| options.argument("--standalone")) else {
        return;
    };
    let error = refused(MongoOptions {
        transactions: Transactions::On,
        ..quick(&server.url())
    })
    .await;
    assert_eq!(error.kind(), ErrorKind::Unsupported, "{error}");
    let store = MongoBackend::open(quick(&server.url())).await.unwrap();
    assert_eq!(store.capabilities().batch.scope, holdall_core::Scope::Item);
    assert_eq!(store.capabilities().watch, holdall_core::Watch::None);
    store
        .put_stream(
            &items(),
            &key("a"),
            Condition::Absent,
            put("{}"),
            byte_stream(vec![7; 300_000]),
        )
        .await
        .unwrap();
    assert_eq!(
        store.head(&items(), &key("a")).await.unwrap().unwrap().size,
        300_000
    );
    store.close().await.unwrap();
}
