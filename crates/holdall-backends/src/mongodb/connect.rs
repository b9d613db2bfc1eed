//! Opens a store: reaches the deployment, looks what it can do, and makes what
//! every store has.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use futures_util::{FutureExt, TryFutureExt};
use holdall_core::{Env, Error, Result, Retry, Version};
use mongodb::bson::{Binary, Bson, Document, doc, spec::BinarySubtype};
use mongodb::options::{
    Acknowledgment, ClientOptions, DatabaseOptions, IndexOptions, ReadConcern, SelectionCriteria,
    WriteConcern,
};
use mongodb::{Client, Database, IndexModel};

use super::error::{DUPLICATE, Failure, code, failed};
use super::names::{BATCHES, CHUNKS, COUNTER, FILES, META};
use super::options::{MongoOptions, Transactions};
use super::{Shared, Telling, value};
use crate::files::password;

/// The format of what lies in the database.
const FORMAT: i32 = 1;

/// The wire version of MongoDB 5.0, the first that reads a snapshot outside of a transaction.
const OLDEST: i32 = 13;

/// The database, if the URL names none.
const DATABASE: &str = "holdall";

/// How many connections of a pool may wait for a first answer that does not come.
const SPARE: u32 = 1000;

/// Makes a client from options. Nothing is reached yet.
pub(super) async fn client(options: &MongoOptions) -> Result<(Client, String)> {
    if options.url.starts_with("mongodb+srv:") {
        return Err(Error::unsupported(
            "URLs of mongodb+srv: need DNS records that this build does not look up; \
             write mongodb:// and the hosts, and tls=true if they want it",
        ));
    }
    // The driver's own words may quote the URL, and so a password.
    let mut parsed = ClientOptions::parse(options.driver_url()).await.map_err(|error| {
        failed(error).while_doing("the URL is not valid").with_retry(Retry::No).because(
            "write it like mongodb://USER:PASSWORD@HOST:27017/DATABASE, with %40 for an @ in a password",
        )
    })?;
    let password = password(
        options.password.as_deref(),
        options.password_file.as_deref(),
    )?;
    if options.username.is_some() || password.is_some() {
        let mut credential = parsed.credential.take().unwrap_or_default();
        credential.username = options.username.clone().or(credential.username);
        credential.password = password.or(credential.password);
        if credential.username.is_none() {
            return Err(Error::invalid(
                "there is a password without a user; name the user too",
            ));
        }
        parsed.credential = Some(credential);
    }
    let database = parsed
        .default_database
        .clone()
        .unwrap_or_else(|| DATABASE.to_owned());
    parsed.app_name.get_or_insert_with(|| "holdall".to_owned());
    parsed.connect_timeout = Some(options.connect_timeout);
    parsed.server_selection_timeout = Some(options.connect_timeout);
    // As many are used as there are turns. But the driver waits without a limit for the
    // first answer on a new connection, two at a time, so two that are never answered
    // would keep all from coming; and each of them is one of the pool's until the system
    // finds it dead.
    parsed.max_pool_size = Some(options.connections.saturating_add(SPARE));
    parsed.max_connecting = parsed.max_pool_size;
    let client = Client::with_options(parsed).map_err(failed)?;
    Ok((client, database))
}

/// The database, with what Holdall asks for of every call.
pub(super) fn database(client: &Client, name: &str, options: &MongoOptions) -> Database {
    let own = DatabaseOptions::builder()
        .read_concern(ReadConcern::majority())
        .write_concern(write_concern(options))
        .selection_criteria(SelectionCriteria::ReadPreference(
            mongodb::options::ReadPreference::Primary,
        ))
        .build();
    client.database_with_options(name, own)
}

/// What a write waits for.
pub(super) fn write_concern(options: &MongoOptions) -> WriteConcern {
    let journal = options.journal.then_some(true);
    WriteConcern::builder()
        .w(Acknowledgment::Majority)
        .journal(journal)
        .build()
}

/// The same for a command that is sent as such, to which the driver adds none.
pub(super) fn command_concern(options: &MongoOptions) -> Document {
    let mut concern = doc! { "w": "majority" };
    if options.journal {
        concern.insert("j", true);
    }
    concern
}

/// What the deployment turned out to be.
pub(super) struct Found {
    pub(super) identity: Version,
    pub(super) transactions: bool,
    pub(super) telling: Telling,
    pub(super) persistent: bool,
}

