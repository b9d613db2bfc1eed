//! A MongoDB for tests, each with databases of its own.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a test without a harness")]

use std::process::ExitCode;

use holdall_backends::mongodb::{Client, MongoBackend, MongoOptions, Transactions};
use holdall_core::conformance::{Options, Target, cases, main_with};
use holdall_core::Env;

#[allow(clippy::disallowed_methods, reason = "a test binary has no other settings")]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A name for a database that nobody else has.
pub fn database() -> String {
    format!("holdall_test_{}", Env::system().version().to_string().replace('-', ""))
}

/// The URL of a database.
pub fn url(server: &str, database: &str) -> String {
    match server.split_once('?') {
        Some((hosts, options)) => format!("{}/{database}?{options}", hosts.trim_end_matches('/')),
        None => format!("{}/{database}", server.trim_end_matches('/')),
    }
}

/// Options for a database of this server.
pub fn options(server: &str, database: &str) -> MongoOptions {
    MongoOptions::new(url(server, database))
}

/// Runs the suite.
pub fn conformance(transactions: Transactions) -> ExitCode {
    // What was not run is told there, and fails where it may not be left out.
    let Some(server) = holdall_testing::services::need("mongodb") else {
        return ExitCode::SUCCESS;
    };
    // Another process of the same run is told the URL.
    let base = database();
    let target = Target::new(url(&server, &base), move |url| async move {
        let options = MongoOptions { transactions, ..MongoOptions::new(url) };
        Ok(MongoBackend::open(options).await?.into())
    });
    let (fresh, own) = (server.clone(), base.clone());
    let number = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let target = target.reopens().with_env(move |env| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let options = MongoOptions { env, transactions, ..options(&fresh, &format!("{own}_{number}")) };
        async { Ok(MongoBackend::open(options).await?.into()) }
    });
    let code = match Options::from_settings(setting) {
        Ok(options) => main_with(target, cases(), options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(clear(&server, &base));
    code
}

/// Drops the databases of a run.
pub async fn clear(server: &str, base: &str) {
    let client = Client::with_uri_str(server).await.unwrap();
    for name in client.list_database_names().await.unwrap_or_default() {
        if name.starts_with(base) {
            client.database(&name).drop().await.unwrap();
        }
    }
}
