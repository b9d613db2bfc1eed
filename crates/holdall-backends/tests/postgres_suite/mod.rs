//! What the tests on PostgreSQL share.

#![allow(
    dead_code,
    clippy::unwrap_used,
    reason = "each test uses some of it, and fails by panicking"
)]

use std::process::ExitCode;

use holdall_backends::postgres::{PostgresBackend, PostgresOptions};
use holdall_core::Env;
use holdall_core::conformance::{Options, Target, cases, main_with};
use holdall_testing::services;

/// A connection beside Holdall's.
pub(crate) async fn client(url: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(url, tokio_postgres::NoTls)
        .await
        .unwrap();
    tokio::spawn(connection);
    client
}

/// Makes an empty schema, and answers its name.
pub(crate) async fn schema(url: &str) -> String {
    let name = format!("holdall_{}", Env::system().version()).replace('-', "");
    let create = format!("CREATE SCHEMA {name}");
    client(url).await.batch_execute(&create).await.unwrap();
    name
}

/// The options of a store in an empty schema.
pub(crate) async fn fresh(url: &str) -> PostgresOptions {
    let mut options = PostgresOptions::new(url);
    options.schema = Some(schema(url).await);
    options
}

/// The suite on a server that is reached over `name`, with these options beside.
pub(crate) fn main(name: &str, set: fn(&mut PostgresOptions)) -> ExitCode {
    let (Some(server), Some(direct)) = (services::need(name), services::need("postgres")) else {
        return ExitCode::SUCCESS;
    };
    // The suite has a runtime of its own, later.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let store = runtime.block_on(schema(&direct));
    drop(runtime);
    let options = move |url: &str, schema: &str| {
        let mut options = PostgresOptions::new(url);
        options.schema = Some(schema.to_owned());
        set(&mut options);
        options
    };
    let at = server.clone();
    let target = Target::new(&store, move |schema| {
        let options = options(&at, &schema);
        async move { Ok(PostgresBackend::open(options).await?.into()) }
    })
    .stands_on(services::version(name))
    .reopens()
    .with_env(move |env| {
        let (server, direct) = (server.clone(), direct.clone());
        async move {
            let mut options = options(&server, &schema(&direct).await);
            options.server.env = env;
            Ok(PostgresBackend::open(options).await?.into())
        }
    });
    #[allow(
        clippy::disallowed_methods,
        reason = "a test binary has no other settings"
    )]
    match Options::from_settings(|name| std::env::var(name).ok()) {
        Ok(options) => main_with(target, cases(), options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
