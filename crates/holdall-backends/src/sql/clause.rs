//! Pieces of SQL with the values of their parameters.

use bytes::Bytes;
use holdall_core::Version;

/// A value that is bound to a parameter, or that a row holds.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Null,
    Int(i64),
    Text(String),
    Bytes(Vec<u8>),
    /// Microseconds since 1970.
    Time(i64),
    Version(Version),
    /// The text of a doc.
    Doc(Bytes),
    /// Values of one kind, for databases that take them as one parameter.
    List(Kind, Vec<Value>),
}

/// The kinds of values that lists are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Int,
    Text,
    Bytes,
    Time,
    Version,
    Doc,
}

/// A piece of SQL and the values of its parameters, each of which stands in it
/// as `?`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Clause {
    pub(crate) sql: String,
    pub(crate) values: Vec<Value>,
}

impl Clause {
    pub(crate) fn new(sql: impl Into<String>, values: impl IntoIterator<Item = Value>) -> Self {
        Self {
            sql: sql.into(),
            values: values.into_iter().collect(),
        }
    }

    pub(crate) fn always() -> Self {
        Self::new("1 = 1", [])
    }

    pub(crate) fn never() -> Self {
        Self::new("1 = 0", [])
    }

    /// All of these; the always true clause if there are none.
    pub(crate) fn all(parts: Vec<Self>) -> Self {
        if parts.is_empty() {
            Self::always()
        } else {
            Self::joined(parts, " AND ")
        }
    }

    /// One of these; the never true clause if there are none.
    pub(crate) fn any(parts: Vec<Self>) -> Self {
        if parts.is_empty() {
            Self::never()
        } else {
            Self::joined(parts, " OR ")
        }
    }

    fn joined(parts: Vec<Self>, by: &str) -> Self {
        let sql: Vec<String> = parts.iter().map(|part| format!("({})", part.sql)).collect();
        let values = parts.into_iter().flat_map(|part| part.values).collect();
        Self {
            sql: sql.join(by),
            values,
        }
    }
}

/// So many parameters, separated by commas.
pub(crate) fn marks(count: usize) -> String {
    vec!["?"; count].join(", ")
}
