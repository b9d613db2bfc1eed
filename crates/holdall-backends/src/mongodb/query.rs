//! Answers scans, queries and counts, a page at a time.

use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

use futures_util::future::join;
use futures_util::{StreamExt, TryStreamExt, stream};
use hashbrown::HashMap;
use holdall_core::evaluate;
use holdall_core::{
    CollectionName, Error, Filter, GetOptions, Group, Item, ItemStream, Key, Parts, Path, Query,
    Result, Scan, Subject, Value,
};
use mongodb::Collection;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::options::ReadConcern;

use super::catalogue::{self, Layout};
use super::documents::{self, Stored};
use super::plan::{self, Plan, Walk};
use super::{Shared, bodies, names};

/// The most documents of a page.
const PAGE: u64 = 256;

/// A page ends when its documents pass this many bytes.
const PAGE_BYTES: usize = 1024 * 1024;

impl Stored {
    /// The item, with a large body as a stream.
    pub(super) fn into_item(self, shared: &Arc<Shared>) -> Item {
        let Self {
            mut item, large, ..
        } = self;
        if let Some((id, range)) = large {
            item.body = Some(bodies::body(
                shared.clone(),
                id,
                range,
                item.entry.size,
                item.entry.digest,
            ));
        }
        item
    }
}

fn items(shared: &Shared, collection: &CollectionName) -> Collection<RawDocumentBuf> {
    shared.database.collection(&names::table(collection))
}

/// Reads one item.
pub(super) async fn get(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    key: &Key,
    options: GetOptions,
) -> Result<Option<Item>> {
    let _pass = shared.life.enter()?;
    let _turn = shared.turn().await?;
    let items = items(shared, collection);
    let find = items
        .find_one(doc! { "_id": key.as_str() })
        .projection(documents::projection(options.parts, None));
    let Some(document) = shared.read(find).await? else {
        return Ok(None);
    };
    let parts = Parts {
        body: false,
        ..options.parts
    };
    // Before the range: it may not lie in the body of another version.
    options.check_version(
        documents::stored(
            &document,
            Parts {
                doc: false,
                ..parts
            },
            None,
        )?
        .item
        .entry
        .version,
    )?;
    let stored = documents::stored(&document, options.parts, options.range)?;
    Ok(Some(stored.into_item(shared)))
}

/// Reads several items.
pub(super) async fn get_many(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    keys: &[Key],
    parts: Parts,
) -> Result<Vec<Option<Item>>> {
    let _pass = shared.life.enter()?;
    let mut answer = Vec::with_capacity(keys.len());
    for some in keys.chunks(usize::try_from(PAGE).unwrap_or(1)) {
        let _turn = shared.turn().await?;
        let names: Vec<&str> = some.iter().map(Key::as_str).collect();
        let find = items(shared, collection);
        let find = find
            .find(doc! { "_id": { "$in": names } })
            .projection(documents::projection(parts, None));
        let mut cursor = shared.read(find).await?;
        let mut found = HashMap::new();
        while shared.read(cursor.advance()).await? {
            let document = cursor.current().to_owned();
            found.insert(documents::key_text(&document)?.to_owned(), document);
        }
        for key in some {
            let document = found.get(key.as_str());
            let stored = document.map(|document| documents::stored(document, parts, None));
            answer.push(stored.transpose()?.map(|stored| stored.into_item(shared)));
        }
    }
    Ok(answer)
}

/// Reads items in key order.
pub(super) fn scan(shared: Arc<Shared>, collection: CollectionName, scan: &Scan) -> ItemStream {
    candidates(shared, collection, scan, Vec::new())
}

/// Reads items in key order that meet some conditions.
fn candidates(
    shared: Arc<Shared>,
    collection: CollectionName,
    scan: &Scan,
    conditions: Vec<Document>,
) -> ItemStream {
    let Some((low, high)) = scan.bounds() else {
        // Whether the store is open is said all the same.
        return stream::once(async move { shared.open() })
            .try_filter_map(|()| async { Ok(None) })
            .boxed();
    };
    let mut walk = Walk::keys(String::new(), None, scan.reverse);
    let mut conditions = conditions;
    match low {
        Bound::Included(low) => walk.ranges = VecDeque::from([(low, None)]),
        Bound::Excluded(low) => conditions.push(doc! { "_id": { "$gt": low } }),
        Bound::Unbounded => {}
    }
    match high {
        Bound::Included(high) => conditions.push(doc! { "_id": { "$lte": high } }),
        Bound::Excluded(high) => conditions.push(doc! { "_id": { "$lt": high } }),
        Bound::Unbounded => {}
    }
    let answer = Answer {
        shared,
        collection,
        filter: None,
        conditions,
        walk,
        parts: scan.parts,
        left: scan.limit.unwrap_or(u64::MAX),
        skip: 0,
    };
    answer.items()
}

