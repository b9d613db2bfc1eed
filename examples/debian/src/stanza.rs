//! Reads what `apt-cache dumpavail` prints: stanzas of fields, an empty line
//! between them.

use std::io::{BufRead, Error, ErrorKind, Result};

/// The most bytes of a stanza; the largest of Debian's has some 60 KiB.
const MAX_STANZA: usize = 1024 * 1024;

/// The fields of one package, in order, with their names as they stand there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Stanza {
    /// Names and values. The lines of a folded value are separated by newlines.
    pub fields: Vec<(String, String)>,
    /// Whether bytes that are no UTF-8 were replaced by U+FFFD.
    pub replaced: bool,
}

impl Stanza {
    /// The value of a field, whatever the case of its name.
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self
            .fields
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }
}

/// The stanzas of a text, one at a time.
pub fn stanzas(text: impl BufRead) -> impl Iterator<Item = Result<Stanza>> {
    let mut text = text;
    std::iter::from_fn(move || next(&mut text).transpose())
}

fn next(text: &mut impl BufRead) -> Result<Option<Stanza>> {
    let mut stanza = Stanza::default();
    let mut size = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        size += text.read_until(b'\n', &mut line)?;
        if size > MAX_STANZA {
            return Err(refused(format!(
                "a stanza has more than {MAX_STANZA} bytes; is this the output of apt-cache dumpavail?"
            )));
        }
        let ended = line.is_empty();
        let decoded = String::from_utf8_lossy(&line);
        stanza.replaced |= matches!(decoded, std::borrow::Cow::Owned(_));
        let decoded = decoded.trim_end();
        if decoded.is_empty() {
            // Several empty lines separate as one does.
            match (stanza.fields.is_empty(), ended) {
                (false, _) => return Ok(Some(stanza)),
                (true, true) => return Ok(None),
                (true, false) => {}
            }
        } else if decoded.starts_with([' ', '\t']) {
            let Some((_, value)) = stanza.fields.last_mut() else {
                return Err(refused(format!(
                    "a stanza begins with the continuation of a field: {decoded:?}"
                )));
            };
            value.push('\n');
            // A dot alone stands for an empty line.
            let more = decoded.trim();
            value.push_str(if more == "." { "" } else { more });
        } else {
            let Some((name, value)) = decoded.split_once(':') else {
                return Err(refused(format!("a line is no field: {decoded:?}")));
            };
            stanza
                .fields
                .push((name.to_owned(), value.trim().to_owned()));
        }
    }
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8]) -> Result<Vec<Stanza>> {
        stanzas(text).collect()
    }

    #[test]
    fn stanzas_are_read_with_their_continuation_lines() {
        let text = b"\nPackage: a\nDescription: short\n long\n .\n  indented\nTag: x,\n y\n\n\nPackage: b\nSize:\n";
        let found = read(text).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].get("description"), Some("short\nlong\n\nindented"));
        assert_eq!(found[0].get("Tag"), Some("x,\ny"));
        assert_eq!(found[1].get("Size"), Some(""));
        assert_eq!(found[1].get("Section"), None);
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced_and_said_to_be() {
        let found = read(b"Package: a\nMaintainer: Ren\xe9\n\nPackage: b\n").unwrap();
        assert_eq!(found[0].get("Maintainer"), Some("Ren\u{fffd}"));
        assert_eq!((found[0].replaced, found[1].replaced), (true, false));
    }

    #[test]
    fn what_is_no_list_of_packages_is_refused() {
        for text in [" continued\n".as_bytes(), b"{\"json\"}\n"] {
            assert!(read(text).is_err());
        }
        let endless = vec![b'a'; MAX_STANZA + 1];
        assert!(read(&endless).is_err());
    }
}
