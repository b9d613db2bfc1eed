//! Entries, as JSON and as headers.

use std::fmt::{Display, Write as _};

use holdall_core::{Digest, Entry, Error, Result, Timestamp, Version};
use http::{HeaderMap, HeaderName, HeaderValue, header};
use serde::{Deserialize, Serialize};

use crate::names::{CREATED, DIGEST, MODIFIED, SIZE};

/// What the store says of an item.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Entry))]
pub struct EntryShape {
    /// The id of the write that made it.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Version))]
    pub version: String,
    /// When the item was first put (RFC 3339).
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Time))]
    pub created: String,
    /// When this version was put (RFC 3339).
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Time))]
    pub modified: String,
    /// The bytes of the body, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub size: Option<u64>,
    /// The BLAKE3 digest of the body, if there is one, in hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Digest, required = false))]
    pub digest: Option<String>,
}

impl From<&Entry> for EntryShape {
    fn from(entry: &Entry) -> Self {
        Self {
            version: entry.version.to_string(),
            created: entry.created.to_string(),
            modified: entry.modified.to_string(),
            size: entry.digest.is_some().then_some(entry.size),
            digest: entry.digest.map(|digest| digest.to_string()),
        }
    }
}

impl EntryShape {
    /// The entry that it tells of.
    ///
    /// # Errors
    /// `Invalid`, naming the member.
    pub fn read(&self) -> Result<Entry> {
        Ok(Entry {
            version: self.version.parse()?,
            created: self.created.parse()?,
            modified: self.modified.parse()?,
            size: self.size.unwrap_or(0),
            digest: self.digest.as_deref().map(read_digest).transpose()?,
        })
    }
}

pub(crate) fn read_digest(text: &str) -> Result<Digest> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
    bytes
        .and_then(|bytes| Digest::from_slice(&bytes).ok())
        .ok_or_else(|| Error::invalid("the digest must be 64 hexadecimal digits, in lower case"))
}

/// A version as an entity tag: in quotes.
pub fn etag(version: Version) -> HeaderValue {
    shown(
        &mut String::with_capacity(TEXT),
        format_args!("\"{version}\""),
    )
}

/// The version in an entity tag.
///
/// # Errors
/// `Invalid` if it is none of Holdall's.
pub fn read_etag(text: &str) -> Result<Version> {
    text.trim()
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            Error::invalid(format!(
                "{text:?} is not the tag of a version; send what ETag said, with its quotes"
            ))
        })
}

/// Writes an entry into headers.
pub fn write_entry(entry: &Entry, headers: &mut HeaderMap) {
    headers.reserve(16);
    // One text for all: every read does this.
    let mut text = String::with_capacity(TEXT);
    headers.insert(header::ETAG, etag(entry.version));
    let modified = shown(&mut text, entry.modified);
    headers.insert(
        header::LAST_MODIFIED,
        header_value(&http_date(entry.modified, &text)),
    );
    let created = if entry.created == entry.modified {
        modified.clone()
    } else {
        shown(&mut text, entry.created)
    };
    headers.insert(CREATED, created);
    headers.insert(MODIFIED, modified);
    if let Some(digest) = entry.digest {
        headers.insert(SIZE, HeaderValue::from(entry.size));
        headers.insert(DIGEST, shown(&mut text, digest));
    }
}

/// Reads an entry out of headers.
///
/// # Errors
/// `Invalid`, naming the header.
pub fn read_entry(headers: &HeaderMap) -> Result<Entry> {
    let text = |name: &HeaderName| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| Error::invalid(format!("the header {name} is missing")))
    };
    let digest = match headers.contains_key(DIGEST) {
        true => Some(read_digest(text(&DIGEST)?)?),
        false => None,
    };
    let size = match digest {
        Some(_) => text(&SIZE)?.parse().map_err(|error| {
            Error::invalid("the header holdall-size is no number").because(error)
        })?,
        None => 0,
    };
    Ok(Entry {
        version: read_etag(text(&header::ETAG)?)?,
        created: text(&CREATED)?.parse()?,
        modified: text(&MODIFIED)?.parse()?,
        size,
        digest,
    })
}

/// A time and its text in the form of RFC 9110: `Sat, 21 Nov 2026 09:10:58 GMT`.
fn http_date(time: Timestamp, text: &str) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    // 2026-11-21T09:10:58.000000Z
    let part = |range: std::ops::Range<usize>| text.get(range).unwrap_or("00");
    let month = part(5..7).parse::<usize>().unwrap_or(1).saturating_sub(1);
    let days = time.as_micros().div_euclid(24 * 60 * 60 * 1_000_000);
    let day = usize::try_from(days.rem_euclid(7)).unwrap_or(0);
    [
        DAYS.get(day).unwrap_or(&"Thu"),
        ", ",
        part(8..10),
        " ",
        MONTHS.get(month).unwrap_or(&"Jan"),
        " ",
        part(0..4),
        " ",
        part(11..19),
        " GMT",
    ]
    .concat()
}

/// The longest text of an entry, its digest.
const TEXT: usize = 64;

/// What is shown as a header value; the text of it stays in `text`.
fn shown(text: &mut String, what: impl Display) -> HeaderValue {
    text.clear();
    // Nothing that is written into a string fails.
    let _never = write!(text, "{what}");
    header_value(text)
}

/// Text of digits, letters and punctuation is always a header value.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_through_headers_and_json() {
        for digest in [None, Some(Digest::of(b"body"))] {
            let entry = Entry {
                version: Version::from_bytes([7; 16]),
                created: Timestamp::from_micros(1_700_000_000_123_456),
                modified: Timestamp::from_micros(1_700_000_001_000_000),
                size: if digest.is_some() { 4 } else { 0 },
                digest,
            };
            let mut headers = HeaderMap::new();
            write_entry(&entry, &mut headers);
            assert_eq!(read_entry(&headers).unwrap(), entry);
            let json = serde_json::to_string(&EntryShape::from(&entry)).unwrap();
            let shape: EntryShape = serde_json::from_str(&json).unwrap();
            assert_eq!(shape.read().unwrap(), entry);
        }
    }

    #[test]
    fn dates_are_those_of_http() {
        for (text, want) in [
            ("1994-11-06T08:49:37Z", "Sun, 06 Nov 1994 08:49:37 GMT"),
            ("1970-01-01T00:00:00Z", "Thu, 01 Jan 1970 00:00:00 GMT"),
            ("2026-11-21T12:00:00Z", "Sat, 21 Nov 2026 12:00:00 GMT"),
            ("1969-12-31T23:59:59Z", "Wed, 31 Dec 1969 23:59:59 GMT"),
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(http_date(time, &time.to_string()), want);
        }
    }

    #[test]
    fn a_tag_without_quotes_or_of_another_kind_is_refused() {
        for text in [
            "",
            "\"",
            "\"x\"",
            "W/\"0193c1f0-8a2b-7c3d-9e4f-001122334455\"",
            "0193c1f0-8a2b-7c3d-9e4f-001122334455",
        ] {
            assert!(read_etag(text).is_err(), "{text}");
        }
    }
}
