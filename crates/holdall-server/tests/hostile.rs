//! What no honest client sends: nothing of it is done, nothing hangs, and the
//! server goes on.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod wire;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use wire::{is_problem, serve, within};

/// Each is answered by a problem of 400 and the end of the connection, and no
/// route sees it.
#[tokio::test]
async fn what_is_no_request_is_refused_and_none_of_it_is_done() {
    let server = serve(&[]).await;
    let heads = [
        // No HTTP at all, or of another age.
        "hello\r\n\r\n".to_owned(),
        "GET /v1/item\r\n\r\n".into(),
        "PUT /v1/item HTTP/0.9\r\nhost: a\r\n\r\n".into(),
        "PUT /v1/item HTTP/3.0\r\nhost: a\r\n\r\n".into(),
        "PUT  /v1/item HTTP/1.1\r\nhost: a\r\n\r\n".into(),
        "PUT /v1/ item HTTP/1.1\r\nhost: a\r\n\r\n".into(),
        "PUT /v1/item\0 HTTP/1.1\r\nhost: a\r\n\r\n".into(),
        "P\u{fc}T /v1/item HTTP/1.1\r\nhost: a\r\n\r\n".into(),
        " PUT /v1/item HTTP/1.1\r\nhost: a\r\n\r\n".into(),
        "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\u{1}\u{fc}\u{3}\u{3}\r\n\r\n".into(),
        // Headers that are none, or hide another.
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\nx : b\r\n\r\n".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\nno colon\r\n\r\n".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\nx: a\rcontent-length: 5\r\n\r\nhello".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\nx: a\0b\r\n\r\n".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\nx: a\r\n folded: b\r\n\r\n".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\n\u{e4}: b\r\n\r\n".into(),
        // Two ends of one content.
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello!".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: 5, 6\r\n\r\nhello!".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, gzip\r\n\r\nhello".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ntransfer-encoding: \u{b}chunked\r\n\r\n0\r\n\r\n".into(),
        "PUT /v1/item HTTP/1.0\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n".into(),
        // Lengths that are none.
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: -1\r\n\r\n".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: +5\r\n\r\nhello".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: 0x5\r\n\r\nhello".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: 5 5\r\n\r\nhello".into(),
        format!("PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", "9".repeat(30)),
        // For nobody, or for two.
        "PUT /v1/item HTTP/1.1\r\ncontent-length: 5\r\n\r\nhello".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 5\r\n\r\nhello".into(),
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\nHost: a\r\ncontent-length: 5\r\n\r\nhello".into(),
    ];
    for head in heads {
        let answer = server.says(&head).await;
        let status = answer.get(..12);
        assert_eq!(status, Some("HTTP/1.1 400"), "{head:?}: {answer:?}");
        is_problem(&answer, 400, "");
        assert!(
            answer.contains("connection: close\r\n"),
            "{head:?}: {answer}"
        );
    }
    assert_eq!(server.puts(), 0);
    server.is_well().await;
}

/// A proxy in front that takes one end of a content, and a server that takes
/// the other, let a stranger's request through as part of somebody else's. So
/// nothing is read behind content that is chunked.
#[tokio::test]
async fn nothing_is_smuggled_behind_a_chunked_content() {
    let server = serve(&[]).await;
    let smuggled = "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello";
    let chunked = "PUT /v1/item HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = server.says(format!("{chunked}{smuggled}")).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert_eq!(server.puts(), 1);

    // Also where a length stands in a head that came behind another request.
    let get = "GET /v1/item HTTP/1.1\r\nhost: a\r\n\r\n";
    let both = "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n";
    let answer = server.says(format!("{get}{both}{smuggled}")).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 2, "{answer}");
    assert!(server.puts() <= 2);
    server.is_well().await;
}

#[tokio::test]
async fn chunks_that_are_none_end_the_request() {
    let server = serve(&[]).await;
    let head = "PUT /v1/item HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n";
    for chunks in [
        "zz\r\nhello\r\n0\r\n\r\n".to_owned(),
        "-5\r\nhello\r\n0\r\n\r\n".into(),
        "5\r\nhello0\r\n\r\n".into(),
        "5\r\nhelloXX0\r\n\r\n".into(),
        "fffffffffffffffff\r\nhello".into(),
        "\r\nhello".into(),
        "5\nhello\n0\n\n".into(),
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(1_000_000)),
        format!("0\r\n{}\r\n\r\n", "x: y\r\n".repeat(100_000)),
    ] {
        let answer = server.says(format!("{head}{chunks}")).await;
        let shown = chunks.get(..20).unwrap_or(&chunks);
        assert!(!answer.contains("HTTP/1.1 2"), "{shown:?}: {answer}");
    }
    assert_eq!(server.puts(), 0);
    server.is_well().await;
}

/// A content that ends too early is not taken for a whole one.
#[tokio::test]
async fn half_a_content_is_none() {
    let server = serve(&[]).await;
    for half in [
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: 10\r\n\r\nhello",
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n",
    ] {
        let mut client = server.connect().await;
        client.send(half).await;
        within(tokio::io::AsyncWriteExt::shutdown(&mut client.0))
            .await
            .unwrap();
        let answer = client.rest().await;
        assert!(!answer.contains("HTTP/1.1 2"), "{half:?}: {answer}");
    }
    assert_eq!(server.puts(), 0);
    server.is_well().await;
}

