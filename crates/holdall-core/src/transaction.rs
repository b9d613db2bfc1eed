//! Optimistic transactions, built on conditional batches.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt;
use parking_lot::Mutex;

use crate::evaluate::MAX_SORT_BYTES;
use crate::{
    Action, BackendExt, Batch, Body, CollectionName, Condition, DynBackend, Entry, Env, Error,
    GetOptions, Item, Key, NewBody, Operation, Outcome, Parts, Put, Query, Result, Retry, Subject,
    Timestamp, Version,
};

/// The most items that a query inside a transaction answers.
const MAX_QUERY: usize = 10_000;

/// How a transaction lives.
#[derive(Clone, Debug)]
pub struct TransactionOptions {
    /// After this the handle answers `Expired`; a minute by default.
    pub expiry: Duration,
    /// How often [`transact`] runs the closure at most; 1,000 by default.
    pub attempts: u32,
    /// Clock and randomness.
    pub env: Env,
}

impl Default for TransactionOptions {
    fn default() -> Self {
        Self {
            expiry: Duration::from_secs(60),
            attempts: 1000,
            env: Env::system(),
        }
    }
}

/// A transaction: reads remember versions, writes are kept back, and
/// [`commit`](Self::commit) is one batch of puts, deletes and checks.
///
/// It holds no connection and no lock. Reads see its own writes; each is
/// current when it is made, not a snapshot, so what was read may be of
/// different times: then the commit is refused with `Conflict`. A query checks
/// the items that it returned, not that there are no others: to exclude those,
/// use a unique index, or a guard item that all writers put.
///
/// Clones are handles of one transaction.
#[derive(Clone)]
pub struct Transaction(Arc<Inner>);

struct Inner {
    backend: DynBackend,
    env: Env,
    id: Version,
    expires: Timestamp,
    state: Mutex<State>,
}

type Place = (CollectionName, Key);

#[derive(Default)]
struct State {
    finished: bool,
    reads: BTreeMap<Place, Option<Version>>,
    writes: BTreeMap<Place, Write>,
}

#[derive(Clone)]
struct Write {
    at: Timestamp,
    /// What is put; `None` deletes.
    put: Option<Put>,
}

