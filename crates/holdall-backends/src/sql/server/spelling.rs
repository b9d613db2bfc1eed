//! How a database server spells statements beyond conditions and orders.

use std::fmt::Debug;

use holdall_core::{CollectionName, Filter, Index, Path, Test};

use super::driver::Statement;
use super::layout::Table;
use crate::sql::plan::{Tested, of_type};
use crate::sql::{Clause, Dialect, Kind, Value};

/// The columns of an item, in the order in which they are read and written,
/// without those of its indexes.
pub(crate) const COLUMNS: [(&str, Kind); 10] = [
    ("key", Kind::Text),
    ("version", Kind::Version),
    ("created", Kind::Time),
    ("modified", Kind::Time),
    ("size", Kind::Int),
    ("digest", Kind::Bytes),
    ("chunks", Kind::Version),
    ("attrs", Kind::Bytes),
    ("doc", Kind::Doc),
    ("body", Kind::Bytes),
];

/// What a column of an index holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holding {
    /// The sort key of the value at a path.
    SortKey,
    /// The words of the value at a path.
    Words,
}

/// How a database server spells statements. Names of tables come quoted.
pub(crate) trait Spelling: Debug + Send + Sync {
    /// The tables that Holdall keeps for itself, unless they are there.
    fn schema(&self) -> Vec<Statement>;

    /// Waits until no other connection makes tables; to the end of the
    /// transaction.
    fn lock_schema(&self) -> Statement;

    /// Waits until no other connection changes the layout of a collection's
    /// table, where changing it ends the lock on its row.
    fn lock_layout(&self, collection: &CollectionName) -> Option<Statement>;

    /// The end of a read that keeps its rows from being changed to the end of
    /// the transaction, where changing the schema does not wait for all who go
    /// by it.
    fn shared_lock(&self) -> &'static str;

    /// The column of the key, as it stands in a statement.
    fn key(&self) -> &'static str;

    /// The full name of a table.
    fn table(&self, name: &str) -> String;

    /// Whether a table, view or index of a name is there.
    fn exists(&self, name: &str) -> Statement;

    /// Whether a name cannot be given to a new table.
    fn is_taken(&self, name: &str) -> Statement;

    fn create_table(&self, name: &str) -> Vec<Statement>;

    /// Waits until nobody uses a table, and keeps others from it to the end of
    /// the transaction.
    fn lock_table(&self, table: &Table) -> Vec<Statement>;

    /// Whether a table is emptied within the transaction. Else the collection is
    /// given a new one first.
    fn empties_tables(&self) -> bool;

    /// Empties a table that is locked, and removes the columns of its layout; or
    /// removes all of one that the collection has no more.
    fn empty_table(&self, table: &Table) -> Vec<Statement>;

    fn add_column(&self, table: &Table, column: &str, holding: Holding) -> Statement;

    /// Makes an index of this name, unless it is there.
    fn create_index(&self, table: &Table, name: &str, index: &Index) -> Vec<Statement>;

    /// Removes an index of this name, if it is there.
    fn drop_index(&self, table: &Table, name: &str, index: &Index) -> Vec<Statement>;

    /// Whether a column is any of these values.
    fn any_of(&self, column: &str, kind: Kind, values: Vec<Value>) -> Clause;

    /// Inserts rows; taken keys make it fail.
    fn insert(&self, table: &Table, rows: Vec<Vec<Value>>) -> Vec<Statement>;

    /// Overwrites rows by their key, the first value of each.
    fn update(&self, table: &Table, rows: Vec<Vec<Value>>) -> Vec<Statement>;

    /// Fills the columns of indexes, in rows that still have a version: each of
    /// these is a key, a version and a value for each column.
    fn fill(&self, table: &Table, rows: Vec<Vec<Value>>) -> Vec<Statement>;

    /// Pieces of bodies: each row is a body, a number and the bytes.
    fn insert_chunks(&self, rows: Vec<Vec<Value>>) -> Vec<Statement>;

    /// Whether the name of an index in an error is that of the log of batches.
    fn is_log_index(&self, index: &str) -> bool;

    /// Whether the name of an index in an error is that of a table's keys.
    fn is_primary_key(&self, table: &Table, index: &str) -> bool;

    /// Numbers batches that have none, from the number behind `last`; at most
    /// `most` of them, in the order in which they were added.
    fn number_log(&self, last: i64, most: i64) -> Statement;

    fn literal(&self, bytes: &[u8]) -> String;

    fn seeks_rows(&self) -> bool;

    fn order(&self, expression: &str, descending: bool, nulls_first: bool) -> String;

    /// A test that no index answers, or only this column of one.
    fn unindexed(&self, path: &Path, test: &Test, column: Option<&str>) -> Option<Tested>;

    /// Whether the words in a column have all of these; it may hold elsewhere,
    /// too.
    fn has_words(&self, table: &Table, column: &str, words: &[String]) -> Clause;

    fn quote(&self, name: &str) -> String;
}

/// The dialect of one table: its columns stand for what its indexes hold.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Columns<'a> {
    pub(crate) table: &'a Table,
    pub(crate) spelling: &'a dyn Spelling,
}

impl Dialect for Columns<'_> {
    fn sort_key(&self, path: &Path) -> Option<String> {
        self.table.ready_column(path, Holding::SortKey)
    }

    fn literal(&self, bytes: &[u8]) -> String {
        self.spelling.literal(bytes)
    }

    fn cuts(&self) -> bool {
        true
    }

    fn seeks_rows(&self) -> bool {
        self.spelling.seeks_rows()
    }

    fn order(&self, expression: &str, descending: bool, nulls_first: bool) -> String {
        self.spelling.order(expression, descending, nulls_first)
    }

    fn unindexed(&self, path: &Path, test: &Test) -> Option<Tested> {
        let column = self.table.ready_column(path, Holding::SortKey);
        self.spelling.unindexed(path, test, column.as_deref())
    }

    fn words(&self, _: i64, path: &Path, words: &[String]) -> Option<Clause> {
        let column = self.table.ready_column(path, Holding::Words)?;
        Some(self.spelling.has_words(self.table, &column, words))
    }

    fn evaluate(&self, _: &Filter) -> Option<Clause> {
        None
    }

    fn key(&self) -> &'static str {
        self.spelling.key()
    }
}

/// The columns of an index over the value at paths, and what limits it to a
/// type.
pub(crate) fn index_columns(
    table: &Table,
    index: &Index,
    spelling: &dyn Spelling,
) -> (Vec<String>, Option<String>) {
    let all = Columns { table, spelling };
    let columns: Vec<String> = index
        .paths
        .iter()
        .filter_map(|path| match path {
            Path::Doc(_) => table.column(path, Holding::SortKey),
            Path::Entry(_) => all.column(path),
        })
        .collect();
    let limit = match (index.holds, index.paths.first(), columns.first()) {
        (holdall_core::Holds::Only(of), Some(Path::Doc(_)), Some(column)) => {
            Some(of_type(column, of, &all))
        }
        _ => None,
    };
    (columns, limit)
}