#[tokio::test]
async fn odd_methods_and_targets_reach_no_item() {
    let server = serve(&[]).await;
    for line in [
        "TRACE /v1/item",
        "CONNECT a:80",
        "CONNECT /v1/item",
        "BREW /v1/item",
        "OPTIONS *",
        "PUT *",
        "PUT /v1/../v1/item",
        "PUT /v1/%2e%2e/item",
        "PUT //v1/item",
        "PUT /v1/item%00",
        "PUT /v1/item/",
        "put /v1/item",
    ] {
        let request = format!("{line} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n");
        let answer = server.says(&request).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{line}: {answer}");
    }
    assert_eq!(server.puts(), 0);
    server.is_well().await;
}

/// What a client puts into a header comes back in no header of the answer.
#[tokio::test]
async fn a_header_with_an_end_of_line_is_not_one_header() {
    let server = serve(&[]).await;
    let answer = server
        .says("GET /v1/item?x=%0d%0aset-cookie:%20a=b HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(!answer.contains("set-cookie"), "{answer}");
    server.is_well().await;
}

/// One byte at a time, within the time for heads, is as good as all at once.
#[tokio::test]
async fn a_request_may_come_in_pieces() {
    let server = serve(&[]).await;
    let mut client = server.connect().await;
    client.0.set_nodelay(true).unwrap();
    for byte in "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhello".bytes() {
        client.send([byte]).await;
    }
    client.until("\r\n\r\n5").await;
    assert_eq!(server.puts(), 1);
}

/// Many requests in one packet are answered each, in their order.
#[tokio::test]
async fn pipelined_requests_are_answered_in_their_order() {
    let server = serve(&[]).await;
    let mut all = String::new();
    for length in 0..50 {
        let content = "a".repeat(length);
        all += &format!(
            "PUT /v1/item HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n{content}"
        );
    }
    all += "GET /v1/item HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let answers = server.says(all).await;
    let contents: Vec<_> = answers
        .split("HTTP/1.1 200 OK\r\n")
        .filter_map(|answer| answer.split_once("\r\n\r\n").map(|(_, content)| content))
        .collect();
    let mut wanted: Vec<_> = (0..50).map(|length| length.to_string()).collect();
    wanted.push("hello".into());
    assert_eq!(contents, wanted);
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(&u32::try_from(payload.len()).unwrap().to_be_bytes()[1..]);
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// `GET /v1/item` in HPACK without a table: each literal, not indexed.
fn get_headers() -> Vec<u8> {
    let mut block = vec![0x82, 0x86];
    for (name, value) in [(":path", "/v1/item"), (":authority", "a")] {
        block.push(0);
        for text in [name, value] {
            block.push(u8::try_from(text.len()).unwrap());
            block.extend(text.bytes());
        }
    }
    block
}

/// Streams that are opened and reset at once cost the server work and the
/// client none (CVE-2023-44487). The connection is ended.
#[tokio::test]
async fn a_flood_of_resets_over_http2_is_ended() {
    let server = serve(&[]).await;
    let mut client = server.connect().await;
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    for stream in 0..20_000_u32 {
        let id = 2 * stream + 1;
        bytes.extend(frame(1, 5, id, &get_headers()));
        bytes.extend(frame(3, 0, id, &8_u32.to_be_bytes()));
    }
    client.send(bytes).await;
    // GOAWAY, with ENHANCE_YOUR_CALM.
    let told = client.bytes().await;
    let goaway = told
        .windows(17)
        .any(|frame| frame[3] == 7 && frame[16] == 11);
    assert!(goaway, "{told:?}");
    server.is_well().await;
}

/// A head that never ends, in pieces (CVE-2024-27316).
#[tokio::test]
async fn a_flood_of_continuations_over_http2_is_ended() {
    let server = serve(&[]).await;
    let mut client = server.connect().await;
    let mut bytes = PREFACE.to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(1, 1, 1, &get_headers()));
    for _ in 0..10_000 {
        bytes.extend(frame(9, 0, 1, &[0; 1024]));
    }
    client.send(bytes).await;
    let told = client.bytes().await;
    let goaway = told
        .windows(17)
        .any(|frame| frame[3] == 7 && frame[16] != 0);
    assert!(goaway, "{told:?}");
    server.is_well().await;
}

#[tokio::test]
async fn what_is_no_http2_behind_its_preface_ends_the_connection() {
    let server = serve(&[]).await;
    for rest in [
        b"GET / HTTP/1.1\r\n\r\n".to_vec(),
        frame(4, 0, 1, &[1, 2, 3]),
        frame(0, 0, 0, b"data of no stream"),
        vec![0xff; 100_000],
    ] {
        let mut client = server.connect().await;
        client.send([PREFACE, &rest].concat()).await;
        client.rest().await;
    }
    server.is_well().await;
}

/// A bug: a client of HTTP/2 that opens no window for an answer, and answers
/// pings, kept its request among those in flight for as long as it liked.
#[tokio::test]
async fn an_answer_over_http2_that_nobody_takes_is_ended() {
    let server = serve(&[("write_time", "50ms"), ("max_requests", "1")]).await;
    let mut client = server.connect().await;
    let mut bytes = PREFACE.to_vec();
    // SETTINGS_INITIAL_WINDOW_SIZE is 0.
    bytes.extend(frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]));
    bytes.extend(frame(1, 5, 1, &get_headers()));
    client.send(bytes).await;
    let ended = async {
        let mut head = [0; 9];
        while client.0.read_exact(&mut head).await.is_ok() {
            let mut payload = vec![0; usize::from(head[1]) << 8 | usize::from(head[2])];
            client.0.read_exact(&mut payload).await.unwrap();
            if (head[3], head[4]) == (6, 0) {
                let _ = client.0.write_all(&frame(6, 1, 0, &payload)).await;
            }
        }
    };
    within(ended).await;
    server.is_well().await;
}
