//! `index`, `collections` and `drop`.

use std::io::{self, BufRead, IsTerminal, Write};

use holdall::{Holds, Path, split_list};
use serde_json::json;

use crate::args::{Drop, Index};
use crate::exit::Failure;
use crate::output::{Output, safe};
use crate::store::{Access, Door};
use crate::table::Table;

pub(crate) async fn index(door: &Door, wanted: Index) -> Result<(), Failure> {
    let paths = split_list(&wanted.paths)
        .iter()
        .map(|path| Path::parse(path))
        .collect::<holdall::Result<Vec<_>>>()?;
    let mut index = holdall::Index::on(paths);
    if wanted.unique {
        index = index.unique();
    }
    if wanted.words {
        index = index.holding(Holds::Words);
    }
    index.validate()?;
    let store = door.open(Access::Any).await?;
    store.backend().define(&wanted.collection, &[index]).await?;
    Ok(())
}

pub(crate) async fn collections(door: &Door, output: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(&["COLLECTION"]);
    let store = door.open(Access::Existing).await?;
    for name in store.backend().collections().await? {
        if output.tables() {
            table.row(output, [name.to_string()])?;
        } else {
            output.json(&json!({"collection": name.as_str()}))?;
        }
    }
    table.end(output)
}

pub(crate) async fn drop(door: &Door, wanted: Drop) -> Result<(), Failure> {
    let name = &wanted.collection;
    let store = door.open(Access::Existing).await?;
    if !wanted.yes && io::stdin().is_terminal() {
        let filter = holdall::Filter::all();
        let count = store.backend().count(name, &filter).await?;
        let question = format!(
            "Drop the collection \"{}\" with its {count} items and its indexes? [y/N] ",
            safe(name.as_str())
        );
        if !confirmed(&question)? {
            return Err(Failure::Interrupted(Some("nothing was dropped".into())));
        }
    }
    Ok(store.backend().drop_collection(name).await?)
}

fn confirmed(question: &str) -> Result<bool, Failure> {
    let mut stderr = io::stderr();
    let asked = stderr
        .write_all(question.as_bytes())
        .and_then(|()| stderr.flush());
    let mut answer = String::new();
    asked
        .and_then(|()| io::stdin().lock().read_line(&mut answer))
        .map_err(|error| Failure::other("there is no answer to the question", error))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
