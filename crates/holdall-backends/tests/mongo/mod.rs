//! A MongoDB for tests, each with databases of its own.

#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a test without a harness")]

pub mod own;

use std::process::ExitCode;

use holdall_backends::mongodb::driver::bson::{Document, doc};
use holdall_backends::mongodb::driver::options::IndexOptions;
use holdall_backends::mongodb::driver::{Client, IndexModel};
use holdall_backends::mongodb::{MongoBackend, MongoOptions, Transactions};
use holdall_core::Env;
use holdall_core::conformance::{Options, Target, cases, main_with, serve};

#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
pub fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

/// A name for a database that nobody else has.
pub fn database() -> String {
    format!(
        "holdall_test_{}",
        Env::system().version().to_string().replace('-', "")
    )
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

/// Runs the suite on stores of some options.
pub fn conformance(set: fn(&mut MongoOptions)) -> ExitCode {
    // What was not run is told there, and fails where it may not be left out.
    let Some(server) = holdall_testing::services::need("mongodb") else {
        return ExitCode::SUCCESS;
    };
    // Another process of the same run is told the URL.
    let base = database();
    let target = Target::new(url(&server, &base), move |url| async move {
        let mut options = MongoOptions::new(url);
        set(&mut options);
        Ok(MongoBackend::open(options).await?.into())
    });
    let (fresh, own) = (server.clone(), base.clone());
    let number = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let target = target.reopens().with_env(move |env| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let mut options = options(&fresh, &format!("{own}_{number}"));
        options.env = env;
        set(&mut options);
        async { Ok(MongoBackend::open(options).await?.into()) }
    });
    // A worker of another process runs no cases.
    if let Some(code) = serve(std::env::args().skip(1), &target) {
        return code;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut cases = cases();
    let mut options = MongoOptions::new("");
    set(&mut options);
    let transactions = options.transactions;
    if transactions == Transactions::On && runtime.block_on(tears_ranges(&server)) {
        let name = "atomic/readers-see-batches-whole";
        not_run(name, "a server that never reads half of a transaction");
        cases.retain(|case| case.name() != name);
    }
    if transactions == Transactions::Off && runtime.block_on(keeps_what_updates_give_up(&server)) {
        for name in ["indexes/freed-values", "differential/with-unique-indexes"] {
            not_run(
                name,
                "a server that frees a unique value that an update gives up",
            );
            cases.retain(|case| case.name() != name);
        }
    }
    let code = match Options::from_settings(setting) {
        Ok(options) => main_with(target, cases, options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    };
    runtime.block_on(clear(&server, &base));
    code
}

/// Has `cargo xtask test` list a case that this server cannot keep.
fn not_run(case: &str, needs: &str) {
    holdall_testing::services::not_run(needs, &format!("so {case} is left out on this one"));
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

/// SecantusDB 0.5.3-beta.196 answers a find by a range of keys, outside of a transaction,
/// with a part of what a transaction changed and a part of what was before, two times in a
/// thousand beside a writer; with the read concern `snapshot`, too. MongoDB does not.
async fn tears_ranges(server: &str) -> bool {
    let client = Client::with_uri_str(server).await.unwrap();
    let database = client.database("admin");
    let told = database.run_command(doc! { "buildInfo": 1 }).await;
    // Another version is asked.
    let version = told.unwrap().get_str("secantusVersion").map(str::to_owned);
    version.is_ok_and(|version| version == "0.5.3-beta.196")
}

/// SecantusDB 0.5.3-beta.196 keeps a unique value that came with an insert, even when an
/// update takes it from the document; MongoDB does not.
async fn keeps_what_updates_give_up(server: &str) -> bool {
    let client = Client::with_uri_str(server).await.unwrap();
    let database = client.database(&database());
    let items = database.collection::<Document>("items");
    let unique = IndexOptions::builder().unique(true).build();
    let index = IndexModel::builder()
        .keys(doc! { "u": 1 })
        .options(unique)
        .build();
    items.create_index(index).await.unwrap();
    items.insert_one(doc! { "_id": "a", "u": 1 }).await.unwrap();
    items
        .replace_one(doc! { "_id": "a" }, doc! { "u": 2 })
        .await
        .unwrap();
    let kept = items.insert_one(doc! { "_id": "b", "u": 1 }).await.is_err();
    database.drop().await.unwrap();
    kept
}
