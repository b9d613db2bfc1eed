//! Turns filters and orders into SQL.
//!
//! A test becomes SQL where an index or a column can answer it; whatever is
//! left is asked of `holdall_match`, the reference evaluator, row by row. Values
//! are always bound, never written into the text.

use holdall_core::{
    Cursor, EntryField, Filter, Holds, Key, Node, Path, Query, Result, Sort, Test, Type, Value,
    Version, sort_key, sort_key_range, sort_key_string_prefix, value_of_sort_key,
};
use rusqlite::types::Value as Sql;

use super::indexes::{Declared, expression, of_type};

/// A piece of SQL and the values of its parameters.
#[derive(Clone, Debug, Default)]
pub(super) struct Clause {
    pub(super) sql: String,
    pub(super) values: Vec<Sql>,
}

impl Clause {
    fn new(sql: impl Into<String>, values: impl IntoIterator<Item = Sql>) -> Self {
        Self {
            sql: sql.into(),
            values: values.into_iter().collect(),
        }
    }

    fn joined(parts: Vec<Self>, by: &str) -> Self {
        let sql: Vec<String> = parts.iter().map(|part| format!("({})", part.sql)).collect();
        let values = parts.into_iter().flat_map(|part| part.values).collect();
        Self {
            sql: sql.join(by),
            values,
        }
    }

    /// All of these; the always true clause if there are none.
    pub(super) fn all(parts: Vec<Self>) -> Self {
        if parts.is_empty() {
            Self::new("1", [])
        } else {
            Self::joined(parts, " AND ")
        }
    }
}

/// The most values of an `in` that become parameters.
const MAX_IN: usize = 500;

/// What a filter becomes: all of these must hold.
pub(super) fn filter(filter: &Filter, indexes: &[Declared]) -> Vec<Clause> {
    let mut clauses = Vec::new();
    let mut rest = Vec::new();
    split(filter, indexes, &mut clauses, &mut rest);
    if !rest.is_empty() {
        // The parts came from a filter within its limits, so they fit too.
        let rest = Filter::and(rest).unwrap_or_else(|_| filter.clone());
        let text = rest.to_json().to_string();
        clauses.push(Clause::new(
            "holdall_match(?, doc, key, version, created, modified, size)",
            [Sql::Text(text)],
        ));
    }
    clauses
}

fn split(filter: &Filter, indexes: &[Declared], clauses: &mut Vec<Clause>, rest: &mut Vec<Filter>) {
    match filter.node() {
        Node::And(parts) => parts
            .iter()
            .for_each(|part| split(part, indexes, clauses, rest)),
        Node::Or(_) => match exact(filter, indexes) {
            Some(clause) => clauses.push(clause),
            None => rest.push(filter.clone()),
        },
        Node::Not(_) => rest.push(filter.clone()),
        Node::Test(path, Test::Match(wanted)) => {
            // A word index narrows the search; the evaluator has the last word.
            clauses.extend(words(path, wanted.words(), indexes));
            rest.push(filter.clone());
        }
        Node::Test(path, test) => match exact_test(path, test, indexes) {
            Some(clause) => clauses.push(clause),
            None => rest.push(filter.clone()),
        },
    }
}

/// A filter as SQL that holds exactly where it does.
fn exact(filter: &Filter, indexes: &[Declared]) -> Option<Clause> {
    let all = |parts: &[Filter]| {
        parts
            .iter()
            .map(|part| exact(part, indexes))
            .collect::<Option<Vec<_>>>()
    };
    match filter.node() {
        Node::And(parts) => Some(Clause::all(all(parts)?)),
        Node::Or(parts) if parts.is_empty() => Some(Clause::new("0", [])),
        Node::Or(parts) => Some(Clause::joined(all(parts)?, " OR ")),
        // NULL stands for a missing value in SQL, and turns `not` into neither.
        Node::Not(_) => None,
        Node::Test(path, test) => exact_test(path, test, indexes),
    }
}

