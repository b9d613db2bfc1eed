//! Narrows down by values of docs that no index has.
//!
//! What the server finds is more than what is asked for, and Holdall looks at it again:
//! the JSON functions of MariaDB read no doc that is deeper than 32, compare numbers as
//! floats, and do not tell a text from another that differs by spaces at its end. So a
//! doc that they cannot read passes, and so does one with a backslash, as they compare
//! what is written with what is asked for, and that may be written in other ways.

use holdall_core::{Path, Test, Value as Json};

use crate::sql::plan::Tested;
use crate::sql::{Value, marks};

/// The most values of an `in` that become parameters.
const MAX_IN: usize = 500;

/// The value at a path as it is written in the doc. It takes the path, and is NULL if
/// there is none, or if the doc is too deep.
const FOUND: &str = "CAST(JSON_EXTRACT(doc, ?) AS CHAR CHARACTER SET utf8mb4) COLLATE utf8mb4_bin";

/// The condition that a test implies, if there is one that the server can tell.
pub(super) fn unindexed(path: &Path, test: &Test) -> Option<Tested> {
    if let Test::Contains(Json::String(part)) = test {
        // In a text or as an element of an array, it stands in the doc.
        let part = plain(part)?;
        return Some(passing("INSTR(doc, ?) > 0", [Value::Text(part.to_owned())]));
    }
    let at = Value::Text(json_path(path)?);
    let compared = |condition: &str, values: Vec<Value>| {
        let readable = format!("COALESCE({condition}, NOT JSON_VALID(doc))");
        passing(&readable, std::iter::once(at.clone()).chain(values))
    };
    let number = |operator: &str, wanted: &Json| {
        let condition = format!("CAST({FOUND} AS DOUBLE) {operator} CAST(? AS DOUBLE)");
        compared(&condition, vec![Value::Text(wanted.to_string())])
    };
    let text = |from: String, to: String| {
        let condition = format!("{FOUND} BETWEEN ? AND ?");
        Some(compared(
            &condition,
            vec![Value::Text(from), Value::Text(to)],
        ))
    };
    match test {
        Test::Eq(wanted @ Json::Number(_)) => Some(number("=", wanted)),
        Test::Eq(wanted) => Some(compared(&format!("{FOUND} = ?"), vec![written(wanted)?])),
        Test::In(wanted) if !wanted.is_empty() && wanted.len() <= MAX_IN => {
            let marks = marks(wanted.len());
            let values: Option<Vec<Value>> = wanted.iter().map(written).collect();
            Some(compared(&format!("{FOUND} IN ({marks})"), values?))
        }
        // Equal floats may be of different numbers.
        Test::Gt(wanted @ Json::Number(_)) | Test::Gte(wanted @ Json::Number(_)) => {
            Some(number(">=", wanted))
        }
        Test::Lt(wanted @ Json::Number(_)) | Test::Lte(wanted @ Json::Number(_)) => {
            Some(number("<=", wanted))
        }
        Test::Gt(Json::String(wanted)) | Test::Gte(Json::String(wanted)) => {
            text(format!("\"{}", plain(wanted)?), AFTER_TEXTS.to_owned())
        }
        Test::Lt(Json::String(wanted)) | Test::Lte(Json::String(wanted)) => {
            // The quote at the end of a shorter text comes behind these two.
            let most = plain(wanted)?.replace([' ', '!'], "\"");
            text("\"".to_owned(), format!("\"{most}\""))
        }
        Test::StartsWith(prefix) => {
            let start = format!("\"{}", plain(prefix)?);
            let length = i64::try_from(start.chars().count()).ok()?;
            let condition = format!("LEFT({FOUND}, ?) = ?");
            Some(compared(
                &condition,
                vec![Value::Int(length), Value::Text(start)],
            ))
        }
        Test::Exists(true) => Some(compared(&format!("{FOUND} IS NOT NULL OR NULL"), vec![])),
        _ => None,
    }
}

/// What comes behind all texts: they begin with a quote.
const AFTER_TEXTS: &str = "#";

/// A condition that a doc with a backslash passes.
fn passing(condition: &str, values: impl IntoIterator<Item = Value>) -> Tested {
    let sql = format!("({condition} OR INSTR(doc, CHAR(92 USING utf8mb4)) > 0)");
    Tested::wider(sql, values)
}

/// A value as it is written in any doc without a backslash.
fn written(value: &Json) -> Option<Value> {
    match value {
        Json::String(text) => Some(Value::Text(format!("\"{}\"", plain(text)?))),
        Json::Bool(_) => Some(Value::Text(value.to_string())),
        // These are written in several ways.
        Json::Null | Json::Number(_) | Json::Array(_) | Json::Object(_) => None,
    }
}

/// A text that is written as it is, if it can be.
fn plain(text: &str) -> Option<&str> {
    let is_escaped = |c: char| c == '"' || c == '\\' || c.is_control();
    (!text.contains(is_escaped)).then_some(text)
}

/// A path in SQL, where it means the same: digits may lead into an array, and MariaDB finds
/// no name that begins with `-`, quoted or not.
fn json_path(path: &Path) -> Option<String> {
    let Path::Doc(segments) = path else {
        return None;
    };
    let mut out = String::from("$");
    for segment in segments {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_index = segment.bytes().all(|byte| byte.is_ascii_digit());
        if is_index || !segment.chars().all(is_name) {
            return None;
        }
        out.push_str(".\"");
        out.push_str(segment);
        out.push('"');
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_core::{Filter, Node};

    fn asked(filter: &str) -> Option<(String, Vec<Value>)> {
        let filter = Filter::parse(filter).unwrap();
        let Node::Test(path, test) = filter.node() else {
            unreachable!("one test");
        };
        let tested = unindexed(path, test)?;
        assert!(!tested.exact);
        Some((tested.clause.sql, tested.clause.values))
    }

    #[test]
    fn what_the_server_can_tell_is_asked_of_it_and_nothing_else() {
        for filter in [
            r#"{"a":"x"}"#,
            r#"{"a.b":1}"#,
            r#"{"a":true}"#,
            r#"{"a":{"$in":["x","y"]}}"#,
            r#"{"a":{"$gt":"x"}}"#,
            r#"{"a":{"$lte":3.5}}"#,
            r#"{"a":{"$startsWith":"x"}}"#,
            r#"{"a":{"$contains":"x"}}"#,
            r#"{"a":{"$exists":true}}"#,
        ] {
            let (sql, values) = asked(filter).unwrap();
            assert_eq!(sql.matches('?').count(), values.len(), "{filter}: {sql}");
        }
        for filter in [
            r#"{"a":null}"#,
            r#"{"a":[1]}"#,
            r#"{"a":{"$in":["x",1]}}"#,
            r#"{"a":"x\ny"}"#,
            r#"{"a":{"$contains":"\""}}"#,
            r#"{"a.0":"x"}"#,
            r#"{"-a":"x"}"#,
            r#"{"ö":"x"}"#,
            r#"{"a":{"$ne":"x"}}"#,
            r#"{"a":{"$exists":false}}"#,
        ] {
            assert_eq!(asked(filter), None, "{filter}");
        }
    }
}
