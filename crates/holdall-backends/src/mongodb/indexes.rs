//! Declares indexes, and drops collections.
//!
//! An index is entered first, and written by every writer from then on. Making
//! MongoDB's own index then waits for transactions that began before. Items that
//! were there get their fields one by one, and only then the index is read.

use std::sync::Arc;

use holdall_core::{ChangeKind, CollectionName, Error, Holds, Index, Parts, Result, Retry, Value};
use mongodb::IndexModel;
use mongodb::bson::{Bson, Document, RawDocumentBuf, doc};
use mongodb::options::IndexOptions;

use super::catalogue::{self, Declared, Layout};
use super::connect::{binary, bytes as generic, command_concern};
use super::documents::{self, Stored};
use super::error::{Failure, MISSING, check_reply, code, failed};
use super::log::{self, Logged, Recorded};
use super::names::{self, BATCHES, COLLECTIONS, FILES, OWN};
use super::write::Pause;
use super::{Shared, transaction, value};

/// The most of MongoDB's indexes that a collection's declarations take; it makes 64.
const MOST: usize = 60;

/// Documents that are indexed at once.
const PAGE: i64 = 200;

/// Makes the indexes that are not there yet.
pub(super) async fn define(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    indexes: &[Index],
) -> Result<()> {
    let mut pause = Pause::new(shared);
    loop {
        match catalogue::ensure(shared, collection).await {
            Ok(()) => break,
            Err(Failure::Again(error)) => pause.wait(error).await?,
            Err(other) => return Err(other.into_error()),
        }
    }
    while !declare(shared, collection, indexes).await? {
        let why = "another gave the index up, or dropped the collection, while it was made";
        pause.wait(Error::conflict(why)).await?;
    }
    Ok(())
}

/// Makes them; answers whether they are there in the end.
async fn declare(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    indexes: &[Index],
) -> Result<bool> {
    let mut added = Vec::new();
    let layout = change(shared, collection, |layout| {
        added.clear();
        for index in indexes {
            if added.iter().chain(&layout.indexes).any(|declared: &Declared| declared.index == *index) {
                continue;
            }
            added.push(Declared { id: layout.next, index: index.clone(), ready: false });
            layout.next += 1;
        }
        layout.indexes.extend(added.iter().cloned());
        let entries: usize = layout.indexes.iter().map(|declared| models(declared).len()).sum();
        if entries > MOST {
            return Err(Error::too_large(format!(
                "the collection would have {entries} indexes in MongoDB, where a unique one counts twice; the limit is {MOST}"
            ))
            .at(collection, None));
        }
        Ok(!added.is_empty())
    })
    .await?;
    // Also those that somebody else began and did not end.
    let open: Vec<Declared> = layout
        .indexes
        .into_iter()
        .filter(|declared| !declared.ready && indexes.contains(&declared.index))
        .collect();
    if open.is_empty() {
        return Ok(true);
    }
    let built = build(shared, collection, &open).await;
    let own = |declared: &Declared| open.iter().any(|open| open.id == declared.id);
    let finished = built.is_ok();
    let mut given_up = Vec::new();
    let layout = change(shared, collection, |layout| {
        if finished {
            let own = layout.indexes.iter_mut().filter(|declared| own(declared));
            own.for_each(|declared| declared.ready = true);
            return Ok(true);
        }
        // Whoever declared the same may have finished it.
        let all = std::mem::take(&mut layout.indexes).into_iter();
        (given_up, layout.indexes) = all.partition(|declared| own(declared) && !declared.ready);
        Ok(!given_up.is_empty())
    })
    .await?;
    if let Err(error) = built {
        remove(shared, collection, &given_up).await;
        return Err(error);
    }
    let ready = |open: &Declared| layout.indexes.iter().any(|there| there.id == open.id);
    Ok(open.iter().all(ready))
}

/// Changes what the catalogue says of a collection, unless somebody else did
/// meanwhile; then once more.
async fn change(
    shared: &Shared,
    collection: &CollectionName,
    mut with: impl FnMut(&mut Layout) -> Result<bool>,
) -> Result<Layout> {
    let catalogue = shared.database.collection::<Document>(COLLECTIONS);
    let mut pause = Pause::new(shared);
    loop {
        let mut layout = catalogue::layout(shared, collection).await?;
        let seen = layout.generation;
        if !with(&mut layout)? {
            return Ok(layout);
        }
        layout.generation += 1;
        let same = doc! { "_id": collection.as_str(), "generation": seen };
        let set = doc! { "$set": {
            "generation": layout.generation,
            "next": layout.next,
            "indexes": layout.written(),
        } };
        match shared.call(catalogue.update_one(same, set)).await {
            Ok(changed) if changed.matched_count == 1 => return Ok(layout),
            Ok(_) => pause.wait(Error::other("")).await?,
            Err(Failure::Again(error)) => pause.wait(error).await?,
            Err(other) => return Err(other.into_error()),
        }
    }
}

