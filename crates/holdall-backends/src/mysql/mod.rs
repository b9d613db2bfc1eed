//! `mysql://HOST/DATABASE`: items in MySQL or MariaDB, a table a collection.
//!
//! docs/mysql.md describes the tables.

mod driver;
mod error;
mod options;
mod spelling;
mod values;

use holdall_core::Result;

pub use self::driver::Mysql;
pub use self::options::MysqlOptions;

pub use crate::sql::server::{ServerOptions, SqlBackend};

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
}
