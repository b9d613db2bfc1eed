//! `dynamodb:`: a store in a table of DynamoDB.
//!
//! Each write is one transaction that takes the next number of a log; that alone makes
//! it sure that nothing has changed since it was checked. docs/dynamodb.md says what is
//! promised, what it costs, and what the table holds.
//!
//! ```no_run
//! use holdall_backends::dynamodb::{DynamoDbBackend, DynamoDbOptions};
//! use holdall_core::{Backend, BackendExt, Condition, Put};
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let mut options = DynamoDbOptions::new("holdall");
//! options.set("region", "eu-central-1")?;
//! options.set("access_key_id", "AKIA…")?;
//! options.set("secret_access_key", "…")?;
//! let store = DynamoDbBackend::open(options).await?;
//! let (notes, key) = ("notes".parse()?, "hello".parse()?);
//! store.put(&notes, &key, Condition::Absent, Put::bytes("hi")).await?;
//! store.close().await?;
//! # Ok::<(), holdall_core::Error>(())
//! # }).unwrap();
//! ```

mod bodies;
mod catalogue;
mod commit;
mod error;
mod hints;
mod log;
mod options;
mod pages;
mod row;
mod sent;
mod sweep;
mod table;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::evaluate::{self, evaluate};
use holdall_core::{
    Backend, Batch, BatchLimits, ByteStream, Capabilities, ChangeStream, CollectionName,
    Conditions, DynBackend, Error, Filter, GetOptions, Group, Index, Item, ItemStream, Key,
    MAX_KEY, Outcome, Parts, Path, Query, QuerySupport, Result, Scan, Scope, Snapshot, Staged,
    Version, Watch, WatchFrom, Written,
};
use tokio::sync::{Mutex, RwLock};

pub use self::options::DynamoDbOptions;

use self::catalogue::Known;
use self::commit::{Head, commit};
use self::log::Bell;
use self::row::{Place, Row};
use self::table::Table;

/// The format that this code writes.
const FORMAT: u32 = 1;

/// The most bytes of a doc. A row has 400 KiB at most, and an inline body, attrs and key
/// stand beside the doc.
const MAX_DOC: usize = 256 * 1024;

/// Keeps items in a table of DynamoDB.
pub struct DynamoDbBackend {
    shared: Arc<Shared>,
}

/// What the backend, its streams and its watchers share.
struct Shared {
    options: DynamoDbOptions,
    table: Table,
    /// Tells cursors of this store from those of another.
    identity: Version,
    head: Mutex<Option<Head>>,
    known: Known,
    bell: Bell,
    closed: AtomicBool,
    /// Read while something is written, so that closing waits for it.
    busy: RwLock<()>,
}

impl Shared {
    fn check_open(&self) -> Result<()> {
        match self.closed.load(Ordering::Acquire) {
            true => Err(Error::closed("the store was closed; open it again")),
            false => Ok(()),
        }
    }

    /// A partition of the store.
    fn partition(&self, what: &str) -> String {
        partition(&self.options, what)
    }
}

fn partition(options: &DynamoDbOptions, what: &str) -> String {
    format!("{}/{what}", options.prefix)
}

impl DynamoDbBackend {
    /// Opens a store, or makes it. Proves that it can be written.
    ///
    /// # Errors
    /// `Invalid`, naming the option and the rule, or if the table has other keys;
    /// `Unavailable` or `Timeout` if DynamoDB cannot be reached; `Denied` if it does not
    /// let in; `NotFound` if table or store are not there and not to be made; `Corrupt` if
    /// the store is of another format.
    pub async fn open(options: DynamoDbOptions) -> Result<Self> {
        let with = options.clone();
        // It reads files.
        let table = tokio::task::spawn_blocking(move || Table::new(&with)).await;
        let table =
            table.map_err(|error| Error::closed("the runtime shut down").because(error))??;
        Self::open_in(table, options).await
    }

    /// The same with a client of the caller's, which knows region and keys. Its retries
    /// and timeouts are its own.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn from_client(
        client: aws_sdk_dynamodb::Client,
        options: DynamoDbOptions,
    ) -> Result<Self> {
        Self::open_in(Table::of_client(client, &options), options).await
    }

    async fn open_in(table: Table, options: DynamoDbOptions) -> Result<Self> {
        options::check_prefix(&options.prefix)?;
        table.prepare(options.create_table).await?;
        let identity = prepare(&table, &options).await?;
        let shared = Arc::new(Shared {
            options,
            table,
            identity,
            head: Mutex::default(),
            known: Known::default(),
            bell: Bell::new(),
            closed: AtomicBool::new(false),
            busy: RwLock::default(),
        });
        tokio::spawn(sweep::now_and_then(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Removes now what nobody needs any more: abandoned and overwritten bodies whose
    /// time is over, dropped collections, and old parts of the log. It happens by itself
    /// from time to time.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn sweep(&self) -> Result<()> {
        while sweep::step(&self.shared).await? {}
        Ok(())
    }
}

/// Makes the store, or finds it. Answers its identity.
async fn prepare(table: &Table, options: &DynamoDbOptions) -> Result<Version> {
    let place = Place::new(partition(options, "meta"), "store");
    loop {
        if let Some(row) = table.get(&place).await? {
            let format: u32 = row.number("f")?.unwrap_or(0);
            if format != FORMAT {
                return Err(Error::corrupt(format!(
                    "the store has format {format}, and this version of Holdall reads {FORMAT}. Use a newer version; nothing was changed"
                )));
            }
            // A write that really happens, so that keys that may not write show.
            let now = options.env.now().as_micros();
            let opened = Row::at(&Place::new(partition(options, "meta"), "opened"));
            table.put(opened.with_number("t", now)).await?;
            return row
                .version("i")?
                .ok_or_else(|| error::damaged("the store's own row"));
        }
        if !options.create {
            return Err(Error::not_found(format!(
                "there is no store with the prefix {:?} in the table. Is the prefix right? It is made by the first write",
                options.prefix
            )));
        }
        let row = Row::at(&place)
            .with_number("f", FORMAT)
            .with_bytes("i", *options.env.version().as_bytes());
        // If another process was faster, its identity counts.
        table.create_row(row).await?;
    }
}

impl fmt::Debug for DynamoDbBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDbBackend")
            .field("table", &self.shared.table.name())
            .field("prefix", &self.shared.options.prefix)
            .finish_non_exhaustive()
    }
}

