//! Declarations of indexes.

use std::fmt;

use crate::path::EntryField;
use crate::{Doc, Error, Path, Result, Type, sort_key};

/// The most paths of an index.
pub const MAX_INDEX_PATHS: usize = 8;

/// Declares an index.
///
/// An index makes queries fast and never changes their answers. A unique one
/// also refuses a second item with the same values: a missing value is exempt
/// (with several paths, an item that misses any), null is not. It holds of the
/// state after a batch, so that two items can swap values in one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Index {
    /// The paths whose values it holds, in order: it serves queries that test
    /// the first ones for equality, or sort by them.
    pub paths: Vec<Path>,
    /// Refuses a second item with the same values.
    pub unique: bool,
    /// What it holds of them.
    pub holds: Holds,
}

/// What an index holds of the values at its paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Holds {
    /// All values.
    Any,
    /// Only values of one type: it is smaller, serves queries about this type
    /// alone, and if unique, it is so among these. Takes one path.
    Only(Type),
    /// Words, for `match`. Takes one path, and cannot be unique.
    Words,
}

impl Index {
    /// An index on one or more paths.
    pub fn on(paths: impl IntoIterator<Item = Path>) -> Self {
        Self {
            paths: paths.into_iter().collect(),
            unique: false,
            holds: Holds::Any,
        }
    }

    /// An index on paths in text form.
    ///
    /// # Errors
    /// `Invalid` if a path is.
    pub fn parse(paths: &[&str]) -> Result<Self> {
        let paths = paths
            .iter()
            .map(|path| path.parse())
            .collect::<Result<Vec<Path>>>()?;
        Ok(Self::on(paths))
    }

    /// The same, unique.
    #[must_use]
    pub fn unique(mut self) -> Self {
        self.unique = true;
        self
    }

    /// The same, of something else.
    #[must_use]
    pub fn holding(mut self, holds: Holds) -> Self {
        self.holds = holds;
        self
    }

    /// Checks the declaration: every backend calls it first.
    ///
    /// # Errors
    /// `Invalid`, naming the rule.
    pub fn validate(&self) -> Result<()> {
        let refuse = |why: &str| {
            Err(Error::invalid(format!(
                "the index on {self} is not valid: {why}"
            )))
        };
        if self.paths.is_empty() || self.paths.len() > MAX_INDEX_PATHS {
            return refuse("it takes 1 to 8 paths");
        }
        self.paths.iter().try_for_each(Path::check)?;
        if self.paths.contains(&Path::Entry(EntryField::Version)) {
            return refuse("nothing is ordered by $version");
        }
        if self
            .paths
            .iter()
            .enumerate()
            .any(|(at, path)| self.paths.iter().skip(at + 1).any(|p| p == path))
        {
            return refuse("a path stands in it twice");
        }
        if self.unique && self.paths.iter().any(|path| matches!(path, Path::Entry(_))) {
            return refuse("a unique index is on the doc");
        }
        let single = self.paths.len() == 1;
        match self.holds {
            Holds::Any => Ok(()),
            Holds::Only(_) | Holds::Words if !single => {
                refuse("an index of one type, or of words, takes one path")
            }
            Holds::Words if self.unique => refuse("an index of words cannot be unique"),
            Holds::Words if matches!(self.paths.first(), Some(Path::Entry(_))) => {
                refuse("words are those of the doc")
            }
            Holds::Only(_) | Holds::Words => Ok(()),
        }
    }
}

impl Index {
    /// What a unique index compares: the sort keys of the values at its paths,
    /// in a row. `None` for a doc that is exempt.
    ///
    /// # Errors
    /// `Corrupt` if a stored doc is no JSON object.
    pub fn unique_values(&self, doc: &Doc) -> Result<Option<Vec<u8>>> {
        let mut values = Vec::new();
        for path in &self.paths {
            let Some(value) = doc.at(path)? else {
                return Ok(None);
            };
            if matches!(self.holds, Holds::Only(wanted) if wanted != Type::of(&value)) {
                return Ok(None);
            }
            // No encoding is a prefix of another, so they can stand in a row.
            values.extend(sort_key(&value));
        }
        Ok(Some(values))
    }

    /// The `Conflict` of a unique index, naming the two items.
    pub fn taken(&self, key: &str, other: &str) -> Error {
        Error::conflict(format!(
            "the values at {self} must be unique, and the items {key:?} and {other:?} share them"
        ))
    }
}

/// The paths, separated by commas; a comma in a path is written `\,`.
impl fmt::Display for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, path) in self.paths.iter().enumerate() {
            if at > 0 {
                f.write_str(",")?;
            }
            f.write_str(&path.to_string().replace(',', "\\,"))?;
        }
        Ok(())
    }
}
