//! The one meaning of comparing values: which are equal, which comes first.

use std::cmp::Ordering;

pub use serde_json::Value;
use serde_json::{Map, Number};

/// The types of values, in the order in which they sort.
///
/// Values of different types are never equal, and a comparison such as `gt`
/// holds only between values of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Type {
    /// `null`.
    Null,
    /// `false`, then `true`.
    Bool,
    /// Integers and floats, compared exactly.
    Number,
    /// Strings, by code point.
    String,
    /// Arrays, element by element, a shorter one before its extensions.
    Array,
    /// Objects, as the sequence of their members sorted by name.
    Object,
}

impl Type {
    /// The type of `value`.
    pub fn of(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(_) => Self::Bool,
            Value::Number(_) => Self::Number,
            Value::String(_) => Self::String,
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }
}

/// The total order of values: by [`Type`], then within the type.
///
/// Numbers are compared exactly (no integer is rounded to a float first), and
/// 1 equals 1.0, as 0 equals -0. Strings are compared by code point, without
/// normalisation.
///
/// ```
/// use holdall_core::{compare, json};
/// use std::cmp::Ordering;
/// assert_eq!(compare(&json!(1), &json!(1.0)), Ordering::Equal);
/// assert_eq!(compare(&json!(9007199254740993_u64), &json!(9007199254740992.0)), Ordering::Greater);
/// assert_eq!(compare(&json!("10"), &json!(9)), Ordering::Greater);
/// ```
pub fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Number(a), Value::Number(b)) => compare_numbers(a, b),
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let unequal = a
                .iter()
                .zip(b)
                .map(|(a, b)| compare(a, b))
                .find(|o| o.is_ne());
            unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let (a, b) = (sorted_members(a), sorted_members(b));
            let unequal = a
                .iter()
                .zip(&b)
                .map(|(a, b)| a.0.cmp(b.0).then_with(|| compare(a.1, b.1)))
                .find(|o| o.is_ne());
            unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => Type::of(a).cmp(&Type::of(b)),
    }
}

/// Whether two values are the same value.
pub fn equal(a: &Value, b: &Value) -> bool {
    compare(a, b).is_eq()
}

/// The members of an object, sorted by name.
pub(crate) fn sorted_members(object: &Map<String, Value>) -> Vec<(&String, &Value)> {
    let mut members: Vec<_> = object.iter().collect();
    members.sort_unstable_by_key(|member| member.0);
    members
}

/// A JSON number as one of the two kinds that a doc may hold.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Num {
    /// An i64 or u64.
    Int(i128),
    Float(f64),
}

impl Num {
    pub(crate) fn of(number: &Number) -> Self {
        if let Some(int) = number.as_i64() {
            Self::Int(int.into())
        } else if let Some(int) = number.as_u64() {
            Self::Int(int.into())
        } else {
            // A `Number` that is no integer is a float; docs and filters hold
            // finite ones alone.
            Self::Float(number.as_f64().unwrap_or(f64::NAN))
        }
    }
}

fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    match (Num::of(a), Num::of(b)) {
        (Num::Int(a), Num::Int(b)) => a.cmp(&b),
        (Num::Float(a), Num::Float(b)) => compare_floats(a, b),
        (Num::Int(a), Num::Float(b)) => compare_int_float(a, b),
        (Num::Float(a), Num::Int(b)) => compare_int_float(b, a).reverse(),
    }
}

fn compare_floats(a: f64, b: f64) -> Ordering {
    // `+ 0.0` turns -0 into 0.
    (a + 0.0).total_cmp(&(b + 0.0))
}

/// Compares without rounding: every float of magnitude below 2^65 has an exact
/// integral part in an i128, and any other lies outside of all i64 and u64.
fn compare_int_float(int: i128, float: f64) -> Ordering {
    const BEYOND: f64 = 36_893_488_147_419_103_232.0; // 2^65
    if float >= BEYOND {
        return Ordering::Less;
    }
    if float <= -BEYOND {
        return Ordering::Greater;
    }
    #[allow(clippy::cast_possible_truncation, reason = "the magnitude was checked")]
    let whole = float.trunc() as i128;
    int.cmp(&whole)
        .then_with(|| compare_floats(0.0, float.fract()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_compared_without_rounding() {
        let ascending = [
            json!(-1e300),
            json!(i64::MIN),
            json!(-9_007_199_254_740_993_i64),
            json!(-9_007_199_254_740_992.0),
            json!(-1.5),
            json!(-1),
            json!(-0.5),
            json!(0),
            json!(5e-324),
            json!(0.5),
            json!(1),
            json!(9_007_199_254_740_992.0),
            json!(9_007_199_254_740_993_u64),
            json!(i64::MAX),
            json!(9_223_372_036_854_775_808.0),
            json!(9_223_372_036_854_775_809_u64),
            json!(u64::MAX),
            json!(18_446_744_073_709_551_616.0),
            json!(1e300),
        ];
        for (i, a) in ascending.iter().enumerate() {
            for (j, b) in ascending.iter().enumerate() {
                assert_eq!(compare(a, b), i.cmp(&j), "{a} against {b}");
            }
        }
        assert!(equal(&json!(0), &json!(-0.0)));
        assert!(equal(&json!(1), &json!(1.0)));
    }

    #[test]
    fn objects_are_compared_whatever_the_order_of_their_members() {
        let a: Value = serde_json::from_str(r#"{"b":1,"a":[1,2.0]}"#).unwrap();
        let b: Value = serde_json::from_str(r#"{"a":[1.0,2],"b":1}"#).unwrap();
        assert!(equal(&a, &b));
        assert_eq!(compare(&json!({"a":2}), &json!({"b":1})), Ordering::Less);
        assert_eq!(compare(&json!({}), &json!({"b":1})), Ordering::Less);
    }
}
