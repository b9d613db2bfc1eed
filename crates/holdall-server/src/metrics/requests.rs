//! Requests and their answers, counted.

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::Response;
use http::{HeaderValue, Method, header};
use http_body::Body as _;
use tokio::time::Instant;

use crate::kept::Passing;

use super::{Call, Metrics, Request, Route, Up};

/// A request that is being answered.
pub(crate) struct Counting {
    metrics: Metrics,
    call: Call,
    in_flight: Up,
    begun: Instant,
}

impl Metrics {
    /// Counts a request from now on.
    pub(crate) fn begin(
        &self,
        request: axum::extract::Request,
    ) -> (Counting, axum::extract::Request) {
        let counting = Counting {
            call: Call {
                route: Route(request.extensions().get::<MatchedPath>().cloned()),
                method: name_of(request.method()),
            },
            in_flight: Up::new(&self.0.in_flight),
            begun: Instant::now(),
            metrics: self.clone(),
        };
        let request = request.map(|body| {
            if body.is_end_stream() {
                return body;
            }
            Body::new(Passing {
                body,
                bytes: Some(self.0.received.clone()),
                kept: (),
            })
        });
        (counting, request)
    }
}

impl Counting {
    /// Counts its answer, which keeps something until it is complete.
    pub(crate) fn end(self, response: Response, kept: impl Unpin + Send + 'static) -> Response {
        let Self {
            metrics,
            call,
            in_flight,
            begun,
        } = self;
        let took = begun.elapsed().as_secs_f64();
        metrics.0.seconds.get_or_create(&call).observe(took);
        let answered = Request {
            route: call.route,
            method: call.method,
            status: response.status().as_u16(),
        };
        metrics.0.requests.get_or_create(&answered).inc();

        // An answer of a known size is in memory already.
        let bytes = match response.body().size_hint().exact() {
            Some(size) => {
                metrics.0.sent.inc_by(size);
                None
            }
            None => Some(metrics.0.sent.clone()),
        };
        let watches = response.headers().get(header::CONTENT_TYPE)
            == Some(&HeaderValue::from_static("text/event-stream"));
        let kept = (kept, (!watches).then_some(in_flight));
        response.map(|body| Body::new(Passing { body, bytes, kept }))
    }
}

/// A method by its name; a client may make up others.
fn name_of(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::PUT => "PUT",
        Method::POST => "POST",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        Method::PATCH => "PATCH",
        _ => "other",
    }
}
