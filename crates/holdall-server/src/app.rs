//! All of a server's routes.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::Route;
use futures_util::future::{BoxFuture, FutureExt};
use holdall_core::{DynBackend, Env};
use tokio_util::sync::CancellationToken;
use tower::Service;
use tower::layer::layer_fn;

use crate::access::{Access, Gate};
use crate::metrics::Counted;
use crate::requests::Bounds;
use crate::{Limits, Metrics, ServerOptions, api};

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

    /// The same, with what the routes share with the server that answers.
    pub fn of(store: impl Into<DynBackend>, options: &ServerOptions) -> Self {
        Self {
            limits: options.limits,
            ending: options.ending.clone(),
            metrics: options.metrics.clone(),
            ..Self::new(store)
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
/// let routes = app(App::of(MemoryBackend::new(), &options));
/// let server = Server::bind("127.0.0.1:0", options).await?;
/// server.serve(routes, async {}).await; // until the future is ready
/// # Ok::<(), holdall_core::Error>(())
/// # }).unwrap();
/// ```
pub fn app(app: App) -> Router {
    let (gate, cors) = app.access.max_rate(app.limits.max_rate).gate();
    let front = Arc::new(Front {
        gate,
        bounds: Bounds::new(app.limits),
        metrics: app.metrics.clone(),
    });
    let store = Arc::new(Counted::new(app.store, app.metrics.clone()));
    let routes = api::api(store, app.env, app.limits, app.ending, app.metrics);
    let routes = routes.layer(layer_fn(move |route| Fronted {
        front: front.clone(),
        route,
    }));
    match cors {
        // Outside of the gate: preflights have no token, and pages read why
        // they were refused.
        Some(cors) => routes.layer(cors),
        None => routes,
    }
}

/// What every request passes on its way to its handler.
///
/// In one function, not in a layer for each: axum copies all that a layer stands
/// around for every request, and five of them took longer than a read. Nor is it
/// axum's `from_fn`, which copies twice and boxes what it copied.
struct Front {
    gate: Gate,
    bounds: Bounds,
    metrics: Metrics,
}

impl Front {
    async fn pass(&self, request: Request, route: Route) -> Response {
        let (counting, request) = self.metrics.begin(request);
        let (response, place) = match self.gate.admit(request).await {
            Err(failure) => (failure.into_response(), None),
            Ok((request, admitted)) => {
                let (response, place) = self.bounds.run(request, route).await;
                admitted.ended(response.status());
                (response, place)
            }
        };
        counting.end(response, place)
    }
}

/// A route behind the front.
#[derive(Clone)]
struct Fronted {
    front: Arc<Front>,
    route: Route,
}

impl Service<Request> for Fronted {
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Service::<Request>::poll_ready(&mut self.route, cx)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let Self { front, route } = self.clone();
        async move { Ok(front.pass(request, route).await) }.boxed()
    }
}
