//! A server: where it listens, and how it ends.

use std::fmt;
use std::net::SocketAddr;

use axum::Router;
use futures_util::future::{join_all, select};
use holdall_core::{Error, Result};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::listen::{Connections, Listener};
use crate::{Limits, Metrics, Tls};

/// How a server listens.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// What it takes.
    pub limits: Limits,
    /// TLS, if it is to be spoken.
    pub tls: Option<Tls>,
    /// What tells that it is to end; the routes have a clone of it.
    pub ending: CancellationToken,
    /// What it counts; the routes have a clone of it.
    pub metrics: Metrics,
}

/// A server that listens, and does not answer yet.
///
/// ```
/// use axum::{Router, routing::get};
/// use holdall_server::{Server, ServerOptions};
/// # let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
/// # runtime.block_on(async {
/// let server = Server::bind("127.0.0.1:0", ServerOptions::default()).await?;
/// let url = server.url(); // http://127.0.0.1:…
/// # assert!(url.starts_with("http://127.0.0.1:"));
/// let app = Router::new().route("/health", get(async || "yes"));
/// let ended = server.serve(app, async {}).await; // until the future is ready
/// assert_eq!(ended.given_up, 0);
/// # Ok::<(), holdall_core::Error>(())
/// # }).unwrap();
/// ```
#[derive(Debug)]
pub struct Server {
    listeners: Vec<Listener>,
    options: ServerOptions,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Connections whose requests were not done in time, and were given up.
    pub given_up: usize,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// An address and a port.
    Tcp(SocketAddr),
    /// A Unix socket, by its path.
    Unix(std::path::PathBuf),
}

impl Address {
    /// Whether only this machine gets there.
    pub fn is_local(&self) -> bool {
        match self {
            Self::Tcp(address) => address.ip().to_canonical().is_loopback(),
            Self::Unix(_) => true,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Server {
    /// Listens on an address: `HOST:PORT`, where port 0 is any that is free, or
    /// `unix:PATH`.
    ///
    /// # Errors
    /// `Invalid` if it is none, or none of this machine; `Unavailable` if
    /// another program listens there; `Denied` if that is not permitted.
    pub async fn bind(address: &str, options: ServerOptions) -> Result<Self> {
        Ok(Self {
            listeners: vec![Listener::bind(address).await?],
            options,
        })
    }

    /// Listens on sockets that are open already, as systemd hands them over.
    ///
    /// # Errors
    /// `Other` if the system does not let it.
    pub fn on(sockets: Vec<std::net::TcpListener>, options: ServerOptions) -> Result<Self> {
        let listeners = sockets.into_iter().map(Listener::from_std);
        Ok(Self {
            listeners: listeners.collect::<Result<_>>()?,
            options,
        })
    }

    /// Where it listens.
    pub fn addresses(&self) -> Vec<Address> {
        let address = |listener: &Listener| match listener.path() {
            Some(path) => Some(Address::Unix(path.to_owned())),
            None => listener.local_addr().map(Address::Tcp),
        };
        self.listeners.iter().filter_map(address).collect()
    }

    /// Its address; none if it listens on Unix sockets alone.
    pub fn local_addr(&self) -> Option<SocketAddr> {
        self.listeners.iter().find_map(Listener::local_addr)
    }

    /// The URL of the first address: `http://127.0.0.1:4520`.
    pub fn url(&self) -> String {
        let scheme = if self.options.tls.is_some() {
            "https"
        } else {
            "http"
        };
        match self.addresses().first() {
            Some(Address::Tcp(address)) => format!("{scheme}://{address}"),
            Some(unix) => unix.to_string(),
            None => String::new(),
        }
    }

    /// Whether only this machine gets to it.
    pub fn is_local(&self) -> bool {
        self.addresses().iter().all(Address::is_local)
    }

    /// Refuses to let every machine of a network in: a server that is to be
    /// reached from others needs tokens, or asks for certificates.
    ///
    /// # Errors
    /// `Invalid`, saying what to do.
    pub fn refuse_open(&self, has_tokens: bool) -> Result<()> {
        let asks = self.options.tls.as_ref().is_some_and(Tls::asks_clients);
        let open = self.addresses().into_iter().find(|at| !at.is_local());
        match open {
            Some(address) if !has_tokens && !asks => Err(Error::invalid(format!(
                "on {address}, whoever reaches this machine could read and write all: make a \
                 token first (holdall token create), ask for client certificates \
                 (--tls-client-ca), or listen on 127.0.0.1"
            ))),
            _ => Ok(()),
        }
    }

    /// How it listens.
    pub fn options(&self) -> &ServerOptions {
        &self.options
    }

    /// Answers with the routes until `shutdown` is ready or `ending` is
    /// cancelled. Then it takes no more connections, closes those that wait,
    /// and finishes what is in flight; what is not done within `drain_time` is
    /// given up.
    pub async fn serve(self, app: Router, shutdown: impl Future<Output = ()>) -> Ended {
        let ServerOptions {
            limits,
            tls,
            ending,
            metrics,
        } = self.options;
        let connections = Connections::new(app, limits, tls, ending.clone(), metrics);
        {
            let accepting = join_all(
                self.listeners
                    .iter()
                    .map(|listener| connections.accept(listener)),
            );
            let shutdown = std::pin::pin!(shutdown);
            let cancelled = std::pin::pin!(ending.cancelled());
            let end = select(shutdown, cancelled);
            select(std::pin::pin!(accepting), end).await;
        }
        ending.cancel();
        drop(self.listeners);
        let given_up = match timeout(limits.drain_time, connections.closed()).await {
            Ok(()) => 0,
            Err(_) => {
                let count = connections.count();
                tracing::warn!(connections = count, "requests in flight were given up");
                connections.give_up();
                connections.closed().await;
                count
            }
        };
        Ended { given_up }
    }
}
