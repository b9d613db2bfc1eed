//! Holdall's backends: one module and one feature each.
//!
//! They know the contract of `holdall-core` and nothing of each other.

#[cfg(any(feature = "dynamodb", feature = "redis"))]
mod declaration;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(
    feature = "dynamodb",
    feature = "http",
    feature = "redis",
    feature = "sqlite"
))]
mod setting;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(feature = "http", feature = "redis"))]
mod tls;
