//! Stores of a server: opened by its URL, with layers and models on them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use holdall::prelude::*;
use holdall::{Config, Index, MemoryBackend, Stores, json};
use holdall_server::{App, Server, ServerOptions, app};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    owner: String,
    balance: i64,
}

fn account(owner: &str, balance: i64) -> Account {
    let owner = owner.to_owned();
    Account { owner, balance }
}

async fn serve() -> String {
    let options = ServerOptions::default();
    let routes = app(App::of(MemoryBackend::new(), &options));
    let server = Server::bind("127.0.0.1:0", options).await.unwrap();
    let url = server.url();
    tokio::spawn(server.serve(routes, std::future::pending()));
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn records_of_two_clients_are_the_same_records() {
    let url = serve().await;
    let (one, two) = (open(&url).await.unwrap(), open(&url).await.unwrap());
    let mine = one.records::<Account>("accounts").unwrap();
    let theirs = two.records::<Account>("accounts").unwrap();
    mine.define(&[Index::parse(&["owner"]).unwrap().unique()])
        .await
        .unwrap();
    let made = mine.create(Some("ada"), &account("Ada", 0)).await.unwrap();
    assert_eq!(theirs.get("ada").await.unwrap(), Some(made));
    let taken = theirs.create(None, &account("Ada", 1)).await.unwrap_err();
    assert_eq!(taken.kind(), ErrorKind::Conflict);

    // Increments by both at once lose none.
    let increments = |store: &Store| {
        let accounts = store.records::<Account>("accounts").unwrap();
        async move {
            for _ in 0..25 {
                let more = |account: Account| {
                    let balance = account.balance + 1;
                    Ok(Account { balance, ..account })
                };
                accounts.modify("ada", more).await.unwrap();
            }
        }
    };
    tokio::join!(increments(&one), increments(&two));
    assert_eq!(mine.get("ada").await.unwrap().unwrap().value.balance, 50);
    let patched = theirs.update("ada", &json!({"balance": 7})).await.unwrap();
    assert_eq!(mine.get("ada").await.unwrap(), Some(patched));

    // Closing one closes neither the server nor the other.
    two.close().await.unwrap();
    assert_eq!(mine.count(&Filter::all()).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_over_http_is_all_or_nothing() {
    let store = open(&serve().await).await.unwrap();
    let accounts = store.collection::<Account>("accounts").unwrap();
    accounts.put("ada", &account("Ada", 10)).await.unwrap();
    accounts.put("eve", &account("Eve", 0)).await.unwrap();
    let move_all = async |from: &'static str, to: &'static str, fails: bool| {
        let moved = store.transact(move |transaction| async move {
            let name = "accounts".parse()?;
            let read = async |key: &str| -> Result<Account> {
                let item = transaction.get(&name, &key.parse()?).await?;
                item.ok_or_else(|| Error::not_found("no such account"))?
                    .doc()?
                    .to()
            };
            let (mut from_account, mut to_account) = (read(from).await?, read(to).await?);
            to_account.balance += from_account.balance;
            from_account.balance = 0;
            for (key, account) in [(from, &from_account), (to, &to_account)] {
                let doc = holdall::Doc::from_serialize(account)?;
                transaction.put(&name, &key.parse()?, holdall::Put::doc(doc))?;
            }
            match fails {
                true => Err(Error::invalid("on second thoughts")),
                false => Ok(()),
            }
        });
        moved.await
    };
    assert!(move_all("ada", "eve", true).await.is_err());
    assert_eq!(
        accounts.get("ada").await.unwrap().unwrap().value.balance,
        10
    );
    move_all("ada", "eve", false).await.unwrap();
    assert_eq!(accounts.get("ada").await.unwrap().unwrap().value.balance, 0);
    assert_eq!(
        accounts.get("eve").await.unwrap().unwrap().value.balance,
        10
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_stand_around_a_store_of_a_server() {
    let url = serve().await;
    let text = format!(
        r#"
        [backends.remote]
        url = "{url}"
        timeout = "10s"
        [stores.acme]
        backend = "remote"
        layers = [{{ type = "namespace", name = "acme" }}]
        [models.contacts]
        type = "records"
        store = "acme"
        collection = "contacts"
        "#
    );
    let stores = Stores::new(Config::parse(&text).unwrap());
    let contacts = stores.records::<Account>("contacts").await.unwrap();
    contacts
        .create(Some("ada"), &account("Ada", 1))
        .await
        .unwrap();
    let plain = open(&url).await.unwrap();
    let names = plain.backend().collections().await.unwrap();
    assert_eq!(names.len(), 1);
    assert!(
        names.iter().all(|name| name.as_str().starts_with("acme")),
        "{names:?}"
    );
    let of_layer = stores.store("acme").await.unwrap();
    let names = of_layer.backend().collections().await.unwrap();
    assert_eq!(names, ["contacts".parse().unwrap()]);
    stores.close().await.unwrap();
}

#[tokio::test]
async fn a_url_that_is_none_of_a_server_says_what_to_write() {
    for (url, part) in [
        ("http:localhost", "two slashes"),
        ("http://", "write it like"),
        (
            "http://127.0.0.1:1?ready=1",
            "\"ready\" is unknown for http",
        ),
        ("http://127.0.0.1:1?token=a&token_file=b", "one too many"),
        ("http://user:hunter2@127.0.0.1:1", "no user and password"),
        ("http://127.0.0.1:1", "holdall serve"),
    ] {
        let error = open(url).await.map(drop).unwrap_err().to_string();
        assert!(error.contains(part), "{url}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
    }
}
