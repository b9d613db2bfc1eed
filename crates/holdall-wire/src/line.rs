//! Items as lines of JSON.

use bytes::Bytes;
use holdall_core::{Attrs, Body, Doc, Error, Item, Key, Result};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::{EntryShape, read_attrs, read_base64, write_attrs};

/// The largest body that stands in the line of its item.
pub const MAX_INLINE_BODY: u64 = 64 * 1024;

/// The line of an item.
#[derive(Serialize, Deserialize)]
struct Shape<'a> {
    #[serde(borrow)]
    key: std::borrow::Cow<'a, str>,
    #[serde(flatten)]
    entry: EntryShape,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    attrs: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    body: Option<String>,
}

/// The doc stands apart: text cannot be kept as it is beside a flattened part.
#[derive(Deserialize)]
struct DocShape<'a> {
    #[serde(borrow, default)]
    doc: Option<&'a RawValue>,
}

/// The last line of a page.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct End {
    /// Always true.
    pub end: bool,
    /// Where the next page starts; left out where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub next: Option<String>,
}

/// A line, as it was read.
#[derive(Debug)]
pub enum Line {
    /// An item. Its body is here if it was asked for and is small, or empty.
    Item(Item),
    /// No item of that key.
    Absent,
    /// The page is complete.
    End(End),
}

/// Writes an item, with the parts that it has, and its body if that is here.
pub fn write_item(out: &mut Vec<u8>, item: &Item, body: Option<&Bytes>, attrs: bool) {
    let shape = Shape {
        key: item.key.as_str().into(),
        entry: EntryShape::from(&item.entry),
        attrs: (attrs && !item.attrs.is_empty()).then(|| write_attrs(&item.attrs)),
        body: body.map(|body| data_encoding::BASE64.encode(body)),
    };
    write_json(out, &shape);
    if let Some(doc) = &item.doc {
        // The text of a doc is valid JSON in one line.
        out.pop();
        out.extend_from_slice(b",\"doc\":");
        out.extend_from_slice(doc.as_bytes());
        out.push(b'}');
    }
    out.push(b'\n');
}

/// Writes that there is no item.
pub fn write_absent(out: &mut Vec<u8>) {
    out.extend_from_slice(b"null\n");
}

/// Writes the last line of a page.
pub fn write_end(out: &mut Vec<u8>, next: Option<String>) {
    write_json(out, &End { end: true, next });
    out.push(b'\n');
}

fn write_json(out: &mut Vec<u8>, value: &impl Serialize) {
    // Writing strings and numbers to memory does not fail.
    let _ = serde_json::to_writer(out, value);
}

impl Line {
    /// Reads a line, without its end. The doc is taken as checked: the server
    /// did that when it was put.
    ///
    /// # Errors
    /// `Invalid` if it is none.
    pub fn read(text: &[u8]) -> Result<Self> {
        let damaged = |error: serde_json::Error| {
            Error::invalid("a line of the answer is damaged").because(error)
        };
        if text == b"null" {
            return Ok(Self::Absent);
        }
        // No line of an item starts so: its key comes first.
        if text.starts_with(b"{\"end\":") {
            return serde_json::from_slice(text).map(Self::End).map_err(damaged);
        }
        let shape: Shape<'_> = serde_json::from_slice(text).map_err(damaged)?;
        let doc: DocShape<'_> = serde_json::from_slice(text).map_err(damaged)?;
        let body = shape.body.map(|text| read_base64(&text, "a body"));
        Ok(Self::Item(Item {
            key: Key::new(shape.key)?,
            entry: shape.entry.read()?,
            doc: doc
                .doc
                .map(|doc| Doc::from_stored(Bytes::copy_from_slice(doc.get().as_bytes()))),
            body: body
                .transpose()?
                .map(|bytes| Body::from_bytes(bytes.into(), 0)),
            attrs: match shape.attrs {
                Some(text) => read_attrs(&text)?,
                None => Attrs::default(),
            },
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_core::{Digest, Entry, Timestamp, Version};

    fn item(doc: Option<&str>, body: Option<&[u8]>) -> Item {
        let mut attrs = Attrs::default();
        attrs.set("slot", vec![0, 255]).unwrap();
        Item {
            key: Key::new("a \"key\"\n").unwrap(),
            entry: Entry {
                version: Version::from_bytes([9; 16]),
                created: Timestamp::from_micros(1),
                modified: Timestamp::from_micros(2),
                size: body.map_or(0, |body| body.len() as u64),
                digest: body.map(Digest::of),
            },
            doc: doc.map(|doc| Doc::parse(doc.to_owned()).unwrap()),
            body: None,
            attrs,
        }
    }

    #[tokio::test]
    async fn an_item_comes_back_with_the_parts_that_it_had() {
        let tricky = r#"{"key":"other","end":true,"n":18446744073709551615}"#;
        for doc in [None, Some("{}"), Some(tricky)] {
            for body in [None, Some(&b""[..]), Some(b"\0\xff")] {
                let sent = item(doc, body);
                let bytes = body.map(Bytes::from_static);
                let mut out = Vec::new();
                write_item(&mut out, &sent, bytes.as_ref(), true);
                assert_eq!(out.pop(), Some(b'\n'));
                assert!(!out.contains(&b'\n'));
                let Line::Item(read) = Line::read(&out).unwrap() else {
                    panic!("not an item");
                };
                assert_eq!(
                    (&read.key, read.entry, &read.attrs),
                    (&sent.key, sent.entry, &sent.attrs)
                );
                assert_eq!(read.doc, sent.doc);
                let read = match read.body {
                    Some(body) => Some(body.bytes(100).await.unwrap()),
                    None => None,
                };
                assert_eq!(read, bytes);
            }
        }
    }

    #[test]
    fn ends_are_no_items_and_damage_is_seen() {
        let mut out = Vec::new();
        write_end(&mut out, Some("x".to_owned()));
        write_absent(&mut out);
        let lines: Vec<_> = out.split(|byte| *byte == b'\n').collect();
        assert!(
            matches!(Line::read(lines[0]).unwrap(), Line::End(End { end: true, next: Some(next) }) if next == "x")
        );
        assert!(matches!(Line::read(lines[1]).unwrap(), Line::Absent));
        for text in ["", "{", "{}", "[]", "{\"key\":1}", "{\"key\":\"a\""] {
            assert!(Line::read(text.as_bytes()).is_err(), "{text}");
        }
    }
}
