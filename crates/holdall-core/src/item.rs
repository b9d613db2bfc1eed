//! Items, and the parts that they are made of.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::{Body, Doc, Error, Key, Result, Timestamp, Version};

/// The BLAKE3 digest of a body: 32 bytes, written as lowercase hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// From its bytes.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// From a slice of stored bytes.
    ///
    /// # Errors
    /// `Corrupt` if it is not 32 bytes long.
    pub fn from_slice(bytes: &[u8]) -> Result<Self> {
        bytes.try_into().map(Self).map_err(|_| {
            Error::corrupt(format!("a stored digest has {} bytes, not 32", bytes.len()))
        })
    }

    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = [0; 64];
        f.write_str(data_encoding::HEXLOWER.encode_mut_str(&self.0, &mut text))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a backend says of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The id of the write that made it.
    pub version: Version,
    /// When the item was first put; a delete and a new put start anew.
    pub created: Timestamp,
    /// When this version was put.
    pub modified: Timestamp,
    /// The bytes of the body; 0 where there is none.
    pub size: u64,
    /// The digest of the body; `None` where there is no body.
    pub digest: Option<Digest>,
}

/// An item, with those of its parts that were asked for.
#[derive(Debug)]
pub struct Item {
    /// The key, byte for byte as it was put.
    pub key: Key,
    /// Version, times, size and digest.
    pub entry: Entry,
    /// The doc; `None` if it was not asked for.
    pub doc: Option<Doc>,
    /// The body, or the range of it that was asked for; `None` if the item has
    /// none, or if it was not asked for.
    pub body: Option<Body>,
    /// What layers keep with the item. Not for applications.
    pub attrs: Attrs,
}

impl Item {
    /// The doc, which must have been asked for.
    ///
    /// # Errors
    /// `Invalid` if it was not.
    pub fn doc(&self) -> Result<&Doc> {
        self.doc.as_ref().ok_or_else(|| {
            Error::invalid("the doc of this item was not asked for; use Parts::DOC or Parts::ALL")
        })
    }

    /// Takes the body, which must be there.
    ///
    /// # Errors
    /// `NotFound` if the item has none, or if it was not asked for.
    pub fn into_body(self) -> Result<Body> {
        self.body
            .ok_or_else(|| Error::not_found(format!("the item {:?} has no body", self.key)))
    }
}

/// Which parts of an item to return. Key and entry always come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Parts {
    /// The doc too.
    pub doc: bool,
    /// The body too.
    pub body: bool,
}

impl Parts {
    /// Key and entry alone.
    pub const ENTRY: Self = Self {
        doc: false,
        body: false,
    };
    /// Key, entry and doc.
    pub const DOC: Self = Self {
        doc: true,
        body: false,
    };
    /// Key, entry and body.
    pub const BODY: Self = Self {
        doc: false,
        body: true,
    };
    /// Everything.
    pub const ALL: Self = Self {
        doc: true,
        body: true,
    };
}

/// The most bytes that all attrs of an item take together, names included.
pub const MAX_ATTRS: usize = 4096;

/// Small private data that layers keep with an item: a slot of bytes for each
/// layer, 4 KiB for all together. Invisible above the layer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attrs(Option<Arc<BTreeMap<String, Bytes>>>);

impl Attrs {
    /// The slot of a layer.
    pub fn get(&self, slot: &str) -> Option<&Bytes> {
        self.0.as_ref()?.get(slot)
    }

    /// Sets the slot of a layer.
    ///
    /// # Errors
    /// `TooLarge` if all slots together would pass 4 KiB.
    pub fn set(&mut self, slot: &str, bytes: impl Into<Bytes>) -> Result<()> {
        let bytes = bytes.into();
        let others: usize = self
            .iter()
            .filter(|(name, _)| *name != slot)
            .map(cost)
            .sum();
        let size = others + cost((slot, &bytes));
        if size > MAX_ATTRS {
            return Err(Error::too_large(format!(
                "the attrs of an item would take {size} bytes; the limit is {MAX_ATTRS}"
            )));
        }
        Arc::make_mut(self.0.get_or_insert_default()).insert(slot.to_owned(), bytes);
        Ok(())
    }

    /// Takes the slot of a layer out.
    pub fn take(&mut self, slot: &str) -> Option<Bytes> {
        let slots = Arc::make_mut(self.0.as_mut()?);
        let bytes = slots.remove(slot);
        if slots.is_empty() {
            self.0 = None;
        }
        bytes
    }

    /// Whether there is nothing.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The bytes that all slots take, names included.
    pub(crate) fn bytes(&self) -> usize {
        self.iter().map(cost).sum()
    }

    /// The slots in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bytes)> {
        self.0
            .iter()
            .flat_map(|slots| slots.iter())
            .map(|(name, bytes)| (name.as_str(), bytes))
    }

    /// A compact form for backends to store: for each slot the length of the
    /// name (1 byte), the name, the length of the data (2 bytes, big-endian)
    /// and the data.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, bytes) in self.iter() {
            // `set` bounds both lengths by MAX_ATTRS and the name by its cost.
            out.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes());
            out.extend_from_slice(bytes);
        }
        out
    }

    /// Reads the compact form.
    ///
    /// # Errors
    /// `Corrupt` if it is not one.
    pub fn decode(mut rest: &[u8]) -> Result<Self> {
        let mut attrs = Self::default();
        while !rest.is_empty() {
            let (name, bytes) = decode_slot(&mut rest)
                .ok_or_else(|| Error::corrupt("the stored attrs of an item are damaged"))?;
            attrs.set(name, Bytes::copy_from_slice(bytes))?;
        }
        Ok(attrs)
    }
}

fn cost((name, bytes): (&str, &Bytes)) -> usize {
    // A name too long for its length byte is made too expensive to set.
    let name = if name.len() > usize::from(u8::MAX) {
        MAX_ATTRS
    } else {
        name.len()
    };
    name + bytes.len() + 3
}

fn decode_slot<'a>(rest: &mut &'a [u8]) -> Option<(&'a str, &'a [u8])> {
    let (name_len, tail) = rest.split_first()?;
    let (name, tail) = tail.split_at_checked(usize::from(*name_len))?;
    let (len, tail) = tail.split_first_chunk::<2>()?;
    let (bytes, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    *rest = tail;
    Some((std::str::from_utf8(name).ok()?, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attrs_have_one_budget_and_a_compact_form() {
        let mut attrs = Attrs::default();
        attrs.set("one", vec![1; 2000]).unwrap();
        attrs.set("two", vec![2; 2000]).unwrap();
        assert!(attrs.set("three", vec![3; 100]).is_err());
        attrs.set("one", vec![1; 10]).unwrap();
        attrs.set("three", vec![3; 100]).unwrap();
        assert_eq!(Attrs::decode(&attrs.encode()).unwrap(), attrs);
        assert!(Attrs::decode(&[5, b'a']).is_err());
        assert_eq!(attrs.take("one").unwrap().len(), 10);
        assert_eq!(attrs.get("one"), None);
        assert!(attrs.set("full", vec![0; MAX_ATTRS]).is_err());
        assert!(attrs.set(&"n".repeat(256), vec![]).is_err());
    }
}
