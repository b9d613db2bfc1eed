//! `records`: typed records by id.

use std::time::Duration;

use holdall_core::{
    BackendExt, Batch, Collection, CollectionName, Condition, Cursor, Doc, DynBackend, Entry, Env,
    Error, Filter, GetOptions, Index, Key, Outcome, Parts, Put, Query, Record, Result, Retry,
    Value, Version,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::needs;

/// The member of a doc that, where it stands, is the record's id.
const ID: &str = "id";

/// Typed records by id: items whose docs have the shape of `T`, without bodies.
///
/// The id is the item's key: 1 to 1,024 bytes, or what the backend allows.
/// Where the doc has a member `id`, it is that id too: on creation it names
/// the id, or is filled in if it is null; afterwards it cannot be changed.
///
/// Changes are conditional, so that concurrent ones are never lost, and a lost
/// answer is resolved instead of repeated. Changes run on tokio, with its timer
/// enabled.
///
/// ```
/// use holdall_core::{Filter, MemoryBackend, Query, json};
/// use holdall_models::Records;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Contact { name: String, city: Option<String> }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
/// # runtime.block_on(async {
/// let contacts: Records<Contact> = Records::new(MemoryBackend::new().into(), "contacts".parse()?)?;
/// let ada = contacts.create(None, &Contact { name: "Ada".into(), city: None }).await?;
/// let moved = contacts.update(ada.key.as_str(), &json!({"city": "London"})).await?;
/// assert_eq!(moved.value.name, "Ada");
/// assert_eq!(moved.value.city.as_deref(), Some("London"));
///
/// let (londoners, next) = contacts.list(Query::new(Filter::parse(r#"{"city":"London"}"#)?)).await?;
/// assert_eq!((londoners.len(), next), (1, None));
/// contacts.delete(ada.key.as_str()).await?;
/// assert!(contacts.get(ada.key.as_str()).await?.is_none());
/// # Ok::<(), holdall_core::Error>(())
/// # }).unwrap();
/// ```
pub struct Records<T> {
    backend: DynBackend,
    collection: Collection<T>,
    env: Env,
    attempts: u32,
}

impl<T> Clone for Records<T> {
    fn clone(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            collection: self.collection.clone(),
            env: self.env.clone(),
            attempts: self.attempts,
        }
    }
}

impl<T> std::fmt::Debug for Records<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("collection", &self.collection)
            .finish_non_exhaustive()
    }
}

impl<T: Serialize + DeserializeOwned> Records<T> {
    /// The records of a collection, with the system's clock and randomness.
    ///
    /// # Errors
    /// `Unsupported` if the backend does not check all conditions at commit.
    pub fn new(backend: DynBackend, collection: CollectionName) -> Result<Self> {
        needs::full_conditions("records", &*backend)?;
        Ok(Self {
            collection: Collection::new(backend.clone(), collection),
            backend,
            env: Env::system(),
            attempts: 1000,
        })
    }

    /// The same with a clock and randomness of the caller's: generated ids
    /// and those of writes come from it. The clock must tell the backend's
    /// time, which refuses writes from another day.
    #[must_use]
    pub fn with_env(mut self, env: Env) -> Self {
        self.env = env;
        self
    }

    /// The same, trying a change so often at most when others get in first;
    /// 1,000 times by default.
    #[must_use]
    pub fn with_attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// The collection that the records lie in.
    pub fn name(&self) -> &CollectionName {
        self.collection.name()
    }

    /// Creates a record, with the id that is given, else with the one that the
    /// value's member `id` names, else with a generated one (a UUIDv7).
    ///
    /// # Errors
    /// `Conflict` if there is a record of that id, or a unique value is taken;
    /// `Invalid` if the id is no key, or the value's member `id` is another
    /// one; those of [`Doc::from_serialize`] and of writing.
    pub async fn create(&self, id: Option<&str>, value: &T) -> Result<Record<T>> {
        let mut doc = Doc::from_serialize(value)?.value()?;
        let key = self.settle_id(id, &mut doc)?;
        let doc = Doc::from_value(&doc)?;
        let value = self.shaped(&doc, &key)?;
        let entry = self.put_new(&key, doc).await?;
        Ok(Record { key, entry, value })
    }

