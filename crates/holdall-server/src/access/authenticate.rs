//! The gate that every request passes.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use holdall_core::{Error, ErrorKind};

use super::audit::{Audit, Call};
use super::browser::Guard;
use super::caller::Caller;
use super::rate::Rate;
use super::token::{Secret, Token, TokenId};
use super::tokens::{Refusal, Tokens};
use crate::Failure;

/// What the gate goes by.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) tokens: Option<Tokens>,
    pub(super) guard: Guard,
    pub(super) rate: Rate,
    pub(super) audit: Arc<Audit>,
}

/// Refuses a request, or says who makes it.
pub(super) async fn authenticate(
    State(gate): State<Arc<Gate>>,
    request: Request,
    next: Next,
) -> Response {
    let call = Call::of(&request);
    let public = needs_no_token(request.uri().path());
    let (mut parts, body) = request.into_parts();
    if let Err(error) = gate.guard.check(&parts, public) {
        gate.audit
            .refused(&call, None, StatusCode::FORBIDDEN, &error);
        return Failure::from(error).into_response();
    }
    if public {
        return next.run(Request::from_parts(parts, body)).await;
    }
    let token = match &gate.tokens {
        None => None,
        Some(tokens) => match gate.token(tokens, &call, &parts.headers).await {
            Ok(token) => Some((token, tokens.clone())),
            Err(failure) => return failure.into_response(),
        },
    };
    let ending = Ending(Caller::new(token, call, gate.audit.clone()));
    parts.extensions.insert(ending.0.clone());
    let response = next.run(Request::from_parts(parts, body)).await;
    ending.0.ended(Some(response.status()));
    response
}

/// Tells of an administrative request whose client did not wait for the end.
struct Ending(Caller);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.ended(None);
    }
}

/// What says nothing of the store. All else needs a token, paths that there
/// are not and methods that a path does not have too: nobody without one
/// learns what there is.
fn needs_no_token(path: &str) -> bool {
    matches!(path, "/" | "/health" | "/ready" | "/openapi.json" | "/docs")
        || path.starts_with("/docs/")
}

impl Gate {
    async fn token(
        &self,
        tokens: &Tokens,
        call: &Call,
        headers: &HeaderMap,
    ) -> Result<Arc<Token>, Failure> {
        let shown = bearer(headers).map_err(|error| self.unknown(call, None, error))?;
        let Some(secret) = Secret::parse(shown) else {
            return Err(self.unknown(call, None, Refusal::Unknown.into_error()));
        };
        let id = secret.id();
        let token = match tokens.check(&secret).await {
            Ok(token) => token,
            Err(refusal) => {
                let error = refusal.into_error();
                if error.kind() != ErrorKind::Denied {
                    return Err(error.into());
                }
                return Err(self.unknown(call, Some(id), error));
            }
        };
        if let Err(wait) = self.rate.take(&token.id) {
            let error = Error::unavailable(
                "there were more requests with this token than a second may have; wait, and try again",
            );
            let status = StatusCode::TOO_MANY_REQUESTS;
            self.audit.refused(call, Some(&token.id), status, &error);
            let seconds = wait.as_millis().div_ceil(1000).max(1);
            return Err(Failure::with_status(error, status)
                .retry_after(u64::try_from(seconds).unwrap_or(u64::MAX)));
        }
        Ok(token)
    }

    fn unknown(&self, call: &Call, claimed: Option<&TokenId>, error: Error) -> Failure {
        let status = StatusCode::UNAUTHORIZED;
        self.audit.refused(call, claimed, status, &error);
        Failure::with_status(error, status)
    }
}

/// The one token that a request shows.
fn bearer(headers: &HeaderMap) -> Result<&str, Error> {
    let missing = || {
        Error::denied(
            "this call needs a token; send one header `Authorization: Bearer TOKEN` with it",
        )
    };
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    // Of two, whoever stands before the server may have checked the other.
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(missing());
    };
    let (scheme, token) = value
        .to_str()
        .ok()
        .and_then(|value| value.split_once(' '))
        .ok_or_else(missing)?;
    if !scheme.eq_ignore_ascii_case("bearer") {
        return Err(missing());
    }
    Ok(token.trim_matches(' '))
}
