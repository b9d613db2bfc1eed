//! Reads items: some by key, or a range in pages.

use std::ops::Bound;
use std::sync::Arc;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{CollectionName, GetOptions, Item, ItemStream, Key, Parts, Result, Scan};

use super::entry::{Raw, Stored};
use super::error::damaged;
use super::script::{Call, READ, SCAN};
use super::{Shared, answer, bodies};

/// The most items of a page.
const PAGE: u64 = 256;

/// A page ends when it passes this many bytes.
const PAGE_BYTES: usize = 1024 * 1024;

/// Reads one item.
pub(super) async fn get(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    key: &Key,
    options: GetOptions,
) -> Result<Option<Item>> {
    let mut found = read(shared, collection, std::slice::from_ref(key), options.parts).await?;
    let Some(raw) = found.pop().flatten() else {
        return Ok(None);
    };
    options.check_version(raw.version()?)?;
    let stored = raw.read(key.clone(), options.parts, options.range)?;
    Ok(Some(stored.into_item(shared)))
}

/// Reads several items, in the order of the keys.
pub(super) async fn get_many(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    keys: &[Key],
    parts: Parts,
) -> Result<Vec<Option<Item>>> {
    let mut items = Vec::with_capacity(keys.len());
    while let Some(rest) = keys.get(items.len()..).filter(|rest| !rest.is_empty()) {
        let most = rest.len().min(usize::try_from(PAGE).unwrap_or(usize::MAX));
        let step = rest.get(..most).unwrap_or(rest);
        let found = read(shared, collection, step, parts).await?;
        if found.is_empty() {
            return Err(damaged("the answer of a script"));
        }
        for (key, raw) in step.iter().zip(found) {
            let stored = raw
                .map(|raw| raw.read(key.clone(), parts, None))
                .transpose();
            let stored = stored.map_err(|error| error.at(collection, Some(key)))?;
            items.push(stored.map(|stored| stored.into_item(shared)));
        }
    }
    Ok(items)
}

/// Reads items, as many as fit, at least one.
async fn read(
    shared: &Shared,
    collection: &CollectionName,
    keys: &[Key],
    parts: Parts,
) -> Result<Vec<Option<Raw>>> {
    shared.check_open()?;
    let mut call = Call::new(
        &READ,
        shared.names.of(collection, ["entries", "docs", "bodies"]),
    );
    call.flag(parts.doc).flag(parts.body).number(PAGE_BYTES);
    for key in keys {
        call.text(key.as_str());
    }
    let mut answers = answer::list(call.read(&shared.link).await?)?.into_iter();
    let mut found = Vec::with_capacity(keys.len());
    while let Some(entry) = answers.next() {
        let (doc, body) = (answers.next(), answers.next());
        let entry = answer::bytes_or_none(Some(entry))?;
        let (doc, body) = (answer::bytes_or_none(doc)?, answer::bytes_or_none(body)?);
        found.push(entry.map(|entry| Raw { entry, doc, body }));
    }
    Ok(found)
}

impl Stored {
    /// The item, with a large body as a stream.
    fn into_item(self, shared: &Arc<Shared>) -> Item {
        let Self { mut item, large } = self;
        if let Some((id, range)) = large {
            let (size, digest) = (item.entry.size, item.entry.digest);
            item.body = Some(bodies::body(shared.clone(), id, range, size, digest));
        }
        item
    }
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
        let Some((low, high)) = self.scan.bounds().filter(|_| !self.ended && self.left > 0) else {
            return Ok(None);
        };
        let (low, high) = (edge(&low, "-"), edge(&high, "+"));
        let (first, last) = match self.scan.reverse {
            false => (low, high),
            true => (high, low),
        };
        let parts = self.scan.parts;
        let mut call = Call::new(
            &SCAN,
            self.shared
                .names
                .of(&self.collection, ["keys", "entries", "docs", "bodies"]),
        );
        call.flag(parts.doc)
            .flag(parts.body)
            .number(PAGE_BYTES)
            .number(PAGE.min(self.left))
            .flag(self.scan.reverse)
            .arg(first.into_bytes())
            .arg(last.into_bytes());
        let mut answers = answer::list(call.read(&self.shared.link).await?)?.into_iter();
        self.ended = answer::text(answers.next())? == "1";
        let mut items = Vec::new();
        while let Some(key) = answers.next() {
            let key = Key::new(answer::text(Some(key))?)?;
            let entry = answer::bytes_or_none(answers.next())?;
            let raw = Raw {
                entry: entry.ok_or_else(|| damaged("a stored item"))?,
                doc: answer::bytes_or_none(answers.next())?,
                body: answer::bytes_or_none(answers.next())?,
            };
            let stored = raw.read(key, parts, None)?;
            items.push(stored.into_item(&self.shared));
        }
        self.left = self.left.saturating_sub(items.len() as u64);
        match items.last() {
            Some(last) => self.scan.after = Some(last.key.as_str().to_owned()),
            None => return Ok(None),
        }
        Ok(Some(items))
    }
}

/// A bound as `ZRANGEBYLEX` has it.
fn edge(bound: &Bound<String>, open: &str) -> String {
    match bound {
        Bound::Included(key) => format!("[{key}"),
        Bound::Excluded(key) => format!("({key}"),
        Bound::Unbounded => open.to_owned(),
    }
}
