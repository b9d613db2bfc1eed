use holdall_core::{Change, Error, Result};
use holdall_wire::{
    BatchShape, Block, ChangeShape, Event, Events, Line, OutcomeShape, Problem, QueryShape,
    read_range, write_item, write_range,
};

use crate::{refused, text};

/// What comes over HTTP. The first line says which shape the rest is: `line`
/// (of a page), `events`, `batch` (a zero byte parts the JSON from the bodies),
/// `query`, `problem`, `outcome` or `range`. What is read is written and read
/// again as the same.
pub fn wire(data: &[u8]) -> bool {
    let Some(at) = data.iter().position(|byte| *byte == b'\n') else {
        return false;
    };
    let (shape, rest) = (&data[..at], &data[at + 1..]);
    match shape {
        b"line" => line(rest),
        b"events" => events(rest),
        b"batch" => batch(rest),
        b"query" => query(rest),
        b"problem" => problem(rest),
        b"outcome" => outcome(rest),
        b"range" => range(rest),
        _ => false,
    }
}

fn taken<T>(result: Result<T>) -> Option<T> {
    result.inspect_err(refused).ok()
}

fn line(data: &[u8]) -> bool {
    let Some(line) = taken(Line::read(data)) else {
        return false;
    };
    let Line::Item(item) = line else {
        return true;
    };
    let mut written = Vec::new();
    write_item(&mut written, &item, None, true);
    assert_eq!(written.pop(), Some(b'\n'));
    let Ok(Line::Item(again)) = Line::read(&written) else {
        panic!("an item is not read again");
    };
    assert_eq!(again.key, item.key);
    assert_eq!(again.attrs, item.attrs);
    assert_eq!(again.entry.version, item.entry.version);
    let bytes = |item: &holdall_core::Item| item.doc.as_ref().map(|doc| doc.as_bytes().clone());
    assert_eq!(bytes(&again), bytes(&item));
    true
}

fn events(data: &[u8]) -> bool {
    let at_once = fed(data, data.len().max(1));
    let bit_by_bit = fed(data, 1);
    assert_eq!(at_once.is_err(), bit_by_bit.is_err());
    let (Ok(blocks), Ok(other)) = (at_once, bit_by_bit) else {
        return false;
    };
    assert_eq!(blocks, other);
    let mut good = false;
    for block in blocks {
        let id = block.id.unwrap_or_default();
        match Event::read(&block.name, &id, &block.data) {
            Ok(Event::Change(change)) => {
                written_again(&change);
                good = true;
            }
            Ok(_) => good = true,
            Err(error) => refused(&error),
        }
    }
    good
}

fn fed(data: &[u8], size: usize) -> Result<Vec<Block>, Error> {
    let (mut events, mut blocks) = (Events::default(), Vec::new());
    for piece in data.chunks(size) {
        events.feed(piece, &mut blocks)?;
    }
    Ok(blocks)
}

fn written_again(change: &Change) {
    let data = serde_json::to_string(&ChangeShape::from(change)).expect("JSON");
    assert!(!data.contains('\n'));
    let again = Event::read(change.kind.name(), &change.cursor.to_string(), &data);
    let Ok(Event::Change(again)) = again else {
        panic!("a change is not read again");
    };
    assert_eq!(again, *change);
}

fn batch(data: &[u8]) -> bool {
    let parts = data.iter().position(|byte| *byte == 0);
    let (json, bodies) = match parts {
        Some(at) => (&data[..at], data[at + 1..].to_vec()),
        None => (data, Vec::new()),
    };
    let Some(batch) = taken(BatchShape::read(json, bodies.into(), 100)) else {
        return false;
    };
    let head = BatchShape::write(&batch).expect("what was read is written");
    let again = BatchShape::read(&head.json, head.bodies.concat().into(), 100);
    let again = again.expect("what was written is read");
    assert_eq!(format!("{again:?}"), format!("{batch:?}"));
    true
}

fn query(data: &[u8]) -> bool {
    let Ok(shape) = serde_json::from_slice::<QueryShape>(data) else {
        return false;
    };
    let Some(query) = taken(shape.read()) else {
        return false;
    };
    let written = serde_json::to_string(&QueryShape::of(&query)).expect("JSON");
    let again: QueryShape = serde_json::from_str(&written).expect("JSON");
    assert_eq!(again.read().expect("a query"), query);
    true
}

fn problem(data: &[u8]) -> bool {
    let Ok(problem) = serde_json::from_slice::<Problem>(data) else {
        return false;
    };
    let error = problem.into_error();
    refused(&error);
    let again = Problem::of(&error).into_error();
    assert_eq!(again.to_string(), error.to_string());
    assert_eq!((again.kind(), again.retry()), (error.kind(), error.retry()));
    assert_eq!(again.batch(), error.batch());
    true
}

fn outcome(data: &[u8]) -> bool {
    let Ok(shape) = serde_json::from_slice::<OutcomeShape>(data) else {
        return false;
    };
    let Some(outcome) = taken(shape.read()) else {
        return false;
    };
    assert_eq!(OutcomeShape::from(&outcome).read().ok(), Some(outcome));
    true
}

fn range(data: &[u8]) -> bool {
    let Some(range) = text(data).and_then(|text| taken(read_range(text))) else {
        return false;
    };
    assert_eq!(read_range(&write_range(range)).ok(), Some(range));
    true
}
