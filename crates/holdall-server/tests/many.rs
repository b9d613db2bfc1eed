//! Batches, pages, counts, collections and indexes over HTTP.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::field_reassign_with_default,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod common;

use axum::body::Body;
use bytes::Bytes;
use common::{Asked, request};
use data_encoding::BASE64;
use holdall_core::{Env, json};
use holdall_server::Limits;
use serde_json::Value;

/// Serde takes a list of the values of members for an object.
#[tokio::test]
async fn a_list_is_no_object() {
    let server = Asked::new();
    for (call, list) in [
        ("POST /v1/transactions", json!([60])),
        ("POST /v1/transactions", json!([])),
        ("POST /v1/batches", json!([null, []])),
        ("POST /v1/count?collection=a", json!([])),
        ("POST /v1/get-many?collection=a", json!([["a"]])),
    ] {
        server.json(call, list).await.is_problem(400, "invalid");
    }
}

#[tokio::test]
async fn a_batch_is_all_or_nothing() {
    let server = Asked::new();
    let id = Env::system().version().to_string();
    let batch = json!({"id": id, "operations": [
        {"op": "put", "collection": "a", "key": "1", "if": "absent", "doc": {"n": 1}},
        {"op": "put", "collection": "b/c", "key": "2", "body": BASE64.encode(b"\0\xff")},
        {"op": "delete", "collection": "a", "key": "gone"},
        {"op": "check", "collection": "a", "key": "none", "if": "absent"},
    ]});
    let told = server
        .json("POST /v1/batches", batch.clone())
        .await
        .is(200)
        .json();
    assert_eq!(told["id"], id);
    let versions: Vec<_> = told["entries"]
        .as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["version"].clone())
        .collect();
    assert_eq!(versions, [json!(id), json!(id), json!(null), json!(null)]);
    assert_eq!(
        server.ask("GET /v1/items/b%2Fc/2", "").await.bytes.as_ref(),
        b"\0\xff"
    );

    server
        .json("POST /v1/batches", batch)
        .await
        .is_problem(409, "conflict");
    let wrong = json!({"operations": [
        {"op": "put", "collection": "a", "key": "new", "doc": {}},
        {"op": "check", "collection": "a", "key": "1", "if": "absent"},
    ]});
    let problem = server
        .json("POST /v1/batches", wrong)
        .await
        .is_problem(409, "conflict");
    assert_eq!(
        (&problem["collection"], &problem["key"]),
        (&json!("a"), &json!("1"))
    );
    server.ask("GET /v1/items/a/new", "").await.is(404);
}

#[tokio::test]
async fn bodies_stand_behind_a_framed_batch() {
    let server = Asked::new();
    let head = r#"{"operations":[{"op":"put","collection":"c","key":"1","body_length":3},{"op":"put","collection":"c","key":"2","doc":{"a":1}},{"op":"put","collection":"c","key":"3","body_length":2}]}"#;
    let line = format!(
        "POST /v1/batches\ncontent-type: application/vnd.holdall.batch\nholdall-head-length: {}",
        head.len()
    );
    server.ask(&line, format!("{head}onetw")).await.is(200);
    assert_eq!(server.ask("GET /v1/items/c/1", "").await.text(), "one");
    assert_eq!(server.ask("GET /v1/items/c/3", "").await.text(), "tw");
    for body in [
        format!("{head}onetwo"),
        format!("{head}one"),
        head.chars().take(20).collect(),
    ] {
        server.ask(&line, body).await.is_problem(400, "invalid");
    }
}

#[tokio::test]
async fn a_staged_body_waits_for_its_batch() {
    let server = Asked::new();
    let body = vec![7; 200_000];
    let staged = server
        .ask("POST /v1/stage?collection=c", body.clone())
        .await
        .is(201)
        .json();
    assert_eq!(staged["size"], 200_000);
    assert_eq!(
        server.ask("GET /v1/collections", "").await.json(),
        json!({"collections": []})
    );
    let batch = |key: &str| json!({"operations": [{"op": "put", "collection": "c", "key": key, "staged": staged}]});
    server.json("POST /v1/batches", batch("k")).await.is(200);
    assert_eq!(server.ask("GET /v1/items/c/k", "").await.bytes, body);
    server
        .json("POST /v1/batches", batch("again"))
        .await
        .is_problem(410, "expired");
}

