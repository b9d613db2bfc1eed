//! Taking connections in.

mod answer;
mod connection;
mod guard;
mod head;
mod pulse;
mod service;
mod socket;
mod tls;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use holdall_core::Error;
use http::StatusCode;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use self::connection::Shared;
pub use self::service::Peer;
pub(crate) use self::socket::Listener;
use self::socket::Stream;
pub use self::tls::{Tls, TlsFiles};
use crate::{Limits, Metrics};

/// So many connections at once are told that there are too many; more are
/// closed without a word.
const REFUSALS: usize = 64;

/// How long one is told.
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// How long to wait when the system gives no connection: without file handles,
/// say, the next attempt fails at once.
const PAUSE: Duration = Duration::from_millis(100);

/// How often the same trouble is logged.
const LOG_EVERY: Duration = Duration::from_secs(10);

/// The connections of a server.
pub(crate) struct Connections {
    shared: Arc<Shared>,
    places: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    metrics: Metrics,
}

impl Connections {
    pub(crate) fn new(
        app: Router,
        limits: Limits,
        tls: Option<Tls>,
        ending: CancellationToken,
        metrics: Metrics,
    ) -> Self {
        let http = connection::http(&limits);
        Self {
            shared: Arc::new(Shared {
                app,
                limits,
                ending,
                over: CancellationToken::new(),
                tls,
                http,
            }),
            places: Arc::new(Semaphore::new(limits.max_connections)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            metrics,
        }
    }

    /// Takes connections in for as long as it is polled.
    pub(crate) async fn accept(&self, listener: &Listener) {
        let mut quiet_until = Instant::now();
        let mut may_log = || {
            let now = Instant::now();
            let may = now >= quiet_until;
            if may {
                quiet_until = now + LOG_EVERY;
            }
            may
        };
        loop {
            let (stream, address) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) if is_of_the_peer(&error) => continue,
                Err(error) => {
                    if may_log() {
                        tracing::error!(%error, "no connection can be taken in");
                    }
                    sleep(PAUSE).await;
                    continue;
                }
            };
            if let Ok(place) = self.places.clone().try_acquire_owned() {
                let shared = self.shared.clone();
                let counted = self.metrics.connection();
                tokio::spawn(async move {
                    shared.serve(stream, address).await;
                    drop((place, counted));
                });
                continue;
            }
            self.metrics.refused_connection();
            if may_log() {
                let most = self.shared.limits.max_connections;
                tracing::warn!(max_connections = most, "there are too many connections");
            }
            let tls = self.shared.tls.is_some();
            if let Ok(permit) = self.refusals.clone().try_acquire_owned() {
                tokio::spawn(async move {
                    let _ = timeout(REFUSAL_TIME, refuse(stream, tls)).await;
                    drop(permit);
                });
            }
        }
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        let free = self.places.available_permits();
        self.shared.limits.max_connections.saturating_sub(free)
    }

    /// Closes them, whatever is in flight.
    pub(crate) fn give_up(&self) {
        self.shared.over.cancel();
    }

    /// Ready when all are closed.
    pub(crate) async fn closed(&self) {
        let all = u32::try_from(self.shared.limits.max_connections).unwrap_or(u32::MAX);
        // The semaphore is never closed.
        let _ = self.places.acquire_many(all).await;
    }
}

/// Whether it went wrong because of who wanted to connect.
fn is_of_the_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset
    )
}

/// Says that there are too many connections. Before a TLS handshake there is no
/// way to say it.
async fn refuse(mut stream: Stream, tls: bool) {
    if tls {
        return;
    }
    let error = Error::unavailable("the server has too many connections; try again later");
    let words = answer::last_words(&error, StatusCode::SERVICE_UNAVAILABLE);
    if stream.write_all(&words).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    // Closed with bytes unread, the peer would see a reset and no answer.
    let mut space = [0; 1024];
    while stream.read(&mut space).await.is_ok_and(|count| count > 0) {}
}
