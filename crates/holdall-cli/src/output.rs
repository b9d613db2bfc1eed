//! What goes to stdout.

use std::borrow::Cow;
use std::io::{self, BufWriter, IsTerminal, Write};

use holdall::{Doc, Entry, Item, Key};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::exit::Failure;

/// Stdout, and what it is to look like.
pub(crate) struct Output {
    writer: BufWriter<io::Stdout>,
    terminal: bool,
    tables: bool,
}

impl Output {
    pub(crate) fn new(json: bool, table: bool) -> Self {
        let stdout = io::stdout();
        let terminal = stdout.is_terminal();
        Self {
            writer: BufWriter::with_capacity(64 * 1024, stdout),
            terminal,
            tables: table || (terminal && !json),
        }
    }

    /// Whether people read it: tables and sentences instead of JSON.
    pub(crate) fn tables(&self) -> bool {
        self.tables
    }

    /// Whether it goes to a terminal.
    pub(crate) fn terminal(&self) -> bool {
        self.terminal
    }

    /// One line of text.
    pub(crate) fn line(&mut self, text: &str) -> Result<(), Failure> {
        writeln!(self.writer, "{text}")?;
        Ok(())
    }

    /// One line of JSON.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value)
            .map_err(|error| Failure::other("what was found does not become JSON", error))?;
        self.json_text(&text)
    }

    /// One line of JSON that is text already.
    pub(crate) fn json_text(&mut self, text: &str) -> Result<(), Failure> {
        if self.terminal {
            self.line(&safe_json(text))
        } else {
            self.line(text)
        }
    }

    /// Bytes as they are.
    pub(crate) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(bytes)?;
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<(), Failure> {
        self.writer.flush()?;
        Ok(())
    }
}

/// An item as a line of JSON: key, entry, and the doc where there is one.
#[derive(Serialize)]
pub(crate) struct ItemLine<'a> {
    key: &'a str,
    version: String,
    created: String,
    modified: String,
    size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    digest: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    doc: Option<&'a RawValue>,
}

impl<'a> ItemLine<'a> {
    pub(crate) fn of(item: &'a Item) -> Result<Self, Failure> {
        let doc = item.doc.as_ref().map(raw).transpose()?;
        Ok(Self {
            doc,
            ..Self::entry(&item.key, &item.entry)
        })
    }

    pub(crate) fn entry(key: &'a Key, entry: &Entry) -> Self {
        Self {
            key: key.as_str(),
            version: entry.version.to_string(),
            created: entry.created.to_string(),
            modified: entry.modified.to_string(),
            size: entry.size,
            digest: entry.digest.map(|digest| digest.to_string()),
            doc: None,
        }
    }
}

/// A doc as it stands in a line of JSON.
pub(crate) fn raw(doc: &Doc) -> Result<&RawValue, Failure> {
    serde_json::from_slice(doc.as_bytes()).map_err(|error| {
        Failure::Error(holdall::Error::corrupt("a stored doc is not JSON").because(error))
    })
}

/// Text whose control characters, and those that turn the direction of text
/// around, are escaped: a key must not move the cursor of a terminal.
pub(crate) fn safe(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let mut out = String::new();
    for character in text.chars() {
        if is_unsafe(character) {
            out.extend(character.escape_default());
        } else {
            out.push(character);
        }
    }
    out.into()
}

/// The same for a text of JSON, which stays the same value.
fn safe_json(text: &str) -> Cow<'_, str> {
    if !text.contains(is_unsafe) {
        return text.into();
    }
    let mut out = String::new();
    for character in text.chars() {
        if is_unsafe(character) {
            out.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            out.push(character);
        }
    }
    out.into()
}

fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{200E}' | '\u{200F}' | '\u{2028}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_move_the_cursor_of_a_terminal() {
        assert_eq!(safe("plain äöü 日本"), "plain äöü 日本");
        assert_eq!(safe("a\u{1b}[2Jb\nc"), r"a\u{1b}[2Jb\nc");
        assert_eq!(safe("x\u{202e}y\u{9b}"), r"x\u{202e}y\u{9b}");
        let text = "{\"k\":\"\u{9b}\u{202e}\"}";
        let safe = safe_json(text);
        assert!(safe.is_ascii());
        let value = |text: &str| serde_json::from_str::<holdall::Value>(text).unwrap();
        assert_eq!(value(&safe), value(text));
    }
}
