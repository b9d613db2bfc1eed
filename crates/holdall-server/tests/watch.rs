//! Watching over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::field_reassign_with_default,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod common;

use axum::body::BodyDataStream;
use common::{Asked, request};
use futures_util::StreamExt;
use holdall_core::json;
use serde_json::Value;

/// The events of an answer, one by one.
struct Events {
    body: BodyDataStream,
    text: String,
}

#[derive(Debug, Default)]
struct Event {
    comment: String,
    id: String,
    name: String,
    data: Value,
}

impl Events {
    async fn of(server: &Asked, line: &str) -> Self {
        let response = server.send(request(line, "")).await;
        assert_eq!(response.status(), 200);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        let body = response.into_body().into_data_stream();
        let mut events = Self {
            body,
            text: String::new(),
        };
        assert_eq!(events.next().await.unwrap().comment, "watching");
        events
    }

    async fn next(&mut self) -> Option<Event> {
        while !self.text.contains("\n\n") {
            let piece = self.body.next().await?.unwrap();
            self.text.push_str(std::str::from_utf8(&piece).unwrap());
        }
        let (event, rest) = self.text.split_once("\n\n").unwrap();
        let mut read = Event::default();
        for line in event.lines() {
            match line.split_once(": ").unwrap() {
                ("", comment) => read.comment = comment.to_owned(),
                ("id", id) => read.id = id.to_owned(),
                ("event", name) => read.name = name.to_owned(),
                ("data", data) => read.data = serde_json::from_str(data).unwrap(),
                other => panic!("{other:?}"),
            }
        }
        self.text = rest.to_owned();
        Some(read)
    }
}

#[tokio::test]
async fn changes_are_told_and_a_watch_goes_on_where_it_was() {
    let server = Asked::new();
    server
        .json("PUT /v1/items/c/before", json!({}))
        .await
        .is(201);
    let mut all = Events::of(&server, "GET /v1/watch").await;
    let mut one = Events::of(&server, "GET /v1/watch?collection=d").await;
    let first = server
        .json("PUT /v1/items/c/k", json!({}))
        .await
        .is(201)
        .json();
    let second = server
        .json("PUT /v1/items/c/k", json!({}))
        .await
        .is(200)
        .json();
    server.ask("DELETE /v1/items/c/k", "").await.is(204);
    server.json("PUT /v1/items/d/k", json!({})).await.is(201);
    server
        .ask("DELETE /v1/collections?collection=c", "")
        .await
        .is(204);

    let mut told = Vec::new();
    for _ in 0..5 {
        told.push(all.next().await.unwrap());
    }
    let names: Vec<_> = told.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["put", "put", "delete", "put", "dropped"]);
    assert_eq!(
        told[1].data,
        json!({"collection": "c", "key": "k", "version": second["version"], "previous": first["version"], "batch": second["version"]})
    );
    assert_eq!(
        (&told[2].data["version"], &told[4].data["key"]),
        (&json!(null), &json!(null))
    );
    assert_eq!(one.next().await.unwrap().data["collection"], "d");

    for resumed in [
        format!("GET /v1/watch\nlast-event-id: {}", told[1].id),
        format!("GET /v1/watch?from={}", told[1].id),
        // What a browser sends when it connects again wins.
        format!(
            "GET /v1/watch?from={}\nlast-event-id: {}",
            told[3].id, told[1].id
        ),
    ] {
        let mut events = Events::of(&server, &resumed).await;
        for want in &told[2..] {
            let event = events.next().await.unwrap();
            assert_eq!((&event.id, &event.data), (&want.id, &want.data));
        }
    }
    for wrong in ["nonsense!", "AAAA"] {
        server
            .ask(&format!("GET /v1/watch?from={wrong}"), "")
            .await
            .is_problem(400, "invalid");
    }
}

#[tokio::test]
async fn watches_end_when_the_server_does() {
    let server = Asked::new();
    let mut events = Events::of(&server, "GET /v1/watch").await;
    server.ask("GET /ready", "").await.is(200);
    server.ending.cancel();
    assert!(events.next().await.is_none());
    server
        .ask("GET /ready", "")
        .await
        .is_problem(503, "unavailable");
    server.ask("GET /health", "").await.is(200);
}
