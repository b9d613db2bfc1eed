//! Holdall's backends: one module and one feature each.
//!
//! They know the contract of `holdall-core` and nothing of each other.

#[cfg(any(feature = "http", feature = "mongodb"))]
mod gate;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(any(feature = "http", feature = "mongodb", feature = "sqlite"))]
mod setting;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(feature = "http")]
mod tls;