/// MongoDB's own indexes for a declared one.
fn models(declared: &Declared) -> Vec<IndexModel> {
    let id = declared.id;
    let model = |kind: &str, unique: bool| {
        let name = format!("holdall_{id}_{kind}");
        let options = IndexOptions::builder()
            .name(name)
            .sparse(true)
            .unique(unique)
            .build();
        IndexModel::builder()
            .keys(doc! { format!("{OWN}.{kind}.{id}"): 1 })
            .options(options)
            .build()
    };
    match (declared.index.holds, declared.index.unique) {
        (Holds::Words, _) => vec![model("words", false)],
        (_, true) => vec![model("sort", false), model("unique", true)],
        (_, false) => vec![model("sort", false)],
    }
}

async fn build(shared: &Shared, collection: &CollectionName, open: &[Declared]) -> Result<()> {
    let items = shared
        .database
        .collection::<RawDocumentBuf>(&names::table(collection));
    let models: Vec<IndexModel> = open.iter().flat_map(models).collect();
    // The build waits for what is under way, however long that takes.
    let create = items.create_indexes(models);
    create
        .await
        .map_err(|error| failed(error).at(collection, None))?;
    let mut behind = None;
    let mut pause = Pause::new(shared);
    loop {
        let mut filter = doc! { "_id": { "$type": "string" } };
        if let Some(behind) = &behind {
            filter = doc! { "_id": { "$gt": behind } };
        }
        let find = items
            .find(filter)
            .sort(doc! { "_id": 1 })
            .limit(PAGE)
            .projection(documents::projection(Parts::DOC, None));
        let mut cursor = shared.read(find).await?;
        let mut page = Vec::new();
        while shared.read(cursor.advance()).await? {
            page.push(documents::whole(cursor.current())?);
        }
        let Some((last, _)) = page.last() else {
            return Ok(());
        };
        let next = last.item.key.as_str().to_owned();
        match fill(shared, collection, &page, open).await {
            Ok(true) => behind = Some(next),
            // Some changed meanwhile, or are being changed: look at them again.
            Ok(false) => pause.wait(Error::other("")).await?,
            Err(Failure::Again(error)) => pause.wait(error).await?,
            Err(other) => return Err(other.into_error()),
        }
    }
}

