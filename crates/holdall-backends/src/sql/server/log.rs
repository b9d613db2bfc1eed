//! The log of committed batches: for watchers, and to resolve lost answers.
//!
//! Writers add batches without a number, as each commits when it likes. Who reads
//! the log first numbers what was committed since, one at a time, so that what has
//! a number never gets a smaller one before it: nothing is skipped, and a
//! transaction that takes long is told when it is done, without keeping others
//! waiting.

use std::sync::Arc;

use holdall_core::{
    Change, CollectionName, Error, Outcome, Result, Timestamp, Version, WatchCursor,
};

use super::driver::{Connection, Driver, Failure, Statement, rows};
use super::{Shared, damaged, write};
use crate::sql::changes::{self, Logged, Place, decode, encode, told};
use crate::sql::{Kind, Value};

/// Batches that a watcher takes at once.
const PAGE: i64 = 64;

/// Batches that are numbered at once.
const NUMBERED: i64 = 1000;

/// Adds a batch, unless the tables of these ids have another sum of generations.
pub(super) fn append<D: Driver>(
    shared: &Shared<D>,
    id: Version,
    now: Timestamp,
    logged: &[Logged],
    (tables, generation): (Vec<Value>, i64),
) -> Statement {
    let any = shared.spelling().any_of("id", Kind::Int, tables);
    let sql = format!(
        "INSERT INTO {} (batch, at, until, changes) VALUES (?, ?, ?, \
         CASE WHEN (SELECT coalesce(sum(generation), 0) FROM {} WHERE {}{}) = ? THEN ? END)",
        shared.own("holdall_log"),
        shared.own("holdall_collections"),
        any.sql,
        shared.spelling().shared_lock()
    );
    let mut values = row(id, now).to_vec();
    values.extend(any.values);
    // A batch without changes is still one that was committed.
    let mut changes = encode(logged);
    if changes.is_empty() {
        changes = NOTHING.to_vec();
    }
    values.extend([Value::Int(generation), Value::Bytes(changes)]);
    Statement::new(sql, values)
}

/// The changes of a batch that changed nothing, as none at all says that it was
/// given up.
const NOTHING: &[u8] = &[0];

fn changes_of(bytes: &[u8]) -> Result<Vec<Logged>> {
    if bytes == NOTHING {
        return Ok(Vec::new());
    }
    decode(bytes)
}

fn row(id: Version, now: Timestamp) -> [Value; 3] {
    [
        Value::Version(id),
        Value::Time(now.as_micros()),
        Value::Time(write::until(id, now).as_micros()),
    ]
}

async fn find<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
    id: Version,
) -> Result<Option<Outcome>, Failure> {
    let sql = format!(
        "SELECT at, changes FROM {} WHERE batch = ?",
        shared.own("holdall_log")
    );
    let found = rows(connection, Statement::new(sql, [Value::Version(id)])).await?;
    let Some(row) = found.first() else {
        return Ok(None);
    };
    let [Value::Time(at), Value::Bytes(changes)] = row.as_slice() else {
        return Err(damaged(row).into());
    };
    if changes.is_empty() {
        return Ok(Some(Outcome::Aborted));
    }
    let commit = changes::commit(Timestamp::from_micros(*at), &changes_of(changes)?);
    Ok(Some(Outcome::Committed(Some(commit))))
}

/// A statement that answers a row if a batch was given up.
pub(super) fn given_up<D: Driver>(shared: &Shared<D>, id: Version) -> Statement {
    let sql = format!(
        "SELECT id FROM {} WHERE batch = ? AND changes = ?",
        shared.own("holdall_log")
    );
    Statement::new(sql, [Value::Version(id), Value::Bytes(Vec::new())])
}

pub(super) fn was_given_up() -> Error {
    Error::expired("the batch was given up by `resolve` before it arrived; make a new one")
}

/// The error of a batch whose id stands in the log.
pub(super) async fn used<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
    id: Version,
) -> Error {
    match find(shared, connection, id).await {
        Ok(Some(Outcome::Aborted)) => was_given_up(),
        Ok(_) => Error::conflict("a batch with this id was committed already; an id is used once"),
        Err(failure) => failure.into_error(),
    }
}

/// What became of a batch; gives it up if it has not arrived. One that is being
/// written is waited for.
pub(super) async fn resolve<D: Driver>(shared: &Shared<D>, id: Version) -> Result<Outcome> {
    let mut connection = shared.connect().await?;
    let found = find(shared, &mut connection, id).await;
    if let Some(outcome) = found.map_err(Failure::into_error)? {
        return Ok(outcome);
    }
    let now = shared.options.env.now();
    if id.check_batch_id(now).is_err() {
        return Ok(Outcome::Unknown);
    }
    let sql = format!(
        "INSERT INTO {} (batch, at, until, changes) VALUES (?, ?, ?, ?)",
        shared.own("holdall_log")
    );
    let values = row(id, now).into_iter().chain([Value::Bytes(Vec::new())]);
    match connection.run(vec![Statement::new(sql, values)]).await {
        Ok(_) => Ok(Outcome::Aborted),
        Err(Failure::Taken { .. }) => {
            let found = find(shared, &mut connection, id).await;
            Ok(found
                .map_err(Failure::into_error)?
                .unwrap_or(Outcome::Unknown))
        }
        Err(failure) => Err(failure.into_error()),
    }
}

/// A number of `holdall_meta`.
pub(super) fn meta<D: Driver>(shared: &Shared<D>, name: &str, lock: &str) -> Statement {
    let sql = format!(
        "SELECT number FROM {} WHERE name = ?{lock}",
        shared.own("holdall_meta")
    );
    Statement::new(sql, [Value::Text(name.to_owned())])
}

