use holdall_core::{
    Attrs, Cursor, Doc, Entry, Filter, Item, Key, Query, Sort, Timestamp, Version,
    value_of_sort_key,
};

use data_encoding::BASE64URL_NOPAD;

use crate::lines;

/// Either the text of a cursor; or a list of sorts, a key and a doc, in three
/// lines, from which a cursor is made; or, behind a zero byte, what stands in
/// a cursor before its checksum, which random bytes would never get right.
pub fn cursor(data: &[u8]) -> bool {
    if let Some((0, content)) = data.split_first() {
        let check = blake3::hash(content);
        let bytes = [content, &check.as_bytes()[..4]].concat();
        return text(&BASE64URL_NOPAD.encode(&bytes));
    }
    let Some([sorts, key, doc]) = lines(data) else {
        return false;
    };
    if key.is_empty() {
        return text(sorts);
    }
    let (Ok(sorts), Ok(key), Ok(doc)) = (
        Sort::parse_list(sorts),
        Key::new(key),
        Doc::parse(doc.to_owned()),
    ) else {
        return false;
    };
    for sort in &sorts {
        assert_eq!(Sort::parse(&sort.to_string()).as_ref().ok(), Some(sort));
    }
    let written: Vec<_> = sorts.iter().map(ToString::to_string).collect();
    let again = Sort::parse_list(&written.join(","));
    assert_eq!(again.as_ref().ok(), Some(&sorts), "{written:?}");

    let mut query = Query::new(Filter::all());
    query.sort = sorts;
    if query.validate().is_err() {
        return false;
    }
    let cursor = query.cursor(&item(key, doc)).expect("the doc is there");
    let again: Cursor = cursor.to_string().parse().expect("a cursor is read");
    assert_eq!(again, cursor);
    assert!(query.after(cursor).validate().is_ok());
    true
}

fn text(text: &str) -> bool {
    let Ok(cursor) = Cursor::parse(text) else {
        return false;
    };
    assert_eq!(cursor.to_string(), text, "one cursor has one text");
    for value in cursor.values() {
        value_of_sort_key(value).expect("an encoding");
    }
    let query = Query::new(Filter::all()).after(cursor);
    let _any_answer_will_do = query.validate();
    true
}

fn item(key: Key, doc: Doc) -> Item {
    Item {
        key,
        entry: Entry {
            version: Version::from_bytes([7; 16]),
            created: Timestamp::from_micros(-1),
            modified: Timestamp::from_micros(1_700_000_000_000_000),
            size: 5,
            digest: None,
        },
        doc: Some(doc),
        body: None,
        attrs: Attrs::default(),
    }
}
