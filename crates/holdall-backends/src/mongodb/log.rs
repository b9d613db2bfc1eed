//! The record of batches: for watchers, and to resolve lost answers.
//!
//! A batch is recorded in its own transaction, under its id. What gives the id
//! up writes the same document, so only one of the two is ever there.

use holdall_core::{
    BATCH_ID_LIFE, Batch, Change, ChangeKind, CollectionName, Commit, Error, Key, Outcome, Result,
    Timestamp, Version, WatchCursor,
};
use mongodb::ClientSession;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::ReturnDocument;

use super::connect::binary;
use super::error::Failure;
use super::names::{BATCHES, COUNTER, META};
use super::{Shared, Telling, value};

/// The most ids that are kept as given up.
const MAX_ABORTED: u64 = 100_000;

/// A change as it is kept.
#[derive(Clone, Debug)]
pub(super) struct Logged {
    pub(super) collection: CollectionName,
    /// `None` for a dropped collection.
    pub(super) key: Option<Key>,
    pub(super) kind: ChangeKind,
    pub(super) previous: Option<Version>,
    pub(super) created: Timestamp,
}

/// Until when the id of a batch has to be remembered: while it could still arrive.
fn until(id: Version, now: Timestamp) -> i64 {
    let latest = id.time().map_or(now, |time| time.max(now));
    latest.after(BATCH_ID_LIFE).as_micros()
}

/// Takes the next number for a batch, in a store that numbers them, as the first step of
/// its transaction. No other can take one until this transaction is over, so numbers are
/// committed in their order, and none is left out.
pub(super) async fn number(
    shared: &Shared,
    session: &mut ClientSession,
) -> Result<Option<i64>, Failure> {
    if shared.telling != Telling::Numbers {
        return Ok(None);
    }
    let next = doc! { "$inc": { "number": 1_i64 } };
    let meta = shared.database.collection::<Document>(META);
    let taken = meta
        .find_one_and_update(doc! { "_id": COUNTER }, next)
        .return_document(ReturnDocument::After)
        .session(session);
    let counter = shared.call(taken).await?;
    Ok(Some(counted(counter.as_ref())?))
}

/// The number of the newest batch.
pub(super) async fn newest(shared: &Shared) -> Result<i64> {
    let meta = shared.database.collection::<Document>(META);
    let counter = shared.read(meta.find_one(doc! { "_id": COUNTER })).await?;
    counted(counter.as_ref())
}

fn counted(counter: Option<&Document>) -> Result<i64> {
    let number = counter.and_then(|counter| counter.get_i64("number").ok());
    number.ok_or_else(|| value::foreign("holdall.meta has no number of the newest batch"))
}

/// The document of a batch. Collections stand in it once, as their names may be
/// long.
pub(super) fn record(
    id: Version,
    number: Option<i64>,
    at: Timestamp,
    changes: &[Logged],
) -> Document {
    let mut names: Vec<&CollectionName> = Vec::new();
    let mut list = Vec::with_capacity(changes.len());
    for change in changes {
        let at = names
            .iter()
            .position(|name| **name == change.collection)
            .unwrap_or_else(|| {
                names.push(&change.collection);
                names.len() - 1
            });
        let mut entry = doc! { "c": i32::try_from(at).unwrap_or(i32::MAX) };
        if let Some(key) = &change.key {
            entry.insert("k", key.as_str());
        }
        if let Some(previous) = change.previous {
            entry.insert("p", binary(previous));
        }
        if change.kind == ChangeKind::Put {
            entry.insert("t", change.created.as_micros());
        }
        list.push(Bson::Document(entry));
    }
    let names: Vec<&str> = names.into_iter().map(CollectionName::as_str).collect();
    let mut record = doc! { "_id": binary(id), "at": at.as_micros(), "until": until(id, at), "collections": names, "changes": list };
    if let Some(number) = number {
        record.insert("number", number);
    }
    record
}

/// The changes in the document of a batch.
fn changes(record: &Document) -> Result<Vec<Logged>> {
    let damaged = || value::foreign("the record of a batch is damaged");
    let names = record.get_array("collections").map_err(|_| damaged())?;
    let list = record.get_array("changes").map_err(|_| damaged())?;
    let mut changes = Vec::with_capacity(list.len());
    for entry in list {
        let entry = entry.as_document().ok_or_else(damaged)?;
        let at = entry
            .get_i32("c")
            .ok()
            .and_then(|at| usize::try_from(at).ok())
            .ok_or_else(damaged)?;
        let name = names.get(at).and_then(Bson::as_str).ok_or_else(damaged)?;
        let key = entry.get_str("k").ok().map(Key::new).transpose()?;
        let created = entry.get_i64("t").ok();
        changes.push(Logged {
            collection: CollectionName::new(name)?,
            kind: match (&key, created) {
                (None, _) => ChangeKind::Dropped,
                (Some(_), None) => ChangeKind::Delete,
                (Some(_), Some(_)) => ChangeKind::Put,
            },
            key,
            previous: value::bytes_of(entry, "p")
                .map(Version::from_slice)
                .transpose()?,
            created: Timestamp::from_micros(created.unwrap_or_default()),
        });
    }
    Ok(changes)
}

