//! An answer without an end, until there is one.

use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::{Body, Frame, SizeHint};

/// A body that ends, as if it were complete, when the future is ready.
pub(super) struct Until<B> {
    body: B,
    end: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
}

impl<B> Until<B> {
    pub(super) fn new(body: B, end: impl Future<Output = ()> + Send + 'static) -> Self {
        Self {
            body,
            end: Some(Box::pin(end)),
        }
    }
}

impl<B: Body + Unpin> Body for Until<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = &mut *self;
        let Some(end) = &mut this.end else {
            return Poll::Ready(None);
        };
        if end.as_mut().poll(cx).is_ready() {
            this.end = None;
            return Poll::Ready(None);
        }
        Pin::new(&mut this.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.end.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
