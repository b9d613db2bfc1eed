//! All of a server's routes.

use std::sync::Arc;

use axum::Router;
use holdall_core::{DynBackend, Env};
use tokio_util::sync::CancellationToken;

use crate::access::{Access, protect};
use crate::compress::compress;
use crate::metrics::{Counted, measure};
use crate::{Limits, Metrics, api, limit_requests};

/// What the routes of a server stand on.
#[derive(Clone, Debug)]
pub struct App {
    /// The store that is served.
    pub store: DynBackend,
    /// Its clock and randomness.
    pub env: Env,
    /// Who may do what.
    pub access: Access,
    /// What is taken.
    pub limits: Limits,
    /// Tells that the server is to end: the one of the server's options.
    pub ending: CancellationToken,
    /// What is counted: the one of the server's options.
    pub metrics: Metrics,
}

impl App {
    /// A store in open mode, with the limits by default.
    pub fn new(store: impl Into<DynBackend>) -> Self {
        Self {
            store: store.into(),
            env: Env::system(),
            access: Access::open(),
            limits: Limits::default(),
            ending: CancellationToken::new(),
            metrics: Metrics::default(),
        }
    }
}

/// The routes of a server: those of `docs/http.md`, within limits, and behind
/// the gate.
///
/// ```
/// use holdall_core::MemoryBackend;
/// use holdall_server::{App, Server, ServerOptions, app};
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// let options = ServerOptions::default();
/// let routes = app(App {
///     limits: options.limits,
///     ending: options.ending.clone(),
///     metrics: options.metrics.clone(),
///     ..App::new(MemoryBackend::new())
/// });
/// let server = Server::bind("127.0.0.1:0", options).await?;
/// server.serve(routes, async {}).await; // until the future is ready
/// # Ok::<(), holdall_core::Error>(())
/// # }).unwrap();
/// ```
pub fn app(app: App) -> Router {
    let access = app.access.max_rate(app.limits.max_rate);
    let store = Counted::new(app.store, app.metrics.clone());
    let routes = api::api(
        Arc::new(store),
        app.env,
        app.limits,
        app.ending,
        app.metrics.clone(),
    );
    let routes = protect(limit_requests(routes, app.limits), access);
    measure(compress(routes), app.metrics)
}
