//! How an entry is kept.

use std::ops::Range;

use bytes::Bytes;
use holdall_core::{
    Attrs, Body, ByteRange, Digest, Doc, Entry, Error, Item, Key, Parts, Result, Timestamp, Version,
};

use super::error::damaged;

/// The item has a body.
const HAS_BODY: u8 = 1;

/// The body is a large one, with a key of its own.
const IS_LARGE: u8 = 2;

/// An entry behind version and time of creation, which the script puts in front.
pub(super) fn tail(
    modified: Timestamp,
    size: u64,
    digest: Option<Digest>,
    large: Option<Version>,
    attrs: &Attrs,
) -> Vec<u8> {
    let mut out = Vec::with_capacity(65);
    out.extend_from_slice(&modified.as_micros().to_be_bytes());
    out.extend_from_slice(&size.to_be_bytes());
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(flag(digest.is_some(), HAS_BODY) | flag(large.is_some(), IS_LARGE));
    if let Some(large) = large {
        out.extend_from_slice(large.as_bytes());
    }
    if let Some(digest) = digest {
        out.extend_from_slice(digest.as_bytes());
    }
    out.extend_from_slice(&attrs.encode());
    out
}

/// An item as it is kept. The body of a large one is still a reference.
pub(super) struct Stored {
    pub(super) item: Item,
    /// The range that was asked for of a large body.
    pub(super) large: Option<(Version, Range<u64>)>,
}

/// What the hashes have of an item.
pub(super) struct Raw {
    pub(super) entry: Vec<u8>,
    pub(super) doc: Option<Vec<u8>>,
    pub(super) body: Option<Vec<u8>>,
}

impl Raw {
    /// The version alone.
    pub(super) fn version(&self) -> Result<Version> {
        let version = self.entry.first_chunk::<16>();
        version.copied().map(Version::from_bytes).ok_or_else(broken)
    }

    /// The item, with the parts that were asked for.
    pub(super) fn read(self, key: Key, parts: Parts, range: Option<ByteRange>) -> Result<Stored> {
        let (entry, id, attrs) = read_entry(&self.entry).ok_or_else(broken)?;
        let attrs = Attrs::decode(attrs)?;
        let doc = match (parts.doc, self.doc) {
            (false, _) => None,
            (true, Some(doc)) => Some(Doc::from_stored(doc)),
            (true, None) => return Err(broken()),
        };
        let (mut body, mut large) = (None, None);
        if parts.body && entry.digest.is_some() {
            let range = range.map_or(Ok(0..entry.size), |range| range.resolve(entry.size))?;
            match (id, self.body) {
                (Some(id), _) => large = Some((id, range)),
                (None, Some(bytes)) => body = Some(slice(bytes, range)?),
                (None, None) => return Err(broken()),
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
}

fn broken() -> Error {
    damaged("a stored item")
}

fn read_entry(mut rest: &[u8]) -> Option<(Entry, Option<Version>, &[u8])> {
    let version = Version::from_bytes(take(&mut rest)?);
    let created = Timestamp::from_micros(i64::from_be_bytes(take(&mut rest)?));
    let modified = Timestamp::from_micros(i64::from_be_bytes(take(&mut rest)?));
    let size = u64::from_be_bytes(take(&mut rest)?);
    let [flags] = take(&mut rest)?;
    let large = match flags & IS_LARGE {
        0 => None,
        _ => Some(Version::from_bytes(take(&mut rest)?)),
    };
    let digest = match flags & HAS_BODY {
        0 => None,
        _ => Some(Digest::from_bytes(take(&mut rest)?)),
    };
    let entry = Entry {
        version,
        created,
        modified,
        size,
        digest,
    };
    Some((entry, large, rest))
}

/// Takes bytes from the front.
pub(super) fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

fn slice(bytes: Vec<u8>, range: Range<u64>) -> Result<Body> {
    let bytes = Bytes::from(bytes);
    let ends = usize::try_from(range.start)
        .ok()
        .zip(usize::try_from(range.end).ok());
    match ends.filter(|(start, end)| start <= end && *end <= bytes.len()) {
        Some((start, end)) => Ok(Body::from_bytes(bytes.slice(start..end), range.start)),
        None => Err(broken()),
    }
}