fn exact_test(path: &Path, test: &Test, indexes: &[Declared]) -> Option<Clause> {
    match path {
        Path::Entry(field) => entry_test(*field, test),
        Path::Doc(_) => doc_test(path, test, indexes),
    }
}

/// How a path is indexed by its value: for all values, or for those of types.
fn indexed(path: &Path, indexes: &[Declared]) -> Option<Vec<Holds>> {
    let first = |declared: &&Declared| declared.index.paths.first() == Some(path);
    let holds: Vec<Holds> = indexes
        .iter()
        .filter(first)
        .map(|declared| declared.index.holds)
        .filter(|holds| *holds != Holds::Words)
        .collect();
    // A path further back counts too: the first ones may be tested as well.
    let further = indexes
        .iter()
        .any(|declared| declared.index.paths.contains(path) && declared.index.holds == Holds::Any);
    (further || !holds.is_empty()).then_some(holds)
}

fn doc_test(path: &Path, test: &Test, indexes: &[Declared]) -> Option<Clause> {
    let holds = indexed(path, indexes)?;
    let column = expression(path)?;
    let blob = |value: &Value| Sql::Blob(sort_key(value));
    // An index of one type is only used where its own condition stands in the
    // query, word for word.
    let typed = |of: Type| match holds.contains(&Holds::Only(of)) {
        true => format!(" AND {}", of_type(&column, of)),
        false => String::new(),
    };
    let compared = |operator: &str, wanted: &Value, greater: bool| {
        let of = Type::of(wanted);
        let (low, high) = sort_key_range(of);
        let edge = if greater {
            format!("{column} < x'{high:02x}'")
        } else {
            format!("{column} >= x'{low:02x}'")
        };
        Clause::new(
            format!("{column} {operator} ? AND {edge}{}", typed(of)),
            [blob(wanted)],
        )
    };
    Some(match test {
        Test::Eq(wanted) => Clause::new(
            format!("{column} = ?{}", typed(Type::of(wanted))),
            [blob(wanted)],
        ),
        Test::Gt(wanted) => compared(">", wanted, true),
        Test::Gte(wanted) => compared(">=", wanted, true),
        Test::Lt(wanted) => compared("<", wanted, false),
        Test::Lte(wanted) => compared("<=", wanted, false),
        Test::In(wanted) if wanted.is_empty() => Clause::new("0", []),
        Test::In(wanted) if wanted.len() <= MAX_IN => Clause::new(
            format!("{column} IN ({})", marks(wanted.len())),
            wanted.iter().map(blob),
        ),
        Test::Exists(true) => Clause::new(is_there(&column), []),
        Test::Exists(false) => Clause::new(format!("{column} IS NULL"), []),
        Test::StartsWith(prefix) => {
            let start = sort_key_string_prefix(prefix);
            let end = after_bytes(&start)?;
            let typed = typed(Type::String);
            Clause::new(
                format!("{column} >= ? AND {column} < ?{typed}"),
                [Sql::Blob(start), Sql::Blob(end)],
            )
        }
        Test::Ne(_) | Test::Nin(_) | Test::In(_) | Test::Contains(_) | Test::Match(_) => {
            return None;
        }
    })
}

/// Every sort key is greater than the empty one, and NULL is not; unlike `IS NOT
/// NULL`, this lets an index start behind the missing values.
fn is_there(column: &str) -> String {
    format!("{column} > x''")
}

fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}

/// The first bytes after all that start with these.
fn after_bytes(prefix: &[u8]) -> Option<Vec<u8>> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return Some(end);
        }
    }
    None
}

