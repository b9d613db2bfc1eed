//! `watch`: changes as they happen.

use futures_util::TryStreamExt;
use holdall::{Change, WatchFrom};
use serde::Serialize;

use crate::args::Watch;
use crate::exit::{Failure, say};
use crate::output::{Output, safe};
use crate::store::{Access, Door};

pub(crate) async fn run(door: &Door, output: &mut Output, wanted: Watch) -> Result<(), Failure> {
    let from = wanted.from.map_or(WatchFrom::Now, WatchFrom::After);
    let store = door.open(Access::Any).await?;
    let mut changes = store
        .backend()
        .watch(wanted.collection.as_ref(), from)
        .await?;
    let what = wanted.collection.as_ref().map(|name| format!("{name:?}"));
    say(
        "watching",
        &what.unwrap_or_else(|| "all collections".into()),
    );
    let mut left = wanted.limit.unwrap_or(u64::MAX);
    while left > 0 {
        let Some(change) = changes.try_next().await? else {
            return Ok(());
        };
        show(output, &change)?;
        output.flush()?;
        left -= 1;
    }
    Ok(())
}

#[derive(Serialize)]
struct ChangeLine<'a> {
    kind: &'static str,
    collection: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    previous: Option<String>,
    batch: String,
    cursor: String,
}

fn show(output: &mut Output, change: &Change) -> Result<(), Failure> {
    let key = change.key.as_ref().map(holdall::Key::as_str);
    if output.tables() {
        return output.line(&format!(
            "{:<8}{}  {}  {}",
            change.kind.name(),
            safe(change.collection.as_str()),
            safe(key.unwrap_or("*")),
            change.cursor
        ));
    }
    output.json(&ChangeLine {
        kind: change.kind.name(),
        collection: change.collection.as_str(),
        key,
        version: change.version.map(|version| version.to_string()),
        previous: change.previous.map(|version| version.to_string()),
        batch: change.batch.to_string(),
        cursor: change.cursor.to_string(),
    })
}
