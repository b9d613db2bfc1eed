//! `postgres://HOST/DATABASE`: items in PostgreSQL, a table a collection.
//!
//! docs/postgres.md describes the tables.

mod driver;
mod error;
mod json;
mod options;
mod spelling;
mod values;

use holdall_core::Result;

pub use self::driver::Postgres;
pub use self::options::PostgresOptions;

pub use crate::sql::server::{ServerOptions, SqlBackend};
/// The pools that [`PostgresBackend::from_pool`] takes, and the driver below them.
pub use deadpool_postgres;

/// Keeps items in a PostgreSQL database.
pub type PostgresBackend = SqlBackend<Postgres>;

impl PostgresBackend {
    /// Connects, makes the tables that are not there, and proves that they can
    /// be written.
    ///
    /// # Errors
    /// `Unavailable` if the server cannot be reached; `Denied` if it refuses the
    /// user, or the user may not make tables; `NotFound` if there is no such
    /// database; `Invalid` if the database does not have the encoding UTF8, or
    /// loses what it has written when the power fails and that was not asked for;
    /// `Corrupt` for tables of a newer format.
    pub async fn open(options: PostgresOptions) -> Result<Self> {
        let shown = options.shown();
        let opened = async {
            let server = options.server.clone();
            let (driver, durable) = Postgres::connect(options).await?;
            Self::start(driver, server, durable).await
        };
        opened
            .await
            .map_err(|error| error.while_doing(format_args!("cannot open the store in {shown}")))
    }

    /// The same over a pool of the caller's, which is not closed when the store is
    /// closed. URL, password, files, `connections` and TLS of the options are not
    /// looked at. A pool has no connection to listen on, so watchers hear of what
    /// other processes commit each [`ServerOptions::poll`].
    ///
    /// # Errors
    /// As [`open`](Self::open).
    ///
    /// # Examples
    /// ```no_run
    /// use holdall_backends::postgres::deadpool_postgres::{Manager, Pool};
    /// use holdall_backends::postgres::deadpool_postgres::tokio_postgres::NoTls;
    /// use holdall_backends::postgres::{PostgresBackend, PostgresOptions};
    ///
    /// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
    /// let config = "postgres://app@127.0.0.1/app".parse()?;
    /// let pool = Pool::builder(Manager::new(config, NoTls)).build()?;
    /// let store = PostgresBackend::from_pool(pool, PostgresOptions::new("")).await?;
    /// # Ok(())
    /// # }
    /// ```
    pub async fn from_pool(
        pool: deadpool_postgres::Pool,
        options: PostgresOptions,
    ) -> Result<Self> {
        let opened = async {
            let (driver, durable) =
                Postgres::over(pool, false, None, HANDED_IN.into(), &options).await?;
            Self::start(driver, options.server, durable).await
        };
        opened.await.map_err(|error| {
            error.while_doing("cannot open the store over the pool that was handed in")
        })
    }
}

/// Where a pool leads that was handed in.
const HANDED_IN: &str = "the address of the pool";
