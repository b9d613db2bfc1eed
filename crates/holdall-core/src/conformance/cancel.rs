//! Dropping a future leaves the whole effect or none.

use std::pin::Pin;
use std::task::{Context as TaskContext, Poll};

use futures_util::{StreamExt, TryStreamExt};

use super::helpers::{ANY, doc, get, key, put, scan, snapshot};
use super::{Case, Check, Context, Failure, Need};
use crate::{
    BackendExt, Batch, CollectionName, Outcome, Put, Query, Scan, Scope, Sort, Version,
    byte_stream, json,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new(
            "cancel/write",
            "A write that is dropped at any point takes effect as a whole or not at all, and later calls work.",
            write,
        ),
        Case::new(
            "cancel/write-is-resolved",
            "A write that was dropped is resolved as what became of it.",
            write_is_resolved,
        )
        .needs(Need::Scope(Scope::Store)),
        Case::new(
            "cancel/stage",
            "A stage that is dropped at any point leaves nothing that is seen, and later calls work.",
            stage,
        ),
        Case::new(
            "cancel/reads",
            "Reads, scans, queries and counts that are dropped at any point harm nothing.",
            reads,
        ),
        Case::new(
            "cancel/define-and-drop",
            "define and drop_collection that are dropped at any point take effect as a whole or not at all.",
            define_and_drop,
        ),
    ]
}

/// A call that is dropped after so many polls, as when another branch of a
/// `select!` is done first. Each poll is one that it was woken for, so the
/// numbers go through its points of waiting one by one.
struct Dropped<T> {
    call: Pin<Box<dyn Future<Output = T> + Send>>,
    polls: usize,
}

impl<T> Future for Dropped<T> {
    type Output = Option<T>;

