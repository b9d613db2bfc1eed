//! What content holds until it is complete.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;

/// Content on its way.
pub(crate) struct Passing<T> {
    pub(crate) body: Body,
    /// Counts its bytes, where they were not counted before.
    pub(crate) bytes: Option<Counter>,
    /// Dropped when it is complete, or given up.
    #[allow(dead_code, reason = "it is there to be dropped")]
    pub(crate) kept: T,
}

/// An answer that keeps something until it is complete, or given up.
pub(crate) fn keep<T: Unpin + Send + 'static>(response: Response, kept: T) -> Response {
    let bytes = None;
    response.map(|body| Body::new(Passing { body, bytes, kept }))
}

impl<T: Unpin> http_body::Body for Passing<T> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(bytes) = &self.bytes
            && let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            bytes.inc_by(data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
