//! Turns orders, and places in them, into SQL.

use holdall_core::{
    Cursor, EntryField, Filter, Holds, Node, Path, Query, Result, Sort, Test, value_of_sort_key,
};

use super::declared::Declared;
use super::plan::{entry_value, is_in_order, is_there};
use super::{Clause, Dialect, Value};

/// One stretch of an answer that an index gives in order: items that have a
/// value to sort by first, or those that have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// All items, in an order without missing values in the first place.
    All,
    /// Those that have a value at the first sort.
    Present,
    /// Those that have none.
    Missing,
}

/// The stretches of an order, in turn.
pub(crate) fn segments(sort: &[Sort]) -> Vec<Segment> {
    match sort.first() {
        Some(Sort {
            path: Path::Doc(_),
            missing_first: true,
            ..
        }) => vec![Segment::Missing, Segment::Present],
        Some(Sort {
            path: Path::Doc(_), ..
        }) => vec![Segment::Present, Segment::Missing],
        _ => vec![Segment::All],
    }
}

/// Whether an index, or the key, gives items in this order, so that a page of
/// them costs a page of work.
pub(crate) fn has_order(query: &Query, indexes: &[Declared]) -> bool {
    let Some(first) = query.sort.first() else {
        return true;
    };
    if first.path == Path::Entry(EntryField::Key) {
        return true;
    }
    let mut equal = Vec::new();
    equalities(&query.filter, &mut equal);
    indexes.iter().any(|declared| {
        let index = &declared.index;
        let next = index.paths.iter().find(|path| !equal.contains(path));
        index.holds == Holds::Any && next == Some(&first.path)
    })
}

/// The paths that a filter tests for equality.
fn equalities<'a>(filter: &'a Filter, paths: &mut Vec<&'a Path>) {
    match filter.node() {
        Node::And(parts) => parts.iter().for_each(|part| equalities(part, paths)),
        Node::Test(path, Test::Eq(_)) => paths.push(path),
        _ => {}
    }
}

/// The condition that an item lies in a segment.
pub(crate) fn in_segment(segment: Segment, sort: &[Sort], dialect: &dyn Dialect) -> Option<Clause> {
    let column = dialect.column(&sort.first()?.path)?;
    match segment {
        Segment::All => None,
        Segment::Present => Some(Clause::new(is_there(&column, dialect), [])),
        Segment::Missing => Some(Clause::new(format!("{column} IS NULL"), [])),
    }
}

/// The order of a segment.
pub(crate) fn order(segment: Segment, query: &Query, dialect: &dyn Dialect) -> String {
    let mut terms = Vec::new();
    for (at, sort) in query.sort.iter().enumerate() {
        let Some(column) = dialect.column(&sort.path) else {
            continue;
        };
        let direction = if sort.descending { " DESC" } else { "" };
        terms.push(match (at, segment, &sort.path) {
            (0, Segment::Missing, _) => continue,
            (0, Segment::Present, _) | (_, _, Path::Entry(_)) => format!("{column}{direction}"),
            _ => dialect.order(&column, sort.descending, sort.missing_first),
        });
    }
    let direction = if query.key_descends() { " DESC" } else { "" };
    terms.push(format!("{}{direction}", dialect.key()));
    terms.join(", ")
}

/// A place in an order: the encoded values that an item is sorted by, and its
/// key.
#[derive(Clone, Debug)]
pub(crate) struct Position {
    pub(crate) values: Vec<Option<Vec<u8>>>,
    pub(crate) key: String,
}

impl Position {
    pub(crate) fn of(cursor: &Cursor) -> Self {
        let missing = holdall_core::sort_key_or_missing(None);
        let value = |value: &Vec<u8>| Some(value.clone()).filter(|value| *value != missing);
        Self {
            values: cursor.values().iter().map(value).collect(),
            key: cursor.key().as_str().to_owned(),
        }
    }

    /// Whether what is kept tells its place.
    pub(crate) fn is_whole(&self) -> bool {
        self.values.iter().flatten().all(|value| is_in_order(value))
    }

