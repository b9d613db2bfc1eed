//! Items over HTTP, one by one.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::field_reassign_with_default,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod common;

use common::Asked;
use holdall_core::{Digest, json};

#[tokio::test]
async fn what_was_put_is_what_comes_back() {
    let server = Asked::new();
    let put = server
        .json("PUT /v1/items/notes/hello", json!({"text": "hi"}))
        .await;
    put.is(201);
    assert_eq!(
        put.header("etag"),
        format!("\"{}\"", put.json()["version"].as_str().unwrap())
    );
    let got = server.ask("GET /v1/items/notes/hello", "").await;
    assert_eq!(
        (got.is(200).text(), got.header("etag")),
        (r#"{"text":"hi"}"#, put.header("etag"))
    );
    assert_eq!(got.header("content-type"), "application/json");
    assert_eq!(got.header("holdall-digest"), "");

    let put = server.ask("PUT /v1/items/notes/hello", "just bytes").await;
    put.is(200);
    let got = server.ask("GET /v1/items/notes/hello", "").await;
    assert_eq!(got.is(200).text(), "just bytes");
    assert_eq!(got.header("content-type"), "application/octet-stream");
    assert_eq!(got.header("x-content-type-options"), "nosniff");
    assert_eq!(
        got.header("holdall-digest"),
        Digest::of(b"just bytes").to_string()
    );
    // The doc of before is gone with all else.
    assert_eq!(
        server
            .ask("GET /v1/items/notes/hello?part=doc", "")
            .await
            .text(),
        "{}"
    );

    server.ask("DELETE /v1/items/notes/hello", "").await.is(204);
    server.ask("DELETE /v1/items/notes/hello", "").await.is(204);
    let gone = server.ask("GET /v1/items/notes/hello", "").await;
    let problem = gone.is_problem(404, "not_found");
    assert_eq!(
        (&problem["collection"], &problem["key"]),
        (&json!("notes"), &json!("hello"))
    );
}

#[tokio::test]
async fn head_tells_what_get_would() {
    let server = Asked::new();
    server
        .ask("PUT /v1/items/c/body", "0123456789")
        .await
        .is(201);
    server
        .json("PUT /v1/items/c/doc", json!({"a": 1}))
        .await
        .is(201);
    for (key, length) in [("body", "10"), ("doc", "7")] {
        let head = server.ask(&format!("HEAD /v1/items/c/{key}"), "").await;
        let got = server.ask(&format!("GET /v1/items/c/{key}"), "").await;
        assert_eq!(head.is(200).bytes.len(), 0);
        assert_eq!(head.header("content-length"), length);
        for name in [
            "etag",
            "last-modified",
            "holdall-size",
            "content-type",
            "cache-control",
        ] {
            assert_eq!(head.header(name), got.header(name), "{name}");
        }
    }
    server.ask("HEAD /v1/items/c/none", "").await.is(404);
}

/// A frame whose type was forgotten would be kept as a body.
#[tokio::test]
async fn a_frame_says_that_it_is_one() {
    let server = Asked::new();
    for kind in ["application/octet-stream", "application/json"] {
        let line = format!("PUT /v1/items/a/a\ncontent-type: {kind}\nholdall-head-length: 2");
        let told = server.ask(&line, "{}").await.is_problem(400, "invalid");
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains("application/vnd.holdall.item"), "{detail}");
    }
    let line = "POST /v1/batches\ncontent-type: application/json\nholdall-head-length: 17";
    let told = server.ask(line, r#"{"operations":[]}"#).await;
    told.is_problem(400, "invalid");
    let line = "PUT /v1/items/a/a\ncontent-type: application/json\nholdall-body: none";
    server.ask(line, "{}").await.is(201);
    let line = "PUT /v1/items/a/b\nholdall-body: none";
    let told = server.ask(line, "body").await;
    told.is_problem(400, "invalid");
    let line = "PUT /v1/items/a/b\ncontent-type: application/json\nholdall-body: some";
    server.ask(line, "{}").await.is_problem(400, "invalid");
}

#[tokio::test]
async fn doc_and_body_travel_as_one() {
    let server = Asked::new();
    let item = "application/vnd.holdall.item";
    let line =
        format!("PUT /v1/item?collection=c&key=k\ncontent-type: {item}\nholdall-head-length: 7");
    server.ask(&line, "{\"a\":1}the body").await.is(201);
    let got = server.ask("GET /v1/items/c/k?part=item", "").await;
    assert_eq!(
        (got.is(200).text(), got.header("holdall-head-length")),
        ("{\"a\":1}the body", "7")
    );
    assert_eq!(
        (got.header("content-type"), got.header("holdall-range")),
        (item, "0..8")
    );
    for (asked, text, range) in [
        ("doc=false&range=4..6", "bo", "4..6"),
        ("range=4..", "{\"a\":1}body", "4..8"),
        ("range=-2", "{\"a\":1}dy", "6..8"),
        ("range=8..", "{\"a\":1}", "8..8"),
        ("body=false", "{\"a\":1}", ""),
        ("doc=false&body=false", "", ""),
    ] {
        let got = server
            .ask(&format!("GET /v1/items/c/k?part=item&{asked}"), "")
            .await;
        assert_eq!(
            (got.is(200).text(), got.header("holdall-range")),
            (text, range),
            "{asked}"
        );
        assert_eq!(got.header("holdall-size"), "8");
    }
    server
        .ask("GET /v1/items/c/k?part=item&range=9..", "")
        .await
        .is_problem(400, "invalid");

    // No body and an empty body are two things.
    server.ask(&line, "{\"a\":1}").await.is(200);
    assert_eq!(
        server
            .ask("GET /v1/items/c/k?part=item", "")
            .await
            .header("holdall-size"),
        "0"
    );
    server
        .ask(&format!("{line}\nholdall-body: none"), "{\"a\":1}")
        .await
        .is(200);
    assert_eq!(
        server
            .ask("GET /v1/items/c/k?part=item", "")
            .await
            .header("holdall-size"),
        ""
    );
    server
        .ask("GET /v1/items/c/k?part=body", "")
        .await
        .is_problem(404, "not_found");

    for (line, body) in [
        (format!("{line}\nholdall-body: none"), "{\"a\":1}more"),
        (line.clone(), "{\"a\""),
        (line.clone(), "{\"a\":1"),
        (format!("PUT /v1/items/c/k\ncontent-type: {item}"), "{}"),
        (
            format!("PUT /v1/items/c/k\ncontent-type: {item}\nholdall-head-length: -1"),
            "{}",
        ),
    ] {
        let told = server.ask(&line, body).await;
        assert!(told.status.is_client_error(), "{line}: {}", told.text());
    }
    assert_eq!(
        server.ask("GET /v1/items/c/k", "").await.text(),
        "{\"a\":1}"
    );
}

#[tokio::test]
async fn a_large_body_is_staged_and_comes_back_in_ranges() {
    let server = Asked::new();
    let body: Vec<u8> = (0..300_000_u32).map(|n| (n * 7 % 251) as u8).collect();
    server
        .ask("PUT /v1/items/c/large", body.clone())
        .await
        .is(201);
    assert_eq!(server.ask("GET /v1/items/c/large", "").await.bytes, body);
    for (range, start, end) in [
        ("bytes=0-0", 0, 1),
        ("bytes=100000-199999", 100_000, 200_000),
        ("bytes=299999-", 299_999, 300_000),
        ("bytes=-1", 299_999, 300_000),
        ("bytes=299990-999999", 299_990, 300_000),
        ("bytes=-999999", 0, 300_000),
    ] {
        let part = server
            .ask(&format!("GET /v1/items/c/large\nrange: {range}"), "")
            .await;
        assert_eq!(part.is(206).bytes, body[start..end], "{range}");
        let want = format!("bytes {start}-{}/300000", end - 1);
        assert_eq!(part.header("content-range"), want);
    }
    for range in ["bytes=300000-", "bytes=-0", "bytes=300001-300002"] {
        let part = server
            .ask(&format!("GET /v1/items/c/large\nrange: {range}"), "")
            .await;
        part.is_problem(416, "invalid");
        assert_eq!(part.header("content-range"), "bytes */300000", "{range}");
    }
    // What is not one range of bytes is answered by the whole.
    for range in ["bytes=5-4", "bytes=0-1,4-5", "lines=1-2", "bytes=x-"] {
        let all = server
            .ask(&format!("GET /v1/items/c/large\nrange: {range}"), "")
            .await;
        assert_eq!(all.is(200).bytes.len(), body.len(), "{range}");
    }
    let tag = server
        .ask("HEAD /v1/items/c/large", "")
        .await
        .header("etag")
        .to_owned();
    let ranged = |tag: &str| format!("GET /v1/items/c/large\nrange: bytes=0-9\nif-range: {tag}");
    server.ask(&ranged(&tag), "").await.is(206);
    server
        .ask("PUT /v1/items/c/large", body.clone())
        .await
        .is(200);
    server.ask(&ranged(&tag), "").await.is(200);
    server
        .ask(&ranged("Sat, 21 Nov 2026 09:10:58 GMT"), "")
        .await
        .is(200);
}

#[tokio::test]
async fn versions_are_entity_tags() {
    let server = Asked::new();
    let create = "PUT /v1/items/c/k\nif-none-match: *\ncontent-type: application/json";
    let first = server
        .ask(create, "{}")
        .await
        .is(201)
        .header("etag")
        .to_owned();
    server
        .ask(create, "{\"lost\":1}")
        .await
        .is_problem(412, "conflict");
    let swap =
        |tag: &str| format!("PUT /v1/items/c/k\nif-match: {tag}\ncontent-type: application/json");
    let second = server
        .ask(&swap(&first), "{\"n\":2}")
        .await
        .is(200)
        .header("etag")
        .to_owned();
    server
        .ask(&swap(&first), "{\"lost\":2}")
        .await
        .is_problem(412, "conflict");
    assert_eq!(
        server.ask("GET /v1/items/c/k", "").await.text(),
        "{\"n\":2}"
    );

    let get = |header: &str, tag: &str| format!("GET /v1/items/c/k\n{header}: {tag}");
    let unchanged = server.ask(&get("if-none-match", &second), "").await;
    assert_eq!(
        (unchanged.is(304).text(), unchanged.header("etag")),
        ("", second.as_str())
    );
    server
        .ask(&get("if-none-match", &format!("\"x\", W/{second}")), "")
        .await
        .is(304);
    server.ask(&get("if-none-match", &first), "").await.is(200);
    server.ask(&get("if-match", &second), "").await.is(200);
    server
        .ask(&get("if-match", &first), "")
        .await
        .is_problem(412, "conflict");

    let delete = |tag: &str| format!("DELETE /v1/items/c/k\nif-match: {tag}");
    server
        .ask(&delete(&first), "")
        .await
        .is_problem(412, "conflict");
    server.ask(&delete(&second), "").await.is(204);
    server
        .ask(&delete("*"), "")
        .await
        .is_problem(412, "conflict");
    for wrong in [
        "if-match: nonsense",
        "if-none-match: \"x\"",
        "if-match: *\nif-none-match: *",
    ] {
        let put = format!("PUT /v1/items/c/k\ncontent-type: application/json\n{wrong}");
        server.ask(&put, "{}").await.is_problem(400, "invalid");
    }
    // A large body whose put cannot succeed is not taken in.
    server
        .ask("PUT /v1/items/c/k\nif-match: *", vec![0; 100_000])
        .await
        .is_problem(412, "conflict");
    server.ask("HEAD /v1/items/c/k", "").await.is(404);
}

#[tokio::test]
async fn every_key_and_collection_has_a_url_of_its_own() {
    let server = Asked::new();
    let names = [
        "a",
        "a/b",
        "a//b",
        "/a",
        "a/",
        ".",
        "..",
        "../a",
        "a/../b",
        "%2e",
        "%2F",
        "a b",
        "a+b",
        "a%20b",
        "ü",
        "\u{1F600}",
        "?",
        "#",
        "a&key=b",
        "a=b",
        "\u{7}",
        "\r\nx: y",
        "\\",
        "\"",
        "'",
        "~",
        "-",
        "%00",
    ];
    let encode = |name: &str| {
        percent_encoding::utf8_percent_encode(name, percent_encoding::NON_ALPHANUMERIC).to_string()
    };
    for collection in names {
        for key in names {
            let uri = format!(
                "/v1/item?collection={}&key={}",
                encode(collection),
                encode(key)
            );
            let body = format!("{collection:?}{key:?}");
            server
                .ask(&format!("PUT {uri}"), body.clone())
                .await
                .is(201);
        }
    }
    let collections = server.ask("GET /v1/collections", "").await.json();
    assert_eq!(
        collections["collections"].as_array().unwrap().len(),
        names.len()
    );
    for collection in names {
        for key in names {
            let body = format!("{collection:?}{key:?}");
            let uri = format!(
                "/v1/item?collection={}&key={}",
                encode(collection),
                encode(key)
            );
            assert_eq!(server.ask(&format!("GET {uri}"), "").await.text(), body);
            // The path, too, but for segments that are rewritten on their way.
            let uri = format!("/v1/items/{}/{}", encode(collection), encode(key));
            let told = server.ask(&format!("GET {uri}"), "").await;
            let dots = |name: &str| name.split('/').any(|part| part == "." || part == "..");
            if matches!(collection, "." | "..") || matches!(key, "." | "..") {
                told.is_problem(400, "invalid");
            } else {
                assert_eq!(told.is(200).text(), body, "{uri}");
            }
            let raw = format!(
                "/v1/items/{}/{}",
                encode(collection),
                encode(key).replace("%2F", "/")
            );
            let told = server.ask(&format!("GET {raw}"), "").await;
            if dots(key) || matches!(collection, "." | "..") {
                told.is_problem(400, "invalid");
            } else {
                assert_eq!(told.is(200).text(), body, "{raw}");
            }
        }
    }
}

#[tokio::test]
async fn what_is_wrong_is_refused_and_changes_nothing() {
    let server = Asked::new();
    let long = "k".repeat(1025);
    for (line, body, status, kind) in [
        (
            "PUT /v1/items/c/k\ncontent-type: application/json",
            "{",
            400,
            "invalid",
        ),
        (
            "PUT /v1/items/c/k\ncontent-type: application/json",
            "[]",
            400,
            "invalid",
        ),
        (
            "PUT /v1/items/c/k\ncontent-type: application/json",
            "{\"a\":1,\"a\":2}",
            400,
            "invalid",
        ),
        (
            "PUT /v1/items/c/k\ncontent-type: application/json",
            "\u{feff}{}",
            400,
            "invalid",
        ),
        (
            "PUT /v1/items/c/k\ncontent-type: application/x-www-form-urlencoded",
            "a=b",
            415,
            "invalid",
        ),
        (
            "PUT /v1/items/c/k\ncontent-type: multipart/form-data; boundary=x",
            "",
            415,
            "invalid",
        ),
        (
            "PUT /v1/items/c/k\ncontent-encoding: gzip",
            "",
            415,
            "invalid",
        ),
        ("PUT /v1/items/c/k\nholdall-batch: x", "", 400, "invalid"),
        ("PUT /v1/items/c/k\nholdall-attrs: ?", "", 400, "invalid"),
        ("PUT /v1/items/c/k?part=doc", "", 400, "invalid"),
        ("PUT /v1/items/c/a%00b", "", 400, "invalid"),
        ("PUT /v1/items/c/%ff", "", 400, "invalid"),
        ("PUT /v1/items/c/%zz", "", 400, "invalid"),
        ("PUT /v1/items/c/../d/k", "", 400, "invalid"),
        ("PUT /v1/items/c/%2e%2E/k", "", 400, "invalid"),
        ("PUT /v1/items/%2e%2e/k", "", 400, "invalid"),
        ("PUT /v1/items/c/", "", 404, "not_found"),
        ("PUT /v1/items/c", "", 404, "not_found"),
        ("PUT /v1/item?collection=c", "", 400, "invalid"),
        ("PUT /v1/item?collection=c&key=a&key=b", "", 400, "invalid"),
        ("PUT /v1/item?collection=c&key=", "", 400, "invalid"),
        (&format!("PUT /v1/items/c/{long}"), "", 413, "too_large"),
        ("GET /v1/items/c/k?part=all", "", 400, "invalid"),
        ("GET /v1/items/c/k?range=1..2", "", 400, "invalid"),
        ("GET /v1/items/c/k\nif-match: x", "", 400, "invalid"),
        ("POST /v1/items/c/k", "", 405, "invalid"),
        ("PATCH /v1/item?collection=c&key=k", "", 405, "invalid"),
        ("DELETE /v1/items/c", "", 404, "not_found"),
        ("GET /v1/nothing", "", 404, "not_found"),
    ] {
        server
            .ask(line, body.to_owned())
            .await
            .is_problem(status, kind);
    }
    assert!(server.store.collections().await.unwrap().is_empty());
}

/// A bug: `HEAD` of a framed item told the length of its doc alone.
#[tokio::test]
async fn head_of_a_framed_item_tells_the_length_of_both() {
    let server = Asked::new();
    server.ask("PUT /v1/items/a/k", "0123456789").await.is(201);
    for query in [
        "part=item",
        "part=item&range=2..5",
        "part=item&range=-3&doc=false",
        "part=item&body=false",
    ] {
        let head = server.ask(&format!("HEAD /v1/items/a/k?{query}"), "").await;
        let got = server.ask(&format!("GET /v1/items/a/k?{query}"), "").await;
        got.is(200);
        for name in ["content-length", "holdall-range", "holdall-head-length"] {
            assert_eq!(head.is(200).header(name), got.header(name), "{query}");
        }
        assert_eq!(got.header("content-length"), got.bytes.len().to_string());
    }
    let beyond = "HEAD /v1/items/a/k?part=item&range=11..";
    assert_eq!(server.ask(beyond, "").await.status, 400);
}

/// A bug: `If-None-Match: *` was passed over, and so was a tag where the range
/// lay beyond the body; with `If-Match`, `If-Range` was.
#[tokio::test]
async fn conditions_hold_before_ranges() {
    let server = Asked::new();
    let put = server.ask("PUT /v1/items/a/k", "0123456789").await;
    let tag = put.is(201).header("etag");
    let other = "\"0193c1f0-8a2b-7c3d-9e4f-001122334455\"";
    let get = async |headers: &str| {
        let line = format!("GET /v1/items/a/k\n{headers}");
        server.ask(&line, "").await
    };
    for headers in [
        "if-none-match: *".to_owned(),
        "if-none-match: *\nrange: bytes=90-".to_owned(),
        format!("if-none-match: {tag}\nrange: bytes=90-"),
        format!("if-none-match: {other}\nif-none-match: W/{tag}"),
    ] {
        let known = get(&headers).await;
        assert_eq!(known.is(304).header("etag"), tag, "{headers}");
    }
    let none = "GET /v1/items/a/none\nif-none-match: *";
    server.ask(none, "").await.is_problem(404, "not_found");

    let of_this = format!("if-match: {tag}\nrange: bytes=0-1\nif-range: {tag}");
    assert_eq!(get(&of_this).await.is(206).text(), "01");
    let of_another = format!("if-match: {tag}\nrange: bytes=0-1\nif-range: {other}");
    assert_eq!(get(&of_another).await.is(200).text(), "0123456789");
}

/// A bug: what is wrong with an id was told as plain text.
#[tokio::test]
async fn an_id_that_is_no_text_is_a_problem() {
    let server = Asked::new();
    for line in [
        "POST /v1/batches/%ff/resolve",
        "POST /v1/transactions/%ff/commit",
        "DELETE /v1/transactions/%ff",
        "GET /v1/transactions/%ff/item?collection=a&key=b",
    ] {
        server.ask(line, "").await.is_problem(400, "invalid");
    }
}
