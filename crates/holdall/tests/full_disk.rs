//! The disk of a server gets full: nothing that was acknowledged is lost, what was
//! refused did not happen, and the store writes again when there is room.

#![allow(missing_docs, reason = "a test")]

use holdall::{DynBackend, Result, open};
use holdall_testing::full_disk::check;
use holdall_testing::services::Private;

fn start(server: &Private) -> Result<(), String> {
    server.start()
}

/// For those that end themselves, or do nothing any more.
fn restart(server: &Private) -> Result<(), String> {
    server.kill().and_then(|()| server.start())
}

async fn store(url: String) -> Result<DynBackend> {
    Ok(open(&url).await?.backend().clone())
}

#[cfg(feature = "postgres")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    // It ends when its log cannot grow: sometimes while it is looked whether it runs.
    check("postgres", |url| store(url + "?timeout=10s"), restart).await;
}

#[cfg(feature = "mysql")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mysql() {
    check("mysql", |url| store(url + "?timeout=10s"), start).await;
}

#[cfg(feature = "mongodb")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mongodb() {
    // Its storage engine panics, and does nothing any more.
    check("mongodb", |url| store(url + "&timeout=10s"), restart).await;
}

#[cfg(feature = "redis")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis() {
    check("redis", |url| store(url + "?timeout=10s"), start).await;
}

#[cfg(feature = "dynamodb")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dynamodb() {
    let keys = "access_key_id=holdall&secret_access_key=holdall&region=eu-central-1";
    let at = |url| format!("dynamodb:full?endpoint={url}&create_table=true&{keys}");
    check("dynamodb", |url| store(at(url)), start).await;
}
