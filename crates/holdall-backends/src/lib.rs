//! Holdall's backends: one module and one feature each.
//!
//! They know the contract of `holdall-core` and nothing of each other.

#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(any(feature = "http", feature = "sqlite"))]
mod setting;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "http")]
mod tls;
