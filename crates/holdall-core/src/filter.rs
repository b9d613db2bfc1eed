//! Filters, and the reference evaluator that defines what they mean.

use std::borrow::Cow;

use crate::doc::MAX_DEPTH;
use crate::path::EntryField;
use crate::value::{Type, compare, equal};
use crate::{Entry, Error, Key, Path, Result, Timestamp, Value, Version, words, words_of};

/// The most tests of a filter, each listed value of `in` and `nin` counted.
pub const MAX_FILTER_TESTS: usize = 10_000;

/// The most levels of `and`, `or` and `not`.
pub const MAX_FILTER_DEPTH: usize = 30;

/// The most levels of a filter's JSON form: two for each of its own (an object
/// and a list), three for a test with a list, and those of a value. serde_json
/// reads 127, so this is what [`MAX_FILTER_DEPTH`] has to leave room for.
pub(crate) const MAX_FILTER_NESTING: usize = 2 * MAX_FILTER_DEPTH + 3 + MAX_DEPTH;

/// Says which items a query is about.
///
/// Logic is two-valued: a test holds or it does not, and `not` turns that
/// around. So a missing field matches `ne`, and `eq null` does not match
/// a missing field. Arrays and objects compare whole; elements are reached
/// only through `contains`. `gt` and its kin hold only between values of one
/// type.
///
/// ```
/// use holdall_core::{Filter, json};
/// let filter = Filter::parse(r#"{"status":"accepted","size":{"$gt":5}}"#)?;
/// assert!(filter.matches_doc(&json!({"status": "accepted", "size": 6})));
/// assert!(!filter.matches_doc(&json!({"status": "accepted", "size": "6"})));
/// # Ok::<(), holdall_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    node: Node,
    tests: usize,
    depth: usize,
}

/// The shape of a filter, for backends that translate it.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// Holds if all hold; so an empty one always does.
    And(Vec<Filter>),
    /// Holds if any holds; so an empty one never does.
    Or(Vec<Filter>),
    /// Holds if the other does not.
    Not(Box<Filter>),
    /// Tests the value at a path.
    Test(Path, Test),
}

/// A test of the value at a path, which may be missing.
///
/// Values tested against `$created` and `$modified` are numbers of
/// microseconds since 1970 here, and those against `$version` are its
/// canonical text: [`Filter::test`] sees to it.
#[derive(Clone, Debug, PartialEq)]
pub enum Test {
    /// It is there and equal.
    Eq(Value),
    /// Not [`Eq`](Self::Eq); a missing value passes.
    Ne(Value),
    /// It is there, of the same type, and greater.
    Gt(Value),
    /// It is there, of the same type, and greater or equal.
    Gte(Value),
    /// It is there, of the same type, and less.
    Lt(Value),
    /// It is there, of the same type, and less or equal.
    Lte(Value),
    /// It is there and equal to one of these.
    In(Vec<Value>),
    /// Not [`In`](Self::In); a missing value passes.
    Nin(Vec<Value>),
    /// It is there, or is not.
    Exists(bool),
    /// It is an array with an element that is equal, or a string in which this
    /// string stands.
    Contains(Value),
    /// It is a string that begins so.
    StartsWith(String),
    /// All words of this text are among the words of the value.
    Match(Match),
}

/// A text to search the words of.
#[derive(Clone, Debug, PartialEq)]
pub struct Match {
    text: String,
    words: Vec<String>,
}

impl Match {
    /// The text as it was given.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its words, as [`words`](fn@crate::words) cuts them, each once.
    pub fn words(&self) -> &[String] {
        &self.words
    }
}

impl Test {
    /// A word search.
    ///
    /// # Errors
    /// `Invalid` if the text has no words.
    pub fn search(text: impl Into<String>) -> Result<Self> {
        let text = text.into();
        let mut words = words(&text);
        words.sort_unstable();
        words.dedup();
        if words.is_empty() {
            return Err(Error::invalid(format!(
                "a word search needs a word, and {text:?} has none"
            )));
        }
        Ok(Self::Match(Match { text, words }))
    }

