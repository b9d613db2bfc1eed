//! Questions about the packages.

use holdall::prelude::*;
use serde::{Deserialize, Serialize};

use crate::COLLECTION;

/// What the answers show of a package; its other fields stay in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Package {
    /// Its name.
    pub package: String,
    /// Its version.
    pub version: String,
    /// What it is about.
    pub section: String,
    /// Who sees to it.
    pub maintainer: String,
    /// What it is; the first line is a summary.
    pub description: String,
}

/// Declares the indexes that the questions below use.
///
/// # Errors
/// As [`Backend::define`].
pub async fn declare(store: &Store) -> Result<()> {
    let indexes = [
        Index::parse(&["section"])?,
        Index::parse(&["maintainer", "package"])?,
        Index::parse(&["description"])?.holding(holdall::Holds::Words),
    ];
    store
        .backend()
        .define(&CollectionName::new(COLLECTION)?, &indexes)
        .await
}

/// How many packages each section has, the fullest first.
///
/// # Errors
/// Those of reading.
pub async fn sections(store: &Store) -> Result<Vec<(String, u64)>> {
    let name = CollectionName::new(COLLECTION)?;
    let groups = store
        .backend()
        .count_by(&name, &Filter::all(), &"section".parse()?)
        .await?;
    let mut sections: Vec<(String, u64)> = groups
        .into_iter()
        .map(|group| {
            let section = group.value.as_ref().and_then(|value| value.as_str());
            (section.unwrap_or("none").to_owned(), group.count)
        })
        .collect();
    sections.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(sections)
}

/// All packages of one maintainer by name, in pages: each goes on where the
/// cursor of the one before says.
///
/// # Errors
/// Those of reading.
pub async fn of_maintainer(
    store: &Store,
    maintainer: &str,
    page: u64,
) -> Result<Vec<Vec<Package>>> {
    let packages = store.collection::<Package>(COLLECTION)?;
    let query = Query::new(Filter::eq("maintainer", maintainer)?)
        .sort(Sort::parse("package")?)
        .limit(page);
    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let mut query = query.clone();
        query.after = after;
        let (records, next) = packages.page(query).await?;
        pages.push(records.into_iter().map(|record| record.value).collect());
        after = next;
        if after.is_none() {
            return Ok(pages);
        }
    }
}

/// The packages whose descriptions hold all of these words, by key.
///
/// # Errors
/// `Invalid` if there is no word in it; those of reading.
pub async fn matching(store: &Store, words: &str, limit: u64) -> Result<(u64, Vec<Package>)> {
    let packages = store.collection::<Package>(COLLECTION)?;
    let filter = Filter::from_json(&json!({"description": {"$match": words}}))?;
    let count = packages.count(&filter).await?;
    let (records, _) = packages.page(Query::new(filter).limit(limit)).await?;
    let found = records.into_iter().map(|record| record.value).collect();
    Ok((count, found))
}

/// Many tasks count up one record, each in transactions of its own; answers
/// what it shows in the end, which is `tasks` times `each`.
///
/// # Errors
/// Those of the transactions.
pub async fn count_together(store: &Store, tasks: u64, each: u64) -> Result<u64> {
    let name = CollectionName::new("counters")?;
    let key = Key::new("downloads")?;
    let zero = Doc::from_value(&json!({"count": 0}))?;
    store
        .backend()
        .put(&name, &key, Condition::Any, Put::doc(zero))
        .await?;
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..tasks {
        let (store, name, key) = (store.clone(), name.clone(), key.clone());
        running.spawn(async move {
            for _ in 0..each {
                increment(&store, &name, &key).await?;
            }
            Ok::<_, Error>(())
        });
    }
    while let Some(done) = running.join_next().await {
        done.map_err(|error| Error::other("a task that counts ended early").because(error))??;
    }
    let item = store
        .backend()
        .get(&name, &key, GetOptions::default())
        .await?;
    count(item.as_ref())
}

async fn increment(store: &Store, name: &CollectionName, key: &Key) -> Result<()> {
    store
        .transact(|transaction| async move {
            let count = count(transaction.get(name, key).await?.as_ref())?;
            let doc = Doc::from_value(&json!({"count": count + 1}))?;
            transaction.put(name, key, Put::doc(doc))
        })
        .await
}

fn count(item: Option<&Item>) -> Result<u64> {
    let value = item
        .ok_or_else(|| Error::not_found("the counter is gone"))?
        .doc()?
        .value()?;
    let count = value.get("count").and_then(|count| count.as_u64());
    count.ok_or_else(|| Error::invalid("the counter is no number"))
}
