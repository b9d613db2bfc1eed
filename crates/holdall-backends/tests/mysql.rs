//! The conformance suite on MySQL: on MariaDB, as it is what can be had.

#![allow(clippy::unwrap_used, reason = "a test without a harness")]

use std::process::ExitCode;

use holdall_backends::mysql::{MysqlBackend, MysqlOptions};
use holdall_core::Env;
use holdall_core::conformance::{Options, Target, cases, main_with};
use holdall_testing::services;
use mysql_async::prelude::Queryable;

/// Makes an empty database, and answers the URL of the store in it.
fn fresh(url: &str) -> String {
    let name = format!("holdall_{}", Env::system().version()).replace('-', "");
    let (server, _) = url.rsplit_once('/').unwrap();
    let (at, create) = (url.to_owned(), format!("CREATE DATABASE {name}"));
    // The runtime of the suite is not there yet.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(async {
            let mut conn = mysql_async::Conn::from_url(&at).await.unwrap();
            conn.query_drop(create).await.unwrap();
            conn.disconnect().await.unwrap();
        });
    })
    .join()
    .unwrap();
    format!("{server}/{name}")
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
fn main() -> ExitCode {
    let Some(server) = services::need("mysql") else {
        return ExitCode::SUCCESS;
    };
    let store = fresh(&server);
    let target = Target::new(&store, |url| async move {
        Ok(MysqlBackend::open(MysqlOptions::new(url)).await?.into())
    })
    .stands_on(services::version("mysql"))
    .reopens()
    .with_env(move |env| {
        let mut options = MysqlOptions::new(fresh(&server));
        options.server.env = env;
        async { Ok(MysqlBackend::open(options).await?.into()) }
    });
    match Options::from_settings(|name| std::env::var(name).ok()) {
        Ok(options) => main_with(target, cases(), options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
