//! Which items an index names: a row for each version of each item.
//!
//! The row is put before the batch with that version, and removed some time after another
//! took its place. So a query finds each item that it must find, and perhaps others, at
//! which it looks: what is in the item alone decides.

use std::collections::BTreeSet;
use std::sync::Arc;

use data_encoding::HEXLOWER;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{
    CollectionName, Digest, Doc, Filter, Holds, ItemStream, Key, Node, Path, Result, Scan, Test,
    Type, Version, sort_key, sort_key_or_missing, sort_key_range, sort_key_string_prefix,
};

use super::catalogue::{self, Kept};
use super::row::{Place, Row};
use super::table::Range;
use super::{Shared, pages};

/// Bytes of the values that stand in a row's sort key.
const BYTES: usize = 200;

/// Behind all that begins with a text of digits, letters, dashes and slashes.
const END: char = '~';

/// The most items that are looked up by an index; where it names more, the collection is
/// read.
const MOST: usize = 10_000;

/// The most values of `$in` that are looked up.
const MAX_IN: usize = 100;

/// Rows of a page.
const PAGE: i32 = 1000;

impl Shared {
    /// The partition of the rows of an index.
    pub(super) fn hints(&self, index: &str) -> String {
        self.partition(&format!("index/{index}"))
    }
}

/// The row that names a version of an item; `None` if the index leaves it out.
pub(super) fn hint(
    shared: &Shared,
    kept: &Kept,
    key: &str,
    version: Version,
    doc: &Doc,
) -> Result<Option<Row>> {
    let sort = sort(kept, key, version, doc)?;
    Ok(sort.map(|sort| Row::at(&Place::new(shared.hints(&kept.id), sort)).with_text("k", key)))
}

fn sort(kept: &Kept, key: &str, version: Version, doc: &Doc) -> Result<Option<String>> {
    if !is_of_docs(kept) {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    for (at, path) in kept.index.paths.iter().enumerate() {
        let value = doc.at(path)?;
        if at == 0
            && !value
                .as_ref()
                .is_some_and(|value| holds(kept, Type::of(value)))
        {
            return Ok(None);
        }
        bytes.extend(sort_key_or_missing(value.as_ref()));
    }
    // Keys are too long to stand beside the values.
    let item = Digest::of(key.as_bytes());
    Ok(Some(format!("{}/{version}/{item}", shown(&bytes))))
}

/// What the store says of items, as `$size`, has no rows.
fn is_of_docs(kept: &Kept) -> bool {
    let mut paths = kept.index.paths.iter();
    paths.all(|path| matches!(path, Path::Doc(_)))
}

fn holds(kept: &Kept, of: Type) -> bool {
    match kept.index.holds {
        Holds::Any => true,
        Holds::Only(wanted) => wanted == of,
        Holds::Words => false,
    }
}

/// The start of an encoding, as text of the same order.
fn shown(bytes: &[u8]) -> String {
    HEXLOWER.encode(bytes.get(..BYTES).unwrap_or(bytes))
}

/// Ranges of sort keys, both ends included.
type Ranges = Vec<(String, String)>;

/// The ranges of an index in which all is that a filter matches; `None` where the filter
/// says nothing of its first path.
fn ranges(kept: &Kept, filter: &Filter) -> Option<Ranges> {
    if !is_of_docs(kept) {
        return None;
    }
    let mut tests = Vec::new();
    conjuncts(filter, &mut tests);
    let mut equal = Vec::new();
    let mut found = None;
    for (at, path) in kept.index.paths.iter().enumerate() {
        let fits = |of: Type| at > 0 || holds(kept, of);
        let tests = tests.iter().filter(|(tested, _)| *tested == path);
        let value = tests.clone().find_map(|(_, test)| match test {
            Test::Eq(value) if fits(Type::of(value)) => Some(value),
            _ => None,
        });
        if let Some(value) = value {
            equal.extend(sort_key(value));
            found = Some(vec![range(&equal, &equal)]);
            continue;
        }
        let mut tests = tests;
        let narrower = tests.find_map(|(_, test)| within(&equal, test, fits));
        return narrower.or(found);
    }
    found
}

/// The tests that must all hold.
fn conjuncts<'a>(filter: &'a Filter, tests: &mut Vec<(&'a Path, &'a Test)>) {
    match filter.node() {
        Node::And(parts) => parts.iter().for_each(|part| conjuncts(part, tests)),
        Node::Test(path, test) => tests.push((path, test)),
        Node::Or(_) | Node::Not(_) => {}
    }
}

