//! The conformance suite on PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test without a harness")]

use std::process::ExitCode;

use holdall_backends::postgres::{PostgresBackend, PostgresOptions};
use holdall_core::Env;
use holdall_core::conformance::{Options, Target, cases, main_with};
use holdall_testing::services;

/// Makes an empty schema, and answers the URL of the store in it.
fn fresh(url: &str) -> String {
    let name = format!("holdall_{}", Env::system().version()).replace('-', "");
    let (url, create) = (url.to_owned(), format!("CREATE SCHEMA {name}"));
    let at = url.clone();
    // The runtime of the suite is not there yet.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(&at, tokio_postgres::NoTls)
                .await
                .unwrap();
            tokio::spawn(connection);
            client.batch_execute(&create).await.unwrap();
        });
    })
    .join()
    .unwrap();
    format!("{url}?schema={name}")
}

/// The options of a URL that may name a schema.
fn options(url: &str) -> PostgresOptions {
    let (url, schema) = url.split_once("?schema=").unwrap_or((url, ""));
    let mut options = PostgresOptions::new(url);
    options.schema = Some(schema.to_owned()).filter(|schema| !schema.is_empty());
    options
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
fn main() -> ExitCode {
    let Some(server) = services::need("postgres") else {
        return ExitCode::SUCCESS;
    };
    let store = fresh(&server);
    let target = Target::new(&store, |url| async move {
        Ok(PostgresBackend::open(options(&url)).await?.into())
    })
    .reopens()
    .with_env(move |env| {
        let mut options = options(&fresh(&server));
        options.server.env = env;
        async { Ok(PostgresBackend::open(options).await?.into()) }
    });
    match Options::from_settings(|name| std::env::var(name).ok()) {
        Ok(options) => main_with(target, cases(), options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