    fn check_values(&self, path: &Path) -> Result<()> {
        let why = match self {
            Self::StartsWith(text) if text.contains('\0') => Some(ZERO),
            _ => self.values().iter().find_map(|value| flaw_of(value, 0)),
        };
        why.map_or(Ok(()), |why| {
            Err(Error::invalid(format!("the value for {path} {why}")))
        })
    }

    fn values(&self) -> &[Value] {
        match self {
            Self::Eq(value)
            | Self::Ne(value)
            | Self::Gt(value)
            | Self::Gte(value)
            | Self::Lt(value)
            | Self::Lte(value)
            | Self::Contains(value) => std::slice::from_ref(value),
            Self::In(values) | Self::Nin(values) => values,
            Self::Exists(_) | Self::StartsWith(_) | Self::Match(_) => &[],
        }
    }

    fn values_mut(&mut self) -> &mut [Value] {
        match self {
            Self::Eq(value)
            | Self::Ne(value)
            | Self::Gt(value)
            | Self::Gte(value)
            | Self::Lt(value)
            | Self::Lte(value)
            | Self::Contains(value) => std::slice::from_mut(value),
            Self::In(values) | Self::Nin(values) => values,
            Self::Exists(_) | Self::StartsWith(_) | Self::Match(_) => &mut [],
        }
    }
}

impl Filter {
    /// Matches every item.
    pub fn all() -> Self {
        Self {
            node: Node::And(Vec::new()),
            tests: 0,
            depth: 0,
        }
    }

    /// A test of one path.
    ///
    /// # Errors
    /// `Invalid` if the test does not go with the path: times need RFC 3339 or
    /// microseconds, versions are only tested for equality. `Invalid` too for a
    /// value that no doc can hold: with U+0000, or deeper than 64 levels.
    pub fn test(path: Path, mut test: Test) -> Result<Self> {
        path.check()?;
        test.check_values(&path)?;
        if let Path::Entry(field) = path {
            check_entry_test(field, &mut test)?;
        }
        let tests = test.values().len().max(1);
        Self {
            node: Node::Test(path, test),
            tests,
            depth: 0,
        }
        .bounded()
    }

    /// Shorthand for an equality on a path in text form.
    ///
    /// # Errors
    /// `Invalid` if the path is.
    pub fn eq(path: &str, value: impl Into<Value>) -> Result<Self> {
        Self::test(path.parse()?, Test::Eq(value.into()))
    }

    /// All of these.
    ///
    /// # Errors
    /// `TooLarge` beyond 10,000 tests or 30 levels.
    pub fn and(parts: Vec<Self>) -> Result<Self> {
        Self::group(parts, Node::And)
    }

    /// Any of these.
    ///
    /// # Errors
    /// `TooLarge` beyond 10,000 tests or 30 levels.
    pub fn or(parts: Vec<Self>) -> Result<Self> {
        Self::group(parts, Node::Or)
    }

    /// The opposite.
    ///
    /// # Errors
    /// `TooLarge` beyond 30 levels.
    #[allow(clippy::should_implement_trait, reason = "it can fail")]
    pub fn not(self) -> Result<Self> {
        let (tests, depth) = (self.tests, self.depth + 1);
        Self {
            node: Node::Not(Box::new(self)),
            tests,
            depth,
        }
        .bounded()
    }

    fn group(parts: Vec<Self>, node: impl FnOnce(Vec<Self>) -> Node) -> Result<Self> {
        let tests = parts.iter().map(|part| part.tests).sum();
        let depth = parts.iter().map(|part| part.depth + 1).max().unwrap_or(0);
        Self {
            node: node(parts),
            tests,
            depth,
        }
        .bounded()
    }

    fn bounded(self) -> Result<Self> {
        if self.tests > MAX_FILTER_TESTS {
            return Err(Error::too_large(format!(
                "the filter has {} tests; the limit is {MAX_FILTER_TESTS}",
                self.tests
            )));
        }
        if self.depth > MAX_FILTER_DEPTH {
            return Err(Error::too_large(format!(
                "the filter is nested {} levels deep; the limit is {MAX_FILTER_DEPTH}",
                self.depth
            )));
        }
        Ok(self)
    }

