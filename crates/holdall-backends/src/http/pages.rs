//! Reads many items: page by page, or by their keys.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, stream};
use holdall_core::{
    Body, CollectionName, Digest, Item, ItemStream, Key, Parts, Query, Result, Scan,
};
use holdall_wire::{GetMany, Line, QueryShape, names};

use super::Shared;
use super::body::Reading;
use super::failure::{Unanswered, garbled};
use super::item::{Place, altered};
use super::transport::{Answer, Call};

/// The items of the first page, where nobody says how many are wanted. Later
/// ones are larger.
const FIRST_PAGE: u64 = 100;

/// The most bytes of a page: the most that a server can be told to put into
/// one, and the largest item.
const MAX_PAGE_BYTES: usize = 20 * 1024 * 1024;

/// The most bytes of a line: a doc, a small body in base64, attrs, and a key
/// whose every character is escaped.
const MAX_LINE: usize = 2 * 1024 * 1024;

/// The most keys that are asked for at once, and their bytes.
const MAX_KEYS: usize = 500;
const MAX_KEY_BYTES: usize = 256 * 1024;

/// Reads items in key order.
pub(super) fn scan(shared: &Arc<Shared>, collection: &CollectionName, scan: Scan) -> ItemStream {
    let Scan {
        prefix,
        after,
        reverse,
        limit,
        parts,
    } = scan;
    let collection_of = collection.clone();
    let page = move |limit: u64, next: Option<&str>| {
        let mut call = Call::get("/v1/scan").with("collection", collection_of.as_str());
        if let Some(prefix) = &prefix {
            call = call.with("prefix", at_most_a_key(prefix));
        }
        if let Some(after) = next.or(after.as_deref().map(at_most_a_key)) {
            call = call.with("after", after);
        }
        if reverse {
            call = call.with("reverse", "true");
        }
        call = call
            .with("limit", &limit.to_string())
            .with("doc", if parts.doc { "true" } else { "false" })
            .with("body", if parts.body { "true" } else { "false" })
            .with("attrs", "true");
        Ok(call)
    };
    Pages::new(shared, collection, parts, limit, Box::new(page)).items()
}

/// A text so far as it tells keys from each other: none is longer, so that what
/// comes behind changes nothing. It keeps the URL within bounds.
fn at_most_a_key(text: &str) -> &str {
    // One byte more than any key has, so that no key is equal to it.
    text.get(..text.ceil_char_boundary(holdall_core::MAX_KEY + 1))
        .unwrap_or(text)
}

/// Answers a query.
pub(super) fn query(shared: &Arc<Shared>, collection: &CollectionName, query: Query) -> ItemStream {
    if let Err(error) = query.validate() {
        return stream::once(async { Err(error) }).boxed();
    }
    let (parts, limit) = (query.parts, query.limit);
    let first = QueryShape::of(&query);
    let name = collection.clone();
    let page = move |limit: u64, next: Option<&str>| {
        let mut shape = first.clone();
        shape.limit = Some(limit);
        if let Some(next) = next {
            shape.after = Some(next.to_owned());
            shape.offset = 0;
        }
        Call::post("/v1/query")
            .with("collection", name.as_str())
            .json(&shape)
    };
    Pages::new(shared, collection, parts, limit, Box::new(page)).items()
}

/// Makes the call for a page of so many items, behind the one before.
type PageCall = Box<dyn Fn(u64, Option<&str>) -> Result<Call> + Send + Sync>;

/// Pages of items.
struct Pages {
    shared: Arc<Shared>,
    collection: CollectionName,
    parts: Parts,
    call: PageCall,
    /// How many items are wanted still; `None` for all.
    left: Option<u64>,
    size: u64,
    page: VecDeque<Item>,
    next: Next,
}

/// Where the next page is.
enum Next {
    First,
    Behind(String),
    None,
}

impl Pages {
    fn new(
        shared: &Arc<Shared>,
        collection: &CollectionName,
        parts: Parts,
        limit: Option<u64>,
        call: PageCall,
    ) -> Self {
        Self {
            shared: shared.clone(),
            collection: collection.clone(),
            parts,
            call,
            left: limit,
            // As much as is wanted at once, so that what is asked for as a
            // page is one of the server's, and of one time.
            size: limit.unwrap_or(FIRST_PAGE),
            page: VecDeque::new(),
            next: Next::First,
        }
    }

    fn items(self) -> ItemStream {
        stream::try_unfold(self, |mut pages| async move {
            let item = pages.item().await?;
            Ok(item.map(|item| (item, pages)))
        })
        .boxed()
    }

    async fn item(&mut self) -> Result<Option<Item>> {
        loop {
            if let Some(item) = self.page.pop_front() {
                return Ok(Some(item));
            }
            if self.left == Some(0) || matches!(self.next, Next::None) {
                return Ok(None);
            }
            self.turn().await?;
        }
    }

    /// Reads the next page.
    async fn turn(&mut self) -> Result<()> {
        let _pass = self.shared.gate.enter()?;
        let wanted = self
            .size
            .min(self.left.unwrap_or(u64::MAX))
            .min(self.shared.max_page);
        let behind = match &self.next {
            Next::Behind(next) => Some(next.as_str()),
            Next::First | Next::None => None,
        };
        let call = (self.call)(wanted, behind)?;
        let (lines, next) = lines(&self.shared, &call, wanted, MAX_PAGE_BYTES)
            .await
            .map_err(|error| error.at(&self.collection, None))?;
        if next.is_some() && next.as_deref() == behind {
            return Err(garbled("a page that leads to itself"));
        }
        for line in lines {
            let item = line.ok_or_else(|| garbled("a line without an item"))?;
            self.page
                .push_back(complete(&self.shared, &self.collection, self.parts, item).await?);
        }
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(self.page.len() as u64);
        }
        self.size = self.size.saturating_mul(4);
        self.next = next.map_or(Next::None, Next::Behind);
        Ok(())
    }
}

