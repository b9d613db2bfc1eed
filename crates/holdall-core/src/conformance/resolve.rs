//! Unknown outcomes are resolved, not guessed.

use super::case::refused;
use super::helpers::{ANY, doc, get, key, put};
use super::{Case, Check, Context, Failure, Need};
use crate::{
    BackendExt, Batch, CollectionName, Condition, ErrorKind, Outcome, Put, Scope, Version, json,
};

pub(super) fn cases() -> Vec<Case> {
    vec![
        Case::new("resolve/committed", "A batch that took effect is resolved as committed, with the entries that its write answered, though its items changed since.", committed).needs(Need::Scope(Scope::Store)),
        Case::new("resolve/aborts-for-good", "A batch that nobody wrote is aborted for good: a late arrival fails with Expired and changes nothing.", aborts_for_good).needs(Need::Scope(Scope::Store)),
        Case::new("resolve/refused-batch", "A batch that was refused is resolved as aborted.", refused_batch).needs(Need::Scope(Scope::Store)).needs(Need::Conditions(crate::Conditions::CreateOnly)),
        Case::new("resolve/races-its-own-batch", "When resolve and the batch itself race, both agree on what became of it.", races).needs(Need::Scope(Scope::Store)),
        Case::new("resolve/ids", "An id that is not a fresh UUIDv7 is refused by write, and never claimed to be aborted unless it stays so.", ids).needs(Need::Scope(Scope::Store)),
        Case::new("resolve/forgets-after-a-day", "An id older than a day is Expired on arrival, so that what was aborted stays aborted.", forgets).needs(Need::Scope(Scope::Store)).needs(Need::Clock),
        Case::new("resolve/survives-reopening", "What became of a batch is known after the store is opened again.", survives).needs(Need::Scope(Scope::Store)).needs(Need::Reopen),
        Case::new("resolve/by-witness", "An item that bears the id of a batch tells that it happened.", by_witness),
    ]
}

async fn committed(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    put(store, &items, &key("old")?, json!({})).await?;
    put(store, &items, &key("gone")?, json!({})).await?;
    let staged = store
        .stage(&items, crate::byte_stream(vec![1; 100_000]))
        .await?;
    let id = context.env().version();
    let batch = Batch::with_id(id)
        .put(&items, &key("old")?, ANY, Put::bytes("body"))
        .delete(&items, &key("gone")?, ANY)
        .check(&items, &key("never")?, ANY)
        .put(&items, &key("new")?, ANY, Put::staged(staged));
    let written = store.write(batch.clone()).await?;
    ensure_eq!(written.id, id, "the id that the write answers");
    put(store, &items, &key("old")?, json!({"later": true})).await?;
    store.delete(&items, &key("new")?, ANY).await?;
    for _ in 0..2 {
        match store.resolve(written.id, None).await? {
            Outcome::Committed(Some(commit)) => {
                ensure_eq!(
                    batch.entries(written.id, &commit),
                    written.entries,
                    "the entries that resolve tells"
                );
            }
            other => {
                return Err(Failure::here(format!(
                    "a batch that took effect was resolved as {other:?}"
                )));
            }
        }
    }
    let empty = store
        .write(Batch::new().delete(&items, &key("never")?, ANY))
        .await?;
    let outcome = store.resolve(empty.id, None).await?;
    ensure!(
        matches!(outcome, Outcome::Committed(_)),
        "a batch that took effect and changed nothing was resolved as {outcome:?}"
    );
    Ok(())
}

async fn aborts_for_good(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let id = context.env().version();
    for _ in 0..2 {
        ensure_eq!(
            store.resolve(id, Some((&items, &a))).await?,
            Outcome::Aborted,
            "what became of a batch that nobody wrote"
        );
    }
    for _ in 0..2 {
        let late = Batch::with_id(id).put(&items, &a, ANY, doc(json!({}))?);
        refused(
            store.write(late).await,
            ErrorKind::Expired,
            "a batch that was resolved before it arrived",
        )?;
        ensure!(
            get(store, &items, &a).await?.is_none(),
            "a batch that was aborted left an item"
        );
    }
    ensure_eq!(
        store.resolve(id, None).await?,
        Outcome::Aborted,
        "what became of it after the late arrival"
    );
    Ok(())
}

