//! Which table has the items of a collection.

use std::sync::Arc;

use hashbrown::HashMap;
use holdall_core::{CollectionName, Parts};
use parking_lot::{Mutex, RwLock};
use rusqlite::{Connection, OptionalExtension, Result};

use crate::sql::declared::Declared;
use crate::sql::names;

/// The columns before doc and body, in the order in which
/// [`rows::entry`](super::rows::entry) reads them.
const ENTRY: &str = "key, version, created, modified, size, digest, chunks, attrs";

/// A collection's table, and the statements that are made of its name once.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) id: i64,
    /// In double quotes, ready for SQL.
    pub(super) quoted: String,
    /// The indexes at a state of the schema.
    pub(super) indexes: Mutex<Option<(i64, Arc<Vec<Declared>>)>>,
    get: [String; 4],
    pub(super) find: String,
    pub(super) insert: String,
    pub(super) update: String,
    pub(super) delete: String,
}

impl Table {
    fn new(id: i64, name: &str) -> Self {
        let quoted = quote(name);
        let get = [Parts::ENTRY, Parts::DOC, Parts::BODY, Parts::ALL]
            .map(|parts| format!("SELECT {} FROM {quoted} WHERE key = ?1", columns(parts)));
        let columns = "key, version, created, modified, size, digest, chunks, attrs, doc, body";
        Self {
            id,
            find: format!("SELECT id, version, created, chunks FROM {quoted} WHERE key = ?1"),
            insert: format!(
                "INSERT INTO {quoted} ({columns}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
                 ON CONFLICT (key) DO NOTHING"
            ),
            update: format!(
                "UPDATE {quoted} SET version = ?2, created = ?3, modified = ?4, size = ?5, digest = ?6, \
                 chunks = ?7, attrs = ?8, doc = ?9, body = ?10 WHERE key = ?1"
            ),
            delete: format!("DELETE FROM {quoted} WHERE key = ?1"),
            quoted,
            get,
            indexes: Mutex::default(),
        }
    }

    /// Reads one item.
    pub(super) fn get(&self, parts: Parts) -> &str {
        let [entry, doc, body, all] = &self.get;
        match (parts.doc, parts.body) {
            (false, false) => entry,
            (true, false) => doc,
            (false, true) => body,
            (true, true) => all,
        }
    }
}

/// The columns that answer these parts.
pub(super) fn columns(parts: Parts) -> String {
    let doc = if parts.doc { ", doc" } else { "" };
    let body = if parts.body { ", body" } else { "" };
    format!("{ENTRY}{doc}{body}")
}

/// A name as an SQL identifier.
pub(super) fn quote(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as an SQL literal. For DDL, which takes no parameters; everywhere
/// else values are bound.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The tables seen so far. What is in it stays true, as a collection keeps its
/// table for ever.
#[derive(Debug, Default)]
pub(super) struct Catalogue(RwLock<HashMap<CollectionName, Arc<Table>>>);

impl Catalogue {
    pub(super) fn known(&self, collection: &CollectionName) -> Option<Arc<Table>> {
        self.0.read().get(collection).cloned()
    }

    pub(super) fn learn(&self, collection: &CollectionName, table: Arc<Table>) {
        self.0.write().insert(collection.clone(), table);
    }

    /// The table, if the collection ever had items or indexes. Reads what was
    /// committed.
    pub(super) fn find(
        &self,
        connection: &Connection,
        collection: &CollectionName,
    ) -> Result<Option<Arc<Table>>> {
        if let Some(table) = self.known(collection) {
            return Ok(Some(table));
        }
        let table = find(connection, collection)?;
        if let Some(table) = &table {
            self.learn(collection, table.clone());
        }
        Ok(table)
    }
}

/// The table, as the connection sees it.
pub(super) fn find(
    connection: &Connection,
    collection: &CollectionName,
) -> Result<Option<Arc<Table>>> {
    connection
        .prepare_cached("SELECT id, table_name FROM holdall_collections WHERE name = ?1")?
        .query_row([collection.as_str()], |row| {
            Ok(Arc::new(Table::new(row.get(0)?, row.get_ref(1)?.as_str()?)))
        })
        .optional()
}

/// Makes the table of a collection, in the transaction under way.
pub(super) fn create(connection: &Connection, collection: &CollectionName) -> Result<Arc<Table>> {
    let name = free_name(connection, collection)?;
    connection.execute_batch(&format!(
        "CREATE TABLE {} (
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
) STRICT",
        quote(&name)
    ))?;
    connection.execute(
        "INSERT INTO holdall_collections (name, table_name) VALUES (?1, ?2)",
        (collection.as_str(), &name),
    )?;
    Ok(Arc::new(Table::new(connection.last_insert_rowid(), &name)))
}

/// A name for a table, with a number where another collection has it.
fn free_name(connection: &Connection, collection: &CollectionName) -> Result<String> {
    let base = names::base(collection, "sqlite_");
    let mut taken =
        connection.prepare_cached("SELECT 1 FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE")?;
    let mut name = base.clone();
    let mut number = 2;
    while taken.exists([&name])? {
        name = format!("{base}_{number}");
        number += 1;
    }
    Ok(name)
}
