//! `mongodb://HOST/DATABASE`: MongoDB, with the fields of docs at the top of its documents.
//!
//! Batches are transactions, bodies beyond a size lie in GridFS, and watchers follow
//! a change stream, or ask for batches by their numbers. docs/mongodb.md describes what lies in the database.

mod bodies;
mod catalogue;
mod connect;
mod documents;
mod error;
mod indexes;
mod log;
mod names;
mod options;
mod order;
mod plan;
mod poll;
mod query;
mod single;
mod sweep;
mod transaction;
mod value;
mod watch;
mod write;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use hashbrown::{HashMap, HashSet};
use holdall_core::{
    Backend, Batch, BatchLimits, ByteStream, Capabilities, ChangeStream, CollectionName,
    Conditions, Error, Filter, GetOptions, Group, Index, Item, ItemStream, Key, MAX_DOC, MAX_KEY,
    Outcome, Parts, Path, Query, QuerySupport, Result, Scan, Scope, Snapshot, Staged, Timestamp,
    Version, Watch, WatchFrom, Written,
};
use mongodb::Client;
use parking_lot::Mutex;
use tokio::sync::{OnceCell, RwLock, Semaphore};

use crate::gate::{Gate, closed_by_us};

pub use self::options::{MongoOptions, Transactions};
/// The driver that [`MongoBackend::from_client`] takes a client of.
pub use mongodb as driver;

/// Keeps items in a MongoDB database.
pub struct MongoBackend {
    shared: Arc<Shared>,
}

/// What the backend, its streams and its watchers share.
struct Shared {
    options: MongoOptions,
    client: Client,
    /// Whether the client was made here, and is shut down here.
    owned: bool,
    /// A client for watchers, made for the first.
    watchers: OnceCell<Client>,
    database: mongodb::Database,
    /// Tells cursors of this store from those of another.
    identity: Version,
    transactions: bool,
    telling: Telling,
    durable: bool,
    /// A permit for each connection that may be used.
    slots: Arc<Semaphore>,
    life: Arc<Gate>,
    /// Held by all who write, and alone by who declares or drops.
    order: Arc<RwLock<()>>,
    /// The collections that were seen to be there, which they stay.
    known: Mutex<HashSet<CollectionName>>,
    /// The indexes of collections as they were last read. Nothing that was found by them
    /// counts before they were asked for again.
    layouts: Mutex<HashMap<CollectionName, Arc<catalogue::Layout>>>,
    /// The collections where the last large batch found none of its keys.
    growing: Mutex<HashSet<CollectionName>>,
    swept: Mutex<Timestamp>,
    /// Wakes watchers that poll, when something was committed here.
    bell: tokio::sync::watch::Sender<()>,
    /// Held by who takes the number of a batch, until it is committed.
    numbering: tokio::sync::Mutex<()>,
}

/// How watchers learn of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Telling {
    Nothing,
    /// By a change stream of MongoDB.
    Stream,
    /// Batches have numbers, and watchers ask for greater ones.
    Numbers,
}

impl Shared {
    fn open(&self) -> Result<()> {
        match self.life.is_closed() {
            true => Err(closed_by_us()),
            false => Ok(()),
        }
    }
}

impl MongoBackend {
    /// Reaches a deployment, and makes the store there if it is not. Proves that it can
    /// be written.
    ///
    /// # Errors
    /// `NotFound` if the store is not there and not to be made; `Unavailable` if it cannot be reached; `Denied` if it refuses the user, or the user
    /// may not write; `Invalid` for a URL or option that does not fit;
    /// `Unsupported` if it is too old, or has no transactions and they are asked for;
    /// `Corrupt` if the database holds a store of a newer format.
    pub async fn open(options: MongoOptions) -> Result<Self> {
        let opened = async {
            let (client, database) = connect::client(&options).await?;
            Self::over(client, true, &database, options).await
        };
        opened.await.map_err(|error: Error| {
            error
                .while_doing("cannot open the store in MongoDB")
                .in_backend("mongodb")
        })
    }

