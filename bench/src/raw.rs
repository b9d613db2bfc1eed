//! What one would write by hand with rusqlite: the same table, columns and
//! durability, prepared statements, and nothing else.

use std::path::Path;

use holdall_core::Digest;
use rusqlite::{Connection, Row, Statement};

use crate::Result;

/// The table of one collection, as Holdall makes it.
const SCHEMA: &str = "
CREATE TABLE items (
  id INTEGER PRIMARY KEY,
  key TEXT NOT NULL UNIQUE,
  version BLOB NOT NULL,
  created INTEGER NOT NULL,
  modified INTEGER NOT NULL,
  size INTEGER NOT NULL,
  digest BLOB,
  chunks INTEGER,
  attrs BLOB,
  doc TEXT NOT NULL,
  body BLOB
) STRICT";

const COLUMNS: &str = "key, version, created, modified, size, digest, chunks, attrs, doc, body";

/// Opens a file with the settings that Holdall opens its own with.
pub(crate) fn connect(path: &Path) -> Result<Connection> {
    let connection = Connection::open(path)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", 8192)?;
    connection.pragma_update(None, "journal_size_limit", 64 * 1024 * 1024)?;
    connection.pragma_update(None, "cache_spill", 6144)?;
    Ok(connection)
}

/// Opens a file and makes the table.
pub(crate) fn create(path: &Path) -> Result<Connection> {
    let connection = connect(path)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// One item, with all of its columns.
#[derive(Debug)]
#[allow(dead_code, reason = "what counts is that it was made")]
pub(crate) struct Item {
    pub(crate) key: String,
    version: [u8; 16],
    created: i64,
    modified: i64,
    size: i64,
    digest: Option<[u8; 32]>,
    chunks: Option<i64>,
    attrs: Option<Vec<u8>>,
    pub(crate) doc: String,
    pub(crate) body: Option<Vec<u8>>,
}

impl Item {
    pub(crate) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self {
            key: row.get(0)?,
            version: row.get(1)?,
            created: row.get(2)?,
            modified: row.get(3)?,
            size: row.get(4)?,
            digest: row.get(5)?,
            chunks: row.get(6)?,
            attrs: row.get(7)?,
            doc: row.get(8)?,
            body: row.get(9)?,
        })
    }
}

/// A select of all columns.
pub(crate) fn select(table: &str, behind: &str) -> String {
    format!("SELECT {COLUMNS} FROM {table} {behind}")
}

/// The insert that replaces what is there.
pub(crate) fn put() -> String {
    format!(
        "INSERT INTO items ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, NULL, NULL, ?7, ?8) \
         ON CONFLICT (key) DO UPDATE SET version = excluded.version, modified = excluded.modified, \
         size = excluded.size, digest = excluded.digest, doc = excluded.doc, body = excluded.body"
    )
}

/// Runs [`put`].
pub(crate) fn insert(
    statement: &mut Statement<'_>,
    number: u64,
    key: &str,
    doc: &str,
    body: Option<&[u8]>,
) -> Result<()> {
    let mut version = [0; 16];
    for (to, from) in version.iter_mut().zip(number.to_be_bytes()) {
        *to = from;
    }
    let digest = body.map(Digest::of);
    let now = 1_800_000_000_000_000_i64;
    statement.execute((
        key,
        version.as_slice(),
        now,
        now,
        body.map_or(0, <[u8]>::len),
        digest.as_ref().map(|digest| digest.as_bytes().as_slice()),
        doc,
        body,
    ))?;
    Ok(())
}
