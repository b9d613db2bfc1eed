//! What was committed lately: for watchers, and to resolve lost answers.

use std::collections::VecDeque;

use hashbrown::HashMap;

use crate::{
    BATCH_ID_LIFE, Change, ChangeKind, CollectionName, Commit, Error, Key, Outcome, Result,
    Timestamp, Version, WatchCursor, WatchFrom,
};

/// The most changes that are kept; older batches go first.
const MAX_CHANGES: usize = 200_000;

/// The most ids that are kept as aborted.
const MAX_ABORTED: usize = 100_000;

/// The most changes that a watcher takes at once.
const PAGE: usize = 256;

pub(super) struct Log {
    /// Tells cursors of this log from those of another.
    identity: Version,
    batches: VecDeque<LoggedBatch>,
    /// The number of the first of `batches`; numbers start at 1.
    first: u64,
    changes: usize,
    committed: HashMap<Version, u64>,
    aborted: HashMap<Version, Timestamp>,
    /// Batches with ids up to this time may have been forgotten.
    horizon: Timestamp,
}

/// A batch as it is kept.
struct LoggedBatch {
    id: Version,
    at: Timestamp,
    changes: Vec<Logged>,
}

/// A change as it is kept.
#[derive(Clone)]
pub(super) struct Logged {
    pub(super) collection: CollectionName,
    pub(super) key: Option<Key>,
    pub(super) kind: ChangeKind,
    pub(super) previous: Option<Version>,
    pub(super) created: Timestamp,
}

/// Where a watcher is: behind so many changes of a batch, or behind all of the
/// batches before it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    batch: u64,
    changes: u32,
}

impl Log {
    pub(super) fn new(identity: Version) -> Self {
        Self {
            identity,
            batches: VecDeque::new(),
            first: 1,
            changes: 0,
            committed: HashMap::new(),
            aborted: HashMap::new(),
            horizon: Timestamp::from_micros(i64::MIN),
        }
    }

    /// Refuses the id of a batch that is not to be written.
    pub(super) fn admit(&self, id: Version, now: Timestamp) -> Result<()> {
        id.check_batch_id(now)?;
        let refused = if self.aborted.contains_key(&id) {
            Error::expired("the batch was given up by `resolve` before it arrived; make a new one")
        } else if self.committed.contains_key(&id) {
            Error::conflict("a batch with this id was committed already; an id is used once")
        } else {
            return Ok(());
        };
        Err(refused.for_batch(id))
    }

    pub(super) fn append(&mut self, id: Version, at: Timestamp, changes: Vec<Logged>) {
        self.changes += changes.len();
        self.committed.insert(id, self.next());
        self.batches.push_back(LoggedBatch { id, at, changes });
        let oldest = at.before(BATCH_ID_LIFE);
        while let Some(batch) = self.batches.front() {
            if batch.at >= oldest && self.changes + self.batches.len() <= MAX_CHANGES {
                break;
            }
            self.changes -= batch.changes.len();
            self.committed.remove(&batch.id);
            self.horizon = self.horizon.max(batch.id.time().unwrap_or(batch.at));
            self.batches.pop_front();
            self.first += 1;
        }
    }

    fn next(&self) -> u64 {
        self.first + self.batches.len() as u64
    }

    pub(super) fn resolve(&mut self, id: Version, now: Timestamp) -> Result<Outcome> {
        if let Some(batch) = self
            .committed
            .get(&id)
            .and_then(|number| self.batch(*number))
        {
            let puts = batch
                .changes
                .iter()
                .filter(|change| change.kind == ChangeKind::Put);
            let created = puts.map(|change| change.created).collect();
            return Ok(Outcome::Committed(Some(Commit {
                at: batch.at,
                created,
            })));
        }
        if self.aborted.contains_key(&id) {
            return Ok(Outcome::Aborted);
        }
        let forgotten = id.time().is_none_or(|time| time <= self.horizon);
        if forgotten || id.check_batch_id(now).is_err() {
            return Ok(Outcome::Unknown);
        }
        let oldest = now.before(BATCH_ID_LIFE);
        if self.aborted.len() >= MAX_ABORTED {
            self.aborted.retain(|_, at| *at >= oldest);
        }
        if self.aborted.len() >= MAX_ABORTED {
            return Err(Error::unavailable(format!(
                "{MAX_ABORTED} batches were given up within a day, and no more can be remembered"
            )));
        }
        self.aborted.insert(id, now.max(id.time().unwrap_or(now)));
        Ok(Outcome::Aborted)
    }

    fn batch(&self, number: u64) -> Option<&LoggedBatch> {
        let at = usize::try_from(number.checked_sub(self.first)?).ok()?;
        self.batches.get(at)
    }

    pub(super) fn place(&self, from: WatchFrom) -> Result<Place> {
        let WatchFrom::After(cursor) = from else {
            return Ok(Place {
                batch: self.next(),
                changes: 0,
            });
        };
        let foreign =
            || Error::invalid("the watch cursor is not one of this store; watch from now");
        let (identity, place) = cursor
            .as_bytes()
            .split_first_chunk::<16>()
            .ok_or_else(foreign)?;
        let (batch, changes) = place.split_first_chunk::<8>().ok_or_else(foreign)?;
        let changes = <[u8; 4]>::try_from(changes).map_err(|_| foreign())?;
        let place = Place {
            batch: u64::from_be_bytes(*batch),
            changes: u32::from_be_bytes(changes),
        };
        if identity != self.identity.as_bytes() || place.batch >= self.next() {
            return Err(foreign());
        }
        self.kept(place)?;
        Ok(place)
    }

    fn kept(&self, place: Place) -> Result<()> {
        if place.batch < self.first {
            return Err(Error::expired(
                "the changes behind this watch cursor are no longer kept; scan, and watch from now",
            ));
        }
        Ok(())
    }

    /// A page of changes behind a place, which moves on. Empty at the end.
    pub(super) fn after(
        &self,
        place: &mut Place,
        collection: Option<&CollectionName>,
    ) -> Result<Vec<Change>> {
        self.kept(*place)?;
        let mut page = Vec::new();
        while page.len() < PAGE
            && let Some(batch) = self.batch(place.batch)
        {
            let seen = usize::try_from(place.changes).unwrap_or(usize::MAX);
            for (number, change) in (1..).zip(&batch.changes).skip(seen) {
                place.changes = number;
                if collection.is_none_or(|collection| change.collection == *collection) {
                    page.push(self.change(batch, *place, change));
                }
            }
            *place = Place {
                batch: place.batch + 1,
                changes: 0,
            };
        }
        Ok(page)
    }

    fn change(&self, batch: &LoggedBatch, place: Place, change: &Logged) -> Change {
        let mut cursor = self.identity.as_bytes().to_vec();
        cursor.extend_from_slice(&place.batch.to_be_bytes());
        cursor.extend_from_slice(&place.changes.to_be_bytes());
        Change {
            cursor: WatchCursor::from_bytes(cursor),
            collection: change.collection.clone(),
            key: change.key.clone(),
            kind: change.kind,
            version: (change.kind == ChangeKind::Put).then_some(batch.id),
            previous: change.previous,
            batch: batch.id,
        }
    }
}
