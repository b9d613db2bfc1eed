//! What the server says of itself and its store.

use axum::extract::State;
use holdall_core::Error;
use holdall_wire::CapabilitiesShape;
use http::StatusCode;
use serde::Serialize;

use super::Api;
use super::params::Params;
use crate::Answer;
use crate::access::Caller;

/// That all is well.
#[derive(Serialize, utoipa::ToSchema)]
pub(super) struct Well {
    /// `ok`.
    status: &'static str,
}

const WELL: Well = Well { status: "ok" };

pub(super) async fn capabilities(State(api): State<Api>, _: Caller, params: Params) -> Answer {
    params.finish()?;
    let shape = CapabilitiesShape::of(api.can(), api.limits().max_page as u64);
    super::json(StatusCode::OK, &shape)
}

pub(super) async fn health() -> Answer {
    super::json(StatusCode::OK, &WELL)
}

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
