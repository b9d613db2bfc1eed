//! Two stores that are treated alike, and compared.

use bytes::Bytes;
use futures_util::TryStreamExt;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use super::generate::Generator;
use crate::conformance::{Check, Context, Failure};
use crate::{
    Action, BackendExt, Batch, ByteRange, CollectionName, Cursor, Digest, Doc, DynBackend, Env,
    ErrorKind, GetOptions, Index, Item, ItemStream, Key, NewBody, Operation, Outcome, Put, Query,
    Result, Scope, Version, byte_stream,
};

/// The backend under test and the reference.
pub(super) struct Twins {
    tested: DynBackend,
    reference: DynBackend,
    collections: Vec<CollectionName>,
    env: Env,
    /// Ids that batches had, of those that were refused too.
    ids: Vec<Version>,
}

/// An item, as far as it has to be the same on both: times are not.
type Seen = (
    Key,
    Version,
    u64,
    Option<Digest>,
    Option<Doc>,
    Option<Bytes>,
);

/// An answer, or the kind of the error.
type Answer<T> = Result<T, ErrorKind>;

fn answer<T>(result: Result<T>) -> Answer<T> {
    result.map_err(|error| error.kind())
}

async fn seen(item: Item) -> Result<Seen> {
    let body = match item.body {
        Some(body) => Some(body.bytes(1 << 24).await?),
        None => None,
    };
    let entry = item.entry;
    Ok((
        item.key,
        entry.version,
        entry.size,
        entry.digest,
        item.doc,
        body,
    ))
}

async fn all(mut stream: ItemStream) -> Result<Vec<Seen>> {
    let mut items = Vec::new();
    while let Some(item) = stream.try_next().await? {
        items.push(seen(item).await?);
    }
    Ok(items)
}

/// Compares two answers.
#[track_caller]
fn same<T: PartialEq + std::fmt::Debug>(
    found: Answer<T>,
    wanted: Answer<T>,
    what: impl FnOnce() -> String,
) -> Check {
    if found == wanted {
        return Ok(());
    }
    Err(Failure::differ(what(), &found, &wanted))
}

impl Twins {
    pub(super) fn new(
        context: &Context,
        reference: DynBackend,
        collections: Vec<CollectionName>,
    ) -> Self {
        Self {
            tested: context.store().clone(),
            reference,
            collections,
            env: context.env().clone(),
            ids: Vec::new(),
        }
    }

    pub(super) fn collections(&self) -> &[CollectionName] {
        &self.collections
    }

    pub(super) fn any_collection(&self, rng: &mut StdRng) -> CollectionName {
        self.collections
            .choose(rng)
            .cloned()
            .unwrap_or_else(|| unreachable!("there are two"))
    }

    pub(super) async fn write(&mut self, make: &mut Generator) -> Check {
        let can = *make.can();
        let most = match can.batch.scope {
            Scope::Item => 1,
            Scope::Collection | Scope::Store => can.batch.max_ops.min(6),
        };
        let id = match self.ids.choose(make.rng()) {
            Some(used) if can.batch.scope == Scope::Store && make.rng().random_bool(0.03) => *used,
            _ => self.env.version(),
        };
        let (mut tested, mut reference) = (Batch::with_id(id), Batch::with_id(id));
        let first = self.any_collection(make.rng());
        for _ in 0..make.rng().random_range(1..=most) {
            let collection = match can.batch.scope {
                Scope::Store => self.any_collection(make.rng()),
                _ => first.clone(),
            };
            let key = make.key()?;
            let current = self.reference.head(&collection, &key).await?;
            let condition = make.condition(current.map(|entry| entry.version), &self.ids);
            let actions = match make.rng().random_range(0..10) {
                0 | 1 => (Action::Delete, Action::Delete),
                2 => (Action::Check, Action::Check),
                _ => {
                    let put = Put::doc(make.doc()?);
                    let (mine, other) = self.bodies(&collection, make).await?;
                    let with = |body| {
                        Action::Put(Put {
                            body,
                            ..put.clone()
                        })
                    };
                    (with(mine), with(other))
                }
            };
            let operation = |action| Operation {
                collection: collection.clone(),
                key: key.clone(),
                condition,
                action,
            };
            tested.push(operation(actions.0));
            reference.push(operation(actions.1));
        }
        let shown = format!("the batch {tested:?}");
        let known = |written: crate::Written| {
            let entries = written
                .entries
                .iter()
                .map(|entry| entry.map(|entry| (entry.version, entry.size, entry.digest)));
            (written.id, entries.collect::<Vec<_>>())
        };
        let found = answer(self.tested.write(tested).await.map(known));
        let wanted = answer(self.reference.write(reference).await.map(known));
        self.ids.push(id);
        same(found, wanted, || shown)
    }

