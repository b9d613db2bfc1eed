//! The routes: `docs/http.md` is their contract.

mod about;
mod batch;
mod conditions;
mod content;
mod item;
mod page;
mod params;
mod put;
mod schema;
mod transaction;
mod watch;

use std::sync::Arc;

use axum::Router;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use holdall_core::{Capabilities, DynBackend, Env, Error};
use http::StatusCode;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::budget::Budget;
use crate::compress::compress;
use crate::openapi::{self, Pages};
use crate::{Answer, Failure, Limits, Metrics};

pub(crate) use about::Well;
pub(crate) use schema::Collections;
pub(crate) use transaction::{Begun, Committed};

/// What the routes work with. Clones are of one server.
#[derive(Clone, Debug)]
pub(crate) struct Api(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    backend: DynBackend,
    env: Env,
    limits: Limits,
    can: Capabilities,
    budget: Budget,
    watchers: Arc<Semaphore>,
    transactions: transaction::Open,
    ending: CancellationToken,
    pages: Pages,
    metrics: Metrics,
}

impl Api {
    fn new(
        backend: DynBackend,
        env: Env,
        limits: Limits,
        ending: CancellationToken,
        pages: Pages,
        metrics: Metrics,
    ) -> Self {
        Self(Arc::new(Inner {
            can: within(backend.capabilities(), &limits),
            backend,
            env,
            limits,
            budget: Budget::new(limits.max_buffered),
            watchers: Arc::new(Semaphore::new(limits.max_watchers)),
            transactions: transaction::Open::new(&limits),
            ending,
            pages,
            metrics,
        }))
    }

    fn backend(&self) -> &DynBackend {
        &self.0.backend
    }

    fn env(&self) -> &Env {
        &self.0.env
    }

    fn limits(&self) -> &Limits {
        &self.0.limits
    }

    /// What the store can do, through this server.
    fn can(&self) -> &Capabilities {
        &self.0.can
    }

    /// How many watch.
    fn watching(&self) -> usize {
        let free = self.0.watchers.available_permits();
        self.0.limits.max_watchers.saturating_sub(free)
    }

    fn is_ending(&self) -> bool {
        self.0.ending.is_cancelled()
    }

    fn budget(&self) -> &Budget {
        &self.0.budget
    }
}

/// What the limits of the server leave of what a store can do.
fn within(can: Capabilities, limits: &Limits) -> Capabilities {
    let mut can = can;
    can.batch.max_ops = can.batch.max_ops.min(limits.max_batch_ops);
    can.batch.max_bytes = can.batch.max_bytes.min(limits.max_batch);
    can.max_doc = can
        .max_doc
        .min(usize::try_from(limits.max_doc).unwrap_or(usize::MAX));
    can.max_body = can.max_body.min(limits.max_body);
    // A stream of items is read in pages.
    can.snapshot = can.snapshot.min(holdall_core::Snapshot::Page);
    can
}

/// The API of a store. `ending` tells it that the server is to end.
pub(crate) fn api(
    backend: DynBackend,
    env: Env,
    limits: Limits,
    ending: CancellationToken,
    metrics: Metrics,
) -> Router {
    let (routes, document) = routes().split_for_parts();
    let pages = Pages::of(&openapi::finish(document));
    let api = Api::new(backend, env, limits, ending, pages, metrics);
    routes
        .fallback(any(no_such_path))
        .method_not_allowed_fallback(wrong_method)
        .with_state(api)
}

/// The routes, each with what the document says of it. A route that is not
/// made by `routes!` would not be in the document.
fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(openapi::base())
        .routes(routes!(
            item::get_by_path,
            item::put_by_path,
            item::delete_by_path
        ))
        .routes(routes!(item::get, item::put, item::delete))
        .routes(routes!(batch::stage))
        .routes(routes!(batch::write))
        .routes(routes!(batch::resolve))
        .routes(routes!(schema::define))
        .routes(routes!(transaction::begin))
        .routes(routes!(transaction::rollback))
        .routes(routes!(
            transaction::get,
            transaction::put,
            transaction::delete
        ))
        .routes(routes!(transaction::commit))
        .routes(routes!(watch::watch))
        .routes(routes!(about::capabilities))
        .routes(routes!(about::health))
        .routes(routes!(about::ready))
        .routes(routes!(about::start))
        .merge(compress(long_answers()))
}

/// The routes whose answers may be worth compressing.
fn long_answers() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(page::get_many))
        .routes(routes!(page::scan))
        .routes(routes!(page::query))
        .routes(routes!(page::count))
        .routes(routes!(schema::collections, schema::drop))
        .routes(routes!(transaction::query))
        .routes(routes!(about::metrics))
        .routes(routes!(about::document))
        .routes(routes!(about::page))
        .routes(routes!(about::look))
}

async fn no_such_path(request: Request) -> Failure {
    Error::not_found(format!(
        "there is nothing at {:?}; /docs lists what there is",
        request.uri().path()
    ))
    .into()
}

async fn wrong_method(request: Request) -> Failure {
    let error = Error::invalid(format!(
        "{:?} does not take {}; /docs lists what it takes",
        request.uri().path(),
        request.method()
    ));
    Failure::with_status(error, StatusCode::METHOD_NOT_ALLOWED)
}

/// An answer in JSON that nobody is to keep.
fn json(status: StatusCode, value: &impl serde::Serialize) -> Answer {
    let text = serde_json::to_vec(value)
        .map_err(|error| Error::other("the answer cannot be written").because(error))?;
    Ok(content(status, "application/json", text.into()))
}

fn content(status: StatusCode, kind: &'static str, bytes: bytes::Bytes) -> Response {
    let mut response = Response::new(axum::body::Body::from(bytes));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        http::header::CONTENT_TYPE,
        http::HeaderValue::from_static(kind),
    );
    headers.insert(
        http::header::CACHE_CONTROL,
        http::HeaderValue::from_static("no-store"),
    );
    response
}

fn no_content() -> Response {
    let mut response = Response::new(axum::body::Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}
