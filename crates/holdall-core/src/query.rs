//! Queries: filter, order, limit, and where to go on.

use std::fmt;

use crate::path::EntryField;
use crate::sort_key::sort_key_or_missing;
use crate::{Cursor, Error, Filter, Item, Key, Parts, Path, Result, Subject, Value};

/// The most sorts of a query.
pub const MAX_SORTS: usize = 8;

/// Which items, in which order, how many, and which of their parts.
///
/// The order is total: sorts first, then the key. Ties are broken by key in
/// the direction of the last sort, so that turning every sort around turns the
/// answer around (missing values aside).
///
/// ```
/// use holdall_core::{Filter, Query, Sort};
/// let query = Query::new(Filter::parse(r#"{"section":"editors"}"#)?)
///     .sort(Sort::parse("size:desc")?)
///     .limit(20);
/// # Ok::<(), holdall_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Which items.
    pub filter: Filter,
    /// In which order; by key alone if empty.
    pub sort: Vec<Sort>,
    /// At most so many.
    pub limit: Option<u64>,
    /// Leaves so many out at the start. They are found and thrown away, so the
    /// cost is linear; a cursor is better.
    pub offset: u64,
    /// Goes on behind the item that the cursor was made from.
    pub after: Option<Cursor>,
    /// Which parts of the items to return.
    pub parts: Parts,
}

impl Default for Query {
    fn default() -> Self {
        Self::new(Filter::all())
    }
}

impl Query {
    /// All items that a filter matches, by key, with their docs.
    pub fn new(filter: Filter) -> Self {
        Self {
            filter,
            sort: Vec::new(),
            limit: None,
            offset: 0,
            after: None,
            parts: Parts::DOC,
        }
    }

    /// Adds a sort behind those there are.
    #[must_use]
    pub fn sort(mut self, sort: Sort) -> Self {
        self.sort.push(sort);
        self
    }

    /// Sets the limit.
    #[must_use]
    pub fn limit(mut self, limit: u64) -> Self {
        self.limit = Some(limit);
        self
    }

    /// Sets the offset.
    #[must_use]
    pub fn offset(mut self, offset: u64) -> Self {
        self.offset = offset;
        self
    }

    /// Goes on behind a cursor.
    #[must_use]
    pub fn after(mut self, cursor: Cursor) -> Self {
        self.after = Some(cursor);
        self
    }

    /// Sets the parts to return.
    #[must_use]
    pub fn parts(mut self, parts: Parts) -> Self {
        self.parts = parts;
        self
    }

    /// Checks what no type can: every backend calls it first.
    ///
    /// # Errors
    /// `Invalid` for a sort by `$version`, an offset together with a cursor, or
    /// a cursor that was made by another filter or order; `TooLarge` for more
    /// than 8 sorts.
    pub fn validate(&self) -> Result<()> {
        if self.sort.len() > MAX_SORTS {
            return Err(Error::too_large(format!(
                "the query has {} sorts; the limit is {MAX_SORTS}",
                self.sort.len()
            )));
        }
        if self
            .sort
            .iter()
            .any(|sort| sort.path == Path::Entry(EntryField::Version))
        {
            return Err(Error::invalid(
                "a query cannot be sorted by $version: nothing is ordered by it",
            ));
        }
        self.sort.iter().try_for_each(|sort| sort.path.check())?;
        let Some(cursor) = &self.after else {
            return Ok(());
        };
        if self.offset > 0 {
            return Err(Error::invalid(
                "a query takes an offset or a cursor, not both",
            ));
        }
        cursor.check(self)
    }

    /// Whether docs are needed to filter and sort.
    pub fn reads_doc(&self) -> bool {
        self.filter.reads_doc() || self.sorts_by_doc()
    }

    pub(crate) fn sorts_by_doc(&self) -> bool {
        self.sort
            .iter()
            .any(|sort| matches!(sort.path, Path::Doc(_)))
    }

    /// The cursor behind an item that this query returned.
    ///
    /// # Errors
    /// `Invalid` if the query sorts by the doc and the item came without it;
    /// `TooLarge` if the values that it is sorted by take more than 64 KiB.
    pub fn cursor(&self, item: &Item) -> Result<Cursor> {
        Cursor::new(self, self.values_of(item)?, item.key.clone())
    }

    /// The encoded values that an item is sorted by.
    pub(crate) fn values_of(&self, item: &Item) -> Result<Vec<Vec<u8>>> {
        let doc = if self.sorts_by_doc() {
            item.doc()?.value()?
        } else {
            Value::Null
        };
        Ok(self.sort_values(&Subject {
            key: &item.key,
            entry: &item.entry,
            doc: &doc,
        }))
    }

    /// The encoded values that an item is sorted by, one for each sort.
    pub fn sort_values(&self, subject: &Subject<'_>) -> Vec<Vec<u8>> {
        self.sort
            .iter()
            .map(|sort| sort_key_or_missing(subject.at(&sort.path).as_deref()))
            .collect()
    }

