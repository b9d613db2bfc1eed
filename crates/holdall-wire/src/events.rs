//! Reads server-sent events, as the HTML standard tells them.

use holdall_core::{Error, Result};

/// The most bytes of a line, and of the data of an event.
const MAX_LINE: usize = 64 * 1024;

/// One event. Its id is that of the stream so far, which an event keeps that
/// brings none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The event's name.
    pub name: String,
    /// Its data; empty where there is no event, but perhaps an id.
    pub data: String,
    /// Its id.
    pub id: Option<String>,
}

/// Takes bytes in, and gives blocks out.
///
/// ```
/// use holdall_wire::Events;
/// let (mut events, mut blocks) = (Events::default(), Vec::new());
/// events.feed(b": watching\n\nid: AAAB\nevent: put\nda", &mut blocks)?;
/// events.feed(b"ta: {}\n\n", &mut blocks)?;
/// assert_eq!(blocks[1].name, "put");
/// assert_eq!(blocks[1].id.as_deref(), Some("AAAB"));
/// # Ok::<(), holdall_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Events {
    line: Vec<u8>,
    /// The last byte was a carriage return, whose line feed may follow.
    returned: bool,
    started: bool,
    id: Option<String>,
    name: String,
    data: String,
}

impl Events {
    /// Takes the next bytes in, and adds the blocks that they complete: also
    /// those without data, which tell of no event, but perhaps of an id.
    ///
    /// # Errors
    /// `Invalid` for a line or an event beyond 64 KiB, and for what is no UTF-8.
    pub fn feed(&mut self, bytes: &[u8], blocks: &mut Vec<Block>) -> Result<()> {
        for byte in bytes {
            match byte {
                b'\n' if self.returned => self.returned = false,
                b'\n' | b'\r' => {
                    self.returned = *byte == b'\r';
                    self.end_line(blocks)?;
                }
                byte => {
                    self.returned = false;
                    if self.line.len() == MAX_LINE {
                        return Err(Error::invalid(format!(
                            "a line of the events has more than {MAX_LINE} bytes"
                        )));
                    }
                    self.line.push(*byte);
                }
            }
        }
        Ok(())
    }

    fn end_line(&mut self, blocks: &mut Vec<Block>) -> Result<()> {
        let line = std::mem::take(&mut self.line);
        let mut line = std::str::from_utf8(&line)
            .map_err(|_| Error::invalid("a line of the events is no UTF-8"))?;
        if !std::mem::replace(&mut self.started, true) {
            line = line.strip_prefix('\u{FEFF}').unwrap_or(line);
        }
        if line.is_empty() {
            blocks.push(Block {
                name: std::mem::take(&mut self.name),
                data: std::mem::take(&mut self.data),
                id: self.id.clone(),
            });
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "event" => value.clone_into(&mut self.name),
            "id" if !value.contains('\0') => self.id = Some(value.to_owned()),
            "data" => {
                if self.data.len() + value.len() > MAX_LINE {
                    return Err(Error::invalid(format!(
                        "an event has more than {MAX_LINE} bytes"
                    )));
                }
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data.push_str(value);
            }
            // A comment, or a field that nobody knows.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocks(text: &str, at_once: usize) -> Vec<Block> {
        let mut parser = Events::default();
        let mut blocks = Vec::new();
        for piece in text.as_bytes().chunks(at_once) {
            parser.feed(piece, &mut blocks).unwrap();
        }
        blocks
    }

    fn block(name: &str, data: &str, id: Option<&str>) -> Block {
        Block {
            name: name.to_owned(),
            data: data.to_owned(),
            id: id.map(str::to_owned),
        }
    }

    #[test]
    fn events_come_out_however_they_are_cut() {
        let text = "\u{FEFF}: watching\nid: A\n\n:\n\nevent: put\ndata: {\ndata:}\nid:B\n\ndata\nretry: 5\n\nevent: cut";
        let wanted = [
            block("", "", Some("A")),
            block("", "", Some("A")),
            block("put", "{\n}", Some("B")),
            block("", "", Some("B")),
        ];
        for at_once in [1, 2, 3, 7, 1000] {
            assert_eq!(blocks(text, at_once), wanted, "{at_once}");
            assert_eq!(
                blocks(&text.replace('\n', "\r\n"), at_once),
                wanted,
                "{at_once}"
            );
            assert_eq!(
                blocks(&text.replace('\n', "\r"), at_once),
                wanted,
                "{at_once}"
            );
        }
    }

    #[test]
    fn what_has_no_end_is_refused() {
        let mut parser = Events::default();
        let mut blocks = Vec::new();
        let long = vec![b'x'; MAX_LINE];
        parser.feed(&long, &mut blocks).unwrap();
        assert!(parser.feed(b"x", &mut blocks).is_err());
        let mut parser = Events::default();
        let line = format!("data: {}\n", "x".repeat(MAX_LINE / 2));
        parser.feed(line.as_bytes(), &mut blocks).unwrap();
        parser.feed(line.as_bytes(), &mut blocks).unwrap();
        assert!(parser.feed(line.as_bytes(), &mut blocks).is_err());
        assert!(blocks.is_empty());
    }
}
