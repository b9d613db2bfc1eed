//! `http:` and `https:`: a store that a Holdall server offers.
//!
//! All of the contract goes over the wire: what a server's store can do, its
//! client can. docs/http.md tells the protocol.
//!
//! - A write whose answer is lost is resolved: it is answered as what became of
//!   it, and only if nobody can say is its outcome unknown.
//! - A read is whole, or an error: lengths, digests and last lines are checked.
//! - An item is absent only if the server says so of this very item.
//! - Large bodies and watches go on by themselves when a connection breaks off.
//!
//! ```
//! use holdall_backends::http::{HttpBackend, HttpOptions};
//! use holdall_core::{Backend, BackendExt, Condition, MemoryBackend, Put};
//! # use holdall_server::{App, Server, ServerOptions, app};
//! # let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
//! # runtime.block_on(async {
//! # let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await?;
//! # let url = server.url();
//! # tokio::spawn(server.serve(app(App::new(MemoryBackend::new())), std::future::pending()));
//! // As `holdall serve` says it: http://127.0.0.1:4520
//! let store = HttpBackend::open(HttpOptions::new(url)).await?;
//! let (notes, key) = ("notes".parse()?, "hello".parse()?);
//! let entry = store.put(&notes, &key, Condition::Absent, Put::bytes("hi")).await?;
//! assert_eq!(store.head(&notes, &key).await?, Some(entry));
//! store.close().await?;
//! # Ok::<(), holdall_core::Error>(())
//! # }).unwrap();
//! ```

mod address;
mod body;
mod connect;
mod failure;
mod item;
mod measure;
mod options;
mod pages;
mod transport;
mod upload;
mod watch;
mod write;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use holdall_core::{
    Backend, Batch, ByteStream, Capabilities, ChangeStream, CollectionName, Env, Error, ErrorKind,
    Filter, GetOptions, Group, Index, Item, ItemStream, Key, Outcome, Parts, Path, Query, Result,
    Retry, Scan, Snapshot, Staged, Version, Watch, WatchFrom, Written,
};
use holdall_wire::{CapabilitiesShape, Count, Counts};

pub use self::options::HttpOptions;

use self::failure::garbled;
use self::item::Place;
use self::transport::{Call, MAX_JSON, Transport};
use crate::gate::Gate;

/// The collections that have items.
#[derive(serde::Deserialize)]
struct Collections {
    collections: Vec<String>,
}

/// Keeps items in the store of a Holdall server.
pub struct HttpBackend {
    shared: Arc<Shared>,
}

/// What the backend, its streams and its watchers share.
struct Shared {
    transport: Transport,
    capabilities: Capabilities,
    /// The most items of a page.
    max_page: u64,
    env: Env,
    gate: Arc<Gate>,
}

impl HttpBackend {
    /// Reaches a server, and asks what its store can do: that shows whether it
    /// is a Holdall server, and whether the token is good.
    ///
    /// # Errors
    /// `Invalid`, naming the option and the rule; `Unavailable` or `Timeout` if
    /// the server cannot be reached, or is none of Holdall's; `Denied` if it
    /// does not let in; `Unsupported` if it speaks a newer protocol.
    pub async fn open(options: HttpOptions) -> Result<Self> {
        let env = options.env.clone();
        // It reads files.
        let transport = tokio::task::spawn_blocking(move || Transport::new(&options)).await;
        let transport =
            transport.map_err(|error| Error::closed("the runtime shut down").because(error))??;
        let shape = greet(&transport).await?;
        let mut capabilities = shape.read()?;
        // A stream is several pages, of a time each.
        capabilities.snapshot = capabilities.snapshot.min(Snapshot::Page);
        let shared = Shared {
            transport,
            capabilities,
            max_page: shape.max_page.max(1),
            env,
            gate: Gate::new(),
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }
}

/// Asks a server what it can do.
async fn greet(transport: &Transport) -> Result<CapabilitiesShape> {
    let address = &transport.address;
    let (_, text) = transport
        .ask(&Call::get("/v1/capabilities"), 64 * 1024)
        .await
        .map_err(|error| match error.kind() {
            // Of a Holdall server, which does not know the call.
            ErrorKind::NotFound => Error::unsupported(format!(
                "the Holdall server at {address} does not speak version 1 of the protocol; use a client that is as new as it"
            )),
            ErrorKind::Denied => error.while_doing(format_args!(
                "the Holdall server at {address} does not let in; a token is given by the option token or token_file"
            )),
            _ => error,
        })?;
    let shape = serde_json::from_slice::<CapabilitiesShape>(&text).ok();
    shape.filter(|shape| shape.server == "holdall").ok_or_else(|| {
        Error::unavailable(format!(
            "what answers at {address} is no Holdall server, or one of another version; are host, port and path right?"
        ))
        .with_retry(Retry::No)
    })
}

impl Shared {
    /// A call of the API that may go on elsewhere when its caller goes away.
    async fn finish<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        self.gate.finish(self.transport.timeout, work).await
    }

