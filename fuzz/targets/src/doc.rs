use holdall_core::{Doc, Path, Value, equal, sort_key, value_of_sort_key};

use crate::{refused, strict};

/// A text is a doc exactly when a second reading says so, and the same one.
pub fn doc(data: &[u8]) -> bool {
    let expected = strict::read(data);
    let doc = match Doc::parse(data.to_vec()) {
        Ok(doc) => doc,
        Err(error) => {
            refused(&error);
            assert!(expected.is_none(), "refused, though it is a doc: {error}");
            return false;
        }
    };
    let expected = expected.expect("accepted, though it is no doc");
    let value = doc.value().expect("an accepted doc can be read");
    assert!(equal(&value, &expected), "{value} is not {expected}");

    let again = Doc::parse(doc.as_bytes().clone()).expect("what was kept is a doc");
    assert_eq!(again.as_bytes(), doc.as_bytes(), "kept text is canonical");
    let rebuilt = Doc::from_value(&value).expect("its value makes a doc");
    assert_eq!(rebuilt, doc);

    let encoded = sort_key(&value);
    let decoded = value_of_sort_key(&encoded).expect("an encoding is read");
    let decoded = decoded.expect("it is not missing");
    assert!(equal(&decoded, &value), "{decoded} is not {value}");
    assert_eq!(sort_key(&decoded), encoded);

    let mut segments = Vec::new();
    look_at_paths(&doc, &value, &value, &mut segments, &mut 200);
    true
}

/// Values are found by their paths, as the whole doc is parsed or not.
fn look_at_paths(
    doc: &Doc,
    whole: &Value,
    value: &Value,
    segments: &mut Vec<String>,
    left: &mut usize,
) {
    if *left == 0 {
        return;
    }
    *left -= 1;
    let path = Path::Doc(segments.clone());
    assert_eq!(path.in_doc(whole), Some(value), "{path}");
    assert_eq!(
        doc.at(&path).expect("a doc").as_ref(),
        Some(value),
        "{path}"
    );
    let below: Vec<(String, &Value)> = match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), value))
            .collect(),
        Value::Array(elements) => elements
            .iter()
            .enumerate()
            .map(|(index, value)| (index.to_string(), value))
            .collect(),
        _ => Vec::new(),
    };
    for (segment, value) in below {
        segments.push(segment);
        look_at_paths(doc, whole, value, segments, left);
        segments.pop();
    }
}
