//! Layers: each wraps a backend and is one.

mod namespace;

pub use namespace::Namespace;