    /// One body for both, staged now and then.
    async fn bodies(
        &self,
        collection: &CollectionName,
        make: &mut Generator,
    ) -> Result<(NewBody, NewBody)> {
        let Some(bytes) = make.body() else {
            return Ok((NewBody::None, NewBody::None));
        };
        let bytes = Bytes::from(bytes);
        if make.rng().random_bool(0.7) {
            return Ok((NewBody::Bytes(bytes.clone()), NewBody::Bytes(bytes)));
        }
        let tested = self
            .tested
            .stage(collection, byte_stream(bytes.clone()))
            .await?;
        let reference = self.reference.stage(collection, byte_stream(bytes)).await?;
        Ok((NewBody::Staged(tested), NewBody::Staged(reference)))
    }

    pub(super) async fn query(&self, collection: &CollectionName, make: &mut Generator) -> Check {
        let query = make.query(&self.ids)?;
        let found = answer(all(self.tested.query(collection, query.clone())).await);
        let wanted = answer(all(self.reference.query(collection, query.clone())).await);
        same(found, wanted, || show(&query))
    }

    /// All pages of a query, by the cursors that each side makes, which have
    /// to be the same.
    pub(super) async fn pages(&self, collection: &CollectionName, make: &mut Generator) -> Check {
        let mut query = make.query(&self.ids)?;
        query.offset = 0;
        query.limit = Some(make.rng().random_range(1..5));
        loop {
            let page = |page: crate::Page| {
                (
                    page.items
                        .iter()
                        .map(|item| item.key.clone())
                        .collect::<Vec<_>>(),
                    page.next.map(|next| next.to_string()),
                )
            };
            let found = answer(self.tested.page(collection, query.clone()).await.map(page));
            let wanted = answer(
                self.reference
                    .page(collection, query.clone())
                    .await
                    .map(page),
            );
            let next = wanted.as_ref().ok().and_then(|(_, next)| next.clone());
            same(found, wanted, || format!("a page of {}", show(&query)))?;
            let Some(next) = next else { return Ok(()) };
            query.after = Some(Cursor::parse(&next)?);
        }
    }

    pub(super) async fn count(&self, collection: &CollectionName, make: &mut Generator) -> Check {
        let filter = make.filter(3, &self.ids)?;
        let found = answer(self.tested.count(collection, &filter).await);
        let wanted = answer(self.reference.count(collection, &filter).await);
        same(found, wanted, || {
            format!("the count of {}", filter.to_json())
        })
    }

    pub(super) async fn count_by(
        &self,
        collection: &CollectionName,
        make: &mut Generator,
    ) -> Check {
        let (filter, path) = (make.filter(2, &self.ids)?, make.group_path()?);
        let found = answer(self.tested.count_by(collection, &filter, &path).await);
        let wanted = answer(self.reference.count_by(collection, &filter, &path).await);
        same(found, wanted, || {
            format!("the count by {path} of {}", filter.to_json())
        })
    }

    pub(super) async fn scan(&self, collection: &CollectionName, make: &mut Generator) -> Check {
        let scan = make.scan();
        let found = answer(all(self.tested.scan(collection, scan.clone())).await);
        let wanted = answer(all(self.reference.scan(collection, scan.clone())).await);
        same(found, wanted, || format!("{scan:?}"))
    }

