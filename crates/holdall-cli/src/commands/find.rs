//! `ls` and `query`: many items.

use futures_util::TryStreamExt;
use holdall::{Cursor, Doc, Filter, Group, Item, Parts, Path, Scan, Sort, Value};
use serde::Serialize;

use crate::args::{Ls, Query};
use crate::exit::Failure;
use crate::input;
use crate::output::{ItemLine, Output};
use crate::store::{Access, Door};
use crate::table::{Table, size, time};

pub(crate) async fn ls(door: &Door, output: &mut Output, wanted: Ls) -> Result<(), Failure> {
    let scan = Scan {
        prefix: wanted.prefix,
        after: wanted.after,
        reverse: wanted.reverse,
        limit: wanted.limit,
        parts: Parts::ENTRY,
    };
    let store = door.open(Access::Existing).await?;
    let mut items = store.backend().scan(&wanted.collection, scan);
    let mut table = Table::new(&["KEY", "SIZE", "MODIFIED", "VERSION"]);
    while let Some(item) = items.try_next().await? {
        if !output.tables() {
            output.json(&ItemLine::of(&item)?)?;
            continue;
        }
        let entry = &item.entry;
        let cells = [
            item.key.to_string(),
            size(entry),
            time(entry.modified),
            entry.version.to_string(),
        ];
        table.row(output, cells)?;
    }
    table.end(output)
}

pub(crate) async fn query(door: &Door, output: &mut Output, wanted: Query) -> Result<(), Failure> {
    let filter = match &wanted.filter {
        Some(argument) => Filter::parse(&input::text(argument)?)?,
        None => Filter::all(),
    };
    match &wanted.count {
        Some(None) => {
            let store = door.open(Access::Existing).await?;
            let count = store.backend().count(&wanted.collection, &filter).await?;
            return output.line(&count.to_string());
        }
        Some(Some(path)) => {
            let path = count_path(path)?;
            let store = door.open(Access::Existing).await?;
            let groups = store
                .backend()
                .count_by(&wanted.collection, &filter, &path)
                .await?;
            return show_groups(output, &groups);
        }
        None => {}
    }
    let mut query = holdall::Query::new(filter);
    if let Some(sort) = &wanted.sort {
        query.sort = Sort::parse_list(sort)?;
    }
    if let Some(cursor) = &wanted.after {
        query = query.after(Cursor::parse(cursor)?);
    }
    // One more tells whether there is a next page.
    query.limit = wanted.limit.map(|limit| limit.saturating_add(1));
    query.validate()?;
    let store = door.open(Access::Existing).await?;
    let mut items = store.backend().query(&wanted.collection, query.clone());
    let mut table = Table::new(&["KEY", "DOC"]);
    let (mut shown, mut next) = (0, None);
    while let Some(item) = items.try_next().await? {
        if wanted.limit == Some(shown) {
            return show_next(output, table, next);
        }
        shown += 1;
        if wanted.limit == Some(shown) {
            next = Some(query.cursor(&item)?);
        }
        show(output, &mut table, &item)?;
    }
    table.end(output)
}

fn show(output: &mut Output, table: &mut Table, item: &Item) -> Result<(), Failure> {
    if output.tables() {
        let doc = item.doc.as_ref().map(Doc::to_string).unwrap_or_default();
        table.row(output, [item.key.to_string(), doc])
    } else {
        output.json(&ItemLine::of(item)?)
    }
}

/// The cursor: below a table, or on stderr, so that lines of JSON are items
/// and nothing else.
fn show_next(output: &mut Output, table: Table, next: Option<Cursor>) -> Result<(), Failure> {
    table.end(output)?;
    let Some(next) = next else {
        return Ok(());
    };
    if output.tables() {
        output.line(&format!("\nmore with --after {next}"))?;
    } else {
        output.flush()?;
        crate::exit::say("next", &next.to_string());
    }
    Ok(())
}

/// `--count` takes the next argument for its path; a filter there is meant as
/// one.
fn count_path(text: &str) -> Result<Path, Failure> {
    if text.starts_with('{') {
        return Err(Failure::usage(
            "--count takes a path, and this is a filter; write the filter before --count",
        ));
    }
    Ok(Path::parse(text)?)
}

#[derive(Serialize)]
struct GroupLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Value>,
    count: u64,
}

fn show_groups(output: &mut Output, groups: &[Group]) -> Result<(), Failure> {
    let mut table = Table::new(&["COUNT", "VALUE"]);
    for group in groups {
        if output.tables() {
            let value = match &group.value {
                None => "(missing)".to_owned(),
                Some(Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
            };
            table.row(output, [group.count.to_string(), value])?;
        } else {
            output.json(&GroupLine {
                value: group.value.as_ref(),
                count: group.count,
            })?;
        }
    }
    table.end(output)
}
