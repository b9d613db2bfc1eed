//! Holdall over HTTP: a store that many programs and machines share.
//!
//! `docs/http.md` tells the protocol.

pub mod access;
mod api;
mod app;
mod budget;
mod compress;
mod failure;
mod kept;
mod limits;
mod listen;
mod metrics;
mod openapi;
mod requests;
mod server;

pub use app::{App, app};
pub use failure::{Answer, Failure};
pub use limits::Limits;
pub use listen::{Peer, Tls, TlsFiles};
pub use metrics::Metrics;
pub use requests::limit_requests;
pub use server::{Address, Ended, Server, ServerOptions};
