//! Names of headers and types.

use http::HeaderName;

/// RFC 3339 with microseconds: when the item was first put.
pub const CREATED: HeaderName = HeaderName::from_static("holdall-created");
/// RFC 3339 with microseconds: when this version was put.
pub const MODIFIED: HeaderName = HeaderName::from_static("holdall-modified");
/// The bytes of the whole body.
pub const SIZE: HeaderName = HeaderName::from_static("holdall-size");
/// The BLAKE3 digest of the whole body, in hexadecimal.
pub const DIGEST: HeaderName = HeaderName::from_static("holdall-digest");
/// What layers keep with the item, in base64.
pub const ATTRS: HeaderName = HeaderName::from_static("holdall-attrs");
/// How many bytes at the start of the content are JSON.
pub const HEAD_LENGTH: HeaderName = HeaderName::from_static("holdall-head-length");
/// Which bytes of the body stand behind the head: `10..20`.
pub const RANGE: HeaderName = HeaderName::from_static("holdall-range");
/// The id of the batch that a write is to be.
pub const BATCH: HeaderName = HeaderName::from_static("holdall-batch");
/// `none`: a framed item has no body, rather than an empty one.
pub const BODY: HeaderName = HeaderName::from_static("holdall-body");

/// Doc and body in one.
pub const ITEM_TYPE: &str = "application/vnd.holdall.item";
/// A batch with bodies behind it.
pub const BATCH_TYPE: &str = "application/vnd.holdall.batch";
/// A line of JSON for each item.
pub const LINES_TYPE: &str = "application/x-ndjson";