async fn refused_batch(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    put(store, &items, &a, json!({})).await?;
    let id = context.env().version();
    let batch = || -> Result<Batch, Failure> {
        Ok(Batch::with_id(id).put(&items, &a, Condition::Absent, doc(json!({}))?))
    };
    refused(
        store.write(batch()?).await,
        ErrorKind::Conflict,
        "a create of what is there",
    )?;
    // A refused batch may be tried again under its id, until it is given up.
    store.delete(&items, &a, ANY).await?;
    store.write(batch()?).await.map_err(|error| {
        Failure::from(error).during("a refused batch written again under its id")
    })?;
    let other = context.env().version();
    refused(
        store
            .write(Batch::with_id(other).put(&items, &a, Condition::Absent, doc(json!({}))?))
            .await,
        ErrorKind::Conflict,
        "a create of what is there",
    )?;
    ensure_eq!(
        store.resolve(other, None).await?,
        Outcome::Aborted,
        "what became of a batch that was refused"
    );
    Ok(())
}

async fn races(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    for n in 0..60 {
        let id = context.env().version();
        let name = key(&format!("k{n}"))?;
        let batch = Batch::with_id(id).put(&items, &name, ANY, doc(json!({}))?);
        let (writer, resolver) = (store.clone(), store.clone());
        let write = tokio::spawn(async move { writer.write(batch).await });
        let resolve = tokio::spawn(async move { resolver.resolve(id, None).await });
        let joined = |error: tokio::task::JoinError| Failure::here(error.to_string());
        let (written, outcome) = (
            write.await.map_err(joined)?,
            resolve.await.map_err(joined)??,
        );
        let there = get(store, &items, &name).await?.is_some();
        let told = format!(
            "the write answered {written:?}, resolve {outcome:?}, and the item is there: {there}"
        );
        match outcome {
            Outcome::Committed(_) => ensure!(there && written.is_ok(), "{told}"),
            Outcome::Aborted => ensure!(
                !there && written.is_err_and(|error| error.kind() == ErrorKind::Expired),
                "{told}"
            ),
            Outcome::Unknown => return Err(Failure::here(told)),
        }
    }
    Ok(())
}

async fn ids(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let v4 = Version::from_bytes([
        0x5a, 1, 2, 3, 4, 5, 0x46, 7, 0x88, 9, 10, 11, 12, 13, 14, 15,
    ]);
    let now = context.env().now();
    let aged = |micros: i64| {
        let clock = crate::ManualClock::at(crate::Timestamp::from_micros(now.as_micros() + micros));
        crate::Env::seeded(clock, context.seed()).version()
    };
    const DAY: i64 = 24 * 60 * 60 * 1_000_000;
    for (id, kind, what) in [
        (
            Version::from_bytes([0; 16]),
            ErrorKind::Invalid,
            "an id of zeros",
        ),
        (v4, ErrorKind::Invalid, "a random UUID"),
        (
            aged(-2 * DAY),
            ErrorKind::Expired,
            "an id from two days ago",
        ),
        (
            aged(2 * DAY),
            ErrorKind::Expired,
            "an id from two days ahead",
        ),
    ] {
        refused(
            store
                .write(Batch::with_id(id).put(&items, &a, ANY, doc(json!({}))?))
                .await,
            kind,
            what,
        )?;
        ensure!(
            get(store, &items, &a).await?.is_none(),
            "{what} left an item"
        );
        let outcome = store.resolve(id, None).await?;
        ensure!(
            !matches!(outcome, Outcome::Committed(_)),
            "{what} was resolved as {outcome:?}"
        );
        refused(
            store
                .write(Batch::with_id(id).put(&items, &a, ANY, doc(json!({}))?))
                .await,
            kind,
            what,
        )
        .or_else(|failure| {
            if kind == ErrorKind::Expired {
                Err(failure)
            } else {
                Ok(crate::Error::other(""))
            }
        })?;
        ensure!(
            get(store, &items, &a).await?.is_none(),
            "{what} left an item after it was resolved"
        );
    }
    store
        .write(Batch::with_id(aged(-DAY / 2)).put(&items, &a, ANY, doc(json!({}))?))
        .await?;
    Ok(())
}

