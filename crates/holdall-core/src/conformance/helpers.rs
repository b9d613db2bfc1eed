//! What many cases need.

use futures_util::TryStreamExt;

use super::Failure;
use crate::{
    BackendExt, CollectionName, Condition, Doc, DynBackend, Entry, Filter, GetOptions, Item, Key,
    Put, Query, Result, Scan, Value,
};

pub(super) const ANY: Condition = Condition::Any;

pub(super) fn key(text: &str) -> Result<Key, Failure> {
    Ok(Key::new(text)?)
}

/// A put of a doc.
pub(super) fn doc(value: Value) -> Result<Put, Failure> {
    Ok(Put::doc(Doc::from_value(&value)?))
}

pub(super) fn filter(value: Value) -> Result<Filter, Failure> {
    Ok(Filter::parse(&value.to_string())?)
}

/// An item with all its parts.
pub(super) async fn get(
    store: &DynBackend,
    collection: &CollectionName,
    key: &Key,
) -> Result<Option<Item>> {
    store.get(collection, key, GetOptions::default()).await
}

/// The doc of an item; `None` if there is no item.
pub(super) async fn value(
    store: &DynBackend,
    collection: &CollectionName,
    key: &Key,
) -> Result<Option<Value>> {
    match get(store, collection, key).await? {
        Some(item) => item.doc()?.value().map(Some),
        None => Ok(None),
    }
}

/// The body of an item; `None` if there is no item, or none in it.
pub(super) async fn body(
    store: &DynBackend,
    collection: &CollectionName,
    key: &Key,
) -> Result<Option<bytes::Bytes>> {
    const LIMIT: usize = 256 * 1024 * 1024;
    match get(store, collection, key)
        .await?
        .and_then(|item| item.body)
    {
        Some(body) => body.bytes(LIMIT).await.map(Some),
        None => Ok(None),
    }
}

pub(super) async fn put(
    store: &DynBackend,
    collection: &CollectionName,
    key: &Key,
    value: Value,
) -> Result<Entry, Failure> {
    Ok(store.put(collection, key, ANY, doc(value)?).await?)
}

/// The keys that a scan finds, in its order.
pub(super) async fn scan(
    store: &DynBackend,
    collection: &CollectionName,
    scan: Scan,
) -> Result<Vec<String>> {
    let items: Vec<Item> = store.scan(collection, scan).try_collect().await?;
    Ok(names(&items))
}

/// The keys that a query finds, in its order.
pub(super) async fn query(
    store: &DynBackend,
    collection: &CollectionName,
    query: Query,
) -> Result<Vec<String>> {
    let items: Vec<Item> = store.query(collection, query).try_collect().await?;
    Ok(names(&items))
}

pub(super) fn names(items: &[Item]) -> Vec<String> {
    items
        .iter()
        .map(|item| item.key.as_str().to_owned())
        .collect()
}

/// All that a collection holds, to compare before and after: keys, versions,
/// docs and bodies.
pub(super) async fn snapshot(
    store: &DynBackend,
    collection: &CollectionName,
) -> Result<Vec<(Key, Entry, Value)>> {
    let items: Vec<Item> = store.scan(collection, Scan::all()).try_collect().await?;
    items
        .into_iter()
        .map(|item| {
            let value = item.doc()?.value()?;
            Ok((item.key, item.entry, value))
        })
        .collect()
}
