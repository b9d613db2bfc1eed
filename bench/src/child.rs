//! Work that is watched from outside, in a process of its own.

use std::path::Path;

use crate::Result;
use crate::scenarios::{body, write};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["writes", file, each, size] => write::child(Path::new(file), each.parse()?, size.parse()?),
        ["body", file, size] => body::child(Path::new(file), size.parse()?),
        _ => Err(format!("no such work: {words:?}").into()),
    }
}