    /// The record of an id; `None` if there is none.
    ///
    /// # Errors
    /// `Invalid` if the doc does not have the shape of the type; those of
    /// reading.
    pub async fn get(&self, id: &str) -> Result<Option<Record<T>>> {
        self.collection.get(id).await
    }

    /// Merges a patch into a record and answers the whole of it: each member
    /// of the patch takes the place of the one in the record, as a whole; null
    /// is a value like any other. Members that the type does not know stay.
    ///
    /// If the record changes meanwhile, the patch is merged into the new state.
    ///
    /// # Errors
    /// `NotFound` if there is no such record; `Invalid` if the patch is no
    /// object or changes the id, or the outcome does not have the shape of the
    /// type; `Conflict` if a unique value is taken, or others kept getting in
    /// first until the attempts were used up.
    pub async fn update(&self, id: &str, patch: &Value) -> Result<Record<T>> {
        let Some(members) = patch.as_object() else {
            return Err(
                Error::invalid("a patch is a JSON object with the members to change")
                    .at(self.name(), None),
            );
        };
        let key = Key::new(id)?;
        if let Some(other) = members.get(ID).filter(|other| *other != id) {
            return Err(Error::invalid(format!(
                "a patch cannot change the id, and this one sets it to {other}; create another record instead"
            ))
            .at(self.name(), Some(&key)));
        }
        self.change(&key, |doc| {
            let mut doc = doc.value()?;
            if let Some(all) = doc.as_object_mut() {
                all.extend(members.clone());
            }
            Doc::from_value(&doc)
        })
        .await
    }

    /// Changes a record by a function and answers it: reads, calls the
    /// function, writes if nobody else did meanwhile, and else starts again.
    /// So the function may be called many times. What it answers takes the
    /// place of the whole doc.
    ///
    /// # Errors
    /// As [`update`](Self::update); those of the function.
    pub async fn modify<F>(&self, id: &str, function: F) -> Result<Record<T>>
    where
        F: Fn(T) -> Result<T>,
    {
        let key = Key::new(id)?;
        self.change(&key, |doc| {
            let mut changed = Doc::from_serialize(&function(self.shaped(doc, &key)?)?)?.value()?;
            self.settle_id(Some(id), &mut changed)?;
            Doc::from_value(&changed)
        })
        .await
    }

