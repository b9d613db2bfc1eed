//! The log of committed batches: for watchers, and to resolve lost answers.

use std::sync::Arc;

use hashbrown::HashMap;
use holdall_core::{
    BATCH_ID_LIFE, Change, ChangeKind, CollectionName, Commit, Error, Key, Outcome, Result,
    Timestamp, Version, WatchCursor, WatchFrom,
};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use super::error::failed;
use super::readers::ReadError;
use super::rows::{shape, version};
use super::schema::meta;

/// The most ids that are kept as given up.
const MAX_ABORTED: i64 = 100_000;

/// Batches that a watcher takes at once.
const PAGE: u32 = 64;

/// Batches up to this `seq` have been removed.
pub(super) const TRIMMED: &str = "log_trimmed";

/// Batches with ids up to this time may have been removed.
pub(super) const HORIZON: &str = "log_horizon";

/// A change as it is kept.
pub(super) struct Logged {
    pub(super) collection: i64,
    /// Empty for a dropped collection.
    pub(super) key: String,
    pub(super) kind: ChangeKind,
    pub(super) previous: Option<Version>,
    pub(super) created: Timestamp,
}

/// Refuses the id of a batch that is not to be written.
pub(super) fn admit(connection: &Connection, id: Version, now: Timestamp) -> Result<()> {
    id.check_batch_id(now)?;
    let aborted = connection
        .prepare_cached("SELECT 1 FROM holdall_aborted WHERE batch = ?1")
        .and_then(|mut find| find.exists([id.as_bytes()]))
        .map_err(failed)?;
    if aborted {
        return Err(Error::expired(
            "the batch was given up by `resolve` before it arrived; make a new one",
        )
        .for_batch(id));
    }
    Ok(())
}

/// Adds a batch.
pub(super) fn append(
    connection: &Connection,
    id: Version,
    at: Timestamp,
    changes: &[Logged],
) -> Result<()> {
    let changes = encode(changes);
    let added = connection
        .prepare_cached(
            "INSERT INTO holdall_log (batch, at, total, changes) VALUES (?1, ?2, \
             ?3 + coalesce((SELECT total FROM holdall_log ORDER BY seq DESC LIMIT 1), 0), ?4)",
        )
        .and_then(|mut insert| {
            insert.execute((id.as_bytes(), at.as_micros(), changes.len(), &changes))
        });
    match added {
        Ok(_) => Ok(()),
        Err(error) if super::error::is_unique_violation(&error) => Err(Error::conflict(
            "a batch with this id was committed already; an id is used once",
        )
        .for_batch(id)),
        Err(error) => Err(failed(error)),
    }
}

/// What became of a batch; gives it up if it has not arrived.
pub(super) fn resolve(connection: &Connection, id: Version, now: Timestamp) -> Result<Outcome> {
    if let Some(commit) = commit(connection, id).map_err(ReadError::into_error)? {
        return Ok(Outcome::Committed(Some(commit)));
    }
    give_up(connection, id, now).map_err(failed)?
}

