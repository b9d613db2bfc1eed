//! Turns rows into items.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use holdall_core::{
    Attrs, Body, ByteRange, Digest, Doc, Entry, Error, Item, Key, Parts, Result, Timestamp, Version,
};

use super::driver::{Driver, Row};
use super::{COLUMNS, Shared, bodies, damaged};
use crate::sql::Value;

/// The columns that answer these parts, in the order in which [`read`] takes
/// them.
pub(super) fn columns(parts: Parts, key: &'static str) -> String {
    let wanted = COLUMNS
        .iter()
        .map(|(name, _)| match *name {
            "key" => key,
            name => name,
        })
        .filter(|name| match *name {
            "doc" => parts.doc,
            "body" => parts.body,
            _ => true,
        });
    wanted.collect::<Vec<_>>().join(", ")
}

/// How many columns these are.
pub(super) fn width(parts: Parts) -> usize {
    COLUMNS.len() - usize::from(!parts.doc) - usize::from(!parts.body)
}

/// An item as a row tells it. The body of a large one is still a reference.
pub(super) struct Stored {
    pub(super) item: Item,
    /// The range that was asked for of a body in pieces.
    large: Option<(Version, Range<u64>)>,
}

impl Stored {
    /// What its doc and body weigh.
    pub(super) fn bytes(&self) -> usize {
        let doc = self.item.doc.as_ref().map_or(0, |doc| doc.as_bytes().len());
        let body = self.item.body.as_ref().map_or(0, Body::len);
        doc + usize::try_from(body).unwrap_or(usize::MAX)
    }

    /// The item, with a large body as a stream.
    pub(super) fn into_item<D: Driver>(self, shared: &Arc<Shared<D>>) -> Item {
        let Self { mut item, large } = self;
        if let Some((id, range)) = large {
            item.body = Some(bodies::body(
                shared.clone(),
                id,
                range,
                item.entry.size,
                item.entry.digest,
            ));
        }
        item
    }
}

/// Reads a row of [`columns`]; what stands behind them stays in it.
pub(super) fn read(row: &mut Row, parts: Parts, range: Option<ByteRange>) -> Result<Stored> {
    if row.len() < width(parts) {
        return Err(damaged(row));
    }
    let mut values = row.drain(..width(parts));
    let mut next = || values.next().unwrap_or(Value::Null);
    let misfit = || damaged(&Vec::new());
    let (
        Value::Text(key),
        Value::Version(version),
        Value::Time(created),
        Value::Time(modified),
        Value::Int(size),
    ) = (next(), next(), next(), next(), next())
    else {
        return Err(misfit());
    };
    let digest = match next() {
        Value::Bytes(digest) => Some(Digest::from_slice(&digest)?),
        Value::Null => None,
        _ => return Err(misfit()),
    };
    let chunks = match next() {
        Value::Version(chunks) => Some(chunks),
        Value::Null => None,
        _ => return Err(misfit()),
    };
    let attrs = match next() {
        Value::Bytes(attrs) => Attrs::decode(&attrs)?,
        Value::Null => Attrs::default(),
        _ => return Err(misfit()),
    };
    let doc = match parts.doc {
        false => None,
        true => match next() {
            Value::Doc(text) => Some(Doc::from_stored(text)),
            _ => return Err(misfit()),
        },
    };
    let size = u64::try_from(size).map_err(|_| misfit())?;
    let (mut body, mut large) = (None, None);
    if parts.body {
        let inline = next();
        if digest.is_some() {
            let range = range.map_or(Ok(0..size), |range| range.resolve(size))?;
            match (chunks, inline) {
                (Some(id), _) => large = Some((id, range)),
                (None, Value::Bytes(bytes)) => body = Some(slice(bytes.into(), range)?),
                _ => return Err(misfit()),
            }
        }
    }
    drop(values);
    Ok(Stored {
        item: Item {
            key: Key::new(key)?,
            entry: Entry {
                version,
                created: Timestamp::from_micros(created),
                modified: Timestamp::from_micros(modified),
                size,
                digest,
            },
            doc,
            body,
            attrs,
        },
        large,
    })
}

fn slice(bytes: Bytes, range: Range<u64>) -> Result<Body> {
    let start = usize::try_from(range.start).unwrap_or(usize::MAX);
    let end = usize::try_from(range.end).unwrap_or(usize::MAX);
    if start > end || end > bytes.len() {
        return Err(Error::corrupt(
            "a stored body is shorter than its entry says",
        ));
    }
    Ok(Body::from_bytes(bytes.slice(start..end), range.start))
}
