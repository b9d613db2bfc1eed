//! Removes what nobody needs any more, a little at a time.

use std::sync::Arc;
use std::time::Duration;

use holdall_core::{CollectionName, Result, Timestamp, Version};
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};

use super::connect::binary;
use super::documents::Found;
use super::error::failed;
use super::names::{self, BATCHES, FILES};
use super::{Shared, bodies, value};

/// Records and files that one step removes at most.
const STEP: i64 = 200;

/// How often a store sweeps by itself.
const EVERY: Duration = Duration::from_secs(60);

/// When a file is swept that was claimed, so that no batch can use it any more.
const LOST: i64 = i64::MIN;

/// Sweeps now and then, beside the writes.
pub(super) fn now_and_then(shared: &Arc<Shared>) {
    let now = shared.options.env.now();
    let mut last = shared.swept.lock();
    if now < last.after(EVERY) {
        return;
    }
    *last = now;
    drop(last);
    let shared = shared.clone();
    tokio::spawn(async move {
        let Ok(_pass) = shared.life.enter() else {
            return;
        };
        // What fails is left to the next sweep.
        while matches!(step(&shared).await, Ok(true)) {}
    });
}

/// Removes some; answers whether there is more.
pub(super) async fn step(shared: &Arc<Shared>) -> Result<bool> {
    let _turn = shared.turn().await?;
    let now = shared.options.env.now();
    let batches = trim(shared, now).await?;
    let staged = abandoned(shared, now).await?;
    let before = now.before(shared.options.grace).as_micros();
    let dropped = remove(shared, doc! { "metadata.dropped": { "$lt": before } }).await?;
    let moved = match shared.transactions {
        true => false,
        false => moving(shared, before).await?,
    };
    Ok(batches || staged || dropped || moved)
}

/// Removes the records of batches whose ids are too old to arrive.
async fn trim(shared: &Shared, now: Timestamp) -> Result<bool> {
    let batches = shared.database.collection::<Document>(BATCHES);
    let find = batches
        .find(doc! { "until": { "$lt": now.as_micros() } })
        .projection(doc! { "_id": 1 })
        .limit(STEP);
    let mut cursor = shared.read(find).await?;
    let mut ids: Vec<Bson> = Vec::new();
    while shared.read(cursor.advance()).await? {
        let record = cursor.deserialize_current().map_err(failed)?;
        ids.extend(record.get("_id").cloned());
    }
    if ids.is_empty() {
        return Ok(false);
    }
    shared
        .read(batches.delete_many(doc! { "_id": { "$in": ids } }))
        .await?;
    Ok(true)
}

/// Removes staged bodies whose lease is over, once no batch can take them any more.
async fn abandoned(shared: &Shared, now: Timestamp) -> Result<bool> {
    let files = shared.database.collection::<Document>(FILES);
    let mut found = false;
    for _ in 0..STEP {
        let over = doc! { "metadata.expires": { "$lt": now.as_micros() } };
        let claim = doc! { "$set": { "metadata.expires": LOST } };
        let claimed = files
            .find_one_and_update(over, claim)
            .projection(doc! { "_id": 1 });
        let Some(file) = shared.read(claimed).await? else {
            break;
        };
        found = true;
        bodies::remove(shared, id(&file)?).await?;
    }
    Ok(found)
}

/// Removes files.
async fn remove(shared: &Shared, which: Document) -> Result<bool> {
    let mut found = false;
    for file in list(shared, which).await? {
        found = true;
        bodies::remove(shared, id(&file)?).await?;
    }
    Ok(found)
}

/// Finds out whether files that were moving are the bodies of their items.
async fn moving(shared: &Shared, before: i64) -> Result<bool> {
    let mut found = false;
    for file in list(shared, doc! { "metadata.moving": { "$lt": before } }).await? {
        found = true;
        let own = id(&file)?;
        if has_item(shared, &file, own).await? {
            let settled = doc! { "$unset": bodies::settled() };
            let files = shared.database.collection::<Document>(FILES);
            shared
                .read(files.update_one(doc! { "_id": binary(own) }, settled))
                .await?;
        } else {
            bodies::remove(shared, own).await?;
        }
    }
    Ok(found)
}

async fn has_item(shared: &Shared, file: &Document, own: Version) -> Result<bool> {
    let metadata = file
        .get_document("metadata")
        .map_err(|_| value::foreign("a file has no metadata"))?;
    let collection = metadata
        .get_str("collection")
        .map_err(|_| value::foreign("a file has no collection"))?;
    let table = names::table(&CollectionName::new(collection)?);
    let items = shared.database.collection::<RawDocumentBuf>(&table);
    let filter = match metadata.get_str("key") {
        Ok(key) => doc! { "_id": key },
        Err(_) => doc! { "_holdall.file": binary(own) },
    };
    let item = shared
        .read(items.find_one(filter).projection(Found::projection()))
        .await?;
    Ok(match item {
        Some(item) => Found::read(&item)?.1.file == Some(own),
        None => false,
    })
}

async fn list(shared: &Shared, which: Document) -> Result<Vec<Document>> {
    let files = shared.database.collection::<Document>(FILES);
    let mut cursor = shared.read(files.find(which).limit(STEP)).await?;
    let mut found = Vec::new();
    while shared.read(cursor.advance()).await? {
        found.push(cursor.deserialize_current().map_err(failed)?);
    }
    Ok(found)
}

fn id(file: &Document) -> Result<Version> {
    match value::bytes_of(file, "_id") {
        Some(bytes) => Version::from_slice(bytes),
        None => Err(value::foreign("a file's id is no UUID")),
    }
}
