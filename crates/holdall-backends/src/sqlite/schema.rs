//! The format of the file: made, recognised, and brought up to date.
//!
//! docs/sqlite-format.md describes it.

use holdall_core::{Env, Error, Result, Version};
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};

use super::error::failed;

/// `HOLD`: marks the file as one of Holdall's (`PRAGMA application_id`).
const APPLICATION: i32 = 0x484F_4C44;

/// The format that this code writes (`PRAGMA user_version`).
pub(super) const FORMAT: i32 = 1;

/// Each makes one format out of the one before it; the first out of an empty
/// file. What was released is never changed.
const MIGRATIONS: [&str; FORMAT as usize] = [FORMAT_1];

const FORMAT_1: &str = "
-- One row for each fact about the store.
CREATE TABLE holdall_meta (name TEXT PRIMARY KEY, value ANY) STRICT, WITHOUT ROWID;

-- Which table has the items of a collection. Rows are never removed, so what
-- was read once stays true.
CREATE TABLE holdall_collections (
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  table_name TEXT NOT NULL UNIQUE COLLATE NOCASE
) STRICT;

-- The declared indexes; `holdall_index_ID` or `holdall_words_ID` is the index.
CREATE TABLE holdall_indexes (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  collection INTEGER NOT NULL,
  declaration TEXT NOT NULL,
  UNIQUE (collection, declaration)
) STRICT;

-- Large bodies: staged while `expires` is set, owned by an item while neither
-- is, to be removed once `dropped` is long enough ago.
CREATE TABLE holdall_bodies (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  staged BLOB NOT NULL UNIQUE,
  collection INTEGER NOT NULL,
  size INTEGER NOT NULL,
  digest BLOB,
  expires INTEGER,
  dropped INTEGER
) STRICT;
CREATE INDEX holdall_bodies_expires ON holdall_bodies (expires) WHERE expires IS NOT NULL;
CREATE INDEX holdall_bodies_dropped ON holdall_bodies (dropped) WHERE dropped IS NOT NULL;

-- Pieces of large bodies; the id is body * 2^24 + number of the piece.
CREATE TABLE holdall_chunks (id INTEGER PRIMARY KEY, data BLOB NOT NULL) STRICT;

-- Committed batches, in the order of commit, for watchers and to resolve lost
-- answers. `total` adds up the sizes of `changes` up to here. The newest row is
-- never removed, so `seq` never repeats.
CREATE TABLE holdall_log (
  seq INTEGER PRIMARY KEY,
  batch BLOB NOT NULL UNIQUE,
  at INTEGER NOT NULL,
  total INTEGER NOT NULL,
  changes BLOB NOT NULL
) STRICT;

-- Batches that were given up before they arrived, until their ids are too old.
CREATE TABLE holdall_aborted (batch BLOB PRIMARY KEY, until INTEGER NOT NULL) STRICT, WITHOUT ROWID;
";

/// Recognises the file and brings it up to date; proves that it can be written.
///
/// # Errors
/// `Corrupt` for a file of a newer format, `Invalid` for a database of another
/// program; neither is touched. `Denied` if it cannot be written.
pub(super) fn prepare(connection: &mut Connection, env: &Env) -> Result<Version> {
    check_owner(connection)?;
    migrate(connection, env).map_err(failed)?;
    let identity: Vec<u8> = connection
        .query_row(
            "SELECT value FROM holdall_meta WHERE name = 'identity'",
            [],
            |row| row.get(0),
        )
        .map_err(failed)?;
    Version::from_slice(&identity)
}

/// Reads alone: whether this is a file of ours, or an empty one.
pub(super) fn check_owner(connection: &Connection) -> Result<()> {
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, i32>(0));
    let (application, format) = pragma("application_id")
        .and_then(|application| Ok((application, pragma("user_version")?)))
        .map_err(unreadable)?;
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(unreadable)?;
    if application != APPLICATION && (tables > 0 || application != 0 || format != 0) {
        return Err(Error::invalid(
            "the file is an SQLite database of another program; Holdall does not touch it. Name another file",
        ));
    }
    if format > FORMAT {
        return Err(Error::corrupt(format!(
            "the file has format {format}, and this version of Holdall reads up to {FORMAT}. \
             Use a newer version; nothing was changed"
        )));
    }
    Ok(())
}

/// SQLite calls a header that it does not understand an error of the statement;
/// these statements have none.
fn unreadable(error: rusqlite::Error) -> Error {
    if error.sqlite_error_code() == Some(ErrorCode::Unknown) {
        return Error::corrupt(
            "the file's header or schema cannot be read; restore it from a backup",
        )
        .because(error);
    }
    failed(error)
}

fn migrate(connection: &mut Connection, env: &Env) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let format: i32 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let done = usize::try_from(format).unwrap_or(0);
    for migration in MIGRATIONS.iter().skip(done) {
        transaction.execute_batch(migration)?;
    }
    if done < MIGRATIONS.len() {
        transaction.pragma_update(None, "application_id", APPLICATION)?;
        transaction.pragma_update(None, "user_version", FORMAT)?;
    }
    transaction.execute(
        "INSERT INTO holdall_meta VALUES ('identity', ?1) ON CONFLICT DO NOTHING",
        [env.version().as_bytes()],
    )?;
    // A write that really happens, so that a file that cannot be written shows.
    transaction.execute(
        "INSERT INTO holdall_meta VALUES ('opened', ?1) ON CONFLICT DO UPDATE SET value = excluded.value",
        [env.now().as_micros()],
    )?;
    transaction.commit()
}

/// A fact about the store, as a number.
pub(super) fn meta(connection: &Connection, name: &str) -> rusqlite::Result<Option<i64>> {
    connection
        .prepare_cached("SELECT value FROM holdall_meta WHERE name = ?1")?
        .query_row([name], |row| row.get(0))
        .optional()
}

/// Sets a fact about the store.
pub(super) fn set_meta(connection: &Connection, name: &str, value: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("INSERT INTO holdall_meta VALUES (?1, ?2) ON CONFLICT DO UPDATE SET value = excluded.value")?
        .execute((name, value))
        .map(drop)
}
