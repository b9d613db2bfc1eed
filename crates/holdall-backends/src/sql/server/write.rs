//! Writes a batch, in one transaction.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use hashbrown::{HashMap, HashSet};
use holdall_core::{
    Action, BATCH_ID_LIFE, Batch, CollectionName, Condition, Digest, Doc, Error, Index, NewBody,
    Operation, Put, Result, Retry, Staged, Timestamp, Version, Written, sort_key,
};

use super::apply::Application;
use super::driver::{Answer, Connection, Driver, Failure, Statement, rows};
use super::layout::Table;
use super::spelling::Holding;
use super::{Shared, bodies, damaged, log};
use crate::sql::plan::kept;
use crate::sql::{Kind, Value};

/// How often a batch is tried again that had to give way to others.
const ATTEMPTS: u32 = 20;

/// How often a batch is begun on another connection, because one broke.
const RECONNECTS: u32 = 3;

/// The first wait before that; it doubles, up to a hundred times as much.
const PAUSE: Duration = Duration::from_millis(2);

/// Writes a batch.
pub(super) async fn write<D: Driver>(
    shared: &Arc<Shared<D>>,
    batch: Batch,
    id: Version,
) -> Result<Written> {
    id.check_batch_id(shared.options.env.now())?;
    let batch = Prepared::new(batch, id);
    let mut connection = shared.connect().await?;
    let mut how = How {
        expects_none: batch.may_expect_none(),
        clears_first: false,
    };
    let mut attempt = 0;
    loop {
        attempt += 1;
        let mut tables = Tables::default();
        let written = match tables.open(shared, &mut connection, &batch).await {
            Ok(()) => attempt_once(shared, &mut connection, &batch, &tables, how).await,
            Err(failure) => Err(failure),
        };
        let error = match written {
            Ok(written) => {
                shared.tell();
                return Ok(written);
            }
            Err(Failure::Taken { index, error }) => {
                if shared.spelling().is_log_index(&index) {
                    return Err(log::used(shared, &mut connection, id).await);
                }
                match tables.with_primary_key(shared, &index) {
                    // A key that was expected to be free, or was taken meanwhile.
                    Some(table) => {
                        table.meets.store(true, Ordering::Relaxed);
                        how.expects_none = false;
                    }
                    // Perhaps by an item that the batch itself overwrites.
                    None if !how.clears_first => {
                        how = How {
                            expects_none: false,
                            clears_first: true,
                        };
                    }
                    None => {
                        let taken = taken(shared, &mut connection, &batch, &tables, &index).await;
                        return Err(taken.unwrap_or(error));
                    }
                }
                error
            }
            Err(Failure::Outdated(error)) => {
                tables.forget(shared);
                error
            }
            Err(Failure::GaveWay(error)) => {
                pause(shared, attempt).await;
                error
            }
            // Nothing was committed; the next connection may work.
            Err(Failure::Broken(error)) if attempt < RECONNECTS => {
                connection = shared.connect().await?;
                error
            }
            Err(Failure::Broken(error)) => return Err(error),
            Err(Failure::Lost(error)) => return Err(error.with_retry(Retry::Unknown)),
            Err(Failure::Other(error)) => return Err(error),
        };
        if attempt >= ATTEMPTS {
            return Err(error);
        }
    }
}

async fn pause<D: Driver>(shared: &Shared<D>, attempt: u32) {
    let most = PAUSE * 2u32.pow(attempt.min(7)).min(100);
    let micros = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
    let wait = shared.options.env.below(micros.max(1));
    tokio::time::sleep(Duration::from_micros(wait)).await;
}

/// How a batch is tried.
#[derive(Clone, Copy)]
struct How {
    /// Inserts at once, and fails if a key is taken: one round trip.
    expects_none: bool,
    /// Removes all that is overwritten before anything is put, as two items may
    /// swap values of a unique index.
    clears_first: bool,
}

/// A batch, with what can be computed before it has a connection.
pub(super) struct Prepared {
    pub(super) batch: Batch,
    pub(super) id: Version,
    /// Size and digest of the body of each operation.
    pub(super) measured: Vec<(u64, Option<Digest>)>,
}

impl Prepared {
    fn new(batch: Batch, id: Version) -> Self {
        let measure = |operation: &Operation| match &operation.action {
            Action::Put(put) => put.body.measure(),
            Action::Delete | Action::Check => (0, None),
        };
        let measured = batch.operations().iter().map(measure).collect();
        Self {
            batch,
            id,
            measured,
        }
    }

    /// Whether it only puts what may well be new.
    fn may_expect_none(&self) -> bool {
        self.batch.operations().iter().all(|operation| {
            matches!(operation.condition, Condition::Any | Condition::Absent)
                && matches!(&operation.action, Action::Put(put) if !matches!(put.body, NewBody::Staged(_)))
        })
    }

    fn staged(&self) -> impl Iterator<Item = (&Operation, &Staged)> {
        let operations = self.batch.operations().iter();
        operations.filter_map(|operation| Some((operation, staged_of(operation)?)))
    }
}

