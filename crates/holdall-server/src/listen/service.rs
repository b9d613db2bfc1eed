//! The requests of one connection on their way to the routes.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::Router;
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::future::RouteFuture;
use bytes::Bytes;
use holdall_core::Error;
use http::{HeaderValue, Request, StatusCode, Version, header};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use pin_project_lite::pin_project;
use tower::Service as _;

use super::pulse::{Head, Pulse};
use crate::Failure;

/// Who is at the other end of a connection; an extension of each request.
#[derive(Clone, Debug)]
pub struct Peer(Arc<PeerInfo>);

#[derive(Debug)]
struct PeerInfo {
    address: Option<SocketAddr>,
    tls: bool,
    certified: bool,
}

impl Peer {
    pub(super) fn new(address: Option<SocketAddr>, tls: bool, certified: bool) -> Self {
        Self(Arc::new(PeerInfo {
            address,
            tls,
            certified,
        }))
    }

    /// Its address; none where it came through a Unix socket.
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.address
    }

    /// Whether it speaks TLS.
    pub fn is_tls(&self) -> bool {
        self.0.tls
    }

    /// Whether it showed a certificate that the server asked for.
    pub fn is_certified(&self) -> bool {
        self.0.certified
    }
}

pub(super) struct Service {
    pub(super) app: Router,
    pub(super) pulse: Pulse,
    pub(super) peer: Peer,
    pub(super) max_headers: usize,
}

impl hyper::service::Service<Request<Incoming>> for Service {
    type Response = http::Response<Answered>;
    type Error = Infallible;
    type Future = Serving;

    fn call(&self, request: Request<Incoming>) -> Serving {
        let head = self.pulse.begin();
        let flight = Flight(self.pulse.clone());
        let chunked = request.headers().contains_key(header::TRANSFER_ENCODING);
        let http1 = request.version() < Version::HTTP_2;
        if let Err(failure) = check(&request, &head, self.max_headers) {
            let response = Some(failure.into_response());
            let pulse = &self.pulse;
            if !http_body::Body::is_end_stream(request.body()) {
                pulse.leave_unread();
            }
            let state = State::Refused { response };
            return Serving {
                state,
                close: true,
                http1,
                flight: Some(flight),
            };
        }
        let pulse = self.pulse.clone();
        let mut request = request.map(|inner| Asked { inner, pulse });
        request.extensions_mut().insert(self.peer.clone());
        Serving {
            state: State::Routed {
                future: self.app.clone().call(request),
            },
            // A proxy may have read the length of a request that has both, and
            // hyper does not tell which requests had: so nothing comes behind
            // one that is chunked.
            close: chunked,
            http1,
            flight: Some(flight),
        }
    }
}

/// What hyper lets through and RFC 9112 does not.
fn check(request: &Request<Incoming>, head: &Head, max_headers: usize) -> Result<(), Failure> {
    let headers = request.headers();
    if headers.len() > max_headers {
        let error = Error::too_large(format!(
            "the request has {} headers; the limit is {max_headers}",
            headers.len()
        ));
        let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
        return Err(Failure::with_status(error, status));
    }
    if head.length && headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(Error::invalid(
            "the request has a Content-Length and a Transfer-Encoding; it is one or the other",
        )
        .into());
    }
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() || (host.is_none() && request.version() == Version::HTTP_11) {
        return Err(Error::invalid("a request has one header Host").into());
    }
    Ok(())
}

/// Keeps a request counted until its answer is complete or given up.
struct Flight(Pulse);

impl Drop for Flight {
    fn drop(&mut self) {
        self.0.end();
    }
}

pin_project! {
    /// A request that is worked on.
    pub(super) struct Serving {
        #[pin]
        state: State,
        close: bool,
        http1: bool,
        flight: Option<Flight>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State {
        Refused { response: Option<Response> },
        Routed { #[pin] future: RouteFuture<Infallible> },
    }
}

impl Future for Serving {
    type Output = Result<http::Response<Answered>, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.state.project() {
            StateProj::Refused { response } => response.take().unwrap_or_default(),
            StateProj::Routed { future } => match ready!(future.poll(cx)) {
                Ok(response) => response,
                Err(never) => match never {},
            },
        };
        let flight = this.flight.take();
        // What nobody reads is between this request and the next.
        let unread = flight.as_ref().is_some_and(|flight| flight.0.is_unread());
        if *this.http1 && (*this.close || unread) {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        Poll::Ready(Ok(response.map(|body| Answered::new(body, flight))))
    }
}

/// The content of a request.
struct Asked {
    inner: Incoming,
    pulse: Pulse,
}

impl Drop for Asked {
    fn drop(&mut self) {
        if !http_body::Body::is_end_stream(&self.inner) {
            self.pulse.leave_unread();
        }
    }
}

impl http_body::Body for Asked {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// The content of an answer.
pub(super) struct Answered {
    body: Body,
    flight: Option<Flight>,
    /// What tells how it gets on.
    number: Option<u64>,
    /// What is left of a large piece.
    rest: Bytes,
}

/// HTTP/2 holds a piece until there is room for all of it, so none is larger.
const PIECE: usize = 64 * 1024;

impl Answered {
    fn new(body: Body, flight: Option<Flight>) -> Self {
        let answered = Self {
            number: flight.as_ref().and_then(|flight| flight.0.answer()),
            body,
            flight,
            rest: Bytes::new(),
        };
        answered.handed();
        answered
    }

    fn handed(&self) {
        if let (Some(flight), Some(number)) = (&self.flight, self.number) {
            flight.0.handed(number);
        }
    }

    fn asked(&self) {
        if let (Some(flight), Some(number)) = (&self.flight, self.number) {
            flight.0.asked(number);
        }
    }
}

impl Drop for Answered {
    fn drop(&mut self) {
        self.asked();
    }
}

impl http_body::Body for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        this.asked();
        if this.rest.is_empty() {
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => return Poll::Ready(end),
            }
        }
        let most = if this.number.is_some() {
            PIECE
        } else {
            usize::MAX
        };
        let piece = this.rest.split_to(most.min(this.rest.len()));
        this.handed();
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.len() as u64;
        let inner = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(inner.lower() + rest);
        if let Some(upper) = inner.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}
