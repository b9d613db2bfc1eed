//! Requests and their answers, counted.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::body::Body;
use axum::extract::MatchedPath;
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderValue, Method, header};
use http_body::{Body as _, Frame, SizeHint};
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;

use super::{Call, Metrics, Request, Up};

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
                route: template(&request),
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
                bytes: self.0.received.clone(),
                in_flight: None,
            })
        });
        (counting, request)
    }
}

impl Counting {
    /// Counts its answer.
    pub(crate) fn end(self, response: Response) -> Response {
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
        if let Some(size) = response.body().size_hint().exact() {
            metrics.0.sent.inc_by(size);
            return response;
        }
        let watches = response.headers().get(header::CONTENT_TYPE)
            == Some(&HeaderValue::from_static("text/event-stream"));
        let in_flight = Some(in_flight).filter(|_| !watches);
        response.map(|body| {
            Body::new(Passing {
                body,
                bytes: metrics.0.sent.clone(),
                in_flight,
            })
        })
    }
}

/// The route as the document writes it.
fn template(request: &axum::extract::Request) -> String {
    match request.extensions().get::<MatchedPath>() {
        Some(path) => path.as_str().replace("{*", "{"),
        None => "none".to_owned(),
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

/// Content whose bytes are counted on their way.
struct Passing {
    body: Body,
    bytes: Counter,
    #[allow(dead_code, reason = "it counts until it is dropped")]
    in_flight: Option<Up>,
}

impl http_body::Body for Passing {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
        {
            self.bytes.inc_by(data.len() as u64);
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