/// The id of a recorded batch.
pub(super) fn id(record: &Document) -> Result<Version> {
    match value::bytes_of(record, "_id") {
        Some(bytes) => Version::from_slice(bytes),
        None => Err(value::foreign("the record of a batch has no id")),
    }
}

/// The changes of a recorded batch behind some of them, as a watcher is told of them, with
/// the cursor for so many of them; [`ALL`] for all.
pub(super) fn told(
    record: &Document,
    seen: u32,
    cursor: impl Fn(u32) -> Result<WatchCursor>,
) -> Result<Vec<Change>> {
    let batch = id(record)?;
    let changes = changes(record)?;
    let last = changes.len();
    let skip = usize::try_from(seen).unwrap_or(usize::MAX);
    let counted = (1..).zip(changes).skip(skip);
    counted
        .map(|(count, change): (usize, Logged)| {
            let seen = match count == last {
                true => ALL,
                false => u32::try_from(count).unwrap_or(ALL),
            };
            Ok(Change {
                cursor: cursor(seen)?,
                collection: change.collection,
                key: change.key,
                version: (change.kind == ChangeKind::Put).then_some(batch),
                kind: change.kind,
                previous: change.previous,
                batch,
            })
        })
        .collect()
}

/// Stands in a cursor for all changes of a batch.
pub(super) const ALL: u32 = u32::MAX;

/// What is recorded under an id.
pub(super) enum Recorded {
    Nothing,
    Committed(Commit),
    Aborted,
}

/// Looks an id up.
pub(super) async fn find(shared: &Shared, id: Version) -> Result<Recorded> {
    let batches = shared.database.collection::<Document>(BATCHES);
    let Some(record) = shared
        .read(batches.find_one(doc! { "_id": binary(id) }))
        .await?
    else {
        return Ok(Recorded::Nothing);
    };
    if record.contains_key("aborted") {
        return Ok(Recorded::Aborted);
    }
    let at = record
        .get_i64("at")
        .map_err(|_| value::foreign("the record of a batch has no time"))?;
    let puts = changes(&record)?
        .into_iter()
        .filter(|change| change.kind == ChangeKind::Put);
    Ok(Recorded::Committed(Commit {
        at: Timestamp::from_micros(at),
        created: puts.map(|change| change.created).collect(),
    }))
}

/// Why a batch whose id is taken is refused.
pub(super) fn refusal(recorded: &Recorded, id: Version) -> Error {
    match recorded {
        Recorded::Aborted => {
            Error::expired("the batch was given up by `resolve` before it arrived; make a new one")
        }
        _ => Error::conflict("a batch with this id was committed already; an id is used once"),
    }
    .for_batch(id)
}

/// What became of a batch; gives it up if it has not arrived.
pub(super) async fn resolve(shared: &Shared, id: Version) -> Result<Outcome> {
    let now = shared.options.env.now();
    let mut pause = super::write::Pause::new(shared);
    loop {
        match find(shared, id).await? {
            Recorded::Committed(commit) => return Ok(Outcome::Committed(Some(commit))),
            Recorded::Aborted => return Ok(Outcome::Aborted),
            Recorded::Nothing => {}
        }
        let Some(time) = id.time().filter(|_| id.check_batch_id(now).is_ok()) else {
            return Ok(Outcome::Unknown);
        };
        let batches = shared.database.collection::<Document>(BATCHES);
        let aborted = batches
            .count_documents(doc! { "aborted": true })
            .limit(MAX_ABORTED);
        if shared.read(aborted).await? >= MAX_ABORTED {
            return Err(Error::unavailable(format!(
                "{MAX_ABORTED} batches were given up within a day, and no more can be remembered"
            )));
        }
        let until = time.after(BATCH_ID_LIFE).as_micros();
        let given_up = doc! { "_id": binary(id), "aborted": true, "until": until };
        match shared.call(batches.insert_one(given_up)).await {
            Ok(_) => return Ok(Outcome::Aborted),
            // It arrived meanwhile, or somebody else gave it up.
            Err(Failure::Taken(why)) => pause.wait(Error::conflict(why)).await?,
            // It is being committed.
            Err(Failure::Again(error)) => pause.wait(error).await?,
            Err(other) => return Err(other.into_error()),
        }
    }
}

/// The entries that a recorded commit gives a batch.
pub(super) fn written(batch: &Batch, id: Version, commit: &Commit) -> holdall_core::Written {
    holdall_core::Written {
        id,
        entries: batch.entries(id, commit),
    }
}
