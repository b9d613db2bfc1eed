//! The gate that every request passes.

use std::sync::Arc;

use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
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
pub(crate) struct Gate {
    pub(super) tokens: Option<Tokens>,
    pub(super) guard: Guard,
    pub(super) rate: Rate,
    pub(super) audit: Arc<Audit>,
}

impl Gate {
    /// Refuses a request, or says who makes it: its handler has a [`Caller`].
    /// What comes back is told how it ended.
    ///
    /// # Errors
    /// The answer to a request that is refused.
    pub(crate) async fn admit(&self, request: Request) -> Result<(Request, Admitted), Failure> {
        let call = Call::of(&request);
        let public = needs_no_token(request.uri().path());
        let (mut parts, body) = request.into_parts();
        if let Err(error) = self.guard.check(&parts, public) {
            self.audit
                .refused(&call, None, StatusCode::FORBIDDEN, &error);
            return Err(error.into());
        }
        if public {
            return Ok((Request::from_parts(parts, body), Admitted(None)));
        }
        let token = match &self.tokens {
            None => None,
            Some(tokens) => {
                let token = self.token(tokens, &call, &parts.headers).await?;
                Some((token, tokens.clone()))
            }
        };
        let caller = Caller::new(token, call, self.audit.clone());
        parts.extensions.insert(caller.clone());
        Ok((Request::from_parts(parts, body), Admitted(Some(caller))))
    }
}

/// A request that passed. It tells of an administrative one, whether its client
/// waits for the end or not.
pub(crate) struct Admitted(Option<Caller>);

impl Admitted {
    pub(crate) fn ended(mut self, status: StatusCode) {
        if let Some(caller) = self.0.take() {
            caller.ended(Some(status));
        }
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if let Some(caller) = self.0.take() {
            caller.ended(None);
        }
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
