//! `toy:`: a backend of one's own, with the seven methods that a backend must
//! have, and those whose defaults cannot know what it holds: dropping indexes,
//! and being closed. Queries, counts, transactions, layers and models come with
//! them.
//!
//! It keeps a map in memory and writes one item at a time
//! ([`Scope::Item`]).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall::{
    Action, Attrs, Backend, Batch, BatchLimits, Body, ByteRange, ByteStream, Capabilities,
    CollectionName, Commit, Conditions, Digest, Doc, DynBackend, Entry, Env, Error, GetOptions,
    Index, Item, ItemStream, Key, MAX_DOC, MAX_KEY, NewBody, Operation, Parts, QuerySupport,
    Registry, Result, Scan, Scope, Snapshot, Staged, Timestamp, Version, Watch, Written,
};
use parking_lot::{Mutex, MutexGuard};

/// The most bytes of a body.
const MAX_BODY: usize = 64 * 1024 * 1024;

/// The most bodies that wait for their batch, and how long.
const MAX_STAGED: usize = 64;
const LEASE: Duration = Duration::from_secs(60 * 60);

/// Adds the scheme `toy:` to a table of URL schemes.
///
/// # Errors
/// `Conflict` if it is taken.
pub fn register(registry: &Registry) -> Result<()> {
    registry.register("toy", |settings, env| async move {
        settings.refuse_unknown(&[])?;
        let toy: DynBackend = Arc::new(Toy::new(env));
        Ok(toy)
    })
}

/// A map in memory.
#[derive(Debug)]
pub struct Toy {
    env: Env,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    closed: bool,
    collections: BTreeMap<CollectionName, Table>,
    staged: BTreeMap<Version, (CollectionName, Staged, Bytes)>,
}

#[derive(Debug, Default)]
struct Table {
    items: BTreeMap<Key, Stored>,
    /// Others change no answer, so they are not kept.
    unique: Vec<Index>,
}

#[derive(Clone, Debug)]
struct Stored {
    entry: Entry,
    doc: Doc,
    body: Option<Bytes>,
    attrs: Attrs,
}

impl Toy {
    /// An empty one.
    pub fn new(env: Env) -> Self {
        let state = Mutex::default();
        Self { env, state }
    }

    fn open(&self) -> Result<MutexGuard<'_, State>> {
        let state = self.state.lock();
        if state.closed {
            return Err(Error::closed("the store was closed; open it again"));
        }
        Ok(state)
    }

    fn range(&self, collection: &CollectionName, scan: &Scan) -> Result<Vec<Result<Item>>> {
        let state = self.open()?;
        let (Some(table), Some((low, high))) = (state.collections.get(collection), scan.bounds())
        else {
            return Ok(Vec::new());
        };
        let bounds = (
            low.as_ref().map(String::as_str),
            high.as_ref().map(String::as_str),
        );
        let found = table.items.range::<str, _>(bounds);
        let item = |(key, stored): (&Key, &Stored)| stored.item(key, scan.parts, None);
        let limit = scan.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        Ok(if scan.reverse {
            found.rev().take(limit).map(item).collect()
        } else {
            found.take(limit).map(item).collect()
        })
    }
}

#[async_trait]
impl Backend for Toy {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            batch: BatchLimits {
                scope: Scope::Item,
                max_ops: 1,
                max_bytes: 2 * MAX_BODY as u64,
            },
            snapshot: Snapshot::Stream,
            conditions: Conditions::Full,
            watch: Watch::None,
            query: QuerySupport::Scan,
            durable: false,
            shared: false,
            max_key: MAX_KEY,
            max_doc: MAX_DOC,
            max_body: MAX_BODY as u64,
        }
    }

    async fn get(
        &self,
        collection: &CollectionName,
        key: &Key,
        options: GetOptions,
    ) -> Result<Option<Item>> {
        let state = self.open()?;
        let table = state.collections.get(collection);
        let Some(stored) = table.and_then(|table| table.items.get(key)) else {
            return Ok(None);
        };
        options
            .check_version(stored.entry.version)
            .and_then(|()| stored.item(key, options.parts, options.range))
            .map(Some)
            .map_err(|error| error.at(collection, Some(key)))
    }

    async fn stage(&self, collection: &CollectionName, mut body: ByteStream) -> Result<Staged> {
        let mut bytes = BytesMut::new();
        while let Some(piece) = body.try_next().await? {
            if bytes.len() + piece.len() > MAX_BODY {
                return Err(Error::too_large(format!(
                    "the body has more than {MAX_BODY} bytes, the limit of this backend"
                )));
            }
            bytes.extend_from_slice(&piece);
        }
        let now = self.env.now();
        let staged = Staged {
            id: self.env.version(),
            size: bytes.len() as u64,
            digest: Digest::of(&bytes),
            expires: now.after(LEASE),
        };
        let mut state = self.open()?;
        state
            .staged
            .retain(|_, (_, staged, _)| staged.expires > now);
        if state.staged.len() >= MAX_STAGED {
            return Err(Error::unavailable(format!(
                "{MAX_STAGED} staged bodies wait for their batches; write those first"
            )));
        }
        let waiting = (collection.clone(), staged.clone(), bytes.freeze());
        state.staged.insert(staged.id, waiting);
        Ok(staged)
    }

    async fn write(&self, mut batch: Batch) -> Result<Written> {
        batch.validate(&self.capabilities())?;
        let id = batch.ensure_id(&self.env);
        let at = self.env.now();
        let mut state = self.open()?;
        let mut created = Vec::new();
        // The scope is one item, so this is all or nothing.
        for operation in batch.operations() {
            created.extend(state.apply(operation, id, at)?);
        }
        let entries = batch.entries(id, &Commit { at, created });
        Ok(Written { id, entries })
    }

    fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream {
        match self.range(collection, &scan) {
            Ok(items) => stream::iter(items).boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        indexes.iter().try_for_each(Index::validate)?;
        let mut state = self.open()?;
        let table = state.collections.entry(collection.clone()).or_default();
        let new: Vec<_> = indexes
            .iter()
            .filter(|index| index.unique && !table.unique.contains(index))
            .collect();
        for index in &new {
            table
                .check_duplicates(index)
                .map_err(|error| error.at(collection, None))?;
        }
        table.unique.extend(new.into_iter().cloned());
        Ok(())
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        let state = self.open()?;
        let filled = state
            .collections
            .iter()
            .filter(|(_, table)| !table.items.is_empty());
        Ok(filled.map(|(name, _)| name.clone()).collect())
    }

    /// The default deletes the items. Only a backend knows where its indexes
    /// are, so one that has unique ones drops them here.
    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        self.open()?.collections.remove(collection);
        Ok(())
    }

    async fn health(&self) -> Result<()> {
        self.open().map(drop)
    }

    async fn close(&self) -> Result<()> {
        *self.state.lock() = State {
            closed: true,
            ..State::default()
        };
        Ok(())
    }
}

