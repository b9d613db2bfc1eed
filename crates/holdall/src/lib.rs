//! Holdall keeps what an application keeps: bytes, records, documents. One
//! small contract for backends, layers that wrap it, and models above it.
//!
//! This crate is the front door: it opens stores by URL or from a
//! configuration, and brings the rest along.
//!
//! ```
//! use holdall::prelude::*;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Book { title: String, year: i32 }
//!
//! # let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
//! # runtime.block_on(async {
//! let store = holdall::open("memory:").await?; // or "sqlite:holdall.db"
//! let books = store.records::<Book>("books")?;
//! books.create(Some("emma"), &Book { title: "Emma".into(), year: 1815 }).await?;
//! let old = Query::new(Filter::parse(r#"{"year":{"$lt":1900}}"#)?);
//! let (found, _) = books.list(old).await?;
//! assert_eq!(found[0].value.title, "Emma");
//! store.close().await?;
//! # Ok::<(), holdall::Error>(())
//! # }).unwrap();
//! ```
//!
//! | URL | what it is | feature |
//! | --- | --- | --- |
//! | `memory:` | the reference, for tests; empty at each opening | |
//! | `mongodb://HOST/DATABASE` | MongoDB | `mongodb` |
//! | `mysql://USER@HOST/DATABASE` | a MySQL or MariaDB database; `mariadb:` is the same | `mysql` |
//! | `postgres://USER@HOST/DATABASE` | a PostgreSQL database | `postgres` |
//! | `dynamodb:TABLE` | a table of DynamoDB | `dynamodb` |
//! | `redis://HOST:PORT`, `rediss://HOST:PORT` | Redis, one server or a cluster | `redis` |
//! | `sqlite:PATH` | one SQLite file, the embedded default | `sqlite` |
//!
//! Others are added with [`register`]. The library reads no environment, no
//! home folder and no terminal: whoever uses it hands over [`Settings`] or a
//! [`Config`].

mod btps;
mod built_in;
mod config;
mod layer;
mod registry;
mod settings;
mod store;
mod stores;
mod url;

pub mod prelude;

pub use btps::{Btps, BtpsStore};
pub use config::{Config, ModelConfig, ModelKind, ServerSetting, StoreConfig};
pub use holdall_core::*;
pub use holdall_models::{Records, records};
pub use layer::Layer;
pub use registry::{Registry, register};
pub use settings::Settings;
pub use store::{Store, open};
pub use stores::Stores;

/// The backends that are built in, for what their URLs cannot say.
pub mod backends {
    #[cfg(feature = "dynamodb")]
    pub use holdall_backends::dynamodb;
    #[cfg(feature = "mongodb")]
    pub use holdall_backends::mongodb;
    #[cfg(feature = "mysql")]
    pub use holdall_backends::mysql;
    #[cfg(feature = "postgres")]
    pub use holdall_backends::postgres;
    #[cfg(feature = "redis")]
    pub use holdall_backends::redis;
    #[cfg(feature = "sqlite")]
    pub use holdall_backends::sqlite;
    pub use holdall_core::MemoryBackend;
}

/// The example of the README is a test.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;

#[cfg(doctest)]
#[doc = include_str!("../../../docs/configuration.md")]
struct ConfigurationPage;
