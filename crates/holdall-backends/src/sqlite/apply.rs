//! Applies a batch, in the transaction of the writer.

use std::sync::Arc;

use holdall_core::{
    Action, Batch, ChangeKind, Condition, Digest, Entry, Error, Key, NewBody, Operation, Put,
    Result, Timestamp, Version, Written,
};
use rusqlite::OptionalExtension;

use super::bodies::{self, Kept};
use super::catalogue::Table;
use super::error::{failed, is_unique_violation};
use super::indexes;
use super::log;
use super::writer::Session;
use crate::sql::changes::Logged;

/// A batch, with what can be computed before the writer has it.
pub(super) struct Prepared {
    pub(super) batch: Batch,
    pub(super) id: Version,
    /// Size and digest of the body of each operation.
    measured: Vec<(u64, Option<Digest>)>,
}

impl Prepared {
    pub(super) fn new(batch: Batch, id: Version) -> Self {
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
}

/// Applies a batch.
///
/// Rows are overwritten in place. Where that meets a unique index, the batch
/// starts over and removes all that it overwrites before it puts anything: an
/// index holds of the state after a batch, and two items may swap values in it.
pub(super) fn apply(session: &mut Session, prepared: &Prepared) -> Result<Written> {
    let now = session.env.now();
    log::admit(&session.connection, prepared.id, now)?;
    match (Application {
        session,
        prepared,
        now,
        clear_first: false,
        changes: Vec::new(),
    })
    .run()
    {
        Ok(written) => return Ok(written),
        Err(Stop::Failed(error)) => return Err(error),
        Err(Stop::Taken(..)) => {}
    }
    session.start_over().map_err(failed)?;
    match (Application {
        session,
        prepared,
        now,
        clear_first: true,
        changes: Vec::new(),
    })
    .run()
    {
        Ok(written) => Ok(written),
        Err(Stop::Failed(error)) => Err(error),
        Err(Stop::Taken(table, at, violation)) => {
            Err(taken(session, prepared, &table, at, &violation))
        }
    }
}

/// Why an application stops.
enum Stop {
    Failed(Error),
    /// The values of this operation are taken in a unique index of the table.
    Taken(Arc<Table>, usize, rusqlite::Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(failed(error))
    }
}

/// What is there before an operation.
#[derive(Clone, Copy)]
struct Found {
    version: Version,
    created: Timestamp,
    chunks: Option<i64>,
}

struct Application<'a> {
    session: &'a mut Session,
    prepared: &'a Prepared,
    now: Timestamp,
    /// Remove all that is overwritten before anything is put.
    clear_first: bool,
    changes: Vec<Logged>,
}

