//! Cursors: where a query goes on.

use std::fmt;

use data_encoding::BASE64URL_NOPAD;

use crate::sort_key::{sort_key_or_missing, value_of_sort_key};
use crate::{Error, Key, Query, Result};

/// The most bytes of a cursor's content: the values that an item is sorted by,
/// its key, and what frames them.
const MAX_CURSOR: usize = 64 * 1024;

/// The check at the end of the content.
const CHECK: usize = 4;

const FORMAT: u8 = 1;

/// Where a query goes on: behind an item, whether that still exists or not.
///
/// It holds the values that the item was sorted by and its key, and belongs to
/// one filter and one order; another query refuses it. Its text is made of
/// letters, digits, `-` and `_`. Whoever holds a cursor can read those values
/// from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Cursor {
    query: [u8; 8],
    values: Vec<Vec<u8>>,
    key: Key,
}

impl Cursor {
    /// The cursor of a query behind the item with this key, which is sorted by
    /// these values, encoded as [`Query::sort_values`] does.
    ///
    /// # Errors
    /// `TooLarge` if the values are so long that the text could not be read.
    pub fn new(query: &Query, values: Vec<Vec<u8>>, key: Key) -> Result<Self> {
        let cursor = Self {
            query: fingerprint(query),
            values,
            key,
        };
        let size = cursor.content().len();
        if size > MAX_CURSOR {
            return Err(Error::too_large(format!(
                "the cursor would take {size} bytes; the limit is {MAX_CURSOR}. \
                 Sort by values that are shorter"
            )));
        }
        Ok(cursor)
    }

    fn content(&self) -> Vec<u8> {
        let mut content = vec![FORMAT];
        content.extend_from_slice(&self.query);
        content.push(u8::try_from(self.values.len()).unwrap_or(u8::MAX));
        for value in &self.values {
            content
                .extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
            content.extend_from_slice(value);
        }
        content.extend_from_slice(self.key.as_str().as_bytes());
        content
    }

    /// The encoded values that the item was sorted by, one for each sort.
    pub fn values(&self) -> &[Vec<u8>] {
        &self.values
    }

    /// The item's key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    pub(crate) fn check(&self, query: &Query) -> Result<()> {
        if self.query == fingerprint(query) && self.values.len() == query.sort.len() {
            return Ok(());
        }
        Err(Error::invalid(
            "the cursor was made by a query with another filter or order; start without it",
        ))
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// `Invalid` if it is not the text of a cursor, or only a part of one.
    pub fn parse(text: &str) -> Result<Self> {
        let damaged =
            || Error::invalid("this is not a cursor, or not all of one; start without it");
        if text.len() > BASE64URL_NOPAD.encode_len(MAX_CURSOR + CHECK) {
            return Err(damaged());
        }
        let bytes = BASE64URL_NOPAD
            .decode(text.as_bytes())
            .map_err(|_| damaged())?;
        let (content, check) = bytes.split_last_chunk::<CHECK>().ok_or_else(damaged)?;
        if *check != checksum(content) {
            return Err(damaged());
        }
        read(content).ok_or_else(damaged)
    }
}

fn read(content: &[u8]) -> Option<Cursor> {
    let (format, rest) = content.split_first()?;
    if *format != FORMAT {
        return None;
    }
    let (query, rest) = rest.split_first_chunk::<8>()?;
    let (count, mut rest) = rest.split_first()?;
    let mut values = Vec::new();
    for _ in 0..*count {
        let (len, tail) = rest.split_first_chunk::<4>()?;
        let (value, tail) =
            tail.split_at_checked(usize::try_from(u32::from_be_bytes(*len)).ok()?)?;
        // Backends decode it, and compare it with what they encode.
        let decoded = value_of_sort_key(value).ok()?;
        if sort_key_or_missing(decoded.as_ref()) != value {
            return None;
        }
        values.push(value.to_vec());
        rest = tail;
    }
    let key = Key::new(std::str::from_utf8(rest).ok()?).ok()?;
    Some(Cursor {
        query: *query,
        values,
        key,
    })
}

/// What tells one query's cursors from another's: its filter and its order.
fn fingerprint(query: &Query) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(query.filter.to_json().to_string().as_bytes());
    for sort in &query.sort {
        hasher.update(&[0]);
        hasher.update(sort.to_string().as_bytes());
    }
    first(&hasher)
}

fn checksum(content: &[u8]) -> [u8; CHECK] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(content);
    first(&hasher)
}

fn first<const N: usize>(hasher: &blake3::Hasher) -> [u8; N] {
    let mut out = [0; N];
    hasher.finalize_xof().fill(&mut out);
    out
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut content = self.content();
        let check = checksum(&content);
        content.extend_from_slice(&check);
        f.write_str(&BASE64URL_NOPAD.encode(&content))
    }
}

impl fmt::Debug for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Cursor({self})")
    }
}

impl std::str::FromStr for Cursor {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Filter, Sort};

    fn made(query: &Query, values: Vec<Vec<u8>>) -> Result<Cursor> {
        Cursor::new(query, values, Key::new("k").unwrap())
    }

    #[test]
    fn a_cursor_belongs_to_its_query_and_shows_damage() {
        let query = Query::new(Filter::eq("a", 1).unwrap()).sort(Sort::parse("b:desc").unwrap());
        let cursor = made(&query, vec![vec![0x40, b'x', 0]]).unwrap();
        let text = cursor.to_string();
        assert_eq!(Cursor::parse(&text).unwrap(), cursor);
        assert!(query.clone().after(cursor.clone()).validate().is_ok());
        let other = Query::new(Filter::eq("a", 2).unwrap()).sort(Sort::parse("b:desc").unwrap());
        assert!(other.after(cursor.clone()).validate().is_err());
        let other = Query::new(Filter::eq("a", 1).unwrap()).sort(Sort::parse("b").unwrap());
        assert!(other.after(cursor.clone()).validate().is_err());
        assert!(query.after(cursor).offset(1).validate().is_err());
        for end in 0..text.len() {
            assert!(Cursor::parse(text.get(..end).unwrap()).is_err());
        }
        for at in 0..text.len() {
            let mut damaged = text.clone().into_bytes();
            damaged[at] = if damaged[at] == b'A' { b'B' } else { b'A' };
            assert!(
                Cursor::parse(std::str::from_utf8(&damaged).unwrap()).is_err(),
                "{at}"
            );
        }
    }

    /// A cursor used to be written at any length, and then not be read.
    #[test]
    fn a_cursor_that_is_made_can_be_read() {
        let query = Query::default().sort(Sort::parse("a").unwrap());
        let frame = 1 + 8 + 1 + 4 + 1;
        let value = |bytes: usize| {
            let text = "x".repeat(bytes - 2);
            vec![[b"\x40", text.as_bytes(), b"\0"].concat()]
        };
        let cursor = made(&query, value(MAX_CURSOR - frame)).unwrap();
        assert_eq!(Cursor::parse(&cursor.to_string()).unwrap(), cursor);
        let error = made(&query, value(MAX_CURSOR - frame + 1)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::TooLarge);
    }

    #[test]
    fn a_value_that_is_no_encoding_is_refused() {
        let query = Query::default().sort(Sort::parse("a").unwrap());
        for value in [&[][..], &[0x99], &[0x40, b'a'], &[0x10, 0x10]] {
            let forged = made(&query, vec![value.to_vec()]).unwrap();
            assert!(Cursor::parse(&forged.to_string()).is_err(), "{value:?}");
        }
    }
}
