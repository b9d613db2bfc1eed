//! Which table has the items of a collection, and what its columns hold.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use hashbrown::HashMap;
use holdall_core::{CollectionName, Doc, Error, Holds, Index, Path, Result, json};
use parking_lot::RwLock;

use super::driver::Row;
use super::spelling::Holding;
use crate::sql::Value;
use crate::sql::declared::{Declared, declaration, read_declaration};

/// How long a reader goes by what it knows of the indexes of a table. What it
/// does not know yet it does not use.
const FRESH: Duration = Duration::from_secs(1);

/// A collection's table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) id: i64,
    /// In quotes and with its schema, ready for SQL.
    pub(crate) quoted: String,
    /// The name alone.
    pub(crate) name: String,
    /// Changes whenever the layout does; a batch is only committed if it is
    /// still this.
    pub(crate) generation: i64,
    pub(crate) layout: Layout,
    /// The indexes that are there and complete.
    pub(crate) declared: Vec<Declared>,
    /// Whether the last batch that expected no taken key met one.
    pub(crate) meets: AtomicBool,
}

/// What a table has beside the columns that all have.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    /// The number of the last column or index that was added.
    pub(crate) last: i64,
    pub(crate) columns: Vec<Column>,
    pub(crate) indexes: Vec<Indexed>,
}

/// A column of an index.
#[derive(Clone, Debug)]
pub(crate) struct Column {
    pub(crate) name: String,
    pub(crate) path: Path,
    pub(crate) holding: Holding,
    /// Whether it is filled in every row.
    pub(crate) ready: bool,
}

/// A declared index.
#[derive(Clone, Debug)]
pub(crate) struct Indexed {
    pub(crate) id: i64,
    pub(crate) index: Index,
    /// Whether it was made.
    pub(crate) ready: bool,
}

impl Table {
    /// Reads a row of `id, table_name, generation, layout`.
    pub(crate) fn read(row: &Row, quote: impl Fn(&str) -> String) -> Result<Self> {
        let [
            Value::Int(id),
            Value::Text(name),
            Value::Int(generation),
            Value::Text(layout),
        ] = row.as_slice()
        else {
            return Err(damaged());
        };
        let layout = Layout::parse(layout)?;
        let declared = layout
            .indexes
            .iter()
            .filter(|indexed| indexed.ready)
            .map(|indexed| Declared {
                id: indexed.id,
                index: indexed.index.clone(),
            })
            .collect();
        Ok(Self {
            id: *id,
            quoted: quote(name),
            name: name.clone(),
            generation: *generation,
            layout,
            declared,
            meets: AtomicBool::new(false),
        })
    }

    /// The column of a path, filled or not.
    pub(crate) fn column(&self, path: &Path, holding: Holding) -> Option<String> {
        self.layout
            .column(path, holding)
            .map(|column| column.name.clone())
    }

    /// The column of a path, if it is filled in every row.
    pub(crate) fn ready_column(&self, path: &Path, holding: Holding) -> Option<String> {
        let column = self.layout.column(path, holding)?;
        column.ready.then(|| column.name.clone())
    }

    /// The name of an index.
    pub(crate) fn index_name(&self, id: i64) -> String {
        format!("holdall_{}_{id}", self.id)
    }

    /// The declared index that has a name.
    pub(crate) fn index_of(&self, name: &str) -> Option<&Index> {
        self.layout
            .indexes
            .iter()
            .find(|indexed| self.index_name(indexed.id) == name)
            .map(|indexed| &indexed.index)
    }
}

/// What the column of an index must hold.
pub(crate) fn holding(index: &Index) -> Holding {
    match index.holds {
        Holds::Words => Holding::Words,
        Holds::Any | Holds::Only(_) => Holding::SortKey,
    }
}

impl Layout {
    fn column(&self, path: &Path, holding: Holding) -> Option<&Column> {
        self.columns
            .iter()
            .find(|column| column.path == *path && column.holding == holding)
    }