async fn forgets(context: Context) -> Check {
    let (store, clock, env) = context.open_with_clock().await?;
    let items = CollectionName::new("items")?;
    let a = key("a")?;
    let (aborted, never) = (env.version(), env.version());
    ensure_eq!(
        store.resolve(aborted, None).await?,
        Outcome::Aborted,
        "what became of a batch that nobody wrote"
    );
    let done = store.put(&items, &a, ANY, doc(json!({}))?).await?.version;
    for hours in [1, 22, 3, 48] {
        clock.advance(std::time::Duration::from_secs(hours * 60 * 60));
        // Others write meanwhile, so that old records have a reason to go.
        for n in 0..20 {
            put(&store, &items, &key(&format!("k{n}"))?, json!({})).await?;
        }
        for id in [aborted, done] {
            let late = Batch::with_id(id).put(&items, &key("late")?, ANY, doc(json!({}))?);
            let answer = store.write(late).await;
            ensure!(
                answer.is_err(),
                "an id that was used or aborted {hours} hours before was taken"
            );
            ensure!(
                get(&store, &items, &key("late")?).await?.is_none(),
                "an id that was used or aborted left an item"
            );
        }
        let outcome = store.resolve(done, None).await?;
        ensure!(
            outcome != Outcome::Aborted,
            "a batch that took effect was resolved as aborted"
        );
    }
    ensure_eq!(
        store.resolve(never, None).await?,
        Outcome::Unknown,
        "what became of a batch so old that it may have been forgotten"
    );
    refused(
        store
            .write(Batch::with_id(never).delete(&items, &a, ANY))
            .await,
        ErrorKind::Expired,
        "an id of three days ago",
    )?;
    store.close().await?;
    Ok(())
}

async fn survives(context: Context) -> Check {
    let items = context.collection("items")?;
    let (aborted, done) = (context.env().version(), context.env().version());
    let a = key("a")?;
    let first = context.open().await?;
    let batch = Batch::with_id(done).put(&items, &a, ANY, doc(json!({}))?);
    let written = first.write(batch.clone()).await?;
    ensure_eq!(
        first.resolve(aborted, None).await?,
        Outcome::Aborted,
        "what became of a batch that nobody wrote"
    );
    first.close().await?;
    let second = context.open().await?;
    match second.resolve(done, None).await? {
        Outcome::Committed(Some(commit)) => ensure_eq!(
            batch.entries(done, &commit),
            written.entries,
            "the entries that resolve tells after reopening"
        ),
        other => {
            return Err(Failure::here(format!(
                "a batch that took effect was resolved as {other:?} after reopening"
            )));
        }
    }
    let late = Batch::with_id(aborted).put(&items, &key("late")?, ANY, doc(json!({}))?);
    refused(
        second.write(late).await,
        ErrorKind::Expired,
        "a batch that was aborted before reopening",
    )?;
    refused(
        second.write(batch).await,
        ErrorKind::Conflict,
        "a batch that was written before reopening",
    )?;
    second.close().await?;
    Ok(())
}

async fn by_witness(context: Context) -> Check {
    let (store, items) = (context.store(), context.collection("items")?);
    let a = key("a")?;
    let entry = put(store, &items, &a, json!({})).await?;
    let outcome = store.resolve(entry.version, Some((&items, &a))).await?;
    ensure!(
        matches!(outcome, Outcome::Committed(_)),
        "a batch whose item is there was resolved as {outcome:?}"
    );
    if context.can().batch.scope < Scope::Store {
        let outcome = store
            .resolve(context.env().version(), Some((&items, &a)))
            .await?;
        ensure_eq!(
            outcome,
            Outcome::Unknown,
            "what became of a batch whose witness bears another version"
        );
    }
    Ok(())
}
