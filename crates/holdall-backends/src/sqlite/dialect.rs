//! How SQLite spells what the shared SQL is made of.
//!
//! Functions of Holdall's own look into docs: `holdall_sort` in indexes and
//! orders, and `holdall_match`, the reference evaluator, for all that no index
//! answers.

use holdall_core::{Filter, Path, Test};
use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};

use super::catalogue::literal;
use crate::sql::plan::Tested;
use crate::sql::{Clause, Dialect, Value};

#[derive(Debug)]
pub(super) struct Sqlite;

impl Dialect for Sqlite {
    fn sort_key(&self, path: &Path) -> Option<String> {
        Some(format!("holdall_sort(doc, {})", literal(&path.to_string())))
    }

    fn literal(&self, bytes: &[u8]) -> String {
        let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("x'{digits}'")
    }

    fn cuts(&self) -> bool {
        false
    }

    fn seeks_rows(&self) -> bool {
        true
    }

    fn order(&self, expression: &str, descending: bool, nulls_first: bool) -> String {
        let direction = if descending { " DESC" } else { "" };
        let nulls = if nulls_first { "FIRST" } else { "LAST" };
        format!("{expression}{direction} NULLS {nulls}")
    }

    fn unindexed(&self, _: &Path, _: &Test) -> Option<Tested> {
        None
    }

    fn words(&self, index: i64, _: &Path, words: &[String]) -> Option<Clause> {
        let quoted: Vec<String> = words
            .iter()
            .map(|word| format!("\"{}\"", word.replace('"', "\"\"")))
            .collect();
        Some(Clause::new(
            format!("id IN (SELECT rowid FROM holdall_words_{index} WHERE words MATCH ?)"),
            [Value::Text(quoted.join(" AND "))],
        ))
    }

    fn evaluate(&self, rest: &Filter) -> Option<Clause> {
        Some(Clause::new(
            "holdall_match(?, doc, key, version, created, modified, size)",
            [Value::Text(rest.to_json().to_string())],
        ))
    }
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Null => ValueRef::Null,
            Self::Int(number) | Self::Time(number) => ValueRef::Integer(*number),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
            Self::Bytes(bytes) => ValueRef::Blob(bytes),
            Self::Version(version) => ValueRef::Blob(version.as_bytes()),
            Self::Doc(text) => ValueRef::Text(text),
            Self::List(..) => {
                let why = "SQLite takes no list as a parameter";
                return Err(rusqlite::Error::ToSqlConversionFailure(why.into()));
            }
        }))
    }
}