    /// Adds an index that is not there, and its columns; answers the columns
    /// that are new.
    pub(crate) fn add(&mut self, index: &Index) -> Vec<Column> {
        if self.indexes.iter().any(|there| there.index == *index) {
            return Vec::new();
        }
        let mut added = Vec::new();
        let holding = holding(index);
        for path in &index.paths {
            let of_doc = matches!(path, Path::Doc(_));
            if of_doc && self.column(path, holding).is_none() {
                self.last += 1;
                let column = Column {
                    name: format!("holdall_{}", self.last),
                    path: path.clone(),
                    holding,
                    ready: false,
                };
                self.columns.push(column.clone());
                added.push(column);
            }
        }
        self.last += 1;
        self.indexes.push(Indexed {
            id: self.last,
            index: index.clone(),
            ready: false,
        });
        added
    }

    /// The text that [`parse`](Self::parse) reads.
    pub(crate) fn text(&self) -> String {
        let columns: Vec<_> = self
            .columns
            .iter()
            .map(|column| {
                let holds = match column.holding {
                    Holding::SortKey => "sort key",
                    Holding::Words => "words",
                };
                json!({
                    "name": column.name,
                    "path": column.path.to_string(),
                    "holds": holds,
                    "ready": column.ready,
                })
            })
            .collect();
        let indexes: Vec<_> = self
            .indexes
            .iter()
            .map(|indexed| {
                json!({
                    "id": indexed.id,
                    "index": declaration(&indexed.index),
                    "ready": indexed.ready,
                })
            })
            .collect();
        json!({"last": self.last, "columns": columns, "indexes": indexes}).to_string()
    }

    fn parse(text: &str) -> Result<Self> {
        let value = Doc::from_stored(text.to_owned()).value()?;
        let list = |name: &str| value.get(name).and_then(|list| list.as_array()).cloned();
        let (Some(last), Some(columns), Some(indexes)) = (
            value.get("last").and_then(|last| last.as_i64()),
            list("columns"),
            list("indexes"),
        ) else {
            return Err(damaged());
        };
        let columns = columns.iter().map(|column| {
            let text = |name: &str| column.get(name).and_then(|text| text.as_str());
            Ok(Column {
                name: text("name").ok_or_else(damaged)?.to_owned(),
                path: text("path").ok_or_else(damaged)?.parse()?,
                holding: match text("holds") {
                    Some("sort key") => Holding::SortKey,
                    Some("words") => Holding::Words,
                    _ => return Err(damaged()),
                },
                ready: column.get("ready").and_then(|ready| ready.as_bool()) == Some(true),
            })
        });
        let columns = columns.collect::<Result<_>>()?;
        let indexes = indexes.iter().map(|indexed| {
            let text = indexed.get("index").and_then(|text| text.as_str());
            Ok(Indexed {
                id: indexed
                    .get("id")
                    .and_then(|id| id.as_i64())
                    .ok_or_else(damaged)?,
                index: read_declaration(text.ok_or_else(damaged)?)?,
                ready: indexed.get("ready").and_then(|ready| ready.as_bool()) == Some(true),
            })
        });
        let indexes = indexes.collect::<Result<_>>()?;
        Ok(Self {
            last,
            columns,
            indexes,
        })
    }
}

fn damaged() -> Error {
    Error::corrupt(
        "a row of holdall_collections is not as Holdall writes it; was it changed by another program?",
    )
}

/// The tables seen so far.
#[derive(Debug, Default)]
pub(crate) struct Catalogue(RwLock<HashMap<CollectionName, (Arc<Table>, Instant)>>);

impl Catalogue {
    /// A table as it was last seen.
    pub(crate) fn known(&self, collection: &CollectionName) -> Option<Arc<Table>> {
        self.0
            .read()
            .get(collection)
            .map(|(table, _)| table.clone())
    }

    /// A table as it was a moment ago.
    pub(crate) fn fresh(&self, collection: &CollectionName) -> Option<Arc<Table>> {
        let known = self.0.read();
        let (table, seen) = known.get(collection)?;
        (seen.elapsed() < FRESH).then(|| table.clone())
    }

    pub(crate) fn learn(&self, collection: &CollectionName, table: Table) -> Arc<Table> {
        let table = Arc::new(table);
        let now = Instant::now();
        self.0
            .write()
            .insert(collection.clone(), (table.clone(), now));
        table
    }

    pub(crate) fn forget(&self, collection: &CollectionName) {
        self.0.write().remove(collection);
    }
}
