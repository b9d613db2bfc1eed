//! A backend on a database server that speaks SQL.
//!
//! Every collection has a table that people can read: a row an item, with the
//! doc as JSON. What an index needs stands in a column beside it, filled by
//! Holdall: the sort key of the value at a path, so that order and equality are
//! those of the query language, on every database alike.
//!
//! A batch is one transaction. Rows that are there are locked before conditions
//! are checked, and keys that must be absent are held by rows that are inserted
//! and removed again, so that conditions hold until the commit. The last
//! statement adds the batch to a log, and fails if a table was given another
//! layout meanwhile.

mod apply;
mod bodies;
mod counts;
mod define;
pub(crate) mod driver;
pub(crate) mod layout;
mod log;
mod options;
mod read;
mod rows;
pub(crate) mod spelling;
mod sweep;
mod watch;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use holdall_core::{
    Backend, Batch, BatchLimits, ByteStream, Capabilities, ChangeStream, CollectionName,
    Conditions, DynBackend, Error, Filter, GetOptions, Group, Index, Item, ItemStream, Key,
    MAX_KEY, Outcome, Parts, Path, Query, QuerySupport, Result, Scan, Scope, Snapshot, Staged,
    Version, Watch, WatchFrom, Written,
};

pub use self::options::ServerOptions;

pub(crate) use self::spelling::{COLUMNS, Holding, Spelling, index_columns};

use self::driver::{Answer, Connection, Driver, Failure, Row, Statement, rows};
use self::layout::{Catalogue, Table};
use self::watch::Bell;
use super::{Value, names};

/// The layout of the tables that this code writes, in `holdall_meta`.
const FORMAT: i64 = 1;

/// Keeps items on a database server.
#[allow(private_bounds, reason = "the drivers are this crate's own")]
pub struct SqlBackend<D: Driver> {
    shared: Arc<Shared<D>>,
}

/// What the backend, its streams and its tasks share.
pub(crate) struct Shared<D> {
    driver: D,
    options: ServerOptions,
    durable: bool,
    /// Tells cursors of this store from those of another.
    identity: Version,
    catalogue: Catalogue,
    bell: Bell,
    closed: AtomicBool,
}

#[allow(private_bounds, reason = "the drivers are this crate's own")]
impl<D: Driver> SqlBackend<D> {
    /// Makes the tables that are not there, and proves that they can be written.
    pub(crate) async fn start(driver: D, options: ServerOptions, durable: bool) -> Result<Self> {
        let identity = prepare(&driver, &options).await?;
        let shared = Arc::new(Shared {
            driver,
            durable,
            identity,
            catalogue: Catalogue::default(),
            bell: Bell::default(),
            closed: AtomicBool::new(false),
            options,
        });
        sweep::start(&shared);
        Ok(Self { shared })
    }

    /// Removes now what nobody needs any more: abandoned and overwritten bodies
    /// whose time is over, and the log of batches that are older than a day. It
    /// happens by itself from time to time.
    ///
    /// # Errors
    /// Those of writing.
    pub async fn sweep(&self) -> Result<()> {
        self.shared.connect().await?;
        while sweep::step(&self.shared).await? {}
        Ok(())
    }
}

/// Makes Holdall's own tables, and answers the identity of the store.
async fn prepare<D: Driver>(driver: &D, options: &ServerOptions) -> Result<Version> {
    let mut connection = driver.connect().await?;
    let spelling = driver.spelling();
    let begin = vec![
        Statement::begin(),
        spelling.lock_schema(),
        spelling.exists("holdall_meta"),
    ];
    let answers = connection.run(begin).await.map_err(Failure::into_error)?;
    if answers.last().is_none_or(|found| found.rows.is_empty()) {
        if !options.create {
            connection.roll_back().await;
            return Err(Error::not_found(
                "Holdall has no tables there. Are database and schema right? They are made by the first write",
            ));
        }
        // Who may not make tables can still use those that are there.
        connection
            .run(spelling.schema())
            .await
            .map_err(Failure::into_error)?;
    }
    let meta = spelling.table("holdall_meta");
    let read = format!("SELECT name, number, version FROM {meta} WHERE name IN (?, ?)");
    let text = |name: &str| Value::Text(name.to_owned());
    let read = Statement::new(read, [text("format"), text("identity")]);
    let (mut format, mut identity) = (None, None);
    for row in rows(&mut connection, read)
        .await
        .map_err(Failure::into_error)?
    {
        match row.as_slice() {
            [Value::Text(name), Value::Int(number), _] if name == "format" => {
                format = Some(*number);
            }
            [Value::Text(_), _, Value::Version(version)] => identity = Some(*version),
            _ => {}
        }
    }
    if let Some(found) = format.filter(|found| *found != FORMAT) {
        connection.roll_back().await;
        return Err(Error::corrupt(format!(
            "the tables have format {found}, and this version of Holdall reads {FORMAT}. Use a \
             newer version; nothing was changed"
        )));
    }
    let mut statements = Vec::new();
    let insert = format!("INSERT INTO {meta} (name, number, version) VALUES (?, ?, ?)");
    if format.is_none() {
        let values = [text("format"), Value::Int(FORMAT), Value::Null];
        statements.push(Statement::new(insert.clone(), values));
        for name in ["numbered", "trimmed", "opened"] {
            let values = [text(name), Value::Int(0), Value::Null];
            statements.push(Statement::new(insert.clone(), values));
        }
    }
    let identity = identity.unwrap_or_else(|| {
        let made = options.env.version();
        let values = [text("identity"), Value::Null, Value::Version(made)];
        statements.push(Statement::new(insert, values));
        made
    });
    // A write that really happens, so that a store that cannot be written shows.
    let update = format!("UPDATE {meta} SET number = ? WHERE name = 'opened'");
    let now = Value::Int(options.env.now().as_micros());
    statements.extend([Statement::new(update, [now]), Statement::commit()]);
    connection
        .run(statements)
        .await
        .map_err(Failure::into_error)?;
    Ok(identity)
}