    fn poll(mut self: Pin<&mut Self>, task: &mut TaskContext<'_>) -> Poll<Option<T>> {
        if self.polls == 0 {
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match self.call.as_mut().poll(task) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending if self.polls == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    }
}

/// Polls a call so often and drops it; answers its output if it ended before.
async fn poll_times<T>(call: Pin<Box<dyn Future<Output = T> + Send>>, polls: usize) -> Option<T> {
    let mut dropped = Dropped { call, polls };
    let output = (&mut dropped).await;
    // Every second time it is left lying for a while, so that what it started
    // elsewhere gets further than the call itself.
    for _ in 0..polls % 2 * 20 {
        tokio::task::yield_now().await;
    }
    output
}

/// How often a state that is of no one time is looked at.
const LOOKS: u32 = 100;

/// How many polls to try: one after the other at first, then in steps.
fn polls() -> impl Iterator<Item = usize> {
    (0..12).chain((12..100).step_by(11))
}

fn batch(items: &CollectionName, id: Version, round: usize) -> Result<Batch, Failure> {
    Ok(Batch::with_id(id)
        .put(
            items,
            &key("a")?,
            ANY,
            Put::bytes(format!("{round}"))
                .with_doc(crate::Doc::from_value(&json!({"round": round}))?),
        )
        .delete(items, &key("gone")?, ANY)
        .put(items, &key("b")?, ANY, doc(json!({"round": round}))?))
}

/// One operation, where a batch may not have more.
fn fitting(
    context: &Context,
    items: &CollectionName,
    id: Version,
    round: usize,
) -> Result<Batch, Failure> {
    if context.can().batch.scope == Scope::Item || context.can().batch.max_ops < 3 {
        return Ok(Batch::with_id(id).put(items, &key("a")?, ANY, doc(json!({"round": round}))?));
    }
    batch(items, id, round)
}

async fn write(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let whole = fitting(&context, &items, context.env().version(), 0)?
        .operations()
        .len()
        == 3;
    for (round, times) in polls().enumerate() {
        put(store, &items, &key("gone")?, json!({})).await?;
        let id = context.env().version();
        let (writer, batch) = (store.clone(), fitting(&context, &items, id, round)?);
        let ended = poll_times(Box::pin(async move { writer.write(batch).await }), times).await;
        let ended = ended.transpose()?.is_some();
        // A write behind it: whatever was picked up before is done then.
        put(store, &items, &key("next")?, json!({})).await?;
        let by_id = |name: &str| {
            let (store, items, name) = (store.clone(), items.clone(), name.to_owned());
            async move {
                Ok::<_, Failure>(
                    store
                        .head(&items, &key(&name)?)
                        .await?
                        .is_some_and(|entry| entry.version == id),
                )
            }
        };
        let mut looks = 0;
        let a = loop {
            let (a, b) = (by_id("a").await?, by_id("b").await?);
            let gone = get(store, &items, &key("gone")?).await?.is_none();
            if !whole || (a == b && b == gone) {
                break a;
            }
            // It may have been committed between these reads; then they agree in the end.
            looks += 1;
            ensure!(
                looks < LOOKS,
                "a write dropped after {times} polls took effect in part: puts {a} and {b}, delete {gone}"
            );
            tokio::task::yield_now().await;
        };
        ensure!(
            !ended || a,
            "a write that was answered after {times} polls is not there"
        );
    }
    Ok(())
}

async fn write_is_resolved(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    for (round, times) in polls().enumerate() {
        let id = context.env().version();
        let (writer, batch) = (store.clone(), fitting(&context, &items, id, round)?);
        poll_times(Box::pin(async move { writer.write(batch).await }), times)
            .await
            .transpose()?;
        let outcome = store.resolve(id, None).await?;
        let there = store
            .head(&items, &key("a")?)
            .await?
            .is_some_and(|entry| entry.version == id);
        match outcome {
            Outcome::Committed(_) => ensure!(
                there,
                "a write dropped after {times} polls is committed, and its item is not there"
            ),
            Outcome::Aborted => ensure!(
                !there,
                "a write dropped after {times} polls is aborted, and its item is there"
            ),
            Outcome::Unknown => {
                return Err(Failure::here("the outcome of a dropped write is unknown"));
            }
        }
    }
    Ok(())
}

async fn stage(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    for times in polls() {
        let (stager, collection) = (store.clone(), items.clone());
        let pieces = (0..8).map(|_| Ok(bytes::Bytes::from(vec![1; 50_000])));
        let stream = futures_util::stream::iter(pieces.collect::<Vec<_>>()).boxed();
        let future = async move { stager.stage(&collection, stream).await };
        if let Some(staged) = poll_times(Box::pin(future), times).await {
            store
                .put(&items, &key("a")?, ANY, Put::staged(staged?))
                .await?;
            store.delete(&items, &key("a")?, ANY).await?;
        }
        ensure_eq!(
            scan(store, &items, Scan::all()).await?.len(),
            0,
            "items after a stage that was dropped after {times} polls"
        );
        store
            .put_stream(
                &items,
                &key("next")?,
                ANY,
                Put::default(),
                byte_stream(vec![2; 90_000]),
            )
            .await?;
        store.delete(&items, &key("next")?, ANY).await?;
    }
    Ok(())
}

async fn reads(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    context
        .fill(
            &items,
            (0..300).map(|n| (format!("k{n:03}"), json!({"n": n % 7, "t": "some words"}))),
        )
        .await?;
    store
        .put_stream(
            &items,
            &key("large")?,
            ANY,
            Put::default(),
            byte_stream(vec![1; 400_000]),
        )
        .await?;
    let before = snapshot(store, &items).await?;
    for times in polls() {
        for kind in 0..6 {
            let (reader, items) = (store.clone(), items.clone());
            let large = key("large")?;
            let future = async move {
                match kind {
                    0 => drop(get(&reader, &items, &large).await?),
                    1 => drop(super::helpers::body(&reader, &items, &large).await?),
                    2 => drop(
                        reader
                            .scan(&items, Scan::all())
                            .try_collect::<Vec<_>>()
                            .await?,
                    ),
                    3 => {
                        let query = Query::new(super::helpers::filter(json!({"$match": "words"}))?)
                            .sort(Sort::parse("n:desc")?);
                        drop(reader.query(&items, query).try_collect::<Vec<_>>().await?);
                    }
                    4 => drop(
                        reader
                            .count_by(&items, &crate::Filter::all(), &"n".parse()?)
                            .await?,
                    ),
                    _ => {
                        // Dropped in the middle of a stream, whatever the polls.
                        let mut stream = reader.scan(&items, Scan::all());
                        for _ in 0..5 {
                            stream.try_next().await?;
                        }
                    }
                }
                Ok::<_, Failure>(())
            };
            poll_times(Box::pin(future), times).await.transpose()?;
        }
    }
    put(store, &items, &key("next")?, json!({})).await?;
    store.delete(&items, &key("next")?, ANY).await?;
    ensure_eq!(
        snapshot(store, &items).await?,
        before,
        "the items after reads were dropped"
    );
    Ok(())
}

async fn define_and_drop(context: Context) -> Check {
    let store = context.store();
    for times in polls().step_by(2) {
        let items = context.collection("items")?;
        context
            .fill(
                &items,
                (0..40).map(|n| (format!("k{n:02}"), json!({"n": n}))),
            )
            .await?;
        let (definer, collection) = (store.clone(), items.clone());
        let future = async move {
            definer
                .define(&collection, &[crate::Index::parse(&["n"])?.unique()])
                .await
        };
        let ended = poll_times(Box::pin(future), times)
            .await
            .transpose()?
            .is_some();
        put(store, &items, &key("next")?, json!({})).await?;
        let taken = store
            .put(&items, &key("twin")?, ANY, doc(json!({"n": 7}))?)
            .await;
        ensure!(
            !ended || taken.is_err(),
            "an index that was declared after {times} polls does not bind"
        );
        let found =
            super::helpers::query(store, &items, Query::new(crate::Filter::eq("n", 7)?)).await?;
        ensure_eq!(
            found.len(),
            if taken.is_ok() { 2 } else { 1 },
            "items with a value after a define that was dropped after {times} polls"
        );
        let all = scan(store, &items, Scan::all()).await?.len();
        let (dropper, collection) = (store.clone(), items.clone());
        let ended = poll_times(
            Box::pin(async move { dropper.drop_collection(&collection).await }),
            times,
        )
        .await
        .transpose()?
        .is_some();
        put(
            store,
            &context.collection("other")?,
            &key("next")?,
            json!({}),
        )
        .await?;
        let left = scan(store, &items, Scan::all()).await?.len();
        ensure!(
            left == 0 || (!ended && left == all),
            "a drop that was dropped after {times} polls left {left} of {all} items"
        );
    }
    Ok(())
}
