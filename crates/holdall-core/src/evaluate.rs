//! Answers queries over any scan: what a backend without a query language uses.

use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt, TryStreamExt};

use crate::sort_key::{sort_key_or_missing, value_of_sort_key};
use crate::{Error, Filter, Group, Item, Parts, Path, Query, Result, Scan, Subject, Value};

/// A stream of items.
pub type ItemStream = BoxStream<'static, Result<Item>>;

/// The most bytes of docs and order that a sort without a limit may hold.
pub const MAX_SORT_BYTES: usize = 64 * 1024 * 1024;

/// The most groups of a grouped count.
pub const MAX_GROUPS: usize = 100_000;

/// Answers a query over a scan of the whole collection, or over one that leaves
/// out items that the filter does not match.
///
/// In key order it streams. In any other order it holds what it sorts: as many
/// items as offset and limit say, or 64 MiB.
pub fn evaluate(query: Query, scan: impl FnOnce(Scan) -> ItemStream) -> ItemStream {
    if let Err(error) = query.validate() {
        return stream::once(async { Err(error) }).boxed();
    }
    if query.limit == Some(0) {
        return stream::empty().boxed();
    }
    if query.sort.is_empty() {
        in_key_order(query, scan)
    } else {
        sorted(query, scan)
    }
}

fn scan_parts(query: &Query) -> Parts {
    Parts {
        doc: query.parts.doc || query.reads_doc(),
        body: query.parts.body,
    }
}

fn in_key_order(query: Query, scan: impl FnOnce(Scan) -> ItemStream) -> ItemStream {
    let items = scan(Scan {
        after: query
            .after
            .as_ref()
            .map(|cursor| cursor.key().as_str().to_owned()),
        parts: scan_parts(&query),
        ..Scan::default()
    });
    let Query {
        filter,
        limit,
        offset,
        parts,
        ..
    } = query;
    let found = items
        .try_filter_map(move |item| {
            let matched = matches(&filter, &item);
            async move { Ok(matched?.then_some(item)) }
        })
        .try_skip(usize::try_from(offset).unwrap_or(usize::MAX))
        .map_ok(move |item| strip(item, parts));
    match limit {
        Some(limit) => found
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .boxed(),
        None => found.boxed(),
    }
}

trait TrySkip: Sized {
    fn try_skip(self, count: usize) -> ItemStream;
}

impl<S: futures_util::Stream<Item = Result<Item>> + Send + 'static> TrySkip for S {
    /// Skips so many items, and no error.
    fn try_skip(self, count: usize) -> ItemStream {
        let mut left = count;
        self.try_filter(move |_| {
            let skip = left > 0;
            left -= usize::from(skip);
            std::future::ready(!skip)
        })
        .boxed()
    }
}

/// Whether an item that came from a scan matches.
fn matches(filter: &Filter, item: &Item) -> Result<bool> {
    let doc = if filter.reads_doc() {
        item.doc()?.value()?
    } else {
        Value::Null
    };
    Ok(filter.matches(&Subject {
        key: &item.key,
        entry: &item.entry,
        doc: &doc,
    }))
}

fn strip(mut item: Item, parts: Parts) -> Item {
    if !parts.doc {
        item.doc = None;
    }
    item
}

/// An item at its place in the order; compared by the place alone, which the
/// key makes unique.
struct Placed {
    position: Vec<u8>,
    item: Item,
}

impl PartialEq for Placed {
    fn eq(&self, other: &Self) -> bool {
        self.position == other.position
    }
}

impl Eq for Placed {}

impl PartialOrd for Placed {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Placed {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.position.cmp(&other.position)
    }
}

impl Placed {
    fn bytes(&self) -> usize {
        let doc = self.item.doc.as_ref().map_or(0, |doc| doc.as_bytes().len());
        self.position.len() + doc + size_of::<Self>()
    }
}

fn sorted(query: Query, scan: impl FnOnce(Scan) -> ItemStream) -> ItemStream {
    let items = scan(Scan {
        parts: scan_parts(&query),
        ..Scan::default()
    });
    let parts = query.parts;
    stream::once(async move {
        let placed = sort(Arc::new(query), items).await?;
        Ok::<_, Error>(stream::iter(
            placed
                .into_iter()
                .map(move |placed| Ok(strip(placed.item, parts))),
        ))
    })
    .try_flatten()
    .boxed()
}

