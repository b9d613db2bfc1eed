//! What the server says of itself and its store.

use axum::extract::State;
use axum::response::{Redirect, Response};
use holdall_core::Error;
use holdall_wire::CapabilitiesShape;
use http::StatusCode;
use serde::Serialize;

use super::Api;
use super::params::Params;
use crate::access::{Caller, Verb};
use crate::openapi;
use crate::{Answer, Metrics};

/// That all is well.
#[derive(Serialize, utoipa::ToSchema)]
pub(crate) struct Well {
    /// `ok`.
    status: &'static str,
}

const WELL: Well = Well { status: "ok" };

/// Tells what the store can do
#[utoipa::path(
    get,
    path = "/v1/capabilities",
    operation_id = "capabilities",
    tag = "About",
    responses(openapi::Can, openapi::Usual)
)]
pub(super) async fn capabilities(State(api): State<Api>, _: Caller, params: Params) -> Answer {
    params.finish()?;
    let shape = CapabilitiesShape::of(api.can(), api.limits().max_page as u64);
    super::json(StatusCode::OK, &shape)
}

/// Tells that the process runs
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "About",
    security(()),
    responses(openapi::Well, openapi::Open),
)]
pub(super) async fn health() -> Answer {
    super::json(StatusCode::OK, &WELL)
}

/// Tells whether the store works
///
/// 503 from the moment the server is to end.
#[utoipa::path(
    get, path = "/ready", operation_id = "ready", tag = "About",
    security(()),
    responses(openapi::Well, openapi::Open),
)]
pub(super) async fn ready(State(api): State<Api>) -> Answer {
    if api.is_ending() {
        return Err(Error::unavailable("the server is about to end").into());
    }
    if let Err(error) = api.backend().health().await {
        // Whoever asks has no token, and need not know what is wrong.
        tracing::warn!(%error, "the store does not work");
        return Err(
            Error::unavailable("the store does not work; the server's log says why").into(),
        );
    }
    super::json(StatusCode::OK, &WELL)
}

/// Tells what the server counts
///
/// For Prometheus, in the format of OpenMetrics.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "metrics",
    tag = "About",
    responses(openapi::Counts, openapi::Usual)
)]
pub(super) async fn metrics(State(api): State<Api>, caller: Caller) -> Answer {
    caller.may_any(Verb::Metrics)?;
    let open = api.0.transactions.count(api.env().now());
    let text = api.0.metrics.text(api.watching(), open)?;
    Ok(super::content(StatusCode::OK, Metrics::TYPE, text.into()))
}

/// Describes the API
///
/// This document.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "openapi", tag = "About",
    security(()),
    responses(openapi::Document, openapi::Open),
)]
pub(super) async fn document(State(api): State<Api>) -> Response {
    api.0.pages.document()
}

/// Shows this document to people
#[utoipa::path(
    get, path = "/docs", operation_id = "docs", tag = "About",
    security(()),
    responses(openapi::ForPeople, openapi::Open),
)]
pub(super) async fn page(State(api): State<Api>) -> Response {
    api.0.pages.page()
}

/// The look of `/docs`
#[utoipa::path(
    get, path = "/docs/style.css", operation_id = "docs_look", tag = "About",
    security(()),
    responses(openapi::Look, openapi::Open),
)]
pub(super) async fn look() -> Response {
    openapi::Pages::look()
}

/// Leads to `/docs`
#[utoipa::path(
    get, path = "/", operation_id = "start", tag = "About",
    security(()),
    responses(openapi::ToThePage, openapi::Open),
)]
pub(super) async fn start() -> Redirect {
    Redirect::permanent("/docs")
}
