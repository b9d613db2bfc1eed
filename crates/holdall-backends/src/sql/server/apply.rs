//! What a batch that holds does, as statements.

use hashbrown::HashMap;
use holdall_core::{
    Action, ChangeKind, Condition, Doc, Entry, Key, NewBody, Path, Put, Result, Timestamp, Version,
    sort_key, words_of,
};

use super::driver::{Driver, Row, Statement};
use super::layout::Table;
use super::spelling::Holding;
use super::write::{AllFound, Found, Prepared, Tables};
use super::{Shared, bodies, log};
use crate::sql::changes::Logged;
use crate::sql::plan::kept;
use crate::sql::{Kind, Value};

/// What is done once the conditions are known to hold.
pub(super) struct Application<'a, D> {
    pub(super) shared: &'a Shared<D>,
    pub(super) batch: &'a Prepared,
    pub(super) tables: &'a Tables,
    pub(super) now: Timestamp,
    pub(super) found: AllFound,
    pub(super) clears_first: bool,
}

/// What is done to one table.
#[derive(Default)]
struct Changes {
    deletes: Vec<Value>,
    updates: Vec<Row>,
    inserts: Vec<Row>,
    /// Keys whose rows only hold them until the commit.
    held: Vec<Value>,
}

impl<D: Driver> Application<'_, D> {
    fn found(&self, table: &Table, key: &Key) -> Option<Found> {
        self.found
            .get(&(table.id, key.as_str().to_owned()))
            .copied()
    }

    pub(super) fn statements(&self) -> Result<(Vec<Statement>, Vec<Option<Entry>>)> {
        let mut changes: HashMap<i64, Changes> = HashMap::new();
        let (mut logged, mut entries, mut released) = (Vec::new(), Vec::new(), Vec::new());
        let mut large = Vec::new();
        let measured = self.batch.measured.iter().copied();
        for (operation, (size, digest)) in self.batch.batch.operations().iter().zip(measured) {
            let Some(table) = self.tables.of(operation) else {
                entries.push(None);
                continue;
            };
            let found = self.found(table, &operation.key);
            let change = changes.entry(table.id).or_default();
            let key = || Value::Text(operation.key.as_str().to_owned());
            let mut log = |kind, created| {
                logged.push(Logged {
                    collection: table.id,
                    key: operation.key.as_str().to_owned(),
                    kind,
                    previous: found.map(|found| found.version),
                    created,
                });
            };
            entries.push(match &operation.action {
                Action::Put(put) => {
                    let entry = Entry {
                        version: self.batch.id,
                        created: found.map_or(self.now, |found| found.created),
                        modified: self.now,
                        size,
                        digest,
                    };
                    let chunks = bodies::keep(self.shared, table.id, put, &entry, &mut large);
                    let row = row(table, &operation.key, put, &entry, chunks)?;
                    match found {
                        Some(_) if self.clears_first => {
                            change.deletes.push(key());
                            change.inserts.push(row);
                        }
                        Some(_) => change.updates.push(row),
                        None => change.inserts.push(row),
                    }
                    log(ChangeKind::Put, entry.created);
                    Some(entry)
                }
                Action::Delete | Action::Check if found.is_none() => {
                    if operation.condition == Condition::Absent {
                        change.held.push(key());
                        change.inserts.push(holding(table, &operation.key)?);
                    }
                    None
                }
                Action::Delete => {
                    change.deletes.push(key());
                    log(ChangeKind::Delete, self.now);
                    None
                }
                Action::Check => None,
            });
            if !matches!(operation.action, Action::Check)
                && let Some(chunks) = found.and_then(|found| found.chunks)
            {
                released.push(Value::Version(chunks));
            }
        }
        let mut statements = large;
        for table in self.tables.all() {
            if let Some(change) = changes.remove(&table.id) {
                self.apply(table, change, &mut statements);
            }
        }
        if !released.is_empty() {
            statements.push(bodies::release(self.shared, released, self.now));
        }
        statements.push(self.log(&logged));
        Ok((statements, entries))
    }

    fn apply(&self, table: &Table, mut change: Changes, statements: &mut Vec<Statement>) {
        let spelling = self.shared.spelling();
        let delete = |keys: Vec<Value>| {
            let any = spelling.any_of(spelling.key(), Kind::Text, keys);
            let sql = format!("DELETE FROM {} WHERE {}", table.quoted, any.sql);
            Statement::new(sql, any.values)
        };
        if !change.deletes.is_empty() {
            statements.push(delete(change.deletes));
        }
        if !change.updates.is_empty() {
            statements.extend(spelling.update(table, change.updates));
        }
        if !change.inserts.is_empty() {
            // All writers insert in this order, so none waits for another in a
            // circle.
            change.inserts.sort_by(|a, b| key_of(a).cmp(key_of(b)));
            statements.extend(spelling.insert(table, change.inserts));
        }
        if !change.held.is_empty() {
            statements.push(delete(change.held));
        }
    }

    /// Adds the batch to the log. It fails if a table has another layout than
    /// was gone by: NULL is no list of changes.
    fn log(&self, logged: &[Logged]) -> Statement {
        let tables = self.tables.all();
        let generation: i64 = tables.iter().map(|table| table.generation).sum();
        let ids: Vec<Value> = tables.iter().map(|table| Value::Int(table.id)).collect();
        log::append(
            self.shared,
            self.batch.id,
            self.now,
            logged,
            (ids, generation),
        )
    }
}

