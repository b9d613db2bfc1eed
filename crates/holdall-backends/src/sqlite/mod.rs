//! `sqlite:PATH`: the embedded default, one SQLite file.
//!
//! Writes go through one thread that commits in groups; reads have connections
//! of their own and short transactions. Several processes may have the file
//! open. docs/sqlite-format.md describes the file.

mod apply;
mod bodies;
mod catalogue;
mod connection;
mod counts;
mod dialect;
mod error;
mod functions;
mod indexes;
mod log;
mod options;
mod query;
mod readers;
mod rows;
mod schema;
mod sweep;
mod watch;
mod writer;

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use holdall_core::{
    Backend, Batch, BatchLimits, ByteStream, Capabilities, ChangeKind, ChangeStream,
    CollectionName, Conditions, Error, Filter, GetOptions, Group, Index, Item, ItemStream, Key,
    MAX_DOC, MAX_KEY, Outcome, Parts, Path, Query, QuerySupport, Result, Scan, Scope, Snapshot,
    Staged, Version, Watch, WatchFrom, Written,
};
use rusqlite::Connection;

pub use self::options::{SqliteOptions, Synchronous};

use crate::sql::changes::Logged;

use self::apply::Prepared;
use self::catalogue::Catalogue;
use self::error::failed;
use self::readers::{ReadError, Readers, Snapshot as ReadSnapshot};
use self::sweep::Sweep;
use self::watch::Bell;
use self::writer::{Session, Writer};

/// Keeps items in an SQLite file.
pub struct SqliteBackend {
    shared: Arc<Shared>,
}

/// What the backend, its streams and its watchers share.
struct Shared {
    options: SqliteOptions,
    /// Tells cursors of this file from those of another.
    identity: Version,
    catalogue: Arc<Catalogue>,
    readers: Readers,
    writer: Writer,
    bell: Bell,
    names: log::Names,
}

impl SqliteBackend {
    /// Opens a file, or makes it. Proves that it can be written.
    ///
    /// # Errors
    /// `NotFound` if it is not there and not to be made; `Unavailable` if the folder does not exist or the file cannot be
    /// opened; `Denied` if it cannot be written; `Corrupt` if it is damaged,
    /// no SQLite file, or of a newer format; `Invalid` if it belongs to
    /// another program; `Timeout` if another process holds its lock.
    pub async fn open(options: SqliteOptions) -> Result<Self> {
        let shown = options.path.display().to_string();
        let opened = tokio::task::spawn_blocking(move || Self::open_now(options)).await;
        let opened =
            opened.map_err(|error| Error::closed("the runtime shut down").because(error))?;
        opened
            .map_err(|error| error.while_doing(format_args!("cannot open the store at {shown:?}")))
    }

    fn open_now(options: SqliteOptions) -> Result<Self> {
        // Only whether it is there: what opens it says all else.
        if !options.create && !options.path.exists() {
            return Err(Error::not_found(
                "there is no such file. Is the path right? It is made by the first write",
            ));
        }
        let mut connection = connection::open(&options).map_err(failed)?;
        // Before anything that might change a file that is not ours.
        schema::check_owner(&connection)?;
        let wal_pages = connection::for_writing(&mut connection, &options).map_err(failed)?;
        let identity = schema::prepare(&mut connection, &options.env)?;
        sync_folder(&options)?;

        let catalogue = Arc::new(Catalogue::default());
        let readers = Readers::open(&options)?;
        let bell = Bell::new();
        let sweep = Sweep::of(&options);
        let ring = bell.clone();
        let env = options.env.clone();
        let writer = Writer::start(
            connection,
            wal_pages,
            catalogue.clone(),
            env,
            sweep,
            move || ring.ring(),
        )?;
        let names = log::Names::default();
        let shared = Shared {
            options,
            identity,
            catalogue,
            readers,
            writer,
            bell,
            names,
        };
        Ok(Self {
            shared: Arc::new(shared),
        })
    }

    /// How SQLite answers the first page of a query: the lines of its `EXPLAIN
    /// QUERY PLAN`, for people and for tests.
    ///
    /// # Errors
    /// As [`Backend::query`].
    pub async fn explain(&self, collection: &CollectionName, query: Query) -> Result<Vec<String>> {
        query::explain(&self.shared, collection.clone(), query).await
    }

    /// Removes now what nobody needs any more: abandoned and overwritten
    /// bodies whose time is over, and old parts of the log. It happens by
    /// itself from time to time.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn sweep(&self) -> Result<()> {
        let sweep = Sweep::of(&self.shared.options);
        loop {
            let step = move |session: &mut Session| {
                sweep
                    .step(&session.connection, session.env.now())
                    .map_err(failed)
            };
            if !self.submit(step).await? {
                return Ok(());
            }
        }
    }

    async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.shared.writer.submit(0, work).await
    }
}

/// Makes a new file's name survive a loss of power.
fn sync_folder(options: &SqliteOptions) -> Result<()> {
    let folder = options
        .path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let folder = folder.unwrap_or_else(|| std::path::Path::new("."));
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| {
            Error::unavailable("the folder of the file cannot be synced").because(error)
        })
}

fn read_one(
    shared: &Shared,
    connection: &Connection,
    collection: &CollectionName,
    key: &Key,
    options: &GetOptions,
) -> Result<Option<rows::Stored>, ReadError> {
    let Some(table) = shared.catalogue.find(connection, collection)? else {
        return Ok(None);
    };
    let mut statement = connection.prepare_cached(table.get(options.parts))?;
    let mut rows = statement.query([key.as_str()])?;
    let Some(row) = rows.next()? else {
        return Ok(None);
    };
    options.check_version(rows::version(row.get_ref(1)?)?)?;
    Ok(Some(rows::stored_as(
        key.clone(),
        row,
        options.parts,
        options.range,
    )?))
}