fn staged_of(operation: &Operation) -> Option<&Staged> {
    match &operation.action {
        Action::Put(Put {
            body: NewBody::Staged(staged),
            ..
        }) => Some(staged),
        _ => None,
    }
}

/// The tables that a batch touches, by the ids that also give the order in which
/// they are locked.
#[derive(Default)]
pub(super) struct Tables(HashMap<CollectionName, Option<Arc<Table>>>);

impl Tables {
    async fn open<D: Driver>(
        &mut self,
        shared: &Shared<D>,
        connection: &mut D::Connection,
        batch: &Prepared,
    ) -> Result<(), Failure> {
        for operation in batch.batch.operations() {
            // What is not there cannot be deleted; all else needs a row to hold.
            let needed = !matches!(
                (&operation.action, operation.condition),
                (Action::Delete | Action::Check, Condition::Any)
            );
            let collection = &operation.collection;
            match self.0.get(collection) {
                Some(Some(_)) => continue,
                Some(None) if !needed => continue,
                _ => {}
            }
            let table = match needed {
                true => Some(shared.ensure_table(connection, collection).await?),
                false => match shared.catalogue.known(collection) {
                    Some(table) => Some(table),
                    None => shared.look_up(connection, collection).await?,
                },
            };
            self.0.insert(collection.clone(), table);
        }
        Ok(())
    }

    pub(super) fn of(&self, operation: &Operation) -> Option<&Arc<Table>> {
        self.0.get(&operation.collection)?.as_ref()
    }

    pub(super) fn all(&self) -> Vec<&Arc<Table>> {
        let mut all: Vec<_> = self.0.values().flatten().collect();
        all.sort_unstable_by_key(|table| table.id);
        all
    }

    fn with_primary_key<D: Driver>(&self, shared: &Shared<D>, index: &str) -> Option<&Arc<Table>> {
        let spelling = shared.spelling();
        self.all()
            .into_iter()
            .find(|table| spelling.is_primary_key(table, index))
    }

    fn forget<D: Driver>(&self, shared: &Shared<D>) {
        self.0
            .keys()
            .for_each(|collection| shared.catalogue.forget(collection));
    }
}

/// What is there before an operation.
#[derive(Clone, Copy)]
pub(super) struct Found {
    pub(super) version: Version,
    pub(super) created: Timestamp,
    pub(super) chunks: Option<Version>,
}

pub(super) type AllFound = HashMap<(i64, String), Found>;

async fn attempt_once<D: Driver>(
    shared: &Arc<Shared<D>>,
    connection: &mut D::Connection,
    batch: &Prepared,
    tables: &Tables,
    how: How,
) -> Result<Written, Failure> {
    let now = shared.options.env.now();
    let met = || {
        tables
            .all()
            .iter()
            .any(|table| table.meets.load(Ordering::Relaxed))
    };
    let mut statements = vec![Statement::begin()];
    let mut found = AllFound::new();
    if !how.expects_none || met() {
        statements.push(log::given_up(shared, batch.id));
        let first = statements.len();
        statements.extend(
            tables
                .all()
                .into_iter()
                .filter_map(|table| lock(shared, tables, table, batch)),
        );
        let locks = first..statements.len();
        let adopt = |(operation, staged): (&Operation, &Staged)| {
            let table = tables.of(operation)?;
            Some(bodies::adopt(shared, table.id, staged, now))
        };
        statements.extend(batch.staged().filter_map(adopt));
        let answers = connection.run(std::mem::take(&mut statements)).await?;
        let checked = check(batch, tables, &answers, locks);
        found = match checked {
            Ok(found) => found,
            Err(error) => {
                connection.roll_back().await;
                return Err(error.into());
            }
        };
        note(&found, tables, batch);
    }
    let application = Application {
        shared,
        batch,
        tables,
        now,
        found,
        clears_first: how.clears_first,
    };
    let (rest, entries) = match application.statements() {
        Ok(made) => made,
        Err(error) => {
            connection.roll_back().await;
            return Err(error.into());
        }
    };
    statements.extend(rest);
    statements.push(Statement::commit());
    connection.run(statements).await?;
    Ok(Written {
        id: batch.id,
        entries,
    })
}

/// Remembers whether putting met anything, which says how to begin next time.
fn note(found: &AllFound, tables: &Tables, batch: &Prepared) {
    for operation in batch.batch.operations() {
        if let (Some(table), Action::Put(_)) = (tables.of(operation), &operation.action) {
            let there = found.contains_key(&(table.id, operation.key.as_str().to_owned()));
            table.meets.store(there, Ordering::Relaxed);
        }
    }
}

