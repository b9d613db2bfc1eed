//! The text of a doc as PostgreSQL gives it back.

use bytes::Bytes;

/// Brings the text of a `jsonb` value into the form of a doc's text: without
/// white space between tokens, and with a whole number beyond 64 bits as the
/// float that it was. PostgreSQL spells `1e20` as digits, which would be an
/// integer that no doc can hold.
pub(super) fn doc_text(text: &[u8]) -> Bytes {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&first, tail)) = rest.split_first() {
        let length = match first {
            b' ' => {
                rest = tail;
                continue;
            }
            b'"' => string_length(rest),
            b'-' | b'0'..=b'9' => number_length(rest),
            _ => 1,
        };
        let (token, tail) = rest.split_at(length.min(rest.len()));
        out.extend_from_slice(token);
        let is_number = matches!(first, b'-' | b'0'..=b'9');
        if is_number && token.iter().all(|byte| matches!(byte, b'-' | b'0'..=b'9')) {
            let text = std::str::from_utf8(token).unwrap_or_default();
            if text.parse::<i64>().is_err() && text.parse::<u64>().is_err() {
                out.extend_from_slice(b".0");
            }
        }
        rest = tail;
    }
    out.into()
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
            (r#"{"a": 1, "b c": [1.5, -2, "x: y, \" z"]}"#, r#"{"a":1,"b c":[1.5,-2,"x: y, \" z"]}"#),
            (r#"{"n": 18446744073709551615}"#, r#"{"n":18446744073709551615}"#),
            (r#"{"n": 18446744073709551616}"#, r#"{"n":18446744073709551616.0}"#),
            (r#"{"n": -9223372036854775809}"#, r#"{"n":-9223372036854775809.0}"#),
            (r#"{"12345678901234567890123": "12345678901234567890123"}"#, r#"{"12345678901234567890123":"12345678901234567890123"}"#),
            ("{}", "{}"),
        ] {
            let found = doc_text(given.as_bytes());
            assert_eq!(std::str::from_utf8(&found).unwrap(), wanted);
            assert!(holdall_core::Doc::parse(found).is_ok(), "{wanted}");
        }
    }
}
