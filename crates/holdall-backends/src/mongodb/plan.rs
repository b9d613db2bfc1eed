//! Turns filters and orders into what MongoDB can answer.
//!
//! A test becomes a condition where one admits no less than it; whatever admits more
//! is asked again of the evaluator. Values stand behind `$eq` and its like, as
//! scalars, so that none is taken for an operator.

use std::collections::VecDeque;

use holdall_core::{
    EntryField, Filter, Holds, Key, Node, Path, Query, Sort, Test, Type, Value, Version, sort_key,
    sort_key_or_missing, sort_key_range, sort_key_string_prefix,
};
use mongodb::bson::{Bson, Document, doc};

use super::catalogue::{Declared, Layout};
use super::connect::binary;
use super::documents::ANY_WORD;
use super::names::{OWN, field_of};
use super::value::scalar;
use super::{order, transaction};

/// The most values of an `in` that become conditions.
const MAX_IN: usize = 500;

/// A filter as MongoDB is asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Plan {
    /// All of these must hold.
    pub(super) conditions: Vec<Document>,
    /// Whether they hold exactly where the filter does.
    pub(super) exact: bool,
}

/// What a filter becomes.
pub(super) fn plan(filter: &Filter, layout: &Layout) -> Plan {
    let mut plan = Plan {
        conditions: Vec::new(),
        exact: true,
    };
    split(filter, layout, &mut plan);
    plan
}

fn split(filter: &Filter, layout: &Layout, plan: &mut Plan) {
    if let Node::And(parts) = filter.node() {
        return parts.iter().for_each(|part| split(part, layout, plan));
    }
    match condition(filter, layout) {
        Some((condition, exact)) => {
            plan.conditions.push(condition);
            plan.exact &= exact;
        }
        None => plan.exact = false,
    }
}

/// A condition that holds at least where the filter does, and whether only there.
fn condition(filter: &Filter, layout: &Layout) -> Option<(Document, bool)> {
    match filter.node() {
        Node::And(_) => {
            let mut all = Plan {
                conditions: Vec::new(),
                exact: true,
            };
            split(filter, layout, &mut all);
            match all.conditions.is_empty() {
                true if all.exact => Some((doc! {}, true)),
                true => None,
                false => Some((doc! { "$and": all.conditions }, all.exact)),
            }
        }
        Node::Or(parts) if parts.is_empty() => Some((nothing(), true)),
        Node::Or(parts) => {
            let parts = parts
                .iter()
                .map(|part| condition(part, layout))
                .collect::<Option<Vec<_>>>()?;
            let exact = parts.iter().all(|(_, exact)| *exact);
            let parts: Vec<Document> = parts.into_iter().map(|(part, _)| part).collect();
            Some((doc! { "$or": parts }, exact))
        }
        Node::Not(part) => match condition(part, layout)? {
            (part, true) => Some((doc! { "$nor": [part] }, true)),
            _ => None,
        },
        Node::Test(Path::Entry(field), test) => entry_test(*field, test),
        Node::Test(path, Test::Match(wanted)) => {
            words(path, wanted.words(), layout).map(|words| (words, false))
        }
        Node::Test(path, test) => {
            let indexed = transaction::ready(&layout.indexes)
                .find_map(|declared| indexed_test(declared, path, test));
            match indexed {
                Some(condition) => Some((condition, true)),
                None => natural_test(path, test).map(|condition| (condition, false)),
            }
        }
    }
}

/// A condition that no document meets.
fn nothing() -> Document {
    doc! { "_id": { "$in": [] } }
}

/// The field that holds an index's texts.
pub(super) fn sort_field(index: i32) -> String {
    format!("{OWN}.sort.{index}")
}

fn starting(field: &str, prefix: &[u8]) -> Document {
    let text = order::text(prefix);
    let end = order::after(&text);
    doc! { field: { "$gte": text, "$lt": end } }
}

