//! The JSON form of filters: the familiar subset of MongoDB's operators.

use serde_json::{Map, json};

use crate::filter::{MAX_FILTER_NESTING, Node, Test};
use crate::path::EntryField;
use crate::{Doc, Error, Filter, Path, Result, Timestamp, Value};

const OPERATORS: &str =
    "$eq, $ne, $gt, $gte, $lt, $lte, $in, $nin, $exists, $contains, $startsWith, $match and $not";

impl Filter {
    /// Reads the JSON form.
    ///
    /// `{"status":"accepted","size":{"$gt":5}}`: each member is a path and
    /// either a value to equal or an object of operators, and all must hold.
    /// The operators are `$eq $ne $gt $gte $lt $lte $in $nin $exists $contains
    /// $startsWith $match $not`; beside paths stand `$and` and `$or` with lists
    /// of filters, `$not` with one, and `$match` with a text for the words of
    /// the whole doc. An object without operators is a value; one whose names
    /// start with a dollar is written `{"$eq":{…}}`.
    ///
    /// # Errors
    /// `Invalid`, naming the part and the rule: an unknown operator is an
    /// error, never a value.
    pub fn parse(text: &str) -> Result<Self> {
        // The rules for docs hold for filters too: they catch a name that
        // stands twice and a number that would be rounded.
        let value = Doc::parse_nested(text.to_owned().into(), MAX_FILTER_NESTING)
            .map_err(|error| {
                let message = error
                    .message()
                    .replacen("the doc", "the filter", 1)
                    .replace("$doc", "the filter");
                Error::new(error.kind(), error.retry(), message)
            })?
            .value()?;
        Self::from_json(&value)
    }

    /// Reads the JSON form, already parsed.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn from_json(value: &Value) -> Result<Self> {
        read_filter(value, 0)
    }

    /// The JSON form.
    pub fn to_json(&self) -> Value {
        match self.node() {
            Node::And(parts) if parts.is_empty() => json!({}),
            Node::And(parts) => json!({"$and": list(parts)}),
            Node::Or(parts) => json!({"$or": list(parts)}),
            Node::Not(part) => json!({"$not": part.to_json()}),
            Node::Test(path, test) => write_test(path, test),
        }
    }
}

fn list(parts: &[Filter]) -> Vec<Value> {
    parts.iter().map(Filter::to_json).collect()
}

fn invalid<T>(message: impl Into<String>) -> Result<T> {
    Err(Error::invalid(message))
}

fn read_filter(value: &Value, depth: usize) -> Result<Filter> {
    if depth > crate::filter::MAX_FILTER_DEPTH {
        return Err(Error::too_large(format!(
            "the filter is nested deeper than {} levels",
            crate::filter::MAX_FILTER_DEPTH
        )));
    }
    let Value::Object(members) = value else {
        return invalid(format!(
            "a filter is a JSON object like {{\"status\":\"new\"}}, not {}",
            shown(value)
        ));
    };
    let mut parts = Vec::with_capacity(members.len());
    for (name, value) in members {
        parts.push(match name.as_str() {
            "$and" => Filter::and(read_filters(name, value, depth)?)?,
            "$or" => Filter::or(read_filters(name, value, depth)?)?,
            "$not" => read_filter(value, depth + 1)?.not()?,
            "$match" => Filter::test(Path::Doc(Vec::new()), read_match(value)?)?,
            _ => read_member(&name.parse()?, value, depth)?,
        });
    }
    one_or_all(parts)
}

fn one_or_all(mut parts: Vec<Filter>) -> Result<Filter> {
    match (parts.len(), parts.pop()) {
        (1, Some(only)) => Ok(only),
        (_, Some(last)) => {
            parts.push(last);
            Filter::and(parts)
        }
        (_, None) => Ok(Filter::all()),
    }
}

fn read_filters(name: &str, value: &Value, depth: usize) -> Result<Vec<Filter>> {
    let Value::Array(elements) = value else {
        return invalid(format!(
            "{name} takes a list of filters, not {}",
            shown(value)
        ));
    };
    elements
        .iter()
        .map(|element| read_filter(element, depth + 1))
        .collect()
}

