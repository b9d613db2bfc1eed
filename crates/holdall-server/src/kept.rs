//! What an answer holds until it is complete.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// A body that keeps something until it is complete, or given up.
pub(crate) struct Kept<T> {
    body: Body,
    #[allow(dead_code, reason = "it is there to be dropped")]
    kept: T,
}

impl<T> Kept<T> {
    pub(crate) fn new(body: Body, kept: T) -> Self {
        Self { body, kept }
    }
}

/// An answer that keeps something until it is complete, or given up.
pub(crate) fn keep<T: Unpin + Send + 'static>(response: Response, kept: T) -> Response {
    response.map(|body| Body::new(Kept::new(body, kept)))
}

impl<T: Unpin> http_body::Body for Kept<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
