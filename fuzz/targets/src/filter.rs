use holdall_core::{Doc, Entry, Filter, Key, Subject, Timestamp, Value, Version, json};

use crate::{lines, refused};

/// A filter in the first line, a doc in the rest. What is read is written and
/// read again as the same filter, and it evaluates, on that doc and others.
pub fn filter(data: &[u8]) -> bool {
    let Some([text, doc]) = lines(data) else {
        return false;
    };
    let filter = match Filter::parse(text) {
        Ok(filter) => filter,
        Err(error) => {
            refused(&error);
            return false;
        }
    };
    let written = filter.to_json();
    let again = Filter::from_json(&written).expect("what is written is a filter");
    assert_eq!(again, filter, "written as {written}");
    let again = Filter::parse(&written.to_string());
    let again = again.unwrap_or_else(|error| panic!("written as {written}: {error}"));
    assert_eq!(again, filter, "written as {written}");

    let doc = Doc::parse(doc.to_owned()).and_then(|doc| doc.value());
    evaluate(&filter, &doc.unwrap_or_else(|_| json!({})));
    evaluate(
        &filter,
        &json!({"a": [1, {"b": "The Quick"}, null], "b": {"a": 1.5}, "c": "x"}),
    );
    true
}

fn evaluate(filter: &Filter, doc: &Value) {
    let key = Key::new("a/b").expect("a key");
    let entry = Entry {
        version: Version::from_bytes([7; 16]),
        created: Timestamp::from_micros(-1),
        modified: Timestamp::from_micros(1_700_000_000_000_000),
        size: 0,
        digest: None,
    };
    let subject = Subject {
        key: &key,
        entry: &entry,
        doc,
    };
    let holds = filter.matches(&subject);
    if let Ok(opposite) = filter.clone().not() {
        assert_ne!(opposite.matches(&subject), holds);
        assert_ne!(opposite.matches_doc(doc), filter.matches_doc(doc));
    }
    if let Ok(both) = Filter::and(vec![filter.clone(), Filter::all()]) {
        assert_eq!(both.matches(&subject), holds);
    }
    if !filter.reads_doc() {
        let doc = &Value::Null;
        assert_eq!(filter.matches(&Subject { doc, ..subject }), holds);
    }
    assert!(!filter.is_all() || holds);
}
