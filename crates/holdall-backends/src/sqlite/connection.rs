//! Opens connections to the file.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::Wal;
use rusqlite::{Connection, OpenFlags, Result};

use super::functions;
use super::options::{SqliteOptions, Synchronous};

/// Pages of the writer that may be changed before some go into the WAL in the
/// middle of a transaction (24 MiB), to be written again at its end. A group fits.
const SPILL_PAGES: u32 = 6144;

/// A WAL that grew larger than this is cut after a checkpoint.
const WAL_BYTES: u32 = 64 * 1024 * 1024;

/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 256;

/// Opens a connection, without touching the file.
pub(super) fn open(options: &SqliteOptions) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE
        | OpenFlags::SQLITE_OPEN_CREATE
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_EXRESCODE;
    let connection = Connection::open_with_flags(&options.path, flags)?;
    connection.busy_timeout(options.busy_timeout)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    // Nothing in a file from elsewhere gets to run or to change the schema.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Plans do not depend on bound values. Else, as SQLite is built with STAT4,
    // every cached statement would be planned again at every use.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    functions::register(&connection)?;
    Ok(connection)
}

/// Prepares a connection to write. Answers a counter that shows, after each
/// commit, the pages of the WAL: who writes folds it in.
pub(super) fn for_writing(
    connection: &mut Connection,
    options: &SqliteOptions,
) -> Result<Arc<AtomicI32>> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    let synchronous = match options.synchronous {
        Synchronous::Full => "full",
        Synchronous::Normal => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
    connection.pragma_update(None, "cache_spill", SPILL_PAGES)?;
    let wal_pages = Arc::new(AtomicI32::new(0));
    let counter = wal_pages.clone();
    // Takes the place of SQLite's own hook, which would fold the WAL in before
    // a commit is answered.
    let count = move |_: &mut Wal, pages| {
        counter.store(pages, Ordering::Relaxed);
        Ok(())
    };
    connection.wal_hook(Some(count))?;
    Ok(wal_pages)
}

/// A connection that reads, and can be told to give up after a while.
#[derive(Debug)]
pub(super) struct ReadConnection {
    pub(super) connection: Connection,
    start: Instant,
    /// Nanoseconds after `start`; 0 for no limit.
    deadline: Arc<AtomicU64>,
}

/// Steps of SQLite's machine between two looks at the clock.
const STEPS: i32 = 200;

impl ReadConnection {
    pub(super) fn open(options: &SqliteOptions) -> Result<Self> {
        let mut connection = open(options)?;
        connection.pragma_update(None, "query_only", true)?;
        let start = Instant::now();
        let deadline = Arc::new(AtomicU64::new(0));
        let shared = deadline.clone();
        let late = move || {
            let deadline = shared.load(Ordering::Relaxed);
            deadline != 0 && nanos(start) > deadline
        };
        connection.progress_handler(STEPS, Some(late))?;
        Ok(Self {
            connection,
            start,
            deadline,
        })
    }

    /// Runs a read that is interrupted if it takes longer.
    pub(super) fn within<T>(&self, time: Duration, read: impl FnOnce(&Connection) -> T) -> T {
        let most = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.deadline
            .store(nanos(self.start).saturating_add(most), Ordering::Relaxed);
        let result = read(&self.connection);
        self.deadline.store(0, Ordering::Relaxed);
        self.settle();
        result
    }

    /// Ends a transaction that is still open: its end may have been interrupted
    /// too.
    pub(super) fn settle(&self) {
        if !self.connection.is_autocommit() {
            // A connection that cannot even do this fails the next read.
            let _failed = self.connection.execute_batch("ROLLBACK");
        }
    }
}

fn nanos(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
