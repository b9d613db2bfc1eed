//! Docs as MongoDB keeps them: JSON becomes BSON and comes back an equal value.
//!
//! Whole numbers are int32 or int64, those beyond become decimal128, which holds
//! them exactly and which MongoDB compares with the others; what has a fraction
//! or an exponent in JSON is a double.

use std::fmt::Write as _;

use bytes::Bytes;
use holdall_core::{Doc, Error, MAX_DEPTH, Result, Value};
use mongodb::bson::raw::{CString, RawArrayBuf, RawBson, RawBsonRef, RawDocumentBuf};
use mongodb::bson::{Bson, Decimal128, Document, RawDocument};
use serde_json::{Map, Number};

use super::names;

/// The error of a document that Holdall did not write.
pub(super) fn foreign(what: &str) -> Error {
    Error::corrupt(format!(
        "a document in MongoDB does not have the shape that Holdall writes: {what}. \
         Was it written by another program?"
    ))
}

/// The bytes of a field, of whatever kind they are.
pub(super) fn bytes_of<'a>(document: &'a Document, name: &str) -> Option<&'a [u8]> {
    match document.get(name) {
        Some(Bson::Binary(binary)) => Some(&binary.bytes),
        _ => None,
    }
}

/// Appends the members of a doc to a document.
pub(super) fn append_doc(out: &mut RawDocumentBuf, members: &Map<String, Value>) -> Result<()> {
    for (name, value) in members {
        append(out, &names::top_field(name), value)?;
    }
    Ok(())
}

fn append(out: &mut RawDocumentBuf, name: &str, value: &Value) -> Result<()> {
    out.append(c_string(name)?, raw(value)?);
    Ok(())
}

/// A name as BSON has it: without U+0000, which no doc holds.
pub(super) fn c_string(name: &str) -> Result<CString> {
    CString::try_from(name).map_err(|_| Error::invalid("a name in the doc holds U+0000"))
}

fn raw(value: &Value) -> Result<RawBson> {
    Ok(match value {
        Value::Null => RawBson::Null,
        Value::Bool(truth) => RawBson::Boolean(*truth),
        Value::Number(number) => raw_number(number)?,
        Value::String(text) => RawBson::String(text.clone()),
        Value::Array(elements) => {
            let mut out = RawArrayBuf::new();
            for element in elements {
                out.push(raw(element)?);
            }
            RawBson::Array(out)
        }
        Value::Object(members) => {
            let mut out = RawDocumentBuf::new();
            for (name, value) in members {
                append(&mut out, &names::field(name), value)?;
            }
            RawBson::Document(out)
        }
    })
}

fn raw_number(number: &Number) -> Result<RawBson> {
    if let Some(int) = number.as_i64() {
        return Ok(i32::try_from(int).map_or(RawBson::Int64(int), RawBson::Int32));
    }
    if let Some(int) = number.as_u64() {
        let exact = int.to_string().parse::<Decimal128>();
        return exact.map(RawBson::Decimal128).map_err(|error| {
            Error::other("a number does not become a decimal").because(error.to_string())
        });
    }
    let float = number.as_f64().filter(|float| float.is_finite());
    float
        .map(RawBson::Double)
        .ok_or_else(|| Error::invalid("a number in the doc is neither i64, u64 nor f64"))
}

/// A scalar to compare a field with; `None` for what MongoDB compares otherwise
/// than Holdall.
pub(super) fn scalar(value: &Value) -> Option<Bson> {
    match value {
        Value::Array(_) | Value::Object(_) => None,
        scalar => Bson::try_from(raw(scalar).ok()?).ok(),
    }
}

/// The doc in a document: all that is not `_id` and not Holdall's own.
pub(super) fn read_doc(document: &RawDocument) -> Result<Doc> {
    let mut out = String::with_capacity(document.as_bytes().len());
    out.push('{');
    for element in document {
        let (name, value) = element.map_err(|error| damaged(&error))?;
        if ["_id", names::OWN].contains(&name.as_str()) {
            continue;
        }
        write_member(&mut out, name.as_str(), value, 1)?;
    }
    out.push('}');
    Ok(Doc::from_stored(Bytes::from(out)))
}