pub(super) fn set_meta<D: Driver>(shared: &Shared<D>, name: &str, number: i64) -> Statement {
    let sql = format!(
        "UPDATE {} SET number = ? WHERE name = ?",
        shared.own("holdall_meta")
    );
    Statement::new(sql, [Value::Int(number), Value::Text(name.to_owned())])
}

/// A statement that answers a row if there are batches without a number.
pub(super) fn waiting<D: Driver>(shared: &Shared<D>) -> Statement {
    let sql = format!(
        "SELECT id FROM {} WHERE seq IS NULL AND changes <> ? LIMIT 1",
        shared.own("holdall_log")
    );
    Statement::new(sql, [Value::Bytes(Vec::new())])
}

/// Numbers all batches that are committed, and answers the greatest number.
pub(super) async fn number<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
) -> Result<i64, Failure> {
    loop {
        let answers = connection
            .run(vec![meta(shared, "numbered", ""), waiting(shared)])
            .await?;
        let mut answers = answers.into_iter();
        let numbered = number_of(
            answers
                .next()
                .and_then(|answer| answer.rows.into_iter().next()),
        )?;
        if answers.next().is_none_or(|answer| answer.rows.is_empty()) {
            return Ok(numbered);
        }
        let lock = vec![Statement::begin(), meta(shared, "numbered", " FOR UPDATE")];
        let answers = connection.run(lock).await?;
        let last = number_of(
            answers
                .into_iter()
                .nth(1)
                .and_then(|answer| answer.rows.into_iter().next()),
        )?;
        let statement = shared.spelling().number_log(last, NUMBERED);
        let answers = connection.run(vec![statement]).await?;
        let count: u64 = answers.iter().map(|answer| answer.written).sum();
        let last = last.saturating_add(i64::try_from(count).unwrap_or(0));
        let end = vec![set_meta(shared, "numbered", last), Statement::commit()];
        connection.run(end).await?;
    }
}

fn number_of(row: Option<super::Row>) -> Result<i64> {
    match row.as_deref() {
        Some([Value::Int(number)]) => Ok(*number),
        _ => Err(Error::corrupt(
            "a row of holdall_meta is missing; was it changed by another program?",
        )),
    }
}

/// The place that a watcher starts from: that of a cursor, or behind all that is
/// committed.
pub(super) async fn place<D: Driver>(
    shared: &Shared<D>,
    cursor: Option<&WatchCursor>,
) -> Result<Place> {
    let mut connection = shared.connect().await?;
    let newest = number(shared, &mut connection)
        .await
        .map_err(Failure::into_error)?;
    let Some(cursor) = cursor else {
        return Ok(Place::behind(newest));
    };
    let place = Place::of(cursor, shared.identity, newest)?;
    let trimmed = rows(&mut connection, meta(shared, "trimmed", ""))
        .await
        .map_err(Failure::into_error)?;
    place.check_kept(number_of(trimmed.into_iter().next())?)?;
    Ok(place)
}

/// A page of changes behind a place, and the place behind it.
pub(super) async fn after<D: Driver>(
    shared: &Arc<Shared<D>>,
    mut place: Place,
    wanted: Option<&CollectionName>,
) -> Result<(Vec<Change>, Place)> {
    let mut connection = shared.connect().await?;
    number(shared, &mut connection)
        .await
        .map_err(Failure::into_error)?;
    let sql = format!(
        "SELECT seq, batch, changes FROM {} WHERE seq >= ? ORDER BY seq LIMIT {PAGE}",
        shared.own("holdall_log")
    );
    let read = vec![
        Statement::new(sql, [Value::Int(place.seq)]),
        meta(shared, "trimmed", ""),
    ];
    let answers = connection.run(read).await.map_err(Failure::into_error)?;
    let mut answers = answers.into_iter();
    let batches = answers.next().unwrap_or_default().rows;
    // Read after the batches: what was removed before them shows.
    let trimmed = answers
        .next()
        .and_then(|answer| answer.rows.into_iter().next());
    place.check_kept(number_of(trimmed)?)?;
    let mut page = Vec::new();
    for row in batches {
        let [
            Value::Int(seq),
            Value::Version(batch),
            Value::Bytes(changes),
        ] = row.as_slice()
        else {
            return Err(damaged(&row));
        };
        let seen = if *seq == place.seq { place.changes } else { 0 };
        let rest = (1..)
            .zip(changes_of(changes)?)
            .skip(usize::try_from(seen).unwrap_or(usize::MAX));
        for (number, change) in rest {
            let collection = name_of(shared, &mut connection, change.collection).await?;
            if wanted.is_none_or(|wanted| *wanted == collection) {
                let place = Place {
                    seq: *seq,
                    changes: number,
                };
                page.push(told(shared.identity, place, collection, *batch, change)?);
            }
        }
        place = Place::behind(*seq);
    }
    Ok((page, place))
}

/// The name of the collection of an id.
async fn name_of<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
    id: i64,
) -> Result<CollectionName> {
    if let Some(name) = shared.bell.name(id) {
        return Ok(name);
    }
    let sql = format!(
        "SELECT name FROM {} WHERE id = ?",
        shared.own("holdall_collections")
    );
    let found = rows(connection, Statement::new(sql, [Value::Int(id)]))
        .await
        .map_err(Failure::into_error)?;
    match found.into_iter().next().as_deref() {
        Some([Value::Text(name)]) => {
            let name = CollectionName::new(name.clone())?;
            shared.bell.learn(id, &name);
            Ok(name)
        }
        _ => Err(Error::corrupt(
            "the log of changes names an unknown collection",
        )),
    }
}
