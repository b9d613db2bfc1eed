//! The memory backend: the reference for all others.

mod log;
mod table;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use hashbrown::HashMap;
use parking_lot::RwLock;

use self::log::Log;
use self::table::{Stored, Table};
use crate::{
    Action, Backend, Batch, BatchLimits, Body, BodyHasher, ByteRange, ByteStream, Capabilities,
    ChangeKind, ChangeStream, CollectionName, Conditions, Entry, Env, Error, GetOptions, Index,
    Item, ItemStream, Key, MAX_DOC, MAX_KEY, NewBody, Operation, Outcome, Parts, QuerySupport,
    Result, Scan, Scope, Snapshot, Staged, Timestamp, Version, Watch, WatchFrom, Written,
};

/// How long a staged body waits for its batch.
const LEASE: Duration = Duration::from_secs(60 * 60);

/// The most bytes of a body; it is held in one piece.
const MAX_BODY: u64 = 1024 * 1024 * 1024;

/// The most bytes of staged bodies that wait at one time.
const MAX_STAGED: u64 = 4 * MAX_BODY;

const CAPABILITIES: Capabilities = Capabilities {
    batch: BatchLimits {
        scope: Scope::Store,
        max_ops: 10_000,
        max_bytes: 64 * 1024 * 1024,
    },
    snapshot: Snapshot::Stream,
    conditions: Conditions::Full,
    watch: Watch::Total,
    query: QuerySupport::Scan,
    durable: false,
    shared: false,
    max_key: MAX_KEY,
    max_doc: MAX_DOC,
    max_body: MAX_BODY,
};

/// Keeps everything in memory, and nothing when the process ends.
///
/// Its answers define what is right: other backends are compared with it.
/// Clones share their items.
#[derive(Clone)]
pub struct MemoryBackend {
    shared: Arc<Shared>,
}

struct Shared {
    env: Env,
    state: RwLock<State>,
    /// Tells watchers that the log has grown.
    grown: tokio::sync::watch::Sender<()>,
}

struct State {
    tables: HashMap<CollectionName, Table>,
    staged: HashMap<Version, Waiting>,
    log: Log,
    closed: bool,
}

struct Waiting {
    staged: Staged,
    collection: CollectionName,
    body: Bytes,
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

impl MemoryBackend {
    /// An empty backend with the system's clock and randomness.
    pub fn new() -> Self {
        Self::with_env(Env::system())
    }

    /// An empty backend with a clock and randomness of the caller's.
    pub fn with_env(env: Env) -> Self {
        let state = State {
            tables: HashMap::new(),
            staged: HashMap::new(),
            log: Log::new(env.version()),
            closed: false,
        };
        let shared = Shared {
            env,
            state: RwLock::new(state),
            grown: tokio::sync::watch::Sender::new(()),
        };
        Self {
            shared: Arc::new(shared),
        }
    }

    /// Reads one item, without a future: nothing here waits.
    ///
    /// # Errors
    /// As [`Backend::get`].
    pub fn read(
        &self,
        collection: &CollectionName,
        key: &Key,
        options: GetOptions,
    ) -> Result<Option<Item>> {
        let state = self.shared.state.read();
        state.open()?;
        let Some(stored) = state
            .tables
            .get(collection)
            .and_then(|table| table.get(key))
        else {
            return Ok(None);
        };
        options
            .check_version(stored.entry.version)
            .and_then(|()| stored.item(key, options.parts, options.range))
            .map(Some)
            .map_err(|error| error.at(collection, Some(key)))
    }

    fn write_now(&self, mut batch: Batch) -> Result<Written> {
        batch.validate(&CAPABILITIES)?;
        let id = batch.ensure_id(&self.shared.env);
        // Bodies are hashed before the lock is taken.
        let measured: Vec<_> = batch
            .operations()
            .iter()
            .map(|operation| match &operation.action {
                Action::Put(put) => put.body.measure(),
                Action::Delete | Action::Check => (0, None),
            })
            .collect();

        let mut state = self.shared.state.write();
        let at = self.shared.env.now();
        state.open()?;
        state.log.admit(id, at)?;
        for operation in batch.operations() {
            let current = state.version_of(&operation.collection, &operation.key);
            operation.condition.check(operation, current)?;
        }
        state.check_unique(&batch)?;
        let bodies = state.bodies(&batch, at)?;

        let mut changes = Vec::new();
        let mut entries = Vec::with_capacity(batch.operations().len());
        for ((operation, body), (size, digest)) in
            batch.operations().iter().zip(bodies).zip(measured)
        {
            let put = match &operation.action {
                Action::Check => {
                    entries.push(None);
                    continue;
                }
                Action::Delete => None,
                Action::Put(put) => Some(put),
            };
            let table = state.tables.entry_ref(&operation.collection).or_default();
            let previous = table.get(&operation.key).map(|stored| stored.entry);
            let entry = put.map(|_| Entry {
                version: id,
                created: previous.map_or(at, |previous| previous.created),
                modified: at,
                size,
                digest,
            });
            entries.push(entry);
            match (put, entry) {
                (Some(put), Some(entry)) => table.insert(
                    operation.key.clone(),
                    Stored {
                        entry,
                        doc: put.doc.clone(),
                        body,
                        attrs: put.attrs.clone(),
                    },
                )?,
                _ => table.remove(&operation.key)?,
            }
            if put.is_some() || previous.is_some() {
                changes.push(log::Logged {
                    collection: operation.collection.clone(),
                    key: Some(operation.key.clone()),
                    kind: if put.is_some() {
                        ChangeKind::Put
                    } else {
                        ChangeKind::Delete
                    },
                    previous: previous.map(|previous| previous.version),
                    created: entry.map_or(at, |entry| entry.created),
                });
            }
        }
        state.log.append(id, at, changes);
        drop(state);
        self.shared.grown.send_replace(());
        Ok(Written { id, entries })
    }