fn commit(connection: &Connection, id: Version) -> Result<Option<Commit>, ReadError> {
    let mut find =
        connection.prepare_cached("SELECT at, changes FROM holdall_log WHERE batch = ?1")?;
    let mut rows = find.query([id.as_bytes()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    let at = Timestamp::from_micros(row.get(0)?);
    let changes = decode(row.get_ref(1)?.as_blob().map_err(shape)?)?;
    let puts = changes
        .iter()
        .filter(|change| change.kind == ChangeKind::Put);
    Ok(Some(Commit {
        at,
        created: puts.map(|change| change.created).collect(),
    }))
}

fn give_up(
    connection: &Connection,
    id: Version,
    now: Timestamp,
) -> rusqlite::Result<Result<Outcome>> {
    if connection
        .prepare_cached("SELECT 1 FROM holdall_aborted WHERE batch = ?1")?
        .exists([id.as_bytes()])?
    {
        return Ok(Ok(Outcome::Aborted));
    }
    let horizon =
        meta(connection, HORIZON)?.map_or(Timestamp::from_micros(i64::MIN), Timestamp::from_micros);
    let Some(time) = id
        .time()
        .filter(|time| *time > horizon && id.check_batch_id(now).is_ok())
    else {
        return Ok(Ok(Outcome::Unknown));
    };
    let aborted: i64 =
        connection.query_row("SELECT count(*) FROM holdall_aborted", [], |row| row.get(0))?;
    if aborted >= MAX_ABORTED {
        return Ok(Err(Error::unavailable(format!(
            "{MAX_ABORTED} batches were given up within a day, and no more can be remembered"
        ))));
    }
    let until = time.after(BATCH_ID_LIFE).as_micros();
    connection.execute(
        "INSERT INTO holdall_aborted VALUES (?1, ?2)",
        (id.as_bytes(), until),
    )?;
    Ok(Ok(Outcome::Aborted))
}

/// For each change: 1 byte of kind (1 put, 2 delete, 3 dropped), 4 of the
/// collection's id, 2 of the key's length, the key, 1 byte that is 1 if the
/// previous version follows, then for a put 8 of the time of creation. Numbers
/// are big-endian.
fn encode(changes: &[Logged]) -> Vec<u8> {
    let mut out = Vec::with_capacity(changes.len() * 48);
    for change in changes {
        out.push(match change.kind {
            ChangeKind::Put => 1,
            ChangeKind::Delete => 2,
            ChangeKind::Dropped => 3,
        });
        out.extend_from_slice(
            &u32::try_from(change.collection)
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        // A key has at most 1,024 bytes.
        out.extend_from_slice(
            &u16::try_from(change.key.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        out.extend_from_slice(change.key.as_bytes());
        match &change.previous {
            Some(previous) => {
                out.push(1);
                out.extend_from_slice(previous.as_bytes());
            }
            None => out.push(0),
        }
        if change.kind == ChangeKind::Put {
            out.extend_from_slice(&change.created.as_micros().to_be_bytes());
        }
    }
    out
}

fn decode(mut rest: &[u8]) -> Result<Vec<Logged>> {
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let change =
            decode_one(&mut rest).ok_or_else(|| Error::corrupt("the log of changes is damaged"))?;
        changes.push(change);
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
    let collection = u32::from_be_bytes(take(rest)?).into();
    let len = u16::from_be_bytes(take(rest)?);
    let (key, tail) = rest.split_at_checked(len.into())?;
    let key = std::str::from_utf8(key).ok()?.to_owned();
    *rest = tail;
    let previous = match take::<1>(rest)? {
        [0] => None,
        _ => Some(Version::from_bytes(take(rest)?)),
    };
    let created = match kind {
        ChangeKind::Put => i64::from_be_bytes(take(rest)?),
        ChangeKind::Delete | ChangeKind::Dropped => 0,
    };
    Some(Logged {
        collection,
        key,
        kind,
        previous,
        created: Timestamp::from_micros(created),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// Where a watcher is: behind so many changes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    seq: i64,
    changes: u32,
}

impl Place {
    /// The place that a watcher starts from.
    pub(super) fn of(
        connection: &Connection,
        identity: Version,
        from: &WatchFrom,
    ) -> Result<Self, ReadError> {
        let newest: Option<i64> = connection
            .prepare_cached("SELECT max(seq) FROM holdall_log")?
            .query_row([], |row| row.get(0))?;
        let newest = newest.unwrap_or(0);
        let WatchFrom::After(cursor) = from else {
            return Ok(Self {
                seq: newest,
                changes: u32::MAX,
            });
        };
        let foreign =
            || Error::invalid("the watch cursor is not one of this store; watch from now");
        let mut rest = cursor.as_bytes();
        let parts = take::<16>(&mut rest)
            .zip(take::<8>(&mut rest))
            .zip(take::<4>(&mut rest));
        let Some(((owner, seq), changes)) = parts.filter(|_| rest.is_empty()) else {
            return Err(foreign().into());
        };
        let place = Self {
            seq: i64::from_be_bytes(seq),
            changes: u32::from_be_bytes(changes),
        };
        if owner != *identity.as_bytes() || place.seq > newest || place.seq < 0 {
            return Err(foreign().into());
        }
        place.check_kept(connection)?;
        Ok(place)
    }

    fn check_kept(self, connection: &Connection) -> Result<(), ReadError> {
        let trimmed = meta(connection, TRIMMED)?.unwrap_or(0);
        // Behind the last change that was removed, nothing is missing.
        if self.seq < trimmed || (self.seq == trimmed && self.seq > 0 && self.changes != u32::MAX) {
            return Err(Error::expired(
                "the changes behind this watch cursor are no longer kept; scan, and watch from now",
            )
            .into());
        }
        Ok(())
    }
}

/// The names of collections by their ids, as far as they were needed.
#[derive(Clone, Debug, Default)]
pub(super) struct Names(Arc<Mutex<HashMap<i64, CollectionName>>>);

impl Names {
    fn of(&self, connection: &Connection, id: i64) -> Result<CollectionName, ReadError> {
        if let Some(name) = self.0.lock().get(&id) {
            return Ok(name.clone());
        }
        let name: Option<String> = connection
            .prepare_cached("SELECT name FROM holdall_collections WHERE id = ?1")?
            .query_row([id], |row| row.get(0))
            .optional()?;
        let name =
            name.ok_or_else(|| Error::corrupt("the log of changes names an unknown collection"))?;
        let name = CollectionName::new(name)?;
        self.0.lock().insert(id, name.clone());
        Ok(name)
    }
}

/// A page of changes behind a place, and the place behind it.
pub(super) fn after(
    connection: &Connection,
    identity: Version,
    names: &Names,
    mut place: Place,
    wanted: Option<&CollectionName>,
) -> Result<(Vec<Change>, Place), ReadError> {
    place.check_kept(connection)?;
    let mut page = Vec::new();
    let mut read = connection.prepare_cached(
        "SELECT seq, batch, changes FROM holdall_log WHERE seq >= ?1 ORDER BY seq LIMIT ?2",
    )?;
    let mut rows = read.query((place.seq, PAGE))?;
    while let Some(row) = rows.next()? {
        let seq = row.get(0)?;
        let batch = version(row.get_ref(1)?)?;
        let seen = if seq == place.seq { place.changes } else { 0 };
        let changes = decode(row.get_ref(2)?.as_blob().map_err(shape)?)?;
        for (number, change) in (1..)
            .zip(changes)
            .skip(usize::try_from(seen).unwrap_or(usize::MAX))
        {
            let collection = names.of(connection, change.collection)?;
            if wanted.is_none_or(|wanted| *wanted == collection) {
                page.push(told(
                    identity,
                    Place {
                        seq,
                        changes: number,
                    },
                    collection,
                    batch,
                    change,
                )?);
            }
        }
        place = Place {
            seq,
            changes: u32::MAX,
        };
    }
    Ok((page, place))
}

fn told(
    identity: Version,
    place: Place,
    collection: CollectionName,
    batch: Version,
    change: Logged,
) -> Result<Change> {
    let mut cursor = identity.as_bytes().to_vec();
    cursor.extend_from_slice(&place.seq.to_be_bytes());
    cursor.extend_from_slice(&place.changes.to_be_bytes());
    Ok(Change {
        cursor: WatchCursor::from_bytes(cursor),
        collection,
        key: if change.kind == ChangeKind::Dropped {
            None
        } else {
            Some(Key::new(change.key)?)
        },
        kind: change.kind,
        version: (change.kind == ChangeKind::Put).then_some(batch),
        previous: change.previous,
        batch,
    })
}
