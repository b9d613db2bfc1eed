//! Reads items: some by key, or a range in pages.

use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{
    Attrs, Body, ByteRange, CollectionName, Digest, Doc, Entry, GetOptions, Item, ItemStream, Key,
    MAX_KEY, Parts, Result, Scan,
};

use super::error::damaged;
use super::row::{Place, Row};
use super::table::Range;
use super::{Shared, bodies, catalogue};

/// The most items of a page. DynamoDB ends one at 1 MiB.
const PAGE: i32 = 256;

/// Items that are read at once by key; the catalogue is one more.
pub(super) const AT_ONCE: usize = 99;

/// How often a read is tried again because its collection was dropped and made again.
const TRIES: usize = 8;

/// The attributes that these parts need. `g` is of the catalogue.
pub(super) fn columns(parts: Parts) -> &'static [&'static str] {
    match (parts.doc, parts.body) {
        (false, false) => &["v", "c", "m", "z", "h", "a", "g"],
        (true, false) => &["v", "c", "m", "z", "h", "a", "g", "d"],
        (false, true) => &["v", "c", "m", "z", "h", "a", "g", "k", "b"],
        (true, true) => &["v", "c", "m", "z", "h", "a", "g", "d", "k", "b"],
    }
}

/// Reads one item.
pub(super) async fn get(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    key: &Key,
    options: GetOptions,
) -> Result<Option<Item>> {
    let keys = std::slice::from_ref(key);
    let mut rows = read(shared, collection, keys, options.parts).await?;
    let Some(row) = rows.pop().flatten() else {
        return Ok(None);
    };
    options.check_version(row.version("v")?.ok_or_else(|| damaged("an item"))?)?;
    item(shared, row, options.parts, options.range).map(Some)
}

/// Reads several items, in the order of the keys.
pub(super) async fn get_many(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    keys: &[Key],
    parts: Parts,
) -> Result<Vec<Option<Item>>> {
    let mut items = Vec::with_capacity(keys.len());
    for keys in keys.chunks(AT_ONCE) {
        let rows = read(shared, collection, keys, parts).await?;
        for (key, row) in keys.iter().zip(rows) {
            let item = row.map(|row| item(shared, row, parts, None)).transpose();
            items.push(item.map_err(|error| error.at(collection, Some(key)))?);
        }
    }
    Ok(items)
}

/// Reads items together with the catalogue. If that says that their partition is the
/// collection's, it was when they were read, as it never becomes so again.
async fn read(
    shared: &Shared,
    collection: &CollectionName,
    keys: &[Key],
    parts: Parts,
) -> Result<Vec<Option<Row>>> {
    shared.check_open()?;
    let catalogue = shared.collection_place(collection);
    for _ in 0..TRIES {
        let Some(generation) = generation(shared, collection).await? else {
            return Ok(keys.iter().map(|_| None).collect());
        };
        let partition = shared.items(&generation);
        let place = |key: &Key| Place::new(&*partition, key.as_str());
        // The same key twice is one.
        let places: std::collections::HashSet<_> = keys.iter().map(place).collect();
        let wanted = places.into_iter().chain([catalogue.clone()]);
        let rows = shared.table.get_many(wanted, columns(parts)).await?;
        let now = rows.get(&catalogue).map(|row| row.text("g")).transpose()?;
        if now == Some(&*generation) {
            return Ok(keys
                .iter()
                .map(|key| rows.get(&place(key)).cloned())
                .collect());
        }
        catalogue::read(shared, collection).await?;
    }
    Err(dropped())
}

/// The generation that was seen last, or is now.
async fn generation(shared: &Shared, collection: &CollectionName) -> Result<Option<String>> {
    if let Some(known) = shared.known.generation(collection) {
        return Ok(Some(known));
    }
    let read = catalogue::read(shared, collection).await?;
    Ok(read.map(|read| read.generation.clone()))
}

fn dropped() -> holdall_core::Error {
    holdall_core::Error::unavailable(
        "the collection is dropped and made again all the time; try again",
    )
}

/// An item of its row.
fn item(
    shared: &Arc<Shared>,
    mut row: Row,
    parts: Parts,
    range: Option<ByteRange>,
) -> Result<Item> {
    let key = Key::new(row.text("s")?)?;
    let digest = row.bytes("h")?.map(Digest::from_slice).transpose()?;
    let entry = Entry {
        version: row.version("v")?.ok_or_else(|| damaged("an item"))?,
        created: row.time("c")?,
        modified: row.time("m")?,
        size: row.number("z")?.unwrap_or(0),
        digest,
    };
    let attrs = match row.bytes("a")? {
        Some(attrs) => Attrs::decode(attrs)?,
        None => Attrs::default(),
    };
    let doc = match parts.doc {
        true => Some(Doc::from_stored(row.take_text("d")?)),
        false => None,
    };
    let mut body = None;
    if parts.body && digest.is_some() {
        let range = range.map_or(Ok(0..entry.size), |range| range.resolve(entry.size))?;
        body = Some(match row.text_or_none("k")? {
            Some(id) => bodies::body(shared.clone(), id.to_owned(), range, entry.size, digest),
            None => {
                let bytes = Bytes::from(row.take_bytes("b")?.unwrap_or_default());
                let ends = usize::try_from(range.start)
                    .ok()
                    .zip(usize::try_from(range.end).ok());
                let (start, end) = ends
                    .filter(|(start, end)| start <= end && *end <= bytes.len())
                    .ok_or_else(|| damaged("the body of an item"))?;
                Body::from_bytes(bytes.slice(start..end), range.start)
            }
        });
    }
    Ok(Item {
        key,
        entry,
        doc,
        body,
        attrs,
    })
}