impl<D: Driver> Shared<D> {
    async fn connect(&self) -> Result<D::Connection> {
        if self.closed.load(Ordering::Acquire) {
            return Err(Error::closed(
                "the store was closed; open it again to use it",
            ));
        }
        self.driver.connect().await
    }

    fn spelling(&self) -> &dyn Spelling {
        self.driver.spelling()
    }

    /// The name of one of Holdall's own tables, ready for SQL.
    fn own(&self, name: &str) -> String {
        self.spelling().table(name)
    }

    /// The table of a collection as it was a moment ago, for readers.
    async fn table(
        &self,
        connection: &mut D::Connection,
        collection: &CollectionName,
    ) -> Result<Option<Arc<Table>>, Failure> {
        if let Some(table) = self.catalogue.fresh(collection) {
            return Ok(Some(table));
        }
        self.look_up(connection, collection).await
    }

    /// The table of a collection, as the server has it now.
    async fn look_up(
        &self,
        connection: &mut D::Connection,
        collection: &CollectionName,
    ) -> Result<Option<Arc<Table>>, Failure> {
        let found = rows(connection, self.find_table(collection, "")).await?;
        let Some(row) = found.first() else {
            return Ok(None);
        };
        let table = Table::read(row, |name| self.own(name))?;
        Ok(Some(self.catalogue.learn(collection, table)))
    }

    fn find_table(&self, collection: &CollectionName, lock: &str) -> Statement {
        let sql = format!(
            "SELECT id, table_name, generation, layout FROM {} WHERE name = ?{lock}",
            self.own("holdall_collections")
        );
        Statement::new(sql, [Value::Text(collection.as_str().to_owned())])
    }

    /// The table of a collection, for writers; made if it is not there.
    async fn ensure_table(
        &self,
        connection: &mut D::Connection,
        collection: &CollectionName,
    ) -> Result<Arc<Table>, Failure> {
        if let Some(table) = self.catalogue.known(collection) {
            return Ok(table);
        }
        if let Some(table) = self.look_up(connection, collection).await? {
            return Ok(table);
        }
        let spelling = self.spelling();
        connection
            .run(vec![Statement::begin(), spelling.lock_schema()])
            .await?;
        if let Some(row) = rows(connection, self.find_table(collection, ""))
            .await?
            .first()
        {
            let table = Table::read(row, |name| self.own(name))?;
            connection.roll_back().await;
            return Ok(self.catalogue.learn(collection, table));
        }
        let name = self.new_table(connection, collection).await?;
        let insert = format!(
            "INSERT INTO {} (name, table_name, generation, layout) VALUES (?, ?, 0, ?)",
            self.own("holdall_collections")
        );
        let values = [
            Value::Text(collection.as_str().to_owned()),
            Value::Text(name),
            Value::Text(layout::Layout::default().text()),
        ];
        let insert = Statement::once(insert, values);
        connection.run(vec![insert, Statement::commit()]).await?;
        let made = self.look_up(connection, collection).await?;
        made.ok_or_else(|| Error::other("a table that was made is not there").into())
    }

    /// Makes a table for a collection, under a name that is free; answers the
    /// name. The schema is locked.
    async fn new_table(
        &self,
        connection: &mut D::Connection,
        collection: &CollectionName,
    ) -> Result<String, Failure> {
        let spelling = self.spelling();
        let base = names::base(collection, D::RESERVED);
        let mut name = base.clone();
        let mut number = 2;
        while !rows(connection, spelling.is_taken(&name)).await?.is_empty() {
            name = format!("{base}_{number}");
            number += 1;
        }
        connection.run(spelling.create_table(&name)).await?;
        Ok(name)
    }