/// A test as a range of an index whose first path it is about.
fn indexed_test(declared: &Declared, path: &Path, test: &Test) -> Option<Document> {
    if declared.index.paths.first() != Some(path) {
        return None;
    }
    let field = sort_field(declared.id);
    let covers = |of: Type| match declared.index.holds {
        Holds::Any => true,
        Holds::Only(only) => only == of,
        Holds::Words => false,
    };
    let missing = sort_key_or_missing(None);
    let equal = |value: &Value| covers(Type::of(value)).then(|| starting(&field, &sort_key(value)));
    let beyond = |value: &Value, inclusive: bool, greater: bool| {
        let of = Type::of(value);
        if !covers(of) {
            return None;
        }
        let (low, high) = sort_key_range(of);
        let edge = order::text(&sort_key(value));
        // Behind the value come its own keys: all that start with it.
        let edge = if inclusive == greater {
            edge
        } else {
            order::after(&edge)
        };
        Some(match greater {
            true => doc! { &field: { "$gte": edge, "$lt": order::text(&[high]) } },
            false => doc! { &field: { "$gte": order::text(&[low]), "$lt": edge } },
        })
    };
    match test {
        Test::Eq(wanted) => equal(wanted),
        Test::Gt(wanted) => beyond(wanted, false, true),
        Test::Gte(wanted) => beyond(wanted, true, true),
        Test::Lt(wanted) => beyond(wanted, false, false),
        Test::Lte(wanted) => beyond(wanted, true, false),
        Test::In(wanted) if wanted.is_empty() => Some(nothing()),
        Test::In(wanted) if wanted.len() <= MAX_IN => {
            let all = wanted.iter().map(equal).collect::<Option<Vec<_>>>()?;
            Some(doc! { "$or": all })
        }
        Test::Ne(wanted) if declared.index.holds == Holds::Any => {
            Some(doc! { "$nor": [equal(wanted)?] })
        }
        Test::Exists(true) if declared.index.holds == Holds::Any => {
            Some(doc! { &field: { "$lt": order::text(&missing) } })
        }
        Test::Exists(false) if declared.index.holds == Holds::Any => {
            Some(doc! { &field: { "$gte": order::text(&missing) } })
        }
        Test::StartsWith(prefix) => {
            covers(Type::String).then(|| starting(&field, &sort_key_string_prefix(prefix)))
        }
        _ => None,
    }
}

/// A test of the field as it lies in the document. MongoDB reaches into arrays, so it
/// admits more; what it would admit less is left to the evaluator.
fn natural_test(path: &Path, test: &Test) -> Option<Document> {
    let field = field_of(path)?;
    let ordered = |operator: &str, wanted: &Value| match wanted {
        Value::Number(_) | Value::String(_) => Some(doc! { &field: { operator: scalar(wanted)? } }),
        _ => None,
    };
    match test {
        Test::Eq(wanted) => Some(doc! { &field: { "$eq": scalar(wanted)? } }),
        Test::Gt(wanted) => ordered("$gt", wanted),
        Test::Gte(wanted) => ordered("$gte", wanted),
        Test::Lt(wanted) => ordered("$lt", wanted),
        Test::Lte(wanted) => ordered("$lte", wanted),
        Test::In(wanted) if wanted.is_empty() => Some(nothing()),
        Test::In(wanted) if wanted.len() <= MAX_IN => {
            let all = wanted.iter().map(scalar).collect::<Option<Vec<_>>>()?;
            Some(doc! { &field: { "$in": all } })
        }
        Test::Exists(true) => Some(doc! { &field: { "$exists": true } }),
        // A part of a string may do, and would take a regular expression.
        // Null also stands for missing, and servers differ where a path has numbers.
        Test::Contains(Value::String(_) | Value::Null) => None,
        Test::Contains(wanted) => Some(doc! { &field: { "$eq": scalar(wanted)? } }),
        Test::StartsWith(prefix) => {
            let mut range = doc! { "$gte": prefix };
            if let Some(end) = Key::after_prefix(prefix) {
                range.insert("$lt", end);
            }
            Some(doc! { &field: range })
        }
        _ => None,
    }
}