#[tokio::test]
async fn a_write_whose_answer_was_lost_is_resolved() {
    let server = Asked::new();
    let env = Env::system();
    let (done, lost) = (env.version(), env.version());
    server
        .ask(&format!("PUT /v1/items/c/k\nholdall-batch: {done}"), "x")
        .await
        .is(201);
    let resolve = |id| format!("POST /v1/batches/{id}/resolve");
    let told = server.ask(&resolve(done), "").await.is(200).json();
    assert_eq!(
        (&told["outcome"], told["created"].as_array().unwrap().len()),
        (&json!("committed"), 1)
    );
    assert_eq!(
        server.ask(&resolve(lost), "").await.is(200).json(),
        json!({"outcome": "aborted"})
    );
    let late = server
        .ask(&format!("PUT /v1/items/c/late\nholdall-batch: {lost}"), "x")
        .await;
    assert_eq!(late.is_problem(410, "expired")["batch"], lost.to_string());
    let witness = json!({"witness": {"collection": "c", "key": "k"}});
    server.json(&resolve(done), witness).await.is(200);
    server
        .ask("POST /v1/batches/nonsense/resolve", "")
        .await
        .is_problem(400, "invalid");
}

async fn filled(limits: Limits) -> Asked {
    let server = Asked::with_limits(limits);
    for n in 0..25 {
        let doc = json!({"n": n, "even": n % 2 == 0});
        server
            .json(&format!("PUT /v1/items/c/k{n:02}"), doc)
            .await
            .is(201);
    }
    server
}

#[tokio::test]
async fn pages_go_through_all_items_once() {
    let server = filled(Limits::default()).await;
    let mut seen = Vec::new();
    let mut next = None;
    for _ in 0..4 {
        let after = next.map_or_else(String::new, |next: String| format!("&after={next}"));
        let page = server
            .ask(
                &format!("GET /v1/scan?collection=c&prefix=k&limit=7{after}"),
                "",
            )
            .await;
        assert_eq!(page.header("content-type"), "application/x-ndjson");
        let mut lines = page.is(200).lines();
        let end = lines.pop().unwrap();
        assert_eq!(end["end"], true);
        seen.extend(
            lines
                .iter()
                .map(|line| line["key"].as_str().unwrap().to_owned()),
        );
        next = end["next"].as_str().map(str::to_owned);
    }
    assert_eq!((seen.len(), next), (25, None));
    assert!(seen.is_sorted());

    let mut query = json!({"filter": {"even": true}, "sort": "n:desc", "limit": 5, "doc": false});
    let mut keys = Vec::new();
    for _ in 0..3 {
        let mut lines = server
            .json("POST /v1/query?collection=c", query.clone())
            .await
            .is(200)
            .lines();
        let end = lines.pop().unwrap();
        assert!(lines.iter().all(|line| line.get("doc").is_none()));
        keys.extend(
            lines
                .iter()
                .map(|line| line["key"].as_str().unwrap().to_owned()),
        );
        query["after"] = end["next"].clone();
    }
    assert_eq!(
        (keys.len(), keys[0].as_str(), keys[12].as_str()),
        (13, "k24", "k00")
    );
    assert_eq!(query["after"], json!(null));
    let offset = json!({"offset": 24});
    assert_eq!(
        server
            .json("POST /v1/query?collection=c", offset)
            .await
            .lines()
            .len(),
        2
    );
    let none = json!({"limit": 0});
    assert_eq!(
        server
            .json("POST /v1/query?collection=c", none)
            .await
            .lines(),
        [json!({"end": true})]
    );
}

