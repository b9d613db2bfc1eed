//! What the tests of several crates share.
//!
//! [`services`] are the real servers that backends are tested on. With the feature
//! `faults`, `proxy` breaks connections and `faults` is what must hold then, and
//! `full_disk` takes a server's room.

#![allow(
    clippy::disallowed_methods,
    reason = "the rule is for the library; tests read their environment"
)]

#[cfg(feature = "faults")]
pub mod faults;
#[cfg(feature = "faults")]
pub mod full_disk;
#[cfg(feature = "faults")]
pub mod proxy;
pub mod services;
