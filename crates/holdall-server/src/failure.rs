//! What went wrong, as a response.

use axum::response::{IntoResponse, Response};
use holdall_core::{Error, ErrorKind};
use holdall_wire::{Problem, status_of};
use http::{HeaderName, HeaderValue, StatusCode, header};

/// An error on its way to the client: the one place where errors become
/// responses.
#[derive(Debug)]
pub struct Failure {
    error: Error,
    status: StatusCode,
    retry_after: Option<u64>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Failure {
    /// An error with a status that says more than its kind does.
    pub fn with_status(error: Error, status: StatusCode) -> Self {
        Self {
            retry_after: matches!(error.kind(), ErrorKind::Unavailable).then_some(1),
            error,
            status,
            header: None,
        }
    }

    /// The same with a header that belongs to its status.
    #[must_use]
    pub(crate) fn with_header(mut self, name: HeaderName, value: Option<HeaderValue>) -> Self {
        self.header = value.map(|value| (name, value));
        self
    }

    /// The same, telling when to try again, in seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The error.
    pub fn error(&self) -> &Error {
        &self.error
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let status = status_of(error.kind());
        Self::with_status(error, status)
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let problem = Problem::with_status(&self.error, self.status);
        let text = serde_json::to_vec(&problem).unwrap_or_default();
        let mut response = (
            self.status,
            [
                (header::CONTENT_TYPE, Problem::TYPE),
                (header::CACHE_CONTROL, "no-store"),
            ],
            text,
        )
            .into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some((name, value)) = self.header {
            headers.insert(name, value);
        }
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer realm=\"holdall\"");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        response
    }
}

/// What a handler answers.
pub type Answer<T = Response> = Result<T, Failure>;