fn read_member(path: &Path, value: &Value, depth: usize) -> Result<Filter> {
    match operators(path, value)? {
        None => Filter::test(path.clone(), Test::Eq(value.clone())),
        Some(operators) => read_operators(path, operators, depth),
    }
}

/// The object of operators that a value is; `None` if it is a plain value.
fn operators<'a>(path: &Path, value: &'a Value) -> Result<Option<&'a Map<String, Value>>> {
    let Value::Object(members) = value else {
        return Ok(None);
    };
    let dollars = members.keys().filter(|name| name.starts_with('$')).count();
    if dollars == 0 {
        return Ok(None);
    }
    if dollars < members.len() {
        return invalid(format!(
            "the value for {path} mixes operators and names: write {{\"$eq\":{{…}}}} to compare with an object"
        ));
    }
    Ok(Some(members))
}

fn read_operators(path: &Path, operators: &Map<String, Value>, depth: usize) -> Result<Filter> {
    if depth > crate::filter::MAX_FILTER_DEPTH {
        return Err(Error::too_large("the filter is nested too deep"));
    }
    let mut parts = Vec::with_capacity(operators.len());
    for (name, value) in operators {
        let test = match name.as_str() {
            "$eq" => Test::Eq(value.clone()),
            "$ne" => Test::Ne(value.clone()),
            "$gt" => Test::Gt(value.clone()),
            "$gte" => Test::Gte(value.clone()),
            "$lt" => Test::Lt(value.clone()),
            "$lte" => Test::Lte(value.clone()),
            "$in" => Test::In(read_values(path, name, value)?),
            "$nin" => Test::Nin(read_values(path, name, value)?),
            "$contains" => Test::Contains(value.clone()),
            "$exists" => match value {
                Value::Bool(wanted) => Test::Exists(*wanted),
                _ => {
                    return invalid(format!(
                        "$exists for {path} takes true or false, not {}",
                        shown(value)
                    ));
                }
            },
            "$startsWith" => match value {
                Value::String(prefix) => Test::StartsWith(prefix.clone()),
                _ => {
                    return invalid(format!(
                        "$startsWith for {path} takes a string, not {}",
                        shown(value)
                    ));
                }
            },
            "$match" => read_match(value)?,
            "$not" => {
                let Some(inner) = self::operators(path, value)? else {
                    return invalid(format!(
                        "$not for {path} takes an object of operators, not {}",
                        shown(value)
                    ));
                };
                parts.push(read_operators(path, inner, depth + 1)?.not()?);
                continue;
            }
            _ => {
                return invalid(format!(
                    "the operator {name:?} for {path} is unknown; there are {OPERATORS}"
                ));
            }
        };
        parts.push(Filter::test(path.clone(), test)?);
    }
    one_or_all(parts)
}

fn read_values(path: &Path, name: &str, value: &Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(values) => Ok(values.clone()),
        _ => invalid(format!(
            "{name} for {path} takes a list of values, not {}",
            shown(value)
        )),
    }
}

fn read_match(value: &Value) -> Result<Test> {
    match value {
        Value::String(text) => Test::search(text.clone()),
        _ => invalid(format!("$match takes a text, not {}", shown(value))),
    }
}

/// A value as it stands in an error, cut if it is long.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 {
        text.chars().take(57).collect::<String>() + "…"
    } else {
        text
    }
}

fn write_test(path: &Path, test: &Test) -> Value {
    let value = |value: &Value| written(path, value);
    let values = |values: &[Value]| Value::Array(values.iter().map(value).collect());
    let (operator, operand) = match test {
        Test::Eq(wanted) => ("$eq", value(wanted)),
        Test::Ne(wanted) => ("$ne", value(wanted)),
        Test::Gt(wanted) => ("$gt", value(wanted)),
        Test::Gte(wanted) => ("$gte", value(wanted)),
        Test::Lt(wanted) => ("$lt", value(wanted)),
        Test::Lte(wanted) => ("$lte", value(wanted)),
        Test::In(wanted) => ("$in", values(wanted)),
        Test::Nin(wanted) => ("$nin", values(wanted)),
        Test::Exists(wanted) => ("$exists", (*wanted).into()),
        Test::Contains(wanted) => ("$contains", value(wanted)),
        Test::StartsWith(prefix) => ("$startsWith", prefix.as_str().into()),
        Test::Match(wanted) => ("$match", wanted.text().into()),
    };
    json!({path.to_string(): {operator: operand}})
}

