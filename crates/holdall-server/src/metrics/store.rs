//! A store whose operations are counted.

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt};
use holdall_core::{
    Backend, Batch, ByteStream, Capabilities, ChangeStream, CollectionName, DynBackend, Error,
    Filter, GetOptions, Group, Index, Item, ItemStream, Key, Outcome, Parts, Path, Query, Result,
    Scan, Staged, Version, WatchFrom, Written,
};

use super::{Failed, Metrics, Operation};

/// Counts what a backend is asked for, and its errors by their kinds.
#[derive(Debug)]
pub(crate) struct Counted {
    inner: DynBackend,
    metrics: Metrics,
}

impl Counted {
    pub(crate) fn new(inner: DynBackend, metrics: Metrics) -> Self {
        Self { inner, metrics }
    }

    fn asked(&self, operation: &'static str) {
        let label = Operation { operation };
        self.metrics.0.operations.get_or_create(&label).inc();
    }

    /// Counts an operation, and its error if it is one.
    fn told<T>(&self, operation: &'static str, result: Result<T>) -> Result<T> {
        self.asked(operation);
        result.inspect_err(failed(&self.metrics, operation))
    }

    fn items(&self, operation: &'static str, items: ItemStream) -> ItemStream {
        self.asked(operation);
        items.inspect_err(failed(&self.metrics, operation)).boxed()
    }
}

fn failed(metrics: &Metrics, operation: &'static str) -> impl Fn(&Error) + Send + 'static {
    let errors = metrics.0.errors.clone();
    move |error| {
        let kind = error.kind().name();
        errors.get_or_create(&Failed { operation, kind }).inc();
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl Backend for Counted {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn get(
        &self,
        collection: &CollectionName,
        key: &Key,
        options: GetOptions,
    ) -> Result<Option<Item>> {
        self.told("get", self.inner.get(collection, key, options).await)
    }

    async fn stage(&self, collection: &CollectionName, body: ByteStream) -> Result<Staged> {
        self.told("stage", self.inner.stage(collection, body).await)
    }

    async fn write(&self, batch: Batch) -> Result<Written> {
        self.told("write", self.inner.write(batch).await)
    }

    fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream {
        self.items("scan", self.inner.scan(collection, scan))
    }

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        self.told("define", self.inner.define(collection, indexes).await)
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        self.told("collections", self.inner.collections().await)
    }

    async fn get_many(
        &self,
        collection: &CollectionName,
        keys: &[Key],
        parts: Parts,
    ) -> Result<Vec<Option<Item>>> {
        let items = self.inner.get_many(collection, keys, parts).await;
        self.told("get_many", items)
    }

    fn query(&self, collection: &CollectionName, query: Query) -> ItemStream {
        self.items("query", self.inner.query(collection, query))
    }

    async fn count(&self, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        self.told("count", self.inner.count(collection, filter).await)
    }

    async fn count_by(
        &self,
        collection: &CollectionName,
        filter: &Filter,
        path: &Path,
    ) -> Result<Vec<Group>> {
        let groups = self.inner.count_by(collection, filter, path).await;
        self.told("count_by", groups)
    }

    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        let dropped = self.inner.drop_collection(collection).await;
        self.told("drop_collection", dropped)
    }

    async fn resolve(
        &self,
        id: Version,
        witness: Option<(&CollectionName, &Key)>,
    ) -> Result<Outcome> {
        self.told("resolve", self.inner.resolve(id, witness).await)
    }

    async fn watch(
        &self,
        collection: Option<&CollectionName>,
        from: WatchFrom,
    ) -> Result<ChangeStream> {
        let changes = self.told("watch", self.inner.watch(collection, from).await)?;
        let failed = failed(&self.metrics, "watch");
        Ok(changes.inspect_err(failed).boxed())
    }

    async fn health(&self) -> Result<()> {
        self.told("health", self.inner.health().await)
    }

    async fn close(&self) -> Result<()> {
        self.told("close", self.inner.close().await)
    }
}
