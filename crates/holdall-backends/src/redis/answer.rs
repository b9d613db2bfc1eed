//! Reads what scripts answer.

use ::redis::Value;
use holdall_core::{Error, Result};

use super::error::damaged;

fn odd() -> Error {
    damaged("the answer of a script")
}

/// A list.
pub(super) fn list(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values),
        _ => Err(odd()),
    }
}

/// Bytes, or none.
pub(super) fn bytes_or_none(value: Option<Value>) -> Result<Option<Vec<u8>>> {
    match value {
        None | Some(Value::Nil) => Ok(None),
        Some(Value::BulkString(bytes)) => Ok(Some(bytes)),
        Some(_) => Err(odd()),
    }
}

/// Bytes.
pub(super) fn bytes(value: Option<Value>) -> Result<Vec<u8>> {
    bytes_or_none(value)?.ok_or_else(odd)
}

/// A text.
pub(super) fn text(value: Option<Value>) -> Result<String> {
    String::from_utf8(bytes(value)?).map_err(|_| odd())
}

/// A text, or none.
pub(super) fn text_or_none(value: Option<Value>) -> Result<Option<String>> {
    let bytes = bytes_or_none(value)?;
    bytes.map(String::from_utf8).transpose().map_err(|_| odd())
}

/// A text or a status.
pub(super) fn word(value: Value) -> Result<String> {
    match value {
        Value::Okay => Ok("OK".to_owned()),
        Value::SimpleString(word) => Ok(word),
        value => text(Some(value)),
    }
}

/// A number, in decimal.
pub(super) fn number<T: std::str::FromStr>(value: Option<Value>) -> Result<T> {
    text(value)?.parse().map_err(|_| odd())
}

/// An integer.
pub(super) fn integer(value: Value) -> Result<u64> {
    match value {
        Value::Int(number) => u64::try_from(number).map_err(|_| odd()),
        _ => Err(odd()),
    }
}

/// What a script did, and what it says of that.
pub(super) fn outcome(value: Value) -> Result<(String, std::vec::IntoIter<Value>)> {
    let mut values = list(value)?.into_iter();
    let done = text(values.next())?;
    Ok((done, values))
}
