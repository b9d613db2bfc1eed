//! `mysql://HOST/DATABASE`: items in MySQL or MariaDB, a table a collection.
//!
//! docs/mysql.md describes the tables.

mod driver;
mod error;
mod json;
mod options;
mod spelling;
mod values;

use holdall_core::Result;

pub use self::driver::Mysql;
pub use self::options::MysqlOptions;

pub use crate::sql::server::{ServerOptions, SqlBackend};
/// The driver whose pools [`MysqlBackend::from_pool`] takes.
pub use mysql_async;

/// Keeps items in a MySQL or MariaDB database.
pub type MysqlBackend = SqlBackend<Mysql>;

impl MysqlBackend {
    /// Connects, makes the tables that are not there, and proves that they can
    /// be written.
    ///
    /// # Errors
    /// `Unavailable` if the server cannot be reached; `Denied` if it refuses the
    /// user, or the user may not make tables; `NotFound` if there is no such
    /// database; `Unsupported` if the server loses what it has written when the
    /// power fails and that was not asked for, or takes only small packets;
    /// `Corrupt` for tables of a newer format.
    pub async fn open(options: MysqlOptions) -> Result<Self> {
        let shown = options.shown();
        let opened = async {
            let server = options.server.clone();
            let (driver, durable) = Mysql::connect(options).await?;
            Self::start(driver, server, durable).await
        };
        opened
            .await
            .map_err(|error| error.while_doing(format_args!("cannot open the store in {shown}")))
    }

    /// The same over a pool of the caller's, which is not closed when the store is
    /// closed. URL, password, files and socket of the options are not looked at;
    /// `connections` says how many calls are under way at once, and should not be
    /// more than the pool has connections. The pool must be made with
    /// `client_found_rows(true)`, and its database be named. It keeps connections that
    /// nobody uses only if it has a minimum of them, or an `inactive_connection_ttl`.
    ///
    /// Each time a connection is taken, its session is set up, and when it goes back
    /// it is reset, so others who share the pool find it as they expect it.
    ///
    /// # Errors
    /// As [`open`](Self::open); `Invalid` for a pool without `client_found_rows`.
    ///
    /// # Examples
    /// ```no_run
    /// use holdall_backends::mysql::mysql_async::{Opts, OptsBuilder, Pool};
    /// use holdall_backends::mysql::{MysqlBackend, MysqlOptions};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let opts = Opts::from_url("mysql://app@127.0.0.1/app")?;
    /// let pool = Pool::new(OptsBuilder::from_opts(opts).client_found_rows(true));
    /// let store = MysqlBackend::from_pool(pool, MysqlOptions::new("")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn from_pool(pool: mysql_async::Pool, options: MysqlOptions) -> Result<Self> {
        let opened = async {
            let (driver, durable) = Mysql::over(pool, false, HANDED_IN.into(), &options).await?;
            Self::start(driver, options.server, durable).await
        };
        opened.await.map_err(|error| {
            error.while_doing("cannot open the store over the pool that was handed in")
        })
    }
}

/// Where a pool leads that was handed in.
const HANDED_IN: &str = "the address of the pool";
