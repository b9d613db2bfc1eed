//! Holdall over HTTP: a store that many programs and machines share.
//!
//! `docs/http.md` tells the protocol.

mod failure;
mod limits;

pub use failure::{Answer, Failure};
pub use limits::Limits;
