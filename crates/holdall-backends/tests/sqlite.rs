//! The conformance suite on SQLite.

#![allow(clippy::unwrap_used, reason = "a test without a harness")]

use std::process::ExitCode;

use holdall_backends::sqlite::{SqliteBackend, SqliteOptions};
use holdall_core::conformance::{Options, Target, cases, main_with};

#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
fn main() -> ExitCode {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("conformance.db");
    let fresh = folder.path().to_owned();
    let target = Target::new(file.to_str().unwrap(), |path| async move {
        Ok(SqliteBackend::open(SqliteOptions::new(path)).await?.into())
    })
    .stands_on(format!("SQLite {}", rusqlite::version()))
    .reopens()
    .with_env(move |env| {
        let path = fresh.join(format!("{}.db", env.version()));
        let options = SqliteOptions {
            env,
            ..SqliteOptions::new(path)
        };
        async { Ok(SqliteBackend::open(options).await?.into()) }
    });
    match Options::from_settings(|name| std::env::var(name).ok()) {
        Ok(options) => main_with(target, cases(), options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
