//! Puts JSON lines into a store.

use std::io::BufRead;

use holdall::prelude::*;

/// The collection of the packages.
pub const COLLECTION: &str = "packages";

/// Records of a batch, where the store takes so many at once.
const BATCH: usize = 1000;

/// Puts every line under its `key`, in batches; answers how many. Putting the
/// same lines again changes nothing but versions.
///
/// # Errors
/// `Invalid`, with the number of the line, for one that is no JSON object with
/// a text at `key`; those of reading and writing.
pub async fn import(store: &Store, lines: impl BufRead) -> Result<u64> {
    let name = CollectionName::new(COLLECTION)?;
    let most = BATCH.min(store.backend().capabilities().batch.max_ops);
    let mut batch = Batch::new();
    let mut count = 0;
    for line in lines.lines() {
        count += 1;
        let line = line.map_err(|error| {
            Error::invalid(format!("line {count} cannot be read")).because(error)
        })?;
        let at_line = |error: Error| Error::invalid(format!("line {count}: {}", error.message()));
        let doc = Doc::parse(line).map_err(at_line)?;
        let key = key(&doc).map_err(at_line)?;
        batch = batch.put(&name, &key, Condition::Any, Put::doc(doc));
        if batch.operations().len() == most {
            store.backend().write(std::mem::take(&mut batch)).await?;
        }
    }
    if !batch.operations().is_empty() {
        store.backend().write(batch).await?;
    }
    Ok(count)
}

fn key(doc: &Doc) -> Result<Key> {
    let value = doc.value()?;
    let key = value.get("key").and_then(|key| key.as_str());
    Key::new(key.ok_or_else(|| Error::invalid("there is no text at \"key\""))?)
}