impl State {
    /// Applies an operation; answers when the item was first put, if it is
    /// put.
    fn apply(
        &mut self,
        operation: &Operation,
        id: Version,
        at: Timestamp,
    ) -> Result<Option<Timestamp>> {
        let Operation {
            collection, key, ..
        } = operation;
        let table = self.collections.entry(collection.clone()).or_default();
        let current = table.items.get(key).map(|stored| stored.entry);
        operation
            .condition
            .check(operation, current.map(|entry| entry.version))?;
        let put = match &operation.action {
            Action::Check => return Ok(None),
            Action::Delete => {
                table.items.remove(key);
                return Ok(None);
            }
            Action::Put(put) => put,
        };
        table
            .check_unique(key, &put.doc)
            .map_err(|error| error.at(collection, Some(key)))?;
        let body = match &put.body {
            NewBody::None => None,
            NewBody::Bytes(bytes) => Some(bytes.clone()),
            NewBody::Staged(staged) => {
                let waiting = self.staged.get(&staged.id);
                let fits = waiting.is_some_and(|(owner, waiting, _)| {
                    owner == collection && waiting == staged && staged.expires > at
                });
                let taken = fits.then(|| self.staged.remove(&staged.id)).flatten();
                let (_, _, bytes) = taken.ok_or_else(|| {
                    Error::expired("the staged body is not there any more; stage it again")
                        .at(collection, Some(key))
                })?;
                Some(bytes)
            }
        };
        let (size, digest) = put.body.measure();
        let created = current.map_or(at, |entry| entry.created);
        let entry = Entry {
            version: id,
            created,
            modified: at,
            size,
            digest,
        };
        let (doc, attrs) = (put.doc.clone(), put.attrs.clone());
        let stored = Stored {
            entry,
            doc,
            body,
            attrs,
        };
        table.items.insert(key.clone(), stored);
        Ok(Some(created))
    }
}

impl Table {
    fn check_unique(&self, key: &Key, doc: &Doc) -> Result<()> {
        for index in &self.unique {
            let Some(values) = index.unique_values(doc)? else {
                continue;
            };
            for (other, stored) in &self.items {
                if other != key && index.unique_values(&stored.doc)?.as_ref() == Some(&values) {
                    return Err(index.taken(key.as_str(), other.as_str()));
                }
            }
        }
        Ok(())
    }

    fn check_duplicates(&self, index: &Index) -> Result<()> {
        let mut owners = BTreeMap::new();
        for (key, stored) in &self.items {
            if let Some(values) = index.unique_values(&stored.doc)?
                && let Some(other) = owners.insert(values, key)
            {
                return Err(index.taken(key.as_str(), other.as_str()));
            }
        }
        Ok(())
    }
}

impl Stored {
    fn item(&self, key: &Key, parts: Parts, range: Option<ByteRange>) -> Result<Item> {
        let body = match &self.body {
            Some(body) if parts.body => {
                let whole = ByteRange::From(0);
                let range = range.unwrap_or(whole).resolve(body.len() as u64)?;
                let (start, end) = (range.start as usize, range.end as usize);
                Some(Body::from_bytes(body.slice(start..end), range.start))
            }
            _ => None,
        };
        Ok(Item {
            key: key.clone(),
            entry: self.entry,
            doc: parts.doc.then(|| self.doc.clone()),
            body,
            attrs: self.attrs.clone(),
        })
    }
}
