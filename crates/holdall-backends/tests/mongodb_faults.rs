//! MongoDB behind a network that breaks, on a server that dies.

use holdall_backends::mongodb::{MongoBackend, MongoOptions, Transactions};
use holdall_testing::faults::{self, Subject, Summary};
use holdall_testing::services::{Private, private};

/// Opens stores that wait for two seconds at most.
fn subject(server: &Private, transactions: Transactions) -> Subject {
    Subject::new(server.url(), move |url| async move {
        let mut options = MongoOptions::new(url);
        options.set("timeout", "2s")?;
        options.set("connect_timeout", "2s")?;
        options.transactions = transactions;
        Ok(MongoBackend::open(options).await?.into())
    })
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
    let subject = subject(&server, Transactions::On);
    was_tried(&faults::check(subject.killed(server)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nor_where_there_are_no_transactions() {
    let Some(server) = private("mongodb") else {
        return;
    };
    let subject = subject(&server, Transactions::Off);
    was_tried(&faults::check(subject.killed(server)).await);
}
