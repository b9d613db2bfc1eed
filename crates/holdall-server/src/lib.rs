//! Holdall over HTTP: a store that many programs and machines share.
//!
//! `docs/http.md` tells the protocol.

mod failure;
mod life;
mod limits;
mod listen;
mod protect;
mod server;

pub use failure::{Answer, Failure};
pub use life::Life;
pub use limits::Limits;
pub use listen::{Peer, Tls, TlsFiles};
pub use protect::{Budget, Reserved, protect};
pub use server::{Address, Ended, Server, ServerOptions};