fn entry_test(field: EntryField, test: &Test) -> Option<(Document, bool)> {
    let name = match field {
        EntryField::Key => "_id".to_owned(),
        EntryField::Created => format!("{OWN}.created"),
        EntryField::Modified => format!("{OWN}.modified"),
        EntryField::Size => format!("{OWN}.size"),
        EntryField::Version => format!("{OWN}.version"),
    };
    let value = |wanted: &Value| match (field, wanted) {
        (EntryField::Version, Value::String(text)) => Some(binary(text.parse::<Version>().ok()?)),
        (_, wanted) => scalar(wanted),
    };
    let one = |operator: &str, wanted: &Value| Some(doc! { &name: { operator: value(wanted)? } });
    let many = |operator: &str, wanted: &[Value]| {
        let all = wanted.iter().map(value).collect::<Option<Vec<Bson>>>()?;
        Some(doc! { &name: { operator: all } })
    };
    let condition = match test {
        Test::Eq(wanted) => one("$eq", wanted),
        // No field of an entry is ever missing.
        Test::Ne(wanted) => one("$ne", wanted),
        Test::Gt(wanted) => one("$gt", wanted),
        Test::Gte(wanted) => one("$gte", wanted),
        Test::Lt(wanted) => one("$lt", wanted),
        Test::Lte(wanted) => one("$lte", wanted),
        Test::In(wanted) if wanted.len() <= MAX_IN => many("$in", wanted),
        Test::Nin(wanted) if wanted.len() <= MAX_IN => many("$nin", wanted),
        Test::Exists(true) => Some(doc! {}),
        Test::Exists(false) => Some(nothing()),
        Test::StartsWith(prefix) => {
            let mut range = doc! { "$gte": prefix };
            if let Some(end) = Key::after_prefix(prefix) {
                range.insert("$lt", end);
            }
            Some(doc! { &name: range })
        }
        Test::In(_) | Test::Nin(_) | Test::Contains(_) | Test::Match(_) => None,
    };
    condition.map(|condition| (condition, true))
}

/// The items that have all words, by a word index.
fn words(path: &Path, words: &[String], layout: &Layout) -> Option<Document> {
    let mut indexes = transaction::ready(&layout.indexes);
    let declared = indexes.find(|declared| {
        declared.index.holds == Holds::Words && declared.index.paths.first() == Some(path)
    })?;
    let field = format!("{OWN}.words.{}", declared.id);
    Some(doc! { "$or": [{ &field: { "$all": words } }, { &field: { "$eq": ANY_WORD } }] })
}

/// A way through a collection in order: ranges of one field, one after the other.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) field: String,
    /// The index whose texts these are; none are keys.
    pub(super) index: Option<i32>,
    pub(super) descending: bool,
    /// From the first text to before the second.
    pub(super) ranges: VecDeque<(String, Option<String>)>,
    /// Behind this one, in the direction of the walk.
    pub(super) behind: Option<String>,
}

impl Walk {
    /// Through all keys.
    pub(super) fn keys(low: String, high: Option<String>, descending: bool) -> Self {
        Self {
            field: "_id".to_owned(),
            index: None,
            descending,
            ranges: VecDeque::from([(low, high)]),
            behind: None,
        }
    }

    /// Takes in the conditions that are ranges of its own field, so that documents are not
    /// asked for both.
    fn narrow(&mut self, conditions: &mut Vec<Document>) {
        conditions.retain(|condition| {
            let Some((low, high)) = range_of(condition, &self.field) else {
                return true;
            };
            for (first, end) in &mut self.ranges {
                if first.as_str() < low {
                    *first = low.to_owned();
                }
                if let Some(high) = high.filter(|high| end.as_deref().is_none_or(|end| end > *high))
                {
                    *end = Some(high.to_owned());
                }
            }
            let holds_any = |(first, end): &(String, Option<String>)| {
                end.as_ref().is_none_or(|end| first < end)
            };
            self.ranges.retain(holds_any);
            false
        });
    }

    /// Leaves out the ranges before a place, and goes on behind it.
    pub(super) fn go_on(&mut self, behind: String) {
        let holds = |(low, high): &(String, Option<String>)| {
            behind >= *low && high.as_ref().is_none_or(|high| behind < *high)
        };
        while self.ranges.front().is_some_and(|range| !holds(range)) {
            self.ranges.pop_front();
        }
        self.behind = Some(behind);
    }

    /// The condition for what is left of the first range; `None` at the end.
    pub(super) fn condition(&self) -> Option<Document> {
        let (low, high) = self.ranges.front()?;
        let mut range = doc! { "$gte": low };
        if let Some(high) = high {
            range.insert("$lt", high);
        }
        match (&self.behind, self.descending) {
            (Some(behind), false) => {
                range.remove("$gte");
                range.insert("$gt", behind);
            }
            (Some(behind), true) => {
                range.insert("$lt", behind);
            }
            (None, _) => {}
        }
        Some(doc! { &self.field: range })
    }
}

/// A condition as a range of texts of a field, if it is one.
fn range_of<'a>(condition: &'a Document, field: &str) -> Option<(&'a str, Option<&'a str>)> {
    let range = condition.get_document(field).ok()?;
    let high = range.get_str("$lt").ok();
    let is_all = condition.len() == 1 && range.len() == 1 + usize::from(high.is_some());
    range
        .get_str("$gte")
        .ok()
        .filter(|_| is_all)
        .map(|low| (low, high))
}

