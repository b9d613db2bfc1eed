//! What a server counts, for Prometheus.
//!
//! Labels are of sets that are known before: routes are told by their
//! templates, and what stands in URLs never becomes a label.

mod requests;
mod store;

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use axum::extract::MatchedPath;
use holdall_core::{Error, Result};
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

pub(crate) use self::store::Counted;

/// What a server counts. The options of a [`Server`](crate::Server) and its
/// routes share one.
///
/// Cheap to clone; clones are of one.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: Family<Request, Counter>,
    seconds: Family<Call, Histogram, Durations>,
    in_flight: Gauge,
    received: Counter,
    sent: Counter,
    connections: Gauge,
    accepted: Counter,
    refused: Counter,
    watchers: Gauge,
    transactions: Gauge,
    operations: Family<Operation, Counter>,
    errors: Family<Failed, Counter>,
}

/// A route by its template; none where no route matched.
#[derive(Clone, Debug)]
struct Route(Option<MatchedPath>);

impl Route {
    fn as_str(&self) -> &str {
        self.0.as_ref().map_or("none", MatchedPath::as_str)
    }
}

impl PartialEq for Route {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Route {}

impl Hash for Route {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl EncodeLabelValue for Route {
    /// As the document writes it.
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> std::fmt::Result {
        encoder.write_str(&self.as_str().replace("{*", "{"))
    }
}

/// A route, and a method.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Call {
    route: Route,
    method: &'static str,
}

/// The same with the status of the answer.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    route: Route,
    method: &'static str,
    status: u16,
}

/// What the store was asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Operation {
    operation: &'static str,
}

/// What the store refused, or failed at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    operation: &'static str,
    kind: &'static str,
}

/// From what memory answers to what a client gives up on.
#[derive(Clone, Debug)]
struct Durations;

impl MetricConstructor<Histogram> for Durations {
    fn new_metric(&self) -> Histogram {
        Histogram::new([
            0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5,
            5.0, 10.0, 30.0,
        ])
    }
}

impl Default for Inner {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("holdall");
        let version = vec![("version", env!("CARGO_PKG_VERSION"))];
        registry.register("build", "The server's version", Info::new(version));
        let mut inner = Self {
            registry: Registry::default(),
            requests: Family::default(),
            seconds: Family::new_with_constructor(Durations),
            in_flight: Gauge::default(),
            received: Counter::default(),
            sent: Counter::default(),
            connections: Gauge::default(),
            accepted: Counter::default(),
            refused: Counter::default(),
            watchers: Gauge::default(),
            transactions: Gauge::default(),
            operations: Family::default(),
            errors: Family::default(),
        };
        registry.register(
            "requests",
            "Requests that were answered",
            inner.requests.clone(),
        );
        registry.register_with_unit(
            "request",
            "How long a request took until its answer began",
            Unit::Seconds,
            inner.seconds.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests whose answer is not complete, watchers not counted",
            inner.in_flight.clone(),
        );
        registry.register_with_unit(
            "received",
            "Content of requests",
            Unit::Bytes,
            inner.received.clone(),
        );
        registry.register_with_unit(
            "sent",
            "Content of answers",
            Unit::Bytes,
            inner.sent.clone(),
        );
        registry.register(
            "connections",
            "Connections that are open",
            inner.connections.clone(),
        );
        registry.register(
            "connections_accepted",
            "Connections that were taken in",
            inner.accepted.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections beyond the limit",
            inner.refused.clone(),
        );
        registry.register("watchers", "Watchers", inner.watchers.clone());
        registry.register(
            "transactions",
            "Transactions that are open",
            inner.transactions.clone(),
        );
        registry.register(
            "store_operations",
            "What the store was asked for",
            inner.operations.clone(),
        );
        registry.register(
            "store_errors",
            "What the store refused or failed at",
            inner.errors.clone(),
        );
        inner.registry = registry;
        inner
    }
}

impl Metrics {
    /// The type of what [`text`](Self::text) writes.
    pub(crate) const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// What was counted until now, with what is counted elsewhere.
    pub(crate) fn text(&self, watchers: usize, transactions: usize) -> Result<String> {
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.0.watchers.set(number(watchers));
        self.0.transactions.set(number(transactions));
        let mut text = String::new();
        encode(&mut text, &self.0.registry)
            .map_err(|error| Error::other("the metrics cannot be written").because(error))?;
        Ok(text)
    }

    /// A connection that was taken in; it is open until this is dropped.
    pub(crate) fn connection(&self) -> Up {
        self.0.accepted.inc();
        Up::new(&self.0.connections)
    }

    /// A connection that was one too many.
    pub(crate) fn refused_connection(&self) {
        self.0.refused.inc();
    }
}

/// One more of something, until it is dropped.
#[derive(Debug)]
pub(crate) struct Up(Gauge<i64, AtomicI64>);

impl Up {
    fn new(gauge: &Gauge<i64, AtomicI64>) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        self.0.dec();
    }
}
