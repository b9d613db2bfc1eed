//! A server's routes, asked in this process.
#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    dead_code,
    reason = "each test binary uses some of it, and fails by panicking"
)]

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use holdall_core::{DynBackend, MemoryBackend};
use holdall_server::access::Access;
use holdall_server::{App, Limits};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// A server over a store in memory.
pub(crate) struct Asked {
    pub(crate) store: DynBackend,
    pub(crate) routes: Router,
    pub(crate) ending: CancellationToken,
}

/// What it answered.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Asked {
    pub(crate) fn new() -> Self {
        Self::with(MemoryBackend::new().into(), Limits::default())
    }

    pub(crate) fn with_limits(limits: Limits) -> Self {
        Self::with(MemoryBackend::new().into(), limits)
    }

    pub(crate) fn with(store: DynBackend, limits: Limits) -> Self {
        Self::with_access(store, limits, Access::open())
    }

    pub(crate) fn with_access(store: DynBackend, limits: Limits, access: Access) -> Self {
        Self::of(App {
            access,
            limits,
            ..App::new(store)
        })
    }

    pub(crate) fn of(app: App) -> Self {
        Self {
            store: app.store.clone(),
            ending: app.ending.clone(),
            routes: holdall_server::app(app),
        }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Response {
        self.routes.clone().oneshot(request).await.unwrap()
    }

    /// `line` is like `PUT /v1/items/a/b`, headers are lines behind it.
    pub(crate) async fn ask(&self, line: &str, body: impl Into<Body>) -> Told {
        let response = self.send(request(line, body)).await;
        let (status, headers) = (response.status(), response.headers().clone());
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        Told {
            status,
            headers,
            bytes,
        }
    }

    pub(crate) async fn json(&self, line: &str, json: Value) -> Told {
        let line = format!("{line}\ncontent-type: application/json");
        self.ask(&line, json.to_string()).await
    }
}

pub(crate) fn request(lines: &str, body: impl Into<Body>) -> Request<Body> {
    let mut lines = lines.lines();
    let (method, uri) = lines.next().unwrap().split_once(' ').unwrap();
    let mut request = Request::builder().method(method).uri(uri);
    for line in lines {
        let (name, value) = line.split_once(": ").unwrap();
        request = request.header(name, value);
    }
    request.body(body.into()).unwrap()
}

impl Told {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.bytes).unwrap()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    pub(crate) fn lines(&self) -> Vec<Value> {
        let lines = self.text().lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// That it is a problem document of this status and kind.
    #[track_caller]
    pub(crate) fn is_problem(&self, status: u16, kind: &str) -> Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        assert_eq!(self.header("content-type"), "application/problem+json");
        let problem = self.json();
        assert_eq!(problem["kind"], kind, "{problem}");
        assert_eq!(problem["status"], status, "{problem}");
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|text| text.len() > 10),
            "{problem}"
        );
        problem
    }

    #[track_caller]
    pub(crate) fn is(&self, status: u16) -> &Self {
        assert_eq!(self.status.as_u16(), status, "{}", self.text());
        self
    }
}
