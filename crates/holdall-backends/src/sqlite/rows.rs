//! Turns rows into items.

use std::ops::Range;

use bytes::Bytes;
use holdall_core::{
    Attrs, Body, ByteRange, Digest, Doc, Entry, Error, Item, Key, Parts, Result, Timestamp, Version,
};
use rusqlite::Row;
use rusqlite::types::{FromSqlError, ValueRef};

use super::readers::ReadError;

/// An item as a row tells it. The body of a large one is still a reference.
pub(super) struct Stored {
    pub(super) item: Item,
    /// The range that was asked for of the body in `holdall_bodies`.
    pub(super) large: Option<(i64, Range<u64>)>,
}

/// Reads the columns of [`columns`](super::catalogue::columns).
pub(super) fn stored(row: &Row<'_>, parts: Parts) -> Result<Stored, ReadError> {
    // The key was checked when it was put.
    let key = Key::new(text(row, 0)?)?;
    stored_as(key, row, parts, None)
}

/// The same for a row whose key is known, with a range of the body.
pub(super) fn stored_as(
    key: Key,
    row: &Row<'_>,
    parts: Parts,
    range: Option<ByteRange>,
) -> Result<Stored, ReadError> {
    let entry = entry(row)?;
    let chunks: Option<i64> = row.get(6)?;
    let attrs = match row.get_ref(7)?.as_blob_or_null().map_err(shape)? {
        Some(attrs) => Attrs::decode(attrs)?,
        None => Attrs::default(),
    };
    let doc = match parts.doc {
        true => Some(Doc::from_stored(
            row.get_ref(8)?.as_bytes().map_err(shape)?.to_vec(),
        )),
        false => None,
    };
    let (mut body, mut large) = (None, None);
    if parts.body && entry.digest.is_some() {
        let range = range.map_or(Ok(0..entry.size), |range| range.resolve(entry.size))?;
        match chunks {
            Some(id) => large = Some((id, range)),
            None => {
                let column = if parts.doc { 9 } else { 8 };
                let bytes = row.get_ref(column)?.as_blob().map_err(shape)?;
                body = Some(slice(bytes, range)?);
            }
        }
    }
    Ok(Stored {
        item: Item {
            key,
            entry,
            doc,
            body,
            attrs,
        },
        large,
    })
}

fn entry(row: &Row<'_>) -> Result<Entry, ReadError> {
    let digest = row.get_ref(5)?.as_blob_or_null().map_err(shape)?;
    Ok(Entry {
        version: version(row.get_ref(1)?)?,
        created: Timestamp::from_micros(row.get(2)?),
        modified: Timestamp::from_micros(row.get(3)?),
        size: row.get(4)?,
        digest: digest.map(Digest::from_slice).transpose()?,
    })
}

/// The text of a column.
pub(super) fn text<'a>(row: &'a Row<'_>, column: usize) -> Result<&'a str, ReadError> {
    row.get_ref(column)?.as_str().map_err(shape)
}

/// The version in a column.
pub(super) fn version(value: ValueRef<'_>) -> Result<Version, ReadError> {
    Ok(Version::from_slice(value.as_blob().map_err(shape)?)?)
}

/// A column that has another type than Holdall writes.
pub(super) fn shape(error: FromSqlError) -> ReadError {
    Error::corrupt("a stored row does not have the shape that Holdall writes; was it changed by another program?")
        .because(error)
        .into()
}

fn slice(bytes: &[u8], range: Range<u64>) -> Result<Body> {
    let part = usize::try_from(range.start)
        .ok()
        .zip(usize::try_from(range.end).ok())
        .and_then(|(start, end)| bytes.get(start..end));
    match part {
        Some(part) => Ok(Body::from_bytes(Bytes::copy_from_slice(part), range.start)),
        None => Err(Error::corrupt(
            "a stored body is shorter than its entry says",
        )),
    }
}
