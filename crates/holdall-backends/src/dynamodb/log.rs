//! The log of committed batches: for watchers, and to resolve lost answers.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use aws_sdk_dynamodb::types::AttributeValue;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{
    Change, ChangeKind, ChangeStream, CollectionName, Commit, Error, ErrorKind, Key, Outcome,
    Result, Timestamp, Version, WatchCursor, WatchFrom,
};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Shared;
use super::commit::{Head, Plan, Planner, commit, newest, seq_of};
use super::error::damaged;
use super::row::Row;
use super::table::Range;

/// Batches that a watcher takes at once.
const PAGE: i32 = 64;

/// Gives a batch up.
struct Abort<'a> {
    shared: &'a Shared,
    id: Version,
}

#[async_trait]
impl Planner for Abort<'_> {
    type Answer = ();

    async fn plan(&self, _: &mut Head, _: Timestamp) -> Result<Result<Plan<()>, ()>> {
        let mut plan = Plan::new(self.id, ());
        plan.aborts = true;
        self.shared.check_open()?;
        Ok(Ok(plan))
    }
}

/// What became of a batch; gives it up if it has not arrived.
pub(super) async fn resolve(shared: &Shared, id: Version) -> Result<Outcome> {
    if let Some(outcome) = recorded(shared, id).await? {
        return Ok(outcome);
    }
    if id.check_batch_id(shared.options.env.now()).is_err() {
        return Ok(Outcome::Unknown);
    }
    match commit(shared, &Abort { shared, id }).await {
        Ok(()) => Ok(Outcome::Aborted),
        // It arrived just now, or somebody else gave it up.
        Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Expired) => {
            Ok(recorded(shared, id).await?.unwrap_or(Outcome::Unknown))
        }
        // Asking again is always right.
        Err(error) => Err(error.with_retry(holdall_core::Retry::Yes)),
    }
}

/// The error of a batch whose id was used or given up; `None` for one that is new.
pub(super) async fn refusal(shared: &Shared, id: Version) -> Result<Option<Error>> {
    Ok(match recorded(shared, id).await? {
        None => None,
        Some(Outcome::Aborted) => Some(Error::expired(
            "the batch was given up by `resolve` before it arrived; make a new one",
        )),
        Some(_) => Some(Error::conflict(
            "a batch with this id was committed already; an id is used once",
        )),
    })
}

async fn recorded(shared: &Shared, id: Version) -> Result<Option<Outcome>> {
    let Some(row) = shared.table.get(&shared.batch_place(id)).await? else {
        return Ok(None);
    };
    if row.text_or_none("x")?.is_some() {
        return Ok(Some(Outcome::Aborted));
    }
    let created = row.list("c")?.iter().map(|time| {
        let micros = time.as_n().ok().and_then(|time| time.parse().ok());
        micros
            .map(Timestamp::from_micros)
            .ok_or_else(|| damaged("the record of a batch"))
    });
    Ok(Some(Outcome::Committed(Some(Commit {
        at: row.time("t")?,
        created: created.collect::<Result<_>>()?,
    }))))
}

/// Wakes watchers when something was committed.
#[derive(Debug)]
pub(super) struct Bell {
    sender: watch::Sender<()>,
    /// Whether a task looks for the commits of other processes.
    looking: Mutex<bool>,
}

impl Bell {
    pub(super) fn new() -> Self {
        Self {
            sender: watch::Sender::new(()),
            looking: Mutex::default(),
        }
    }

    pub(super) fn ring(&self) {
        self.sender.send_replace(());
    }
}

/// Looks for the commits of other processes, while somebody watches.
async fn look(shared: Weak<Shared>, mut seq: u64) {
    loop {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        {
            let mut looking = shared.bell.looking.lock();
            if shared.bell.sender.receiver_count() == 0 || shared.check_open().is_err() {
                *looking = false;
                return;
            }
        }
        match newest(&shared).await {
            Ok(now) if now == seq => {}
            Ok(now) => {
                seq = now;
                shared.bell.ring();
            }
            // Watchers look for themselves, and say what is wrong.
            Err(_) => shared.bell.ring(),
        }
        let poll = shared.options.poll;
        drop(shared);
        tokio::time::sleep(poll).await;
    }
}

/// Where a watcher is: behind so many changes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    seq: u64,
    changes: u32,
}

impl Place {
    fn read(cursor: &WatchCursor, identity: Version) -> Option<Self> {
        let (owner, rest) = cursor.as_bytes().split_first_chunk::<16>()?;
        let (seq, rest) = rest.split_first_chunk::<8>()?;
        let changes = <[u8; 4]>::try_from(rest).ok()?;
        (owner == identity.as_bytes()).then_some(Self {
            seq: u64::from_be_bytes(*seq),
            changes: u32::from_be_bytes(changes),
        })
    }