fn entry_test(field: EntryField, test: &Test) -> Option<Clause> {
    let column = match field {
        EntryField::Version => "version".to_owned(),
        other => expression(&Path::Entry(other))?,
    };
    let one = |operator: &str, wanted: &Value| {
        Some(Clause::new(
            format!("{column} {operator} ?"),
            [entry_value(field, wanted)?],
        ))
    };
    match test {
        Test::Eq(wanted) => one("=", wanted),
        // No field of an entry is ever missing.
        Test::Ne(wanted) => one("<>", wanted),
        Test::Gt(wanted) => one(">", wanted),
        Test::Gte(wanted) => one(">=", wanted),
        Test::Lt(wanted) => one("<", wanted),
        Test::Lte(wanted) => one("<=", wanted),
        Test::In(wanted) if wanted.is_empty() => Some(Clause::new("0", [])),
        Test::In(wanted) if wanted.len() <= MAX_IN => {
            let values = wanted
                .iter()
                .map(|value| entry_value(field, value))
                .collect::<Option<Vec<_>>>()?;
            Some(Clause::new(
                format!("{column} IN ({})", marks(wanted.len())),
                values,
            ))
        }
        Test::Exists(wanted) => Some(Clause::new(if *wanted { "1" } else { "0" }, [])),
        Test::StartsWith(prefix) => {
            let from = Clause::new(format!("{column} >= ?"), [Sql::Text(prefix.clone())]);
            let to = Key::after_prefix(prefix)
                .map(|end| Clause::new(format!("{column} < ?"), [Sql::Text(end)]));
            Some(Clause::all(std::iter::once(from).chain(to).collect()))
        }
        Test::In(_) | Test::Nin(_) | Test::Contains(_) | Test::Match(_) => None,
    }
}

/// A value to compare a column with. SQLite compares integers and floats
/// exactly, as the evaluator does; an integer beyond 63 bits has no place in it.
fn entry_value(field: EntryField, value: &Value) -> Option<Sql> {
    match (field, value) {
        (EntryField::Version, Value::String(text)) => {
            let version: Version = text.parse().ok()?;
            Some(Sql::Blob(version.as_bytes().to_vec()))
        }
        (_, Value::String(text)) => Some(Sql::Text(text.clone())),
        (_, Value::Number(number)) => match number.as_i64() {
            Some(number) => Some(Sql::Integer(number)),
            None if number.is_f64() => number.as_f64().map(Sql::Real),
            None => None,
        },
        _ => None,
    }
}

/// The items that have all words, by a word index.
fn words(path: &Path, words: &[String], indexes: &[Declared]) -> Option<Clause> {
    let here = |declared: &&Declared| {
        declared.index.holds == Holds::Words && declared.index.paths.first() == Some(path)
    };
    let id = indexes.iter().find(here)?.id;
    let quoted: Vec<String> = words
        .iter()
        .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
        .collect();
    Some(Clause::new(
        format!("id IN (SELECT rowid FROM holdall_words_{id} WHERE words MATCH ?)"),
        [Sql::Text(quoted.join(" AND "))],
    ))
}

/// One stretch of an answer that an index gives in order: items that have a
/// value to sort by first, or those that have none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Segment {
    /// All items, in an order without missing values in the first place.
    All,
    /// Those that have a value at the first sort.
    Present,
    /// Those that have none.
    Missing,
}

