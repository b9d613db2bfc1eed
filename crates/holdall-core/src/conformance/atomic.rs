//! A batch is all or nothing, and one read is whole.

use std::collections::HashSet;

use super::background::Background;
use super::case::refused;
use super::helpers::{ANY, body, doc, get, key, put, query, scan, snapshot, value};
use super::{Case, Check, Context, Failure, Need};
use crate::{
    BackendExt, Batch, Condition, Conditions, Doc, ErrorKind, GetOptions, Index, Parts, Put, Query,
    Scan, Scope, Sort, json,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "atomic/put-and-get",
            "What was put is what comes back: key, doc, body and entry.",
            put_and_get,
        ),
        Case::new(
            "atomic/put-replaces-everything",
            "A put replaces the whole item: a put without a body or with another doc keeps nothing of the old one.",
            put_replaces_everything,
        ),
        Case::new(
            "atomic/get-is-whole",
            "One get is whole: doc, entry and body are of one version while others write.",
            get_is_whole,
        ),
        Case::new(
            "atomic/batch-takes-effect",
            "A batch of puts, deletes and checks takes effect as one, under one id.",
            batch_takes_effect,
        )
        .needs(Need::Scope(Scope::Collection))
        .needs(Need::Operations(5))
        .needs(Need::Conditions(Conditions::Full)),
        Case::new(
            "atomic/batch-over-collections",
            "A batch of scope Store reaches over collections, all or nothing.",
            batch_over_collections,
        )
        .needs(Need::Scope(Scope::Store))
        .needs(Need::Conditions(Conditions::CreateOnly)),
        Case::new(
            "atomic/failed-condition-leaves-nothing",
            "A batch whose condition fails leaves nothing behind, wherever the condition stands in it.",
            failed_condition_leaves_nothing,
        )
        .needs(Need::Scope(Scope::Collection))
        .needs(Need::Operations(4))
        .needs(Need::Conditions(Conditions::CreateOnly)),
        Case::new(
            "atomic/failed-unique-leaves-nothing",
            "A batch that would break a unique index leaves nothing behind.",
            failed_unique_leaves_nothing,
        )
        .needs(Need::Scope(Scope::Collection))
        .needs(Need::Operations(3)),
        Case::new(
            "atomic/beyond-the-scope",
            "A batch beyond the declared scope is Unsupported before anything is touched.",
            beyond_the_scope,
        ),
        Case::new(
            "atomic/bad-batches",
            "A batch without operations, or with an item twice, is Invalid and changes nothing.",
            bad_batches,
        ),
        Case::new(
            "atomic/readers-see-batches-whole",
            "Readers see a batch as a unit as far as `snapshot` says: a scan within one page never sees half of one.",
            readers_see_batches_whole,
        )
        .needs(Need::Scope(Scope::Collection))
        .needs(Need::Operations(8))
        .needs(Need::Snapshot(crate::Snapshot::Page)),
    ]
}

