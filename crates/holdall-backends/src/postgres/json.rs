//! The text of a doc on its way to PostgreSQL and back.
//!
//! `jsonb` keeps numbers as decimals and gives whole ones back as digits. A float
//! is written in the fewest digits that tell it from others, which from 2^53 on
//! is another number than the float; and what is beyond 64 bits must come back as
//! a float.

use std::borrow::Cow;

use bytes::Bytes;

/// Floats below this are told exactly by the digits that they are written in.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// The text of a JSON value with each number in digits that are exactly it, or
/// compare with all others as it does.
pub(super) fn exact_text(text: &[u8]) -> Cow<'_, [u8]> {
    rewrite(text, |token| {
        let is_float = token.iter().any(|byte| matches!(byte, b'.' | b'e' | b'E'));
        let float = std::str::from_utf8(token).ok()?.parse::<f64>().ok()?;
        // All digits of the float: they end, as it is a whole number.
        (is_float && float.abs() >= EXACT).then(|| format!("{float:.0}").into_bytes())
    })
}

/// The text of a doc from that of a `jsonb` value: without white space between
/// tokens, and with a whole number beyond 64 bits as the float that it was.
pub(super) fn doc_text(text: &[u8]) -> Bytes {
    let text = rewrite(text, |token| {
        let text = std::str::from_utf8(token).ok()?;
        let is_digits = token.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9'));
        let is_float = is_digits && text.parse::<i64>().is_err() && text.parse::<u64>().is_err();
        is_float.then(|| format!("{text}.0").into_bytes())
    });
    text.into_owned().into()
}

/// Leaves white space out, and puts something else for numbers.
fn rewrite(text: &[u8], number: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Cow<'_, [u8]> {
    let mut out: Option<Vec<u8>> = None;
    let mut rest = text;
    while let Some(first) = rest.first() {
        let length = match first {
            b' ' => 1,
            b'"' => string_length(rest),
            b'-' | b'0'..=b'9' => number_length(rest),
            _ => 1,
        };
        let (token, tail) = rest.split_at(length.min(rest.len()));
        let other = match first {
            b' ' => Some(Vec::new()),
            b'-' | b'0'..=b'9' => number(token),
            _ => None,
        };
        match (&mut out, other) {
            (None, None) => {}
            (Some(out), None) => out.extend_from_slice(token),
            (Some(out), Some(other)) => out.extend_from_slice(&other),
            (None, Some(other)) => {
                let mut begun = text
                    .get(..text.len() - rest.len())
                    .unwrap_or_default()
                    .to_vec();
                begun.extend_from_slice(&other);
                out = Some(begun);
            }
        }
        rest = tail;
    }
    out.map_or(Cow::Borrowed(text), Cow::Owned)
}

/// The bytes of the string that a text starts with, both quotes included.
fn string_length(text: &[u8]) -> usize {
    let mut is_escaped = false;
    for (at, byte) in text.iter().enumerate().skip(1) {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn number_length(text: &[u8]) -> usize {
    let is_part = |byte: &u8| matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E' | b'0'..=b'9');
    text.iter().take_while(|byte| is_part(byte)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_doc_comes_back_in_its_form() {
        for (given, wanted) in [
            (
                r#"{"a": 1, "b c": [1.5, -2, "x: y, \" z"]}"#,
                r#"{"a":1,"b c":[1.5,-2,"x: y, \" z"]}"#,
            ),
            (
                r#"{"n": 18446744073709551615}"#,
                r#"{"n":18446744073709551615}"#,
            ),
            (
                r#"{"n": 18446744073709551616}"#,
                r#"{"n":18446744073709551616.0}"#,
            ),
            (
                r#"{"n": -9223372036854775809}"#,
                r#"{"n":-9223372036854775809.0}"#,
            ),
            (
                r#"{"12345678901234567890123": "12345678901234567890123"}"#,
                r#"{"12345678901234567890123":"12345678901234567890123"}"#,
            ),
            ("{}", "{}"),
        ] {
            let found = doc_text(given.as_bytes());
            assert_eq!(std::str::from_utf8(&found).unwrap(), wanted);
            assert!(holdall_core::Doc::parse(found).is_ok(), "{wanted}");
        }
    }

    #[test]
    fn numbers_are_written_as_what_they_are() {
        for (given, wanted) in [
            (
                r#"{"n":9.223372036854776e18}"#,
                r#"{"n":9223372036854775808}"#,
            ),
            (r#"{"n":-1e20}"#, r#"{"n":-100000000000000000000}"#),
            (r#"{"n":1e23}"#, r#"{"n":99999999999999991611392}"#),
            (
                r#"{"n":9007199254740993,"m":0.1,"e":1e-300}"#,
                r#"{"n":9007199254740993,"m":0.1,"e":1e-300}"#,
            ),
            (r#"{"1e300":"1e300"}"#, r#"{"1e300":"1e300"}"#),
        ] {
            let found = exact_text(given.as_bytes());
            assert_eq!(std::str::from_utf8(&found).unwrap(), wanted);
        }
    }
}
