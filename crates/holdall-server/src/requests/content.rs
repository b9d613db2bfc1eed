//! The content of requests as it comes in.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use bytes::Bytes;
use holdall_core::Error;
use http::StatusCode;
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{Failure, Limits};

/// What became of the content of a request.
pub(super) struct Progress(Mutex<State>);

struct State {
    /// When the client was last waited for; `None` while it is.
    last: Option<Instant>,
    failure: Option<Failure>,
}

impl Progress {
    /// When the client was last waited for.
    pub(super) fn last(&self) -> Instant {
        self.0.lock().last.unwrap_or_else(Instant::now)
    }

    /// What was wrong with it, once.
    pub(super) fn take_failure(&self) -> Option<Failure> {
        self.0.lock().failure.take()
    }
}

/// A request whose content keeps to the limits, or fails.
pub(super) fn measured(
    request: Request,
    limits: &Limits,
) -> Result<(Request, Option<Arc<Progress>>), Failure> {
    let body = request.body();
    if body.is_end_stream() {
        return Ok((request, None));
    }
    if body.size_hint().lower() > limits.max_body {
        return Err(too_large(limits.max_body));
    }
    let progress = Arc::new(Progress(Mutex::new(State {
        last: Some(Instant::now()),
        failure: None,
    })));
    let request = request.map(|body| {
        Body::new(Measured {
            body,
            max: limits.max_body,
            pace: Pace {
                time: limits.body_time,
                rate: limits.body_rate,
            },
            received: 0,
            waited: Duration::ZERO,
            waiting: None,
            clock: None,
            progress: progress.clone(),
        })
    });
    Ok((request, Some(progress)))
}

fn too_large(max: u64) -> Failure {
    Error::too_large(format!("the request has more than {max} bytes of content")).into()
}

#[derive(Clone, Copy)]
struct Pace {
    time: Duration,
    rate: u64,
}

impl Pace {
    /// How long so many bytes may take.
    fn allows(self, bytes: u64) -> Duration {
        let seconds = bytes / self.rate.max(1);
        self.time.saturating_add(Duration::from_secs(seconds))
    }
}

struct Measured {
    body: Body,
    max: u64,
    pace: Pace,
    received: u64,
    /// How long the client was waited for. How long the store takes is not its
    /// fault.
    waited: Duration,
    /// Since when it is waited for.
    waiting: Option<Instant>,
    clock: Option<Pin<Box<Sleep>>>,
    progress: Arc<Progress>,
}

impl Measured {
    fn fail(&mut self, failure: Failure) -> axum::Error {
        let text = failure.error().message().to_owned();
        self.progress.0.lock().failure = Some(failure);
        axum::Error::new(std::io::Error::other(text))
    }
}

impl http_body::Body for Measured {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        let now = Instant::now();
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            if let Some(since) = this.waiting.take() {
                this.waited += now - since;
            }
            this.progress.0.lock().last = Some(now);
            if let Some(Ok(frame)) = &frame {
                let count = frame.data_ref().map_or(0, Bytes::len);
                this.received += count as u64;
                if this.received > this.max {
                    let failure = too_large(this.max);
                    return Poll::Ready(Some(Err(this.fail(failure))));
                }
            }
            return Poll::Ready(frame);
        }
        this.progress.0.lock().last = None;
        let since = *this.waiting.get_or_insert(now);
        let allowed = this.pace.allows(this.received);
        let due = since + allowed.saturating_sub(this.waited);
        let clock = this.clock.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if clock.deadline() != due {
            clock.as_mut().reset(due);
        }
        if clock.as_mut().poll(cx).is_pending() {
            return Poll::Pending;
        }
        let error = Error::timeout(format!(
            "the content of the request came too slowly: {} bytes, and the client was waited \
             for for {} s",
            this.received,
            allowed.as_secs()
        ));
        let failure = Failure::with_status(error, StatusCode::REQUEST_TIMEOUT);
        Poll::Ready(Some(Err(this.fail(failure))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
