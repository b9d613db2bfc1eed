//! The SQL functions that indexes and queries use.
//!
//! `holdall_sort` stands in index expressions, so its answers are part of the
//! file format: they are those of `holdall_core::sort_key`.

use holdall_core::{Digest, Doc, Entry, Filter, Key, Path, Subject, Timestamp, Value, Version};
use rusqlite::functions::{Context, FunctionFlags};
use rusqlite::{Connection, Error, Result, ffi};

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Adds the functions to a connection.
pub(super) fn register(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8
        | FunctionFlags::SQLITE_DETERMINISTIC
        | FunctionFlags::SQLITE_INNOCUOUS;
    connection.create_scalar_function("holdall_sort", 2, flags, sort)?;
    connection.create_scalar_function("holdall_words", 2, flags, words)?;
    connection.create_scalar_function("holdall_match", 7, flags, matches)
}

/// `holdall_sort(doc, path)`: the sort key of the value at a path; NULL if it
/// is missing.
fn sort(context: &Context<'_>) -> Result<Option<Vec<u8>>> {
    Ok(value_at(context)?.map(|value| holdall_core::sort_key(&value)))
}

/// `holdall_words(doc, path)`: the words of the value at a path, each once,
/// separated by blanks.
fn words(context: &Context<'_>) -> Result<String> {
    let value = value_at(context)?.unwrap_or(Value::Null);
    let mut words = holdall_core::words_of(&value);
    words.sort_unstable();
    words.dedup();
    Ok(words.join(" "))
}

/// `holdall_match(filter, doc, key, version, created, modified, size)`: whether
/// a filter, in its JSON form, matches a row.
fn matches(context: &Context<'_>) -> Result<bool> {
    let filter = context.get_or_create_aux(0, |text| {
        Filter::parse(text.as_str()?).map_err(Source::from)
    })?;
    let doc = match filter.reads_doc() {
        true => doc(context, 1)?.value().map_err(failed)?,
        false => Value::Null,
    };
    let key = Key::new(context.get_raw(2).as_str()?).map_err(failed)?;
    let entry = Entry {
        version: Version::from_slice(context.get_raw(3).as_blob()?).map_err(failed)?,
        created: Timestamp::from_micros(context.get(4)?),
        modified: Timestamp::from_micros(context.get(5)?),
        size: context.get(6)?,
        digest: None::<Digest>,
    };
    Ok(filter.matches(&Subject {
        key: &key,
        entry: &entry,
        doc: &doc,
    }))
}

fn value_at(context: &Context<'_>) -> Result<Option<Value>> {
    let path = context.get_or_create_aux(1, |text| {
        text.as_str()?.parse::<Path>().map_err(Source::from)
    })?;
    doc(context, 0)?.at(&path).map_err(failed)
}

fn doc(context: &Context<'_>, argument: usize) -> Result<Doc> {
    Ok(Doc::from_stored(
        context.get_raw(argument).as_bytes()?.to_vec(),
    ))
}

/// A row that cannot be read. The code alone, as SQLite drops it where a message
/// is set.
fn failed(_: holdall_core::Error) -> Error {
    Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_CONSTRAINT_FUNCTION), None)
}
