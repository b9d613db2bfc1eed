//! What stands around all routes: how many requests at once, how long they
//! take, and how their content comes in.

mod content;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use holdall_core::{Error, Retry, Version};
use http::{Method, StatusCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};
use tower::Service;

use self::content::{Progress, measured};
use crate::kept::keep;
use crate::{Failure, Limits};

/// Puts the limits on requests around routes.
///
/// - More than `max_requests` in flight are answered with 503 at once. A request
///   is in flight until its answer is complete. Watchers have a limit of their
///   own, and `/health`, `/ready` and `/metrics` none: who asks whether a server
///   is busy must be answered.
/// - Content of more than `max_body` is answered with 413, before it is read
///   where its length is told; content that comes more slowly than `body_time`
///   and `body_rate` allow with 408.
/// - What takes longer than `request_time` until its answer begins, and does not
///   wait for its content meanwhile, is answered with 504, which for a write
///   leaves open whether it happened.
pub fn limit_requests(routes: Router, limits: Limits) -> Router {
    let bounds = Arc::new(Bounds::new(limits));
    routes.layer(from_fn_with_state(bounds, guard))
}

async fn guard(State(bounds): State<Arc<Bounds>>, request: Request, next: Next) -> Response {
    let (response, place) = bounds.run(request, next).await;
    keep(response, place)
}

/// What [`limit_requests`] goes by.
#[derive(Debug)]
pub(crate) struct Bounds {
    limits: Limits,
    places: Arc<Semaphore>,
}

/// The place of a request among those in flight.
pub(crate) type Place = OwnedSemaphorePermit;

/// Paths that are not counted.
const UNCOUNTED: [&str; 4] = ["/v1/watch", "/health", "/ready", "/metrics"];

impl Bounds {
    pub(crate) fn new(limits: Limits) -> Self {
        Self {
            places: Arc::new(Semaphore::new(limits.max_requests)),
            limits,
        }
    }

    /// Answers a request, with what is to be kept until the answer is complete.
    pub(crate) async fn run(
        &self,
        request: Request,
        mut next: impl Service<Request, Response = Response, Error = Infallible>,
    ) -> (Response, Option<Place>) {
        let place = match self.place(request.uri().path()) {
            Ok(place) => place,
            Err(failure) => return (failure.into_response(), None),
        };
        let (request, progress) = match measured(request, &self.limits) {
            Ok(measured) => measured,
            Err(failure) => return (failure.into_response(), place),
        };
        let unanswered = Unanswered::of(&request);
        let mut answer = std::pin::pin!(next.call(request));
        let begun = Instant::now();
        let wait = self.limits.request_time;
        let mut clock = std::pin::pin!(sleep_until(begun + wait));
        let response = std::future::poll_fn(|cx| {
            if let std::task::Poll::Ready(Ok(response)) = answer.as_mut().poll(cx) {
                return response_of(response, progress.as_deref()).into();
            }
            while clock.as_mut().poll(cx).is_ready() {
                // Time in which content came in does not count.
                let since = progress.as_ref().map_or(begun, |progress| progress.last());
                let due = since.max(begun) + wait;
                if due <= Instant::now() {
                    return unanswered.failure(wait).into_response().into();
                }
                clock.as_mut().reset(due);
            }
            std::task::Poll::Pending
        })
        .await;
        (response, place)
    }

    fn place(&self, path: &str) -> Result<Option<Place>, Failure> {
        if UNCOUNTED.contains(&path) {
            return Ok(None);
        }
        match self.places.clone().try_acquire_owned() {
            Ok(place) => Ok(Some(place)),
            Err(_) => Err(Error::unavailable(format!(
                "the server has {} requests in flight, and takes no more; try again later",
                self.limits.max_requests
            ))
            .into()),
        }
    }
}

/// The answer of a route, or what was wrong with the content that it could not
/// read.
fn response_of(response: Response, progress: Option<&Progress>) -> Response {
    match progress.and_then(Progress::take_failure) {
        Some(failure) if !response.status().is_success() => failure.into_response(),
        _ => response,
    }
}

/// What there is to say of a request without an answer.
struct Unanswered {
    writes: bool,
    batch: Option<Version>,
}

impl Unanswered {
    fn of(request: &Request) -> Self {
        const READS: [&str; 3] = ["/v1/query", "/v1/count", "/v1/get-many"];
        let path = request.uri().path();
        let reads = matches!(
            *request.method(),
            Method::GET | Method::HEAD | Method::OPTIONS
        ) || READS.contains(&path)
            || (path.starts_with("/v1/transactions/") && path.ends_with("/query"));
        let batch = || request.headers().get("holdall-batch")?.to_str().ok();
        Self {
            writes: !reads,
            batch: if reads {
                None
            } else {
                batch().and_then(|id| id.parse().ok())
            },
        }
    }

    fn failure(&self, time: Duration) -> Failure {
        let seconds = time.as_secs_f64();
        let (retry, advice) = if self.writes {
            (
                Retry::Unknown,
                "it may have happened: look before you repeat it",
            )
        } else {
            (Retry::Yes, "try again, or ask for less at once")
        };
        let error = Error::timeout(format!(
            "the request was not answered within {seconds} s; {advice}"
        ))
        .with_retry(retry);
        let error = match self.batch {
            Some(id) => error.for_batch(id),
            None => error,
        };
        Failure::with_status(error, StatusCode::GATEWAY_TIMEOUT)
    }
}