impl Application<'_> {
    fn run(mut self) -> Result<Written, Stop> {
        let operations = self.prepared.batch.operations();
        let cleared = match self.clear_first {
            true => operations
                .iter()
                .map(|operation| self.clear(operation))
                .collect::<Result<Vec<_>, Stop>>()?,
            false => Vec::new(),
        };
        let mut entries = Vec::with_capacity(operations.len());
        for (at, operation) in operations.iter().enumerate() {
            entries.push(match &operation.action {
                Action::Put(put) => {
                    Some(self.put(at, operation, put, cleared.get(at).copied().flatten())?)
                }
                Action::Delete => {
                    self.delete(operation, cleared.get(at).copied().flatten())?;
                    None
                }
                Action::Check => {
                    self.check(operation)?;
                    None
                }
            });
        }
        log::append(
            &self.session.connection,
            self.prepared.id,
            self.now,
            &self.changes,
        )?;
        Ok(Written {
            id: self.prepared.id,
            entries,
        })
    }

    /// Checks the condition, and removes the row of what is put or deleted.
    fn clear(&mut self, operation: &Operation) -> Result<Option<Found>, Stop> {
        let found = self.check(operation)?;
        if let (Some(_), Some(table)) = (found, self.session.table(&operation.collection)?)
            && !matches!(operation.action, Action::Check)
        {
            self.remove(&table, &operation.key)?;
        }
        Ok(found)
    }

    fn check(&mut self, operation: &Operation) -> Result<Option<Found>, Stop> {
        let found = match self.session.table(&operation.collection)? {
            Some(table) => self.find(&table, &operation.key)?,
            None => None,
        };
        operation
            .condition
            .check(operation, found.map(|found| found.version))?;
        Ok(found)
    }

    fn find(&self, table: &Table, key: &Key) -> Result<Option<Found>, Stop> {
        let found = self
            .session
            .connection
            .prepare_cached(&table.find)?
            .query_row([key.as_str()], |row| {
                Ok((row.get::<_, [u8; 16]>(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        Ok(found.map(|(version, created, chunks)| Found {
            version: Version::from_bytes(version),
            created: Timestamp::from_micros(created),
            chunks,
        }))
    }

    fn put(
        &mut self,
        at: usize,
        operation: &Operation,
        put: &Put,
        cleared: Option<Found>,
    ) -> Result<Entry, Stop> {
        let table = self.session.ensure_table(&operation.collection)?;
        let (size, digest) = self.prepared.measured.get(at).copied().unwrap_or_default();
        let kept = self.keep(&table, operation, put)?;
        let mut entry = Entry {
            version: self.prepared.id,
            created: self.now,
            modified: self.now,
            size,
            digest,
        };
        // Most puts meet nothing, so they try to insert before they look.
        let blind = matches!(operation.condition, Condition::Any | Condition::Absent);
        let mut found = cleared;
        let mut inserted = false;
        if self.clear_first {
            entry.created = cleared.map_or(self.now, |found| found.created);
            inserted = self.write_row(at, &table, &table.insert, operation, put, &entry, &kept)?;
        } else if blind {
            inserted = self.write_row(at, &table, &table.insert, operation, put, &entry, &kept)?;
        }
        if !inserted {
            found = self.check(operation)?;
            entry.created = found.map_or(self.now, |found| found.created);
            let statement = if found.is_some() {
                &table.update
            } else {
                &table.insert
            };
            self.write_row(at, &table, statement, operation, put, &entry, &kept)?;
        }
        self.release(found)?;
        self.log(&table, operation, ChangeKind::Put, found, entry.created);
        Ok(entry)
    }

    fn keep(&mut self, table: &Table, operation: &Operation, put: &Put) -> Result<Kept, Stop> {
        Ok(match &put.body {
            NewBody::None => Kept::Inline(None),
            NewBody::Bytes(bytes) => {
                let id = self.session.env.version();
                bodies::keep(&self.session.connection, table.id, id, bytes)?
            }
            NewBody::Staged(staged) => bodies::adopt(
                &self.session.connection,
                table.id,
                staged,
                self.now,
                operation,
            )?,
        })
    }

    /// Inserts or updates a row; answers whether one was written.
    #[allow(clippy::too_many_arguments, reason = "the columns of a row")]
    fn write_row(
        &self,
        at: usize,
        table: &Arc<Table>,
        statement: &str,
        operation: &Operation,
        put: &Put,
        entry: &Entry,
        kept: &Kept,
    ) -> Result<bool, Stop> {
        let (body, chunks) = match kept {
            Kept::Inline(body) => (body.as_deref(), None),
            Kept::Large(id) => (None, Some(*id)),
        };
        let attrs = if put.attrs.is_empty() {
            None
        } else {
            Some(put.attrs.encode())
        };
        let doc = std::str::from_utf8(put.doc.as_bytes())
            .map_err(|error| Error::invalid("the doc is not valid UTF-8").because(error))?;
        let written = self.session.connection.prepare_cached(statement)?.execute((
            operation.key.as_str(),
            entry.version.as_bytes(),
            entry.created.as_micros(),
            entry.modified.as_micros(),
            entry.size,
            entry
                .digest
                .as_ref()
                .map(|digest| digest.as_bytes().as_slice()),
            chunks,
            attrs,
            doc,
            body,
        ));
        match written {
            Ok(rows) => Ok(rows > 0),
            Err(error) if is_unique_violation(&error) => Err(Stop::Taken(table.clone(), at, error)),
            Err(error) => Err(error.into()),
        }
    }

    fn delete(&mut self, operation: &Operation, cleared: Option<Found>) -> Result<(), Stop> {
        let Some(table) = self.session.table(&operation.collection)? else {
            return self.check(operation).map(drop);
        };
        let found = if self.clear_first {
            cleared
        } else {
            self.check(operation)?
        };
        if found.is_some() {
            if !self.clear_first {
                self.remove(&table, &operation.key)?;
            }
            self.release(found)?;
            self.log(&table, operation, ChangeKind::Delete, found, self.now);
        }
        Ok(())
    }

    fn remove(&self, table: &Table, key: &Key) -> Result<(), Stop> {
        self.session
            .connection
            .prepare_cached(&table.delete)?
            .execute([key.as_str()])?;
        Ok(())
    }

    /// The body of what was there stays for a while, for those who read it.
    fn release(&self, found: Option<Found>) -> Result<(), Stop> {
        if let Some(body) = found.and_then(|found| found.chunks) {
            bodies::release(&self.session.connection, body, self.now)?;
        }
        Ok(())
    }

    fn log(
        &mut self,
        table: &Table,
        operation: &Operation,
        kind: ChangeKind,
        found: Option<Found>,
        created: Timestamp,
    ) {
        self.changes.push(Logged {
            collection: table.id,
            key: operation.key.as_str().to_owned(),
            kind,
            previous: found.map(|found| found.version),
            created,
        });
    }
}

/// The error of a unique index, naming both items.
fn taken(
    session: &Session,
    prepared: &Prepared,
    table: &Table,
    at: usize,
    violation: &rusqlite::Error,
) -> Error {
    let Some(operation) = prepared.batch.operations().get(at) else {
        return Error::other("a unique index refused an operation that there is not");
    };
    let Action::Put(put) = &operation.action else {
        return Error::other("a unique index refused an operation that puts nothing");
    };
    indexes::taken(
        &session.connection,
        table,
        &operation.key,
        &put.doc,
        violation,
    )
    .at(&operation.collection, Some(&operation.key))
}