/// Times are written as RFC 3339 where they are whole microseconds.
fn written(path: &Path, value: &Value) -> Value {
    match path {
        Path::Entry(EntryField::Created | EntryField::Modified) => match value.as_i64() {
            Some(micros) => {
                let text = Timestamp::from_micros(micros).to_string();
                let readable = text.parse::<Timestamp>().is_ok();
                if readable { text.into() } else { value.clone() }
            }
            None => value.clone(),
        },
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_and_back() {
        for text in [
            r#"{}"#,
            r#"{"a":1}"#,
            r#"{"a":{"b":1}}"#,
            r#"{"a":{"$eq":{"$b":1}}}"#,
            r#"{"a.b":{"$gt":1,"$lte":5},"c":[1]}"#,
            r#"{"$or":[{"a":{"$in":[1,"x",null]}},{"a":{"$nin":[]}}],"$not":{"a":{"$exists":true}}}"#,
            r#"{"a":{"$not":{"$startsWith":"x","$contains":"y"}}}"#,
            r#"{"$match":"Some words","t":{"$match":"more"}}"#,
            r#"{"$modified":{"$gt":"2026-01-01T00:00:00+01:00"},"$size":{"$gte":5},"$key":{"$startsWith":"a"}}"#,
            r#"{"$created":{"$in":[-377705116800000001]}}"#,
            r#"{"$version":"0193C1F08A2B7C3D9E4F001122334455"}"#,
            r#"{"\\$key":1,"a\\.b":2}"#,
            r#"{"$or":[]}"#,
        ] {
            let filter = Filter::parse(text).unwrap();
            let again = Filter::from_json(&filter.to_json()).unwrap();
            assert_eq!(filter, again, "{text} was written as {}", filter.to_json());
        }
    }

    #[test]
    fn what_is_refused_names_the_part() {
        for (text, part) in [
            ("[]", "object"),
            ("{\"a\":", "filter"),
            (r#"{"a":1,"a":2}"#, "twice"),
            (r#"{"a":{"$gtt":1}}"#, "$gtt"),
            (r#"{"a":{"$where":"x"}}"#, "$where"),
            (r#"{"$nope":1}"#, "$nope"),
            (r#"{"a":{"$gt":1,"b":2}}"#, "mixes"),
            (r#"{"a":{"$in":5}}"#, "$in"),
            (r#"{"a":{"$exists":1}}"#, "$exists"),
            (r#"{"a":{"$startsWith":1}}"#, "$startsWith"),
            (r#"{"a":{"$match":1}}"#, "$match"),
            (r#"{"a":{"$match":"?!"}}"#, "word"),
            (r#"{"a":{"$not":1}}"#, "$not"),
            (r#"{"$and":{}}"#, "$and"),
            (r#"{"$or":[1]}"#, "filter"),
            (r#"{"a..b":1}"#, "a..b"),
            (r#"{"":1}"#, "empty"),
            (r#"{"$modified":{"$gt":"yesterday"}}"#, "$modified"),
            (r#"{"$modified":{"$startsWith":"2026"}}"#, "$modified"),
            (r#"{"$size":"5"}"#, "$size"),
            (r#"{"$key":5}"#, "$key"),
            (
                r#"{"$version":{"$gt":"0193C1F08A2B7C3D9E4F001122334455"}}"#,
                "$version",
            ),
            (r#"{"$version":"x"}"#, "$version"),
            (r#"{"a":123456789012345678901234567890}"#, "64 bits"),
        ] {
            let error = Filter::parse(text).expect_err(text);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        let deep = format!("{}{{}}{}", "{\"$not\":".repeat(40), "}".repeat(40));
        assert_eq!(
            Filter::parse(&deep).unwrap_err().kind(),
            crate::ErrorKind::TooLarge
        );
    }
}
