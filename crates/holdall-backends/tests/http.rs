//! The conformance suite through `http:`, over a server on SQLite.

#![allow(clippy::unwrap_used, reason = "a test without a harness")]

mod serving;

use std::process::ExitCode;

use holdall_backends::sqlite::{SqliteBackend, SqliteOptions};

fn main() -> ExitCode {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    serving::conformance("SQLite", move |env| {
        let path = path.join(format!("{}.db", env.version()));
        let options = SqliteOptions {
            env,
            ..SqliteOptions::new(path)
        };
        async { Ok(SqliteBackend::open(options).await?.into()) }
    })
}
