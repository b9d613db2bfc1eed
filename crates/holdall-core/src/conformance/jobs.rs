//! Work that tasks and other processes do on one store.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::{
    BackendExt, Batch, CollectionName, Condition, Doc, DynBackend, GetOptions, Item, Key, Parts,
    Put, Result, json,
};

/// The doc `{"n": …}`.
pub(super) fn numbered(n: u64) -> Result<Put> {
    Ok(Put::doc(Doc::from_value(&json!({"n": n}))?))
}

/// The number in a doc; 0 if there is none.
pub(super) fn number(item: &Item) -> Result<u64> {
    let doc = item.doc()?.value()?;
    Ok(doc.get("n").and_then(crate::Value::as_u64).unwrap_or(0))
}

async fn read(store: &DynBackend, items: &CollectionName, key: &Key) -> Result<(u64, Condition)> {
    Ok(
        match store.get(items, key, GetOptions::parts(Parts::DOC)).await? {
            Some(item) => (number(&item)?, Condition::Version(item.entry.version)),
            None => (0, Condition::Absent),
        },
    )
}

/// Counts an item up by its version; again and again until it worked so often.
pub(super) async fn increment(
    store: &DynBackend,
    items: &CollectionName,
    key: &Key,
    times: u64,
) -> Result<()> {
    let mut done = 0;
    while done < times {
        let (n, condition) = read(store, items, key).await?;
        // Somebody else gets a chance to come in between.
        tokio::task::yield_now().await;
        match store.put(items, key, condition, numbered(n + 1)?).await {
            Ok(_) => done += 1,
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Creates items that others try to create too; answers how many it created.
pub(super) async fn create(store: &DynBackend, items: &CollectionName, count: u64) -> Result<u64> {
    let mut created = 0;
    for n in 0..count {
        match store
            .put(
                items,
                &Key::new(format!("created-{n}"))?,
                Condition::Absent,
                numbered(n)?,
            )
            .await
        {
            Ok(_) => created += 1,
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(created)
}

/// Accounts between which money is moved.
pub(super) struct Account;

impl Account {
    const COUNT: u64 = 4;
    const EACH: u64 = 1000;
    pub(super) const TOTAL: u64 = Self::COUNT * Self::EACH;

    fn key(number: u64) -> Result<Key> {
        Key::new(format!("account-{number}"))
    }

    pub(super) fn keys() -> Result<Vec<Key>> {
        (0..Self::COUNT).map(Self::key).collect()
    }
}

pub(super) async fn open_accounts(store: &DynBackend, items: &CollectionName) -> Result<()> {
    for key in Account::keys()? {
        store
            .put(items, &key, Condition::Any, numbered(Account::EACH)?)
            .await?;
    }
    Ok(())
}

/// Moves random amounts between random accounts; an emptied one is deleted,
/// and made again by the next who pays into it.
pub(super) async fn transfer(
    store: &DynBackend,
    items: &CollectionName,
    times: u64,
    seed: u64,
) -> Result<()> {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut done = 0;
    while done < times {
        let from = rng.random_range(0..Account::COUNT);
        let to = (from + rng.random_range(1..Account::COUNT)) % Account::COUNT;
        let (from, to) = (Account::key(from)?, Account::key(to)?);
        let (has, from_seen) = read(store, items, &from).await?;
        let (other, to_seen) = read(store, items, &to).await?;
        let amount = if rng.random_bool(0.2) {
            has
        } else {
            rng.random_range(0..=has)
        };
        let batch = Batch::new().put(items, &to, to_seen, numbered(other + amount)?);
        let batch = if amount == has {
            batch.delete(items, &from, from_seen)
        } else {
            batch.put(items, &from, from_seen, numbered(has - amount)?)
        };
        match store.write(batch).await {
            Ok(_) => done += 1,
            Err(error) if error.is_conflict() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

pub(super) async fn sum(store: &DynBackend, items: &CollectionName) -> Result<u64> {
    let mut sum = 0;
    for item in store
        .get_many(items, &Account::keys()?, Parts::DOC)
        .await?
        .iter()
        .flatten()
    {
        sum += number(item)?;
    }
    Ok(sum)
}
