//! What the SQL backends share: conditions and orders as SQL, declared indexes,
//! the log of changes, names of tables.
//!
//! Nothing here runs a statement. A backend adds a [`Dialect`], which says how
//! its database spells a few things, and a driver.

pub(crate) mod changes;
mod clause;
pub(crate) mod declared;
pub(crate) mod names;
pub(crate) mod order;
pub(crate) mod plan;
#[cfg(any(feature = "mysql", feature = "postgres"))]
pub(crate) mod server;

pub(crate) use self::clause::{Clause, Kind, Value, marks};

use holdall_core::{EntryField, Filter, Path, Test};

use self::plan::Tested;

/// How a database spells what conditions and orders are made of.
pub(crate) trait Dialect: Sync {
    /// The sort key of the value at a path of the doc, NULL where there is none:
    /// an expression, or a column. `None` where the database has neither.
    fn sort_key(&self, path: &Path) -> Option<String>;

    /// Bytes as they stand in a statement.
    fn literal(&self, bytes: &[u8]) -> String;

    /// Whether sort keys are kept as [`kept`](plan::kept) says, and not whole.
    fn cuts(&self) -> bool;

    /// Whether `(a, b) > (x, y)` is answered from an index.
    fn seeks_rows(&self) -> bool;

    /// The end of an order by this expression that puts NULL where it belongs.
    fn order(&self, expression: &str, descending: bool, nulls_first: bool) -> String;

    /// A test of the doc at a path without an index, as far as the database can
    /// look into docs.
    fn unindexed(&self, path: &Path, test: &Test) -> Option<Tested>;

    /// The items that have all words, by the word index of this id.
    fn words(&self, index: i64, path: &Path, words: &[String]) -> Option<Clause>;

    /// What is left of a filter, where the database can evaluate any.
    fn evaluate(&self, rest: &Filter) -> Option<Clause>;

    /// The column of a path: of an entry field, or the sort key at a path of
    /// the doc. `None` for a field that has no order.
    fn column(&self, path: &Path) -> Option<String> {
        let column = match path {
            Path::Doc(_) => return self.sort_key(path),
            Path::Entry(EntryField::Key) => self.key(),
            Path::Entry(EntryField::Created) => "created",
            Path::Entry(EntryField::Modified) => "modified",
            Path::Entry(EntryField::Size) => "size",
            Path::Entry(EntryField::Version) => return None,
        };
        Some(column.to_owned())
    }

    /// The column of the key.
    fn key(&self) -> &'static str {
        "key"
    }
}