/// Answers a query.
pub(super) fn query(shared: Arc<Shared>, collection: CollectionName, query: Query) -> ItemStream {
    if let Err(error) = query.validate() {
        return stream::once(async { Err(error) }).boxed();
    }
    stream::once(async move {
        let plain = query.filter.is_all() && query.sort.is_empty();
        let begun = by_layout(&shared, &collection, plain, |layout| {
            begin(&shared, &collection, &query, layout)
        });
        Ok::<_, Error>(match begun.await? {
            Begun::InOrder(answer, Some(first)) => {
                let first = stream::iter(first.into_iter().map(Ok));
                first.chain(answer.items()).boxed()
            }
            Begun::InOrder(_, None) => stream::empty().boxed(),
            Begun::ToSort(conditions) => evaluate::evaluate(query, |scan| {
                candidates(shared, collection, &scan, conditions)
            }),
        })
    })
    .try_flatten()
    .boxed()
}

/// A query of which what can be read without the rest is read.
enum Begun {
    /// Its first page is here.
    InOrder(Box<Answer>, Option<Vec<Item>>),
    /// All that meets these conditions has to be sorted.
    ToSort(Vec<Document>),
}

async fn begin(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    query: &Query,
    layout: Arc<Layout>,
) -> Result<Begun> {
    let mut plan = plan::plan(&query.filter, &layout);
    let Some(walk) = plan::walk(query, &layout, &mut plan.conditions) else {
        return Ok(Begun::ToSort(plan.conditions));
    };
    let mut answer = Answer {
        shared: shared.clone(),
        collection: collection.clone(),
        filter: (!plan.exact).then(|| query.filter.clone()),
        conditions: plan.conditions,
        walk,
        parts: query.parts,
        left: query.limit.unwrap_or(u64::MAX),
        skip: query.offset,
    };
    let first = answer.page().await?;
    Ok(Begun::InOrder(Box::new(answer), first))
}

/// Reads by the indexes of a collection.
///
/// Those that were known are used while they are asked for again, and what was read by
/// them counts only if that finds the same generation. Generations only grow, so whichever
/// of the two was answered first, it was read by indexes that were there.
async fn by_layout<T, F>(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    plain: bool,
    read: impl Fn(Arc<Layout>) -> F,
) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    if plain {
        return read(Arc::default()).await;
    }
    let known = shared.layouts.lock().get(collection).cloned();
    let Some(known) = known else {
        return read(layout(shared, collection).await?).await;
    };
    let (now, answer) = join(layout(shared, collection), read(known.clone())).await;
    let now = now?;
    match now.generation == known.generation {
        true => answer,
        false => read(now).await,
    }
}

async fn layout(shared: &Arc<Shared>, collection: &CollectionName) -> Result<Arc<Layout>> {
    let _pass = shared.life.enter()?;
    let _turn = shared.turn().await?;
    let now = Arc::new(catalogue::layout(shared, collection).await?);
    // Names that anyone may ask for are not kept.
    if now.generation > 0 {
        let mut known = shared.layouts.lock();
        known.insert(collection.clone(), now.clone());
    }
    Ok(now)
}

/// A query that is being answered.
struct Answer {
    shared: Arc<Shared>,
    collection: CollectionName,
    /// What is asked again of each document.
    filter: Option<Filter>,
    conditions: Vec<Document>,
    walk: Walk,
    parts: Parts,
    left: u64,
    skip: u64,
}

impl Answer {
    fn items(self) -> ItemStream {
        let pages = stream::try_unfold(self, |mut answer| async move {
            let page = answer.page().await?;
            Ok::<_, Error>(page.map(|items| (stream::iter(items.into_iter().map(Ok)), answer)))
        });
        pages.try_flatten().boxed()
    }

