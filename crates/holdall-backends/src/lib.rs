//! Holdall's backends: one module and one feature each.
//!
//! They know the contract of `holdall-core` and nothing of each other.

#[cfg(any(feature = "dynamodb", feature = "redis"))]
mod declaration;
#[cfg(feature = "dynamodb")]
pub mod dynamodb;
#[cfg(any(
    feature = "dynamodb",
    feature = "http",
    feature = "mongodb",
    feature = "mysql",
    feature = "postgres",
    feature = "redis"
))]
mod files;
#[cfg(any(feature = "http", feature = "mongodb"))]
mod gate;
#[cfg(feature = "http")]
pub mod http;
#[cfg(feature = "mongodb")]
pub mod mongodb;
#[cfg(feature = "mysql")]
pub mod mysql;
#[cfg(any(
    feature = "dynamodb",
    feature = "mongodb",
    feature = "mysql",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
))]
mod pieces;
#[cfg(feature = "postgres")]
pub mod postgres;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg(any(
    feature = "dynamodb",
    feature = "http",
    feature = "mongodb",
    feature = "mysql",
    feature = "postgres",
    feature = "redis",
    feature = "sqlite"
))]
mod setting;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
#[cfg_attr(
    not(all(feature = "mysql", feature = "postgres")),
    allow(dead_code, reason = "some of it is for one database alone")
)]
mod sql;
#[cfg(feature = "sqlite")]
pub mod sqlite;
#[cfg(any(
    feature = "dynamodb",
    feature = "http",
    feature = "mysql",
    feature = "postgres",
    feature = "redis"
))]
#[cfg_attr(
    not(any(
        feature = "http",
        feature = "mysql",
        feature = "postgres",
        feature = "redis"
    )),
    allow(dead_code, reason = "DynamoDB's library makes TLS of a file itself")
)]
mod tls;
