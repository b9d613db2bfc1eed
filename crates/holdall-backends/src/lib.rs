//! Holdall's backends: one module and one feature each.
//!
//! They know the contract of `holdall-core` and nothing of each other.

#[cfg(feature = "sqlite")]
pub mod sqlite;
