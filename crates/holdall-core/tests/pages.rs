//! The examples on the pages of docs/ are what the code does.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "helpers of tests are tests"
)]

use std::cmp::Ordering;

use holdall_core::{
    Action, CollectionName, Condition, Error, ErrorKind, Filter, Key, MAX_DOC, MAX_FILTER_DEPTH,
    MAX_FILTER_TESTS, MAX_GROUPS, MAX_SEGMENTS, MAX_SORT_BYTES, MAX_SORTS, Operation, Path, Retry,
    Sort, Value, compare, sort_key, sort_key_or_missing, value_of_sort_key, words,
};

fn page(name: &str) -> String {
    let path = format!("{}/../../docs/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(path).unwrap()
}

/// The rows of all tables with this header, each a list of cells.
fn rows(page: &str, header: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        if line != header {
            continue;
        }
        for row in lines
            .by_ref()
            .skip(1)
            .take_while(|line| line.starts_with('|'))
        {
            let cells = row.trim_matches('|').split('|');
            rows.push(cells.map(|cell| cell.trim().to_owned()).collect());
        }
    }
    assert!(!rows.is_empty(), "there is no table {header}");
    rows
}

/// What stands between backticks.
fn codes(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[test]
fn filters_match_what_the_page_says() {
    let page = page("query.md");
    for row in rows(&page, "| filter | matches | does not match |") {
        let filter = Filter::parse(codes(&row[0])[0]).unwrap();
        for (cell, wanted) in [(&row[1], true), (&row[2], false)] {
            for doc in codes(cell) {
                assert_eq!(
                    filter.matches_doc(&json(doc)),
                    wanted,
                    "{} on {doc}",
                    row[0]
                );
            }
        }
    }
}

#[test]
fn filters_are_refused_with_the_words_of_the_page() {
    for row in rows(&page("query.md"), "| filter | refused as |") {
        let text = codes(&row[0])[0];
        let error = Filter::parse(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::Invalid, "{text}");
        assert!(error.to_string().contains(&row[1]), "{text}: {error}");
    }
}

#[test]
fn the_page_names_every_operator() {
    let page = page("query.md");
    let cells: String = rows(&page, "| operator | holds if the value |")
        .concat()
        .concat();
    let error = Filter::parse(r#"{"a":{"$none":1}}"#)
        .unwrap_err()
        .to_string();
    let (_, list) = error.split_once("there are ").unwrap();
    for operator in list.split([',', ' ']).filter(|word| word.starts_with('$')) {
        assert!(codes(&cells).contains(&operator), "{operator}");
    }
}

#[test]
fn paths_find_what_the_page_says() {
    for row in rows(&page("query.md"), "| path | in the doc | finds |") {
        let path: Path = codes(&row[0])[0].parse().unwrap();
        let doc = json(codes(&row[1])[0]);
        let found = codes(&row[2]).first().map(|found| json(found));
        assert_eq!(path.in_doc(&doc), found.as_ref(), "{path}");
    }
    for row in rows(
        &page("query.md"),
        "| field | what it is | how it is tested |",
    ) {
        let path: Path = codes(&row[0])[0].parse().unwrap();
        assert!(matches!(path, Path::Entry(_)), "{path}");
    }
}

#[test]
fn values_stand_in_the_order_of_the_page() {
    let page = page("query.md");
    let (_, rest) = page.split_once("```order\n").unwrap();
    let (list, _) = rest.split_once("```").unwrap();
    let values: Vec<Value> = list.lines().map(json).collect();
    for pair in values.windows(2) {
        assert_eq!(compare(&pair[0], &pair[1]), Ordering::Less, "{pair:?}");
    }
}

#[test]
fn words_are_cut_as_the_page_says() {
    for row in rows(&page("query.md"), "| text | words |") {
        assert_eq!(words(codes(&row[0])[0]), codes(&row[1]), "{}", row[0]);
    }
}

#[test]
fn sorts_are_read_as_the_page_says() {
    for row in rows(&page("query.md"), "| sort | means |") {
        let sort = Sort::parse(codes(&row[0])[0]).unwrap();
        assert_eq!(sort.descending, row[1].contains("great to small"), "{sort}");
        assert_eq!(sort.missing_first, row[1].ends_with("first"), "{sort}");
    }
    assert_eq!(
        Sort::parse("size").unwrap(),
        Sort::parse("size:asc").unwrap()
    );
}

#[test]
fn limits_are_those_of_the_page() {
    let page = page("query.md");
    for (what, limit) in [
        ("text of a filter", format!("{} MiB", MAX_DOC >> 20)),
        (
            "levels of `$and`, `$or` and `$not`",
            MAX_FILTER_DEPTH.to_string(),
        ),
        ("segments of a path", MAX_SEGMENTS.to_string()),
        ("sorts", MAX_SORTS.to_string()),
        (
            "memory of a sort without an index",
            format!("{} MiB", MAX_SORT_BYTES >> 20),
        ),
        ("groups of `count_by`", format!("{},000", MAX_GROUPS / 1000)),
        ("their values", format!("{} MiB", MAX_SORT_BYTES >> 20)),
        (
            "tests of a filter, each value of `$in` and `$nin` counted",
            format!("{},000", MAX_FILTER_TESTS / 1000),
        ),
    ] {
        let row = format!("| {what} | {limit} |");
        assert!(page.contains(&row), "there is no {row}");
    }
}

#[test]
fn sort_keys_are_the_vectors_of_the_page() {
    let mut before = Vec::new();
    let vectors = rows(&page("sort-keys.md"), "| value | sort key |");
    assert!(vectors.len() > 30);
    for row in vectors {
        let value = codes(&row[0]).first().map(|value| json(value));
        let bytes: Vec<u8> = codes(&row[1])[0]
            .split(' ')
            .map(|byte| u8::from_str_radix(byte, 16).unwrap())
            .collect();
        assert_eq!(sort_key_or_missing(value.as_ref()), bytes, "{}", row[0]);
        assert!(before < bytes, "{} comes too late", row[0]);
        let back = value_of_sort_key(&bytes).unwrap();
        assert_eq!(back.as_ref().map(sort_key), value.as_ref().map(sort_key));
        before = bytes;
    }
}

#[test]
fn the_page_tells_every_kind_of_error() {
    type Make = fn(&str) -> Error;
    let made: [(ErrorKind, Make); 12] = [
        (ErrorKind::NotFound, |m| Error::not_found(m)),
        (ErrorKind::Conflict, |m| Error::conflict(m)),
        (ErrorKind::Expired, |m| Error::expired(m)),
        (ErrorKind::Invalid, |m| Error::invalid(m)),
        (ErrorKind::Unsupported, |m| Error::unsupported(m)),
        (ErrorKind::TooLarge, |m| Error::too_large(m)),
        (ErrorKind::Denied, |m| Error::denied(m)),
        (ErrorKind::Unavailable, |m| Error::unavailable(m)),
        (ErrorKind::Timeout, |m| Error::timeout(m)),
        (ErrorKind::Corrupt, |m| Error::corrupt(m)),
        (ErrorKind::Closed, |m| Error::closed(m)),
        (ErrorKind::Other, |m| Error::other(m)),
    ];
    assert_eq!(made.map(|(kind, _)| kind), ErrorKind::ALL);
    let rows = rows(
        &page("errors.md"),
        "| kind | name | what happened | what to do | retry |",
    );
    assert_eq!(rows.len(), made.len());
    for (row, (kind, make)) in rows.iter().zip(made) {
        assert_eq!(codes(&row[0]), [format!("{kind:?}")]);
        assert_eq!(codes(&row[1]), [kind.name()]);
        let retry = match make("").retry() {
            Retry::No => "no",
            Retry::Yes => "yes",
            Retry::Unknown => "unknown",
        };
        assert_eq!(row[4], retry, "{kind:?}");
    }
}

#[test]
fn an_error_looks_as_on_the_page() {
    let operation = Operation {
        collection: CollectionName::new("books").unwrap(),
        key: Key::new("emma").unwrap(),
        condition: Condition::Absent,
        action: Action::Check,
    };
    let current = "0193c1f0-8a2b-7c3d-9e4f-001122334455".parse().unwrap();
    let error = Condition::Absent
        .check(&operation, Some(current))
        .unwrap_err();
    assert!(
        page("errors.md").contains(&format!("\n{error}\n")),
        "{error}"
    );
}
