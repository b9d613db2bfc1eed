//! An encoding of values whose byte order is the order of the values.
//!
//! Two values are equal exactly when their encodings are equal, and one comes
//! before the other exactly when its encoding does. Indexes, cursors, unique
//! constraints and grouping all stand on it, so there is one order everywhere.
//! docs/sort-keys.md specifies it; it is frozen, because indexes on disk hold it.
//!
//! No encoding is a prefix of another, so inverting every byte reverses the
//! order, and encodings may be joined.

use serde_json::{Map, Value};

use crate::value::{Num, sorted_members};
use crate::{Error, Result, Type};

const NULL: u8 = 0x10;
const FALSE: u8 = 0x20;
const TRUE: u8 = 0x21;
const NUMBER: u8 = 0x30;
const STRING: u8 = 0x40;
const ARRAY: u8 = 0x50;
const OBJECT: u8 = 0x60;
/// Stands for a value that is not there; it comes after all that are.
const MISSING: u8 = 0xF0;
/// Before the name of each member of an object.
const MEMBER: u8 = 0x01;
const END: u8 = 0x00;

/// The encoding of `value`.
pub fn sort_key(value: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(16);
    encode(value, &mut out);
    out
}

/// The encoding of a value that may be missing. Missing comes last.
pub fn sort_key_or_missing(value: Option<&Value>) -> Vec<u8> {
    value.map_or_else(|| vec![MISSING], sort_key)
}

/// The half-open range of encodings that holds every value of a type and
/// nothing else.
pub fn sort_key_range(of: Type) -> (u8, u8) {
    match of {
        Type::Null => (NULL, NULL + 1),
        Type::Bool => (FALSE, TRUE + 1),
        Type::Number => (NUMBER, NUMBER + 1),
        Type::String => (STRING, STRING + 1),
        Type::Array => (ARRAY, ARRAY + 1),
        Type::Object => (OBJECT, OBJECT + 1),
    }
}

/// The start of the encodings of all strings that begin with `prefix`, and of
/// nothing else.
pub fn sort_key_string_prefix(prefix: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(prefix.len() + 1);
    out.push(STRING);
    out.extend_from_slice(prefix.as_bytes());
    out
}

/// The value of an encoding: an equal one, with whole numbers as integers where
/// they fit. `None` is missing.
///
/// # Errors
/// `Corrupt` if the bytes are no encoding.
pub fn value_of_sort_key(bytes: &[u8]) -> Result<Option<Value>> {
    if bytes == [MISSING] {
        return Ok(None);
    }
    let mut rest = bytes;
    let value = decode(&mut rest, 0).filter(|_| rest.is_empty());
    match value {
        Some(value) => Ok(Some(value)),
        None => Err(Error::corrupt(
            "an index holds a value in an unknown encoding",
        )),
    }
}

fn encode(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.push(NULL),
        Value::Bool(false) => out.push(FALSE),
        Value::Bool(true) => out.push(TRUE),
        Value::Number(number) => {
            out.push(NUMBER);
            encode_number(Num::of(number), out);
        }
        Value::String(text) => {
            out.push(STRING);
            encode_text(text, out);
        }
        Value::Array(elements) => {
            out.push(ARRAY);
            for element in elements {
                encode(element, out);
            }
            out.push(END);
        }
        Value::Object(members) => {
            out.push(OBJECT);
            for (name, value) in sorted_members(members) {
                out.push(MEMBER);
                encode_text(name, out);
                encode(value, out);
            }
            out.push(END);
        }
    }
}

/// Text ends with a zero byte, which docs cannot hold (U+0000 is refused).
fn encode_text(text: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(text.as_bytes());
    out.push(END);
}

/// The greatest float that is not above the number, made sortable, then what
/// the number has beyond it: less than 2^11, as the number is below 2^64.
fn encode_number(number: Num, out: &mut Vec<u8>) {
    let (floor, beyond) = match number {
        Num::Float(float) => (float + 0.0, 0),
        Num::Int(int) => floor_of(int),
    };
    let bits = floor.to_bits();
    let sortable = if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    };
    out.extend_from_slice(&sortable.to_be_bytes());
    out.extend_from_slice(&beyond.to_be_bytes());
}

#[allow(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    reason = "the loss is computed and kept"
)]
fn floor_of(int: i128) -> (f64, u16) {
    let mut floor = int as f64;
    if floor as i128 > int {
        floor = floor.next_down();
    }
    let beyond = u16::try_from(int - floor as i128).unwrap_or(0);
    (floor + 0.0, beyond)
}