/// Runs a closure in a transaction and commits it; on a conflict, runs it
/// again, after a short random pause.
///
/// The closure may run many times, so it should do nothing but read and write
/// through the transaction. It runs on tokio, with its timer enabled.
///
/// ```
/// use holdall_core::{Doc, MemoryBackend, Put, DynBackend, json, transact};
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
/// # runtime.block_on(async {
/// let backend: DynBackend = MemoryBackend::new().into();
/// let seen = transact(&backend, Default::default(), |tx| async move {
///     let (pages, key) = ("pages".parse()?, "home".parse()?);
///     let seen = match tx.get(&pages, &key).await? {
///         Some(item) => item.doc()?.value()?["seen"].as_u64().unwrap_or(0),
///         None => 0,
///     };
///     tx.put(&pages, &key, Put::doc(Doc::from_value(&json!({"seen": seen + 1}))?))?;
///     Ok(seen + 1)
/// }).await?;
/// assert_eq!(seen, 1);
/// # Ok::<(), holdall_core::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
/// Those of the closure; `Conflict` when the attempts are used up; those of
/// [`Transaction::commit`].
pub async fn transact<T, F, Fut>(
    backend: &DynBackend,
    options: TransactionOptions,
    closure: F,
) -> Result<T>
where
    F: Fn(Transaction) -> Fut,
    Fut: Future<Output = Result<T>>,
{
    let mut attempt = 0;
    loop {
        let transaction = Transaction::begin(backend, &options);
        let result = match closure(transaction.clone()).await {
            Ok(value) => transaction.commit().await.map(|_| value),
            Err(error) => Err(error),
        };
        let error = match result {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        attempt += 1;
        if attempt >= options.attempts || !transaction.went_stale(&error).await? {
            transaction.rollback();
            return Err(error);
        }
        pause(attempt, &options.env).await;
    }
}

/// A random pause that grows with the attempts, up to 64 ms.
async fn pause(attempt: u32, env: &Env) {
    let most = 1000_u64 << attempt.min(6);
    tokio::time::sleep(Duration::from_micros(env.below(most))).await;
}

impl Transaction {
    /// Starts one. Nothing is sent to the backend.
    pub fn begin(backend: &DynBackend, options: &TransactionOptions) -> Self {
        let env = options.env.clone();
        Self(Arc::new(Inner {
            backend: backend.clone(),
            id: env.version(),
            expires: env.now().after(options.expiry),
            env,
            state: Mutex::default(),
        }))
    }

    /// The id that its batch will have, and so the version of what it puts.
    pub fn id(&self) -> Version {
        self.0.id
    }

    /// When it expires.
    pub fn expires(&self) -> Timestamp {
        self.0.expires
    }

    /// Reads an item, with all of its parts.
    ///
    /// # Errors
    /// `Conflict` if it changed since this transaction read it; `Expired`
    /// after the time is up; `Closed` after commit or rollback.
    pub async fn get(&self, collection: &CollectionName, key: &Key) -> Result<Option<Item>> {
        if let Some(own) = self.own(collection, key)? {
            return own
                .map(|(put, at)| self.own_item(key, &put, at, Parts::ALL))
                .transpose();
        }
        let item = self
            .0
            .backend
            .get(collection, key, GetOptions::default())
            .await?;
        self.remember(
            collection,
            key,
            item.as_ref().map(|item| item.entry.version),
        )?;
        Ok(item)
    }

    /// Puts an item at commit, whatever is there unless it was read before:
    /// then it must still be as it was read.
    ///
    /// # Errors
    /// `TooLarge` beyond what a batch of the backend holds; `Expired` and
    /// `Closed`.
    pub fn put(&self, collection: &CollectionName, key: &Key, put: Put) -> Result<()> {
        self.keep(collection, key, Some(put))
    }

    /// Deletes an item at commit.
    ///
    /// # Errors
    /// As [`put`](Self::put).
    pub fn delete(&self, collection: &CollectionName, key: &Key) -> Result<()> {
        self.keep(collection, key, None)
    }

    /// Answers a query, with the transaction's own writes in it; 10,000 items
    /// at most, and docs of 64 MiB.
    ///
    /// # Errors
    /// As [`get`](Self::get); `TooLarge` beyond that.
    pub async fn query(&self, collection: &CollectionName, query: Query) -> Result<Vec<Item>> {
        query.validate()?;
        let own = self.own_of(collection)?;
        let offset = usize::try_from(query.offset).unwrap_or(usize::MAX);
        let limit = query.limit.map_or(MAX_QUERY + 1, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        if limit > MAX_QUERY + 1 || offset > MAX_QUERY {
            return Err(too_many_items());
        }
        let mut wide = query.clone();
        wide.offset = 0;
        // Whatever own writes hide or add, so many are enough.
        wide.limit = Some((offset + limit + own.len()) as u64);
        wide.parts.doc |= query.sorts_by_doc();

        let mut placed = Vec::new();
        let mut bytes = 0;
        let mut found = self.0.backend.query(collection, wide);
        while let Some(item) = found.try_next().await? {
            bytes += item.doc.as_ref().map_or(0, |doc| doc.as_bytes().len());
            if bytes > MAX_SORT_BYTES {
                return Err(Error::too_large(format!(
                    "the docs of a query inside a transaction have more than {MAX_SORT_BYTES} \
                     bytes together; ask for fewer items, or for items without docs"
                )));
            }
            if !own.contains_key(&item.key) {
                placed.push((
                    query.position(&query.values_of(&item)?, &item.key),
                    item,
                    true,
                ));
            }
        }
        for (key, write) in &own {
            let Some(put) = &write.put else { continue };
            let item = self.own_item(
                key,
                put,
                write.at,
                Parts {
                    doc: true,
                    ..query.parts
                },
            )?;
            let doc = put.doc.value()?;
            let subject = Subject {
                key,
                entry: &item.entry,
                doc: &doc,
            };
            let position = query.position(&query.sort_values(&subject), key);
            if query.filter.matches(&subject) && query.is_behind_cursor(&position) {
                placed.push((position, item, false));
            }
        }
        placed.sort_by(|a, b| a.0.cmp(&b.0));
        let mut items = Vec::new();
        for (_, mut item, stored) in placed.into_iter().skip(offset).take(limit) {
            if stored {
                self.remember(collection, &item.key, Some(item.entry.version))?;
            }
            if !query.parts.doc {
                item.doc = None;
            }
            items.push(item);
        }
        if items.len() > MAX_QUERY {
            return Err(too_many_items());
        }
        Ok(items)
    }

    /// Commits: all writes take effect under one id, if everything that was
    /// read is still as it was. Answers the id, which is the version of all
    /// that was put.
    ///
    /// A lost answer is resolved here.
    ///
    /// # Errors
    /// `Conflict` if something that was read has changed, or a unique value is
    /// taken; those of [`Backend::write`](crate::Backend::write). The transaction is over either way.
    pub async fn commit(&self) -> Result<Version> {
        let (batch, witness) = {
            let mut state = self.open()?;
            state.finished = true;
            state.batch(self.0.id)
        };
        let id = self.0.id;
        if batch.operations().is_empty() {
            return Ok(id);
        }
        let error = match self.0.backend.write(batch).await {
            Ok(_) => return Ok(id),
            Err(error) => error,
        };
        if error.retry() != Retry::Unknown {
            return Err(error);
        }
        let witness = witness.as_ref().map(|(collection, key)| (collection, key));
        match self.0.backend.resolve(id, witness).await {
            Ok(Outcome::Committed(_)) => Ok(id),
            Ok(Outcome::Aborted) => Err(error.with_retry(Retry::Yes)),
            Ok(Outcome::Unknown) | Err(_) => Err(error.for_batch(id)),
        }
    }

    /// Gives it up. Nothing was written.
    pub fn rollback(&self) {
        let mut state = self.0.state.lock();
        state.finished = true;
        state.writes.clear();
    }

    fn open(&self) -> Result<parking_lot::MutexGuard<'_, State>> {
        let state = self.0.state.lock();
        if state.finished {
            return Err(Error::closed("the transaction is over; begin another"));
        }
        if self.0.env.now() >= self.0.expires {
            return Err(Error::expired(
                "the transaction took too long and has expired; begin another",
            ));
        }
        Ok(state)
    }

    /// What this transaction has done to an item: nothing, a put, or a delete.
    #[allow(clippy::type_complexity, reason = "three cases, named above")]
    fn own(
        &self,
        collection: &CollectionName,
        key: &Key,
    ) -> Result<Option<Option<(Put, Timestamp)>>> {
        let state = self.open()?;
        let write = state.writes.get(&(collection.clone(), key.clone()));
        Ok(write.map(|write| write.put.clone().map(|put| (put, write.at))))
    }

    fn own_of(&self, collection: &CollectionName) -> Result<BTreeMap<Key, Write>> {
        let state = self.open()?;
        let own = state
            .writes
            .iter()
            .filter(|((name, _), _)| name == collection);
        Ok(own
            .map(|((_, key), write)| (key.clone(), write.clone()))
            .collect())
    }

    /// An item as it will be; its times are those of the call to `put`.
    fn own_item(&self, key: &Key, put: &Put, at: Timestamp, parts: Parts) -> Result<Item> {
        let (size, digest) = put.body.measure();
        let body = match &put.body {
            NewBody::Bytes(bytes) if parts.body => Some(Body::from_bytes(bytes.clone(), 0)),
            NewBody::Staged(_) if parts.body => {
                return Err(Error::unsupported(
                    "a staged body cannot be read before the transaction commits",
                ));
            }
            _ => None,
        };
        Ok(Item {
            key: key.clone(),
            entry: Entry {
                version: self.0.id,
                created: at,
                modified: at,
                size,
                digest,
            },
            doc: parts.doc.then(|| put.doc.clone()),
            body,
            attrs: put.attrs.clone(),
        })
    }

    fn remember(
        &self,
        collection: &CollectionName,
        key: &Key,
        version: Option<Version>,
    ) -> Result<()> {
        let mut state = self.open()?;
        let place = (collection.clone(), key.clone());
        match state.reads.get(&place) {
            Some(before) if *before != version => Err(Error::conflict(
                "the item changed since this transaction read it; run it again",
            )
            .at(collection, Some(key))),
            Some(_) => Ok(()),
            None => {
                state.reads.insert(place.clone(), version);
                let fits = self.fits(&state);
                if fits.is_err() {
                    state.reads.remove(&place);
                }
                fits
            }
        }
    }

    fn keep(&self, collection: &CollectionName, key: &Key, put: Option<Put>) -> Result<()> {
        let mut state = self.open()?;
        let write = Write {
            at: self.0.env.now(),
            put,
        };
        let place = (collection.clone(), key.clone());
        state.writes.insert(place.clone(), write);
        let fits = self.fits(&state);
        if fits.is_err() {
            // What is refused leaves nothing, and the rest can be committed.
            state.writes.remove(&place);
        }
        fits
    }

    fn fits(&self, state: &State) -> Result<()> {
        let most = self.0.backend.capabilities().batch.max_ops;
        let only_read = state
            .reads
            .keys()
            .filter(|place| !state.writes.contains_key(place))
            .count();
        if state.writes.len() + only_read > most {
            return Err(Error::too_large(format!(
                "the transaction touches more than {most} items, the limit of this backend"
            )));
        }
        Ok(())
    }

    /// Whether an error says that something this transaction read has changed,
    /// so that running it again may succeed. A unique value that is taken is a
    /// conflict too, but not of this kind.
    async fn went_stale(&self, error: &Error) -> Result<bool> {
        if error.retry() == Retry::Yes {
            return Ok(true);
        }
        let (true, Some(collection), Some(key)) =
            (error.is_conflict(), error.collection(), error.key())
        else {
            return Ok(false);
        };
        let read = self
            .0
            .state
            .lock()
            .reads
            .get(&(collection.clone(), key.clone()))
            .copied();
        match read {
            None => Ok(false),
            Some(version) => {
                let now = self.0.backend.head(collection, key).await?;
                Ok(now.map(|entry| entry.version) != version)
            }
        }
    }
}

impl State {
    /// The batch that commits it, and an item that it puts.
    fn batch(&mut self, id: Version) -> (Batch, Option<Place>) {
        let mut batch = Batch::with_id(id);
        let mut witness = None;
        let writes = std::mem::take(&mut self.writes);
        let alone = writes.is_empty() && self.reads.len() < 2;
        for (place, version) in self
            .reads
            .iter()
            .filter(|(place, _)| !alone && !writes.contains_key(place))
        {
            batch = batch.check(&place.0, &place.1, as_read(*version));
        }
        for (place, write) in writes {
            let condition = self
                .reads
                .get(&place)
                .map_or(Condition::Any, |version| as_read(*version));
            let action = write.put.map_or(Action::Delete, Action::Put);
            if matches!(action, Action::Put(_)) {
                witness.get_or_insert_with(|| place.clone());
            }
            let (collection, key) = place;
            batch.push(Operation {
                collection,
                key,
                condition,
                action,
            });
        }
        (batch, witness)
    }
}

fn as_read(version: Option<Version>) -> Condition {
    version.map_or(Condition::Absent, Condition::Version)
}

fn too_many_items() -> Error {
    Error::too_large(format!(
        "a query inside a transaction answers {MAX_QUERY} items at most; set a limit"
    ))
}

impl fmt::Debug for Transaction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transaction")
            .field("id", &self.0.id)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ErrorKind, MemoryBackend};

    /// A write that was one too many was refused and kept all the same, so that
    /// the commit failed, too.
    #[tokio::test]
    async fn a_write_that_is_one_too_many_leaves_nothing_behind() {
        let backend: DynBackend = MemoryBackend::new().into();
        let most = backend.capabilities().batch.max_ops;
        let transaction = Transaction::begin(&backend, &TransactionOptions::default());
        let items = CollectionName::new("items").unwrap();
        let key = |number: usize| Key::new(number.to_string()).unwrap();
        for number in 0..most {
            transaction
                .put(&items, &key(number), Put::default())
                .unwrap();
        }
        for refused in [
            transaction.put(&items, &key(most), Put::default()),
            transaction.delete(&items, &key(most)),
            transaction.get(&items, &key(most)).await.map(drop),
        ] {
            assert_eq!(refused.unwrap_err().kind(), ErrorKind::TooLarge);
        }
        transaction.put(&items, &key(0), Put::default()).unwrap();
        transaction.commit().await.unwrap();
        assert!(backend.head(&items, &key(most)).await.unwrap().is_none());
    }
}