#[tokio::test]
async fn a_page_of_large_items_is_cut_and_goes_on() {
    let mut limits = Limits::default();
    limits.max_page_bytes = 1000;
    let server = filled(limits).await;
    let (mut seen, mut pages) = (0, 0);
    let mut query = json!({"sort": "n"});
    loop {
        let mut lines = server
            .json("POST /v1/query?collection=c", query.clone())
            .await
            .is(200)
            .lines();
        let end = lines.pop().unwrap();
        assert_eq!(lines[0]["doc"]["n"], seen);
        seen += lines.len();
        pages += 1;
        match end.get("next") {
            Some(next) => query["after"] = next.clone(),
            None => break,
        }
    }
    assert_eq!(seen, 25);
    assert!(pages > 2, "{pages}");

    let keys: Vec<_> = (0..25).map(|n| format!("k{n:02}")).collect();
    let mut lines = server
        .json("POST /v1/get-many?collection=c", json!({"keys": keys}))
        .await
        .is(200)
        .lines();
    let end = lines.pop().unwrap();
    assert_eq!(end["next"], lines.len().to_string());
    assert!(lines.len() < 25);
}

#[tokio::test]
async fn several_items_come_in_the_order_of_their_keys() {
    let server = filled(Limits::default()).await;
    server.ask("PUT /v1/items/c/small", "small").await.is(201);
    server
        .ask("PUT /v1/items/c/large", vec![1; 65_537])
        .await
        .is(201);
    let asked = json!({"keys": ["large", "none", "k01", "small"], "body": true});
    let lines = server
        .json("POST /v1/get-many?collection=c", asked)
        .await
        .is(200)
        .lines();
    assert_eq!(lines.len(), 5);
    assert_eq!(
        (lines[0]["size"].as_u64(), lines[0].get("body")),
        (Some(65_537), None)
    );
    assert_eq!(
        (&lines[1], &lines[2]["doc"]["n"]),
        (&json!(null), &json!(1))
    );
    assert_eq!(lines[3]["body"], BASE64.encode(b"small"));
}

#[tokio::test]
async fn counts_are_of_all_or_by_value() {
    let server = filled(Limits::default()).await;
    server
        .json("PUT /v1/items/c/null", json!({"even": null}))
        .await
        .is(201);
    server
        .json("PUT /v1/items/c/without", json!({}))
        .await
        .is(201);
    let count = "POST /v1/count?collection=c";
    let all = server
        .json(count, json!({"filter": {"n": {"$lt": 10}}}))
        .await;
    assert_eq!(all.is(200).json(), json!({"count": 10}));
    let by = server.json(count, json!({"by": "even"})).await;
    let groups = json!({"groups": [
        {"value": null, "count": 1}, {"value": false, "count": 12}, {"value": true, "count": 13}, {"count": 1},
    ]});
    assert_eq!(by.is(200).json(), groups);
}

#[tokio::test]
async fn indexes_bind_and_collections_drop() {
    let server = filled(Limits::default()).await;
    let define = "POST /v1/indexes?collection=c";
    server
        .json(
            define,
            json!({"indexes": [{"paths": ["n"], "unique": true}]}),
        )
        .await
        .is(204);
    server
        .json("PUT /v1/items/c/twin", json!({"n": 3}))
        .await
        .is_problem(409, "conflict");
    server
        .json(
            define,
            json!({"indexes": [{"paths": ["even"], "unique": true}]}),
        )
        .await
        .is_problem(409, "conflict");
    for wrong in [
        json!({"paths": []}),
        json!({"paths": ["a"], "holds": "all"}),
        json!({"paths": ["$version"]}),
    ] {
        server
            .json(define, json!({"indexes": [wrong]}))
            .await
            .is_problem(400, "invalid");
    }
    assert_eq!(
        server.ask("GET /v1/collections", "").await.json(),
        json!({"collections": ["c"]})
    );
    server
        .ask("DELETE /v1/collections?collection=c", "")
        .await
        .is(204);
    assert_eq!(
        server.ask("GET /v1/collections", "").await.json(),
        json!({"collections": []})
    );
    server
        .ask("DELETE /v1/collections", "")
        .await
        .is_problem(400, "invalid");
}