    fn cursor(self, identity: Version) -> WatchCursor {
        let mut cursor = identity.as_bytes().to_vec();
        cursor.extend_from_slice(&self.seq.to_be_bytes());
        cursor.extend_from_slice(&self.changes.to_be_bytes());
        WatchCursor::from_bytes(cursor)
    }
}

pub(super) async fn watch(
    shared: &Arc<Shared>,
    collection: Option<CollectionName>,
    from: WatchFrom,
) -> Result<ChangeStream> {
    let heard = shared.bell.sender.subscribe();
    let newest = newest(shared).await?;
    let place = match from {
        WatchFrom::Now => Place {
            seq: newest,
            changes: u32::MAX,
        },
        WatchFrom::After(cursor) => {
            let place = Place::read(&cursor, shared.identity)
                .filter(|place| place.seq <= newest)
                .ok_or_else(|| {
                    Error::invalid("the watch cursor is not one of this store; watch from now")
                })?;
            after(shared, place, None).await?;
            place
        }
    };
    {
        let mut looking = shared.bell.looking.lock();
        if !*looking {
            *looking = true;
            tokio::spawn(look(Arc::downgrade(shared), newest));
        }
    }
    let watcher = Watcher {
        shared: shared.clone(),
        collection,
        heard,
        place,
    };
    let pages = stream::try_unfold(watcher, |mut watcher| async move {
        let page = watcher.next().await?;
        Ok::<_, Error>(Some((stream::iter(page.into_iter().map(Ok)), watcher)))
    });
    Ok(pages.try_flatten().boxed())
}

struct Watcher {
    shared: Arc<Shared>,
    collection: Option<CollectionName>,
    heard: watch::Receiver<()>,
    place: Place,
}

impl Watcher {
    async fn next(&mut self) -> Result<Vec<Change>> {
        loop {
            self.shared.check_open()?;
            // Before the log is read, so that what comes after wakes it again.
            self.heard.mark_unchanged();
            let (page, next) = after(&self.shared, self.place, self.collection.as_ref()).await?;
            let moved = next.seq != self.place.seq;
            self.place = next;
            if !page.is_empty() {
                return Ok(page);
            }
            if !moved {
                // The sender lives as long as `shared`.
                self.heard.changed().await.ok();
            }
        }
    }
}

/// A page of changes behind a place, and the place behind it.
async fn after(
    shared: &Shared,
    mut place: Place,
    wanted: Option<&CollectionName>,
) -> Result<(Vec<Change>, Place)> {
    // What was seen of in part is read again.
    let mut next = place.seq + u64::from(place.changes == u32::MAX);
    let range = Range {
        bound: Some((">=", format!("{next:020}"))),
        limit: PAGE,
        ..Range::default()
    };
    let (rows, _) = shared.table.query(&shared.log(), &range).await?;
    if rows.is_empty() && place.changes != u32::MAX {
        return Err(trimmed());
    }
    let mut changes = Vec::new();
    for row in rows {
        let seq = seq_of(&row)?;
        if seq != next {
            return Err(trimmed());
        }
        next += 1;
        let seen = if seq == place.seq { place.changes } else { 0 };
        let seen = usize::try_from(seen).unwrap_or(usize::MAX);
        place = Place {
            seq,
            changes: u32::MAX,
        };
        let batch = row.version("b")?;
        let batch = batch.ok_or_else(|| damaged("the log of changes"))?;
        for (number, change) in (1..).zip(row.list("c")?).skip(seen) {
            let cursor = Place {
                seq,
                changes: number,
            };
            let change = told(change, batch, cursor.cursor(shared.identity))?;
            if wanted.is_none_or(|wanted| *wanted == change.collection) {
                changes.push(change);
            }
        }
    }
    Ok((changes, place))
}

fn trimmed() -> Error {
    Error::expired(
        "the changes behind this watch cursor are no longer kept; scan, and watch from now",
    )
}

fn told(change: &AttributeValue, batch: Version, cursor: WatchCursor) -> Result<Change> {
    let odd = || damaged("the log of changes");
    let values: &HashMap<_, _> = change.as_m().map_err(|_| odd())?;
    let row = Row::of(values.clone());
    let kind = match row.text("k")? {
        "put" => ChangeKind::Put,
        "delete" => ChangeKind::Delete,
        "dropped" => ChangeKind::Dropped,
        _ => return Err(odd()),
    };
    Ok(Change {
        cursor,
        collection: CollectionName::new(row.text("c")?)?,
        key: row.text_or_none("i")?.map(Key::new).transpose()?,
        kind,
        version: (kind == ChangeKind::Put).then_some(batch),
        previous: row.version("v")?,
        batch,
    })
}