fn key_of(row: &Row) -> &str {
    match row.first() {
        Some(Value::Text(key)) => key,
        _ => "",
    }
}

/// The row of an item.
fn row(table: &Table, key: &Key, put: &Put, entry: &Entry, chunks: Option<Version>) -> Result<Row> {
    let body = match (&put.body, chunks) {
        (NewBody::Bytes(bytes), None) => Value::Bytes(bytes.to_vec()),
        _ => Value::Null,
    };
    let attrs = match put.attrs.is_empty() {
        true => Value::Null,
        false => Value::Bytes(put.attrs.encode()),
    };
    let mut row = vec![
        Value::Text(key.as_str().to_owned()),
        Value::Version(entry.version),
        Value::Time(entry.created.as_micros()),
        Value::Time(entry.modified.as_micros()),
        Value::Int(i64::try_from(entry.size).unwrap_or(i64::MAX)),
        entry.digest.map_or(Value::Null, |digest| {
            Value::Bytes(digest.as_bytes().to_vec())
        }),
        chunks.map_or(Value::Null, Value::Version),
        attrs,
        Value::Doc(put.doc.as_bytes().clone()),
        body,
    ];
    row.extend(indexed(table, &put.doc)?);
    Ok(row)
}

/// What the columns of a table's indexes hold of a doc.
pub(super) fn indexed(table: &Table, doc: &Doc) -> Result<Vec<Value>> {
    if table.layout.columns.is_empty() {
        return Ok(Vec::new());
    }
    let value = doc.value()?;
    let hold = |path: &Path, holding: Holding| {
        let Some(found) = path.in_doc(&value) else {
            return Value::Null;
        };
        match holding {
            Holding::SortKey => Value::Bytes(kept(sort_key(found))),
            Holding::Words => {
                let mut words = words_of(found);
                words.sort_unstable();
                words.dedup();
                Value::Text(words.join(" "))
            }
        }
    };
    Ok(table
        .layout
        .columns
        .iter()
        .map(|column| hold(&column.path, column.holding))
        .collect())
}

/// A row that holds a key which is to be absent. Nobody sees it.
fn holding(table: &Table, key: &Key) -> Result<Row> {
    let entry = Entry {
        version: Version::from_bytes([0; 16]),
        created: Timestamp::from_micros(0),
        modified: Timestamp::from_micros(0),
        size: 0,
        digest: None,
    };
    row(table, key, &Put::doc(Doc::empty()), &entry, None)
}