    /// The same over a client of the caller's, which is not shut down when the store is
    /// closed. Of the options, those about connections do not matter, but
    /// for `connections`: it says how many calls are under way at once, and should not be more
    /// than the client has connections. Each watcher holds one more.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Examples
    /// ```no_run
    /// use holdall_backends::mongodb::driver::Client;
    /// use holdall_backends::mongodb::{MongoBackend, MongoOptions};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = Client::with_uri_str("mongodb://127.0.0.1/?replicaSet=rs0").await?;
    /// let store = MongoBackend::from_client(client, "app", MongoOptions::new("")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn from_client(
        client: Client,
        database: &str,
        options: MongoOptions,
    ) -> Result<Self> {
        Self::over(client, false, database, options).await
    }

    async fn over(client: Client, owned: bool, name: &str, options: MongoOptions) -> Result<Self> {
        let database = connect::database(&client, name, &options);
        let probe = connect::Probe {
            database: &database,
            options: &options,
            env: &options.env,
        };
        let found = connect::probe(&probe).await?;
        let shared = Shared {
            durable: options.journal && found.persistent,
            slots: Arc::new(Semaphore::new(
                usize::try_from(options.connections).unwrap_or(1),
            )),
            swept: Mutex::new(options.env.now()),
            identity: found.identity,
            transactions: found.transactions,
            telling: found.telling,
            bell: tokio::sync::watch::Sender::new(()),
            numbering: tokio::sync::Mutex::default(),
            life: Gate::new(),
            order: Arc::default(),
            known: Mutex::default(),
            layouts: Mutex::default(),
            growing: Mutex::default(),
            watchers: OnceCell::new(),
            owned,
            database,
            client,
            options,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// Removes now what nobody needs any more: abandoned and overwritten bodies whose
    /// time is over, and records of batches older than a day. It happens by itself from time to
    /// time, beside the writes.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn sweep(&self) -> Result<()> {
        let _pass = self.shared.life.enter()?;
        while sweep::step(&self.shared).await? {}
        Ok(())
    }

    /// Runs what changes something to its end, even if nobody waits for it any more.
    async fn finish<T, F>(&self, work: impl FnOnce(Arc<Shared>) -> F) -> Result<T>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
    {
        let (life, patience) = (&self.shared.life, self.shared.options.timeout);
        life.finish(patience, work(self.shared.clone())).await
    }
}

impl fmt::Debug for MongoBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoBackend")
            .field("database", &self.shared.database.name())
            .field("transactions", &self.shared.transactions)
            .finish_non_exhaustive()
    }
}

impl From<MongoBackend> for holdall_core::DynBackend {
    fn from(backend: MongoBackend) -> Self {
        Arc::new(backend)
    }
}

