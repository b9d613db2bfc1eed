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
}
