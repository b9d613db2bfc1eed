//! Holdall's backends: one module and one feature each.
//!
//! They know the contract of `holdall-core` and nothing of each other.

#[cfg(any(feature = "dynamodb", feature = "redis"))]
mod declaration;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(any(feature = "http", feature = "mongodb"))]
mod gate;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(
    feature = "dynamodb",
    feature = "http",
    feature = "mongodb",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
))]
mod setting;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
#[cfg_attr(
    not(feature = "postgres"),
    allow(dead_code, reason = "some of it is for database servers alone")
)]
mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(
    feature = "dynamodb",
    feature = "http",
    feature = "postgres",
    feature = "redis"
))]
mod tls;
