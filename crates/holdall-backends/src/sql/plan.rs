//! Turns filters into SQL.
//!
//! A test becomes SQL where an index, a column or the database's own look into
//! docs can answer it; whatever is left is asked of the reference evaluator, by
//! the database where that can call it, else of the rows that come back. Values
//! are always bound, never written into the text.

use holdall_core::{
    Digest, EntryField, Filter, Holds, Key, Node, Path, Test, Type, Value as Json, Version,
    sort_key, sort_key_range, sort_key_string_prefix,
};

use super::declared::Declared;
use super::{Clause, Dialect, Value, marks};

/// The most values of an `in` that become parameters.
const MAX_IN: usize = 500;

/// The bytes of a sort key beyond which only the start is kept, so that an index
/// can hold it.
const WHOLE: usize = 255;

/// The bytes of the start that is kept of a longer one.
const START: usize = 223;

/// A sort key as it is kept where an index has a limit: whole up to 255 bytes;
/// of a longer one the first 223, a byte 0xFF and the BLAKE3 digest of all. So
/// equality stays exact, and order is exact but among long ones that share
/// their start.
pub(crate) fn kept(key: Vec<u8>) -> Vec<u8> {
    if key.len() <= WHOLE {
        return key;
    }
    let digest = Digest::of(&key);
    let mut kept = key;
    kept.truncate(START);
    kept.push(u8::MAX);
    kept.extend_from_slice(digest.as_bytes());
    kept
}

/// Whether what is kept of a sort key stands in its order among all others, cut
/// ones too.
pub(crate) fn is_in_order(kept: &[u8]) -> bool {
    kept.len() <= START
}

/// A condition, and whether it holds exactly where the test does. Else it holds
/// there and perhaps elsewhere.
#[derive(Clone, Debug)]
pub(crate) struct Tested {
    pub(crate) clause: Clause,
    pub(crate) exact: bool,
}

impl Tested {
    pub(crate) fn exact(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self {
            clause: Clause::new(sql, values),
            exact: true,
        }
    }

    pub(crate) fn wider(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self {
            exact: false,
            ..Self::exact(sql, values)
        }
    }
}

/// A filter as SQL.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    /// All of these must hold.
    pub(crate) clauses: Vec<Clause>,
    /// What the rows must be asked beside: nothing if the clauses hold exactly
    /// where the filter does.
    pub(crate) rest: Option<Filter>,
}

/// What a filter becomes.
pub(crate) fn filter(filter: &Filter, indexes: &[Declared], dialect: &dyn Dialect) -> Pushed {
    let planner = Planner { indexes, dialect };
    let mut clauses = Vec::new();
    let mut rest = Vec::new();
    planner.split(filter, &mut clauses, &mut rest);
    if rest.is_empty() {
        return Pushed {
            clauses,
            rest: None,
        };
    }
    // The parts came from a filter within its limits, so they fit too.
    let rest = Filter::and(rest).unwrap_or_else(|_| filter.clone());
    match dialect.evaluate(&rest) {
        Some(evaluated) => {
            clauses.push(evaluated);
            Pushed {
                clauses,
                rest: None,
            }
        }
        None => Pushed {
            clauses,
            rest: Some(rest),
        },
    }
}

struct Planner<'a> {
    indexes: &'a [Declared],
    dialect: &'a dyn Dialect,
}

