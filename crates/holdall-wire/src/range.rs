//! Ranges of bodies, where HTTP's own `Range` does not fit.

use holdall_core::{ByteRange, Error, Result};

/// `10..20` (the second left out), `10..`, or `-5` for the last five.
pub fn write_range(range: ByteRange) -> String {
    match range {
        ByteRange::Bounded(start, end) => format!("{start}..{end}"),
        ByteRange::From(start) => format!("{start}.."),
        ByteRange::Last(count) => format!("-{count}"),
    }
}

/// Reads what [`write_range`] wrote.
///
/// # Errors
/// `Invalid` if it is none.
pub fn read_range(text: &str) -> Result<ByteRange> {
    let number = |text: &str| text.parse::<u64>().ok();
    let range = match text.split_once("..") {
        Some((start, "")) => number(start).map(ByteRange::From),
        Some((start, end)) => number(start)
            .zip(number(end))
            .map(|(start, end)| ByteRange::Bounded(start, end)),
        None => text.strip_prefix('-').and_then(number).map(ByteRange::Last),
    };
    range.ok_or_else(|| {
        Error::invalid(format!(
            "{text:?} is not a range; write 10..20, 10.. or -5 for the last five bytes"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_come_back() {
        for range in [
            ByteRange::Bounded(1, 20),
            ByteRange::From(7),
            ByteRange::Last(3),
        ] {
            assert_eq!(read_range(&write_range(range)).unwrap(), range);
        }
        for text in ["", "..", "-", "1-2", "a..b", "-1..2", "..5"] {
            assert!(read_range(text).is_err(), "{text}");
        }
    }
}
