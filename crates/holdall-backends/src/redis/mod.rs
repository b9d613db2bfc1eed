//! `redis:`: a store in Redis, on one server or one node of a cluster.
//!
//! Each write is one script: conditions, unique indexes, the batch and its line in
//! the log of changes, all or nothing. docs/redis.md says what is promised, how the
//! server is to be set, and what it keeps.
//!
//! ```no_run
//! use holdall_backends::redis::{RedisBackend, RedisOptions};
//! use holdall_core::{Backend, BackendExt, Condition, Put};
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! let store = RedisBackend::open(RedisOptions::new("redis://127.0.0.1:6379")).await?;
//! let (notes, key) = ("notes".parse()?, "hello".parse()?);
//! store.put(&notes, &key, Condition::Absent, Put::bytes("hi")).await?;
//! store.close().await?;
//! # Ok::<(), holdall_core::Error>(())
//! # }).unwrap();
//! ```

mod address;
mod answer;
mod bodies;
mod entry;
mod error;
mod indexes;
mod link;
mod log;
mod names;
mod options;
mod pages;
mod script;
mod server;
mod sweep;
mod watch;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use futures_util::TryStreamExt;
use holdall_core::{
    Backend, Batch, BatchLimits, ByteStream, Capabilities, ChangeStream, CollectionName,
    Conditions, DynBackend, Error, Filter, GetOptions, Index, Item, ItemStream, Key, MAX_DOC,
    MAX_KEY, Outcome, Parts, Query, QuerySupport, Result, Scan, Scope, Snapshot, Staged, Version,
    Watch, WatchFrom, Written,
};
use tokio::sync::RwLock;

pub use self::options::RedisOptions;

use self::indexes::Known;
use self::link::{Fault, Line, Link};
use self::names::Names;
use self::script::{Call, OPEN};
use self::watch::Bell;

/// The format that this code writes.
const FORMAT: &str = "1";

/// Keeps items in Redis.
pub struct RedisBackend {
    shared: Arc<Shared>,
}

/// What the backend, its streams and its watchers share.
struct Shared {
    options: RedisOptions,
    link: Link,
    names: Names,
    /// Tells cursors of this store from those of another.
    identity: Version,
    durable: bool,
    indexes: Known,
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
}

impl RedisBackend {
    /// Opens a store, or makes it. Looks whether the server keeps what it is given,
    /// and proves that it can be written.
    ///
    /// # Errors
    /// `Invalid`, naming the option and the rule; `Unavailable` or `Timeout` if the
    /// server cannot be reached; `Denied` if it does not let in; `Unsupported` if it
    /// may lose what it is given; `NotFound` if the store is not there and not to be
    /// made; `Corrupt` if it is of another format.
    pub async fn open(options: RedisOptions) -> Result<Self> {
        let with = options.clone();
        // It reads files.
        let link = tokio::task::spawn_blocking(move || Link::new(&with)).await;
        let link =
            link.map_err(|error| Error::closed("the runtime shut down").because(error))??;
        Self::open_over(link, options).await
    }

    /// The same with a client of the caller's, which says where the server is and
    /// how to get in. URL, user, password, files and nodes of the options are not
    /// looked at.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub async fn from_client(client: ::redis::Client, options: RedisOptions) -> Result<Self> {
        Self::open_over(Link::of_client(client, &options)?, options).await
    }

    async fn open_over(link: Link, options: RedisOptions) -> Result<Self> {
        options::check_prefix(&options.prefix)?;
        let names = Names::new(&options.prefix);
        // In a cluster, a call with a key leads to the node that has the store.
        let mut lead = ::redis::cmd("HGET");
        lead.arg(names.one("meta").as_slice()).arg("format");
        link.read(&lead).await.map_err(Fault::of_read)?;
        let durable = server::check(&link, &options).await?;
        let identity = prepare(&link, &names, &options).await?;
        let shared = Arc::new(Shared {
            options,
            link,
            names,
            identity,
            durable,
            indexes: Known::default(),
            bell: Bell::new(),
            closed: AtomicBool::new(false),
            busy: RwLock::default(),
        });
        tokio::spawn(sweep::now_and_then(Arc::downgrade(&shared)));
        Ok(Self { shared })
    }

    /// Removes now what nobody needs any more: abandoned and overwritten bodies whose
    /// time is over, and old parts of the log. It happens by itself from time to time.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn sweep(&self) -> Result<()> {
        while sweep::step(&self.shared).await? {}
        Ok(())
    }
}