    fn scan_now(
        &self,
        collection: &CollectionName,
        scan: &Scan,
    ) -> Result<Vec<(Key, Arc<Stored>)>> {
        let state = self.shared.state.read();
        state.open()?;
        Ok(state
            .tables
            .get(collection)
            .map(|table| table.range(scan))
            .unwrap_or_default())
    }

    fn drop_now(&self, collection: &CollectionName) -> Result<()> {
        let mut state = self.shared.state.write();
        state.open()?;
        let Some(table) = state.tables.remove(collection) else {
            return Ok(());
        };
        if !table.is_empty() {
            let at = self.shared.env.now();
            let change = log::Logged {
                collection: collection.clone(),
                key: None,
                kind: ChangeKind::Dropped,
                previous: None,
                created: at,
            };
            state
                .log
                .append(self.shared.env.version(), at, vec![change]);
        }
        drop(state);
        self.shared.grown.send_replace(());
        Ok(())
    }

    fn keep_staged(
        &self,
        collection: &CollectionName,
        body: Bytes,
        hasher: &BodyHasher,
    ) -> Result<Staged> {
        let env = &self.shared.env;
        let now = env.now();
        let staged = Staged {
            id: env.version(),
            size: hasher.size(),
            digest: hasher.digest(),
            expires: now.after(LEASE),
        };
        let mut state = self.shared.state.write();
        state.open()?;
        state
            .staged
            .retain(|_, waiting| waiting.staged.expires > now);
        let waiting: u64 = state
            .staged
            .values()
            .map(|waiting| waiting.staged.size)
            .sum();
        if waiting.saturating_add(staged.size) > MAX_STAGED {
            return Err(Error::unavailable(format!(
                "staged bodies of {waiting} bytes wait for their batches; the limit is {MAX_STAGED}. \
                 Write those first"
            )));
        }
        let collection = collection.clone();
        state.staged.insert(
            staged.id,
            Waiting {
                staged: staged.clone(),
                collection,
                body,
            },
        );
        Ok(staged)
    }
}

impl State {
    fn open(&self) -> Result<()> {
        if self.closed {
            return Err(Error::closed("the store was closed; open it again"));
        }
        Ok(())
    }

    fn version_of(&self, collection: &CollectionName, key: &Key) -> Option<Version> {
        Some(self.tables.get(collection)?.get(key)?.entry.version)
    }

    /// The body of each operation. Takes the staged ones only when all are
    /// there, so that a refused batch leaves them.
    fn bodies(&mut self, batch: &Batch, now: Timestamp) -> Result<Vec<Option<Bytes>>> {
        let mut used = hashbrown::HashSet::new();
        let bodies = batch
            .operations()
            .iter()
            .map(|operation| {
                let Action::Put(put) = &operation.action else { return Ok(None) };
                let staged = match &put.body {
                    NewBody::None => return Ok(None),
                    NewBody::Bytes(bytes) => return Ok(Some(bytes.clone())),
                    NewBody::Staged(staged) => staged,
                };
                let waiting = self.staged.get(&staged.id).filter(|waiting| {
                    waiting.staged == *staged
                        && waiting.collection == operation.collection
                        && waiting.staged.expires > now
                        && used.insert(staged.id)
                });
                waiting.map(|waiting| Some(waiting.body.clone())).ok_or_else(|| {
                    Error::expired(
                        "the staged body is not there: its lease ended, it was used, or it belongs to \
                         another collection. Stage it again",
                    )
                    .at(&operation.collection, Some(&operation.key))
                })
            })
            .collect::<Result<Vec<_>>>()?;
        for id in used {
            self.staged.remove(&id);
        }
        Ok(bodies)
    }