/// The ranges of a test, behind values that are equal.
fn within(equal: &[u8], test: &Test, fits: impl Fn(Type) -> bool) -> Option<Ranges> {
    let behind = |bytes: &[u8]| [equal, bytes].concat();
    let one = |from: Vec<u8>, to: Vec<u8>| Some(vec![range(&from, &to)]);
    match test {
        Test::Gt(value) | Test::Gte(value) if fits(Type::of(value)) => {
            let (_, high) = sort_key_range(Type::of(value));
            one(behind(&sort_key(value)), behind(&[high]))
        }
        Test::Lt(value) | Test::Lte(value) if fits(Type::of(value)) => {
            let (low, _) = sort_key_range(Type::of(value));
            one(behind(&[low]), behind(&sort_key(value)))
        }
        Test::StartsWith(text) if fits(Type::String) => {
            let start = behind(&sort_key_string_prefix(text));
            one(start.clone(), start)
        }
        Test::In(values) if values.len() <= MAX_IN => {
            let all = values.iter().map(|value| {
                let start = behind(&sort_key(value));
                fits(Type::of(value)).then(|| range(&start, &start))
            });
            all.collect()
        }
        _ => None,
    }
}

/// From what begins as one does to what begins as the other.
fn range(from: &[u8], to: &[u8]) -> (String, String) {
    (shown(from), format!("{}{END}", shown(to)))
}

/// What a query has to look at.
pub(super) enum Source {
    /// The whole collection.
    All,
    /// These items, if they are there.
    Keys(BTreeSet<String>),
}

/// Finds the index that says most about a filter, and asks it.
pub(super) async fn source(
    shared: &Shared,
    name: &CollectionName,
    filter: &Filter,
) -> Result<Source> {
    shared.check_open()?;
    let Some(collection) = catalogue::read(shared, name).await? else {
        return Ok(Source::All);
    };
    let ready = collection.indexes.iter().filter(|kept| kept.ready);
    let useful = ready.filter_map(|kept| Some((kept, ranges(kept, filter)?)));
    // The longer the start that is equal, the fewer items it names.
    let best = useful.max_by_key(|(_, ranges)| {
        ranges.first().map_or(usize::MAX, |(from, to)| {
            from.bytes()
                .zip(to.bytes())
                .take_while(|(one, other)| one == other)
                .count()
        })
    });
    let Some((kept, ranges)) = best else {
        return Ok(Source::All);
    };
    let partition = shared.hints(&kept.id);
    let mut keys = BTreeSet::new();
    for (from, to) in ranges {
        let mut page = Range {
            bound: Some((">=", from)),
            limit: PAGE,
            columns: &["k"],
            ..Range::default()
        };
        loop {
            let (rows, more) = shared.table.query(&partition, &page).await?;
            let last = rows.last().map(|row| row.text("s").map(str::to_owned));
            for mut row in rows {
                if row.text("s")? <= to.as_str() {
                    keys.insert(row.take_text("k")?);
                }
            }
            if keys.len() > MOST {
                return Ok(Source::All);
            }
            match last.transpose()? {
                Some(last) if more && last <= to => page.bound = Some((">", last)),
                _ => break,
            }
        }
    }
    Ok(Source::Keys(keys))
}

