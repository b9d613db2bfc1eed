//! What `http:` makes of servers that are none, or that answer wrong: never
//! another answer, never a panic, never without an end.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail by panicking"
)]

mod answering;

use std::time::Duration;

use answering::server_that_answers;
use futures_util::TryStreamExt;
use holdall_backends::http::{HttpBackend, HttpOptions};
use holdall_core::{
    Backend, BackendExt, CollectionName, Condition, Digest, DynBackend, Error, ErrorKind, Filter,
    GetOptions, Item, Key, MemoryBackend, Parts, Put, Query, Result, Retry, Scan, WatchFrom,
    byte_stream,
};
use holdall_wire::CapabilitiesShape;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const VERSION: &str = "0193c1f0-8a2b-7c3d-9e4f-001122334455";

async fn open(url: &str) -> Result<DynBackend> {
    let options = HttpOptions {
        timeout: Duration::from_secs(5),
        ..HttpOptions::new(url)
    };
    Ok(HttpBackend::open(options).await?.into())
}

fn answer(status: &str, kind: &str, content: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n{content}",
        content.len()
    )
    .into()
}

fn problem(status: &str, kind: &str, more: &str) -> Vec<u8> {
    let number = &status[..3];
    let text = format!(
        r#"{{"type":"urn:holdall:error:{kind}","title":"x","status":{number},"detail":"it is so","kind":"{kind}","retry":"no"{more}}}"#
    );
    answer(status, "application/problem+json", &text)
}

fn capabilities() -> Vec<u8> {
    let shape = CapabilitiesShape::of(&MemoryBackend::new().capabilities(), 1000);
    answer(
        "200 OK",
        "application/json",
        &serde_json::to_string(&shape).unwrap(),
    )
}

fn html() -> Vec<u8> {
    answer("200 OK", "text/html", "<html>welcome</html>")
}

#[tokio::test(flavor = "multi_thread")]
async fn opening_says_what_is_wrong_with_a_server() {
    let newer = String::from_utf8(capabilities())
        .unwrap()
        .replace("\"per_key\"", "\"galaxy\"")
        .replace("\"total\"", "\"galaxy\"");
    let newer = newer.split("\r\n\r\n").nth(1).unwrap().to_owned();
    let endless_headers = [
        b"HTTP/1.1 200 OK\r\n".to_vec(),
        b"x: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\r\n".repeat(100_000),
    ]
    .concat();
    let long_header = [b"HTTP/1.1 200 OK\r\nx: ".to_vec(), vec![b'y'; 10_000_000]].concat();
    let endless_json = [b"HTTP/1.1 200 OK\r\n\r\n".to_vec(), vec![b' '; 10_000_000]].concat();
    use ErrorKind::{Denied, TooLarge, Unavailable, Unsupported};
    for (what, reply, kind, part) in [
        ("a page", html(), Unavailable, "no Holdall server"),
        (
            "no such page",
            answer("404 Not Found", "text/html", "<html>"),
            Unavailable,
            "no Holdall server",
        ),
        (
            "a redirect",
            b"HTTP/1.1 302 Found\r\nlocation: http://other/\r\ncontent-length: 0\r\n\r\n".to_vec(),
            Unavailable,
            "redirects are not followed",
        ),
        (
            "a proxy without its server",
            answer("502 Bad Gateway", "text/html", "<html>"),
            Unavailable,
            "proxy",
        ),
        ("nothing", Vec::new(), Unavailable, "broke off"),
        (
            "another protocol",
            b"220 mail.example.org ESMTP\r\n".to_vec(),
            Unavailable,
            "no HTTP",
        ),
        ("noise", vec![0x80; 1000], Unavailable, "no HTTP"),
        ("endless headers", endless_headers, Unavailable, "no HTTP"),
        ("a header without end", long_header, Unavailable, "no HTTP"),
        ("an answer without end", endless_json, TooLarge, "65536"),
        (
            "half an answer",
            capabilities()[..200].to_vec(),
            Unavailable,
            "broke",
        ),
        (
            "another program's JSON",
            answer("200 OK", "application/json", "{\"server\":\"other\"}"),
            Unavailable,
            "no Holdall server",
        ),
        (
            "a newer protocol",
            problem("404 Not Found", "not_found", ""),
            Unsupported,
            "version 1",
        ),
        (
            "a newer store",
            answer("200 OK", "application/json", &newer),
            Unsupported,
            "galaxy",
        ),
        (
            "no token",
            problem("401 Unauthorized", "denied", ""),
            Denied,
            "token",
        ),
        (
            "a problem of another program",
            answer(
                "400 Bad Request",
                "application/problem+json",
                "{\"type\":\"about:blank\"}",
            ),
            ErrorKind::Invalid,
            "not why",
        ),
    ] {
        let url = server_that_answers(move |_| reply.clone()).await;
        let error = open(&url).await.map(drop).unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
        assert!(error.to_string().contains(part), "{what}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_says_nothing_is_a_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = HttpOptions {
        timeout: Duration::from_millis(100),
        ..HttpOptions::new(format!("http://{}", listener.local_addr().unwrap()))
    };
    let error = HttpBackend::open(options).await.map(drop).unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Timeout, Retry::Yes),
        "{error}"
    );
}