    /// Deletes a record; nothing there is fine.
    ///
    /// # Errors
    /// `Invalid` if the id is no key; those of writing.
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.collection.delete(id).await
    }

    /// One page of a query, and the cursor of the next; `None` if this was the
    /// last. The page has the query's limit, or 100 records.
    ///
    /// # Errors
    /// `Invalid` if a doc does not have the shape of the type; those of
    /// reading.
    pub async fn list(&self, query: Query) -> Result<(Vec<Record<T>>, Option<Cursor>)> {
        self.collection.page(query).await
    }

    /// Counts what a filter matches.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn count(&self, filter: &Filter) -> Result<u64> {
        self.collection.count(filter).await
    }

    /// Declares indexes.
    ///
    /// # Errors
    /// As [`Backend::define`](holdall_core::Backend::define).
    pub async fn define(&self, indexes: &[Index]) -> Result<()> {
        self.collection.define(indexes).await
    }

    /// The id of a new record, which then stands in its doc too if that has
    /// a place for it.
    fn settle_id(&self, given: Option<&str>, doc: &mut Value) -> Result<Key> {
        let own = doc.get_mut(ID);
        let named = own.as_deref().and_then(Value::as_str);
        let key = match given.or(named) {
            Some(id) => Key::new(id)?,
            None => Key::new(self.env.version().to_string())?,
        };
        match own {
            Some(own) if own.is_null() => *own = key.as_str().into(),
            Some(own) if *own != key.as_str() => {
                return Err(Error::invalid(format!(
                    "the member \"id\" of a record is its id or null, not {own}"
                ))
                .at(self.name(), Some(&key)));
            }
            _ => {}
        }
        Ok(key)
    }

    fn shaped(&self, doc: &Doc, key: &Key) -> Result<T> {
        doc.to().map_err(|error| error.at(self.name(), Some(key)))
    }

    async fn put_new(&self, key: &Key, doc: Doc) -> Result<Entry> {
        let error = match self.put(key, Condition::Absent, doc).await {
            Ok(entry) => return Ok(entry),
            Err(error) => error,
        };
        let exists = error.is_conflict() && self.head(key).await?.is_some();
        if exists {
            return Err(Error::conflict(
                "there is a record of this id already; update it, or create one with another id",
            )
            .at(self.name(), Some(key)));
        }
        Err(error)
    }

    async fn change(&self, key: &Key, change: impl Fn(&Doc) -> Result<Doc>) -> Result<Record<T>> {
        for attempt in 1.. {
            let options = GetOptions::parts(Parts::DOC);
            let found = self.backend.get(self.name(), key, options).await?;
            let item = found.ok_or_else(|| {
                Error::not_found("there is no record of this id; create it first")
                    .at(self.name(), Some(key))
            })?;
            if item.entry.digest.is_some() {
                return Err(Error::unsupported(
                    "this item has a body, which a record has not; the change would lose it",
                )
                .at(self.name(), Some(key)));
            }
            let doc = change(item.doc()?)?;
            let value = self.shaped(&doc, key)?;
            let version = item.entry.version;
            let error = match self.put(key, Condition::Version(version), doc).await {
                Ok(entry) => {
                    let key = key.clone();
                    return Ok(Record { key, entry, value });
                }
                Err(error) => error,
            };
            if attempt >= self.attempts || !self.went_stale(key, version, &error).await? {
                return Err(error);
            }
            self.pause(attempt).await;
        }
        // The loop counts to more than any number of attempts.
        Err(Error::conflict("the attempts are used up"))
    }

    /// Puts a doc. A retry after a lost answer would meet its own first
    /// attempt and call that a conflict, so what became of it is looked up.
    async fn put(&self, key: &Key, condition: Condition, doc: Doc) -> Result<Entry> {
        let id = self.env.version();
        let batch = Batch::with_id(id).put(self.name(), key, condition, Put::doc(doc));
        let error = match self.backend.write(batch.clone()).await {
            Ok(written) => return only(written.entries),
            Err(error) => error,
        };
        if error.retry() != Retry::Unknown {
            return Err(error);
        }
        match self.backend.resolve(id, Some((self.name(), key))).await {
            Ok(Outcome::Committed(Some(commit))) => only(batch.entries(id, &commit)),
            Ok(Outcome::Committed(None)) => match self.head(key).await? {
                Some(entry) if entry.version == id => Ok(entry),
                _ => Err(Error::conflict(
                    "the record was written, and changed or deleted by others since; read it again",
                )
                .at(self.name(), Some(key))),
            },
            Ok(Outcome::Aborted) => Err(error.with_retry(Retry::Yes)),
            Ok(Outcome::Unknown) | Err(_) => Err(error.for_batch(id)),
        }
    }

    async fn head(&self, key: &Key) -> Result<Option<Entry>> {
        self.backend.head(self.name(), key).await
    }

    /// Whether others got in first. A unique value that is taken is a conflict
    /// too, and trying again does not help.
    async fn went_stale(&self, key: &Key, read: Version, error: &Error) -> Result<bool> {
        if !error.is_conflict() {
            return Ok(false);
        }
        let now = self.head(key).await?;
        Ok(now.map(|entry| entry.version) != Some(read))
    }

    /// A random pause that grows with the attempts, up to 64 ms.
    async fn pause(&self, attempt: u32) {
        let most = 1000_u64 << attempt.min(6);
        tokio::time::sleep(Duration::from_micros(self.env.below(most))).await;
    }
}

fn only(entries: Vec<Option<Entry>>) -> Result<Entry> {
    entries.into_iter().flatten().next().ok_or_else(|| {
        Error::other("the backend answered a put without an entry; this is a bug of the backend")
    })
}
