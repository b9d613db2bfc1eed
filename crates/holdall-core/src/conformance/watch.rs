//! Changes are told, at least once and in order.

use std::collections::HashMap;

use futures_util::StreamExt;

use super::case::refused;
use super::helpers::{ANY, doc, key, put};
use super::{Case, Check, Context, Failure, Need};
use crate::{
    BackendExt, Batch, Change, ChangeKind, ChangeStream, CollectionName, Condition, ErrorKind, Key,
    Scope, Version, Watch, WatchCursor, WatchFrom, json,
};

pub(super) fn cases() -> Vec<Case> {
    let told = Need::Watch(Watch::PerKey);
    vec![
        Case::new("watch/unsupported", "A backend that tells no changes says so.", unsupported),
        Case::new("watch/tells-changes", "Each change is told with its key, kind, version, previous version and batch; deleting nothing and checks are no changes.", tells_changes).needs(told),
        Case::new("watch/one-collection", "A watch of one collection tells its changes alone; a watch of all tells all.", one_collection).needs(told),
        Case::new("watch/from-now", "A watch from now tells nothing that was committed before.", from_now).needs(told),
        Case::new("watch/resumes", "A watch that goes on behind a cursor neither loses nor reorders, whichever change it is, in the middle of a batch too.", resumes).needs(told).needs(Need::Scope(Scope::Collection)).needs(Need::Operations(3)),
        Case::new("watch/concurrent-writers", "Every change of many writers is told, those of one key in their order, each linked to the one before.", concurrent_writers).needs(told),
        Case::new("watch/one-order", "Two watchers see all changes in one order, while many write.", one_order).needs(Need::Watch(Watch::Total)),
        Case::new("watch/wrong-cursor", "A cursor of another store, or one that is none, is Invalid.", wrong_cursor).needs(told),
        Case::new("watch/resumes-after-reopening", "A cursor is good after the store is opened again.", resumes_after_reopening).needs(told).needs(Need::Reopen),
    ]
}

/// The next change; a watcher that is told nothing for so long is told
/// nothing any more.
pub(super) async fn next(context: &Context, changes: &mut ChangeStream) -> Result<Change, Failure> {
    let patience = context.options().patience;
    match tokio::time::timeout(patience, changes.next()).await {
        Ok(Some(change)) => Ok(change?),
        Ok(None) => Err(Failure::here("the watch ended by itself")),
        Err(_) => Err(Failure::here(format!(
            "no change was told for {patience:?}, and one was due"
        ))),
    }
}

type Told = (
    Option<String>,
    ChangeKind,
    Option<Version>,
    Option<Version>,
    Version,
);

fn told(change: &Change) -> Told {
    (
        change.key.as_ref().map(|key| key.as_str().to_owned()),
        change.kind,
        change.version,
        change.previous,
        change.batch,
    )
}

/// The next changes, repeats left out, as at least once allows them.
async fn take(
    context: &Context,
    changes: &mut ChangeStream,
    count: usize,
) -> Result<Vec<Change>, Failure> {
    let mut taken: Vec<Change> = Vec::new();
    while taken.len() < count {
        let change = next(context, changes).await?;
        if !taken
            .iter()
            .any(|before| told(before) == told(&change) && before.collection == change.collection)
        {
            taken.push(change);
        }
    }
    Ok(taken)
}

async fn unsupported(context: Context) -> Check {
    let answer = context.store().watch(None, WatchFrom::Now).await;
    if context.can().watch == Watch::None {
        refused(answer.map(drop), ErrorKind::Unsupported, "a watch")?;
    } else {
        drop(answer?);
    }
    Ok(())
}

async fn tells_changes(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let mut changes = store.watch(Some(&items), WatchFrom::Now).await?;
    let a = key("a")?;
    let first = put(store, &items, &a, json!({"n": 1})).await?.version;
    let second = put(store, &items, &a, json!({"n": 1})).await?.version;
    store.delete(&items, &key("never")?, ANY).await?;
    if context.can().conditions == crate::Conditions::Full {
        refused(
            store.delete(&items, &a, Condition::Version(first)).await,
            ErrorKind::Conflict,
            "a delete of an old version",
        )?;
    }
    store.write(Batch::new().check(&items, &a, ANY)).await?;
    let gone = store.write(Batch::new().delete(&items, &a, ANY)).await?.id;
    let third = put(store, &items, &a, json!({})).await?.version;
    let name = Some("a".to_owned());
    let mut wanted: Vec<Told> = vec![
        (name.clone(), ChangeKind::Put, Some(first), None, first),
        (
            name.clone(),
            ChangeKind::Put,
            Some(second),
            Some(first),
            second,
        ),
        (name.clone(), ChangeKind::Delete, None, Some(second), gone),
        (name, ChangeKind::Put, Some(third), None, third),
    ];
    let found = take(&context, &mut changes, 4).await?;
    ensure!(
        found.iter().all(|change| change.collection == items),
        "a change is told of another collection"
    );
    ensure_eq!(
        found.iter().map(told).collect::<Vec<_>>(),
        wanted,
        "the changes"
    );
    store.drop_collection(&items).await?;
    let last = next(&context, &mut changes).await?;
    match last.kind {
        ChangeKind::Dropped => ensure_eq!(
            (last.key, last.version),
            (None, None),
            "key and version of a drop"
        ),
        // Dropped item by item, as the contract's default does.
        ChangeKind::Delete => {
            wanted = vec![(
                Some("a".into()),
                ChangeKind::Delete,
                None,
                Some(third),
                last.batch,
            )];
            ensure_eq!(vec![told(&last)], wanted, "the change of a drop");
        }
        ChangeKind::Put => return Err(Failure::here("a drop is told as a put")),
    }
    Ok(())
}