fn decode(rest: &mut &[u8], depth: usize) -> Option<Value> {
    if depth > crate::doc::MAX_DEPTH {
        return None;
    }
    match take(rest)? {
        NULL => Some(Value::Null),
        FALSE => Some(Value::Bool(false)),
        TRUE => Some(Value::Bool(true)),
        NUMBER => decode_number(rest),
        STRING => decode_text(rest).map(Value::String),
        ARRAY => {
            let mut elements = Vec::new();
            while *rest.first()? != END {
                elements.push(decode(rest, depth + 1)?);
            }
            take(rest)?;
            Some(Value::Array(elements))
        }
        OBJECT => {
            let mut members = Map::new();
            while take(rest)? == MEMBER {
                members.insert(decode_text(rest)?, decode(rest, depth + 1)?);
            }
            Some(Value::Object(members))
        }
        _ => None,
    }
}

fn take(rest: &mut &[u8]) -> Option<u8> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    Some(*first)
}

fn decode_text(rest: &mut &[u8]) -> Option<String> {
    let end = rest.iter().position(|byte| *byte == END)?;
    let text = String::from_utf8(rest.get(..end)?.to_vec()).ok()?;
    *rest = rest.get(end + 1..)?;
    Some(text)
}

#[allow(
    clippy::cast_possible_truncation,
    reason = "only a float without a fraction and within the range of i64 and u64 is cast"
)]
fn decode_number(rest: &mut &[u8]) -> Option<Value> {
    let (head, tail) = rest.split_first_chunk::<8>()?;
    let (beyond, tail) = tail.split_first_chunk::<2>()?;
    *rest = tail;
    let sortable = u64::from_be_bytes(*head);
    let bits = if sortable >> 63 == 1 {
        sortable & !(1 << 63)
    } else {
        !sortable
    };
    let floor = f64::from_bits(bits);
    if floor.fract() == 0.0 && floor.abs() < 36_893_488_147_419_103_232.0 {
        let int = floor as i128 + i128::from(u16::from_be_bytes(*beyond));
        if let Ok(int) = i64::try_from(int) {
            return Some(int.into());
        }
        if let Ok(int) = u64::try_from(int) {
            return Some(int.into());
        }
    }
    serde_json::Number::from_f64(floor).map(Value::Number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::{compare, equal};
    use serde_json::json;

    fn samples() -> Vec<Value> {
        vec![
            json!(null),
            json!(false),
            json!(true),
            json!(-1e308),
            json!(i64::MIN),
            json!(i64::MIN + 1),
            json!(-9_007_199_254_740_993_i64),
            json!(-9_007_199_254_740_992_i64),
            json!(-1),
            json!(-0.25),
            json!(0),
            json!(1e-320),
            json!(1.5),
            json!(2),
            json!(9_007_199_254_740_993_u64),
            json!(i64::MAX - 1),
            json!(i64::MAX),
            json!(9_223_372_036_854_775_808_u64),
            json!(u64::MAX - 1),
            json!(u64::MAX),
            json!(18_446_744_073_709_551_616.0),
            json!(""),
            json!("\u{1}"),
            json!("a"),
            json!("a\u{1}"),
            json!("ab"),
            json!("\u{FFFF}"),
            json!("\u{10000}"),
            json!([]),
            json!([null]),
            json!([null, 1]),
            json!([1]),
            json!(["a"]),
            json!(["a", "b"]),
            json!(["ab"]),
            json!([[]]),
            json!({}),
            json!({"": 1}),
            json!({"a": 1}),
            json!({"a": 1, "b": 1}),
            json!({"a": 2}),
            json!({"ab": 1}),
        ]
    }

    #[test]
    fn byte_order_is_value_order_and_decoding_gives_the_value_back() {
        let samples = samples();
        for a in &samples {
            let encoded = sort_key(a);
            let decoded = value_of_sort_key(&encoded).unwrap().unwrap();
            assert!(equal(&decoded, a), "{a} came back as {decoded}");
            assert!(encoded.as_slice() < [MISSING].as_slice());
            let (low, high) = sort_key_range(Type::of(a));
            assert!(encoded[0] >= low && encoded[0] < high);
            for b in &samples {
                assert_eq!(encoded.cmp(&sort_key(b)), compare(a, b), "{a} against {b}");
                let inverted = |value| sort_key(value).iter().map(|b| !b).collect::<Vec<u8>>();
                assert_eq!(
                    inverted(b).cmp(&inverted(a)),
                    compare(a, b),
                    "{a} against {b}"
                );
            }
        }
    }

    #[test]
    fn a_string_prefix_is_a_prefix_of_the_encoding() {
        assert!(sort_key(&json!("abc")).starts_with(&sort_key_string_prefix("ab")));
        assert!(!sort_key(&json!("ac")).starts_with(&sort_key_string_prefix("ab")));
    }

    #[test]
    fn other_bytes_are_refused() {
        for bytes in [
            &[][..],
            &[0x99],
            &[NUMBER, 1],
            &[STRING, b'a'],
            &[NULL, NULL],
            &[ARRAY],
        ] {
            assert!(value_of_sort_key(bytes).is_err(), "{bytes:?}");
        }
        assert_eq!(value_of_sort_key(&[MISSING]).unwrap(), None);
    }
}
