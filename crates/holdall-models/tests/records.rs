//! What `records` promises, as stories over the memory backend.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;

use holdall_core::layers::Namespace;
use holdall_core::{
    Backend, BackendExt, Batch, Capabilities, CollectionName, Condition, Conditions, Doc,
    DynBackend, Env, Error, ErrorKind, Filter, GetOptions, Index, Item, ItemStream, Key,
    ManualClock, MemoryBackend, Put, Query, Result, Retry, Scan, Sort, Staged, Timestamp, Value,
    Written, json,
};
use holdall_models::Records;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Account {
    owner: String,
    #[serde(default)]
    balance: i64,
}

fn account(owner: &str, balance: i64) -> Account {
    let owner = owner.to_owned();
    Account { owner, balance }
}

fn name() -> CollectionName {
    "accounts".parse().unwrap()
}

fn records_on(backend: impl Into<DynBackend>) -> Records<Account> {
    Records::new(backend.into(), name()).unwrap()
}

fn records() -> Records<Account> {
    records_on(MemoryBackend::new())
}

#[tokio::test]
async fn a_record_lives_under_the_id_it_was_given() {
    let accounts = records();
    let made = accounts
        .create(Some("ada"), &account("Ada", 5))
        .await
        .unwrap();
    assert_eq!(made.key.as_str(), "ada");
    let read = accounts.get("ada").await.unwrap().unwrap();
    assert_eq!(read, made);
    assert_eq!(accounts.get("eve").await.unwrap(), None);
    assert_eq!(accounts.count(&Filter::all()).await.unwrap(), 1);

    accounts.delete("ada").await.unwrap();
    accounts.delete("ada").await.unwrap();
    assert_eq!(accounts.get("ada").await.unwrap(), None);
}

#[tokio::test]
async fn without_an_id_one_is_generated_and_a_seed_repeats_it() {
    let seeded = || {
        let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
        let env = Env::seeded(clock, 7);
        records_on(MemoryBackend::with_env(env.clone())).with_env(env)
    };
    let (one, two) = (seeded(), seeded());
    let first = one.create(None, &account("Ada", 0)).await.unwrap();
    let again = two.create(None, &account("Ada", 0)).await.unwrap();
    assert_eq!(first.key, again.key);
    let other = one.create(None, &account("Ada", 0)).await.unwrap();
    assert_ne!(first.key, other.key);
}

#[tokio::test]
async fn a_second_record_of_an_id_is_refused_and_the_first_stays() {
    let accounts = records();
    accounts
        .create(Some("ada"), &account("Ada", 5))
        .await
        .unwrap();
    let error = accounts
        .create(Some("ada"), &account("Eve", 0))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(
        error.message().contains("a record of this id already"),
        "{error}"
    );
    assert_eq!(error.key().unwrap().as_str(), "ada");
    let kept = accounts.get("ada").await.unwrap().unwrap();
    assert_eq!(kept.value.owner, "Ada");
}

#[tokio::test]
async fn of_many_creators_of_one_id_exactly_one_succeeds() {
    let accounts = records();
    let tasks: Vec<_> = (0..16)
        .map(|nth| {
            let accounts = accounts.clone();
            tokio::spawn(async move { accounts.create(Some("x"), &account("?", nth)).await })
        })
        .collect();
    let mut made = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(_) => made += 1,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict),
        }
    }
    assert_eq!(made, 1);
}

#[derive(Debug, Serialize, Deserialize)]
struct Person {
    id: Option<String>,
    name: String,
}

#[tokio::test]
async fn a_member_called_id_is_the_id() {
    let people: Records<Person> = Records::new(MemoryBackend::new().into(), name()).unwrap();
    let person = |id: Option<&str>| Person {
        id: id.map(Into::into),
        name: "Ada".into(),
    };
    let named = people.create(None, &person(Some("ada"))).await.unwrap();
    assert_eq!(named.key.as_str(), "ada");

    let filled = people.create(None, &person(None)).await.unwrap();
    assert_eq!(filled.value.id.as_deref(), Some(filled.key.as_str()));
    let read = people.get(filled.key.as_str()).await.unwrap().unwrap();
    assert_eq!(read.value.id, filled.value.id);

    let error = people
        .create(Some("bob"), &person(Some("eve")))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
    assert_eq!(people.count(&Filter::all()).await.unwrap(), 2);
}