    /// Runs statements that only read one table; `None` if there is no such
    /// table. They are made again if its layout changed meanwhile.
    async fn read(
        &self,
        collection: &CollectionName,
        statements: impl Fn(&Table) -> Result<Vec<Statement>> + Send + Sync,
    ) -> Result<Option<(Arc<Table>, Vec<Answer>)>> {
        const ATTEMPTS: usize = 5;
        let mut connection = self.connect().await?;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let found = match self.table(&mut connection, collection).await {
                Ok(Some(table)) => table,
                Ok(None) => return Ok(None),
                Err(failure) => return Err(failure.into_error()),
            };
            match connection.run(statements(&found)?).await {
                Ok(answers) => return Ok(Some((found, answers))),
                Err(Failure::Outdated(_)) if attempt < ATTEMPTS => {
                    self.catalogue.forget(collection);
                }
                // One of those that broke while they were idle.
                Err(Failure::Broken(_)) if attempt < ATTEMPTS => {
                    connection = self.connect().await?;
                }
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }
}

impl<D: Driver> fmt::Debug for SqlBackend<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqlBackend")
            .field("driver", &self.shared.driver)
            .finish_non_exhaustive()
    }
}

impl<D: Driver> From<SqlBackend<D>> for DynBackend {
    fn from(backend: SqlBackend<D>) -> Self {
        Arc::new(backend)
    }
}

#[async_trait]
impl<D: Driver> Backend for SqlBackend<D> {
    fn capabilities(&self) -> Capabilities {
        let limits = self.shared.driver.limits();
        Capabilities {
            batch: BatchLimits {
                scope: Scope::Store,
                max_ops: limits.max_ops,
                max_bytes: limits.max_bytes,
            },
            snapshot: Snapshot::Page,
            conditions: Conditions::Full,
            watch: Watch::Total,
            query: QuerySupport::Native,
            durable: self.shared.durable,
            shared: true,
            max_key: MAX_KEY,
            max_doc: limits.max_doc,
            max_body: bodies::MAX_BODY,
        }
    }

    async fn get(
        &self,
        collection: &CollectionName,
        key: &Key,
        options: GetOptions,
    ) -> Result<Option<Item>> {
        read::get(&self.shared, collection, key, &options)
            .await
            .map_err(|error| error.at(collection, Some(key)))
    }

    async fn stage(&self, collection: &CollectionName, body: ByteStream) -> Result<Staged> {
        bodies::stage(&self.shared, collection, body).await
    }

    async fn write(&self, mut batch: Batch) -> Result<Written> {
        batch.validate(&self.capabilities())?;
        let id = batch.ensure_id(&self.shared.options.env);
        write::write(&self.shared, batch, id)
            .await
            .map_err(|error| error.for_batch(id))
    }

    fn scan(&self, collection: &CollectionName, scan: Scan) -> ItemStream {
        read::scan(self.shared.clone(), collection.clone(), scan, None)
    }

    async fn define(&self, collection: &CollectionName, indexes: &[Index]) -> Result<()> {
        indexes.iter().try_for_each(Index::validate)?;
        define::define(&self.shared, collection, indexes).await
    }

    async fn collections(&self) -> Result<Vec<CollectionName>> {
        read::collections(&self.shared).await
    }

    async fn get_many(
        &self,
        collection: &CollectionName,
        keys: &[Key],
        parts: Parts,
    ) -> Result<Vec<Option<Item>>> {
        read::get_many(&self.shared, collection, keys, parts).await
    }

    fn query(&self, collection: &CollectionName, query: Query) -> ItemStream {
        read::query(self.shared.clone(), collection.clone(), query)
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
        define::drop_collection(&self.shared, collection).await
    }

    async fn resolve(&self, id: Version, _: Option<(&CollectionName, &Key)>) -> Result<Outcome> {
        log::resolve(&self.shared, id).await
    }

    async fn watch(
        &self,
        collection: Option<&CollectionName>,
        from: WatchFrom,
    ) -> Result<ChangeStream> {
        watch::watch(&self.shared, collection.cloned(), from).await
    }

    async fn health(&self) -> Result<()> {
        let mut connection = self.shared.connect().await?;
        rows(&mut connection, Statement::new("SELECT 1", []))
            .await
            .map(drop)
            .map_err(Failure::into_error)
    }

    async fn close(&self) -> Result<()> {
        self.shared.closed.store(true, Ordering::Release);
        self.shared.bell.ring();
        self.shared.driver.close();
        Ok(())
    }
}

/// The error of a row that is not as Holdall writes it.
fn damaged(_: &Row) -> Error {
    Error::corrupt(
        "a stored row does not have the shape that Holdall writes; was it changed by another program?",
    )
}