    /// The shape.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Whether it matches every item.
    pub fn is_all(&self) -> bool {
        matches!(&self.node, Node::And(parts) if parts.is_empty())
    }

    /// Whether docs are needed to evaluate it.
    pub fn reads_doc(&self) -> bool {
        match &self.node {
            Node::And(parts) | Node::Or(parts) => parts.iter().any(Self::reads_doc),
            Node::Not(part) => part.reads_doc(),
            Node::Test(path, _) => matches!(path, Path::Doc(_)),
        }
    }

    /// Whether it matches an item. This is the definition of the query
    /// language; every backend answers as this does.
    pub fn matches(&self, subject: &Subject<'_>) -> bool {
        match &self.node {
            Node::And(parts) => parts.iter().all(|part| part.matches(subject)),
            Node::Or(parts) => parts.iter().any(|part| part.matches(subject)),
            Node::Not(part) => !part.matches(subject),
            Node::Test(path, test) => test.holds(subject.at(path).as_deref()),
        }
    }

    /// Whether it matches a doc, as far as it tests the doc: tests of entry
    /// fields find them missing.
    pub fn matches_doc(&self, doc: &Value) -> bool {
        match &self.node {
            Node::And(parts) => parts.iter().all(|part| part.matches_doc(doc)),
            Node::Or(parts) => parts.iter().any(|part| part.matches_doc(doc)),
            Node::Not(part) => !part.matches_doc(doc),
            Node::Test(path, test) => test.holds(path.in_doc(doc)),
        }
    }
}

impl Test {
    fn holds(&self, found: Option<&Value>) -> bool {
        let is = |wanted: &Value| found.is_some_and(|found| equal(found, wanted));
        let one_type = |wanted: &Value| {
            found
                .filter(|found| Type::of(found) == Type::of(wanted))
                .map(|found| compare(found, wanted))
        };
        match self {
            Self::Eq(wanted) => is(wanted),
            Self::Ne(wanted) => !is(wanted),
            Self::Gt(wanted) => one_type(wanted).is_some_and(std::cmp::Ordering::is_gt),
            Self::Gte(wanted) => one_type(wanted).is_some_and(std::cmp::Ordering::is_ge),
            Self::Lt(wanted) => one_type(wanted).is_some_and(std::cmp::Ordering::is_lt),
            Self::Lte(wanted) => one_type(wanted).is_some_and(std::cmp::Ordering::is_le),
            Self::In(wanted) => wanted.iter().any(is),
            Self::Nin(wanted) => !wanted.iter().any(is),
            Self::Exists(wanted) => found.is_some() == *wanted,
            Self::Contains(wanted) => match (found, wanted) {
                (Some(Value::Array(elements)), _) => {
                    elements.iter().any(|element| equal(element, wanted))
                }
                (Some(Value::String(text)), Value::String(part)) => text.contains(part.as_str()),
                _ => false,
            },
            Self::StartsWith(prefix) => {
                matches!(found, Some(Value::String(text)) if text.starts_with(prefix.as_str()))
            }
            Self::Match(wanted) => found.is_some_and(|found| {
                let there = words_of(found);
                wanted.words.iter().all(|word| there.contains(word))
            }),
        }
    }
}

/// What a filter or a sort looks at: an item, with its doc parsed.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The key.
    pub key: &'a Key,
    /// The entry.
    pub entry: &'a Entry,
    /// The doc; any value will do where no path of the doc is looked at.
    pub doc: &'a Value,
}