/// The stretches of an order, in turn.
pub(super) fn segments(sort: &[Sort]) -> Vec<Segment> {
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
pub(super) fn has_order(query: &Query, indexes: &[Declared]) -> bool {
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
pub(super) fn in_segment(segment: Segment, sort: &[Sort]) -> Option<Clause> {
    let column = expression(&sort.first()?.path)?;
    match segment {
        Segment::All => None,
        Segment::Present => Some(Clause::new(is_there(&column), [])),
        Segment::Missing => Some(Clause::new(format!("{column} IS NULL"), [])),
    }
}

/// The order of a segment.
pub(super) fn order(segment: Segment, query: &Query) -> String {
    let mut terms = Vec::new();
    for (at, sort) in query.sort.iter().enumerate() {
        let Some(column) = expression(&sort.path) else {
            continue;
        };
        let direction = if sort.descending { " DESC" } else { "" };
        let nulls = match (at, segment, &sort.path) {
            (0, Segment::Missing, _) => continue,
            (0, Segment::Present, _) | (_, _, Path::Entry(_)) => "",
            _ if sort.missing_first => " NULLS FIRST",
            _ => " NULLS LAST",
        };
        terms.push(format!("{column}{direction}{nulls}"));
    }
    let direction = if query.key_descends() { " DESC" } else { "" };
    terms.push(format!("key{direction}"));
    terms.join(", ")
}

/// A place in an order: the encoded values that an item is sorted by, and its
/// key.
#[derive(Clone, Debug)]
pub(super) struct Position {
    pub(super) values: Vec<Option<Vec<u8>>>,
    pub(super) key: String,
}

impl Position {
    pub(super) fn of(cursor: &Cursor) -> Result<Self> {
        let missing = holdall_core::sort_key_or_missing(None);
        let value = |value: &Vec<u8>| Some(value.clone()).filter(|value| *value != missing);
        Ok(Self {
            values: cursor.values().iter().map(value).collect(),
            key: cursor.key().as_str().to_owned(),
        })
    }

    /// The segment that it lies in.
    pub(super) fn segment(&self, sort: &[Sort]) -> Segment {
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
pub(super) fn behind(position: &Position, segment: Segment, query: &Query) -> Result<Clause> {
    if let ([sort], [Some(value)]) = (query.sort.as_slice(), position.values.as_slice())
        && let Some(column) = expression(&sort.path)
        && (segment == Segment::Present || matches!(sort.path, Path::Entry(_)))
    {
        // One sort and the key run in one direction, which an index can seek.
        let operator = if sort.descending { '<' } else { '>' };
        let values = [bound(&sort.path, value)?, Sql::Text(position.key.clone())];
        return Ok(Clause::new(
            format!("({column}, key) {operator} (?, ?)"),
            values,
        ));
    }
    let first = usize::from(segment == Segment::Missing);
    let rest = lexical(position, query, first)?;
    let edge = match (segment, query.sort.first(), position.values.first()) {
        // Lets an index start where the position is.
        (Segment::Present, Some(sort), Some(Some(value))) => expression(&sort.path).map(|column| {
            let operator = if sort.descending { "<=" } else { ">=" };
            bound(&sort.path, value)
                .map(|value| Clause::new(format!("{column} {operator} ?"), [value]))
        }),
        _ => None,
    };
    Ok(Clause::all(
        edge.transpose()?.into_iter().chain([rest]).collect(),
    ))
}

/// Behind by this sort, or equal in it and behind by those that follow.
fn lexical(position: &Position, query: &Query, at: usize) -> Result<Clause> {
    let Some(sort) = query.sort.get(at) else {
        let operator = if query.key_descends() { '<' } else { '>' };
        return Ok(Clause::new(
            format!("key {operator} ?"),
            [Sql::Text(position.key.clone())],
        ));
    };
    let rest = lexical(position, query, at + 1)?;
    let Some(column) = expression(&sort.path) else {
        return Ok(rest);
    };
    let Some(value) = position.values.get(at).cloned().flatten() else {
        let equal = Clause::all(vec![Clause::new(format!("{column} IS NULL"), []), rest]);
        return Ok(match sort.missing_first {
            true => Clause::joined(
                vec![Clause::new(format!("{column} IS NOT NULL"), []), equal],
                " OR ",
            ),
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
    Ok(Clause::joined(vec![beyond, equal], " OR "))
}

/// An encoded value as it is compared with the expression of its path.
fn bound(path: &Path, encoded: &[u8]) -> Result<Sql> {
    let Path::Entry(field) = path else {
        return Ok(Sql::Blob(encoded.to_vec()));
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