/// Locks and reads what is there of one table.
fn lock<D: Driver>(
    shared: &Shared<D>,
    tables: &Tables,
    table: &Arc<Table>,
    batch: &Prepared,
) -> Option<Statement> {
    let keys: Vec<Value> = batch
        .batch
        .operations()
        .iter()
        .filter(|operation| tables.of(operation).is_some_and(|of| of.id == table.id))
        .map(|operation| Value::Text(operation.key.as_str().to_owned()))
        .collect();
    if keys.is_empty() {
        return None;
    }
    let key = shared.spelling().key();
    let any = shared.spelling().any_of(key, Kind::Text, keys);
    let sql = format!(
        "SELECT {}, {key}, version, created, chunks FROM {} WHERE {} ORDER BY {key} FOR UPDATE",
        table.id, table.quoted, any.sql
    );
    Some(Statement::new(sql, any.values))
}

/// Reads what the first statements answered, and checks all conditions.
fn check(
    batch: &Prepared,
    tables: &Tables,
    answers: &[Answer],
    locks: Range<usize>,
) -> Result<AllFound> {
    if answers
        .iter()
        .take(locks.start)
        .any(|answer| !answer.rows.is_empty())
    {
        return Err(log::was_given_up());
    }
    let mut found = AllFound::new();
    let mut adopted = answers.iter().skip(locks.end);
    let locked = answers.get(locks).unwrap_or_default();
    for row in locked.iter().flat_map(|answer| &answer.rows) {
        let [
            Value::Int(table),
            Value::Text(key),
            Value::Version(version),
            Value::Time(created),
            chunks,
        ] = row.as_slice()
        else {
            return Err(damaged(row));
        };
        let chunks = match chunks {
            Value::Version(chunks) => Some(*chunks),
            _ => None,
        };
        let created = Timestamp::from_micros(*created);
        found.insert(
            (*table, key.clone()),
            Found {
                version: *version,
                created,
                chunks,
            },
        );
    }
    for operation in batch.batch.operations() {
        let current = tables
            .of(operation)
            .and_then(|table| found.get(&(table.id, operation.key.as_str().to_owned())));
        operation
            .condition
            .check(operation, current.map(|found| found.version))?;
        if staged_of(operation).is_some() && adopted.next().is_none_or(|body| body.written == 0) {
            return Err(bodies::gone(operation));
        }
    }
    Ok(found)
}

/// The error of a unique index, naming both items, as far as they can be told.
async fn taken<D: Driver>(
    shared: &Shared<D>,
    connection: &mut D::Connection,
    batch: &Prepared,
    tables: &Tables,
    name: &str,
) -> Option<Error> {
    const MOST: usize = 1000;
    let (table, index) = tables
        .all()
        .into_iter()
        .find_map(|table| Some((table, table.index_of(name)?)))?;
    let here = |operation: &&Operation| tables.of(operation).is_some_and(|of| of.id == table.id);
    let mut wanted: HashMap<Vec<u8>, &Operation> = HashMap::new();
    let mut overwritten = HashSet::new();
    let mut first_values = Vec::new();
    for operation in batch.batch.operations().iter().filter(here) {
        if !matches!(operation.action, Action::Check) {
            overwritten.insert(operation.key.as_str());
        }
        let Action::Put(put) = &operation.action else {
            continue;
        };
        let Some(values) = index.unique_values(&put.doc).ok().flatten() else {
            continue;
        };
        if let Some(other) = wanted.insert(values, operation) {
            let taken = index.taken(operation.key.as_str(), other.key.as_str());
            return Some(taken.at(&operation.collection, Some(&operation.key)));
        }
        first_values.extend(first_value(index, &put.doc).filter(|_| first_values.len() < MOST));
    }
    let column = table.column(index.paths.first()?, Holding::SortKey)?;
    let any = shared.spelling().any_of(&column, Kind::Bytes, first_values);
    let sql = format!(
        "SELECT {}, doc FROM {} WHERE {} LIMIT {MOST}",
        shared.spelling().key(),
        table.quoted,
        any.sql
    );
    for row in rows(connection, Statement::new(sql, any.values))
        .await
        .ok()?
    {
        let [Value::Text(owner), Value::Doc(doc)] = row.as_slice() else {
            return None;
        };
        let values = index.unique_values(&Doc::from_stored(doc.clone())).ok()?;
        if let Some(operation) = values.and_then(|values| wanted.get(&values))
            && !overwritten.contains(owner.as_str())
        {
            let taken = index.taken(operation.key.as_str(), owner);
            return Some(taken.at(&operation.collection, Some(&operation.key)));
        }
    }
    let any_put = batch.batch.operations().iter().find(here)?;
    Some(
        Error::conflict(format!(
            "the values at {index} must be unique, and are taken by another item"
        ))
        .at(&any_put.collection, None),
    )
}

fn first_value(index: &Index, doc: &Doc) -> Option<Value> {
    let value = doc.value().ok()?;
    let found = index.paths.first()?.in_doc(&value)?;
    Some(Value::Bytes(kept(sort_key(found))))
}

/// Until when the log keeps a batch: until its id is refused for its age.
pub(super) fn until(id: Version, now: Timestamp) -> Timestamp {
    let time = id.time().map_or(now, |time| time.max(now));
    time.after(BATCH_ID_LIFE)
}