/// One byte now and then kept a reader waiting for ever.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drips_is_a_timeout() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = HttpOptions {
        timeout: Duration::from_millis(200),
        ..HttpOptions::new(format!("http://{}", listener.local_addr().unwrap()))
    };
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = client.read(&mut [0; 1000]).await.unwrap();
                let mut drop = &b"HTTP/1.1 200 OK\r\n\r\n"[..];
                while client.write_all(drop).await.is_ok() {
                    drop = b" ";
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            });
        }
    });
    let error = HttpBackend::open(options).await.map(drop).unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Timeout, Retry::Yes),
        "{error}"
    );
}

/// A client of a server that is one, but for its answers to all other calls.
async fn answered_by(reply: Vec<u8>) -> DynBackend {
    let url = server_that_answers(move |line| {
        if line.contains("/v1/capabilities") {
            capabilities()
        } else {
            reply.clone()
        }
    })
    .await;
    open(&url).await.unwrap()
}

fn place() -> (CollectionName, Key) {
    (
        CollectionName::new("items").unwrap(),
        Key::new("a").unwrap(),
    )
}

/// What each call of the contract makes of an answer.
async fn all_calls(client: &DynBackend) -> Vec<(&'static str, Result<String>)> {
    fn told<T: std::fmt::Debug>(result: Result<T>) -> Result<String> {
        result.map(|found| format!("{found:?}"))
    }
    let (items, a) = place();
    let id = holdall_core::Env::system().version();
    let many = [a.clone(), Key::new("b").unwrap()];
    vec![
        (
            "get",
            told(client.get(&items, &a, GetOptions::default()).await),
        ),
        (
            "get_many",
            told(client.get_many(&items, &many, Parts::ALL).await),
        ),
        (
            "scan",
            told(
                client
                    .scan(&items, Scan::all())
                    .try_collect::<Vec<Item>>()
                    .await,
            ),
        ),
        (
            "query",
            told(client.query_all(&items, Query::default(), 100).await),
        ),
        ("count", told(client.count(&items, &Filter::all()).await)),
        (
            "count_by",
            told(
                client
                    .count_by(&items, &Filter::all(), &"n".parse().unwrap())
                    .await,
            ),
        ),
        ("collections", told(client.collections().await)),
        ("resolve", told(client.resolve(id, None).await)),
        ("stage", told(client.stage(&items, byte_stream("x")).await)),
        (
            "watch",
            told(client.watch(None, WatchFrom::Now).await.map(|_| ())),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_answer_is_an_error_of_every_call() {
    let bare =
        |status: &str| format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").into_bytes();
    let replies = [
        html(),
        // A proxy that does not know the way says nothing of an item.
        answer("404 Not Found", "text/html", "<html>"),
        bare("404 Not Found"),
        problem("404 Not Found", "not_found", ""),
        problem(
            "404 Not Found",
            "not_found",
            r#","collection":"items","key":"b""#,
        ),
        problem(
            "404 Not Found",
            "not_found",
            r#","collection":"other","key":"a""#,
        ),
        answer(
            "404 Not Found",
            "application/json",
            r#"{"type":"urn:holdall:error:not_found","kind":"not_found","collection":"items","key":"a"}"#,
        ),
        answer("200 OK", "application/json", "{}"),
        answer("200 OK", "application/json", "null"),
        answer("200 OK", "application/x-ndjson", ""),
        answer("200 OK", "application/x-ndjson", "null\nnull\n"),
        answer("200 OK", "application/x-ndjson", "{\"end\":true}\nnull\n"),
        answer("200 OK", "application/x-ndjson", "{\"end\":false}\n"),
        answer("200 OK", "application/x-ndjson", "[[[\n{\"end\":true}\n"),
        answer("200 OK", "application/x-ndjson", &"x".repeat(5_000_000)),
        answer("200 OK", "application/vnd.holdall.item", "{}"),
        answer("200 OK", "text/event-stream", &"x".repeat(200_000)),
        answer("200 OK", "text/event-stream", ""),
        bare("204 No Content"),
        bare("304 Not Modified"),
        bare("429 Too Many Requests"),
        bare("500 Internal Server Error"),
        bare("503 Service Unavailable"),
        bare("101 Switching Protocols"),
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n".to_vec(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n".to_vec(),
        Vec::new(),
    ];
    for reply in replies {
        let shown = String::from_utf8_lossy(&reply)
            .chars()
            .take(150)
            .collect::<String>();
        let client = answered_by(reply).await;
        for (call, result) in all_calls(&client).await {
            match result {
                // Of a call, the server may say that it does not know it.
                Err(error) => assert!(
                    call != "get" || error.kind() != ErrorKind::NotFound,
                    "{call} of {shown}: {error}"
                ),
                Ok(found) => panic!("{call} took {shown} for {found}"),
            }
        }
    }
}

fn item(headers: &str, content: &str) -> Vec<u8> {
    let time = "2026-11-21T09:10:58.000000Z";
    format!(
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: application/vnd.holdall.item\r\netag: \"{VERSION}\"\r\n\
         holdall-created: {time}\r\nholdall-modified: {time}\r\n{headers}\
         content-length: {}\r\n\r\n{content}",
        content.len()
    )
    .into()
}

/// A body that is not the one that was put must not be taken for it.
#[tokio::test(flavor = "multi_thread")]
async fn an_item_that_was_changed_on_the_way_is_refused() {
    let (items, a) = place();
    let digest = Digest::of(b"body");
    let of_four = format!("holdall-size: 4\r\nholdall-digest: {digest}\r\n");
    let large = "x".repeat(100_000);
    let of_many = format!("holdall-size: 100000\r\nholdall-digest: {digest}\r\n");
    let read = async |reply: Vec<u8>| -> Result<Option<bytes::Bytes>, Error> {
        let client = answered_by(reply).await;
        let Some(item) = client.get(&items, &a, GetOptions::default()).await? else {
            return Ok(None);
        };
        item.doc()?;
        Ok(Some(item.into_body()?.bytes(1_000_000).await?))
    };
    let good = item(&format!("{of_four}holdall-head-length: 2\r\n"), "{}body");
    assert_eq!(read(good).await.unwrap().unwrap(), "body");
    for (what, headers, content, kind) in [
        (
            "another body",
            format!("{of_four}holdall-head-length: 2\r\n"),
            "{}boby",
            ErrorKind::Corrupt,
        ),
        (
            "a short body",
            format!("{of_four}holdall-head-length: 2\r\n"),
            "{}bod",
            ErrorKind::Unavailable,
        ),
        (
            "a long body",
            format!("{of_four}holdall-head-length: 2\r\n"),
            "{}body!",
            ErrorKind::Unavailable,
        ),
        (
            "no doc",
            format!("{of_four}holdall-head-length: 0\r\n"),
            "body",
            ErrorKind::Unavailable,
        ),
        (
            "no length of the doc",
            of_four.clone(),
            "{}body",
            ErrorKind::Unavailable,
        ),
        (
            "a doc beyond all docs",
            format!("{of_four}holdall-head-length: 99999999999999999999\r\n"),
            "{}body",
            ErrorKind::Unavailable,
        ),
        (
            "another range",
            format!("{of_four}holdall-head-length: 2\r\nholdall-range: 1..4\r\n"),
            "{}ody",
            ErrorKind::Unavailable,
        ),
        (
            "an encoding",
            format!("{of_four}holdall-head-length: 2\r\ncontent-encoding: gzip\r\n"),
            "{}body",
            ErrorKind::Unavailable,
        ),
        (
            "no size",
            format!("holdall-digest: {digest}\r\nholdall-head-length: 2\r\n"),
            "{}body",
            ErrorKind::Unavailable,
        ),
        (
            "a large body of another digest",
            format!("{of_many}holdall-head-length: 2\r\n"),
            &format!("{{}}{large}"),
            ErrorKind::Corrupt,
        ),
        (
            "a large body that ends early",
            format!("{of_many}holdall-head-length: 2\r\n"),
            &format!("{{}}{}", &large[1..]),
            ErrorKind::Unavailable,
        ),
    ] {
        let error = read(item(&headers, content)).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{what}: {error}");
    }
    let missing = problem(
        "404 Not Found",
        "not_found",
        r#","collection":"items","key":"a""#,
    );
    assert_eq!(read(missing).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_is_wrong_is_refused() {
    let (items, a) = place();
    let line = |key: &str, more: &str| {
        format!(
            r#"{{"key":"{key}","version":"{VERSION}","created":"2026-11-21T09:10:58Z","modified":"2026-11-21T09:10:58Z"{more}}}"#
        )
    };
    let doc = r#","doc":{}"#;
    let digest = Digest::of(b"body");
    let body = |base64: &str| {
        format!(
            r#",{},"doc":{{}}"#,
            format_args!(r#""size":4,"digest":"{digest}","body":"{base64}""#)
        )
    };
    let lines = |text: String| answer("200 OK", "application/x-ndjson", &text);
    let end = "{\"end\":true}\n";
    let good = lines(format!("{}\n{end}", line("a", doc)));
    let client = answered_by(good).await;
    let keys = [a.clone(), a.clone()];
    assert_eq!(
        client
            .scan(&items, Scan::all())
            .try_collect::<Vec<Item>>()
            .await
            .unwrap()
            .len(),
        1
    );
    let many = |count: usize| {
        lines(
            (0..count)
                .map(|n| line(&n.to_string(), doc) + "\n")
                .collect::<String>()
                + end,
        )
    };
    for (what, reply) in [
        ("no doc", lines(format!("{}\n{end}", line("a", "")))),
        ("no last line", lines(format!("{}\n", line("a", doc)))),
        ("more items than were asked for", many(101)),
        ("a line of no item", lines(format!("null\n{end}"))),
        (
            "an item without a version",
            lines(format!("{{\"key\":\"a\"}}\n{end}")),
        ),
        (
            "another body",
            lines(format!("{}\n{end}", line("a", &body("Ym9ieQ==")))),
        ),
        (
            "a shorter body",
            lines(format!("{}\n{end}", line("a", &body("Ym9k")))),
        ),
        (
            "a page that leads to itself",
            lines(format!(
                "{}\n{{\"end\":true,\"next\":\"a\"}}\n",
                line("a", doc)
            )),
        ),
    ] {
        let client = answered_by(reply).await;
        let scan = client
            .scan(&items, Scan::all().parts(Parts::ALL))
            .try_collect::<Vec<Item>>()
            .await;
        assert!(scan.is_err(), "{what}: {scan:?}");
        let pages = Scan {
            limit: Some(100),
            ..Scan::all().parts(Parts::ALL)
        };
        let pages = client.scan(&items, pages).try_collect::<Vec<Item>>().await;
        assert!(
            pages.is_err() || what.contains("itself"),
            "{what}: {pages:?}"
        );
    }
    for (what, reply) in [
        (
            "another key",
            lines(format!("{}\n{}\n{end}", line("a", doc), line("b", doc))),
        ),
        ("no lines at all", lines(end.to_owned())),
        ("too many lines", many(3)),
    ] {
        let found = answered_by(reply)
            .await
            .get_many(&items, &keys, Parts::DOC)
            .await;
        assert!(found.is_err(), "{what}: {found:?}");
    }
}

/// A write whose answer makes no sense has happened, or not; nobody can say.
#[tokio::test(flavor = "multi_thread")]
async fn a_write_with_a_wrong_answer_is_not_taken_for_done() {
    let (items, a) = place();
    let other = item("holdall-head-length: 0\r\n", "");
    for (what, reply) in [
        ("a page", html()),
        ("another version", other),
        ("nothing", Vec::new()),
    ] {
        let url = server_that_answers(move |line| {
            if line.contains("/v1/capabilities") {
                capabilities()
            } else if line.contains("/resolve") {
                answer("200 OK", "application/json", r#"{"outcome":"aborted"}"#)
            } else {
                reply.clone()
            }
        })
        .await;
        let client = open(&url).await.unwrap();
        let error = client
            .put(&items, &a, Condition::Any, Put::default())
            .await
            .unwrap_err();
        assert_eq!(error.retry(), Retry::Yes, "{what}: {error}");
        assert!(error.batch().is_some());
    }
    // What is refused in words of the server's own is refused.
    let conflict = problem(
        "412 Precondition Failed",
        "conflict",
        r#","collection":"items","key":"a""#,
    );
    let error = answered_by(conflict)
        .await
        .put(&items, &a, Condition::Absent, Put::default())
        .await
        .unwrap_err();
    assert!(error.is_conflict() && error.key() == Some(&a), "{error}");
    // Its store is closed, and this handle is not.
    let closed = problem("503 Service Unavailable", "closed", "");
    let error = answered_by(closed)
        .await
        .put(&items, &a, Condition::Absent, Put::default())
        .await
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.retry()),
        (ErrorKind::Unavailable, Retry::Yes),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_would_give_a_token_away_are_refused() {
    let options = |url: &str, set: &[(&str, &str)]| {
        let mut options = HttpOptions::new(url);
        set.iter()
            .for_each(|(name, value)| options.set(name, value).unwrap());
        options
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, "hunter2\n").unwrap();
    let file = file.to_str().unwrap();
    for (url, set, part) in [
        (
            "http://user:hunter2@127.0.0.1:1",
            &[][..],
            "no user and password",
        ),
        ("http://192.0.2.1:1", &[("token", "hunter2")], "plain text"),
        ("http://192.0.2.1:1", &[("token_file", file)], "plain text"),
        (
            "http://127.0.0.1:1",
            &[("token", "hunter2"), ("token_file", file)],
            "one too many",
        ),
        (
            "http://127.0.0.1:1",
            &[("token", "hunter2 x")],
            "without blanks",
        ),
        ("http://127.0.0.1:1", &[("token", "")], "without blanks"),
        (
            "http://127.0.0.1:1",
            &[("token_file", "/nowhere/token")],
            "/nowhere/token",
        ),
        ("http://127.0.0.1:1", &[("ca", file)], "for https:"),
        ("https://127.0.0.1:1", &[("ca", file)], "no certificate"),
        ("https://127.0.0.1:1", &[("cert", file)], "belong together"),
        // These are fine, and nobody listens there.
        (
            "http://127.0.0.1:1",
            &[("token_file", file)],
            "connection refused",
        ),
        (
            "http://localhost:1",
            &[("token", "hunter2")],
            "connection refused",
        ),
    ] {
        let error = HttpBackend::open(options(url, set))
            .await
            .map(drop)
            .unwrap_err();
        assert!(error.to_string().contains(part), "{url} {set:?}: {error}");
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
}
