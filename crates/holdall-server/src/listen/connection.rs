//! One connection, from its first byte to its last.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::Poll;

use axum::Router;
use futures_util::future::Either;
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use super::guard::{Guard, LINGER};
use super::pulse::{Due, Pulse};
use super::service::{Peer, Service};
use super::socket::Stream;
use super::tls::Tls;
use crate::Limits;

/// What all connections have in common.
pub(super) struct Shared {
    pub(super) app: Router,
    pub(super) limits: Limits,
    /// That no request is to begin, and that none is to go on.
    pub(super) ending: CancellationToken,
    pub(super) over: CancellationToken,
    pub(super) tls: Option<Tls>,
    pub(super) http: Http,
}

/// How HTTP is spoken, in either version.
///
/// They are told apart before the connection is built. What hyper-util has for
/// it reads the first bytes itself, and each connection then has twice the
/// buffer.
pub(super) struct Http {
    one: http1::Builder,
    two: http2::Builder<TokioExecutor>,
}

/// Requests of one HTTP/2 connection at once.
const MAX_STREAMS: u32 = 256;

/// What a connection may hold of a body that nobody has read yet, or taken yet.
const BUFFER: u32 = 128 * 1024;

/// How HTTP is spoken within limits.
pub(super) fn http(limits: &Limits) -> Http {
    let max_head = usize::try_from(limits.max_head).unwrap_or(usize::MAX);
    let mut one = http1::Builder::new();
    one.timer(TokioTimer::new())
        // `Pulse` tells a slow head from a connection that waits.
        .header_read_timeout(None)
        .max_buf_size(max_head.max(BUFFER as usize));
    // hyper's own 100 cost no allocation.
    if limits.max_headers != 100 {
        one.max_headers(limits.max_headers);
    }
    let mut two = http2::Builder::new(TokioExecutor::new());
    two.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_header_list_size(u32::try_from(limits.max_head).unwrap_or(u32::MAX))
        .initial_stream_window_size(BUFFER)
        .initial_connection_window_size(8 * BUFFER)
        .max_send_buf_size(BUFFER as usize)
        // Streams that are opened and reset at once cost the server work and the
        // client none.
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(100)
        .keep_alive_interval(limits.write_time)
        .keep_alive_timeout(limits.write_time);
    Http { one, two }
}

impl Shared {
    pub(super) async fn serve(&self, stream: Stream, address: Option<SocketAddr>) {
        let (stream, tls) = match (stream, &self.tls) {
            (Stream::Tcp(stream), Some(tls)) => {
                let handshake = TlsAcceptor::from(tls.config()).accept(stream);
                match timeout(self.limits.head_time, handshake).await {
                    Ok(Ok(stream)) => (Stream::Tls(Box::new(stream)), true),
                    Ok(Err(error)) => {
                        tracing::debug!(?address, %error, "a TLS handshake failed");
                        return;
                    }
                    Err(_) => {
                        tracing::debug!(?address, "a TLS handshake took too long");
                        return;
                    }
                }
            }
            (stream, _) => (stream, false),
        };
        let certified = tls && self.tls.as_ref().is_some_and(Tls::asks_clients);
        let peer = Peer::new(address, tls, certified);
        let first = timeout(self.limits.head_time, stream.speaks_http2());
        let first = tokio::select! {
            first = first => first,
            () = self.ending.cancelled() => return,
        };
        // Else it is gone, or has said nothing for so long.
        if let Ok(Ok(http2)) = first {
            self.drive(stream, http2, peer).await;
        }
    }

    async fn drive(&self, stream: Stream, http2: bool, peer: Peer) {
        let pulse = Pulse::new();
        let guard = Guard::new(stream, pulse.clone(), self.limits.max_head);
        let service = Service {
            app: self.app.clone(),
            pulse: pulse.clone(),
            peer,
            max_headers: self.limits.max_headers,
        };
        let io = TokioIo::new(guard);
        let mut connection = pin!(if http2 {
            // Few connections are, and they are large.
            Either::Left(Box::pin(self.http.two.serve_connection(io, service)))
        } else {
            Either::Right(self.http.one.serve_connection(io, service))
        });
        let mut stage = pin!(self.ending.cancelled());
        let mut ending = false;
        // When it is over even if the peer does not see it.
        let mut last: Option<Instant> = None;
        let mut clock = pin!(sleep_until(Instant::now() + self.limits.head_time));
        poll_fn(|cx| {
            while stage.as_mut().poll(cx).is_ready() {
                if ending || pulse.is_unused() {
                    return Poll::Ready(());
                }
                ending = true;
                finish(connection.as_mut());
                stage.set(self.over.cancelled());
            }
            if connection.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            loop {
                let now = Instant::now();
                let due = pulse.next(&self.limits);
                let at = match (last, due) {
                    (_, Some((at, Due::Write))) if at <= now => return Poll::Ready(()),
                    (Some(last), _) if last <= now && !pulse.is_busy() => return Poll::Ready(()),
                    (None, Some((at, due))) if at <= now => {
                        let left = if due == Due::Head {
                            pulse.set_late();
                            2 * LINGER
                        } else {
                            finish(connection.as_mut());
                            self.limits.head_time
                        };
                        last = Some(now + left);
                        if connection.as_mut().poll(cx).is_ready() {
                            return Poll::Ready(());
                        }
                        continue;
                    }
                    (_, Some((at, Due::Write))) => at,
                    (Some(last), _) if last > now => last,
                    (None, Some((at, _))) => at,
                    // With requests in flight nothing is due; what ends them may
                    // not wake this task, so it looks now and then.
                    (_, _) => now + self.limits.idle_time,
                };
                // It is set earlier at once, and later when it rings.
                if at < clock.deadline() || clock.is_elapsed() {
                    clock.as_mut().reset(at);
                }
                if clock.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
            }
        })
        .await;
    }
}

type Io = TokioIo<Guard>;
type Spoken =
    Either<Pin<Box<http2::Connection<Io, Service, TokioExecutor>>>, http1::Connection<Io, Service>>;

/// Lets the request that is under way be the last.
fn finish(connection: Pin<&mut Spoken>) {
    match connection.as_pin_mut() {
        Either::Left(http2) => http2.get_mut().as_mut().graceful_shutdown(),
        Either::Right(http1) => http1.graceful_shutdown(),
    }
}
