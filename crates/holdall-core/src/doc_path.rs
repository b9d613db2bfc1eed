//! Reads one value of a doc without parsing the rest of it.

use std::fmt;

use serde::de::{Deserialize, DeserializeSeed};
use serde::de::{Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::path::array_index;
use crate::{Doc, Error, Path, Result, Value};

impl Doc {
    /// The value at a path; `None` if it is missing, or if it is a path of the
    /// entry. Only that value is built; what lies beside it is skipped.
    ///
    /// # Errors
    /// `Corrupt` if what was stored is no JSON object.
    pub fn at(&self, path: &Path) -> Result<Option<Value>> {
        let Path::Doc(segments) = path else {
            return Ok(None);
        };
        let mut reader = serde_json::Deserializer::from_slice(self.as_bytes());
        Find(segments)
            .deserialize(&mut reader)
            .and_then(|found| reader.end().map(|()| found))
            .map_err(|error| Error::corrupt("a stored doc is not JSON").because(error))
    }
}

/// Finds the value at these segments below the value that comes.
struct Find<'a>(&'a [String]);

impl<'de> DeserializeSeed<'de> for Find<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Option<Value>, D::Error> {
        if self.0.is_empty() {
            Value::deserialize(from).map(Some)
        } else {
            from.deserialize_any(self)
        }
    }
}

/// What is no object and no array has nothing below it.
macro_rules! nothing_below {
    ($($visit:ident: $type:ty),*) => {
        $(fn $visit<E>(self, _: $type) -> Result<Option<Value>, E> {
            Ok(None)
        })*
    };
}

impl<'de> Visitor<'de> for Find<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    nothing_below!(visit_bool: bool, visit_i64: i64, visit_u64: u64, visit_f64: f64, visit_str: &str);

    fn visit_unit<E>(self) -> Result<Option<Value>, E> {
        Ok(None)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Option<Value>, A::Error> {
        let (wanted, below) = self
            .0
            .split_first()
            .ok_or_else(|| A::Error::custom("no segment"))?;
        let mut found = None;
        while let Some(matches) = members.next_key_seed(Is(wanted))? {
            if matches {
                found = members.next_value_seed(Find(below))?;
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Option<Value>, A::Error> {
        let (wanted, below) = self
            .0
            .split_first()
            .ok_or_else(|| A::Error::custom("no segment"))?;
        let mut found = None;
        if let Some(index) = array_index(wanted) {
            for _ in 0..index {
                if elements.next_element::<IgnoredAny>()?.is_none() {
                    return Ok(None);
                }
            }
            found = elements.next_element_seed(Find(below))?.flatten();
        }
        while elements.next_element::<IgnoredAny>()?.is_some() {}
        Ok(found)
    }
}

/// Whether a name is the wanted one, without copying it.
struct Is<'a>(&'a str);

impl<'de> DeserializeSeed<'de> for Is<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<bool, D::Error> {
        from.deserialize_str(self)
    }
}

impl Visitor<'_> for Is<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<bool, E> {
        Ok(name == self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_value_is_the_same_as_in_the_whole() {
        let doc = Doc::parse(
            r#"{"a":{"b":[1,{"c":"x"},[true]],"0":"zero"},"n":null,"a.b":2,"last":1.5,"u":18446744073709551615}"#,
        )
        .unwrap();
        let whole = doc.value().unwrap();
        for path in [
            "$doc", "a", "a.b", "a.b.1.c", "a.b.2.0", "a.b.3", "a.b.01", "a.0", r"a\.b", "n",
            "n.x", "last", "u", "none", "a.b.0.x", "last.0", "$key",
        ] {
            let path: Path = path.parse().unwrap();
            assert_eq!(
                doc.at(&path).unwrap().as_ref(),
                path.in_doc(&whole),
                "{path}"
            );
        }
        let damaged = Doc::from_stored(r#"{"a":1,"#);
        assert!(damaged.at(&Path::member("a")).is_err());
    }
}