async fn put_and_get(context: Context) -> Check {
    let (store, books) = (context.store(), context.collection("books")?);
    let emma = key("emma")?;
    ensure!(
        get(store, &books, &emma).await?.is_none(),
        "an item is there before it was put"
    );
    let put = Put::bytes("It was a dark night").with_doc(Doc::parse(r#"{"year":1815}"#)?);
    let entry = store.put(&books, &emma, ANY, put).await?;
    let Some(item) = get(store, &books, &emma).await? else {
        return Err(Failure::here("an item is not there after it was put"));
    };
    ensure_eq!(item.key, emma, "the key");
    ensure_eq!(
        item.entry,
        entry,
        "the entry, against the one that the put answered"
    );
    ensure_eq!(item.doc()?.value()?, json!({"year": 1815}), "the doc");
    ensure_eq!(
        body(store, &books, &emma).await?.as_deref(),
        Some(&b"It was a dark night"[..]),
        "the body"
    );

    let parts = store
        .get(&books, &emma, GetOptions::parts(Parts::ENTRY))
        .await?;
    ensure!(
        parts.is_some_and(|item| item.doc.is_none() && item.body.is_none() && item.entry == entry),
        "a get of the entry alone should answer the entry alone"
    );
    let parts = store
        .get(&books, &emma, GetOptions::parts(Parts::DOC))
        .await?;
    ensure!(
        parts.is_some_and(|item| item.doc.is_some() && item.body.is_none()),
        "a get of the doc should answer doc and no body"
    );
    let parts = store
        .get(&books, &emma, GetOptions::parts(Parts::BODY))
        .await?;
    ensure!(
        parts.is_some_and(|item| item.doc.is_none() && item.body.is_some()),
        "a get of the body should answer body and no doc"
    );

    store.delete(&books, &emma, ANY).await?;
    ensure!(
        get(store, &books, &emma).await?.is_none(),
        "an item is there after it was deleted"
    );
    store.delete(&books, &emma, ANY).await?;
    Ok(())
}

async fn put_replaces_everything(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let first = Put::bytes("body").with_doc(Doc::parse(r#"{"a":1,"b":2}"#)?);
    store.put(&items, &a, ANY, first).await?;
    put(store, &items, &a, json!({"c": 3})).await?;
    ensure_eq!(
        value(store, &items, &a).await?,
        Some(json!({"c": 3})),
        "the doc after a second put"
    );
    ensure_eq!(
        body(store, &items, &a).await?,
        None,
        "the body after a put without one"
    );
    store.put(&items, &a, ANY, Put::bytes("other")).await?;
    ensure_eq!(
        value(store, &items, &a).await?,
        Some(json!({})),
        "the doc after a put without one"
    );
    Ok(())
}

async fn get_is_whole(context: Context) -> Check {
    const READS: usize = 300;
    const CHANGES: usize = 40;
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let a = key("a")?;
    let write = |n: u64| {
        // Sizes differ much, so that small and large ways of keeping a body
        // take turns.
        let large = n.is_multiple_of(3);
        let text = format!("{n}-").repeat(if large { 40_000 } else { 10 });
        let doc = Doc::from_value(&json!({"n": n, "len": text.len()}))?;
        Ok::<_, Failure>(Put::bytes(text).with_doc(doc))
    };
    store.put(&items, &a, ANY, write(0)?).await?;
    let writer = {
        let (store, items, a) = (store.clone(), items.clone(), a.clone());
        Background::start(move |n| {
            let (store, items, a) = (store.clone(), items.clone(), a.clone());
            async move {
                store.put(&items, &a, ANY, write(n + 1)?).await?;
                Ok(())
            }
        })
    };
    let (mut reads, mut changes, mut last) = (0, 0, None);
    // Many reads that all see one version would show nothing.
    while writer.goes_on() && (reads < READS || changes < CHANGES) {
        reads += 1;
        // Else a backend that never waits would keep the writer from running.
        tokio::task::yield_now().await;
        let Some(item) = get(&store, &items, &a).await? else {
            return Err(Failure::here(
                "an item that is only ever replaced was not there",
            ));
        };
        let (doc, entry) = (item.doc()?.value()?, item.entry);
        changes += usize::from(last.replace(entry.version) != Some(entry.version));
        let body = match item.into_body()?.bytes(1 << 20).await {
            Ok(body) => body,
            // A body that went away while it was read is told, not mixed.
            Err(error) if error.is_conflict() => continue,
            Err(error) => return Err(error.into()),
        };
        ensure_eq!(
            entry.size,
            body.len() as u64,
            "the entry's size, against the body that came with it"
        );
        ensure_eq!(
            entry.digest,
            Some(crate::Digest::of(&body)),
            "the entry's digest, against the body that came with it"
        );
        ensure_eq!(
            doc.get("len"),
            Some(&json!(body.len())),
            "the doc, against the body that came with it"
        );
        let start = format!("{}-", doc.get("n").unwrap_or(&json!(null)));
        ensure!(
            body.starts_with(start.as_bytes()),
            "one get mixed the doc of one version with the body of another"
        );
    }
    writer.end().await
}

async fn batch_takes_effect(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let old = put(store, &items, &key("old")?, json!({"n": 1})).await?;
    put(store, &items, &key("gone")?, json!({})).await?;
    put(store, &items, &key("seen")?, json!({})).await?;
    let id = context.env().version();
    let batch = Batch::with_id(id)
        .put(
            &items,
            &key("new")?,
            Condition::Absent,
            doc(json!({"n": 2}))?,
        )
        .check(&items, &key("seen")?, Condition::Present)
        .put(
            &items,
            &key("old")?,
            Condition::Version(old.version),
            doc(json!({"n": 3}))?,
        )
        .delete(&items, &key("gone")?, Condition::Present)
        .check(&items, &key("never")?, Condition::Absent);
    let written = store.write(batch).await?;
    ensure_eq!(written.id, id, "the id that the write answers");
    let put_ids: Vec<_> = written
        .entries
        .iter()
        .map(|entry| entry.map(|entry| entry.version))
        .collect();
    ensure_eq!(
        put_ids,
        [Some(id), None, Some(id), None, None],
        "the versions of the entries, one for each operation"
    );
    let after = snapshot(store, &items).await?;
    let keys: Vec<_> = after.iter().map(|(key, ..)| key.as_str()).collect();
    ensure_eq!(keys, ["new", "old", "seen"], "the keys after the batch");
    for (at, name) in [(0, "new"), (2, "old")] {
        let entry = store.head(&items, &key(name)?).await?;
        ensure_eq!(
            entry,
            written.entries.get(at).copied().flatten(),
            "the entry of {name:?}, against the one that the write answered"
        );
    }
    Ok(())
}

async fn batch_over_collections(context: Context) -> Check {
    let store = context.store();
    let (here, there) = (context.collection("here")?, context.collection("there")?);
    let a = key("a")?;
    let both = |condition| -> Result<Batch, Failure> {
        Ok(Batch::new().put(&here, &a, ANY, doc(json!({"n": 1}))?).put(
            &there,
            &a,
            condition,
            doc(json!({"n": 1}))?,
        ))
    };
    store.write(both(Condition::Absent)?).await?;
    ensure!(
        value(store, &here, &a).await? == value(store, &there, &a).await?,
        "both collections should have the item"
    );
    let before = snapshot(store, &here).await?;
    refused(
        store.write(both(Condition::Absent)?).await,
        ErrorKind::Conflict,
        "a batch whose second collection has the item",
    )?;
    ensure_eq!(
        snapshot(store, &here).await?,
        before,
        "the first collection after a batch that failed in the second"
    );
    Ok(())
}

async fn failed_condition_leaves_nothing(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    context
        .fill(
            &items,
            [("taken", json!({"n": 0})), ("kept", json!({"n": 0}))],
        )
        .await?;
    let before = snapshot(store, &items).await?;
    for place in 0..4 {
        let mut batch = Batch::new();
        for at in 0..4 {
            batch = match at {
                _ if at == place => {
                    batch.put(&items, &key("taken")?, Condition::Absent, doc(json!({}))?)
                }
                0 => batch.put(&items, &key("new")?, ANY, Put::bytes("body")),
                1 => batch.delete(&items, &key("kept")?, ANY),
                at => batch.put(
                    &items,
                    &key(&format!("more{at}"))?,
                    ANY,
                    doc(json!({"n": at}))?,
                ),
            };
        }
        let error = refused(
            store.write(batch).await,
            ErrorKind::Conflict,
            "a batch that creates what is there",
        )?;
        ensure_eq!(
            error.key(),
            Some(&key("taken")?),
            "the key that the error names"
        );
        ensure_eq!(
            error.collection(),
            Some(&items),
            "the collection that the error names"
        );
        ensure_eq!(
            snapshot(store, &items).await?,
            before,
            "the collection after a batch whose operation {place} failed"
        );
    }
    Ok(())
}

async fn failed_unique_leaves_nothing(context: Context) -> Check {
    let (store, people) = (context.store(), context.collection("people")?);
    store
        .define(&people, &[Index::parse(&["mail"])?.unique()])
        .await?;
    context
        .fill(
            &people,
            [
                ("ada", json!({"mail": "a@x"})),
                ("bob", json!({"mail": "b@x"})),
            ],
        )
        .await?;
    let before = snapshot(store, &people).await?;
    let batch = Batch::new()
        .put(&people, &key("cy")?, ANY, doc(json!({"mail": "c@x"}))?)
        .put(&people, &key("dan")?, ANY, doc(json!({"mail": "b@x"}))?)
        .delete(&people, &key("ada")?, ANY);
    refused(
        store.write(batch).await,
        ErrorKind::Conflict,
        "a batch with a unique value that is taken",
    )?;
    ensure_eq!(
        snapshot(store, &people).await?,
        before,
        "the collection after a batch that would break a unique index"
    );
    // What the refused batch wanted is free still, in the index too.
    put(store, &people, &key("eve")?, json!({"mail": "c@x"})).await?;
    Ok(())
}

async fn beyond_the_scope(context: Context) -> Check {
    let store = context.store();
    let (here, there) = (context.collection("here")?, context.collection("there")?);
    let two = |second| -> Result<Batch, Failure> {
        Ok(Batch::new()
            .put(&here, &key("a")?, ANY, doc(json!({}))?)
            .put(second, &key("b")?, ANY, doc(json!({}))?))
    };
    let scope = context.can().batch.scope;
    for (batch, needed) in [
        (two(&here)?, Scope::Collection),
        (two(&there)?, Scope::Store),
    ] {
        let answer = store.write(batch).await;
        if scope >= needed {
            answer?;
            store.delete(&here, &key("a")?, ANY).await?;
            store.delete(&here, &key("b")?, ANY).await?;
            store.delete(&there, &key("b")?, ANY).await?;
        } else {
            refused(answer, ErrorKind::Unsupported, "a batch beyond the scope")?;
        }
        let found = scan(store, &here, Scan::all()).await?.len()
            + scan(store, &there, Scan::all()).await?.len();
        ensure_eq!(
            found,
            0,
            "the items after a batch of scope {needed:?} on a backend of scope {scope:?}"
        );
    }
    Ok(())
}

async fn bad_batches(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    refused(
        store.write(Batch::new()).await,
        ErrorKind::Invalid,
        "a batch without operations",
    )?;
    if context.can().batch.scope == Scope::Item || context.can().batch.max_ops < 2 {
        return Ok(());
    }
    let a = key("a")?;
    let twice = Batch::new()
        .put(&items, &a, ANY, doc(json!({}))?)
        .delete(&items, &a, ANY);
    let error = refused(
        store.write(twice).await,
        ErrorKind::Invalid,
        "a batch with an item twice",
    )?;
    ensure_eq!(error.key(), Some(&a), "the key that the error names");
    ensure!(
        get(store, &items, &a).await?.is_none(),
        "a batch with an item twice left the item"
    );
    Ok(())
}

async fn readers_see_batches_whole(context: Context) -> Check {
    const ITEMS: usize = 8;
    const READS: usize = 100;
    const CHANGES: usize = 40;
    let (store, items) = (context.store().clone(), context.collection("items")?);
    let batch = |items: &crate::CollectionName, n: u64| -> Result<Batch, Failure> {
        let mut batch = Batch::new();
        for at in 0..ITEMS {
            batch = batch.put(items, &key(&format!("k{at}"))?, ANY, doc(json!({"n": n}))?);
        }
        Ok(batch)
    };
    store.write(batch(&items, 0)?).await?;
    let writer = {
        let (store, items) = (store.clone(), items.clone());
        Background::start(move |n| {
            let (store, batch) = (store.clone(), batch(&items, n + 1));
            async move {
                store.write(batch?).await?;
                Ok(())
            }
        })
    };
    let (mut reads, mut changes, mut last) = (0, 0, None);
    while writer.goes_on() && (reads < READS || changes < CHANGES) {
        reads += 1;
        tokio::task::yield_now().await;
        let seen = snapshot(&store, &items).await?;
        let versions: HashSet<_> = seen.iter().map(|(_, entry, _)| entry.version).collect();
        ensure_eq!(
            (seen.len(), versions.len()),
            (ITEMS, 1),
            "items and versions that a scan of one page saw while batches of all items were written"
        );
        let version = seen.first().map(|(_, entry, _)| entry.version);
        changes += usize::from(last.replace(version) != Some(version));
        let found = query(&store, &items, Query::default().sort(Sort::parse("n")?)).await?;
        ensure_eq!(
            found.len(),
            ITEMS,
            "items that a query saw while batches of all items were written"
        );
        let groups = store
            .count_by(&items, &crate::Filter::all(), &"n".parse()?)
            .await?;
        ensure_eq!(
            groups.len(),
            1,
            "groups that a grouped count saw while batches of all items were written"
        );
    }
    writer.end().await
}