impl Source {
    /// The items of a scan that a query has to look at.
    pub(super) fn scan(
        self,
        shared: &Arc<Shared>,
        name: &CollectionName,
        scan: Scan,
    ) -> ItemStream {
        let keys = match self {
            Self::All => return pages::scan(shared.clone(), name.clone(), scan),
            Self::Keys(keys) => keys,
        };
        let Some((low, high)) = scan.bounds() else {
            return stream::empty().boxed();
        };
        let inside = keys
            .into_iter()
            .filter(|key| pages::inside(key, &low, &high));
        let mut keys: Vec<Key> = match inside.map(Key::new).collect() {
            Ok(keys) => keys,
            Err(error) => return stream::once(async { Err(error) }).boxed(),
        };
        if scan.reverse {
            keys.reverse();
        }
        let limit = scan.limit.and_then(|limit| usize::try_from(limit).ok());
        let pages: Vec<Vec<Key>> = keys.chunks(pages::AT_ONCE).map(<[Key]>::to_vec).collect();
        let (shared, name) = (shared.clone(), name.clone());
        let found = stream::iter(pages).then(move |keys| {
            let (shared, name) = (shared.clone(), name.clone());
            async move {
                let items = pages::get_many(&shared, &name, &keys, scan.parts).await;
                items.map_err(|error| error.at(&name, None))
            }
        });
        found
            .map_ok(|items| stream::iter(items.into_iter().flatten().map(Ok)))
            .try_flatten()
            .take(limit.unwrap_or(usize::MAX))
            .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_core::{Index, json};

    fn kept(paths: &[&str], holds: Holds) -> Kept {
        Kept {
            id: "i".to_owned(),
            ready: true,
            shared: None,
            index: Index::parse(paths).unwrap().holding(holds),
        }
    }

    /// Values of all types, also long ones, against all tests: what a filter matches is
    /// always in a range.
    #[test]
    fn what_a_filter_matches_is_in_its_ranges() {
        let long = "x".repeat(300);
        let values = [
            json!(null),
            json!(false),
            json!(true),
            json!(-1.5),
            json!(0),
            json!(7),
            json!(""),
            json!("a"),
            json!("ab"),
            json!(long),
            json!(format!("{long}y")),
            json!([1]),
            json!({"a": 1}),
        ];
        let mut inside = 0;
        for holds in [
            Holds::Any,
            Holds::Only(Type::String),
            Holds::Only(Type::Number),
        ] {
            let kept = kept(&["a", "b"], holds);
            for one in &values {
                for wanted in &values {
                    for test in ["$eq", "$gt", "$gte", "$lt", "$lte", "$in", "$startsWith"] {
                        let operand = match test {
                            "$in" => json!([wanted, 1000]),
                            "$startsWith" if !wanted.is_string() => continue,
                            _ => wanted.clone(),
                        };
                        for filter in [
                            json!({"a": {test: operand}}),
                            json!({"a": "k", "b": {test: operand}}),
                        ] {
                            let is_second = filter.get("b").is_some();
                            let filter = Filter::from_json(&filter).unwrap();
                            let Some(ranges) = ranges(&kept, &filter) else {
                                continue;
                            };
                            let doc = match is_second {
                                false => json!({"a": one}),
                                true => json!({"a": "k", "b": one}),
                            };
                            let doc = Doc::from_value(&doc).unwrap();
                            let subject = holdall_core::Subject {
                                key: &Key::new("k").unwrap(),
                                entry: &entry(),
                                doc: &doc.value().unwrap(),
                            };
                            if filter.matches(&subject) {
                                let sort = sort_of(&kept, &doc).expect("the index names it");
                                let hit =
                                    ranges.iter().any(|(from, to)| *from <= sort && sort <= *to);
                                assert!(hit, "{filter:?} {doc:?} {ranges:?} {sort}");
                                inside += 1;
                            }
                        }
                    }
                }
            }
        }
        assert!(inside > 300, "{inside}");
    }

    /// An index on the size of bodies had no rows, and was asked all the same.
    #[test]
    fn an_index_of_what_the_store_says_is_not_asked() {
        let kept = kept(&["a", "$size"], Holds::Any);
        let filter = Filter::from_json(&json!({"a": 1, "$size": {"$gte": 11}})).unwrap();
        assert!(ranges(&kept, &filter).is_none());
    }

    fn entry() -> holdall_core::Entry {
        holdall_core::Entry {
            version: Version::from_bytes([1; 16]),
            created: holdall_core::Timestamp::from_micros(0),
            modified: holdall_core::Timestamp::from_micros(0),
            size: 0,
            digest: None,
        }
    }

    fn sort_of(kept: &Kept, doc: &Doc) -> Option<String> {
        sort(kept, "k", Version::from_bytes([1; 16]), doc).unwrap()
    }
}
