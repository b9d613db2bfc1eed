//! The raw head of an HTTP/1 request: what of it hyper does not tell.

/// Reads along, and stops at the empty line. It decides nothing by itself: where
/// it began in the middle of a head, as with pipelined requests, it sees less.
#[derive(Default)]
pub(super) struct HeadScan {
    /// How far the line agrees with the name; `None` behind a difference.
    agreed: Option<usize>,
    /// Bytes in this line, but for its end; some of it where it is not empty.
    line: usize,
    lines: usize,
    size: u64,
    /// Bytes of the first line, when it is complete.
    first: u64,
    length: bool,
    done: bool,
}

const NAME: &[u8] = b"content-length";

impl HeadScan {
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        let mut bytes = bytes;
        while let [byte, rest @ ..] = bytes {
            if self.done {
                return;
            }
            if self.agreed.is_none() && self.line > 0 {
                // The rest of this line says nothing.
                let skipped = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
                if skipped > 0 {
                    self.size += skipped as u64;
                    self.line += skipped;
                    bytes = bytes.split_at(skipped).1;
                    continue;
                }
            }
            bytes = rest;
            self.size += 1;
            match byte {
                b'\n' => {
                    if self.lines == 0 {
                        self.first = self.size;
                    }
                    self.done = self.line == 0 && self.lines > 0;
                    self.lines += usize::from(self.line > 0);
                    self.line = 0;
                    self.agreed = Some(0);
                }
                b'\r' => {}
                byte => {
                    self.line += 1;
                    self.agreed = match self.agreed {
                        Some(at) if at == NAME.len() => {
                            self.length |= *byte == b':';
                            None
                        }
                        Some(at) if NAME.get(at) == Some(&byte.to_ascii_lowercase()) => {
                            Some(at + 1)
                        }
                        _ => None,
                    };
                }
            }
        }
    }

    /// Whether there is a `Content-Length`.
    pub(super) fn has_length(&self) -> bool {
        self.length
    }

    /// Bytes so far, or those of the whole head.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Bytes of the first line so far.
    pub(super) fn first_line(&self) -> u64 {
        if self.lines == 0 {
            self.size
        } else {
            self.first
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(head: &str, step: usize) -> (bool, u64) {
        let mut scan = HeadScan::default();
        for bytes in head.as_bytes().chunks(step) {
            scan.feed(bytes);
        }
        (scan.has_length(), scan.first_line())
    }

    #[test]
    fn a_length_is_seen_however_the_head_is_cut() {
        for step in [1, 2, 3, 7, 1000] {
            let with = "\r\nPUT / HTTP/1.1\r\nhost: a\r\nCONTENT-length: 5\r\n\r\nhello";
            assert_eq!(scan(with, step), (true, 18));
            let without = "PUT /content-length: HTTP/1.1\r\nx-content-length: 5\r\ncontent-lengths: 1\r\n\r\ncontent-length: 5\r\n";
            assert_eq!(scan(without, step), (false, 31));
            assert_eq!(scan("GET /aaaa", step), (false, 9));
        }
    }
}
