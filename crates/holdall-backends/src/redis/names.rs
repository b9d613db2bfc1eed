//! The keys of a store.

use holdall_core::{CollectionName, Version};

/// What all keys of the store start with. It stands in braces, so that a cluster
/// keeps all of them in one slot.
#[derive(Clone, Debug)]
pub(super) struct Names(String);

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self(format!("{{{prefix}}}:"))
    }

    /// A key that there is once.
    pub(super) fn one(&self, what: &str) -> Vec<u8> {
        format!("{}{what}", self.0).into_bytes()
    }

    /// Keys that there are once.
    pub(super) fn all<const N: usize>(&self, what: [&str; N]) -> [Vec<u8>; N] {
        what.map(|what| self.one(what))
    }

    /// Keys of a collection.
    pub(super) fn of<const N: usize>(
        &self,
        collection: &CollectionName,
        what: [&str; N],
    ) -> [Vec<u8>; N] {
        what.map(|what| self.one(&format!("{what}:{}", collection.as_str())))
    }

    /// The keys `unique` and `holds` of an index.
    pub(super) fn of_index(&self, collection: &CollectionName, id: &str) -> [Vec<u8>; 2] {
        ["unique", "holds"].map(|what| self.one(&format!("{what}:{id}:{}", collection.as_str())))
    }

    /// The key of a large body, or of those that a dropped collection left.
    pub(super) fn with_id(&self, what: &str, id: &[u8]) -> Vec<u8> {
        let hex: String = id.iter().map(|byte| format!("{byte:02x}")).collect();
        self.one(&format!("{what}:{hex}"))
    }

    /// The key of a large body.
    pub(super) fn body(&self, id: Version) -> Vec<u8> {
        self.with_id("body", id.as_bytes())
    }
}