/// The way through a collection that gives a query's order, and takes in those conditions
/// that are a part of it; `None` if there is none, so that items have to be sorted.
pub(super) fn walk(query: &Query, layout: &Layout, conditions: &mut Vec<Document>) -> Option<Walk> {
    let mut equal = Vec::new();
    equalities(&query.filter, &mut equal);
    let by_key = |sort: &Sort| sort.path == Path::Entry(EntryField::Key);
    let keys = match query.sort.as_slice() {
        [] => Some(false),
        [first, ..] if by_key(first) => Some(first.descending),
        _ => None,
    };
    // An index that gives the order is better than all keys, as it leaves out what does not match.
    let ranked =
        transaction::ready(&layout.indexes).find_map(|declared| by_index(query, declared, &equal));
    let mut walk = match (ranked, keys) {
        (Some(walk), _) => walk,
        (None, Some(descending)) => Walk::keys(String::new(), None, descending),
        (None, None) => return None,
    };
    walk.narrow(conditions);
    if let Some(cursor) = &query.after {
        let key = cursor.key().as_str();
        walk.behind = None;
        walk.go_on(match walk.index {
            None => key.to_owned(),
            Some(id) => {
                let declared = layout.indexes.iter().find(|declared| declared.id == id)?;
                let (mut place, rest) = fixed(declared, &equal);
                if !rest.is_empty() {
                    place.extend(cursor.values().iter().flatten());
                }
                place.extend_from_slice(key.as_bytes());
                order::text(&place)
            }
        });
    }
    Some(walk)
}

/// How the texts of an index start whose first paths are tested for equality, and the other
/// paths.
fn fixed<'a>(declared: &'a Declared, equal: &[(&Path, &Value)]) -> (Vec<u8>, &'a [Path]) {
    let mut prefix = Vec::new();
    let mut rest = declared.index.paths.as_slice();
    while let Some((path, others)) = rest.split_first()
        && let Some((_, value)) = equal.iter().find(|(tested, _)| *tested == path)
    {
        prefix.extend(sort_key(value));
        rest = others;
    }
    (prefix, rest)
}

fn by_index(query: &Query, declared: &Declared, equal: &[(&Path, &Value)]) -> Option<Walk> {
    if declared.index.holds != Holds::Any {
        return None;
    }
    let (prefix, rest) = fixed(declared, equal);
    let start = order::text(&prefix);
    let all = match start.is_empty() {
        true => (String::new(), None),
        false => (start.clone(), Some(order::after(&start))),
    };
    let missing = {
        let mut place = prefix.clone();
        place.extend(sort_key_or_missing(None));
        order::text(&place)
    };
    let by_key = |sort: &Sort| sort.path == Path::Entry(EntryField::Key);
    let (descending, ranges) = match query.sort.as_slice() {
        // All paths are fixed: what is left of a text is the key.
        [] if rest.is_empty() => (false, vec![all]),
        [only, ..] if rest.is_empty() && by_key(only) => (only.descending, vec![all]),
        [only] if rest == std::slice::from_ref(&only.path) => {
            let present = (all.0, Some(missing.clone()));
            let absent = (missing, all.1);
            let order = match only.missing_first {
                true => vec![absent, present],
                false => vec![present, absent],
            };
            (only.descending, order)
        }
        // Texts have missing values last, so that is the one way to run through several.
        sorts
            if sorts.len() == rest.len()
                && !sorts.is_empty()
                && sorts
                    .iter()
                    .zip(rest)
                    .all(|(sort, path)| sort.path == *path)
                && sorts
                    .iter()
                    .all(|sort| !sort.descending && !sort.missing_first) =>
        {
            (false, vec![all])
        }
        _ => return None,
    };
    Some(Walk {
        field: sort_field(declared.id),
        index: Some(declared.id),
        descending,
        ranges: ranges.into(),
        behind: None,
    })
}

/// The paths that a filter tests for equality, and the values.
fn equalities<'a>(filter: &'a Filter, found: &mut Vec<(&'a Path, &'a Value)>) {
    match filter.node() {
        Node::And(parts) => parts.iter().for_each(|part| equalities(part, found)),
        Node::Test(path @ Path::Doc(_), Test::Eq(value)) => found.push((path, value)),
        _ => {}
    }
}
