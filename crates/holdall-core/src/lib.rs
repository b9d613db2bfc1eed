//! Holdall's contract for storage backends.
//!
//! A [`Backend`] stores [`Item`]s: a key, a queryable [`Doc`], an optional
//! [`Body`], and an [`Entry`] that says what the backend knows of them. Items
//! are written in [`Batch`]es, all or nothing, and found by [`Query`].
//!
//! ```
//! use holdall_core::{BackendExt, Condition, Doc, MemoryBackend, Put, Query, Filter, GetOptions, Backend};
//! # let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
//! # runtime.block_on(async {
//! let backend = MemoryBackend::new();
//! let books = "books".parse()?;
//! let key = "emma".parse()?;
//! let doc = Doc::parse(r#"{"author":"Austen","year":1815}"#)?;
//! backend.put(&books, &key, Condition::Absent, Put::doc(doc)).await?;
//!
//! let item = backend.get(&books, &key, GetOptions::default()).await?.expect("just put");
//! assert_eq!(item.doc()?.value()?["year"], 1815);
//!
//! let old = Filter::parse(r#"{"year":{"$lt":1900}}"#)?;
//! assert_eq!(backend.query_all(&books, Query::new(old), 10).await?.len(), 1);
//! # Ok::<(), holdall_core::Error>(())
//! # }).unwrap();
//! ```

mod backend;
mod batch;
mod body;
mod capabilities;
mod clock;
#[cfg(feature = "conformance")]
pub mod conformance;
mod cursor;
mod doc;
mod doc_path;
mod error;
pub mod evaluate;
mod ext;
mod filter;
mod filter_json;
mod finite;
mod index;
mod item;
mod json;
mod key;
pub mod layers;
mod memory;
mod path;
mod query;
mod scan;
mod sort_key;
mod transaction;
mod typed;
mod value;
mod version;
mod watch;
mod words;

pub use backend::{Backend, DynBackend, GetOptions};
pub use batch::{Action, Batch, Commit, Condition, NewBody, Operation, Outcome, Put, Written};
pub use body::{Body, BodyHasher, ByteRange, ByteStream, Staged, byte_stream};
pub use capabilities::{
    BatchLimits, Capabilities, Conditions, QuerySupport, Scope, Snapshot, Watch,
};
pub use clock::{Clock, Env, ManualClock, SystemClock, Timestamp};
pub use cursor::Cursor;
pub use doc::{Doc, MAX_DEPTH, MAX_DOC};
pub use error::{Error, ErrorKind, Result, Retry};
pub use evaluate::{ItemStream, MAX_GROUPS, MAX_SORT_BYTES, too_many_groups};
pub use ext::{BackendExt, Page};
pub use filter::{Filter, MAX_FILTER_DEPTH, MAX_FILTER_TESTS, Match, Node, Subject, Test};
pub use index::{Holds, Index, MAX_INDEX_PATHS};
pub use item::{Attrs, Digest, Entry, Item, MAX_ATTRS, Parts};
pub use key::{CollectionName, Key, MAX_COLLECTION, MAX_KEY};
pub use memory::MemoryBackend;
pub use path::{EntryField, MAX_SEGMENTS, Path};
pub use query::{Group, MAX_SORTS, Query, Sort, split_list};
pub use scan::Scan;
pub use serde_json::json;
pub use sort_key::{
    sort_key, sort_key_or_missing, sort_key_range, sort_key_string_prefix, value_of_sort_key,
};
pub use transaction::{Transaction, TransactionOptions, transact};
pub use typed::{Collection, Record};
pub use value::{Type, Value, compare, equal};
pub use version::{BATCH_ID_LIFE, Version};
pub use watch::{Change, ChangeKind, ChangeStream, WatchCursor, WatchFrom};
pub use words::{words, words_of};