#[tokio::test]
async fn a_patch_replaces_members_as_a_whole_and_keeps_the_others() {
    let backend = MemoryBackend::new();
    let docs: Records<Value> = Records::new(backend.into(), name()).unwrap();
    let before = json!({"a": 1, "deep": {"x": 1, "y": 2}, "gone": "no"});
    let made = docs.create(Some("d"), &before).await.unwrap();
    let patch = json!({"deep": {"z": 3}, "gone": null, "new": []});
    let after = docs.update("d", &patch).await.unwrap();
    assert_eq!(
        after.value,
        json!({"a": 1, "deep": {"z": 3}, "gone": null, "new": []})
    );
    assert_ne!(after.entry.version, made.entry.version);
    assert_eq!(after.entry.created, made.entry.created);
    assert_eq!(docs.get("d").await.unwrap().unwrap(), after);
}

#[tokio::test]
async fn members_that_the_type_does_not_know_survive_a_patch() {
    let backend: DynBackend = MemoryBackend::new().into();
    let doc = Doc::parse(r#"{"owner":"Ada","balance":1,"note":"by another program"}"#).unwrap();
    let key = Key::new("ada").unwrap();
    backend
        .put(&name(), &key, Condition::Any, Put::doc(doc))
        .await
        .unwrap();
    records_on(backend.clone())
        .update("ada", &json!({"balance": 2}))
        .await
        .unwrap();
    let item = backend
        .get(&name(), &key, GetOptions::default())
        .await
        .unwrap();
    let doc = item.unwrap().doc().unwrap().value().unwrap();
    assert_eq!(doc["note"], "by another program");
    assert_eq!(doc["balance"], 2);
}

#[tokio::test]
async fn a_patch_that_does_not_fit_changes_nothing() {
    let accounts = records();
    let made = accounts
        .create(Some("ada"), &account("Ada", 5))
        .await
        .unwrap();
    for patch in [
        json!([1]),
        json!("x"),
        json!({"id": "eve"}),
        json!({"balance": "much"}),
        json!({"owner": "a\u{0}b"}),
    ] {
        let error = accounts.update("ada", &patch).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid, "{patch}: {error}");
    }
    assert_eq!(accounts.get("ada").await.unwrap().unwrap(), made);
    let error = accounts
        .update("eve", &json!({"balance": 1}))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(accounts.get("eve").await.unwrap(), None);
}

