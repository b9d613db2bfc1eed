//! What the tests of connections share: a server in this process, and raw
//! sockets.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "each test program uses a part of it, and fails by panicking"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::StatusCode;
use axum::routing::{get, put};
use futures_util::StreamExt;
use holdall_server::{Ended, Limits, Server, ServerOptions, limit_requests};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// No test waits longer than that: what hangs fails.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// What the routes have seen and wait for.
#[derive(Clone)]
pub struct Seen {
    /// Contents that were read to their end.
    pub puts: Arc<AtomicUsize>,
    /// Requests for `/held` that have begun.
    pub begun: Arc<Semaphore>,
    /// What lets them go.
    pub go: Arc<Semaphore>,
}

pub struct Running {
    pub at: SocketAddr,
    pub ending: CancellationToken,
    pub seen: Seen,
    task: JoinHandle<Ended>,
}

/// Routes that stand for those of the store.
pub fn routes(seen: Seen) -> Router {
    Router::new()
        .route("/v1/item", put(take).get(async || "hello"))
        .route("/health", get(async || "yes"))
        .route("/large", get(async || Body::from_stream(zeros())))
        .route(
            "/held",
            get(async |State(seen): State<Seen>| {
                seen.begun.add_permits(1);
                seen.go.acquire().await.unwrap().forget();
                "held"
            })
            .put(async |State(seen): State<Seen>| {
                seen.begun.add_permits(1);
                seen.go.acquire().await.unwrap().forget();
                "held"
            }),
        )
        .route("/v1/watch", get(async || Body::from_stream(watching())))
        .with_state(seen)
}

async fn take(State(seen): State<Seen>, body: Body) -> Result<String, StatusCode> {
    let mut count = 0;
    let mut stream = body.into_data_stream();
    while let Some(bytes) = stream.next().await {
        count += bytes.map_err(|_| StatusCode::BAD_REQUEST)?.len();
    }
    seen.puts.fetch_add(1, Ordering::SeqCst);
    Ok(count.to_string())
}

/// More than any socket holds.
fn zeros() -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    let piece = Bytes::from(vec![0; 64 * 1024]);
    futures_util::stream::repeat_with(move || Ok(piece.clone())).take(4096)
}

fn watching() -> impl futures_util::Stream<Item = Result<Bytes, std::io::Error>> {
    let first = Bytes::from_static(b": watching\n\n");
    futures_util::stream::iter([Ok(first)]).chain(futures_util::stream::pending())
}

/// A server with these limits set.
pub async fn serve(limits: &[(&str, &str)]) -> Running {
    serve_with(limits, |_| ()).await
}

pub async fn serve_with(
    limits: &[(&str, &str)],
    change: impl FnOnce(&mut ServerOptions),
) -> Running {
    let mut options = ServerOptions::default();
    for (name, value) in limits {
        options.limits.set(name, value).unwrap();
    }
    change(&mut options);
    let ending = options.ending.clone();
    let limits: Limits = options.limits;
    let server = Server::bind("127.0.0.1:0", options).await.unwrap();
    let at = server.local_addr().unwrap();
    let seen = Seen {
        puts: Arc::default(),
        begun: Arc::new(Semaphore::new(0)),
        go: Arc::new(Semaphore::new(0)),
    };
    let app = limit_requests(routes(seen.clone()), limits);
    let task = tokio::spawn(server.serve(app, std::future::pending()));
    Running {
        at,
        ending,
        seen,
        task,
    }
}

impl Running {
    pub async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.at).await.unwrap())
    }

    /// Sends bytes on a connection of their own, and reads until it is closed.
    pub async fn says(&self, bytes: impl AsRef<[u8]>) -> String {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.rest().await
    }

    /// A request that any server answers.
    pub async fn is_well(&self) {
        let answer = self
            .says("GET /v1/item HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
            .await;
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.ends_with("hello"), "{answer}");
    }

    pub async fn end(self) -> Ended {
        self.ending.cancel();
        within(self.task).await.unwrap()
    }

    pub fn puts(&self) -> usize {
        self.seen.puts.load(Ordering::SeqCst)
    }
}

pub struct Client(pub TcpStream);

impl Client {
    /// Sends; that the other end has closed is no failure of it.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = within(self.0.write_all(bytes.as_ref())).await;
    }

    /// All until the connection is closed, or reset.
    pub async fn rest(&mut self) -> String {
        String::from_utf8_lossy(&self.bytes().await).into_owned()
    }

    pub async fn bytes(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = within(self.0.read_to_end(&mut all)).await;
        all
    }

    /// Until this stands there.
    pub async fn until(&mut self, end: &str) -> String {
        let mut all = Vec::new();
        loop {
            let count = within(self.0.read_buf(&mut all)).await.unwrap();
            let text = String::from_utf8_lossy(&all);
            if text.contains(end) {
                return text.into_owned();
            }
            assert!(count > 0, "closed before {end:?}: {text}");
        }
    }
}

pub async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("it hangs")
}

/// Checks that it is an error of this status, as a problem document.
#[track_caller]
pub fn is_problem(answer: &str, status: u16, part: &str) {
    assert!(
        answer.starts_with(&format!("HTTP/1.1 {status} ")),
        "{status}: {answer}"
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: application/problem+json"),
        "{answer}"
    );
    let problem: serde_json::Value = serde_json::from_str(body).unwrap();
    assert_eq!(problem["status"], status, "{answer}");
    assert!(
        problem["detail"].as_str().unwrap().contains(part),
        "{part:?} in {answer}"
    );
}
