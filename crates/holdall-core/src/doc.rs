//! Docs: the queryable part of an item.

use std::fmt;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::finite::refuse_lossy;
use crate::{Error, Result, Value, json, value};

/// The most bytes of a doc's text.
pub const MAX_DOC: usize = 1024 * 1024;

/// The most levels of a doc: the object itself is the first.
pub const MAX_DEPTH: usize = 64;

/// A JSON object, as checked text.
///
/// It is a value, not bytes: unique member names, no U+0000, numbers that are
/// i64, u64 or finite f64, at most 64 levels and 1 MiB. 1 and 1.0 are equal, as
/// are 0 and -0. Spelling and the order of members are not promised; exact
/// bytes belong in the body.
///
/// It is parsed once, at the edge that needs it, and cheap to clone.
///
/// ```
/// use holdall_core::{Doc, json};
/// let doc = Doc::parse(r#"{ "size": 1.0 }"#)?;
/// assert_eq!(doc, Doc::from_value(&json!({"size": 1}))?);
/// assert!(Doc::parse(r#"{"a":1,"a":2}"#).is_err());
/// # Ok::<(), holdall_core::Error>(())
/// ```
#[derive(Clone)]
pub struct Doc(Bytes);

impl Doc {
    /// The doc without members.
    pub const fn empty() -> Self {
        Self(Bytes::from_static(b"{}"))
    }

    /// Checks and takes a JSON text.
    ///
    /// # Errors
    /// `Invalid`, naming the path and the rule; `TooLarge` above 1 MiB.
    pub fn parse(text: impl Into<Bytes>) -> Result<Self> {
        Self::parse_nested(text.into(), MAX_DEPTH)
    }

    /// The same with another limit of nesting: a filter holds values that are
    /// as deep as a doc, below its own levels.
    pub(crate) fn parse_nested(bytes: Bytes, max_depth: usize) -> Result<Self> {
        if bytes.len() > MAX_DOC {
            return Err(Error::too_large(format!(
                "the doc has {} bytes; the limit is {MAX_DOC}. Put what is not queried into the body",
                bytes.len()
            )));
        }
        let text = std::str::from_utf8(&bytes)
            .map_err(|error| Error::invalid("the doc is not valid UTF-8").because(error))?;
        let compact = match json::check(text, max_depth) {
            Ok(std::borrow::Cow::Borrowed(_)) => None,
            Ok(std::borrow::Cow::Owned(compact)) => Some(compact),
            Err(flaw) => {
                return Err(Error::invalid(format!(
                    "the doc is not valid at {}: {}",
                    flaw.path, flaw.why
                )));
            }
        };
        Ok(Self(compact.map_or(bytes, Bytes::from)))
    }

    /// From anything that serde turns into a JSON object.
    ///
    /// # Errors
    /// As [`parse`](Self::parse); `Invalid` too for a NaN or an infinity, which
    /// JSON would turn into null.
    pub fn from_serialize<T: Serialize + ?Sized>(value: &T) -> Result<Self> {
        refuse_lossy(value)?;
        let text = serde_json::to_vec(value)
            .map_err(|error| Error::invalid("the value does not become JSON").because(error))?;
        Self::parse(text)
    }

    /// From a parsed value.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_value(value: &Value) -> Result<Self> {
        Self::parse(value.to_string())
    }

    /// Takes a text that a backend stored after it was checked; it is not
    /// checked again, and one that was damaged shows when it is read.
    pub fn from_stored(text: impl Into<Bytes>) -> Self {
        Self(text.into())
    }

    /// The JSON text.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// The parsed value, always an object.
    ///
    /// # Errors
    /// `Corrupt` if what was stored is no JSON object.
    pub fn value(&self) -> Result<Value> {
        let value: Value = serde_json::from_slice(&self.0)
            .map_err(|error| Error::corrupt("a stored doc is not JSON").because(error))?;
        if value.is_object() {
            Ok(value)
        } else {
            Err(Error::corrupt("a stored doc is not a JSON object"))
        }
    }

    /// The doc as a type of the caller's.
    ///
    /// # Errors
    /// `Invalid` if it does not have that shape.
    pub fn to<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_slice(&self.0).map_err(|error| {
            Error::invalid(format!(
                "the doc does not have the shape of {}",
                std::any::type_name::<T>()
            ))
            .because(error)
        })
    }
}

impl Default for Doc {
    fn default() -> Self {
        Self::empty()
    }
}

/// Equal as values, whatever the spelling.
impl PartialEq for Doc {
    fn eq(&self, other: &Self) -> bool {
        if self.0 == other.0 {
            return true;
        }
        match (self.value(), other.value()) {
            (Ok(a), Ok(b)) => value::equal(&a, &b),
            _ => false,
        }
    }
}

impl fmt::Display for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for Doc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Doc {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text.to_owned())
    }
}

impl TryFrom<Value> for Doc {
    type Error = Error;
    fn try_from(value: Value) -> Result<Self> {
        Self::from_value(&value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_holds_at_the_limit_and_one_past_it() {
        let doc = |size: usize| format!("{{\"a\":\"{}\"}}", "x".repeat(size - 8));
        assert!(Doc::parse(doc(MAX_DOC)).is_ok());
        let error = Doc::parse(doc(MAX_DOC + 1)).unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::TooLarge);
    }

    /// serde_json writes NaN as null; a store that let that pass would keep
    /// something else than it was given.
    #[test]
    fn a_nan_does_not_become_null() {
        #[derive(Serialize)]
        struct Measure {
            values: Vec<f64>,
        }
        assert!(Doc::from_serialize(&Measure { values: vec![1.5] }).is_ok());
        let error = Doc::from_serialize(&Measure {
            values: vec![1.0, f64::NAN],
        })
        .unwrap_err();
        assert!(error.to_string().contains("NaN"), "{error}");
        assert!(
            Doc::from_serialize(&Measure {
                values: vec![f64::INFINITY]
            })
            .is_err()
        );
        assert!(Doc::from_serialize(&[1]).is_err());
    }
}