/// Looks at the deployment, and makes what every store has: so access is proved
/// by a write.
pub(super) async fn probe(shared: &Probe<'_>) -> Result<Found> {
    let hello = shared.command(doc! { "hello": 1 }).await?;
    if hello.get_i32("maxWireVersion").unwrap_or_default() < OLDEST {
        return Err(Error::unsupported(
            "this version of MongoDB is too old for Holdall; it needs 5.0 or later",
        ));
    }
    let able =
        hello.get_str("setName").is_ok() || hello.get_str("msg").is_ok_and(|msg| msg == "isdbgrid");
    let transactions = match (shared.options.transactions, able) {
        (Transactions::Off, _) => false,
        (Transactions::On, false) => {
            return Err(Error::unsupported(
                "this MongoDB is a single server without transactions, and transactions=on asks for them; \
                 run it as a replica set, of one member if need be",
            ));
        }
        (_, able) => able,
    };
    // Who may not ask is taken by the word of the write concern.
    let status = shared
        .command(doc! { "serverStatus": 1 })
        .await
        .unwrap_or_default();
    let engine = status.get_document("storageEngine").ok();
    let persistent = engine
        .and_then(|engine| engine.get_bool("persistent").ok())
        .unwrap_or(true);
    let streams = transactions && shared.options.streams && streams(shared).await?;
    let (identity, numbered) = store(shared, transactions && !streams).await?;
    indexes(shared, numbered).await?;
    Ok(Found {
        identity,
        transactions,
        telling: match transactions {
            true if numbered => Telling::Numbers,
            true if streams => Telling::Stream,
            _ => Telling::Nothing,
        },
        persistent,
    })
}

/// Whether there are change streams. That they are refused says that there are none, and
/// that nobody answers does not: a store would number its batches for ever.
async fn streams(shared: &Probe<'_>) -> Result<bool> {
    let batches = shared.database.collection::<Document>(BATCHES);
    match shared.timed(batches.watch()).await.map_err(failed) {
        Ok(_) => Ok(true),
        Err(error) if error.retry() == Retry::No => Ok(false),
        Err(error) => Err(error),
    }
}

/// The way to a deployment that is being looked at.
pub(super) struct Probe<'a> {
    pub(super) database: &'a Database,
    pub(super) options: &'a MongoOptions,
    pub(super) env: &'a Env,
}

impl Probe<'_> {
    async fn timed<T>(
        &self,
        action: impl IntoFuture<Output = mongodb::error::Result<T>>,
    ) -> Result<T, mongodb::error::Error> {
        match tokio::time::timeout(self.options.timeout, action.into_future()).await {
            Ok(done) => done,
            Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
        }
    }

    async fn command(&self, command: Document) -> Result<Document> {
        self.timed(self.database.run_command(command))
            .await
            .map_err(failed)
    }
}

