//! Work that is watched from outside, in a process of its own.

use std::path::Path;

use crate::scenarios::{body, write};
use crate::{Result, served};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["writes", file, each, size] => write::child(Path::new(file), each.parse()?, size.parse()?),
        ["body", file, size] => body::child(Path::new(file), size.parse()?),
        ["bare"] => served::bare(),
        ["by-hand", file] => served::by_hand(file),
        ["serve", store] => served::serve(store),
        ["http-body", url, size] => served::move_body(url, size.parse()?),
        _ => Err(format!("no such work: {words:?}").into()),
    }
}
