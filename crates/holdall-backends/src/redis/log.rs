//! The log of committed batches: for watchers, and to resolve lost answers.

use holdall_core::{
    BATCH_ID_LIFE, Change, ChangeKind, CollectionName, Commit, Error, Key, Outcome, Result,
    Timestamp, Version, WatchCursor, WatchFrom,
};

use super::entry::take;
use super::error::damaged;
use super::link::Line;
use super::script::{AFTER, Call, RESOLVE};
use super::{Shared, answer};

/// The most ids that are kept as given up.
const MAX_ABORTED: u32 = 100_000;

/// Batches that a watcher takes at once.
const PAGE: u32 = 64;

/// What a change is about, as the log has it: 1 byte length of the collection's
/// name, the name, 2 bytes length of the key, and the key.
pub(super) fn name(collection: &CollectionName, key: Option<&Key>) -> Vec<u8> {
    let (collection, key) = (collection.as_str(), key.map_or("", Key::as_str));
    let mut out = Vec::with_capacity(3 + collection.len() + key.len());
    // A name has at most 128 bytes, a key 1,024.
    out.push(u8::try_from(collection.len()).unwrap_or(u8::MAX));
    out.extend_from_slice(collection.as_bytes());
    out.extend_from_slice(&u16::try_from(key.len()).unwrap_or(u16::MAX).to_be_bytes());
    out.extend_from_slice(key.as_bytes());
    out
}

/// A change as it is kept.
struct Logged {
    collection: CollectionName,
    key: Option<Key>,
    kind: ChangeKind,
    previous: Option<Version>,
    created: Timestamp,
}

fn decode(mut rest: &[u8]) -> Result<Vec<Logged>> {
    let mut changes = Vec::new();
    while !rest.is_empty() {
        changes.push(decode_one(&mut rest).ok_or_else(|| damaged("the log of changes"))?);
    }
    Ok(changes)
}

fn decode_one(rest: &mut &[u8]) -> Option<Logged> {
    let kind = match take::<1>(rest)? {
        [1] => ChangeKind::Put,
        [2] => ChangeKind::Delete,
        [3] => ChangeKind::Dropped,
        _ => return None,
    };
    let [len] = take(rest)?;
    let collection = text(rest, len.into())?;
    let len = u16::from_be_bytes(take(rest)?);
    let key = text(rest, len.into())?;
    let previous = match take::<1>(rest)? {
        [0] => None,
        _ => Some(Version::from_bytes(take(rest)?)),
    };
    let created = match kind {
        ChangeKind::Put => i64::from_be_bytes(take(rest)?),
        ChangeKind::Delete | ChangeKind::Dropped => 0,
    };
    Some(Logged {
        collection: CollectionName::new(collection).ok()?,
        key: match kind {
            ChangeKind::Dropped => None,
            ChangeKind::Put | ChangeKind::Delete => Some(Key::new(key).ok()?),
        },
        kind,
        previous,
        created: Timestamp::from_micros(created),
    })
}

fn text<'a>(rest: &mut &'a [u8], len: usize) -> Option<&'a str> {
    let (head, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    std::str::from_utf8(head).ok()
}

/// What became of a batch; gives it up if it has not arrived.
pub(super) async fn resolve(shared: &Shared, id: Version) -> Result<Outcome> {
    let now = shared.options.env.now();
    let time = id.time().unwrap_or(now);
    let mut call = Call::new(
        &RESOLVE,
        shared.names.all(["meta", "log", "batches", "aborted"]),
    );
    call.arg(id.as_bytes().as_slice())
        .flag(id.check_batch_id(now).is_ok())
        .number(time.as_micros())
        .number(time.after(BATCH_ID_LIFE).as_micros())
        .number(MAX_ABORTED);
    // On the line for writing: behind what was sent before.
    let answer = call.write(&shared.link, Line::Write).await;
    // Asking again is always right.
    let (became, mut told) = answer::outcome(answer.map_err(|fault| fault.of_read())?)?;
    Ok(match became.as_str() {
        "committed" => {
            let at = Timestamp::from_micros(answer::number(told.next())?);
            let changes = decode(&answer::bytes(told.next())?)?;
            let puts = changes
                .iter()
                .filter(|change| change.kind == ChangeKind::Put);
            Outcome::Committed(Some(Commit {
                at,
                created: puts.map(|change| change.created).collect(),
            }))
        }
        "aborted" => Outcome::Aborted,
        "full" => {
            return Err(Error::unavailable(format!(
                "{MAX_ABORTED} batches were given up within a day, and no more can be remembered"
            )));
        }
        _ => Outcome::Unknown,
    })
}