/// Holds the first `offset + limit` items in a heap whose top is the last of
/// them, or all of them without a limit.
async fn sort(query: Arc<Query>, mut items: ItemStream) -> Result<Vec<Placed>> {
    let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
    let most = query.limit.map_or(usize::MAX, |limit| {
        usize::try_from(limit)
            .unwrap_or(usize::MAX)
            .saturating_add(offset)
    });
    let after = query
        .after
        .as_ref()
        .map(|cursor| query.position(cursor.values(), cursor.key()));
    let mut heap = BinaryHeap::new();
    let mut bytes = 0;
    while let Some(item) = items.next().await {
        let item = item?;
        let doc = if query.reads_doc() {
            item.doc()?.value()?
        } else {
            Value::Null
        };
        let subject = Subject {
            key: &item.key,
            entry: &item.entry,
            doc: &doc,
        };
        if !query.filter.matches(&subject) {
            continue;
        }
        let position = query.position(&query.sort_values(&subject), &item.key);
        if after.as_ref().is_some_and(|after| position <= *after) {
            continue;
        }
        let placed = Placed { position, item };
        bytes += placed.bytes();
        heap.push(placed);
        if heap.len() > most
            && let Some(last) = heap.pop()
        {
            bytes -= last.bytes();
        }
        if bytes > MAX_SORT_BYTES {
            return Err(Error::too_large(format!(
                "sorting these items takes more than {MAX_SORT_BYTES} bytes of memory; \
                 set a smaller limit, or use a backend with an index on what you sort by"
            )));
        }
    }
    Ok(heap.into_sorted_vec().into_iter().skip(offset).collect())
}

/// Counts the items that a filter matches.
///
/// # Errors
/// What the scan fails with.
pub async fn count(filter: &Filter, scan: impl FnOnce(Scan) -> ItemStream) -> Result<u64> {
    let parts = Parts {
        doc: filter.reads_doc(),
        body: false,
    };
    let mut items = scan(Scan::default().parts(parts));
    let mut count = 0;
    while let Some(item) = items.next().await {
        count += u64::from(matches(filter, &item?)?);
    }
    Ok(count)
}

/// Counts the items that a filter matches by the value at a path, in the order
/// of the values.
///
/// # Errors
/// `TooLarge` beyond 100,000 groups, and values of 64 MiB; else what the scan fails with.
pub async fn count_by(
    filter: &Filter,
    path: &Path,
    scan: impl FnOnce(Scan) -> ItemStream,
) -> Result<Vec<Group>> {
    path.check()?;
    let reads_doc = filter.reads_doc() || matches!(path, Path::Doc(_));
    let mut items = scan(Scan::default().parts(Parts {
        doc: reads_doc,
        body: false,
    }));
    let mut groups: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
    let mut bytes = 0;
    while let Some(item) = items.next().await {
        let item = item?;
        let doc = if reads_doc {
            item.doc()?.value()?
        } else {
            Value::Null
        };
        let subject = Subject {
            key: &item.key,
            entry: &item.entry,
            doc: &doc,
        };
        if !filter.matches(&subject) {
            continue;
        }
        let value = sort_key_or_missing(subject.at(path).as_deref());
        let size = value.len();
        let count = groups.entry(value).or_default();
        if *count == 0 {
            bytes += size;
        }
        *count += 1;
        if groups.len() > MAX_GROUPS || bytes > MAX_SORT_BYTES {
            return Err(too_many_groups());
        }
    }
    groups
        .into_iter()
        .map(|(value, count)| {
            Ok(Group {
                value: value_of_sort_key(&value)?,
                count,
            })
        })
        .collect()
}

/// The error of a grouped count with too many groups.
pub fn too_many_groups() -> Error {
    Error::too_large(format!(
        "the items fall into more than {MAX_GROUPS} groups, or their values have more than \
         {MAX_SORT_BYTES} bytes; count by a path with fewer values, or filter"
    ))
}
