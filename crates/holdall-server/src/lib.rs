//! Holdall over HTTP: a store that many programs and machines share.
//!
//! `docs/http.md` tells the protocol.

mod access;
mod api;
mod budget;
mod failure;
mod limits;
mod openapi;

pub use api::api;
pub use failure::{Answer, Failure};
pub use limits::Limits;
