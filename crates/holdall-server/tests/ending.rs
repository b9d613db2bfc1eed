//! How a server ends.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod wire;

use holdall_server::{Server, ServerOptions};
use wire::{is_problem, serve, within};

const GET: &str = "GET /v1/item HTTP/1.1\r\nhost: a\r\n\r\n";
const HELD: &str = "PUT /held HTTP/1.1\r\nhost: a\r\n\r\n";

#[tokio::test]
async fn what_is_in_flight_is_finished_and_what_waits_is_closed() {
    let server = serve(&[]).await;
    let (at, seen) = (server.at, server.seen.clone());
    let mut unused = server.connect().await;
    let mut idle = server.connect().await;
    idle.send(GET).await;
    idle.until("hello").await;
    let mut half = server.connect().await;
    half.send(GET).await;
    half.until("hello").await;
    half.send("GET /v1/it").await;
    let mut busy = server.connect().await;
    busy.send(HELD).await;
    within(seen.begun.acquire()).await.unwrap().forget();

    server.ending.cancel();
    for client in [&mut unused, &mut idle, &mut half] {
        assert_eq!(client.rest().await, "");
    }
    // Nobody listens any more.
    within(async { while tokio::net::TcpStream::connect(at).await.is_ok() {} }).await;
    seen.go.add_permits(1);
    let answer = busy.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains("connection: close"), "{answer}");
    assert_eq!(server.end().await.given_up, 0);
}

#[tokio::test]
async fn what_is_not_done_in_time_is_given_up() {
    let server = serve(&[("drain_time", "50ms")]).await;
    let seen = server.seen.clone();
    let mut client = server.connect().await;
    client.send(HELD).await;
    within(seen.begun.acquire()).await.unwrap().forget();
    assert_eq!(server.end().await.given_up, 1);
    assert_eq!(client.rest().await, "");
}

#[tokio::test]
async fn a_second_server_says_who_is_in_its_place() {
    let server = serve(&[]).await;
    let address = server.at.to_string();
    let error = Server::bind(&address, ServerOptions::default())
        .await
        .unwrap_err()
        .to_string();
    assert!(
        error.contains(&address) && error.contains("--listen"),
        "{error}"
    );
    for (wrong, part) in [
        ("", "no address to listen on"),
        ("4520", "no address to listen on"),
        ("127.0.0.1", "no address to listen on"),
        ("127.0.0.1:port", "no address to listen on"),
        ("192.0.2.1:0", "no address of this machine"),
    ] {
        let error = Server::bind(wrong, ServerOptions::default()).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains(part), "{wrong}: {error}");
    }
}

/// Beyond this machine, somebody has to be asked who they are.
#[tokio::test]
async fn an_open_server_is_for_this_machine() {
    let on = async |address: &str| {
        let server = Server::bind(address, ServerOptions::default())
            .await
            .unwrap();
        (server.refuse_open(false), server.refuse_open(true))
    };
    let (open, closed) = on("127.0.0.1:0").await;
    assert!(open.is_ok() && closed.is_ok());
    let (open, closed) = on("0.0.0.0:0").await;
    assert!(closed.is_ok());
    let error = open.unwrap_err().to_string();
    assert!(error.contains("holdall token create"), "{error}");
}

#[cfg(unix)]
#[tokio::test]
async fn a_unix_socket_is_a_place_like_any_other() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("holdall.sock");
    let address = format!("unix:{}", path.display());
    // One that was killed left its socket behind.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let options = ServerOptions::default();
    let ending = options.ending.clone();
    let server = Server::bind(&address, options).await.unwrap();
    assert!(server.is_local());
    assert_eq!(server.url(), address);
    let again = Server::bind(&address, ServerOptions::default()).await;
    assert!(again.unwrap_err().to_string().contains("another program"));

    let app = axum::Router::new().route("/", axum::routing::get(async || "hello"));
    let task = tokio::spawn(server.serve(app, ending.clone().cancelled_owned()));
    let mut client = tokio::net::UnixStream::connect(&path).await.unwrap();
    let get = b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    client.write_all(get).await.unwrap();
    let mut answer = String::new();
    within(client.read_to_string(&mut answer)).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    ending.cancel();
    within(task).await.unwrap();
    assert!(!path.exists());
}

/// An answer to a request whose content nobody wants reaches the client, even
/// if that sends all of it before it looks. It says that nothing more is answered on this
/// connection: a client that sent its next request there used to lose it.
#[tokio::test]
async fn an_answer_is_not_lost_in_what_nobody_reads() {
    let server = serve(&[]).await;
    let length = 20_000_000;
    let head = format!("PUT /nowhere HTTP/1.1\r\nhost: a\r\ncontent-length: {length}\r\n\r\n");
    let mut client = server.connect().await;
    client.send(head).await;
    client.send("a".repeat(length)).await;
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    let twice = "PUT /v1/item HTTP/1.1\r\nhost: a\r\nhost: b\r\ncontent-length: 20000000\r\n\r\n";
    let answer = server.says(format!("{twice}{}", "a".repeat(length))).await;
    is_problem(&answer, 400, "one header Host");
}
