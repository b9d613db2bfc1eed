//! The contract that every backend and every layer keeps.

use std::fmt::Debug;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::evaluate::{self, ItemStream};
use crate::{
    Batch, ByteRange, ByteStream, Capabilities, ChangeStream, CollectionName, Condition, Error,
    Filter, Group, Index, Item, Key, Outcome, Parts, Path, Query, Result, Scan, Scope, Staged,
    Version, WatchFrom, Written,
};

/// Stores items.
///
/// Seven methods are required. The others have defaults that are correct and
/// slow; a backend overrides those that it can do faster, and a layer forwards
/// every one of them. Three defaults know nothing of what lies below: a backend
/// that keeps indexes overrides [`drop_collection`](Self::drop_collection), which
/// else keeps them, and one that is to pass the suite overrides
/// [`close`](Self::close) and [`health`](Self::health), which else do nothing.
///
/// # Promises
///
/// The conformance suite shows each of these:
///
/// 1. **Atomic.** One `get` is whole: doc, entry and body of one version. A
///    batch is all or nothing for ever; how far readers see it as a unit is
///    [`Capabilities::snapshot`]. A batch beyond the scope is `Unsupported`
///    before anything is touched. Pages neither repeat nor skip items that did
///    not change meanwhile.
/// 2. **Durable.** When `write` answers, the data survives a loss of power,
///    unless [`Capabilities::durable`] says otherwise.
/// 3. **Conditions are checked at commit**, against other processes too. A
///    check conflicts with every concurrent write of that key, absent keys
///    included: two batches that each check what the other writes cannot both
///    commit.
/// 4. **Nothing is silently dropped or changed.** What cannot be kept exactly
///    is refused with an error that names it. Keys come back byte for byte.
/// 5. **Unknown outcomes are resolved, not guessed**: see
///    [`resolve`](Self::resolve).
/// 6. **Bodies are immutable.** A new version is a new body; the old one stays
///    readable for a grace period. A read that takes longer fails with
///    `Conflict`; it never mixes versions.
/// 7. **Bounded.** Every buffer, queue, retry and page has a limit.
/// 8. **Cancel-safe.** Dropping a future leaves the whole effect or none.
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// What it can do. Constant while it is open.
    fn capabilities(&self) -> Capabilities;

    /// Reads one item; `None` if there is none.
    ///
    /// # Errors
    /// `Conflict` if it is there and not of the version that the options ask
    /// for; `Invalid` for a range that does not lie in the body.
    async fn get(
        &self,
        collection: &CollectionName,
        key: &Key,
        options: GetOptions,
    ) -> Result<Option<Item>>;

    /// Takes a body in before the batch that uses it: invisible, leased, and
    /// swept when abandoned. The stream is consumed as it can be stored, so a
    /// slow one holds no writer and no connection.
    ///
    /// # Errors
    /// `TooLarge` beyond [`Capabilities::max_body`]; what the stream fails
    /// with. Nothing stays then.
    async fn stage(&self, collection: &CollectionName, body: ByteStream) -> Result<Staged>;

    /// Writes a batch, all or nothing.
    ///
    /// # Errors
    /// `Conflict`, naming the item whose condition failed or whose unique
    /// value is taken; `Invalid`, `TooLarge` and `Unsupported` as
    /// [`Batch::validate`] says; `Expired` for a staged body whose lease
    /// ended. [`Retry::Unknown`](crate::Retry::Unknown) means that the answer
    /// was lost: [`resolve`](Self::resolve) the batch.
    async fn write(&self, batch: Batch) -> Result<Written>;

    /// Reads items in key order.
    ///
    /// Errors come as items of the stream, and end it.
    fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream;

    /// Declares indexes, beside those there are; declaring one again changes
    /// nothing. A collection without items may have indexes.
    ///
    /// # Errors
    /// `Conflict`, naming two keys, if items there are already share the
    /// values of a unique index; `Invalid` as [`Index::validate`] says.
    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()>;

    /// The collections that have items, by name. An empty one equals an absent
    /// one.
    async fn collections(&self) -> Result<Vec<CollectionName>>;

    /// Reads several items of one collection, in the order of the keys, in one
    /// round trip where the backend has one.
    ///
    /// # Errors
    /// As [`get`](Self::get).
    async fn get_many(
        &self,
        collection: &CollectionName,
        keys: &[Key],
        parts: Parts,
    ) -> Result<Vec<Option<Item>>> {
        const AT_ONCE: usize = 8;
        let reads: Vec<_> = keys
            .iter()
            .map(|key| self.get(collection, key, GetOptions::parts(parts)))
            .collect();
        stream::iter(reads).buffered(AT_ONCE).try_collect().await
    }

    /// Answers a query.
    ///
    /// Errors come as items of the stream, and end it.
    fn query(&self, collection: &CollectionName, query: Query) -> ItemStream {
        evaluate::evaluate(query, |scan| self.scan(collection, scan))
    }

    /// Counts the items that a filter matches.
    ///
    /// # Errors
    /// Those of reading.
    async fn count(&self, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        evaluate::count(filter, |scan| self.scan(collection, scan)).await
    }

    /// Counts the items that a filter matches by the value at a path, in the
    /// order of the values, those without one last.
    ///
    /// # Errors
    /// `TooLarge` beyond 100,000 groups.
    async fn count_by(
        &self,
        collection: &CollectionName,
        filter: &Filter,
        path: &Path,
    ) -> Result<Vec<Group>> {
        evaluate::count_by(filter, path, |scan| self.scan(collection, scan)).await
    }

    /// Drops a collection: its items and its indexes.
    ///
    /// The default deletes the items in batches, so that others may see it
    /// half done, and keeps the indexes.
    ///
    /// # Errors
    /// Those of writing.
    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        let limits = self.capabilities().batch;
        let together = if limits.scope == Scope::Item {
            1
        } else {
            limits.max_ops
        };
        let page = together.clamp(1, 1000) as u64;
        loop {
            let scan = Scan {
                limit: Some(page),
                ..Scan::all().parts(Parts::ENTRY)
            };
            let items: Vec<Item> = self.scan(collection, scan).try_collect().await?;
            if items.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new();
            for item in &items {
                batch = batch.delete(collection, &item.key, Condition::Any);
                if batch.bytes() >= limits.max_bytes / 2 {
                    self.write(std::mem::take(&mut batch)).await?;
                }
            }
            if !batch.operations().is_empty() {
                self.write(batch).await?;
            }
        }
    }

    /// What became of a batch whose answer was lost.
    ///
    /// A backend whose batches have scope [`Store`](crate::Scope::Store)
    /// records the id in the same commit and keeps it for a day: it answers
    /// `Committed`, or aborts the id for good, so that a late arrival fails,
    /// and answers `Aborted`. Any other looks at the witness, an item that the
    /// batch would have put: if that bears the id, the batch happened, else
    /// the answer is `Unknown`.
    ///
    /// # Errors
    /// Those of reading and writing.
    async fn resolve(
        &self,
        id: Version,
        witness: Option<(&CollectionName, &Key)>,
    ) -> Result<Outcome> {
        let Some((collection, key)) = witness else {
            return Ok(Outcome::Unknown);
        };
        let item = self
            .get(collection, key, GetOptions::parts(Parts::ENTRY))
            .await?;
        Ok(match item {
            Some(item) if item.entry.version == id => Outcome::Committed(None),
            _ => Outcome::Unknown,
        })
    }

    /// Changes of one collection, or of all, as they are committed: at least
    /// once, and resumable. What was committed before the call answers is not
    /// told, unless a cursor says so.
    ///
    /// # Errors
    /// `Unsupported` where [`Capabilities::watch`] is `None`; `Invalid` for a
    /// cursor of another backend; `Expired` for one whose changes are no
    /// longer kept: scan, and watch from now.
    async fn watch(
        &self,
        collection: Option<&CollectionName>,
        from: WatchFrom,
    ) -> Result<ChangeStream> {
        let _ = (collection, from);
        Err(Error::unsupported(
            "this backend tells no changes; scan again from time to time",
        ))
    }

    /// Checks that it works: reaches what it stands on.
    ///
    /// # Errors
    /// What is wrong.
    async fn health(&self) -> Result<()> {
        Ok(())
    }

    /// Finishes what is under way and lets everything go. Calls after it fail
    /// with `Closed`; closing twice is fine.
    ///
    /// # Errors
    /// What could not be finished.
    async fn close(&self) -> Result<()> {
        Ok(())
    }
}