#[async_trait]
impl Backend for MongoBackend {
    fn capabilities(&self) -> Capabilities {
        let transactions = self.shared.transactions;
        Capabilities {
            batch: BatchLimits {
                scope: if transactions {
                    Scope::Store
                } else {
                    Scope::Item
                },
                max_ops: if transactions { 10_000 } else { 1 },
                max_bytes: 32 * 1024 * 1024,
            },
            snapshot: if transactions {
                Snapshot::Page
            } else {
                Snapshot::Item
            },
            conditions: Conditions::Full,
            watch: match self.shared.telling {
                Telling::Stream | Telling::Numbers => Watch::Total,
                Telling::Nothing => Watch::None,
            },
            query: QuerySupport::Native,
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
        let item = query::get(&self.shared, collection, key, options).await;
        item.map_err(|error| error.at(collection, Some(key)))
    }

    async fn stage(&self, collection: &CollectionName, body: ByteStream) -> Result<Staged> {
        // A slow stream holds nobody up, so closing does not wait for it.
        self.shared.open()?;
        bodies::stage(&self.shared, collection, body).await
    }

    async fn write(&self, mut batch: Batch) -> Result<Written> {
        batch.validate(&self.capabilities())?;
        let id = batch.ensure_id(&self.shared.options.env);
        let written = self.finish(move |shared| async move {
            let _order = shared.order.clone().read_owned().await;
            let written = write::write(&shared, batch, id).await;
            sweep::now_and_then(&shared);
            written
        });
        written.await.map_err(|error| error.for_batch(id))
    }

    fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream {
        query::scan(self.shared.clone(), collection.clone(), &scan)
    }

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        indexes.iter().try_for_each(Index::validate)?;
        let (collection, indexes) = (collection.clone(), indexes.to_vec());
        self.finish(move |shared| async move {
            let _order = shared.order.clone().write_owned().await;
            let _turn = shared.turn().await?;
            indexes::define(&shared, &collection, &indexes).await
        })
        .await
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        let _pass = self.shared.life.enter()?;
        let _turn = self.shared.turn().await?;
        let mut filled = Vec::new();
        for name in catalogue::all(&self.shared).await? {
            let items = self
                .shared
                .database
                .collection::<mongodb::bson::Document>(&names::table(&name));
            let one = items
                .find_one(mongodb::bson::doc! {})
                .projection(mongodb::bson::doc! { "_id": 1 });
            if self.shared.read(one).await?.is_some() {
                filled.push(name);
            }
        }
        Ok(filled)
    }

    async fn get_many(
        &self,
        collection: &CollectionName,
        keys: &[Key],
        parts: Parts,
    ) -> Result<Vec<Option<Item>>> {
        let items = query::get_many(&self.shared, collection, keys, parts).await;
        items.map_err(|error| error.at(collection, None))
    }

    fn query(&self, collection: &CollectionName, query: Query) -> ItemStream {
        query::query(self.shared.clone(), collection.clone(), query)
    }

    async fn count(&self, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        query::count(&self.shared, collection, filter).await
    }

    async fn count_by(
        &self,
        collection: &CollectionName,
        filter: &Filter,
        path: &Path,
    ) -> Result<Vec<Group>> {
        query::count_by(&self.shared, collection, filter, path).await
    }

    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        let collection = collection.clone();
        self.finish(move |shared| async move {
            let _order = shared.order.clone().write_owned().await;
            indexes::drop_collection(&shared, &collection).await
        })
        .await
    }

    async fn resolve(
        &self,
        id: Version,
        witness: Option<(&CollectionName, &Key)>,
    ) -> Result<Outcome> {
        if self.shared.transactions {
            let _pass = self.shared.life.enter()?;
            self.shared.life.settle(self.shared.options.timeout).await;
            let _turn = self.shared.turn().await?;
            return log::resolve(&self.shared, id).await;
        }
        let Some((collection, key)) = witness else {
            self.shared.open()?;
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

    async fn watch(
        &self,
        collection: Option<&CollectionName>,
        from: WatchFrom,
    ) -> Result<ChangeStream> {
        self.shared.open()?;
        let (shared, collection) = (&self.shared, collection.cloned());
        match shared.telling {
            Telling::Stream => watch::watch(shared, collection, from).await,
            Telling::Numbers => poll::watch(shared, collection, from).await,
            Telling::Nothing => Err(Error::unsupported(
                "this store tells no changes: that takes transactions, and change streams or a store that was \
                 made where there are none; scan again from time to time",
            )),
        }
    }

    async fn health(&self) -> Result<()> {
        let _pass = self.shared.life.enter()?;
        let _turn = self.shared.turn().await?;
        let ping = self
            .shared
            .database
            .run_command(mongodb::bson::doc! { "ping": 1 });
        self.shared.read(ping).await.map(drop)
    }

    async fn close(&self) -> Result<()> {
        let first = !self.shared.life.is_closed();
        self.shared.life.close().await;
        if self.shared.owned && first {
            self.shared.client.clone().shutdown().immediate(true).await;
            if let Some(client) = self.shared.watchers.get() {
                client.clone().shutdown().immediate(true).await;
            }
        }
        Ok(())
    }
}
