//! The JSON lines of export and import.
//!
//! `{"key":…,"doc":{…}}`; where the item has a body, `"size"`, `"digest"` (BLAKE3
//! in hex) and `"body"` in base64; a body of more than 1 MiB instead as
//! `"parts":N`, and then N lines `{"part":…}` with 1 MiB each but the last.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};

use bytes::Bytes;
use data_encoding::BASE64;
use holdall::{Digest, Doc, Error, Key, Path, Result, Value};
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

/// The bytes of a part, and of the largest body that stands in its item's line.
pub(crate) const PART: usize = 1024 * 1024;

/// The most bytes of a line: a doc and a body of a few MiB, with room.
const MAX_LINE: u64 = 32 * 1024 * 1024;

/// Lines that are read ahead.
const AHEAD: usize = 16;

/// A line that was read.
pub(crate) struct Line {
    /// From 1.
    pub(crate) number: u64,
    /// The bytes of the input up to its end.
    pub(crate) end: u64,
    pub(crate) content: Content,
}

pub(crate) enum Content {
    Item(Box<NewItem>),
    /// A part of the body of the item before.
    Part(Bytes),
}

/// An item to import.
pub(crate) struct NewItem {
    pub(crate) key: Key,
    pub(crate) doc: Doc,
    pub(crate) body: LineBody,
}

pub(crate) enum LineBody {
    None,
    Here(Bytes),
    /// In so many lines that follow.
    Parts {
        count: u64,
        size: u64,
        digest: Digest,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw<'a> {
    #[serde(borrow)]
    key: Option<Cow<'a, str>>,
    #[serde(borrow)]
    doc: Option<&'a RawValue>,
    #[serde(borrow)]
    body: Option<Cow<'a, str>>,
    parts: Option<u64>,
    part: Option<Cow<'a, str>>,
    size: Option<u64>,
    digest: Option<Cow<'a, str>>,
    // What `query` and `ls` print of the entry; an import makes its own.
    #[serde(rename = "version")]
    _version: Option<Cow<'a, str>>,
    #[serde(rename = "created")]
    _created: Option<Cow<'a, str>>,
    #[serde(rename = "modified")]
    _modified: Option<Cow<'a, str>>,
}

/// Reads lines on a thread of its own; the first error ends them. Those before
/// `from` and empty ones are left out.
pub(crate) fn read(
    reader: Box<dyn Read + Send>,
    key: Option<Path>,
    from: u64,
) -> mpsc::Receiver<Result<Line>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    std::thread::spawn(move || {
        let mut reader = BufReader::with_capacity(256 * 1024, reader);
        let (mut number, mut end) = (0, 0);
        loop {
            number += 1;
            let line = match next_line(&mut reader) {
                Ok(None) => return,
                Ok(Some(line)) => line,
                Err(error) => {
                    let _ = sender.blocking_send(Err(at_line(number, &error)));
                    return;
                }
            };
            end += line.len() as u64;
            if number < from || line.trim_ascii().is_empty() {
                continue;
            }
            let line = content(&line, key.as_ref())
                .map(|content| Line {
                    number,
                    end,
                    content,
                })
                .map_err(|error| at_line(number, &error));
            let failed = line.is_err();
            if sender.blocking_send(line).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// The same error, naming the line.
pub(crate) fn at_line(number: u64, error: &Error) -> Error {
    Error::new(
        error.kind(),
        error.retry(),
        format!("line {number}: {error}"),
    )
}

fn next_line(reader: &mut impl BufRead) -> Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader
        .take(MAX_LINE + 1)
        .read_until(b'\n', &mut line)
        .map_err(|error| Error::other("the input cannot be read").because(error))?;
    if line.len() as u64 > MAX_LINE {
        return Err(Error::too_large(format!(
            "it has more than {MAX_LINE} bytes; a large body is exported in parts"
        )));
    }
    Ok((!line.is_empty()).then_some(line))
}

fn content(line: &[u8], key: Option<&Path>) -> Result<Content> {
    let line = line.trim_ascii();
    if let Some(path) = key {
        let doc = Doc::parse(line.to_vec())?;
        let key = key_of(&doc, path)?;
        let body = LineBody::None;
        return Ok(Content::Item(Box::new(NewItem { key, doc, body })));
    }
    let raw: Raw<'_> = serde_json::from_slice(line).map_err(|error| {
        Error::invalid(
            "it is not {\"key\":…,\"doc\":{…},\"body\":…}, as `holdall export` prints it (for lines that \
             are docs, say with --key where their keys stand)",
        )
        .because(error)
    })?;
    if let Some(part) = raw.part {
        return decode("part", &part).map(Content::Part);
    }
    let key = raw
        .key
        .as_deref()
        .ok_or_else(|| Error::invalid("its \"key\" is missing"))?;
    let key = Key::new(key)?;
    let doc = match raw.doc {
        Some(doc) => Doc::parse(doc.get().to_owned())?,
        None => Doc::empty(),
    };
    let digest = raw.digest.as_deref().map(read_digest).transpose()?;
    let body = match (raw.body, raw.parts, digest) {
        (Some(_), Some(_), _) => {
            return Err(Error::invalid("it has a \"body\" and \"parts\"; give one"));
        }
        (Some(body), None, digest) => {
            let body = decode("body", &body)?;
            if digest.is_some_and(|digest| digest != Digest::of(&body)) {
                return Err(damaged());
            }
            LineBody::Here(body)
        }
        (None, Some(count), Some(digest)) => LineBody::Parts {
            count,
            size: raw
                .size
                .ok_or_else(|| Error::invalid("it has \"parts\" without a \"size\""))?,
            digest,
        },
        (None, Some(_), None) => {
            return Err(Error::invalid("it has \"parts\" without a \"digest\""));
        }
        (None, None, Some(_)) => {
            return Err(Error::invalid(
                "its item has a body, and the line does not; `holdall export` prints bodies too",
            ));
        }
        (None, None, None) => LineBody::None,
    };
    Ok(Content::Item(Box::new(NewItem { key, doc, body })))
}

/// A body that is not the one its line tells of.
pub(crate) fn damaged() -> Error {
    Error::corrupt(
        "its body is not the one that its \"digest\" and \"size\" tell of; export it again",
    )
}

fn decode(what: &str, text: &str) -> Result<Bytes> {
    let bytes = BASE64.decode(text.as_bytes()).map_err(|error| {
        Error::invalid(format!(
            "its {what:?} is not base64 (RFC 4648, with padding)"
        ))
        .because(error)
    })?;
    Ok(bytes.into())
}

fn read_digest(text: &str) -> Result<Digest> {
    let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
    bytes
        .and_then(|bytes| Digest::from_slice(&bytes).ok())
        .ok_or_else(|| Error::invalid("its \"digest\" is not 64 hexadecimal digits in lower case"))
}

/// The key that stands in a doc: a string, or a whole number as it is written.
fn key_of(doc: &Doc, path: &Path) -> Result<Key> {
    match doc.at(path)? {
        Some(Value::String(key)) => Key::new(key),
        Some(Value::Number(number)) if !number.is_f64() => Key::new(number.to_string()),
        Some(_) => Err(Error::invalid(format!(
            "the key at {path} is neither a string nor a whole number"
        ))),
        None => Err(Error::invalid(format!("there is no key at {path}"))),
    }
}
