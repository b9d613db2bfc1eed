//! What the tests of several crates share.
//!
//! [`services`] are the real servers that backends are tested on.

#![allow(
    clippy::disallowed_methods,
    reason = "the rule is for the library; tests read their environment"
)]

pub mod services;
