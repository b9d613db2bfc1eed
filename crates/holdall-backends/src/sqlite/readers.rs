//! A pool of connections that read.

use std::sync::Arc;
use std::time::Duration;

use holdall_core::{Error, Result};
use parking_lot::Mutex;
use rusqlite::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::ReadConnection;
use super::error::{failed, is_interrupt};
use super::options::SqliteOptions;

/// How long a read may take on the caller's thread.
const SHORT: Duration = Duration::from_millis(1);

/// Connections that read, each used by one read at a time.
///
/// A read starts on the thread of its caller, because going to another takes
/// longer than most reads do. One that is not done within a millisecond is
/// interrupted, and starts again on a thread for blocking work.
#[derive(Clone, Debug)]
pub(super) struct Readers(Arc<Pool>);

#[derive(Debug)]
struct Pool {
    idle: Mutex<Vec<ReadConnection>>,
    permits: Arc<Semaphore>,
    size: u32,
}

impl Readers {
    pub(super) fn open(options: &SqliteOptions) -> Result<Self> {
        let idle = (0..options.readers)
            .map(|_| ReadConnection::open(options))
            .collect::<rusqlite::Result<Vec<_>>>()
            .map_err(failed)?;
        let permits = Arc::new(Semaphore::new(idle.len()));
        Ok(Self(Arc::new(Pool {
            idle: Mutex::new(idle),
            permits,
            size: options.readers,
        })))
    }

    /// Runs a read; may run it twice, so it must only read.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        read: impl Fn(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> Result<T> {
        let reader = self.take().await?;
        match reader.connection().within(SHORT, &read) {
            Err(ReadError::Sqlite(error)) if is_interrupt(&error) => {}
            done => return done.map_err(ReadError::into_error),
        }
        let on_thread = tokio::task::spawn_blocking(move || read(&reader.connection().connection));
        match on_thread.await {
            Ok(done) => done.map_err(ReadError::into_error),
            Err(error) => Err(
                Error::closed("the runtime shut down while a read was under way").because(error),
            ),
        }
    }

    /// Runs a read of one row, where it stands: even looking at the clock would
    /// be felt.
    pub(super) async fn read_row<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, ReadError>,
    ) -> Result<T> {
        let reader = self.take().await?;
        read(&reader.connection().connection).map_err(ReadError::into_error)
    }

    /// Closes all connections, once each is idle.
    pub(super) async fn close(&self) {
        if let Ok(_all) = self.0.permits.acquire_many(self.0.size).await {
            self.0.permits.close();
            self.0.idle.lock().clear();
        }
    }

    async fn take(&self) -> Result<Reader> {
        let closed = || Error::closed("the store was closed; open it again");
        let permit = match self.0.permits.clone().try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => self
                .0
                .permits
                .clone()
                .acquire_owned()
                .await
                .map_err(|_| closed())?,
        };
        let connection = self.0.idle.lock().pop().ok_or_else(closed)?;
        Ok(Reader {
            pool: self.0.clone(),
            connection: Some(connection),
            _permit: permit,
        })
    }
}

/// A connection that goes back to the pool.
struct Reader {
    pool: Arc<Pool>,
    connection: Option<ReadConnection>,
    _permit: OwnedSemaphorePermit,
}

impl Reader {
    #[allow(clippy::expect_used, reason = "taken in `drop` alone")]
    fn connection(&self) -> &ReadConnection {
        self.connection
            .as_ref()
            .expect("a reader has its connection until it is dropped")
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        // Before the permit is given back, as fields are dropped after this.
        if let Some(reader) = self.connection.take() {
            reader.settle();
            self.pool.idle.lock().push(reader);
        }
    }
}

/// A transaction that only reads: all that is read in it is of one time. It ends
/// when it is dropped.
pub(super) struct Snapshot<'a>(&'a Connection);

impl<'a> Snapshot<'a> {
    pub(super) fn begin(connection: &'a Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(Self(connection))
    }
}

impl Drop for Snapshot<'_> {
    fn drop(&mut self) {
        // If it is interrupted, the connection sees to it.
        let _later = self
            .0
            .prepare_cached("ROLLBACK")
            .and_then(|mut end| end.execute([]));
    }
}

/// What a read fails with.
#[derive(Debug)]
pub(super) enum ReadError {
    Sqlite(rusqlite::Error),
    Holdall(Error),
}

impl ReadError {
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Sqlite(error) => failed(error),
            Self::Holdall(error) => error,
        }
    }
}

impl From<rusqlite::Error> for ReadError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<Error> for ReadError {
    fn from(error: Error) -> Self {
        Self::Holdall(error)
    }
}
