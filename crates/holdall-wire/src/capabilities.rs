//! What a store can do.

use holdall_core::{
    BatchLimits, Capabilities, Conditions, Error, QuerySupport, Result, Scope, Snapshot, Watch,
};
use serde::{Deserialize, Serialize};

/// What the store behind a server can do, and the server's own limits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Capabilities))]
pub struct CapabilitiesShape {
    /// `holdall`, so that a client knows whom it talks to.
    pub server: String,
    /// The server's version.
    pub server_version: String,
    /// What a batch may span and hold.
    pub batch: BatchLimitsShape,
    /// How far a reader sees a batch as a unit: `item`, `page` or `stream`.
    pub snapshot: String,
    /// Which conditions are checked: `none`, `create_only` or `full`.
    pub conditions: String,
    /// Which changes are told: `none`, `per_key` or `total`.
    pub watch: String,
    /// Who answers queries: `scan` or `native`.
    pub query: String,
    /// Whether a write that was answered survives a loss of power.
    pub durable: bool,
    /// The most bytes of a key.
    pub max_key: u64,
    /// The most bytes of a doc.
    pub max_doc: u64,
    /// The most bytes of a body.
    pub max_body: u64,
    /// The most items of a page.
    pub max_page: u64,
}

/// What a batch may span and hold.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = BatchLimits))]
pub struct BatchLimitsShape {
    /// `item`, `collection` or `store`.
    pub scope: String,
    /// The most operations.
    pub max_ops: u64,
    /// The most bytes of keys, docs, attrs and bodies that are not staged.
    pub max_bytes: u64,
}

const SCOPES: [(&str, Scope); 3] = [
    ("item", Scope::Item),
    ("collection", Scope::Collection),
    ("store", Scope::Store),
];
const SNAPSHOTS: [(&str, Snapshot); 3] = [
    ("item", Snapshot::Item),
    ("page", Snapshot::Page),
    ("stream", Snapshot::Stream),
];
const CONDITIONS: [(&str, Conditions); 3] = [
    ("none", Conditions::None),
    ("create_only", Conditions::CreateOnly),
    ("full", Conditions::Full),
];
const WATCHES: [(&str, Watch); 3] = [
    ("none", Watch::None),
    ("per_key", Watch::PerKey),
    ("total", Watch::Total),
];
const QUERIES: [(&str, QuerySupport); 2] = [
    ("scan", QuerySupport::Scan),
    ("native", QuerySupport::Native),
];

fn name_of<T: PartialEq>(table: &[(&str, T)], value: &T) -> String {
    let found = table.iter().find(|(_, own)| own == value);
    found.map_or_else(String::new, |(name, _)| (*name).to_owned())
}

fn value_of<T: Copy>(table: &[(&str, T)], name: &str, what: &str) -> Result<T> {
    let found = table.iter().find(|(own, _)| *own == name);
    found.map(|(_, value)| *value).ok_or_else(|| {
        Error::unsupported(format!(
            "the server says {what} {name:?}, which this version does not know; use a newer one"
        ))
    })
}

impl CapabilitiesShape {
    /// What a server of this version says of a store.
    pub fn of(can: &Capabilities, max_page: u64) -> Self {
        Self {
            server: "holdall".to_owned(),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            batch: BatchLimitsShape {
                scope: name_of(&SCOPES, &can.batch.scope),
                max_ops: can.batch.max_ops as u64,
                max_bytes: can.batch.max_bytes,
            },
            snapshot: name_of(&SNAPSHOTS, &can.snapshot),
            conditions: name_of(&CONDITIONS, &can.conditions),
            watch: name_of(&WATCHES, &can.watch),
            query: name_of(&QUERIES, &can.query),
            durable: can.durable,
            max_key: can.max_key as u64,
            max_doc: can.max_doc as u64,
            max_body: can.max_body,
            max_page,
        }
    }

    /// What a client of the server can do: it shares the store.
    ///
    /// # Errors
    /// `Unsupported` for a word that this version does not know.
    pub fn read(&self) -> Result<Capabilities> {
        let size = |bytes: u64| usize::try_from(bytes).unwrap_or(usize::MAX);
        Ok(Capabilities {
            batch: BatchLimits {
                scope: value_of(&SCOPES, &self.batch.scope, "batch.scope")?,
                max_ops: size(self.batch.max_ops),
                max_bytes: self.batch.max_bytes,
            },
            snapshot: value_of(&SNAPSHOTS, &self.snapshot, "snapshot")?,
            conditions: value_of(&CONDITIONS, &self.conditions, "conditions")?,
            watch: value_of(&WATCHES, &self.watch, "watch")?,
            query: value_of(&QUERIES, &self.query, "query")?,
            durable: self.durable,
            shared: true,
            max_key: size(self.max_key).min(holdall_core::MAX_KEY),
            max_doc: size(self.max_doc).min(holdall_core::MAX_DOC),
            max_body: self.max_body,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_core::{Backend, MemoryBackend};

    #[test]
    fn capabilities_come_back_and_an_unknown_word_is_named() {
        let can = MemoryBackend::new().capabilities();
        let shape = CapabilitiesShape::of(&can, 10);
        assert_eq!(
            shape.read().unwrap(),
            Capabilities {
                shared: true,
                ..can
            }
        );
        let newer = CapabilitiesShape {
            snapshot: "galaxy".to_owned(),
            ..shape
        };
        assert!(newer.read().unwrap_err().message().contains("galaxy"));
    }
}