/// Gives documents the fields of indexes; says whether all of them were as they
/// were read.
async fn fill(
    shared: &Shared,
    collection: &CollectionName,
    page: &[(Stored, Value)],
    open: &[Declared],
) -> Result<bool, Failure> {
    let mut updates: Vec<Bson> = Vec::new();
    for (stored, value) in page {
        let fields = documents::index_fields(stored, value, open)?;
        if fields.is_empty() {
            continue;
        }
        let same = doc! {
            "_id": stored.item.key.as_str(),
            format!("{OWN}.version"): binary(stored.item.entry.version),
        };
        updates.push(Bson::Document(doc! { "q": same, "u": { "$set": fields } }));
    }
    let mut all = true;
    // A page of large values would not fit a command.
    for update in updates.chunks(8) {
        let wanted = i32::try_from(update.len()).unwrap_or(i32::MAX);
        let command = doc! {
            "update": names::table(collection),
            "updates": update.to_vec(),
            "writeConcern": command_concern(&shared.options),
        };
        let reply = shared.call(shared.database.run_command(command)).await?;
        match check_reply(&reply) {
            Ok(()) => all &= reply.get_i32("n").is_ok_and(|n| n == wanted),
            Err(Failure::Taken(why)) => {
                return Err(duplicates(shared, collection, page, open).await?.unwrap_or(
                    Failure::Again(
                        Error::conflict("a value was taken and given back").because(why),
                    ),
                ));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(all)
}

/// The error of a unique index over items that share values.
async fn duplicates(
    shared: &Shared,
    collection: &CollectionName,
    page: &[(Stored, Value)],
    open: &[Declared],
) -> Result<Option<Failure>> {
    let items = shared
        .database
        .collection::<Document>(&names::table(collection));
    for declared in open.iter().filter(|declared| declared.index.unique) {
        for (stored, value) in page {
            let Some(digest) = documents::unique_digest(declared, value) else {
                continue;
            };
            let key = stored.item.key.as_str();
            let field = format!("{OWN}.unique.{}", declared.id);
            let find =
                items.find_one(doc! { field: generic(digest.as_bytes()), "_id": { "$ne": key } });
            if let Some(other) = shared.read(find.projection(doc! { "_id": 1 })).await? {
                let other = other
                    .get_str("_id")
                    .map_err(|_| value::foreign("its _id is no text"))?;
                return Ok(Some(Failure::Error(
                    declared.index.taken(key, other).at(collection, None),
                )));
            }
        }
    }
    Ok(None)
}

/// Drops MongoDB's own indexes. What is left over harms nobody, as ids are not used
/// again.
async fn remove(shared: &Shared, collection: &CollectionName, indexes: &[Declared]) {
    let items = shared
        .database
        .collection::<Document>(&names::table(collection));
    for model in indexes.iter().flat_map(models) {
        let name = model
            .options
            .and_then(|options| options.name)
            .unwrap_or_default();
        if let Err(error) = items.drop_index(name).await
            && !code(&error).is_some_and(|code| MISSING.contains(&code))
        {
            return;
        }
    }
}

/// Drops a collection: its items and its indexes.
pub(super) async fn drop_collection(
    shared: &Arc<Shared>,
    collection: &CollectionName,
) -> Result<()> {
    let id = shared.options.env.version();
    let mut pause = Pause::new(shared);
    let mut doubt = false;
    loop {
        let done = match shared.transactions {
            true => clear(shared, collection, id, &mut pause).await,
            false => clear_by_and_by(shared, collection).await,
        };
        let why = match done {
            Ok(indexes) => {
                remove(shared, collection, &indexes).await;
                return Ok(());
            }
            Err(Failure::Taken(why)) => match log::find(shared, id).await? {
                Recorded::Committed(_) => return Ok(()),
                _ => Error::conflict(why),
            },
            Err(Failure::Unknown(error)) => {
                doubt = true;
                error
            }
            Err(Failure::Again(error)) => error,
            Err(Failure::Error(error)) => {
                return Err(if doubt {
                    error.with_retry(Retry::Unknown)
                } else {
                    error
                });
            }
        };
        if let Err(error) = pause.wait(why).await {
            return Err(if doubt {
                error.with_retry(Retry::Unknown)
            } else {
                error
            });
        }
    }
}

async fn clear(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    id: holdall_core::Version,
    pause: &mut Pause<'_>,
) -> Result<Vec<Declared>, Failure> {
    let _turn = shared.turn().await?;
    let mut session = transaction::start(shared).await?;
    let now = shared.options.env.now();
    let cleared = async {
        let number = log::number(shared, &mut session).await?;
        let collections = std::slice::from_ref(collection);
        let layouts = catalogue::layouts(shared, &mut session, collections).await?;
        let layout = layouts.into_iter().next().unwrap_or_default();
        if !layout.indexes.is_empty() {
            let none = doc! { "$set": { "indexes": [] }, "$inc": { "generation": 1_i64 } };
            let catalogue = shared.database.collection::<Document>(COLLECTIONS);
            let by_name = doc! { "_id": collection.as_str() };
            shared
                .call(catalogue.update_one(by_name, none).session(&mut session))
                .await?;
        }
        let used = doc! {
            "metadata.collection": collection.as_str(),
            "metadata.expires": { "$exists": false },
            "metadata.dropped": { "$exists": false },
        };
        let files = shared.database.collection::<Document>(FILES);
        let release = doc! { "$set": { "metadata.dropped": now.as_micros() } };
        shared
            .call(files.update_many(used, release).session(&mut session))
            .await?;
        let items = shared
            .database
            .collection::<Document>(&names::table(collection));
        let removed = shared
            .call(items.delete_many(doc! {}).session(&mut session))
            .await?;
        let change = Logged {
            collection: collection.clone(),
            key: None,
            kind: ChangeKind::Dropped,
            previous: None,
            created: now,
        };
        let changes = if removed.deleted_count > 0 {
            vec![change]
        } else {
            Vec::new()
        };
        let batches = shared.database.collection::<Document>(BATCHES);
        let record = log::record(id, number, now, &changes);
        shared
            .call(batches.insert_one(record).session(&mut session))
            .await?;
        Ok(layout.indexes)
    }
    .await;
    match cleared {
        Ok(indexes) => transaction::commit(shared, &mut session, pause)
            .await
            .map(|()| {
                shared.bell.send_replace(());
                indexes
            }),
        Err(failure) => {
            transaction::abort(shared, &mut session).await;
            Err(failure)
        }
    }
}

/// The same without a transaction: others may see it half done.
async fn clear_by_and_by(
    shared: &Arc<Shared>,
    collection: &CollectionName,
) -> Result<Vec<Declared>, Failure> {
    let _turn = shared.turn().await?;
    let layout = catalogue::layout(shared, collection).await?;
    if !layout.indexes.is_empty() {
        change(shared, collection, |layout| {
            layout.indexes.clear();
            Ok(true)
        })
        .await?;
    }
    let items = shared
        .database
        .collection::<Document>(&names::table(collection));
    shared.call(items.delete_many(doc! {})).await?;
    let used = doc! {
        "metadata.collection": collection.as_str(),
        "metadata.expires": { "$exists": false },
        "metadata.dropped": { "$exists": false },
    };
    // Not dropped but in doubt: one may belong to an item that was put meanwhile.
    let now = shared.options.env.now().as_micros();
    let files = shared.database.collection::<Document>(FILES);
    shared
        .call(files.update_many(used, doc! { "$set": { "metadata.moving": now } }))
        .await?;
    Ok(layout.indexes)
}
