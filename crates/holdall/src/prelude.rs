//! What most programs use: `use holdall::prelude::*;`

pub use holdall_core::{
    Backend, BackendExt, Batch, Collection, CollectionName, Condition, Doc, DynBackend, Error,
    ErrorKind, Filter, GetOptions, Index, Item, Key, Parts, Put, Query, Record, Result, Scan, Sort,
    json,
};
pub use holdall_models::Records;

pub use crate::{Config, Layer, Settings, Store, Stores, open};
