//! The life of a handle: opened, shared, closed.

use super::case::refused;
use super::helpers::{ANY, body, doc, get, key, put, scan, snapshot};
use super::{Case, Check, Context, Failure, Need};
use crate::{
    BackendExt, Batch, ErrorKind, Filter, GetOptions, Parts, Put, Query, Scan, WatchFrom,
    byte_stream, json,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "life/reopened",
            "What was written is there when the store is opened again: items, bodies, indexes.",
            reopened,
        )
        .needs(Need::Reopen),
        Case::new(
            "life/two-handles",
            "Two handles on one store see each other's writes at once.",
            two_handles,
        )
        .needs(Need::Reopen),
        Case::new(
            "life/closed",
            "After close every call fails with Closed; closing twice is fine.",
            closed,
        ),
        Case::new(
            "life/closed-writes-stay",
            "A write that was answered before close stays; one that comes after leaves nothing.",
            closed_writes_stay,
        )
        .needs(Need::Reopen),
        Case::new("life/healthy", "An open store is healthy.", healthy),
    ]
}

async fn reopened(context: Context) -> Check {
    let (items, empty) = (context.collection("items")?, context.collection("empty")?);
    let first = context.open().await?;
    first
        .define(&items, &[crate::Index::parse(&["n"])?.unique()])
        .await?;
    first
        .define(&empty, &[crate::Index::parse(&["n"])?.unique()])
        .await?;
    context
        .fill_in(
            &first,
            &items,
            (0..50).map(|n| (format!("k{n:02}"), json!({"n": n}))),
        )
        .await?;
    let large = bytes::Bytes::from(vec![3; 300_000]);
    first
        .put_stream(
            &items,
            &key("large")?,
            ANY,
            Put::default(),
            byte_stream(large.clone()),
        )
        .await?;
    let before = snapshot(&first, &items).await?;
    first.close().await?;

    let second = context.open().await?;
    ensure_eq!(
        snapshot(&second, &items).await?,
        before,
        "the items after the store was opened again"
    );
    ensure!(
        body(&second, &items, &key("large")?).await? == Some(large),
        "a large body after the store was opened again"
    );
    ensure!(
        second.collections().await?.contains(&items),
        "the collection is not listed after the store was opened again"
    );
    refused(
        second
            .put(&items, &key("other")?, ANY, doc(json!({"n": 7}))?)
            .await,
        ErrorKind::Conflict,
        "a duplicate after the store was opened again",
    )?;
    put(&second, &empty, &key("a")?, json!({"n": 1})).await?;
    refused(
        second
            .put(&empty, &key("b")?, ANY, doc(json!({"n": 1}))?)
            .await,
        ErrorKind::Conflict,
        "a duplicate in a collection that was empty when the store was closed",
    )?;
    second.close().await?;
    Ok(())
}

async fn two_handles(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let other = context.open().await?;
    let a = key("a")?;
    for n in 0..20 {
        let (writer, reader) = if n % 2 == 0 {
            (store, &other)
        } else {
            (&other, store)
        };
        let entry = put(writer, &items, &a, json!({"n": n})).await?;
        ensure_eq!(
            reader.head(&items, &a).await?,
            Some(entry),
            "what the other handle reads of write {n}"
        );
        let found = super::helpers::query(reader, &items, Query::new(Filter::eq("n", n)?)).await?;
        ensure_eq!(found, ["a"], "what the other handle finds of write {n}");
    }
    // An index that one declares binds the other.
    store
        .define(&items, &[crate::Index::parse(&["n"])?.unique()])
        .await?;
    refused(
        other
            .put(&items, &key("b")?, ANY, doc(json!({"n": 19}))?)
            .await,
        ErrorKind::Conflict,
        "a duplicate through the other handle",
    )?;
    other.drop_collection(&items).await?;
    put(store, &items, &a, json!({"n": 1})).await?;
    ensure!(
        get(&other, &items, &a).await?.is_some(),
        "the other handle does not see an item of a collection that it dropped and that was made again"
    );
    other.close().await?;
    ensure!(
        get(store, &items, &a).await?.is_some(),
        "closing one handle closed the other"
    );
    Ok(())
}

async fn closed(context: Context) -> Check {
    let (store, items) = (context.open().await?, context.collection("items")?);
    let a = key("a")?;
    put(&store, &items, &a, json!({})).await?;
    let batch = Batch::new().put(&items, &a, ANY, Put::default());
    store.close().await?;
    store.close().await?;
    let what = "a call after close";
    refused(
        store.get(&items, &a, GetOptions::default()).await,
        ErrorKind::Closed,
        what,
    )?;
    refused(
        store
            .get_many(&items, std::slice::from_ref(&a), Parts::ALL)
            .await,
        ErrorKind::Closed,
        what,
    )?;
    refused(
        store.stage(&items, byte_stream("x")).await,
        ErrorKind::Closed,
        what,
    )?;
    refused(store.write(batch).await, ErrorKind::Closed, what)?;
    refused(
        scan(&store, &items, Scan::all()).await,
        ErrorKind::Closed,
        what,
    )?;
    refused(
        super::helpers::query(&store, &items, Query::default()).await,
        ErrorKind::Closed,
        what,
    )?;
    refused(
        store.count(&items, &Filter::all()).await,
        ErrorKind::Closed,
        what,
    )?;
    refused(
        store.count_by(&items, &Filter::all(), &"n".parse()?).await,
        ErrorKind::Closed,
        what,
    )?;
    refused(
        store.define(&items, &[crate::Index::parse(&["n"])?]).await,
        ErrorKind::Closed,
        what,
    )?;
    refused(store.collections().await, ErrorKind::Closed, what)?;
    refused(store.drop_collection(&items).await, ErrorKind::Closed, what)?;
    refused(
        store
            .resolve(context.env().version(), Some((&items, &a)))
            .await,
        ErrorKind::Closed,
        what,
    )?;
    refused(store.health().await, ErrorKind::Closed, what)?;
    if context.can().watch > crate::Watch::None {
        refused(
            store.watch(None, WatchFrom::Now).await.map(drop),
            ErrorKind::Closed,
            what,
        )?;
    }
    Ok(())
}

async fn closed_writes_stay(context: Context) -> Check {
    let items = context.collection("items")?;
    let store = context.open().await?;
    let writers: Vec<_> = (0..8)
        .map(|writer| {
            let (store, items) = (store.clone(), items.clone());
            tokio::spawn(async move {
                let mut answered = Vec::new();
                for n in 0.. {
                    let name = key(&format!("w{writer}-{n}"))?;
                    match store.put(&items, &name, ANY, Put::default()).await {
                        Ok(_) => answered.push(name),
                        Err(error) if error.kind() == ErrorKind::Closed => {
                            return Ok((answered, name));
                        }
                        Err(error) => return Err(Failure::from(error)),
                    }
                    tokio::task::yield_now().await;
                }
                Err(Failure::here("the writer ran out of numbers"))
            })
        })
        .collect();
    for _ in 0..50 {
        put(&store, &items, &key("own")?, json!({})).await?;
    }
    store.close().await?;
    let again = context.open().await?;
    for writer in writers {
        let (answered, refused) = writer
            .await
            .map_err(|error| Failure::here(error.to_string()))??;
        for name in &answered {
            ensure!(
                again.head(&items, name).await?.is_some(),
                "a write that was answered before close is gone"
            );
        }
        ensure!(
            again.head(&items, &refused).await?.is_none(),
            "a write that was refused with Closed took effect"
        );
    }
    again.close().await?;
    Ok(())
}

async fn healthy(context: Context) -> Check {
    context.store().health().await?;
    Ok(())
}