/// Reads items in key order.
pub(super) fn scan(shared: Arc<Shared>, collection: CollectionName, scan: Scan) -> ItemStream {
    let left = scan.limit.unwrap_or(u64::MAX);
    let scanning = Scanning {
        shared,
        collection,
        scan,
        left,
        ended: false,
    };
    let pages = stream::try_unfold(scanning, |mut scanning| async move {
        let page = scanning.page().await;
        let page = page.map_err(|error| error.at(&scanning.collection, None))?;
        Ok::<_, holdall_core::Error>(
            page.map(|items| (stream::iter(items.into_iter().map(Ok)), scanning)),
        )
    });
    pages.try_flatten().boxed()
}

/// A scan under way. Goes on behind the last key that it told.
struct Scanning {
    shared: Arc<Shared>,
    collection: CollectionName,
    scan: Scan,
    left: u64,
    ended: bool,
}

impl Scanning {
    /// The next items; `None` at the end.
    async fn page(&mut self) -> Result<Option<Vec<Item>>> {
        self.shared.check_open()?;
        for _ in 0..TRIES {
            let Some((low, high)) = self.scan.bounds().filter(|_| !self.ended && self.left > 0)
            else {
                return Ok(None);
            };
            let Some(generation) = generation(&self.shared, &self.collection).await? else {
                return Ok(None);
            };
            let range = Range {
                bound: near(
                    if self.scan.reverse { &high } else { &low },
                    self.scan.reverse,
                ),
                reverse: self.scan.reverse,
                limit: i32::try_from(self.left).unwrap_or(PAGE).min(PAGE),
                columns: columns(self.scan.parts),
            };
            let partition = self.shared.items(&generation);
            let (found, now) = futures_util::future::try_join(
                self.shared.table.query(&partition, &range),
                catalogue::read(&self.shared, &self.collection),
            )
            .await?;
            if now.map(|now| now.generation.clone()).as_ref() != Some(&generation) {
                continue;
            }
            let (rows, more) = found;
            self.ended = !more;
            let mut items = Vec::with_capacity(rows.len());
            for row in rows {
                let key = row.text("s")?.to_owned();
                if inside(&key, &low, &high) {
                    items.push(item(&self.shared, row, self.scan.parts, None)?);
                } else if beyond(&key, &low, &high, self.scan.reverse) {
                    self.ended = true;
                    break;
                }
                self.scan.after = Some(key);
            }
            self.left = self.left.saturating_sub(items.len() as u64);
            if !items.is_empty() || self.ended {
                return Ok(Some(items).filter(|items| !items.is_empty()));
            }
        }
        Err(dropped())
    }
}

/// The bound that a page starts at, as far as a sort key can say it.
fn near(bound: &Bound<String>, reverse: bool) -> Option<(&'static str, String)> {
    let (operator, key) = match (bound, reverse) {
        (Bound::Included(key), false) => (">=", key),
        (Bound::Excluded(key), false) => (">", key),
        (Bound::Included(key), true) => ("<=", key),
        (Bound::Excluded(key), true) => ("<", key),
        (Bound::Unbounded, _) => return None,
    };
    if key.len() <= MAX_KEY {
        return Some((operator, key.clone())).filter(|(_, key)| !key.is_empty());
    }
    // No key is as long. Those behind it are behind its start, too.
    let start = key.get(..key.floor_char_boundary(MAX_KEY))?;
    (!reverse).then(|| (">=", start.to_owned()))
}

pub(super) fn inside(key: &str, low: &Bound<String>, high: &Bound<String>) -> bool {
    let above = match low {
        Bound::Included(low) => key >= low.as_str(),
        Bound::Excluded(low) => key > low.as_str(),
        Bound::Unbounded => true,
    };
    above && !past(key, high)
}

fn past(key: &str, high: &Bound<String>) -> bool {
    match high {
        Bound::Included(high) => key > high.as_str(),
        Bound::Excluded(high) => key >= high.as_str(),
        Bound::Unbounded => false,
    }
}

/// Whether a key, and all behind it in the direction of the scan, is outside.
fn beyond(key: &str, low: &Bound<String>, high: &Bound<String>, reverse: bool) -> bool {
    match reverse {
        false => past(key, high),
        true => !inside(key, low, &Bound::Unbounded),
    }
}
