//! The log of committed batches: for watchers, and to resolve lost answers.

use std::sync::Arc;

use hashbrown::HashMap;
use holdall_core::{
    BATCH_ID_LIFE, Change, CollectionName, Commit, Error, Outcome, Result, Timestamp, Version,
    WatchFrom,
};
use parking_lot::Mutex;
use rusqlite::{Connection, OptionalExtension};

use super::error::failed;
use super::readers::ReadError;
use super::rows::{shape, version};
use super::schema::meta;
use crate::sql::changes::{self, Logged, Place, decode, encode, told};

/// The most ids that are kept as given up.
const MAX_ABORTED: i64 = 100_000;

/// Batches that a watcher takes at once.
const PAGE: u32 = 64;

/// Batches up to this `seq` have been removed.
pub(super) const TRIMMED: &str = "log_trimmed";

/// Batches with ids up to this time may have been removed.
pub(super) const HORIZON: &str = "log_horizon";

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
    Ok(Some(changes::commit(at, &changes)))
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

/// The place that a watcher starts from.
pub(super) fn place(
    connection: &Connection,
    identity: Version,
    from: &WatchFrom,
) -> Result<Place, ReadError> {
    let newest: Option<i64> = connection
        .prepare_cached("SELECT max(seq) FROM holdall_log")?
        .query_row([], |row| row.get(0))?;
    let newest = newest.unwrap_or(0);
    let WatchFrom::After(cursor) = from else {
        return Ok(Place::behind(newest));
    };
    let place = Place::of(cursor, identity, newest)?;
    check_kept(connection, place)?;
    Ok(place)
}

fn check_kept(connection: &Connection, place: Place) -> Result<(), ReadError> {
    Ok(place.check_kept(meta(connection, TRIMMED)?.unwrap_or(0))?)
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
    check_kept(connection, place)?;
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
        place = Place::behind(seq);
    }
    Ok((page, place))
}
