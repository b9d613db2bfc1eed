//! A second reading of docs, on serde_json, to compare the first with.

use std::collections::BTreeMap;
use std::fmt;

use holdall_core::{MAX_DEPTH, MAX_DOC, Value};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The doc that a text is; `None` if it is none.
pub(crate) fn read(text: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(text).ok()?;
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    let value = value(raw, 0)?;
    (text.len() <= MAX_DOC && value.is_object()).then_some(value)
}

fn value(raw: &RawValue, depth: usize) -> Option<Value> {
    let text = raw.get();
    let below = depth + 1;
    match text.as_bytes().first()? {
        b'{' => {
            let members: Members<'_> = serde_json::from_str(text).ok()?;
            let mut out = serde_json::Map::new();
            for (name, raw) in members.0 {
                out.insert(sound(name)?, value(raw, below)?);
            }
            (below <= MAX_DEPTH).then_some(Value::Object(out))
        }
        b'[' => {
            let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
            let out: Option<Vec<_>> = elements.into_iter().map(|raw| value(raw, below)).collect();
            (below <= MAX_DEPTH).then_some(Value::Array(out?))
        }
        b'"' => sound(serde_json::from_str(text).ok()?).map(Value::String),
        b't' | b'f' | b'n' => serde_json::from_str(text).ok(),
        _ if text.contains(['.', 'e', 'E']) => {
            let float: f64 = text.parse().ok()?;
            serde_json::Number::from_f64(float).map(Value::Number)
        }
        b'-' => text.parse::<i64>().ok().map(Value::from),
        _ => text.parse::<u64>().ok().map(Value::from),
    }
}

fn sound(text: String) -> Option<String> {
    (!text.contains('\0')).then_some(text)
}

/// The members of an object; a name that stands twice is an error.
struct Members<'a>(BTreeMap<String, &'a RawValue>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct All;
        impl<'de> Visitor<'de> for All {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = BTreeMap::new();
                while let Some((name, value)) = map.next_entry()? {
                    if members.insert(name, value).is_some() {
                        return Err(serde::de::Error::custom("a name stands twice"));
                    }
                }
                Ok(Members(members))
            }
        }
        from.deserialize_map(All)
    }
}