impl Planner<'_> {
    fn split(&self, filter: &Filter, clauses: &mut Vec<Clause>, rest: &mut Vec<Filter>) {
        if let Node::And(parts) = filter.node() {
            parts
                .iter()
                .for_each(|part| self.split(part, clauses, rest));
            return;
        }
        match self.tested(filter) {
            Some(tested) => {
                clauses.push(tested.clause);
                if !tested.exact {
                    rest.push(filter.clone());
                }
            }
            None => rest.push(filter.clone()),
        }
    }

    fn tested(&self, filter: &Filter) -> Option<Tested> {
        let all = |parts: &[Filter]| {
            let parts: Option<Vec<Tested>> = parts.iter().map(|part| self.tested(part)).collect();
            parts.map(|parts| {
                let exact = parts.iter().all(|part| part.exact);
                let clauses = parts.into_iter().map(|part| part.clause).collect();
                (clauses, exact)
            })
        };
        match filter.node() {
            Node::And(parts) => all(parts).map(|(parts, exact)| Tested {
                clause: Clause::all(parts),
                exact,
            }),
            Node::Or(parts) => all(parts).map(|(parts, exact)| Tested {
                clause: Clause::any(parts),
                exact,
            }),
            // NULL stands for a missing value in SQL, and turns `not` into neither.
            Node::Not(_) => None,
            // A word index narrows the search; the evaluator has the last word.
            Node::Test(path, Test::Match(wanted)) => {
                let clause = self.words(path, wanted.words())?;
                Some(Tested {
                    clause,
                    exact: false,
                })
            }
            Node::Test(Path::Entry(field), test) => self.entry_test(*field, test),
            Node::Test(path, test) => self
                .doc_test(path, test)
                .or_else(|| self.dialect.unindexed(path, test)),
        }
    }

    /// How a path is indexed by its value: for all values, or for those of types.
    fn indexed(&self, path: &Path) -> Option<Vec<Holds>> {
        let first = |declared: &&Declared| declared.index.paths.first() == Some(path);
        let holds: Vec<Holds> = self
            .indexes
            .iter()
            .filter(first)
            .map(|declared| declared.index.holds)
            .filter(|holds| *holds != Holds::Words)
            .collect();
        // A path further back counts too: the first ones may be tested as well.
        let further = self.indexes.iter().any(|declared| {
            declared.index.paths.contains(path) && declared.index.holds == Holds::Any
        });
        (further || !holds.is_empty()).then_some(holds)
    }

    fn doc_test(&self, path: &Path, test: &Test) -> Option<Tested> {
        let holds = self.indexed(path)?;
        let column = self.dialect.sort_key(path)?;
        let kept = |value: &Json| self.kept(sort_key(value));
        // An index of one type is only used where its own condition stands in the
        // query, word for word.
        let typed = |of: Type| match holds.contains(&Holds::Only(of)) {
            true => format!(" AND {}", of_type(&column, of, self.dialect)),
            false => String::new(),
        };
        let compared = |wanted: &Json, greater: bool, or_equal: bool| {
            let of = Type::of(wanted);
            let (low, high) = sort_key_range(of);
            let (operator, edge) = match greater {
                true => ('>', format!("{column} < {}", self.dialect.literal(&[high]))),
                false => ('<', format!("{column} >= {}", self.dialect.literal(&[low]))),
            };
            let key = sort_key(wanted);
            let or_equal = if or_equal { "=" } else { "" };
            match self.start(&key) {
                None => Some(Tested::exact(
                    format!("{column} {operator}{or_equal} ? AND {edge}{}", typed(of)),
                    [Value::Bytes(key)],
                )),
                // Not told from those that share its start.
                Some(start) => {
                    let (operator, start) = match greater {
                        true => (">=", start),
                        false => ("<", after_bytes(&start)?),
                    };
                    Some(Tested::wider(
                        format!("{column} {operator} ? AND {edge}{}", typed(of)),
                        [Value::Bytes(start)],
                    ))
                }
            }
        };
        Some(match test {
            Test::Eq(wanted) => Tested::exact(
                format!("{column} = ?{}", typed(Type::of(wanted))),
                [kept(wanted)],
            ),
            Test::Gt(wanted) => compared(wanted, true, false)?,
            Test::Gte(wanted) => compared(wanted, true, true)?,
            Test::Lt(wanted) => compared(wanted, false, false)?,
            Test::Lte(wanted) => compared(wanted, false, true)?,
            Test::In(wanted) if wanted.is_empty() => never(),
            Test::In(wanted) if wanted.len() <= MAX_IN => Tested::exact(
                format!("{column} IN ({})", marks(wanted.len())),
                wanted.iter().map(kept),
            ),
            Test::Exists(true) => Tested::exact(is_there(&column, self.dialect), []),
            Test::Exists(false) => Tested::exact(format!("{column} IS NULL"), []),
            Test::StartsWith(prefix) => {
                let whole = sort_key_string_prefix(prefix);
                let (start, exact) = match self.start(&whole) {
                    Some(start) => (start, false),
                    None => (whole, true),
                };
                let end = after_bytes(&start)?;
                let typed = typed(Type::String);
                Tested {
                    clause: Clause::new(
                        format!("{column} >= ? AND {column} < ?{typed}"),
                        [Value::Bytes(start), Value::Bytes(end)],
                    ),
                    exact,
                }
            }
            Test::Ne(_) | Test::Nin(_) | Test::In(_) | Test::Contains(_) | Test::Match(_) => {
                return None;
            }
        })
    }

    /// The start of a sort key that is too long to be compared with what is kept.
    fn start(&self, key: &[u8]) -> Option<Vec<u8>> {
        let start = key.get(..START).filter(|_| key.len() > START)?;
        self.dialect.cuts().then(|| start.to_vec())
    }

    fn kept(&self, key: Vec<u8>) -> Value {
        Value::Bytes(match self.dialect.cuts() {
            true => kept(key),
            false => key,
        })
    }

    fn entry_test(&self, field: EntryField, test: &Test) -> Option<Tested> {
        let column = match field {
            EntryField::Version => "version".to_owned(),
            other => self.dialect.column(&Path::Entry(other))?,
        };
        let one = |operator: &str, wanted: &Json| {
            Some(Tested::exact(
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
            Test::In(wanted) if wanted.is_empty() => Some(never()),
            Test::In(wanted) if wanted.len() <= MAX_IN => {
                let values = wanted
                    .iter()
                    .map(|value| entry_value(field, value))
                    .collect::<Option<Vec<_>>>()?;
                Some(Tested::exact(
                    format!("{column} IN ({})", marks(wanted.len())),
                    values,
                ))
            }
            Test::Exists(true) => Some(Tested {
                clause: Clause::always(),
                exact: true,
            }),
            Test::Exists(false) => Some(never()),
            Test::StartsWith(prefix) => {
                let from = Clause::new(format!("{column} >= ?"), [Value::Text(prefix.clone())]);
                let to = Key::after_prefix(prefix)
                    .map(|end| Clause::new(format!("{column} < ?"), [Value::Text(end)]));
                Some(Tested {
                    clause: Clause::all(std::iter::once(from).chain(to).collect()),
                    exact: true,
                })
            }
            Test::In(_) | Test::Nin(_) | Test::Contains(_) | Test::Match(_) => None,
        }
    }

    /// The items that have all words, by a word index.
    fn words(&self, path: &Path, words: &[String]) -> Option<Clause> {
        let here = |declared: &&Declared| {
            declared.index.holds == Holds::Words && declared.index.paths.first() == Some(path)
        };
        let id = self.indexes.iter().find(here)?.id;
        self.dialect.words(id, path, words)
    }
}

fn never() -> Tested {
    Tested {
        clause: Clause::never(),
        exact: true,
    }
}

/// The condition that a sort key is one of a type.
pub(crate) fn of_type(column: &str, of: Type, dialect: &dyn Dialect) -> String {
    let (low, high) = sort_key_range(of);
    format!(
        "{column} >= {} AND {column} < {}",
        dialect.literal(&[low]),
        dialect.literal(&[high])
    )
}

/// Every sort key is greater than the empty one, and NULL is not; unlike `IS NOT
/// NULL`, this lets an index start behind the missing values.
pub(super) fn is_there(column: &str, dialect: &dyn Dialect) -> String {
    format!("{column} > {}", dialect.literal(&[]))
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

/// A value to compare a column with; `None` for a number that is no integer of
/// 63 bits.
pub(super) fn entry_value(field: EntryField, value: &Json) -> Option<Value> {
    match (field, value) {
        (EntryField::Version, Json::String(text)) => {
            let version: Version = text.parse().ok()?;
            Some(Value::Version(version))
        }
        (EntryField::Key, Json::String(text)) => Some(Value::Text(text.clone())),
        (EntryField::Created | EntryField::Modified, Json::Number(number)) => {
            number.as_i64().map(Value::Time)
        }
        (EntryField::Size, Json::Number(number)) => number.as_i64().map(Value::Int),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_core::json;

    /// What is kept of two sort keys compares as the keys do, unless both were
    /// cut behind the same start; equality is always theirs.
    #[test]
    fn what_is_kept_of_a_sort_key_compares_as_the_key_does() {
        let text = |length: usize, end: &str| json!(format!("{}{end}", "x".repeat(length)));
        let mut values = vec![json!(null), json!(7), json!({"a": "b"}), json!("")];
        for length in [1, 220, 221, 222, 223, 252, 253, 254, 255, 256, 300] {
            values.extend(["", "a", "y", "zz"].map(|end| text(length, end)));
        }
        for a in &values {
            for b in &values {
                let (key_a, key_b) = (sort_key(a), sort_key(b));
                let (kept_a, kept_b) = (kept(key_a.clone()), kept(key_b.clone()));
                assert_eq!(key_a == key_b, kept_a == kept_b, "{a} {b}");
                let shared =
                    key_a.get(..START).is_some() && key_a.get(..START) == key_b.get(..START);
                if !shared {
                    assert_eq!(key_a.cmp(&key_b), kept_a.cmp(&kept_b), "{a} {b}");
                }
            }
        }
    }
}