async fn one_collection(context: Context) -> Check {
    let (store, here, there) = (
        context.store(),
        context.collection("here")?,
        context.collection("there")?,
    );
    let mut one = store.watch(Some(&here), WatchFrom::Now).await?;
    let mut all = store.watch(None, WatchFrom::Now).await?;
    let mut wanted = Vec::new();
    for n in 0..10 {
        let collection = if n % 3 == 0 { &here } else { &there };
        let entry = put(store, collection, &key(&format!("k{n}"))?, json!({})).await?;
        wanted.push((collection.clone(), entry.version));
    }
    let mine: Vec<_> = wanted
        .iter()
        .filter(|(collection, _)| *collection == here)
        .map(|(_, version)| Some(*version))
        .collect();
    let found: Vec<_> = take(&context, &mut one, mine.len())
        .await?
        .iter()
        .map(|change| change.version)
        .collect();
    ensure_eq!(found, mine, "the changes of one collection");
    let mut found = Vec::new();
    while found.len() < wanted.len() {
        let change = next(&context, &mut all).await?;
        // Other cases write too.
        let told = (
            change.collection.clone(),
            change.version.unwrap_or(change.batch),
        );
        if (change.collection == here || change.collection == there) && !found.contains(&told) {
            found.push(told);
        }
    }
    if context.can().watch == Watch::PerKey {
        found.sort_by_key(|told| wanted.iter().position(|other| other == told));
    }
    ensure_eq!(
        found,
        wanted,
        "the changes of these two collections among all"
    );
    Ok(())
}

async fn from_now(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    put(store, &items, &key("before")?, json!({})).await?;
    let mut changes = store.watch(Some(&items), WatchFrom::Now).await?;
    put(store, &items, &key("after")?, json!({})).await?;
    let first = next(&context, &mut changes).await?;
    ensure_eq!(
        first.key,
        Some(key("after")?),
        "the first change that a watch from now tells"
    );
    Ok(())
}

async fn resumes(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let mut changes = store.watch(Some(&items), WatchFrom::Now).await?;
    for round in 0..3 {
        let mut batch = Batch::new();
        for n in 0..3 {
            batch = batch.put(
                &items,
                &key(&format!("k{n}"))?,
                ANY,
                doc(json!({"round": round}))?,
            );
        }
        store.write(batch).await?;
        store.delete(&items, &key("k1")?, ANY).await?;
    }
    let all = take(&context, &mut changes, 12).await?;
    drop(changes);
    for (at, change) in all.iter().enumerate() {
        let text = change.cursor.to_string();
        let cursor: WatchCursor = text.parse()?;
        let mut again = store.watch(Some(&items), WatchFrom::After(cursor)).await?;
        let rest = take(&context, &mut again, all.len() - at - 1).await?;
        let wanted: Vec<_> = all.iter().skip(at + 1).map(told).collect();
        ensure_eq!(
            rest.iter().map(told).collect::<Vec<_>>(),
            wanted,
            "the changes behind change {at}"
        );
    }
    let Some(last) = all.last() else {
        return Err(Failure::here("no change was told"));
    };
    let mut again = store
        .watch(Some(&items), WatchFrom::After(last.cursor.clone()))
        .await?;
    let next_put = put(store, &items, &key("next")?, json!({})).await?;
    ensure_eq!(
        next(&context, &mut again).await?.version,
        Some(next_put.version),
        "the first change behind the last cursor"
    );
    Ok(())
}

const WRITERS: u64 = 6;
const WRITES: u64 = 40;
const KEYS: u64 = 5;

/// Starts writers that put and delete the same few keys.
fn writers(
    context: &Context,
    items: &CollectionName,
) -> Vec<tokio::task::JoinHandle<Result<Vec<Version>, Failure>>> {
    (0..WRITERS)
        .map(|writer| {
            let (store, items) = (context.store().clone(), items.clone());
            tokio::spawn(async move {
                let mut made = Vec::new();
                for n in 0..WRITES {
                    let key = key(&format!("k{}", (n * (writer + 1)) % KEYS))?;
                    if (n + writer) % 4 == 0 {
                        store.delete(&items, &key, ANY).await?;
                    } else {
                        made.push(put(&store, &items, &key, json!({"n": n})).await?.version);
                    }
                    tokio::task::yield_now().await;
                }
                Ok(made)
            })
        })
        .collect()
}

