//! What is compared.

pub(crate) mod body;
mod database;
mod import;
mod memory;
mod mongodb;
mod mysql;
mod postgres;
mod query;
mod read;
pub(crate) mod server;
pub(crate) mod write;

use crate::Result;
use crate::options::Options;
use crate::report::Report;

pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) what: &'static str,
    pub(crate) run: fn(&Options, &mut Report) -> Result<()>,
}

pub(crate) const ALL: &[Scenario] = &[
    Scenario {
        name: "read",
        what: "SQLite, point reads, warm, one task",
        run: read::run,
    },
    Scenario {
        name: "write",
        what: "SQLite, durable single writes, 64 writers at once",
        run: write::run,
    },
    Scenario {
        name: "import",
        what: "SQLite, records in batches of 1,000",
        run: import::run,
    },
    Scenario {
        name: "query",
        what: "SQLite, an indexed query of 20 rows among many",
        run: query::run,
    },
    Scenario {
        name: "memory",
        what: "memory, point reads beside a DashMap<String, Bytes>",
        run: memory::run,
    },
    Scenario {
        name: "body",
        what: "SQLite, one large body in and out: memory and WAL",
        run: body::run,
    },
    Scenario {
        name: "server",
        what: "a server, the load on the other processor",
        run: server::run,
    },
    Scenario {
        name: "postgres",
        what: "PostgreSQL, reads, queries and batches beside the bare driver",
        run: postgres::run,
    },
    Scenario {
        name: "mysql",
        what: "MariaDB, the same",
        run: mysql::run,
    },
    Scenario {
        name: "mongodb",
        what: "MongoDB, the same",
        run: mongodb::run,
    },
];
