//! Which answers are compressed.

#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod common;

use common::{Asked, Told};
use flate2::read::GzDecoder;
use holdall_core::json;

/// A server with an item of 10,000 letters in its doc and its body.
async fn full() -> Asked {
    let server = Asked::new();
    let text = "a".repeat(10_000);
    let put = server.json("PUT /v1/items/notes/doc", json!({"text": text.clone()}));
    put.await.is(201);
    server.ask("PUT /v1/items/notes/body", text).await.is(201);
    server
}

fn unpacked(told: &Told) -> String {
    std::io::read_to_string(GzDecoder::new(&told.bytes[..])).unwrap()
}

#[tokio::test]
async fn a_page_of_items_is_compressed_for_who_takes_gzip() {
    let server = full().await;
    let scan = "GET /v1/scan?collection=notes";
    let plain = server.ask(scan, "").await;
    assert_eq!(plain.header("content-encoding"), "");
    assert_eq!(plain.header("vary"), "accept-encoding");
    for takes in ["gzip", "br;q=1.0, GZIP;q=0.5", "gzip, identity;q=0"] {
        let packed = server
            .ask(&format!("{scan}\naccept-encoding: {takes}"), "")
            .await;
        packed.is(200);
        assert_eq!(packed.header("content-encoding"), "gzip", "{takes}");
        assert_eq!(packed.header("vary"), "accept-encoding");
        assert!(packed.bytes.len() < plain.bytes.len() / 10);
        assert_eq!(unpacked(&packed), plain.text());
    }
    for takes in ["br", "gzip;q=0", "identity", "gzip;q=none"] {
        let told = server
            .ask(&format!("{scan}\naccept-encoding: {takes}"), "")
            .await;
        assert_eq!(told.header("content-encoding"), "", "{takes}");
        assert_eq!(told.bytes, plain.bytes);
    }
}

/// An `ETag` is of one representation: with it, `If-Match` and `Range` of what
/// was compressed would be of other bytes.
#[tokio::test]
async fn an_item_is_never_compressed() {
    let server = full().await;
    for item in ["doc", "body", "doc?part=item"] {
        let line = format!("GET /v1/items/notes/{item}\naccept-encoding: gzip");
        let told = server.ask(&line, "").await;
        told.is(200);
        assert_eq!(told.header("content-encoding"), "", "{item}");
        assert_eq!(told.header("vary"), "", "{item}");
        assert!(told.bytes.len() >= 10_000);
    }
}

#[tokio::test]
async fn events_and_what_is_small_are_not_compressed() {
    let server = full().await;
    for call in ["/v1/watch", "/v1/capabilities", "/v1/scan?collection=none"] {
        let line = format!("GET {call}\naccept-encoding: gzip");
        let response = server.send(common::request(&line, "")).await;
        assert_eq!(response.status(), 200);
        assert!(
            !response.headers().contains_key("content-encoding"),
            "{call}"
        );
    }
}

/// The layer says 406 to a client that takes neither gzip nor plain answers, when
/// the collection is dropped already: what has happened is never answered as if
/// it had not.
#[tokio::test]
async fn a_client_that_takes_nothing_is_answered_all_the_same() {
    for takes in ["identity;q=0", "*;q=0", "gzip;q=0, *;q=0"] {
        let server = full().await;
        let line = |call: &str| format!("{call}?collection=notes\naccept-encoding: {takes}");
        let scanned = server.ask(&line("GET /v1/scan"), "").await;
        scanned.is(200);
        assert_eq!(scanned.header("content-encoding"), "", "{takes}");
        let dropped = server.ask(&line("DELETE /v1/collections"), "").await;
        dropped.is(204);
        let left = server.ask("GET /v1/collections", "").await;
        assert!(!left.text().contains("notes"), "{}", left.text());
    }
}
