//! Each limit of connections and requests, at the limit and one past it.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod wire;

use wire::{is_problem, serve, within};

fn get(extra: &str) -> String {
    format!("GET /v1/item HTTP/1.1\r\nhost: a\r\nconnection: close\r\n{extra}\r\n")
}

fn put(length: usize) -> String {
    format!(
        "PUT /v1/item HTTP/1.1\r\nhost: a\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    )
}

fn is_ok(answer: &str) {
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}

#[tokio::test]
async fn the_head_of_a_request_has_so_many_bytes() {
    let server = serve(&[("max_head", "8KiB")]).await;
    let bare = get("x: \r\n").len();
    let of_size = |size: usize| get(&format!("x: {}\r\n", "a".repeat(size - bare)));
    is_ok(&server.says(of_size(8192)).await);
    is_problem(&server.says(of_size(8193)).await, 431, "at most 8192 bytes");
    is_problem(
        &server.says(of_size(1_000_000)).await,
        431,
        "at most 8192 bytes",
    );
    let url = |size: usize| format!("GET /{} HTTP/1.1\r\nhost: a\r\n\r\n", "a".repeat(size));
    is_problem(&server.says(url(9000)).await, 414, "the URL is too long");
    is_problem(
        &server.says(url(1_000_000)).await,
        414,
        "the URL is too long",
    );
    server.is_well().await;
}

#[tokio::test]
async fn a_request_has_so_many_headers() {
    for (limit, most) in [(100, "100"), (20, "20")] {
        let server = serve(&[("max_headers", most)]).await;
        // Two are there already.
        let with = |count: usize| get(&"x: y\r\n".repeat(count - 2));
        is_ok(&server.says(with(limit)).await);
        is_problem(
            &server.says(with(limit + 1)).await,
            431,
            "limited in number",
        );
        is_problem(
            &server.says(with(limit * 5)).await,
            431,
            "limited in number",
        );
        server.is_well().await;
    }
}

#[tokio::test]
async fn a_body_has_so_many_bytes_whether_it_says_so_or_not() {
    let server = serve(&[("max_body", "1KiB")]).await;
    is_ok(&server.says(put(1024) + &"a".repeat(1024)).await);
    is_problem(&server.says(put(1025)).await, 413, "more than 1024 bytes");
    let chunked = |count: usize| {
        format!(
            "PUT /v1/item HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n{count:x}\r\n{}\r\n0\r\n\r\n",
            "a".repeat(count)
        )
    };
    is_ok(&server.says(chunked(1024)).await);
    assert_eq!(server.puts(), 2);
    is_problem(
        &server.says(chunked(1025)).await,
        413,
        "more than 1024 bytes",
    );
    // An answer reaches a client that goes on sending.
    is_problem(
        &server.says(chunked(10_000_000)).await,
        413,
        "more than 1024 bytes",
    );
    assert_eq!(server.puts(), 2);
    server.is_well().await;
}

#[tokio::test]
async fn so_many_connections_are_taken_and_the_next_is_told() {
    let server = serve(&[("max_connections", "2")]).await;
    let mut first = server.connect().await;
    let mut second = server.connect().await;
    let request = "GET /health HTTP/1.1\r\nhost: a\r\n\r\n";
    for client in [&mut first, &mut second] {
        client.send(request).await;
        client.until("yes").await;
    }
    let mut third = server.connect().await;
    let answer = third.rest().await;
    is_problem(&answer, 503, "too many connections");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
    first.send(request).await;
    first.until("yes").await;
    drop(first);
    // The server notices in its own time that one is free.
    within(async {
        loop {
            let answer = server.says(get("")).await;
            if answer.starts_with("HTTP/1.1 200") {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn so_many_requests_are_in_flight_and_the_next_is_told_at_once() {
    let server = serve(&[("max_requests", "2")]).await;
    let held = "GET /held HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect().await;
        client.send(held).await;
        clients.push(client);
    }
    within(server.seen.begun.acquire_many(2))
        .await
        .unwrap()
        .forget();
    let answer = server.says(get("")).await;
    is_problem(&answer, 503, "2 requests in flight");
    assert!(answer.contains("retry-after: 1\r\n"), "{answer}");

    // Who asks for health is answered, and watchers are not counted.
    let health = "GET /health HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    is_ok(&server.says(health).await);
    for _ in 0..3 {
        let mut watcher = server.connect().await;
        let watch = "GET /v1/watch HTTP/1.1\r\nhost: a\r\n\r\n";
        watcher.send(watch).await;
        watcher.until(": watching").await;
    }

    server.seen.go.add_permits(2);
    for client in &mut clients {
        is_ok(&client.rest().await);
    }
    server.is_well().await;
}

#[tokio::test]
async fn a_head_has_so_much_time() {
    let server = serve(&[("head_time", "100ms")]).await;
    let answer = server.says("GET /v1/item HTTP/1.1\r\nhost:").await;
    is_problem(&answer, 408, "too slowly");
    // One that sends nothing is closed without a word.
    assert_eq!(server.says("").await, "");
    assert_eq!(server.says("\r\n").await.get(..12), Some("HTTP/1.1 408"));
    // In HTTP/2 a server speaks first, and then ends as well.
    let answer = server.says("PRI * HTTP/2").await;
    assert!(!answer.contains("HTTP/1.1"), "{answer}");
    server.is_well().await;
}

#[tokio::test]
async fn the_second_head_on_a_connection_has_so_much_time_too() {
    let server = serve(&[("head_time", "100ms")]).await;
    let mut client = server.connect().await;
    client.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
    client.until("yes").await;
    client.send("GET /hea").await;
    is_problem(&client.rest().await, 408, "too slowly");
}

#[tokio::test]
async fn a_connection_may_be_idle_for_so_long() {
    let server = serve(&[("idle_time", "100ms")]).await;
    let mut client = server.connect().await;
    for _ in 0..3 {
        client.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
        client.until("yes").await;
    }
    assert_eq!(client.rest().await, "");
    // While a request is worked on, it is not idle.
    let mut client = server.connect().await;
    client.send("GET /held HTTP/1.1\r\nhost: a\r\n\r\n").await;
    within(server.seen.begun.acquire()).await.unwrap().forget();
    let mut other = server.connect().await;
    other.send("GET /health HTTP/1.1\r\nhost: a\r\n\r\n").await;
    other.rest().await;
    server.seen.go.add_permits(1);
    client.until("held").await;
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_body_has_so_much_time() {
    let server = serve(&[("body_time", "100ms")]).await;
    let answer = server.says(put(5) + "hell").await;
    is_problem(&answer, 408, "too slowly: 4 bytes");
    assert_eq!(server.puts(), 0);
    server.is_well().await;
}

#[tokio::test]
async fn a_body_that_comes_fast_enough_has_more_time() {
    // Each byte brings an hour.
    let server = serve(&[("body_time", "1ms"), ("body_rate", "1")]).await;
    let mut client = server.connect().await;
    client.send(put(20_000) + &"a".repeat(10_000)).await;
    // Other requests, that take longer than that, pass meanwhile.
    for _ in 0..5 {
        let answer = server.says(put(5) + "").await;
        is_problem(&answer, 408, "too slowly");
    }
    client.send("a".repeat(10_000)).await;
    is_ok(&client.rest().await);
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let server = serve(&[("write_time", "100ms"), ("max_connections", "1")]).await;
    let mut client = server.connect().await;
    client.send("GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await;
    // There is one place, which the next client gets when this one has lost it.
    within(async {
        loop {
            let answer = server.says(get("")).await;
            if answer.starts_with("HTTP/1.1 200") {
                break;
            }
            is_problem(&answer, 503, "too many connections");
        }
    })
    .await;
    let cut = client.rest().await;
    assert!(cut.starts_with("HTTP/1.1 200"), "{}", cut.len());
    assert!(cut.len() < 4096 * 64 * 1024);
}

#[tokio::test]
async fn an_answer_begins_within_so_much_time() {
    let server = serve(&[("request_time", "100ms")]).await;
    let held = |method: &str| {
        format!(
            "{method} /held HTTP/1.1\r\nhost: a\r\nconnection: close\r\nholdall-batch: 0193c1f0-8a2b-7c3d-9e4f-001122334455\r\n\r\n"
        )
    };
    let answer = server.says(held("GET")).await;
    is_problem(&answer, 504, "try again");
    assert!(answer.contains("\"retry\":\"yes\""), "{answer}");
    let answer = server.says(held("PUT")).await;
    is_problem(&answer, 504, "it may have happened");
    assert!(answer.contains("\"retry\":\"unknown\""), "{answer}");
    assert!(answer.contains("\"batch\":\"0193c1f0"), "{answer}");
    server.is_well().await;
}