    /// The segment that it lies in.
    pub(crate) fn segment(&self, sort: &[Sort]) -> Segment {
        match (sort.first(), self.values.first()) {
            (
                Some(Sort {
                    path: Path::Doc(_), ..
                }),
                Some(Some(_)),
            ) => Segment::Present,
            (
                Some(Sort {
                    path: Path::Doc(_), ..
                }),
                _,
            ) => Segment::Missing,
            _ => Segment::All,
        }
    }
}

/// The condition that an item comes behind a position, as far as it lies in the
/// segment of the position.
pub(crate) fn behind(
    position: &Position,
    segment: Segment,
    query: &Query,
    dialect: &dyn Dialect,
) -> Result<Clause> {
    if let ([sort], [Some(value)]) = (query.sort.as_slice(), position.values.as_slice())
        && dialect.seeks_rows()
        && let Some(column) = dialect.column(&sort.path)
        && (segment == Segment::Present || matches!(sort.path, Path::Entry(_)))
    {
        // One sort and the key run in one direction, which an index can seek.
        let operator = if sort.descending { '<' } else { '>' };
        let values = [bound(&sort.path, value)?, Value::Text(position.key.clone())];
        return Ok(Clause::new(
            format!("({column}, {}) {operator} (?, ?)", dialect.key()),
            values,
        ));
    }
    let first = usize::from(segment == Segment::Missing);
    let rest = lexical(position, query, first, dialect)?;
    let edge = match (query.sort.first(), position.values.first()) {
        // Lets an index start where the position is.
        (Some(sort), Some(Some(value)))
            if segment == Segment::Present || matches!(sort.path, Path::Entry(_)) =>
        {
            dialect.column(&sort.path).map(|column| {
                let operator = if sort.descending { "<=" } else { ">=" };
                bound(&sort.path, value)
                    .map(|value| Clause::new(format!("{column} {operator} ?"), [value]))
            })
        }
        _ => None,
    };
    Ok(Clause::all(
        edge.transpose()?.into_iter().chain([rest]).collect(),
    ))
}

/// Behind by this sort, or equal in it and behind by those that follow.
fn lexical(position: &Position, query: &Query, at: usize, dialect: &dyn Dialect) -> Result<Clause> {
    let Some(sort) = query.sort.get(at) else {
        let operator = if query.key_descends() { '<' } else { '>' };
        return Ok(Clause::new(
            format!("{} {operator} ?", dialect.key()),
            [Value::Text(position.key.clone())],
        ));
    };
    let rest = lexical(position, query, at + 1, dialect)?;
    let Some(column) = dialect.column(&sort.path) else {
        return Ok(rest);
    };
    let Some(value) = position.values.get(at).cloned().flatten() else {
        let equal = Clause::all(vec![Clause::new(format!("{column} IS NULL"), []), rest]);
        return Ok(match sort.missing_first {
            true => Clause::any(vec![
                Clause::new(format!("{column} IS NOT NULL"), []),
                equal,
            ]),
            false => equal,
        });
    };
    let value = bound(&sort.path, &value)?;
    let operator = if sort.descending { '<' } else { '>' };
    let missing = if sort.missing_first {
        String::new()
    } else {
        format!(" OR {column} IS NULL")
    };
    let beyond = Clause::new(format!("{column} {operator} ?{missing}"), [value.clone()]);
    let equal = Clause::all(vec![Clause::new(format!("{column} = ?"), [value]), rest]);
    Ok(Clause::any(vec![beyond, equal]))
}

/// An encoded value as it is compared with the column of its path.
fn bound(path: &Path, encoded: &[u8]) -> Result<Value> {
    let Path::Entry(field) = path else {
        return Ok(Value::Bytes(encoded.to_vec()));
    };
    let value = value_of_sort_key(encoded).ok().flatten();
    value
        .and_then(|value| entry_value(*field, &value))
        .ok_or_else(|| {
            holdall_core::Error::invalid(
                "the cursor does not fit the order of the query; start without it",
            )
        })
}