    fn check_unique(&self, batch: &Batch) -> Result<()> {
        let mut checked = hashbrown::HashSet::new();
        for Operation { collection, .. } in batch.operations() {
            if let Some(table) = self.tables.get(collection)
                && table.has_unique()
                && checked.insert(collection)
            {
                let own = batch
                    .operations()
                    .iter()
                    .filter(|operation| operation.collection == *collection);
                table.check_unique(collection, own)?;
            }
        }
        Ok(())
    }
}

impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend").finish_non_exhaustive()
    }
}

#[async_trait]
impl Backend for MemoryBackend {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn get(
        &self,
        collection: &CollectionName,
        key: &Key,
        options: GetOptions,
    ) -> Result<Option<Item>> {
        self.read(collection, key, options)
    }

    async fn get_many(
        &self,
        collection: &CollectionName,
        keys: &[Key],
        parts: Parts,
    ) -> Result<Vec<Option<Item>>> {
        keys.iter()
            .map(|key| self.read(collection, key, GetOptions::parts(parts)))
            .collect()
    }

    async fn stage(&self, collection: &CollectionName, mut body: ByteStream) -> Result<Staged> {
        self.shared.state.read().open()?;
        let mut hasher = BodyHasher::default();
        let mut all = BytesMut::new();
        while let Some(piece) = body.try_next().await? {
            if hasher.size() + piece.len() as u64 > MAX_BODY {
                return Err(Error::too_large(format!(
                    "the body has more than {MAX_BODY} bytes, the limit of this backend"
                )));
            }
            hasher.update(&piece);
            all.extend_from_slice(&piece);
        }
        self.keep_staged(collection, all.freeze(), &hasher)
    }

    async fn write(&self, batch: Batch) -> Result<Written> {
        self.write_now(batch)
    }

    fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream {
        match self.scan_now(collection, &scan) {
            Err(error) => stream::once(async { Err(error) }).boxed(),
            Ok(found) => stream::iter(found)
                .map(move |(key, stored)| stored.item(&key, scan.parts, None))
                .boxed(),
        }
    }

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        indexes.iter().try_for_each(Index::validate)?;
        let mut state = self.shared.state.write();
        state.open()?;
        state
            .tables
            .entry_ref(collection)
            .or_default()
            .define(collection, indexes)
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        let state = self.shared.state.read();
        state.open()?;
        let filled = state.tables.iter().filter(|(_, table)| !table.is_empty());
        let mut names: Vec<_> = filled.map(|(name, _)| name.clone()).collect();
        names.sort();
        Ok(names)
    }

    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        self.drop_now(collection)
    }

    async fn resolve(&self, id: Version, _: Option<(&CollectionName, &Key)>) -> Result<Outcome> {
        let mut state = self.shared.state.write();
        state.open()?;
        let now = self.shared.env.now();
        state.log.resolve(id, now)
    }

    async fn watch(
        &self,
        collection: Option<&CollectionName>,
        from: WatchFrom,
    ) -> Result<ChangeStream> {
        let state = self.shared.state.read();
        state.open()?;
        let grown = self.shared.grown.subscribe();
        let place = state.log.place(from)?;
        drop(state);
        let watcher = Watcher {
            shared: self.shared.clone(),
            collection: collection.cloned(),
            grown,
            place,
        };
        Ok(watcher.changes())
    }

    async fn health(&self) -> Result<()> {
        self.shared.state.read().open()
    }

    async fn close(&self) -> Result<()> {
        let mut state = self.shared.state.write();
        state.closed = true;
        state.tables.clear();
        state.staged.clear();
        drop(state);
        self.shared.grown.send_replace(());
        Ok(())
    }
}

struct Watcher {
    shared: Arc<Shared>,
    collection: Option<CollectionName>,
    grown: tokio::sync::watch::Receiver<()>,
    place: log::Place,
}

impl Watcher {
    fn changes(self) -> ChangeStream {
        stream::try_unfold(self, |mut watcher| async move {
            loop {
                let changes = {
                    let state = watcher.shared.state.read();
                    state.open()?;
                    // Marked as seen before the log is read, so that growth
                    // after the read wakes it again.
                    watcher.grown.mark_unchanged();
                    state
                        .log
                        .after(&mut watcher.place, watcher.collection.as_ref())?
                };
                if !changes.is_empty() {
                    return Ok(Some((stream::iter(changes).map(Ok), watcher)));
                }
                if watcher.grown.changed().await.is_err() {
                    return Ok(None);
                }
            }
        })
        .try_flatten()
        .boxed()
    }
}

/// A range of a body that is in memory.
fn slice(body: &Bytes, range: Option<ByteRange>) -> Result<Body> {
    let Some(range) = range else {
        return Ok(Body::from_bytes(body.clone(), 0));
    };
    let range = range.resolve(body.len() as u64)?;
    let (start, end) = (usize::try_from(range.start), usize::try_from(range.end));
    let (Ok(start), Ok(end)) = (start, end) else {
        return Err(Error::invalid("the range does not fit into memory"));
    };
    Ok(Body::from_bytes(body.slice(start..end), range.start))
}
