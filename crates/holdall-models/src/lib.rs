//! Holdall's models: concrete types over any backend.
//!
//! They know the contract of `holdall-core` and nothing of the backends, so
//! each of them runs on every one. A model states which capabilities it needs,
//! and refuses a backend without them when it is made, never in the middle of
//! a write.

mod needs;
pub mod records;

pub use records::Records;
