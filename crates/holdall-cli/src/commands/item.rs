//! `put`, `get`, `head` and `rm`: one item.

use std::path::Path;

use futures_util::TryStreamExt;
use holdall::{
    BackendExt, Body, Condition, Conditions, Doc, Entry, Error, GetOptions, Item, Key, NewBody,
    Parts,
};

use crate::args::{At, Get, One, Put};
use crate::atomic_file::AtomicFile;
use crate::exit::Failure;
use crate::input;
use crate::output::{ItemLine, Output};
use crate::store::{Access, Door};
use crate::table::{Table, size, time};

const STDIN: &str = "-";

pub(crate) async fn put(door: &Door, output: &mut Output, wanted: Put) -> Result<(), Failure> {
    let At { collection, key } = wanted.at;
    let from_stdin = wanted.body.as_deref() == Some(Path::new(STDIN));
    if from_stdin && wanted.doc.as_deref() == Some(STDIN) {
        return Err(Failure::usage(
            "--doc and --body cannot both come from stdin; give one as a file",
        ));
    }
    let doc = match &wanted.doc {
        Some(argument) => Doc::parse(input::text(argument)?)?,
        None => Doc::empty(),
    };
    let source = wanted
        .body
        .as_deref()
        .map(|path| Ok::<_, Failure>((input::open(path)?, path)))
        .transpose()?;
    let store = door.open(Access::Any).await?;
    let body = match source {
        Some((reader, path)) => input::body(store.backend(), &collection, reader, path).await?,
        None => NewBody::None,
    };
    let condition = match wanted.if_version {
        Some(version) => Condition::Version(version),
        None if wanted.if_absent => Condition::Absent,
        None => Condition::Any,
    };
    let put = holdall::Put {
        doc,
        body,
        ..holdall::Put::default()
    };
    let entry = store
        .backend()
        .put(&collection, &key, condition, put)
        .await?;
    show_entry(output, &key, &entry)
}

pub(crate) async fn head(door: &Door, output: &mut Output, wanted: One) -> Result<(), Failure> {
    let At { collection, key } = &wanted.at;
    let options = GetOptions {
        if_version: wanted.if_version,
        ..GetOptions::parts(Parts::ENTRY)
    };
    let store = door.open(Access::Existing).await?;
    let found = store.backend().get(collection, key, options).await?;
    let item = found.ok_or_else(|| missing(&wanted.at))?;
    show_entry(output, key, &item.entry)
}

pub(crate) async fn rm(door: &Door, wanted: One) -> Result<(), Failure> {
    let At { collection, key } = &wanted.at;
    let backend = door.open(Access::Existing).await?.backend();
    let condition = match wanted.if_version {
        Some(version) => Condition::Version(version),
        None if backend.capabilities().conditions >= Conditions::Full => Condition::Present,
        None => {
            if backend.head(collection, key).await?.is_none() {
                return Err(missing(&wanted.at).into());
            }
            Condition::Any
        }
    };
    match backend.delete(collection, key, condition).await {
        Err(error) if error.is_conflict() && condition == Condition::Present => {
            Err(missing(&wanted.at).into())
        }
        result => Ok(result?),
    }
}

fn missing(at: &At) -> Error {
    Error::not_found("there is no such item").at(&at.collection, Some(&at.key))
}

fn show_entry(output: &mut Output, key: &Key, entry: &Entry) -> Result<(), Failure> {
    if !output.tables() {
        return output.json(&ItemLine::entry(key, entry));
    }
    let mut table = Table::new(&["KEY", "SIZE", "CREATED", "MODIFIED", "VERSION"]);
    table.row(
        output,
        [
            key.to_string(),
            size(entry),
            time(entry.created),
            time(entry.modified),
            entry.version.to_string(),
        ],
    )?;
    table.end(output)
}

pub(crate) async fn get(door: &Door, output: &mut Output, wanted: Get) -> Result<(), Failure> {
    let At { collection, key } = &wanted.at;
    let body = wanted.body || wanted.range.is_some() || (wanted.output.is_some() && !wanted.doc);
    let options = GetOptions {
        range: wanted.range,
        ..GetOptions::parts(if body { Parts::BODY } else { Parts::DOC })
    };
    let store = door.open(Access::Existing).await?;
    let found = store.backend().get(collection, key, options).await?;
    let item = found.ok_or_else(|| missing(&wanted.at))?;
    let file = wanted
        .output
        .as_deref()
        .filter(|path| *path != Path::new(STDIN));
    if body {
        let body = item.body.ok_or_else(|| {
            Error::not_found("the item has no body; its doc is printed with --doc")
                .at(collection, Some(key))
        })?;
        return match file {
            Some(path) => to_file(body, path).await,
            None => to_stdout(body, output).await,
        };
    }
    let doc = item.doc()?;
    match file {
        Some(path) => {
            let mut file = AtomicFile::create(path)?;
            file.write(doc.as_bytes())?;
            file.write(b"\n")?;
            file.finish()
        }
        None if wanted.doc => output.json_text(&doc.to_string()),
        None => show_item(output, &item),
    }
}

async fn to_file(body: Body, path: &Path) -> Result<(), Failure> {
    let mut file = AtomicFile::create(path)?;
    let mut pieces = body.into_stream();
    while let Some(piece) = pieces.try_next().await? {
        file.write(&piece)?;
    }
    file.finish()
}

async fn to_stdout(body: Body, output: &mut Output) -> Result<(), Failure> {
    let mut pieces = body.into_stream();
    let mut first = true;
    while let Some(piece) = pieces.try_next().await? {
        if first && output.terminal() && piece.contains(&0) {
            return Err(Failure::usage(
                "the body is binary, and would disturb the terminal; write it to a file with --output, \
                 or into a pipe",
            ));
        }
        first = false;
        output.bytes(&piece)?;
    }
    Ok(())
}

fn show_item(output: &mut Output, item: &Item) -> Result<(), Failure> {
    if !output.tables() {
        return output.json(&ItemLine::of(item)?);
    }
    show_entry(output, &item.key, &item.entry)?;
    let value = item.doc()?.value()?;
    let pretty = serde_json::to_string_pretty(&value)
        .map_err(|error| Failure::other("the doc does not become JSON", error))?;
    output.line("")?;
    for line in pretty.lines() {
        output.json_text(line)?;
    }
    Ok(())
}