/// Reads changes until the item `end` is put, repeats left out.
async fn until_end(
    context: &Context,
    changes: &mut ChangeStream,
    items: &CollectionName,
) -> Result<Vec<Change>, Failure> {
    let mut all: Vec<Change> = Vec::new();
    let mut seen = std::collections::HashSet::new();
    loop {
        let change = next(context, changes).await?;
        if change.collection != *items {
            continue;
        }
        if change.key.as_ref().is_some_and(|key| key.as_str() == "end") {
            return Ok(all);
        }
        if seen.insert(told(&change)) {
            all.push(change);
        }
    }
}

/// Checks that the changes of each key form a chain: each names the version
/// that the one before it made.
fn check_chains(changes: &[Change]) -> Check {
    let mut now: HashMap<Option<Key>, Option<Version>> = HashMap::new();
    for change in changes {
        let before = now.insert(change.key.clone(), change.version).flatten();
        ensure_eq!(
            change.previous,
            before,
            "the previous version that a change of {:?} names, against the change told before",
            change.key
        );
    }
    Ok(())
}

async fn concurrent_writers(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let mut changes = store.watch(Some(&items), WatchFrom::Now).await?;
    let mut made = Vec::new();
    for writer in writers(&context, &items) {
        made.extend(
            writer
                .await
                .map_err(|error| Failure::here(error.to_string()))??,
        );
    }
    put(store, &items, &key("end")?, json!({})).await?;
    let all = until_end(&context, &mut changes, &items).await?;
    check_chains(&all)?;
    let lost: Vec<_> = made
        .iter()
        .filter(|version| !all.iter().any(|change| change.version == Some(**version)))
        .collect();
    ensure!(
        lost.is_empty(),
        "{} puts of {} were never told",
        lost.len(),
        made.len()
    );
    Ok(())
}

async fn one_order(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let mut one = store.watch(Some(&items), WatchFrom::Now).await?;
    let mut other = store.watch(None, WatchFrom::Now).await?;
    let tasks = writers(&context, &items);
    // A third begins in the middle, behind a change of the first.
    let first = next(&context, &mut one).await?;
    let mut third = store
        .watch(Some(&items), WatchFrom::After(first.cursor.clone()))
        .await?;
    for task in tasks {
        task.await
            .map_err(|error| Failure::here(error.to_string()))??;
    }
    put(store, &items, &key("end")?, json!({})).await?;
    let one: Vec<_> = std::iter::once(first)
        .chain(until_end(&context, &mut one, &items).await?)
        .collect();
    let other = until_end(&context, &mut other, &items).await?;
    let third = until_end(&context, &mut third, &items).await?;
    let order = |changes: &[Change]| changes.iter().map(told).collect::<Vec<_>>();
    ensure!(
        order(&one) == order(&other),
        "two watchers saw changes in two orders"
    );
    ensure!(
        order(one.get(1..).unwrap_or_default()) == order(&third),
        "a watcher that began behind a change saw others, or in another order"
    );
    Ok(())
}

async fn wrong_cursor(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let mut changes = store.watch(Some(&items), WatchFrom::Now).await?;
    put(store, &items, &key("a")?, json!({})).await?;
    let own = next(&context, &mut changes).await?.cursor;
    let mut flipped = own.as_bytes().to_vec();
    if let Some(first) = flipped.first_mut() {
        *first ^= 0x80;
    }
    let short = own.as_bytes().get(1..).unwrap_or_default().to_vec();
    let long = [own.as_bytes(), b"x"].concat();
    for bytes in [
        vec![1],
        vec![0xff; 28],
        vec![0xff; 1000],
        flipped,
        short,
        long,
    ] {
        let cursor = WatchCursor::from_bytes(bytes);
        let answer = store
            .watch(Some(&items), WatchFrom::After(cursor.clone()))
            .await;
        refused(
            answer.map(drop),
            ErrorKind::Invalid,
            &format!("the cursor {cursor:?}, which is not one of this store"),
        )?;
    }
    for text in ["", "!", "a b"] {
        refused(
            text.parse::<WatchCursor>(),
            ErrorKind::Invalid,
            "a text that is no cursor",
        )?;
    }
    Ok(())
}

async fn resumes_after_reopening(context: Context) -> Check {
    let items = context.collection("items")?;
    let first = context.open().await?;
    let mut changes = first.watch(Some(&items), WatchFrom::Now).await?;
    put(&first, &items, &key("a")?, json!({})).await?;
    let cursor = next(&context, &mut changes).await?.cursor;
    let missed = put(&first, &items, &key("b")?, json!({})).await?;
    first.close().await?;
    let second = context.open().await?;
    let mut changes = second.watch(Some(&items), WatchFrom::After(cursor)).await?;
    ensure_eq!(
        next(&context, &mut changes).await?.version,
        Some(missed.version),
        "the first change after reopening"
    );
    second.close().await?;
    Ok(())
}