    pub(super) async fn gets(&self, collection: &CollectionName, make: &mut Generator) -> Check {
        let mut keys = Vec::new();
        for _ in 0..make.rng().random_range(0..6) {
            keys.push(make.key()?);
        }
        let parts = make.parts();
        let found = answer(many(&self.tested, collection, &keys, parts).await);
        let wanted = answer(many(&self.reference, collection, &keys, parts).await);
        same(found, wanted, || format!("get_many of {keys:?}"))?;
        for key in &keys {
            let at = make.rng().random_range(0..60);
            let range = match make.rng().random_range(0..3) {
                0 => ByteRange::From(at),
                1 => ByteRange::Last(at),
                _ => ByteRange::Bounded(at / 2, at),
            };
            let mut options = GetOptions::range(range);
            if make.rng().random_bool(0.3) {
                options.if_version = self.ids.choose(make.rng()).copied();
            }
            let found = answer(one(&self.tested, collection, key, options).await);
            let wanted = answer(one(&self.reference, collection, key, options).await);
            same(found, wanted, || format!("get of {key:?} with {options:?}"))?;
        }
        Ok(())
    }

    pub(super) async fn define(&self, collection: &CollectionName, index: Index) -> Check {
        let found = answer(
            self.tested
                .define(collection, std::slice::from_ref(&index))
                .await,
        );
        let wanted = answer(
            self.reference
                .define(collection, std::slice::from_ref(&index))
                .await,
        );
        same(found, wanted, || format!("declaring {index:?}"))
    }

    pub(super) async fn resolve(&mut self, make: &mut Generator) -> Check {
        if make.can().batch.scope < Scope::Store {
            return Ok(());
        }
        let id = match self.ids.choose(make.rng()) {
            Some(id) if make.rng().random_bool(0.8) => *id,
            _ => self.env.version(),
        };
        self.ids.push(id);
        let known = |outcome| match outcome {
            Outcome::Committed(commit) => Some(commit.map(|commit| commit.created.len())),
            Outcome::Aborted => None,
            Outcome::Unknown => Some(Some(usize::MAX)),
        };
        let found = answer(self.tested.resolve(id, None).await.map(known));
        let wanted = answer(self.reference.resolve(id, None).await.map(known));
        same(found, wanted, || {
            format!("what became of {id}, where None is aborted")
        })
    }

    pub(super) async fn drop_collection(&self, collection: &CollectionName) -> Check {
        let found = answer(self.tested.drop_collection(collection).await);
        let wanted = answer(self.reference.drop_collection(collection).await);
        same(found, wanted, || format!("dropping {collection:?}"))
    }

    pub(super) async fn list(&self) -> Check {
        let own = |names: Vec<CollectionName>| {
            names
                .into_iter()
                .filter(|name| self.collections.contains(name))
                .collect::<Vec<_>>()
        };
        let found = answer(self.tested.collections().await.map(own));
        let wanted = answer(self.reference.collections().await.map(own));
        same(found, wanted, || "the collections".into())
    }

    pub(super) async fn compare_all(&self) -> Check {
        for collection in &self.collections {
            let query = Query::default().parts(crate::Parts::ALL);
            let found = answer(all(self.tested.query(collection, query.clone())).await);
            let wanted = answer(all(self.reference.query(collection, query)).await);
            same(found, wanted, || format!("all of {collection:?}"))?;
        }
        Ok(())
    }
}

async fn many(
    store: &DynBackend,
    collection: &CollectionName,
    keys: &[Key],
    parts: crate::Parts,
) -> Result<Vec<Option<Seen>>> {
    let mut found = Vec::new();
    for item in store.get_many(collection, keys, parts).await? {
        found.push(match item {
            Some(item) => Some(seen(item).await?),
            None => None,
        });
    }
    Ok(found)
}

async fn one(
    store: &DynBackend,
    collection: &CollectionName,
    key: &Key,
    options: GetOptions,
) -> Result<Option<Seen>> {
    match store.get(collection, key, options).await? {
        Some(item) => seen(item).await.map(Some),
        None => Ok(None),
    }
}

/// A query as one would write it.
fn show(query: &Query) -> String {
    let sorts: Vec<_> = query.sort.iter().map(ToString::to_string).collect();
    format!(
        "the query {} sorted by {sorts:?}, offset {}, limit {:?}, after {:?}, {:?}",
        query.filter.to_json(),
        query.offset,
        query.limit,
        query.after.as_ref().map(Cursor::key),
        query.parts
    )
}