    async fn count(&self, collection: &CollectionName, count: &Count) -> Result<Counts> {
        let _pass = self.gate.enter()?;
        let call = Call::post("/v1/count")
            .with("collection", collection.as_str())
            .json(count)?;
        self.transport.ask_json(&call).await
    }
}

impl fmt::Debug for HttpBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpBackend")
            .field("server", &self.shared.transport.address.to_string())
            .finish_non_exhaustive()
    }
}

impl From<HttpBackend> for holdall_core::DynBackend {
    fn from(backend: HttpBackend) -> Self {
        Arc::new(backend)
    }
}

#[async_trait]
impl Backend for HttpBackend {
    fn capabilities(&self) -> Capabilities {
        self.shared.capabilities
    }

    async fn get(
        &self,
        collection: &CollectionName,
        key: &Key,
        options: GetOptions,
    ) -> Result<Option<Item>> {
        let _pass = self.shared.gate.enter()?;
        item::get(&self.shared, &Place::new(collection, key), options)
            .await
            .map_err(|error| error.at(collection, Some(key)))
    }

    async fn stage(&self, collection: &CollectionName, body: ByteStream) -> Result<Staged> {
        let _pass = self.shared.gate.enter()?;
        write::stage(&self.shared, collection, body)
            .await
            .map_err(|error| error.at(collection, None))
    }

    async fn write(&self, batch: Batch) -> Result<Written> {
        batch.validate(&self.shared.capabilities)?;
        let shared = self.shared.clone();
        let work = async move { write::write(&shared, batch).await };
        self.shared.finish(work).await
    }

    fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream {
        pages::scan(&self.shared, collection, scan)
    }

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        indexes.iter().try_for_each(Index::validate)?;
        let (collection, indexes) = (collection.clone(), indexes.to_vec());
        let shared = self.shared.clone();
        let work = async move { write::define(&shared, &collection, &indexes).await };
        self.shared.finish(work).await
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        let _pass = self.shared.gate.enter()?;
        let call = Call::get("/v1/collections");
        let answer: Collections = self.shared.transport.ask_json(&call).await?;
        let names = answer.collections.into_iter().map(CollectionName::new);
        names
            .collect::<Result<_>>()
            .map_err(|error| garbled("a collection without a name").because(error))
    }

    async fn get_many(
        &self,
        collection: &CollectionName,
        keys: &[Key],
        parts: Parts,
    ) -> Result<Vec<Option<Item>>> {
        let _pass = self.shared.gate.enter()?;
        pages::get_many(&self.shared, collection, keys, parts).await
    }

    fn query(&self, collection: &CollectionName, query: Query) -> ItemStream {
        pages::query(&self.shared, collection, query)
    }

    async fn count(&self, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        let counts = self
            .shared
            .count(collection, &Count::of(filter, None))
            .await?;
        counts.count.ok_or_else(|| garbled("no count"))
    }

    async fn count_by(
        &self,
        collection: &CollectionName,
        filter: &Filter,
        path: &Path,
    ) -> Result<Vec<Group>> {
        path.check()?;
        let counts = self
            .shared
            .count(collection, &Count::of(filter, Some(path)))
            .await?;
        let groups = counts.groups.ok_or_else(|| garbled("no groups"))?;
        Ok(groups.into_iter().map(Group::from).collect())
    }

    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        let (shared, collection) = (self.shared.clone(), collection.clone());
        let work = async move { write::drop_collection(&shared, &collection).await };
        self.shared.finish(work).await
    }

    async fn resolve(
        &self,
        id: Version,
        witness: Option<(&CollectionName, &Key)>,
    ) -> Result<Outcome> {
        let _pass = self.shared.gate.enter()?;
        self.shared.gate.settle(self.shared.transport.timeout).await;
        let witness = witness.map(|(collection, key)| (collection.clone(), key.clone()));
        write::resolve(&self.shared, id, witness).await
    }

    async fn watch(
        &self,
        collection: Option<&CollectionName>,
        from: WatchFrom,
    ) -> Result<ChangeStream> {
        let _pass = self.shared.gate.enter()?;
        if self.shared.capabilities.watch == Watch::None {
            return Err(Error::unsupported(
                "the server's store tells no changes; scan again from time to time",
            ));
        }
        watch::watch(&self.shared, collection, from).await
    }

    async fn health(&self) -> Result<()> {
        let _pass = self.shared.gate.enter()?;
        self.shared
            .transport
            .ask(&Call::get("/ready"), MAX_JSON)
            .await
            .map(drop)
    }

    /// Waits for the calls that are under way, and for writes whose callers
    /// went away. Bodies that are on their way in, and streams, end with
    /// `Closed`. The store itself goes on.
    async fn close(&self) -> Result<()> {
        self.shared.gate.close().await;
        self.shared.transport.close();
        Ok(())
    }
}
