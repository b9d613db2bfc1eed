//! `namespace`: a store within a store.

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::{
    Backend, Batch, ByteStream, Capabilities, Change, ChangeStream, CollectionName, DynBackend,
    Error, Filter, GetOptions, Group, Index, Item, ItemStream, Key, MAX_COLLECTION, Outcome, Parts,
    Path, Query, Result, Scan, Staged, Version, WatchFrom, Written,
};

/// Stands between the namespace and the name of the collection.
const SEPARATOR: char = '/';

/// Shows the collections whose names start with `NAMESPACE/`, without that:
/// one for each tenant, say. Collections are prefixed, keys never.
///
/// A namespace is 1 to 64 bytes without a slash or U+0000, so that no two
/// overlap. What a collection's name may have is less by it and the slash.
#[derive(Debug)]
pub struct Namespace {
    inner: DynBackend,
    prefix: String,
}

impl Namespace {
    /// Wraps a backend.
    ///
    /// # Errors
    /// `Invalid` if the name is not one.
    pub fn new(inner: DynBackend, name: &str) -> Result<Self> {
        const MAX: usize = 64;
        if name.is_empty() || name.len() > MAX || name.contains([SEPARATOR, '\0']) {
            return Err(Error::invalid(format!(
                "{name:?} is no namespace; it has 1 to {MAX} bytes, and no slash or U+0000"
            )));
        }
        Ok(Self {
            inner,
            prefix: format!("{name}{SEPARATOR}"),
        })
    }

    fn inward(&self, collection: &CollectionName) -> Result<CollectionName> {
        CollectionName::new(format!("{}{collection}", self.prefix)).map_err(|_| {
            Error::too_large(format!(
                "a collection's name has {} bytes; the limit in this namespace is {}",
                collection.as_str().len(),
                MAX_COLLECTION - self.prefix.len()
            ))
            .at(collection, None)
        })
    }

    fn streamed(
        &self,
        collection: &CollectionName,
        read: impl FnOnce(CollectionName) -> ItemStream,
    ) -> ItemStream {
        let outward = outward(&self.prefix);
        match self.inward(collection) {
            Ok(inner) => read(inner).map_err(outward).boxed(),
            Err(error) => stream::once(async { Err(error) }).boxed(),
        }
    }
}

/// Turns the errors of the inner backend into those of the namespace.
fn outward(prefix: &str) -> impl Fn(Error) -> Error + Send + 'static {
    let prefix = prefix.to_owned();
    move |error| error.map_collection(|name| strip(&prefix, &name))
}

fn strip(prefix: &str, name: &CollectionName) -> Option<CollectionName> {
    CollectionName::new(name.as_str().strip_prefix(prefix)?).ok()
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Namespace {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(
        &self,
        collection: &CollectionName,
        key: &Key,
        options: GetOptions,
    ) -> Result<Option<Item>> {
        self.inner
            .get(&self.inward(collection)?, key, options)
            .await
            .map_err(outward(&self.prefix))
    }

    async fn stage(&self, collection: &CollectionName, body: ByteStream) -> Result<Staged> {
        self.inner
            .stage(&self.inward(collection)?, body)
            .await
            .map_err(outward(&self.prefix))
    }

    async fn write(&self, mut batch: Batch) -> Result<Written> {
        for operation in batch.operations_mut() {
            operation.collection = self.inward(&operation.collection)?;
        }
        self.inner.write(batch).await.map_err(outward(&self.prefix))
    }

    fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream {
        self.streamed(collection, |inner| self.inner.scan(&inner, scan))
    }

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        self.inner
            .define(&self.inward(collection)?, indexes)
            .await
            .map_err(outward(&self.prefix))
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        let names = self.inner.collections().await?;
        Ok(names
            .iter()
            .filter_map(|name| strip(&self.prefix, name))
            .collect())
    }

    async fn get_many(
        &self,
        collection: &CollectionName,
        keys: &[Key],
        parts: Parts,
    ) -> Result<Vec<Option<Item>>> {
        self.inner
            .get_many(&self.inward(collection)?, keys, parts)
            .await
            .map_err(outward(&self.prefix))
    }

    fn query(&self, collection: &CollectionName, query: Query) -> ItemStream {
        self.streamed(collection, |inner| self.inner.query(&inner, query))
    }

    async fn count(&self, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        self.inner
            .count(&self.inward(collection)?, filter)
            .await
            .map_err(outward(&self.prefix))
    }

    async fn count_by(
        &self,
        collection: &CollectionName,
        filter: &Filter,
        path: &Path,
    ) -> Result<Vec<Group>> {
        self.inner
            .count_by(&self.inward(collection)?, filter, path)
            .await
            .map_err(outward(&self.prefix))
    }

    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        self.inner
            .drop_collection(&self.inward(collection)?)
            .await
            .map_err(outward(&self.prefix))
    }

    async fn resolve(
        &self,
        id: Version,
        witness: Option<(&CollectionName, &Key)>,
    ) -> Result<Outcome> {
        let collection = witness
            .map(|(collection, _)| self.inward(collection))
            .transpose()?;
        let witness = collection.as_ref().zip(witness.map(|(_, key)| key));
        self.inner
            .resolve(id, witness)
            .await
            .map_err(outward(&self.prefix))
    }

    async fn watch(
        &self,
        collection: Option<&CollectionName>,
        from: WatchFrom,
    ) -> Result<ChangeStream> {
        let inner = collection
            .map(|collection| self.inward(collection))
            .transpose()?;
        let changes = self
            .inner
            .watch(inner.as_ref(), from)
            .await
            .map_err(outward(&self.prefix))?;
        let prefix = self.prefix.clone();
        let own = changes
            .map_err(outward(&self.prefix))
            .try_filter_map(move |change: Change| {
                let name = strip(&prefix, &change.collection);
                std::future::ready(Ok(name.map(|collection| Change {
                    collection,
                    ..change
                })))
            });
        Ok(own.boxed())
    }

    async fn health(&self) -> Result<()> {
        self.inner.health().await
    }

    async fn close(&self) -> Result<()> {
        self.inner.close().await
    }
}

impl From<Namespace> for DynBackend {
    fn from(layer: Namespace) -> Self {
        Arc::new(layer)
    }
}