/// Reads several items, in the order of their keys.
pub(super) async fn get_many(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    keys: &[Key],
    parts: Parts,
) -> Result<Vec<Option<Item>>> {
    let mut found = Vec::with_capacity(keys.len());
    while let Some(rest) = keys.get(found.len()..).filter(|rest| !rest.is_empty()) {
        let asked = at_once(rest, shared.max_page);
        let shape = GetMany {
            keys: asked.iter().map(|key| key.as_str().to_owned()).collect(),
            doc: parts.doc,
            body: parts.body,
            attrs: true,
        };
        let call = Call::post("/v1/get-many")
            .with("collection", collection.as_str())
            .json(&shape)?;
        let (lines, _) = lines(shared, &call, asked.len() as u64, usize::MAX)
            .await
            .map_err(|error| error.at(collection, None))?;
        // Large items may come in more than one answer.
        if lines.is_empty() {
            return Err(garbled("no line for a key"));
        }
        for (line, key) in lines.into_iter().zip(asked) {
            let item = match line {
                Some(item) if item.key != *key => {
                    return Err(garbled("an item of another key than was asked for"));
                }
                Some(item) => Some(complete(shared, collection, parts, item).await?),
                None => None,
            };
            found.push(item);
        }
    }
    Ok(found)
}

/// As many of the keys as are asked for at once.
fn at_once(keys: &[Key], most: u64) -> &[Key] {
    let most = usize::try_from(most)
        .unwrap_or(usize::MAX)
        .clamp(1, MAX_KEYS);
    let mut bytes = 0;
    let count = keys
        .iter()
        .take(most)
        .take_while(|key| {
            bytes += key.as_str().len();
            bytes <= MAX_KEY_BYTES
        })
        .count();
    keys.get(..count).unwrap_or(keys)
}

/// An item with the parts that were asked for, whatever the server sent: a
/// body that was left out of its line is read while it is consumed.
async fn complete(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    parts: Parts,
    mut item: Item,
) -> Result<Item> {
    let sent = item.body.take();
    item.doc = match (parts.doc, item.doc.take()) {
        (false, _) => None,
        (true, Some(doc)) => Some(doc),
        (true, None) => return Err(garbled("an item without its doc")),
    };
    let (true, Some(digest)) = (parts.body, item.entry.digest) else {
        return Ok(item);
    };
    item.body = Some(match sent {
        Some(body) => {
            // It is in memory, in a line that has an end.
            let bytes = body.bytes(MAX_LINE).await?;
            if bytes.len() as u64 != item.entry.size || Digest::of(&bytes) != digest {
                return Err(altered(collection, &item.key));
            }
            Body::from_bytes(bytes, 0)
        }
        None => {
            let place = Place::new(collection, &item.key);
            let range = 0..item.entry.size;
            let reading = Reading::of(shared, place, &item.entry, digest, range.clone());
            Body::from_stream(range, reading.stream())
        }
    });
    Ok(item)
}

/// The lines of an answer, and its `next`. Asks once more if it breaks off.
async fn lines(
    shared: &Shared,
    call: &Call,
    most: u64,
    most_bytes: usize,
) -> Result<(Vec<Option<Item>>, Option<String>)> {
    let first = read_lines(shared.transport.send(call).await, most, most_bytes).await;
    let first = match first {
        Err(lost) if lost.breaks_off() => lost,
        result => return result.map_err(|lost| lost.error),
    };
    let second = read_lines(shared.transport.send_afresh(call).await, most, most_bytes).await;
    second.map_err(|second| {
        if second.is_refusal() {
            second.error
        } else {
            first.error
        }
    })
}

async fn read_lines(
    answer: Result<Answer, Unanswered>,
    most: u64,
    most_bytes: usize,
) -> Result<(Vec<Option<Item>>, Option<String>), Unanswered> {
    let mut answer = answer?.success().await?;
    if !answer.is_of_type(names::LINES_TYPE) {
        return Err(garbled("another type than that of lines").into());
    }
    let mut items = Vec::new();
    let mut line = BytesMut::new();
    let mut bytes = 0_usize;
    loop {
        // Without its last line it is no page, however it ends.
        let Some(mut piece) = answer.next().await? else {
            return Err(Unanswered::cut());
        };
        bytes = bytes.saturating_add(piece.len());
        if bytes > most_bytes {
            return Err(garbled("a page beyond all bounds").into());
        }
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            let rest = piece.split_to(end);
            // The end of the line itself.
            let _ = piece.split_to(1);
            let text = whole_line(&mut line, rest);
            match Line::read(&text).map_err(|error| garbled("a damaged line").because(error))? {
                Line::Item(item) => items.push(Some(item)),
                Line::Absent => items.push(None),
                Line::End(last) => {
                    let more = !piece.is_empty() || matches!(answer.next().await, Ok(Some(_)));
                    if !last.end || more {
                        return Err(garbled("something behind its last line").into());
                    }
                    return Ok((items, last.next));
                }
            }
            if items.len() as u64 > most {
                return Err(garbled("more items than were asked for").into());
            }
        }
        if line.len() + piece.len() > MAX_LINE {
            return Err(garbled("a line beyond all bounds").into());
        }
        line.extend_from_slice(&piece);
    }
}

/// What was read of a line before, and its end.
fn whole_line(before: &mut BytesMut, end: Bytes) -> Bytes {
    if before.is_empty() {
        return end;
    }
    before.extend_from_slice(&end);
    before.split().freeze()
}
