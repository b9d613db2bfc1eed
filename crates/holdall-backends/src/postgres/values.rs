//! Values on the wire, in PostgreSQL's binary formats.

use std::error::Error;

use bytes::{BufMut, BytesMut};
use holdall_core::Version;
use tokio_postgres::types::{FromSql, IsNull, ToSql, Type, to_sql_checked};

use super::json::{doc_text, exact_text};
use crate::sql::{Kind, Value};

type Wrong = Box<dyn Error + Sync + Send>;

/// Microseconds from 1970 to 2000, where PostgreSQL starts to count.
const EPOCH: i64 = 946_684_800_000_000;

/// The first time that PostgreSQL knows, in microseconds since 1970. Its last lies
/// beyond what they reach.
const FIRST_TIME: i64 = -210_866_803_200_000_000;

/// The type that a value is sent as.
pub(super) fn type_of(value: &Value) -> Type {
    match value {
        Value::Null => Type::UNKNOWN,
        Value::Int(_) => Type::INT8,
        Value::Text(_) => Type::TEXT,
        Value::Bytes(_) => Type::BYTEA,
        Value::Time(_) => Type::TIMESTAMPTZ,
        Value::Version(_) => Type::UUID,
        Value::Doc(_) => Type::JSONB,
        Value::List(kind, _) => match kind {
            Kind::Int => Type::INT8_ARRAY,
            Kind::Text | Kind::Doc => Type::TEXT_ARRAY,
            Kind::Bytes => Type::BYTEA_ARRAY,
            Kind::Time => Type::TIMESTAMPTZ_ARRAY,
            Kind::Version => Type::UUID_ARRAY,
        },
    }
}

/// The type of what is in a list; docs are texts there.
fn element(kind: Kind) -> Type {
    match kind {
        Kind::Int => Type::INT8,
        Kind::Text | Kind::Doc => Type::TEXT,
        Kind::Bytes => Type::BYTEA,
        Kind::Time => Type::TIMESTAMPTZ,
        Kind::Version => Type::UUID,
    }
}

impl ToSql for Value {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Wrong> {
        match self {
            Self::Null => return Ok(IsNull::Yes),
            Self::Int(number) => out.put_i64(*number),
            Self::Text(text) => out.put_slice(text.as_bytes()),
            Self::Bytes(bytes) => out.put_slice(bytes),
            // Before what it knows stands minus infinity.
            Self::Time(..FIRST_TIME) => out.put_i64(i64::MIN),
            Self::Time(time) => out.put_i64(time - EPOCH),
            Self::Version(version) => out.put_slice(version.as_bytes()),
            Self::Doc(text) => {
                out.put_u8(1);
                out.put_slice(&exact_text(text));
            }
            Self::List(kind, values) => {
                let nulls = values.iter().any(|value| *value == Self::Null);
                let count = i32::try_from(values.len())?;
                // One dimension, from 1.
                out.put_i32(1);
                out.put_i32(i32::from(nulls));
                out.put_u32(element(*kind).oid());
                out.put_i32(count);
                out.put_i32(1);
                for value in values {
                    let at = out.len();
                    out.put_i32(-1);
                    let is_null = match value {
                        Self::Doc(text) => {
                            out.put_slice(&exact_text(text));
                            IsNull::No
                        }
                        other => other.to_sql(&element(*kind), out)?,
                    };
                    if let IsNull::No = is_null {
                        let length = i32::try_from(out.len() - at - 4)?;
                        if let Some(place) = out.get_mut(at..at + 4) {
                            place.copy_from_slice(&length.to_be_bytes());
                        }
                    }
                }
            }
        }
        Ok(IsNull::No)
    }

    // The types are those of `type_of`.
    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

impl<'a> FromSql<'a> for Value {
    fn from_sql(of: &Type, raw: &'a [u8]) -> Result<Self, Wrong> {
        let long = || Ok::<_, Wrong>(i64::from_be_bytes(raw.try_into()?));
        Ok(match *of {
            Type::INT8 => Self::Int(long()?),
            Type::INT4 => Self::Int(i32::from_be_bytes(raw.try_into()?).into()),
            Type::BOOL => Self::Int(i64::from(raw != [0])),
            Type::TIMESTAMPTZ => Self::Time(match long()? {
                time @ (i64::MIN | i64::MAX) => time,
                time => time.saturating_add(EPOCH),
            }),
            Type::UUID => Self::Version(Version::from_slice(raw)?),
            Type::JSONB => match raw.split_first() {
                Some((1, text)) => Self::Doc(doc_text(text)),
                _ => return Err("an unknown format of jsonb".into()),
            },
            Type::BYTEA => Self::Bytes(raw.to_vec()),
            _ => Self::Text(std::str::from_utf8(raw)?.to_owned()),
        })
    }

    fn from_sql_null(_: &Type) -> Result<Self, Wrong> {
        Ok(Self::Null)
    }

    fn accepts(of: &Type) -> bool {
        matches!(
            *of,
            Type::INT8
                | Type::INT4
                | Type::BOOL
                | Type::TIMESTAMPTZ
                | Type::UUID
                | Type::JSONB
                | Type::BYTEA
                | Type::TEXT
                | Type::VARCHAR
                | Type::NAME
        )
    }
}