    /// The next items; `None` at the end.
    async fn page(&mut self) -> Result<Option<Vec<Item>>> {
        let shared = self.shared.clone();
        let _pass = shared.life.enter()?;
        while self.left > 0 {
            let Some(range) = self.walk.condition() else {
                return Ok(None);
            };
            let items = self
                .read(range)
                .await
                .map_err(|error| error.at(&self.collection, None))?;
            if !items.is_empty() {
                return Ok(Some(items));
            }
        }
        Ok(None)
    }

    async fn read(&mut self, range: Document) -> Result<Vec<Item>> {
        let _turn = self.shared.turn().await?;
        let parts = Parts {
            doc: self.parts.doc || self.filter.as_ref().is_some_and(Filter::reads_doc),
            ..self.parts
        };
        let limit = match self.filter {
            None => PAGE.min(self.left.saturating_add(self.skip)),
            Some(_) => PAGE,
        };
        let mut conditions = vec![range];
        conditions.extend(self.conditions.iter().cloned());
        let filter = match conditions.as_slice() {
            [only] => only.clone(),
            _ => doc! { "$and": conditions },
        };
        let items = items(&self.shared, &self.collection);
        let direction = if self.walk.descending { -1 } else { 1 };
        let mut find = items
            .find(filter)
            .sort(doc! { &self.walk.field: direction })
            .limit(i64::try_from(limit).unwrap_or(i64::MAX))
            .batch_size(u32::try_from(limit).unwrap_or(u32::MAX))
            .projection(documents::projection(parts, self.walk.index));
        if self.shared.transactions {
            find = find.read_concern(ReadConcern::snapshot());
        }
        let mut cursor = self.shared.read(find).await?;
        let (mut found, mut seen, mut bytes, mut last) = (Vec::new(), 0, 0, None);
        while bytes < PAGE_BYTES
            && (found.len() as u64) < self.left
            && self.shared.read(cursor.advance()).await?
        {
            let document = cursor.current();
            seen += 1;
            last = Some(match self.walk.index {
                Some(index) => documents::sort_text(document, index)?,
                None => documents::key_text(document)?.to_owned(),
            });
            let stored = documents::stored(document, parts, None)?;
            bytes += stored.bytes;
            if !self.matches(&stored)? {
                continue;
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            let mut item = stored.into_item(&self.shared);
            if !self.parts.doc {
                item.doc = None;
            }
            found.push(item);
        }
        self.left -= found.len() as u64;
        match last {
            Some(last) if seen == limit || bytes >= PAGE_BYTES => self.walk.behind = Some(last),
            _ => {
                self.walk.ranges.pop_front();
                self.walk.behind = None;
            }
        }
        Ok(found)
    }

    fn matches(&self, stored: &Stored) -> Result<bool> {
        let Some(filter) = &self.filter else {
            return Ok(true);
        };
        let doc = match &stored.item.doc {
            Some(doc) => doc.value()?,
            None => Value::Null,
        };
        Ok(filter.matches(&Subject {
            key: &stored.item.key,
            entry: &stored.item.entry,
            doc: &doc,
        }))
    }
}

/// Counts what a filter matches.
pub(super) async fn count(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    filter: &Filter,
) -> Result<u64> {
    let _pass = shared.life.enter()?;
    let count = |layout: Arc<Layout>| async move {
        let Plan { conditions, exact } = plan::plan(filter, &layout);
        if exact {
            let _turn = shared.turn().await?;
            let all = match conditions.is_empty() {
                true => doc! {},
                false => doc! { "$and": conditions },
            };
            return shared
                .read(items(shared, collection).count_documents(all))
                .await;
        }
        let (shared, collection) = (shared.clone(), collection.clone());
        evaluate::count(filter, |scan| {
            candidates(shared, collection, &scan, conditions)
        })
        .await
    };
    by_layout(shared, collection, filter.is_all(), count).await
}

/// Counts what a filter matches by the value at a path.
pub(super) async fn count_by(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    filter: &Filter,
    path: &Path,
) -> Result<Vec<Group>> {
    let _pass = shared.life.enter()?;
    let count = |layout: Arc<Layout>| async move {
        let conditions = plan::plan(filter, &layout).conditions;
        let (shared, collection) = (shared.clone(), collection.clone());
        evaluate::count_by(filter, path, |scan| {
            candidates(shared, collection, &scan, conditions)
        })
        .await
    };
    by_layout(shared, collection, filter.is_all(), count).await
}