impl From<DynamoDbBackend> for DynBackend {
    fn from(backend: DynamoDbBackend) -> Self {
        Arc::new(backend)
    }
}

#[async_trait]
impl Backend for DynamoDbBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            batch: BatchLimits {
                scope: Scope::Store,
                // A transaction has 100 actions and 4 MiB. An operation takes three where
                // a unique value changes; two are for the log, and one is for a collection.
                max_ops: 32,
                max_bytes: 3 * 1024 * 1024,
            },
            // A query of DynamoDB sees each item whole, and not all at one time.
            snapshot: Snapshot::Item,
            conditions: Conditions::Full,
            watch: Watch::Total,
            query: QuerySupport::Native,
            durable: true,
            shared: true,
            max_key: MAX_KEY,
            max_doc: MAX_DOC,
            max_body: bodies::MAX_BODY,
        }
    }

    async fn get(
        &self,
        collection: &CollectionName,
        key: &Key,
        options: GetOptions,
    ) -> Result<Option<Item>> {
        let found = pages::get(&self.shared, collection, key, options).await;
        found.map_err(|error| error.at(collection, Some(key)))
    }

    async fn stage(&self, collection: &CollectionName, body: ByteStream) -> Result<Staged> {
        self.shared.check_open()?;
        bodies::stage(&self.shared, collection, body).await
    }

    async fn write(&self, mut batch: Batch) -> Result<Written> {
        batch.validate(&self.capabilities())?;
        let id = batch.ensure_id(&self.shared.options.env);
        let _busy = self.shared.busy.read().await;
        self.shared.check_open()?;
        let written = write::write(&self.shared, batch, id).await;
        written.map_err(|error| error.for_batch(id))
    }

    fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream {
        pages::scan(self.shared.clone(), collection.clone(), scan)
    }

    fn query(&self, collection: &CollectionName, query: Query) -> ItemStream {
        let (shared, name) = (self.shared.clone(), collection.clone());
        let found = async move {
            let source = hints::source(&shared, &name, &query.filter).await;
            let source = source.map_err(|error| error.at(&name, None))?;
            Ok(evaluate(query, |scan| source.scan(&shared, &name, scan)))
        };
        stream::once(found).try_flatten().boxed()
    }

    async fn count(&self, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        let source = hints::source(&self.shared, collection, filter).await?;
        evaluate::count(filter, |scan| source.scan(&self.shared, collection, scan)).await
    }

    async fn count_by(
        &self,
        collection: &CollectionName,
        filter: &Filter,
        path: &Path,
    ) -> Result<Vec<Group>> {
        let source = hints::source(&self.shared, collection, filter).await?;
        evaluate::count_by(filter, path, |scan| {
            source.scan(&self.shared, collection, scan)
        })
        .await
    }

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        indexes.iter().try_for_each(Index::validate)?;
        self.shared.check_open()?;
        let work = catalogue::define(self.shared.clone(), collection.clone(), indexes.to_vec());
        // It goes on when the caller does not wait, as it has several steps.
        let done = tokio::spawn(work).await;
        done.map_err(|error| Error::closed("the runtime shut down").because(error))?
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        self.shared.check_open()?;
        catalogue::filled(&self.shared).await
    }

    async fn get_many(
        &self,
        collection: &CollectionName,
        keys: &[Key],
        parts: Parts,
    ) -> Result<Vec<Option<Item>>> {
        self.shared.check_open()?;
        pages::get_many(&self.shared, collection, keys, parts).await
    }

    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        let _busy = self.shared.busy.read().await;
        self.shared.check_open()?;
        let dropping = catalogue::Drop {
            shared: &self.shared,
            name: collection,
            id: self.shared.options.env.version(),
        };
        let dropped = commit(&self.shared, &dropping).await;
        dropped.map_err(|error| error.for_batch(dropping.id).at(collection, None))
    }

    async fn resolve(&self, id: Version, _: Option<(&CollectionName, &Key)>) -> Result<Outcome> {
        self.shared.check_open()?;
        log::resolve(&self.shared, id).await
    }

    async fn watch(
        &self,
        collection: Option<&CollectionName>,
        from: WatchFrom,
    ) -> Result<ChangeStream> {
        self.shared.check_open()?;
        log::watch(&self.shared, collection.cloned(), from).await
    }

    async fn health(&self) -> Result<()> {
        self.shared.check_open()?;
        let place = Place::new(self.shared.partition("meta"), "store");
        self.shared.table.get(&place).await.map(drop)
    }

    async fn close(&self) -> Result<()> {
        let _nothing_is_written = self.shared.busy.write().await;
        self.shared.closed.store(true, Ordering::Release);
        self.shared.bell.ring();
        Ok(())
    }
}
