//! Collections of a type of the caller's.

use std::marker::PhantomData;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::{
    BackendExt, CollectionName, Condition, Cursor, Doc, DynBackend, Entry, Filter, GetOptions,
    Index, Item, Key, Parts, Put, Query, Result,
};

/// A collection whose docs have the shape of a type.
///
/// ```
/// use holdall_core::{Collection, Condition, Filter, MemoryBackend, Query};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize, PartialEq, Debug)]
/// struct Book { author: String, year: i32 }
///
/// # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
/// # runtime.block_on(async {
/// let books: Collection<Book> = Collection::new(MemoryBackend::new().into(), "books".parse()?);
/// books.put("emma", &Book { author: "Austen".into(), year: 1815 }).await?;
/// let emma = books.get("emma").await?.expect("just put");
/// assert_eq!(emma.value.year, 1815);
/// assert_eq!(books.count(&Filter::parse(r#"{"author":"Austen"}"#)?).await?, 1);
/// # Ok::<(), holdall_core::Error>(())
/// # }).unwrap();
/// ```
pub struct Collection<T> {
    backend: DynBackend,
    name: CollectionName,
    shape: PhantomData<fn() -> T>,
}

/// An item of a typed collection.
#[derive(Clone, Debug, PartialEq)]
pub struct Record<T> {
    /// The key.
    pub key: Key,
    /// Version, times, size and digest.
    pub entry: Entry,
    /// The doc.
    pub value: T,
}

impl<T> Clone for Collection<T> {
    fn clone(&self) -> Self {
        Self {
            backend: self.backend.clone(),
            name: self.name.clone(),
            shape: PhantomData,
        }
    }
}

impl<T> std::fmt::Debug for Collection<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Collection").field(&self.name).finish()
    }
}

impl<T: Serialize + DeserializeOwned> Collection<T> {
    /// A collection of a backend.
    pub fn new(backend: DynBackend, name: CollectionName) -> Self {
        Self {
            backend,
            name,
            shape: PhantomData,
        }
    }

    /// Its name.
    pub fn name(&self) -> &CollectionName {
        &self.name
    }

    /// The backend that it is in.
    pub fn backend(&self) -> &DynBackend {
        &self.backend
    }

    /// Reads an item; `None` if there is none.
    ///
    /// # Errors
    /// `Invalid` if its doc does not have the shape of the type; those of
    /// reading.
    pub async fn get(&self, key: impl AsRef<str>) -> Result<Option<Record<T>>> {
        let key = Key::new(key)?;
        let item = self
            .backend
            .get(&self.name, &key, GetOptions::parts(Parts::DOC))
            .await?;
        item.map(|item| self.record(item)).transpose()
    }

    /// Puts an item, whatever is there.
    ///
    /// # Errors
    /// Those of [`Doc::from_serialize`] and of writing.
    pub async fn put(&self, key: impl AsRef<str>, value: &T) -> Result<Entry> {
        self.put_if(key, Condition::Any, value).await
    }

    /// Puts an item if a condition holds.
    ///
    /// # Errors
    /// `Conflict` if it does not; those of [`put`](Self::put).
    pub async fn put_if(
        &self,
        key: impl AsRef<str>,
        condition: Condition,
        value: &T,
    ) -> Result<Entry> {
        let doc = Doc::from_serialize(value)?;
        self.backend
            .put(&self.name, &Key::new(key)?, condition, Put::doc(doc))
            .await
    }

    /// Deletes an item; nothing there is fine.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn delete(&self, key: impl AsRef<str>) -> Result<()> {
        self.backend
            .delete(&self.name, &Key::new(key)?, Condition::Any)
            .await
    }

    /// One page of a query, and the cursor of the next.
    ///
    /// # Errors
    /// `Invalid` if a doc does not have the shape of the type; those of
    /// reading.
    pub async fn page(&self, mut query: Query) -> Result<(Vec<Record<T>>, Option<Cursor>)> {
        query.parts = Parts::DOC;
        let page = self.backend.page(&self.name, query).await?;
        let records = page
            .items
            .into_iter()
            .map(|item| self.record(item))
            .collect::<Result<_>>()?;
        Ok((records, page.next))
    }

    /// Counts what a filter matches.
    ///
    /// # Errors
    /// Those of reading.
    pub async fn count(&self, filter: &Filter) -> Result<u64> {
        self.backend.count(&self.name, filter).await
    }

    /// Declares indexes.
    ///
    /// # Errors
    /// As [`Backend::define`](crate::Backend::define).
    pub async fn define(&self, indexes: &[Index]) -> Result<()> {
        self.backend.define(&self.name, indexes).await
    }

    fn record(&self, item: Item) -> Result<Record<T>> {
        let value = item
            .doc()?
            .to()
            .map_err(|error| error.at(&self.name, Some(&item.key)))?;
        Ok(Record {
            key: item.key,
            entry: item.entry,
            value,
        })
    }
}

impl From<crate::MemoryBackend> for DynBackend {
    fn from(backend: crate::MemoryBackend) -> Self {
        std::sync::Arc::new(backend)
    }
}
