//! What the server counts.

#![allow(clippy::unwrap_used, reason = "the helpers of tests")]

mod common;

use common::{Asked, request};
use holdall_core::{MemoryBackend, json};
use holdall_server::{App, Server, ServerOptions, app};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// The value of a metric, by its name and labels as they are written.
async fn counted(server: &Asked, name: &str) -> Option<f64> {
    let told = server.ask("GET /metrics", "").await;
    told.is(200);
    assert!(told.text().ends_with("# EOF\n"));
    told.text().lines().find_map(|line| {
        let (own, value) = line.rsplit_once(' ')?;
        (own == name).then(|| value.parse().unwrap())
    })
}

#[tokio::test]
async fn requests_are_counted_by_route_method_and_status() {
    let server = Asked::new();
    for key in ["a", "b/c", "d%2Fe"] {
        let line = format!("PUT /v1/items/notes/{key}");
        server.ask(&line, "body").await.is(201);
    }
    server.ask("GET /v1/items/notes/none", "").await.is(404);
    server.ask("BREW /v1/items/notes/a", "").await.is(405);
    server.ask("STEEP /nothing/here", "").await.is(404);
    for (labels, count) in [
        (
            r#"route="/v1/items/{collection}/{key}",method="PUT",status="201""#,
            3.0,
        ),
        (
            r#"route="/v1/items/{collection}/{key}",method="GET",status="404""#,
            1.0,
        ),
        (
            r#"route="/v1/items/{collection}/{key}",method="other",status="405""#,
            1.0,
        ),
        (r#"route="none",method="other",status="404""#, 1.0),
    ] {
        let name = format!("holdall_requests_total{{{labels}}}");
        assert_eq!(counted(&server, &name).await, Some(count), "{name}");
    }
    let name =
        r#"holdall_request_seconds_count{route="/v1/items/{collection}/{key}",method="PUT"}"#;
    assert_eq!(counted(&server, name).await, Some(3.0));
    // What stands in URLs and methods is nowhere in them.
    let told = server.ask("GET /metrics", "").await;
    for made_up in ["notes", "BREW", "STEEP", "nothing", "b/c"] {
        assert!(!told.text().contains(made_up), "{made_up}");
    }
    let version = format!(
        "holdall_build_info{{version=\"{}\"}}",
        env!("CARGO_PKG_VERSION")
    );
    assert_eq!(counted(&server, &version).await, Some(1.0));
}

#[tokio::test]
async fn content_is_counted_both_ways() {
    let server = Asked::new();
    let put = server.ask("PUT /v1/items/notes/a", vec![7; 100_000]).await;
    put.is(201);
    assert_eq!(
        counted(&server, "holdall_received_bytes_total").await,
        Some(100_000.0)
    );
    let before = counted(&server, "holdall_sent_bytes_total").await.unwrap();
    // The answer that told this is counted, too.
    let told = server.ask("GET /v1/items/notes/a", "").await;
    assert_eq!(told.bytes.len(), 100_000);
    let after = counted(&server, "holdall_sent_bytes_total").await.unwrap();
    assert!(after - before > 100_000.0 && after - before < 150_000.0);
}

#[tokio::test]
async fn what_is_under_way_is_counted_until_it_ends() {
    let server = Asked::new();
    server
        .ask("PUT /v1/items/notes/a", vec![7; 1_000_000])
        .await
        .is(201);
    // The request that asks is in flight itself.
    assert_eq!(
        counted(&server, "holdall_requests_in_flight").await,
        Some(1.0)
    );
    let answer = server.send(request("GET /v1/items/notes/a", "")).await;
    assert_eq!(
        counted(&server, "holdall_requests_in_flight").await,
        Some(2.0)
    );
    drop(answer);
    assert_eq!(
        counted(&server, "holdall_requests_in_flight").await,
        Some(1.0)
    );

    let watcher = server.send(request("GET /v1/watch", "")).await;
    assert_eq!(watcher.status(), 200);
    assert_eq!(counted(&server, "holdall_watchers").await, Some(1.0));
    assert_eq!(
        counted(&server, "holdall_requests_in_flight").await,
        Some(1.0)
    );
    drop(watcher);
    assert_eq!(counted(&server, "holdall_watchers").await, Some(0.0));

    let begun = server.json("POST /v1/transactions", json!({})).await;
    assert_eq!(counted(&server, "holdall_transactions").await, Some(1.0));
    let id = begun.json()["id"].as_str().unwrap().to_owned();
    server
        .ask(&format!("DELETE /v1/transactions/{id}"), "")
        .await
        .is(204);
    assert_eq!(counted(&server, "holdall_transactions").await, Some(0.0));
}

#[tokio::test]
async fn the_store_is_counted_by_operation_and_kind_of_error() {
    let server = Asked::new();
    let line = "PUT /v1/items/notes/a\nif-none-match: *";
    server.ask(line, "body").await.is(201);
    server.ask(line, "body").await.is(412);
    let line = "GET /v1/watch?from=AAAA";
    let told = server.send(request(line, "")).await;
    assert!(!told.status().is_success());
    for (name, count) in [
        (r#"store_operations_total{operation="write"}"#, Some(2.0)),
        (
            r#"store_errors_total{operation="write",kind="conflict"}"#,
            Some(1.0),
        ),
        (r#"store_operations_total{operation="scan"}"#, None),
    ] {
        let name = format!("holdall_{name}");
        assert_eq!(counted(&server, &name).await, count, "{name}");
    }
    let all = server.ask("GET /v1/scan?collection=notes", "").await;
    all.is(200);
    let name = r#"holdall_store_operations_total{operation="scan"}"#;
    assert_eq!(counted(&server, name).await, Some(1.0));
}

#[tokio::test]
async fn connections_are_counted_while_they_are_open() {
    let options = ServerOptions::default();
    let routes = app(App::of(MemoryBackend::new(), &options));
    let ending = options.ending.clone();
    let server = Server::bind("127.0.0.1:0", options).await.unwrap();
    let address = server.local_addr().unwrap();
    let served = tokio::spawn(server.serve(routes, std::future::pending()));

    let ask = async |count: &str| {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = "GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        assert!(text.contains(count), "{text}");
    };
    ask("\nholdall_connections 1\n").await;
    ask("\nholdall_connections_accepted_total 2\n").await;
    ending.cancel();
    served.await.unwrap();
}

#[tokio::test]
async fn the_page_lists_each_metric() {
    let server = Asked::new();
    // What has never happened has no series.
    for status in [201, 412] {
        let line = "PUT /v1/items/a/a\nif-none-match: *";
        server.ask(line, "body").await.is(status);
    }
    let told = server.ask("GET /metrics", "").await;
    let mut families: Vec<_> = told
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE "))
        .map(|line| {
            let (name, kind) = line.split_once(' ').unwrap();
            match kind {
                "counter" => format!("{name}_total"),
                "info" => format!("{name}_info"),
                _ => name.to_owned(),
            }
        })
        .collect();
    let page = include_str!("../../../docs/server.md");
    let mut listed: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `holdall_"))
        .map(|line| format!("holdall_{}", line.split('`').next().unwrap()))
        .collect();
    families.sort();
    listed.sort();
    assert_eq!(families, listed);
}