/// Makes the store, or finds it. Answers its identity.
async fn prepare(link: &Link, names: &Names, options: &RedisOptions) -> Result<Version> {
    let mut call = Call::new(
        &OPEN,
        names.all(["meta", "try:1", "try:2", "try:3", "try:4"]),
    );
    call.text(FORMAT)
        .arg(options.env.version().as_bytes().to_vec())
        .number(options.env.now().as_micros())
        .flag(options.create);
    let opened = call.write(link, Line::Write).await;
    // Opening again is always right.
    let (done, mut told) = answer::outcome(opened.map_err(Fault::of_read)?)?;
    match done.as_str() {
        "open" => Version::from_slice(&answer::bytes(told.next())?),
        "missing" => Err(Error::not_found(format!(
            "there is no store with the prefix {:?}. Is the prefix right? It is made by the first write",
            options.prefix
        ))),
        _ => Err(Error::corrupt(format!(
            "the store has format {}, and this version of Holdall reads {FORMAT}. Use a newer version; nothing was changed",
            answer::text(told.next())?
        ))),
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("server", &self.shared.link.home().to_string())
            .field("prefix", &self.shared.options.prefix)
            .finish_non_exhaustive()
    }
}

impl From<RedisBackend> for DynBackend {
    fn from(backend: RedisBackend) -> Self {
        Arc::new(backend)
    }
}

#[async_trait]
impl Backend for RedisBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            batch: BatchLimits {
                scope: Scope::Store,
                // What a script does in some milliseconds.
                max_ops: 1000,
                max_bytes: 8 * 1024 * 1024,
            },
            snapshot: Snapshot::Page,
            conditions: Conditions::Full,
            watch: Watch::Total,
            query: QuerySupport::Scan,
            durable: self.shared.durable,
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

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        indexes.iter().try_for_each(Index::validate)?;
        self.shared.check_open()?;
        let work = indexes::define(self.shared.clone(), collection.clone(), indexes.to_vec());
        // It goes on when the caller does not wait, as it has several steps.
        let done = tokio::spawn(work).await;
        done.map_err(|error| Error::closed("the runtime shut down").because(error))?
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        self.shared.check_open()?;
        let mut all = ::redis::cmd("ZRANGE");
        all.arg(self.shared.names.one("names").as_slice())
            .arg(0)
            .arg(-1);
        let all = self.shared.link.read(&all).await.map_err(Fault::of_read)?;
        let all = answer::list(all)?.into_iter();
        all.map(|name| CollectionName::new(answer::text(Some(name))?))
            .collect()
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

    async fn count(&self, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        self.shared.check_open()?;
        if filter.is_all() {
            let [keys] = self.shared.names.of(collection, ["keys"]);
            let mut count = ::redis::cmd("ZCARD");
            count.arg(keys.as_slice());
            let count = self.shared.link.read(&count).await;
            return answer::integer(count.map_err(Fault::of_read)?);
        }
        let query = Query {
            filter: filter.clone(),
            parts: Parts::ENTRY,
            ..Query::default()
        };
        let mut found = self.query(collection, query);
        let mut count = 0;
        while found.try_next().await?.is_some() {
            count += 1;
        }
        Ok(count)
    }

    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        let _busy = self.shared.busy.read().await;
        self.shared.check_open()?;
        write::drop_collection(&self.shared, collection).await
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
        watch::watch(&self.shared, collection.cloned(), from).await
    }

    async fn health(&self) -> Result<()> {
        self.shared.check_open()?;
        let pong = self.shared.link.read(&::redis::cmd("PING")).await;
        pong.map(drop).map_err(Fault::of_read)
    }

    async fn close(&self) -> Result<()> {
        let _nothing_is_written = self.shared.busy.write().await;
        self.shared.closed.store(true, Ordering::Release);
        self.shared.link.close().await;
        self.shared.bell.ring();
        Ok(())
    }
}
