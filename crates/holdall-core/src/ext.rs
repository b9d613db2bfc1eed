//! Comfort on top of the contract.

use futures_util::{StreamExt, TryStreamExt};

use crate::{
    Backend, Batch, ByteStream, CollectionName, Condition, Cursor, Entry, Error, GetOptions, Item,
    Key, NewBody, Parts, Put, Query, Result, Written,
};

/// Methods that every backend has, made of the contract alone.
///
/// Their futures are declared `Send`: with a plain `async fn`, the compiler
/// cannot always prove it for a caller that spawns them.
pub trait BackendExt: Backend {
    /// Puts one item and answers its entry.
    ///
    /// # Errors
    /// As [`write`](Backend::write).
    fn put(
        &self,
        collection: &CollectionName,
        key: &Key,
        condition: Condition,
        put: Put,
    ) -> impl Future<Output = Result<Entry>> + Send {
        async move {
            let written = self
                .write(Batch::new().put(collection, key, condition, put))
                .await?;
            only_entry(written)
        }
    }

    /// Puts one item whose body is a stream of any size: stages the body, then
    /// writes. `put.body` is replaced.
    ///
    /// # Errors
    /// As [`stage`](Backend::stage) and [`write`](Backend::write).
    fn put_stream(
        &self,
        collection: &CollectionName,
        key: &Key,
        condition: Condition,
        mut put: Put,
        body: ByteStream,
    ) -> impl Future<Output = Result<Entry>> + Send {
        async move {
            put.body = NewBody::Staged(self.stage(collection, body).await?);
            self.put(collection, key, condition, put).await
        }
    }

    /// Deletes one item; nothing there is fine, unless the condition says
    /// otherwise.
    ///
    /// # Errors
    /// As [`write`](Backend::write).
    fn delete(
        &self,
        collection: &CollectionName,
        key: &Key,
        condition: Condition,
    ) -> impl Future<Output = Result<()>> + Send {
        async move {
            self.write(Batch::new().delete(collection, key, condition))
                .await
                .map(drop)
        }
    }

    /// The entry of an item; `None` if there is none.
    ///
    /// # Errors
    /// As [`get`](Backend::get).
    fn head(
        &self,
        collection: &CollectionName,
        key: &Key,
    ) -> impl Future<Output = Result<Option<Entry>>> + Send {
        async move {
            let item = self
                .get(collection, key, GetOptions::parts(Parts::ENTRY))
                .await?;
            Ok(item.map(|item| item.entry))
        }
    }

    /// One page of a query, and the cursor of the next. The page has the
    /// query's limit, or 100 items; there is no next page where the cursor is
    /// `None`.
    ///
    /// # Errors
    /// As [`query`](Backend::query).
    fn page(
        &self,
        collection: &CollectionName,
        mut query: Query,
    ) -> impl Future<Output = Result<Page>> + Send {
        async move {
            const PAGE: u64 = 100;
            let size = query.limit.unwrap_or(PAGE);
            let wanted = query.parts;
            // One item more tells whether there is a next page.
            query.limit = Some(size.saturating_add(1));
            query.parts.doc |= query.sorts_by_doc();
            let mut stream = self.query(collection, query.clone());
            let mut items = Vec::new();
            let mut more = false;
            while let Some(item) = stream.try_next().await? {
                if items.len() as u64 == size {
                    more = true;
                    break;
                }
                items.push(item);
            }
            let next = match items.last() {
                Some(last) if more => Some(query.cursor(last)?),
                _ => None,
            };
            if !wanted.doc {
                items.iter_mut().for_each(|item| item.doc = None);
            }
            Ok(Page { items, next })
        }
    }

    /// All items of a query in memory.
    ///
    /// # Errors
    /// `TooLarge` if there are more than `limit`; else as
    /// [`query`](Backend::query).
    fn query_all(
        &self,
        collection: &CollectionName,
        query: Query,
        limit: usize,
    ) -> impl Future<Output = Result<Vec<Item>>> + Send {
        async move {
            let mut stream = self.query(collection, query);
            let mut items = Vec::new();
            while let Some(item) = stream.next().await {
                if items.len() == limit {
                    return Err(Error::too_large(format!(
                        "the query answers more than {limit} items; read them as a stream or in pages"
                    )));
                }
                items.push(item?);
            }
            Ok(items)
        }
    }
}

impl<B: Backend + ?Sized> BackendExt for B {}

/// One page of a query.
#[derive(Debug)]
pub struct Page {
    /// The items.
    pub items: Vec<Item>,
    /// Where the next page starts; `None` if this was the last.
    pub next: Option<Cursor>,
}

fn only_entry(written: Written) -> Result<Entry> {
    written.entries.into_iter().flatten().next().ok_or_else(|| {
        Error::other("the backend answered a put without an entry; this is a bug of the backend")
    })
}