fn damaged(error: &dyn std::fmt::Display) -> Error {
    foreign("its BSON is damaged").because(error.to_string())
}

fn write_member(out: &mut String, field: &str, value: RawBsonRef<'_>, depth: usize) -> Result<()> {
    let name =
        names::member(field).ok_or_else(|| foreign("a field's name is not one of Holdall's"))?;
    if !out.ends_with('{') {
        out.push(',');
    }
    write_string(out, &name);
    out.push(':');
    write_value(out, value, depth)
}

fn write_value(out: &mut String, value: RawBsonRef<'_>, depth: usize) -> Result<()> {
    if depth > MAX_DEPTH {
        return Err(foreign("it is nested more than 64 levels deep"));
    }
    match value {
        RawBsonRef::Null => out.push_str("null"),
        RawBsonRef::Boolean(truth) => out.push_str(if truth { "true" } else { "false" }),
        RawBsonRef::Int32(int) => write_shown(out, &int),
        RawBsonRef::Int64(int) => write_shown(out, &int),
        RawBsonRef::Decimal128(decimal) => match decimal.to_string().parse::<u64>() {
            Ok(int) => write_shown(out, &int),
            Err(_) => return Err(foreign("a decimal is not a whole number of 64 bits")),
        },
        RawBsonRef::Double(float) => match Number::from_f64(float) {
            Some(number) => write_shown(out, &number),
            None => return Err(foreign("a number is infinite or none")),
        },
        RawBsonRef::String(text) => write_string(out, text),
        RawBsonRef::Array(elements) => {
            out.push('[');
            for (at, element) in elements.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                write_value(out, element.map_err(|error| damaged(&error))?, depth + 1)?;
            }
            out.push(']');
        }
        RawBsonRef::Document(members) => {
            out.push('{');
            for element in members {
                let (name, value) = element.map_err(|error| damaged(&error))?;
                write_member(out, name.as_str(), value, depth + 1)?;
            }
            out.push('}');
        }
        other => {
            return Err(foreign(&format!(
                "a value is of the type {:?}",
                other.element_type()
            )));
        }
    }
    Ok(())
}

fn write_shown(out: &mut String, value: &dyn std::fmt::Display) {
    // Writing to a string does not fail.
    let _written = write!(out, "{value}");
}

fn write_string(out: &mut String, text: &str) {
    write_shown(out, &Value::from(text));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(text: &str) -> String {
        let doc = Doc::parse(text.to_owned()).unwrap();
        let mut document = RawDocumentBuf::new();
        append_doc(&mut document, doc.value().unwrap().as_object().unwrap()).unwrap();
        let again = read_doc(&document).unwrap();
        assert_eq!(again, doc);
        again.to_string()
    }

    #[test]
    fn numbers_keep_their_value_and_their_kind() {
        for number in [
            "0",
            "-1",
            "2147483648",
            "9007199254740993",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854775808",
            "18446744073709551615",
            "1.0",
            "-0.0",
            "0.1",
            "5e-324",
            "1.7976931348623157e308",
        ] {
            let text = there_and_back(&format!("{{\"n\":{number}}}"));
            let kind = |text: &str| text.contains(['.', 'e']);
            assert_eq!(kind(&text), kind(number), "{text}");
        }
    }

    #[test]
    fn names_and_depth_survive() {
        there_and_back(
            r#"{"":{"":[{"$set":{"a.b":1}},{"_id":2}]},"_id":"x","_holdall":{"_holdall":1},"a\"\n\\":"\u0001"}"#,
        );
        let deep = format!("{}1{}", "{\"a\":".repeat(64), "}".repeat(64));
        there_and_back(&deep);
    }
}