/// The identity of the store, and whether its batches have numbers, which stands in its own
/// document. The first who opens it makes that, and says which.
async fn store(shared: &Probe<'_>, numbered: bool) -> Result<(Version, bool)> {
    let meta = shared.database.collection::<Document>(META);
    for _ in 0..2 {
        let find = meta.find_one(doc! { "_id": "store" });
        if let Some(store) = shared.timed(find).await.map_err(failed)? {
            // Who may read and not write is refused now, and not at the first write.
            let touch = meta.update_one(
                doc! { "_id": "store" },
                doc! { "$inc": { "opened": 1_i64 } },
            );
            shared.timed(touch).await.map_err(failed)?;
            return Ok((read_identity(&store)?, store.contains_key("numbered")));
        }
        if !shared.options.create {
            return Err(Error::not_found(format!(
                "the database {:?} holds no store. Is the name right? It is made by the first write",
                shared.database.name()
            )));
        }
        let identity = shared.env.version();
        let mut store = doc! { "_id": "store", "format": FORMAT, "identity": binary(identity), "opened": 1_i64 };
        if numbered {
            store.insert("numbered", true);
        }
        match shared.timed(meta.insert_one(store)).await {
            Ok(_) => return Ok((identity, numbered)),
            // Somebody else was first.
            Err(error) if code(&error) == Some(DUPLICATE) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Err(value::foreign("holdall.meta has no document of the store"))
}

fn read_identity(store: &Document) -> Result<Version> {
    let format = store.get_i32("format").unwrap_or_default();
    if format != FORMAT {
        return Err(Error::corrupt(format!(
            "the database holds a store of format {format}, and this version of Holdall reads {FORMAT}"
        )));
    }
    match value::bytes_of(store, "identity") {
        Some(bytes) => Version::from_slice(bytes),
        None => Err(value::foreign("holdall.meta names no identity")),
    }
}

/// The indexes of Holdall's own collections, and the counter of a store with numbers.
async fn indexes(shared: &Probe<'_>, numbered: bool) -> Result<()> {
    let index = |keys: Document, options: IndexOptions| {
        IndexModel::builder().keys(keys).options(options).build()
    };
    let sparse = || IndexOptions::builder().sparse(true).build();
    let unique = IndexOptions::builder().unique(true).build();
    let mut batches = vec![
        index(doc! { "until": 1 }, IndexOptions::default()),
        index(doc! { "aborted": 1 }, sparse()),
    ];
    if numbered {
        batches.push(index(doc! { "number": 1 }, sparse()));
        let counter = shared.database.collection::<Document>(META);
        let none = doc! { "_id": COUNTER, "number": 0_i64 };
        match shared.timed(counter.insert_one(none)).await {
            Err(error) if code(&error) != Some(DUPLICATE) => return Err(failed(error)),
            Ok(_) | Err(_) => {}
        }
    }
    for (collection, indexes) in [
        (BATCHES, batches),
        (
            FILES,
            vec![
                index(doc! { "metadata.expires": 1 }, sparse()),
                index(doc! { "metadata.dropped": 1 }, sparse()),
                index(doc! { "metadata.moving": 1 }, sparse()),
            ],
        ),
        (CHUNKS, vec![index(doc! { "files_id": 1, "n": 1 }, unique)]),
        (super::names::COLLECTIONS, Vec::new()),
    ] {
        let created = shared
            .timed(shared.database.create_collection(collection))
            .await;
        if let Err(error) = created
            && code(&error) != Some(super::error::EXISTS)
        {
            return Err(failed(error));
        }
        if !indexes.is_empty() {
            let handle = shared.database.collection::<Document>(collection);
            shared
                .timed(handle.create_indexes(indexes))
                .await
                .map_err(failed)?;
        }
    }
    Ok(())
}

/// A version, as a UUID.
pub(super) fn binary(version: Version) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Uuid,
        bytes: version.as_bytes().to_vec(),
    })
}

/// Other bytes.
pub(super) fn bytes(bytes: &[u8]) -> Bson {
    Bson::Binary(Binary {
        subtype: BinarySubtype::Generic,
        bytes: bytes.to_vec(),
    })
}

/// How calls reach MongoDB: each within its time.
impl Shared {
    /// One call of the driver.
    pub(super) fn call<'a, T, A>(&'a self, action: A) -> BoxFuture<'a, Result<T, Failure>>
    where
        T: Send + 'a,
        A: IntoFuture<Output = mongodb::error::Result<T>>,
        A::IntoFuture: Send + 'a,
    {
        let limited = tokio::time::timeout(self.options.timeout, action.into_future());
        async move {
            match limited.await {
                Ok(done) => Ok(done?),
                Err(_) => Err(Failure::Error(self.too_slow())),
            }
        }
        .boxed()
    }

    /// A call after which what went wrong is all there is to say.
    pub(super) fn read<'a, T, A>(&'a self, action: A) -> BoxFuture<'a, Result<T>>
    where
        T: Send + 'a,
        A: IntoFuture<Output = mongodb::error::Result<T>>,
        A::IntoFuture: Send + 'a,
    {
        self.call(action).map_err(Failure::into_error).boxed()
    }

    pub(super) fn too_slow(&self) -> Error {
        Error::timeout(format!(
            "MongoDB did not answer within {:?}; try again, or raise `timeout`",
            self.options.timeout
        ))
        .in_backend("mongodb")
    }

    /// A turn on one of the connections.
    ///
    /// Who began before the store was closed goes on to the end.
    pub(super) async fn turn(self: &Arc<Self>) -> Result<tokio::sync::OwnedSemaphorePermit> {
        let waiting = self.slots.clone().acquire_owned();
        match tokio::time::timeout(self.options.timeout, waiting).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) => Err(crate::gate::closed_by_us()),
            Err(_) => Err(Error::unavailable(format!(
                "all {} connections to MongoDB were busy for {:?}; try again, or raise `connections`",
                self.options.connections, self.options.timeout
            ))
            .in_backend("mongodb")),
        }
    }
}