    /// Where an item stands in the order of this query: a string of bytes that
    /// compares as the items do. `values` are those of
    /// [`sort_values`](Self::sort_values).
    pub fn position(&self, values: &[Vec<u8>], key: &Key) -> Vec<u8> {
        let mut out = Vec::new();
        for (sort, value) in self.sort.iter().zip(values) {
            sort.place(value, &mut out);
        }
        let start = out.len();
        out.extend_from_slice(key.as_str().as_bytes());
        out.push(0);
        if self.key_descends() {
            out.iter_mut().skip(start).for_each(|byte| *byte = !*byte);
        }
        out
    }

    /// Whether a position lies behind the cursor, if there is one.
    pub(crate) fn is_behind_cursor(&self, position: &[u8]) -> bool {
        let after = self
            .after
            .as_ref()
            .map(|cursor| self.position(cursor.values(), cursor.key()));
        after.is_none_or(|after| position > after.as_slice())
    }

    /// Whether ties are broken by descending key.
    pub fn key_descends(&self) -> bool {
        self.sort.last().is_some_and(|sort| sort.descending)
    }
}

/// One sort of a query.
///
/// In text `path`, `path:asc` or `path:desc`, and `:first` behind it to have
/// missing values first: `size:desc`, `due:asc:first`. A colon that belongs to
/// the path is written `\:`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Sort {
    /// By the value at this path.
    pub path: Path,
    /// From great to small.
    pub descending: bool,
    /// Items without a value come first. Else they come last, in both
    /// directions.
    pub missing_first: bool,
}

impl Sort {
    /// Ascending, missing last.
    pub fn by(path: Path) -> Self {
        Self {
            path,
            descending: false,
            missing_first: false,
        }
    }

    /// Turned around.
    #[must_use]
    pub fn descending(mut self) -> Self {
        self.descending = true;
        self
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// `Invalid` if the path is.
    pub fn parse(text: &str) -> Result<Self> {
        let (text, missing_first) = strip(text, ":first");
        let (text, descending) = strip(text, ":desc");
        let text = if descending {
            text
        } else {
            strip(text, ":asc").0
        };
        Ok(Self {
            path: text.parse()?,
            descending,
            missing_first,
        })
    }

    /// Reads several, separated by commas; a comma in a path is written `\,`.
    ///
    /// # Errors
    /// `Invalid` if a path is.
    pub fn parse_list(text: &str) -> Result<Vec<Self>> {
        split_list(text)
            .iter()
            .map(|part| Self::parse(part))
            .collect()
    }

    /// Appends an encoded value so that the bytes compare as this sort says.
    fn place(&self, value: &[u8], out: &mut Vec<u8>) {
        if value == sort_key_or_missing(None) {
            // Before and behind every value, whichever way they are turned:
            // these start with 0x10 to 0x60, inverted with 0x9F to 0xEF.
            out.push(if self.missing_first { 0x00 } else { 0xF0 });
        } else if self.descending {
            out.extend(value.iter().map(|byte| !byte));
        } else {
            out.extend_from_slice(value);
        }
    }
}

/// Splits at commas that no backslash stands before.
pub fn split_list(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut escaped = false;
    for character in text.chars() {
        if character == ',' && !escaped {
            parts.push(String::new());
            continue;
        }
        escaped = character == '\\' && !escaped;
        if let Some(last) = parts.last_mut() {
            last.push(character);
        }
    }
    parts
}

fn strip<'a>(text: &'a str, suffix: &str) -> (&'a str, bool) {
    match text.strip_suffix(suffix) {
        // An odd number of backslashes escapes the colon.
        Some(rest) if rest.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 0 => {
            (rest, true)
        }
        _ => (text, false),
    }
}

impl fmt::Display for Sort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self
            .path
            .to_string()
            .replace(':', "\\:")
            .replace(',', "\\,");
        let direction = if self.descending { "desc" } else { "asc" };
        let missing = if self.missing_first { ":first" } else { "" };
        write!(f, "{path}:{direction}{missing}")
    }
}

/// One group of a grouped count.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// The value that the items share; `None` for those without one. Whole
    /// numbers are integers where they fit.
    pub value: Option<Value>,
    /// How many items.
    pub count: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_are_read_and_written() {
        for (text, want) in [
            ("a", "a:asc"),
            ("a.b:desc", "a.b:desc"),
            ("a:asc:first", "a:asc:first"),
            ("a:desc:first", "a:desc:first"),
            (r"a\:desc", r"a\:desc:asc"),
            (r"a\\:desc", r"a\\:desc"),
            ("$modified:desc", "$modified:desc"),
        ] {
            let sort = Sort::parse(text).unwrap();
            assert_eq!(sort.to_string(), want);
            assert_eq!(Sort::parse(&sort.to_string()).unwrap(), sort);
        }
        let list = Sort::parse_list(r"a\,b:desc,c").unwrap();
        assert_eq!(
            list.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [r"a\,b:desc", "c:asc"]
        );
        assert!(Sort::parse("").is_err());
        assert!(Sort::parse_list("a,,b").is_err());
    }
}
