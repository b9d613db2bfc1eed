//! Sizes in bytes, as people write them.

use crate::Result;

const UNITS: [(&str, u64); 4] = [
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
    ("", 1),
];

/// Reads `10GiB`, `512MiB`, `64KiB` or a number of bytes.
pub(crate) fn parse(text: &str) -> Result<u64> {
    let wrong = || format!("{text:?} is no size; write it like 512MiB or 10GiB");
    let (number, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?, unit)))
        .ok_or_else(wrong)?;
    let number: u64 = number.trim().parse().map_err(|_| wrong())?;
    Ok(number.checked_mul(*unit).ok_or_else(wrong)?)
}

/// Writes a size in the unit that suits it.
pub(crate) fn show(bytes: u64) -> String {
    for (name, unit) in UNITS {
        if bytes >= unit && !name.is_empty() {
            return if bytes.is_multiple_of(unit) {
                format!("{} {name}", bytes / unit)
            } else {
                format!("{:.1} {name}", bytes as f64 / unit as f64)
            };
        }
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_and_written() {
        for (text, bytes, shown) in [
            ("10GiB", 10 << 30, "10 GiB"),
            ("1536MiB", 1536 << 20, "1.5 GiB"),
            ("64KiB", 64 << 10, "64 KiB"),
            ("17", 17, "17 bytes"),
        ] {
            assert_eq!(parse(text).unwrap(), bytes);
            assert_eq!(show(bytes), shown);
        }
        for text in ["", "GiB", "1GB", "-1", "99999999999GiB"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