impl<'a> Subject<'a> {
    /// The value at a path. Times are microseconds since 1970, a version is
    /// its canonical text.
    pub fn at(&self, path: &Path) -> Option<Cow<'a, Value>> {
        let field = match path {
            Path::Doc(_) => return path.in_doc(self.doc).map(Cow::Borrowed),
            Path::Entry(field) => field,
        };
        Some(Cow::Owned(match field {
            EntryField::Key => self.key.as_str().into(),
            EntryField::Created => self.entry.created.as_micros().into(),
            EntryField::Modified => self.entry.modified.as_micros().into(),
            EntryField::Size => self.entry.size.into(),
            EntryField::Version => self.entry.version.to_string().into(),
        }))
    }
}

const ZERO: &str = "holds U+0000, which no doc can hold";

/// Why no doc can hold a value, if none can.
fn flaw_of(value: &Value, depth: usize) -> Option<&'static str> {
    let is_deep = depth >= MAX_DEPTH;
    match value {
        Value::String(text) => text.contains('\0').then_some(ZERO),
        Value::Array(_) | Value::Object(_) if is_deep => {
            Some("is nested deeper than 64 levels, which no doc can be")
        }
        Value::Array(elements) => elements
            .iter()
            .find_map(|element| flaw_of(element, depth + 1)),
        Value::Object(members) => members.iter().find_map(|(name, value)| {
            let zero = name.contains('\0').then_some(ZERO);
            zero.or_else(|| flaw_of(value, depth + 1))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// Checks a test of an entry field and brings its values into the form that
/// [`Subject::at`] gives.
fn check_entry_test(field: EntryField, test: &mut Test) -> Result<()> {
    let name = field.name();
    let equality = matches!(
        test,
        Test::Eq(_) | Test::Ne(_) | Test::In(_) | Test::Nin(_) | Test::Exists(_)
    );
    let text_only = matches!(
        test,
        Test::Contains(_) | Test::StartsWith(_) | Test::Match(_)
    );
    match field {
        EntryField::Version if !equality => {
            return Err(Error::invalid(
                "$version can only be tested for equality: nothing is ordered by it",
            ));
        }
        EntryField::Created | EntryField::Modified | EntryField::Size if text_only => {
            return Err(Error::invalid(format!(
                "{name} is no text, so this test of it cannot hold"
            )));
        }
        _ => {}
    }
    for value in test.values_mut() {
        *value = entry_value(field, value).map_err(|error| {
            Error::invalid(format!(
                "the value for {name} is not valid: {}",
                error.message()
            ))
        })?;
    }
    Ok(())
}

fn entry_value(field: EntryField, value: &Value) -> Result<Value> {
    match (field, value) {
        (EntryField::Key, Value::String(_)) | (EntryField::Size, Value::Number(_)) => {
            Ok(value.clone())
        }
        (EntryField::Created | EntryField::Modified, Value::String(text)) => {
            Ok(text.parse::<Timestamp>()?.as_micros().into())
        }
        (EntryField::Created | EntryField::Modified, Value::Number(_)) => Ok(value.clone()),
        (EntryField::Version, Value::String(text)) => {
            Ok(text.parse::<Version>()?.to_string().into())
        }
        (EntryField::Key, _) => Err(Error::invalid("a key is a string")),
        (EntryField::Size, _) => Err(Error::invalid("a size is a number of bytes")),
        (EntryField::Created | EntryField::Modified, _) => Err(Error::invalid(
            "a time is a string like \"2026-11-21T09:10:58Z\" or a number of microseconds since 1970",
        )),
        (EntryField::Version, _) => Err(Error::invalid("a version is a string")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn holds(filter: Value, doc: Value) -> bool {
        Filter::parse(&filter.to_string())
            .unwrap()
            .matches_doc(&doc)
    }

    #[test]
    fn missing_and_null_are_two() {
        assert!(holds(json!({"a": null}), json!({"a": null})));
        assert!(!holds(json!({"a": null}), json!({})));
        assert!(holds(json!({"a": {"$ne": 1}}), json!({})));
        assert!(holds(json!({"a": {"$nin": [1, null]}}), json!({})));
        assert!(!holds(
            json!({"a": {"$nin": [1, null]}}),
            json!({"a": null})
        ));
        assert!(holds(json!({"a": {"$exists": true}}), json!({"a": null})));
        assert!(holds(json!({"a": {"$exists": false}}), json!({"b": 1})));
        assert!(!holds(json!({"a": {"$lte": 5}}), json!({})));
        assert!(holds(json!({"a": {"$not": {"$lte": 5}}}), json!({})));
        assert!(holds(json!({"a": {"$gte": null}}), json!({"a": null})));
    }

    #[test]
    fn comparisons_stay_within_a_type() {
        assert!(holds(json!({"a": {"$gt": 5}}), json!({"a": 5.5})));
        assert!(!holds(json!({"a": {"$gt": 5}}), json!({"a": "6"})));
        assert!(!holds(json!({"a": {"$lt": "b"}}), json!({"a": 1})));
        assert!(!holds(json!({"a": {"$lt": true}}), json!({"a": 0})));
        assert!(holds(
            json!({"a": {"$gt": 9_007_199_254_740_992_u64}}),
            json!({"a": 9_007_199_254_740_993_u64})
        ));
    }

    #[test]
    fn elements_are_reached_through_contains_alone() {
        assert!(!holds(json!({"tags": "x"}), json!({"tags": ["x"]})));
        assert!(holds(json!({"tags": ["x"]}), json!({"tags": ["x"]})));
        assert!(holds(
            json!({"tags": {"$contains": "x"}}),
            json!({"tags": ["y", "x"]})
        ));
        assert!(holds(
            json!({"tags": {"$contains": 1}}),
            json!({"tags": [1.0]})
        ));
        assert!(holds(
            json!({"tags": {"$contains": "50%"}}),
            json!({"tags": "a 50% b"})
        ));
        assert!(!holds(
            json!({"tags": {"$contains": "5_%"}}),
            json!({"tags": "a 50% b"})
        ));
        assert!(holds(json!({"tags.1": "x"}), json!({"tags": ["y", "x"]})));
    }

    #[test]
    fn words_are_searched_in_all_strings_of_a_value() {
        let doc = json!({"title": "The Quick", "body": ["brown", {"x": "FOX"}], "n": 5});
        assert!(holds(json!({"$match": "fox quick"}), doc.clone()));
        assert!(holds(json!({"body": {"$match": "Brown fox"}}), doc.clone()));
        assert!(!holds(json!({"title": {"$match": "fox"}}), doc.clone()));
        assert!(!holds(json!({"$match": "title"}), doc));
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        let list = |n: usize| Test::In(vec![Value::Null; n]);
        assert!(Filter::test(Path::member("a"), list(MAX_FILTER_TESTS)).is_ok());
        assert!(Filter::test(Path::member("a"), list(MAX_FILTER_TESTS + 1)).is_err());
        let mut filter = Filter::eq("a", 1).unwrap();
        for _ in 0..MAX_FILTER_DEPTH {
            filter = filter.not().unwrap();
        }
        assert!(filter.not().is_err());
    }

    /// Found by the fuzzer: a filter that was read was written deeper than it
    /// may be read, so that it could not be sent to another process.
    #[test]
    fn the_deepest_filter_is_written_and_read() {
        let deep = |levels| (1..levels).fold(json!([]), |inner, _| json!([inner]));
        let test = |value| Filter::test(Path::member("a"), Test::In(vec![value]));
        let mut filter = test(deep(MAX_DEPTH)).unwrap();
        assert!(test(deep(MAX_DEPTH + 1)).is_err());
        for _ in 0..MAX_FILTER_DEPTH {
            filter = Filter::or(vec![filter]).unwrap();
        }
        let again = Filter::parse(&filter.to_json().to_string()).unwrap();
        assert_eq!(again, filter);
    }

    /// The encoding of values ends strings with a zero byte.
    #[test]
    fn a_value_that_no_doc_can_hold_is_refused() {
        for value in [json!("a\0"), json!([{"a": "\0"}]), json!({"\0": 1})] {
            assert!(Filter::eq("a", value.clone()).is_err(), "{value}");
        }
        assert!(Filter::test(Path::member("a"), Test::StartsWith("\0".into())).is_err());
    }
}