#[tokio::test]
async fn questions_that_are_none_are_refused() {
    let server = filled(Limits::default()).await;
    for (line, json) in [
        (
            "POST /v1/query?collection=c",
            json!({"filter": {"a": {"$regex": "x"}}}),
        ),
        ("POST /v1/query?collection=c", json!({"filter": []})),
        ("POST /v1/query?collection=c", json!({"sort": "$version"})),
        ("POST /v1/query?collection=c", json!({"after": "x"})),
        ("POST /v1/query?collection=c", json!({"limit": -1})),
        ("POST /v1/query?collection=c", json!({"filtre": {}})),
        ("POST /v1/query", json!({})),
        ("POST /v1/query?collection=c&limit=1", json!({})),
        ("POST /v1/count?collection=c", json!({"by": ""})),
        ("POST /v1/get-many?collection=c", json!({"keys": [""]})),
        ("POST /v1/get-many?collection=c", json!({})),
        ("POST /v1/batches", json!({"operations": []})),
        (
            "POST /v1/batches",
            json!({"operations": [{"op": "put", "collection": "c", "key": "k"}, {"op": "check", "collection": "c", "key": "k"}]}),
        ),
    ] {
        server
            .json(line, json.clone())
            .await
            .is_problem(400, "invalid");
    }
    // A name that stands twice is not taken for its last value.
    let twice = "POST /v1/query?collection=c\ncontent-type: application/json";
    server
        .ask(twice, r#"{"filter":{"a":1,"a":2}}"#)
        .await
        .is_problem(400, "invalid");
    server
        .ask("POST /v1/query?collection=c", "{}")
        .await
        .is_problem(415, "invalid");
    for uri in [
        "/v1/scan?collection=c&limit=x",
        "/v1/scan?collection=c&reverse=1",
        "/v1/scan?collection=",
        "/v1/scan?x=1&collection=c",
    ] {
        server
            .ask(&format!("GET {uri}"), "")
            .await
            .is_problem(400, "invalid");
    }
}

/// Each limit of the routes, at the limit and one past it.
#[tokio::test]
async fn limits_hold_at_the_limit_and_one_past_it() {
    let mut limits = Limits::default();
    limits.max_body = 100_000;
    limits.max_doc = 100;
    limits.max_page = 10;
    limits.max_batch = 1000;
    limits.max_batch_ops = 5;
    limits.max_transactions = 2;
    limits.max_watchers = 2;
    limits.transaction_bytes = 2000;
    let server = Asked::with_limits(limits);
    for (size, status) in [(100_000, 201), (100_001, 413)] {
        for line in ["PUT /v1/items/c/k", "POST /v1/stage?collection=c"] {
            server.ask("DELETE /v1/items/c/k", "").await.is(204);
            server.ask(line, vec![1; size]).await.is(status);
            // The same without a length that is told beforehand.
            server.ask("DELETE /v1/items/c/k", "").await.is(204);
            let pieces = vec![1_u8; size];
            let pieces: Vec<_> = pieces
                .chunks(999)
                .map(|piece| Ok::<_, std::io::Error>(piece.to_vec()))
                .collect();
            let body = axum::body::Body::from_stream(futures_util::stream::iter(pieces));
            server.ask(line, body).await.is(status);
        }
    }
    for (size, status) in [(100, 201), (101, 413)] {
        server.ask("DELETE /v1/items/c/k", "").await.is(204);
        let doc = json!({"a": "x".repeat(size - 8)});
        assert_eq!(doc.to_string().len(), size);
        server.json("PUT /v1/items/c/k", doc).await.is(status);
    }
    for (size, status) in [(10, 200), (11, 413)] {
        server
            .ask(&format!("GET /v1/scan?collection=c&limit={size}"), "")
            .await
            .is(status);
        server
            .json("POST /v1/query?collection=c", json!({"limit": size}))
            .await
            .is(status);
        let keys: Vec<_> = (0..size).map(|n| n.to_string()).collect();
        server
            .json("POST /v1/get-many?collection=c", json!({"keys": keys}))
            .await
            .is(status);
    }
    for (count, status) in [(5, 200), (6, 413)] {
        let operations: Vec<_> = (0..count)
            .map(|n| json!({"op": "delete", "collection": "c", "key": n.to_string()}))
            .collect();
        server
            .json("POST /v1/batches", json!({"operations": operations}))
            .await
            .is(status);
    }
    for (size, status) in [(1000 - 3, 200), (1001 - 3, 413)] {
        let body = BASE64.encode(&vec![1; size]);
        let put = json!({"op": "put", "collection": "c", "key": "k", "body": body});
        server
            .json("POST /v1/batches", json!({"operations": [put]}))
            .await
            .is(status);
    }
    let begun = server.ask("POST /v1/transactions", "").await.is(201).json();
    server.ask("POST /v1/transactions", "").await.is(201);
    let refused = server.ask("POST /v1/transactions", "").await;
    refused.is_problem(503, "unavailable");
    assert!(!refused.header("retry-after").is_empty());
    let item = format!(
        "/v1/transactions/{}/item?collection=c&key=k",
        begun["id"].as_str().unwrap()
    );
    let longest = 2000 - 256 - 1 - 2;
    server
        .ask(&format!("PUT {item}"), vec![1; longest + 1])
        .await
        .is_problem(503, "unavailable");
    server
        .ask(&format!("PUT {item}"), vec![1; longest])
        .await
        .is(204);
    let expiry = |seconds: u64| json!({"expiry": seconds});
    let rollback = format!("DELETE /v1/transactions/{}", begun["id"].as_str().unwrap());
    server.ask(&rollback, "").await.is(204);
    server
        .json("POST /v1/transactions", expiry(601))
        .await
        .is_problem(413, "too_large");
    server
        .json("POST /v1/transactions", expiry(600))
        .await
        .is(201);

    let watch = || server.send(request("GET /v1/watch", ""));
    let watching = [watch().await, watch().await];
    assert!(watching.iter().all(|response| response.status() == 200));
    assert_eq!(watch().await.status(), 503);
    drop(watching);
    assert_eq!(watch().await.status(), 200);
}

/// What requests hold in memory has one budget.
#[tokio::test]
async fn what_does_not_fit_the_memory_is_refused_at_once() {
    let mut limits = Limits::default();
    limits.max_buffered = 1000;
    let server = Asked::with_limits(limits);
    let doc = |size: usize| json!({"a": "x".repeat(size - 8)});
    server.json("PUT /v1/items/c/k", doc(1000)).await.is(201);
    server
        .json("PUT /v1/items/c/k", doc(1001))
        .await
        .is_problem(503, "unavailable");
    server.json("PUT /v1/items/c/k", doc(1000)).await.is(200);
}

/// A bug: a page was counted while it was made, and not while it was sent, so
/// that slow readers could hold any number of them in memory.
#[tokio::test]
async fn a_page_counts_until_it_is_read() {
    let mut limits = Limits::default();
    limits.max_buffered = 1500;
    let server = Asked::with_limits(limits);
    let doc = json!({"a": "x".repeat(1000)});
    server.json("PUT /v1/items/c/k", doc).await.is(201);
    let scan = "GET /v1/scan?collection=c";
    let unread = server.send(request(scan, "")).await;
    assert_eq!(unread.status(), 200);
    server.ask(scan, "").await.is_problem(503, "unavailable");
    drop(unread);
    assert_eq!(server.ask(scan, "").await.is(200).lines().len(), 2);
}

/// A bug: the doc in front of a large body was not counted while the body came
/// in.
#[tokio::test]
async fn a_doc_counts_until_the_body_behind_it_is_here() {
    let mut limits = Limits::default();
    limits.max_buffered = 1500;
    let server = Asked::with_limits(limits);
    let doc = json!({"a": "x".repeat(1000)}).to_string();
    let (pieces, body) = tokio::sync::mpsc::channel::<Bytes>(1);
    let body = futures_util::stream::unfold(body, async |mut body| {
        let piece = body.recv().await?;
        Some((Ok::<_, std::io::Error>(piece), body))
    });
    let put = format!(
        "PUT /v1/items/c/a\ncontent-type: application/vnd.holdall.item\nholdall-head-length: {}",
        doc.len()
    );
    let putting = server.ask(&put, Body::from_stream(body));
    let others = async {
        pieces.send(doc.clone().into()).await.unwrap();
        // There is room for each when the one before was taken.
        for _ in 0..2 {
            pieces.send("a body".into()).await.unwrap();
        }
        let doc: Value = serde_json::from_str(&doc).unwrap();
        let second = server.json("PUT /v1/items/c/b", doc.clone()).await;
        second.is_problem(503, "unavailable");
        drop(pieces);
        doc
    };
    let (put, doc) = tokio::join!(putting, others);
    put.is(201);
    server.json("PUT /v1/items/c/b", doc).await.is(201);
}