/// How to read an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GetOptions {
    /// Which parts to return.
    pub parts: Parts,
    /// Only this range of the body.
    pub range: Option<ByteRange>,
    /// Only if the item is of this version; another one is a `Conflict`.
    pub if_version: Option<Version>,
}

impl Default for GetOptions {
    fn default() -> Self {
        Self::parts(Parts::ALL)
    }
}

impl GetOptions {
    /// Some parts of the item.
    pub const fn parts(parts: Parts) -> Self {
        Self {
            parts,
            range: None,
            if_version: None,
        }
    }

    /// Key, entry and a range of the body.
    pub const fn range(range: ByteRange) -> Self {
        Self {
            parts: Parts::BODY,
            range: Some(range),
            if_version: None,
        }
    }

    /// The same, only if the item is of this version.
    #[must_use]
    pub const fn if_version(mut self, version: Version) -> Self {
        self.if_version = Some(version);
        self
    }

    /// Checks the version of an item that is there.
    ///
    /// # Errors
    /// `Conflict` if it is another one.
    pub fn check_version(&self, found: Version) -> Result<()> {
        match self.if_version {
            Some(wanted) if wanted != found => Err(Error::conflict(format!(
                "the item was asked for at version {wanted}, and is of version {found}. Read it again, then decide"
            ))),
            _ => Ok(()),
        }
    }
}

/// The currency: any backend, with any layers.
pub type DynBackend = Arc<dyn Backend>;
