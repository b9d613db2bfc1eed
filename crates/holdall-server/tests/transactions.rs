//! Transactions that live on the server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::field_reassign_with_default,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod common;

use std::time::Duration;

use common::Asked;
use holdall_core::{Env, ManualClock, MemoryBackend, Timestamp, json};
use holdall_server::{App, Limits};

async fn begin(server: &Asked) -> String {
    let begun = server.ask("POST /v1/transactions", "").await.is(201).json();
    format!("/v1/transactions/{}", begun["id"].as_str().unwrap())
}

#[tokio::test]
async fn writes_are_seen_within_and_take_effect_at_commit() {
    let server = Asked::new();
    server
        .json("PUT /v1/items/c/old", json!({"n": 1}))
        .await
        .is(201);
    let tx = begin(&server).await;
    let item = |key: &str| format!("{tx}/item?collection=c&key={key}");
    assert_eq!(
        server
            .ask(&format!("GET {}", item("old")), "")
            .await
            .is(200)
            .text(),
        "{\"n\":1}"
    );
    server
        .json(&format!("PUT {}", item("new")), json!({"n": 2}))
        .await
        .is(204);
    server
        .ask(&format!("PUT {}", item("large")), vec![5; 100_000])
        .await
        .is(204);
    server
        .ask(&format!("DELETE {}", item("old")), "")
        .await
        .is(204);
    assert_eq!(
        server
            .ask(&format!("GET {}", item("new")), "")
            .await
            .is(200)
            .text(),
        "{\"n\":2}"
    );
    server
        .ask(&format!("GET {}", item("old")), "")
        .await
        .is_problem(404, "not_found");
    let lines = server
        .json(
            &format!("POST {tx}/query?collection=c"),
            json!({"filter": {"n": {"$exists": true}}}),
        )
        .await
        .is(200)
        .lines();
    assert_eq!(
        (lines.len(), &lines[0]["key"], &lines[1]),
        (2, &json!("new"), &json!({"end": true}))
    );
    server.ask("GET /v1/items/c/new", "").await.is(404);

    let committed = server
        .ask(&format!("POST {tx}/commit"), "")
        .await
        .is(200)
        .json();
    let version = server
        .ask("GET /v1/items/c/new", "")
        .await
        .is(200)
        .header("etag")
        .to_owned();
    assert_eq!(
        version,
        format!("\"{}\"", committed["id"].as_str().unwrap())
    );
    assert_eq!(
        server.ask("GET /v1/items/c/large", "").await.bytes,
        vec![5; 100_000]
    );
    server.ask("GET /v1/items/c/old", "").await.is(404);
    server
        .ask(&format!("POST {tx}/commit"), "")
        .await
        .is_problem(404, "not_found");
}

#[tokio::test]
async fn a_commit_is_refused_if_what_was_read_has_changed() {
    let server = Asked::new();
    server
        .json("PUT /v1/items/c/a", json!({"n": 1}))
        .await
        .is(201);
    let tx = begin(&server).await;
    server
        .ask(&format!("GET {tx}/item?collection=c&key=a"), "")
        .await
        .is(200);
    server
        .json(&format!("PUT {tx}/item?collection=c&key=b"), json!({}))
        .await
        .is(204);
    server
        .json("PUT /v1/items/c/a", json!({"n": 2}))
        .await
        .is(200);
    let problem = server
        .ask(&format!("POST {tx}/commit"), "")
        .await
        .is_problem(409, "conflict");
    assert_eq!(problem["key"], "a");
    server.ask("GET /v1/items/c/b", "").await.is(404);
}

#[tokio::test]
async fn what_is_given_up_was_never_there() {
    let server = Asked::new();
    let tx = begin(&server).await;
    server
        .json(&format!("PUT {tx}/item?collection=c&key=a"), json!({}))
        .await
        .is(204);
    server.ask(&format!("DELETE {tx}"), "").await.is(204);
    server
        .ask(&format!("DELETE {tx}"), "")
        .await
        .is_problem(404, "not_found");
    server.ask("GET /v1/items/c/a", "").await.is(404);
    let tx = begin(&server).await;
    for line in [
        format!("PUT {tx}/item?collection=c&key=a\nif-match: *"),
        format!("DELETE {tx}/item?collection=c&key=a\nif-none-match: *"),
    ] {
        server.ask(&line, "").await.is_problem(400, "invalid");
    }
    server
        .ask("POST /v1/transactions/nonsense/commit", "")
        .await
        .is_problem(400, "invalid");
}

#[tokio::test]
async fn one_that_takes_too_long_expires_and_makes_room() {
    let clock = ManualClock::at(Timestamp::from_micros(1_700_000_000_000_000));
    let env = Env::seeded(clock.clone(), 7);
    let mut limits = Limits::default();
    limits.max_transactions = 1;
    let server = Asked::of(App {
        env: env.clone(),
        limits,
        ..App::new(MemoryBackend::with_env(env))
    });
    let tx = begin(&server).await;
    server
        .json(&format!("PUT {tx}/item?collection=c&key=a"), json!({}))
        .await
        .is(204);
    server
        .ask("POST /v1/transactions", "")
        .await
        .is_problem(503, "unavailable");
    clock.advance(Duration::from_secs(61));
    server
        .ask(&format!("POST {tx}/commit"), "")
        .await
        .is_problem(410, "expired");
    server.ask("POST /v1/transactions", "").await.is(201);
    assert!(server.store.collections().await.unwrap().is_empty());
}