/// The item may have been put by a program that keeps files.
#[tokio::test]
async fn an_item_with_a_body_is_not_changed_into_one_without() {
    let backend: DynBackend = MemoryBackend::new().into();
    let put = Put::bytes("bytes").with_doc(Doc::parse(r#"{"owner":"Ada"}"#).unwrap());
    backend
        .put(&name(), &Key::new("file").unwrap(), Condition::Any, put)
        .await
        .unwrap();
    let error = records_on(backend)
        .update("file", &json!({"balance": 1}))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

#[tokio::test(flavor = "multi_thread")]
async fn increments_by_many_tasks_lose_none() {
    let accounts = records();
    accounts
        .create(Some("sum"), &account("all", 0))
        .await
        .unwrap();
    let tasks: Vec<_> = (0..8)
        .map(|_| {
            let accounts = accounts.clone();
            tokio::spawn(async move {
                for _ in 0..50 {
                    accounts
                        .modify("sum", |mut account| {
                            account.balance += 1;
                            Ok(account)
                        })
                        .await
                        .unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let sum = accounts.get("sum").await.unwrap().unwrap();
    assert_eq!(sum.value.balance, 400);
}

#[tokio::test]
async fn a_taken_unique_value_is_a_conflict_at_once() {
    let accounts = records();
    accounts
        .define(&[Index::parse(&["owner"]).unwrap().unique()])
        .await
        .unwrap();
    accounts
        .create(Some("a"), &account("Ada", 0))
        .await
        .unwrap();
    accounts
        .create(Some("b"), &account("Bob", 0))
        .await
        .unwrap();
    let error = accounts
        .create(Some("c"), &account("Ada", 0))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(!error.message().contains("of this id"), "{error}");
    let error = accounts
        .update("b", &json!({"owner": "Ada"}))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(accounts.get("b").await.unwrap().unwrap().value.owner, "Bob");
}

#[tokio::test]
async fn lists_are_sorted_and_read_in_pages() {
    let accounts = records_on(Namespace::new(MemoryBackend::new().into(), "bank").unwrap());
    for nth in 0..7 {
        accounts
            .create(Some(&format!("a{nth}")), &account("x", nth % 3))
            .await
            .unwrap();
    }
    let mut query = Query::default()
        .sort(Sort::parse("balance:desc").unwrap())
        .limit(3);
    let mut seen = Vec::new();
    loop {
        let (page, next) = accounts.list(query.clone()).await.unwrap();
        assert!(page.len() <= 3);
        seen.extend(page.into_iter().map(|record| record.key.to_string()));
        match next {
            Some(cursor) => query.after = Some(cursor),
            None => break,
        }
    }
    assert_eq!(seen, ["a5", "a2", "a4", "a1", "a6", "a3", "a0"]);
}

/// A backend that checks less than it should, or loses answers.
#[derive(Debug)]
struct Flawed {
    inner: MemoryBackend,
    conditions: Conditions,
    loses_answers: bool,
}

#[async_trait::async_trait]
impl Backend for Flawed {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            conditions: self.conditions,
            ..self.inner.capabilities()
        }
    }
    async fn get(&self, c: &CollectionName, k: &Key, o: GetOptions) -> Result<Option<Item>> {
        self.inner.get(c, k, o).await
    }
    async fn stage(&self, c: &CollectionName, b: holdall_core::ByteStream) -> Result<Staged> {
        self.inner.stage(c, b).await
    }
    async fn write(&self, batch: Batch) -> Result<Written> {
        let written = self.inner.write(batch).await?;
        if self.loses_answers {
            return Err(Error::unavailable("the connection broke").with_retry(Retry::Unknown));
        }
        Ok(written)
    }
    fn scan(&self, c: &CollectionName, s: Scan) -> ItemStream {
        self.inner.scan(c, s)
    }
    async fn define(&self, c: &CollectionName, i: &[Index]) -> Result<()> {
        self.inner.define(c, i).await
    }
    async fn collections(&self) -> Result<Vec<CollectionName>> {
        self.inner.collections().await
    }
}

fn flawed(conditions: Conditions, loses_answers: bool) -> DynBackend {
    Arc::new(Flawed {
        inner: MemoryBackend::new(),
        conditions,
        loses_answers,
    })
}

#[test]
fn a_backend_that_cannot_check_conditions_is_refused_when_the_model_is_made() {
    for conditions in [Conditions::None, Conditions::CreateOnly] {
        let error = Records::<Account>::new(flawed(conditions, false), name()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert!(error.message().contains("conditions: Full"), "{error}");
    }
}

/// A retried create once found its own first attempt and called it a conflict.
#[tokio::test]
async fn a_lost_answer_is_looked_up_and_not_repeated() {
    let accounts = records_on(flawed(Conditions::Full, true));
    let made = accounts
        .create(Some("ada"), &account("Ada", 5))
        .await
        .unwrap();
    let changed = accounts
        .update("ada", &json!({"balance": 6}))
        .await
        .unwrap();
    assert_ne!(made.entry.version, changed.entry.version);
    assert_eq!(accounts.get("ada").await.unwrap().unwrap(), changed);
}

#[tokio::test]
async fn attempts_are_bounded() {
    let backend: DynBackend = MemoryBackend::new().into();
    let accounts = records_on(backend.clone()).with_attempts(3);
    accounts
        .create(Some("ada"), &account("Ada", 5))
        .await
        .unwrap();
    let tries = std::sync::atomic::AtomicU32::new(0);
    let error = accounts
        .modify("ada", |account| {
            tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            // Another writer is always faster.
            futures_util::FutureExt::now_or_never(backend.put(
                &name(),
                &Key::new("ada")?,
                Condition::Any,
                Put::doc(Doc::from_serialize(&account)?),
            ))
            .unwrap()?;
            Ok(account)
        })
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(tries.into_inner(), 3);
}
