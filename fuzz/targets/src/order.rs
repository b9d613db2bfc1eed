use std::cmp::Ordering;

use holdall_core::{
    Doc, Type, Value, compare, equal, sort_key, sort_key_or_missing, sort_key_range,
    sort_key_string_prefix, value_of_sort_key,
};

use crate::lines;

/// Two values in two lines: the order of their encodings is theirs. Anything
/// else is taken as an encoding, which is read without harm.
pub fn order(data: &[u8]) -> bool {
    let values = lines(data).and_then(|[a, b]| Some((value(a)?, value(b)?)));
    let Some((a, b)) = values else {
        return stored(data);
    };
    let (encoded_a, encoded_b) = (sort_key(&a), sort_key(&b));
    let order = compare(&a, &b);
    assert_eq!(encoded_a.cmp(&encoded_b), order);
    assert_eq!(compare(&b, &a), order.reverse());
    assert_eq!(equal(&a, &b), order.is_eq());
    let inverted = |bytes: &[u8]| bytes.iter().map(|byte| !byte).collect::<Vec<_>>();
    assert_eq!(inverted(&encoded_b).cmp(&inverted(&encoded_a)), order);
    let prefixed = encoded_a.starts_with(&encoded_b) || encoded_b.starts_with(&encoded_a);
    assert!(
        !prefixed || order.is_eq(),
        "one encoding is a prefix of another"
    );
    if Type::of(&a) != Type::of(&b) {
        assert_eq!(Type::of(&a).cmp(&Type::of(&b)), order);
    }
    for (value, encoded) in [(&a, &encoded_a), (&b, &encoded_b)] {
        let (low, high) = sort_key_range(Type::of(value));
        assert!((low..high).contains(&encoded[0]));
        assert_eq!(encoded.cmp(&sort_key_or_missing(None)), Ordering::Less);
        let back = value_of_sort_key(encoded).expect("an encoding is read");
        assert!(equal(&back.expect("it is not missing"), value));
    }
    if let (Value::String(a), Value::String(b)) = (&a, &b) {
        let starts = encoded_a.starts_with(&sort_key_string_prefix(b));
        assert_eq!(starts, a.starts_with(b.as_str()));
    }
    true
}

/// Any value that a doc can hold.
fn value(text: &str) -> Option<Value> {
    let doc = Doc::parse(format!("{{\"v\":{text}}}")).ok()?;
    let mut value = doc.value().ok()?;
    // A text like `1,"w":2` makes a doc, too.
    let members = value.as_object_mut().filter(|members| members.len() == 1)?;
    members.remove("v")
}

fn stored(data: &[u8]) -> bool {
    let Ok(Some(value)) = value_of_sort_key(data) else {
        return false;
    };
    let encoded = sort_key(&value);
    let again = value_of_sort_key(&encoded).expect("an encoding is read");
    assert!(equal(&again.expect("it is not missing"), &value));
    true
}
