//! Values of options, as they stand in a URL or a configuration.

use std::time::Duration;

use holdall_core::{Error, Result};

/// The error of a value that does not fit.
pub(crate) fn misfit(name: &str, value: &str, wanted: &str) -> Error {
    Error::invalid(format!("the option {name} is {wanted}, not {value:?}"))
}

/// Reads a duration like `500ms`, `5s`, `10m` or `1h`.
pub(crate) fn duration(name: &str, value: &str) -> Result<Duration> {
    const MOST: u64 = 365 * 24 * 60 * 60 * 1000;
    let digits = value.trim_end_matches(|unit: char| unit.is_ascii_alphabetic());
    let unit = match value.strip_prefix(digits) {
        Some("ms") => Some(1),
        Some("s") => Some(1000),
        Some("m") => Some(60 * 1000),
        Some("h") => Some(60 * 60 * 1000),
        _ => None,
    };
    let number = digits.parse::<u64>().ok();
    let millis = number
        .zip(unit)
        .and_then(|(number, unit)| number.checked_mul(unit));
    millis
        .filter(|millis| *millis <= MOST)
        .map(Duration::from_millis)
        .ok_or_else(|| {
            misfit(
                name,
                value,
                "a duration of at most a year, like 500ms, 5s, 10m or 1h",
            )
        })
}
