//! Changes, as a watcher is told of them.

use std::fmt;

use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use futures_util::stream::BoxStream;

use crate::{CollectionName, Error, Key, Result, Version};

/// A stream of changes that does not end by itself.
pub type ChangeStream = BoxStream<'static, Result<Change>>;

/// One change, told at least once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Resumes behind this change.
    pub cursor: WatchCursor,
    /// The collection.
    pub collection: CollectionName,
    /// The key; `None` if the whole collection was dropped.
    pub key: Option<Key>,
    /// What happened.
    pub kind: ChangeKind,
    /// The version that was put.
    pub version: Option<Version>,
    /// The version that was there before.
    pub previous: Option<Version>,
    /// The batch that did it.
    pub batch: Version,
}

/// What happened to an item or a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChangeKind {
    /// An item was put.
    Put,
    /// An item that was there was deleted.
    Delete,
    /// A collection was dropped with all its items.
    Dropped,
}

impl ChangeKind {
    /// The name in lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Put => "put",
            Self::Delete => "delete",
            Self::Dropped => "dropped",
        }
    }
}

/// From where to watch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum WatchFrom {
    /// Changes that are committed after the call answers.
    #[default]
    Now,
    /// Changes behind this one.
    After(WatchCursor),
}

/// A place among the changes of one backend; opaque to everyone else.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct WatchCursor(Bytes);

/// The most bytes of a watch cursor.
const MAX_WATCH_CURSOR: usize = 1024;

impl WatchCursor {
    /// From a backend's own bytes.
    pub fn from_bytes(bytes: impl Into<Bytes>) -> Self {
        Self(bytes.into())
    }

    /// The backend's own bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for WatchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL_NOPAD.encode(&self.0))
    }
}

impl fmt::Debug for WatchCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WatchCursor({self})")
    }
}

impl std::str::FromStr for WatchCursor {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        let bytes = BASE64URL_NOPAD.decode(text.as_bytes()).ok();
        bytes
            .filter(|bytes| !bytes.is_empty() && bytes.len() <= MAX_WATCH_CURSOR)
            .map(Self::from_bytes)
            .ok_or_else(|| Error::invalid("this is not a watch cursor; watch from now, or from one that a change came with"))
    }
}