fn drop_table(session: &Session, collection: &CollectionName) -> Result<()> {
    let Some(table) = session.table(collection).map_err(failed)? else {
        return Ok(());
    };
    let connection = &session.connection;
    let now = session.env.now();
    indexes::remove_all(connection, &table)?;
    connection
        .execute(
            &format!(
                "UPDATE holdall_bodies SET dropped = ?1 WHERE id IN (SELECT chunks FROM {} WHERE chunks IS NOT NULL)",
                table.quoted
            ),
            [now.as_micros()],
        )
        .map_err(failed)?;
    let removed = connection
        .execute(&format!("DELETE FROM {}", table.quoted), [])
        .map_err(failed)?;
    if removed == 0 {
        return Ok(());
    }
    let change = Logged {
        collection: table.id,
        key: String::new(),
        kind: ChangeKind::Dropped,
        previous: None,
        created: now,
    };
    log::append(connection, session.env.version(), now, &[change])
}

fn filled(connection: &Connection) -> Result<Vec<CollectionName>, ReadError> {
    let _snapshot = ReadSnapshot::begin(connection)?;
    let mut all = connection
        .prepare_cached("SELECT name, table_name FROM holdall_collections ORDER BY name")?;
    let mut rows = all.query([])?;
    let mut names = Vec::new();
    while let Some(row) = rows.next()? {
        let sql = format!(
            "SELECT 1 FROM {} LIMIT 1",
            catalogue::quote(rows::text(row, 1)?)
        );
        if connection.prepare(&sql)?.exists([])? {
            names.push(CollectionName::new(rows::text(row, 0)?)?);
        }
    }
    drop(rows);
    drop(all);
    Ok(names)
}

impl fmt::Debug for SqliteBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteBackend")
            .field("path", &self.shared.options.path)
            .finish_non_exhaustive()
    }
}

impl From<SqliteBackend> for holdall_core::DynBackend {
    fn from(backend: SqliteBackend) -> Self {
        Arc::new(backend)
    }
}

#[async_trait]
impl Backend for SqliteBackend {
    fn capabilities(&self) -> Capabilities {
        Capabilities {
            batch: BatchLimits {
                scope: Scope::Store,
                max_ops: 10_000,
                max_bytes: 32 * 1024 * 1024,
            },
            snapshot: Snapshot::Page,
            conditions: Conditions::Full,
            watch: Watch::Total,
            query: QuerySupport::Native,
            durable: self.shared.options.synchronous == Synchronous::Full,
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
        let read =
            |connection: &Connection| read_one(&self.shared, connection, collection, key, &options);
        let stored = self.shared.readers.read_row(read).await;
        let stored = stored.map_err(|error| error.at(collection, Some(key)))?;
        Ok(stored.map(|stored| stored.into_item(&self.shared)))
    }

    async fn stage(&self, collection: &CollectionName, body: ByteStream) -> Result<Staged> {
        bodies::stage(&self.shared, collection, body).await
    }

    async fn write(&self, mut batch: Batch) -> Result<Written> {
        batch.validate(&self.capabilities())?;
        let id = batch.ensure_id(&self.shared.options.env);
        let bytes = batch.bytes();
        let prepared = Prepared::new(batch, id);
        let work = move |session: &mut Session| apply::apply(session, &prepared);
        self.shared
            .writer
            .submit(bytes, work)
            .await
            .map_err(|error| error.for_batch(id))
    }

    fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream {
        query::scan(self.shared.clone(), collection.clone(), scan)
    }

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        indexes.iter().try_for_each(Index::validate)?;
        let (collection, indexes) = (collection.clone(), indexes.to_vec());
        self.submit(move |session| indexes::define(session, &collection, &indexes))
            .await
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        self.shared.readers.read(filled).await
    }

    async fn get_many(
        &self,
        collection: &CollectionName,
        keys: &[Key],
        parts: Parts,
    ) -> Result<Vec<Option<Item>>> {
        query::get_many(&self.shared, collection, keys, parts).await
    }

    fn query(&self, collection: &CollectionName, query: Query) -> ItemStream {
        query::query(self.shared.clone(), collection.clone(), query)
    }

    async fn count(&self, collection: &CollectionName, filter: &Filter) -> Result<u64> {
        counts::count(&self.shared, collection, filter).await
    }

    async fn count_by(
        &self,
        collection: &CollectionName,
        filter: &Filter,
        path: &Path,
    ) -> Result<Vec<Group>> {
        counts::count_by(&self.shared, collection, filter, path).await
    }

    async fn drop_collection(&self, collection: &CollectionName) -> Result<()> {
        let collection = collection.clone();
        self.submit(move |session| drop_table(session, &collection))
            .await
    }

    async fn resolve(&self, id: Version, _: Option<(&CollectionName, &Key)>) -> Result<Outcome> {
        self.submit(move |session| log::resolve(&session.connection, id, session.env.now()))
            .await
    }

    async fn watch(
        &self,
        collection: Option<&CollectionName>,
        from: WatchFrom,
    ) -> Result<ChangeStream> {
        watch::watch(&self.shared, collection.cloned(), from).await
    }

    async fn health(&self) -> Result<()> {
        self.shared
            .readers
            .read(|connection| Ok(connection.query_row("SELECT 1", [], |_| Ok(()))?))
            .await
    }

    async fn close(&self) -> Result<()> {
        self.shared.writer.close().await;
        self.shared.readers.close().await;
        self.shared.bell.ring();
        Ok(())
    }
}