/// Where a watcher is: behind so many changes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) seq: u64,
    /// The batch of that number, to notice another in its place; zeros if it is not
    /// known.
    batch: [u8; 16],
    changes: u32,
}

impl Place {
    /// The place that a watcher starts from.
    pub(super) async fn of(shared: &Shared, from: &WatchFrom) -> Result<Self> {
        let WatchFrom::After(cursor) = from else {
            let page = Page::read(shared, u64::MAX).await?;
            return Ok(Self {
                seq: page.newest,
                batch: [0; 16],
                changes: u32::MAX,
            });
        };
        let foreign =
            || Error::invalid("the watch cursor is not one of this store; watch from now");
        let place = Self::read(cursor, shared.identity).ok_or_else(foreign)?;
        let page = Page::read(shared, place.seq).await?;
        place.check_kept(&page)?;
        Ok(place)
    }

    fn read(cursor: &WatchCursor, identity: Version) -> Option<Self> {
        let mut rest = cursor.as_bytes();
        let owner = take::<16>(&mut rest)?;
        let place = Self {
            seq: u64::from_be_bytes(take(&mut rest)?),
            batch: take(&mut rest)?,
            changes: u32::from_be_bytes(take(&mut rest)?),
        };
        (rest.is_empty() && owner == *identity.as_bytes()).then_some(place)
    }

    fn cursor(self, identity: Version) -> WatchCursor {
        let mut cursor = identity.as_bytes().to_vec();
        cursor.extend_from_slice(&self.seq.to_be_bytes());
        cursor.extend_from_slice(&self.batch);
        cursor.extend_from_slice(&self.changes.to_be_bytes());
        WatchCursor::from_bytes(cursor)
    }

    fn check_kept(self, page: &Page) -> Result<()> {
        // Behind the last change that was removed, nothing is missing.
        if self.seq < page.trimmed
            || (self.seq == page.trimmed && self.seq > 0 && self.changes != u32::MAX)
        {
            return Err(Error::expired(
                "the changes behind this watch cursor are no longer kept; scan, and watch from now",
            ));
        }
        let same = match page.batches.first() {
            Some(first) if first.seq == self.seq => first.id.as_bytes() == &self.batch,
            _ => true,
        };
        if self.seq > page.newest || (!same && self.batch != [0; 16]) {
            return Err(Error::expired(
                "Redis has lost the change of this watch cursor, as another server took over; scan, and watch from now",
            ));
        }
        Ok(())
    }
}

/// A page of the log.
struct Page {
    newest: u64,
    trimmed: u64,
    batches: Vec<Logs>,
}

/// A batch of the log.
struct Logs {
    seq: u64,
    id: Version,
    changes: Vec<u8>,
}

impl Page {
    /// From a number on.
    async fn read(shared: &Shared, seq: u64) -> Result<Self> {
        let mut call = Call::new(&AFTER, shared.names.all(["meta", "log"]));
        call.number(seq).number(PAGE);
        let mut told = answer::list(call.read(&shared.link).await?)?.into_iter();
        let mut page = Self {
            newest: answer::number(told.next())?,
            trimmed: answer::number(told.next())?,
            batches: Vec::new(),
        };
        while let Some(seq) = told.next() {
            page.batches.push(Logs {
                seq: answer::number(Some(seq))?,
                id: Version::from_slice(&answer::bytes(told.next())?)?,
                changes: answer::bytes(told.next())?,
            });
        }
        Ok(page)
    }
}

/// A page of changes behind a place, and the place behind it.
pub(super) async fn after(
    shared: &Shared,
    mut place: Place,
    wanted: Option<&CollectionName>,
) -> Result<(Vec<Change>, Place)> {
    let page = Page::read(shared, place.seq).await?;
    place.check_kept(&page)?;
    let mut changes = Vec::new();
    for batch in page.batches {
        let seen = if batch.seq == place.seq {
            place.changes
        } else {
            0
        };
        let seen = usize::try_from(seen).unwrap_or(usize::MAX);
        place = Place {
            seq: batch.seq,
            batch: *batch.id.as_bytes(),
            changes: u32::MAX,
        };
        for (number, change) in (1..).zip(decode(&batch.changes)?).skip(seen) {
            if wanted.is_none_or(|wanted| *wanted == change.collection) {
                let cursor = Place {
                    changes: number,
                    ..place
                };
                changes.push(Change {
                    cursor: cursor.cursor(shared.identity),
                    collection: change.collection,
                    key: change.key,
                    kind: change.kind,
                    version: (change.kind == ChangeKind::Put).then_some(batch.id),
                    previous: change.previous,
                    batch: batch.id,
                });
            }
        }
    }
    Ok((changes, place))
}
