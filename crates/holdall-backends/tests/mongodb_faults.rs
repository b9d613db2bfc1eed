//! MongoDB behind a network that breaks, on a server that dies.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::time::Duration;

use holdall_backends::mongodb::driver::Client;
use holdall_backends::mongodb::driver::bson::doc;
use holdall_backends::mongodb::{MongoBackend, MongoOptions, Transactions};
use holdall_testing::faults::{self, Options, Subject, Summary};
use holdall_testing::services::{Private, private};
use tokio::task::JoinHandle;

/// Opens stores that wait for a second at most; one beside the proxy waits longer.
async fn subject(server: &Private, set: fn(&mut MongoOptions)) -> Subject {
    let mut options = MongoOptions::new(server.url());
    set(&mut options);
    let beside = MongoBackend::open(options).await.unwrap();
    let subject = Subject::new(server.url(), move |url| async move {
        let mut options = MongoOptions::new(url);
        options.set("timeout", "1s")?;
        options.set("connect_timeout", "1s")?;
        // The driver believes in a server that it hears of, and asks every ten seconds.
        options.set("heartbeatFrequencyMS", "500")?;
        set(&mut options);
        Ok(MongoBackend::open(options).await?.into())
    });
    subject.beside(beside.into())
}

/// Has the server give up a transaction after some seconds that nobody goes on with, as it
/// may be one whose connection broke: 60 by default. SecantusDB tells no watcher of any
/// change while one is open, which MongoDB does not do. The server forgets it when it dies.
async fn give_up_soon(server: &Private) -> AbortOnDrop {
    let client = Client::with_uri_str(server.url()).await.unwrap();
    let keep = tokio::spawn(async move {
        loop {
            let set = doc! { "setParameter": 1, "transactionLifetimeLimitSeconds": 3 };
            let _is_dead = client.database("admin").run_command(set).await;
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    });
    AbortOnDrop(keep)
}

struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn was_tried(summary: &Summary) {
    assert!(
        summary.acknowledged > 0 && summary.broken > 0,
        "{summary:?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_where_connections_break_and_the_server_dies() {
    let Some(server) = private("mongodb") else {
        return;
    };
    let _kept = give_up_soon(&server).await;
    let subject = subject(&server, |options| options.transactions = Transactions::On).await;
    was_tried(&faults::check(subject.killed(server)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_where_watchers_poll() {
    let Some(server) = private("mongodb") else {
        return;
    };
    let _kept = give_up_soon(&server).await;
    let subject = subject(&server, |options| options.streams = false).await;
    // One batch comes after the other, and all wait for one whose connection broke, so a run
    // takes three times as long.
    let mut options = Options::from_environment().unwrap();
    options.runs = options.runs.div_ceil(5);
    was_tried(&faults::run(subject.killed(server), options).await.unwrap());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_where_there_are_no_transactions() {
    let Some(server) = private("mongodb") else {
        return;
    };
    let subject = subject(&server, |options| options.transactions = Transactions::Off).await;
    was_tried(&faults::check(subject.killed(server)).await);
}
