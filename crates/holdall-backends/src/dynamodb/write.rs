//! Writes batches.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use holdall_core::{
    Action, Batch, ChangeKind, CollectionName, Commit, Doc, Error, ErrorKind, NewBody, Operation,
    Put, Result, Retry, Timestamp, Version, Written,
};
use parking_lot::Mutex;

use super::Shared;
use super::bodies::{self, INLINE};
use super::catalogue::Collection;
use super::commit::{Head, Logged, Plan, Planner, commit};
use super::error::damaged;
use super::hints::hint;
use super::log;
use super::row::{Place, Row};

/// Writes a batch that is valid.
pub(super) async fn write(shared: &Arc<Shared>, mut batch: Batch, id: Version) -> Result<Written> {
    id.check_batch_id(shared.options.env.now())?;
    let staged = stage_large(shared, &mut batch).await?;
    let writing = Writing {
        shared,
        batch: &batch,
        id,
        hinted: Mutex::default(),
    };
    let mut written = commit(shared, &writing).await;
    // An id that was used or given up is refused for that first, whatever else is wrong.
    if let Err(error) = &written
        && matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Expired)
        && let Some(refused) = log::refusal(shared, id).await?
    {
        written = Err(refused);
    }
    if let Err(error) = &written
        && error.retry() != Retry::Unknown
    {
        // Else they would lie there until their lease is over.
        for id in &staged {
            bodies::discard(shared, &id.to_string()).await.ok();
        }
        // Nobody asks for this version.
        let hinted = std::mem::take(&mut *writing.hinted.lock());
        shared.table.remove(hinted).await.ok();
    }
    let commit = written?;
    Ok(Written {
        id,
        entries: batch.entries(id, &commit),
    })
}

/// Takes large bodies in that came with the batch.
async fn stage_large(shared: &Arc<Shared>, batch: &mut Batch) -> Result<Vec<Version>> {
    let mut all = Vec::new();
    for operation in batch.operations_mut() {
        let Action::Put(put) = &mut operation.action else {
            continue;
        };
        if let NewBody::Bytes(bytes) = &put.body
            && bytes.len() > INLINE
        {
            let stream = holdall_core::byte_stream(bytes.clone());
            let staged = bodies::stage(shared, &operation.collection, stream).await?;
            all.push(staged.id);
            put.body = NewBody::Staged(staged);
        }
    }
    Ok(all)
}

struct Writing<'a> {
    shared: &'a Shared,
    batch: &'a Batch,
    id: Version,
    /// Rows of indexes that name what it puts.
    hinted: Mutex<HashSet<Place>>,
}

/// The collections of a batch as they are, or are to be made.
type Collections<'a> = HashMap<&'a CollectionName, (Arc<Collection>, bool)>;

#[async_trait]
impl Planner for Writing<'_> {
    type Answer = Commit;

    async fn plan(&self, head: &mut Head, now: Timestamp) -> Result<Result<Plan<Commit>, Commit>> {
        let collections = self.collections(head).await?;
        let items = self.items(&collections).await?;
        for operation in self.batch.operations() {
            let found = self.found(&collections, &items, operation);
            let version = found.map(|row| row.version("v")).transpose()?.flatten();
            operation.condition.check(operation, version)?;
        }
        let answer = Commit {
            at: now,
            created: Vec::new(),
        };
        let mut plan = Plan::new(self.id, answer);
        self.unique(&collections, &items, &mut plan).await?;
        self.staged(now, &mut plan).await?;
        let mut filled: Vec<&CollectionName> = Vec::new();
        for operation in self.batch.operations() {
            let found = self.found(&collections, &items, operation);
            let place = self.place(&collections, operation);
            match (&operation.action, place) {
                (Action::Put(put), Some(place)) => {
                    let created = found.map_or(Ok(now), |row| row.time("c"))?;
                    plan.created.push(created);
                    let row = self.row(&place, put, created, now)?;
                    plan.actions.push(self.shared.table.putting(row)?);
                    filled.push(&operation.collection);
                }
                (Action::Delete, Some(place)) if found.is_some() => {
                    plan.actions.push(self.shared.table.removing(&place)?);
                }
                _ => continue,
            }
            plan.changes.push(Logged {
                collection: operation.collection.clone(),
                key: Some(operation.key.clone()),
                kind: match operation.action {
                    Action::Put(_) => ChangeKind::Put,
                    Action::Delete | Action::Check => ChangeKind::Delete,
                },
                previous: found.map(|row| row.version("v")).transpose()?.flatten(),
            });
            if let Some(body) = found
                .map(|row| row.text_or_none("k"))
                .transpose()?
                .flatten()
            {
                plan.bodies.push(body.to_owned());
            }
        }
        filled.sort_unstable();
        filled.dedup();
        for name in filled {
            if let Some((collection, true)) = collections.get(name)
                && !plan.learns.iter().any(|(learned, _)| learned == name)
            {
                let row = collection.row(self.shared, name);
                plan.actions.push(self.shared.table.putting(row)?);
                plan.learns.push((name.clone(), Some(collection.clone())));
            }
        }
        plan.answer.created.clone_from(&plan.created);
        self.hints(&collections, &items, &mut plan).await?;
        Ok(Ok(plan))
    }
}

impl Writing<'_> {
    async fn collections(&self, head: &mut Head) -> Result<Collections<'_>> {
        let mut all = Collections::new();
        for operation in self.batch.operations() {
            let name = &operation.collection;
            if all.contains_key(name) {
                continue;
            }
            let found = head.collection(self.shared, name).await?;
            let collection = match found {
                Some(found) => (found, false),
                None => (Arc::new(Collection::new(self.shared)), true),
            };
            all.insert(name, collection);
        }
        Ok(all)
    }

    fn place(&self, collections: &Collections<'_>, operation: &Operation) -> Option<Place> {
        let (collection, _) = collections.get(&operation.collection)?;
        let partition = self.shared.items(&collection.generation);
        Some(Place::new(partition, operation.key.as_str()))
    }

    /// The items that are there now.
    async fn items(&self, collections: &Collections<'_>) -> Result<HashMap<Place, Row>> {
        let operations = self.batch.operations().iter();
        let there = operations
            .filter(|operation| matches!(collections.get(&operation.collection), Some((_, false))));
        let places: Vec<_> = there
            .filter_map(|operation| self.place(collections, operation))
            .collect();
        let indexed = collections.values().any(|(own, _)| !own.indexes.is_empty());
        let columns: &[&str] = match indexed {
            true => &["v", "c", "k", "d"],
            false => &["v", "c", "k"],
        };
        self.shared.table.get_many(places, columns).await
    }

    fn found<'r>(
        &self,
        collections: &Collections<'_>,
        items: &'r HashMap<Place, Row>,
        operation: &Operation,
    ) -> Option<&'r Row> {
        items.get(&self.place(collections, operation)?)
    }

    /// The values of unique indexes, of the state after the batch: what its items had
    /// is free.
    async fn unique(
        &self,
        collections: &Collections<'_>,
        items: &HashMap<Place, Row>,
        plan: &mut Plan<Commit>,
    ) -> Result<()> {
        let (mut frees, mut takes) = (Vec::new(), Vec::new());
        for operation in self.batch.operations() {
            if matches!(operation.action, Action::Check) {
                continue;
            }
            let Some((collection, _)) = collections.get(&operation.collection) else {
                continue;
            };
            let old = self.found(collections, items, operation);
            for (at, unique) in collection.indexes.iter().enumerate() {
                let place = |value| Place::new(self.shared.values(&unique.id), value);
                if let Some(row) = old {
                    let doc = Doc::from_stored(row.text("d")?.to_owned());
                    frees.extend(unique.value(&doc)?.map(|value| (place(value), operation)));
                }
                if let Action::Put(put) = &operation.action {
                    let value = unique.value(&put.doc)?;
                    takes.extend(value.map(|value| (place(value), operation, at)));
                }
            }
        }
        if frees.is_empty() && takes.is_empty() {
            return Ok(());
        }
        let frees_places = frees.iter().map(|(place, _)| place);
        let all: std::collections::HashSet<_> = frees_places
            .chain(takes.iter().map(|(place, ..)| place))
            .cloned()
            .collect();
        let mut before: HashMap<Place, String> = HashMap::new();
        for (place, row) in self.shared.table.get_many(all, &["k"]).await? {
            before.insert(place, row.text("k")?.to_owned());
        }
        let mut after = before.clone();
        for (place, operation) in frees {
            if after
                .get(&place)
                .is_some_and(|owner| owner == operation.key.as_str())
            {
                after.remove(&place);
            }
        }
        let mut shared: HashMap<&CollectionName, Collection> = HashMap::new();
        for (place, operation, at) in takes {
            let Some((collection, _)) = collections.get(&operation.collection) else {
                continue;
            };
            let Some(unique) = collection.indexes.get(at) else {
                continue;
            };
            match after.get(&place) {
                None => drop(after.insert(place, operation.key.as_str().to_owned())),
                Some(owner) if owner == operation.key.as_str() => {}
                Some(owner) if unique.ready => {
                    return Err(unique
                        .index
                        .taken(operation.key.as_str(), owner)
                        .at(&operation.collection, Some(&operation.key)));
                }
                // It does not bind yet. Who makes it is told.
                Some(owner) => {
                    let changed = shared
                        .entry(&operation.collection)
                        .or_insert_with(|| (**collection).clone());
                    if let Some(unique) = changed.indexes.get_mut(at) {
                        unique.shared = Some((operation.key.as_str().to_owned(), owner.clone()));
                    }
                }
            }
        }
        let table = &self.shared.table;
        for (place, owner) in &after {
            if before.get(place) != Some(owner) {
                let row = Row::at(place).with_text("k", &**owner);
                plan.actions.push(table.putting(row)?);
            }
        }
        for place in before.keys().filter(|place| !after.contains_key(*place)) {
            plan.actions.push(table.removing(place)?);
        }
        for (name, collection) in shared {
            plan.actions
                .push(table.putting(collection.row(self.shared, name))?);
            plan.learns.push((name.clone(), Some(Arc::new(collection))));
        }
        Ok(())
    }

    /// Puts the rows of indexes that name what the batch puts, and notes those that name
    /// what it replaces.
    async fn hints(
        &self,
        collections: &Collections<'_>,
        items: &HashMap<Place, Row>,
        plan: &mut Plan<Commit>,
    ) -> Result<()> {
        let mut new = Vec::new();
        for operation in self.batch.operations() {
            let Some((collection, _)) = collections.get(&operation.collection) else {
                continue;
            };
            let (key, shared) = (operation.key.as_str(), self.shared);
            for kept in &collection.indexes {
                if let Action::Put(put) = &operation.action {
                    new.extend(hint(shared, kept, key, self.id, &put.doc)?);
                }
                let replaced = self
                    .found(collections, items, operation)
                    .filter(|_| !matches!(operation.action, Action::Check));
                if let Some(row) = replaced
                    && let Some(version) = row.version("v")?
                {
                    let doc = Doc::from_stored(row.text("d")?.to_owned());
                    let old = hint(shared, kept, key, version, &doc)?;
                    plan.hints.extend(old.map(|row| row.place()).transpose()?);
                }
            }
        }
        // A plan that met others is made again.
        let mut missing = Vec::new();
        for row in new {
            if self.hinted.lock().insert(row.place()?) {
                missing.push(row);
            }
        }
        self.shared.table.put_all(missing).await
    }

    /// Takes staged bodies over.
    async fn staged(&self, now: Timestamp, plan: &mut Plan<Commit>) -> Result<()> {
        let mut used = HashMap::new();
        for operation in self.batch.operations() {
            if let Action::Put(put) = &operation.action
                && let NewBody::Staged(staged) = &put.body
            {
                let place = bodies::lease_place(self.shared, &staged.id.to_string());
                if used.insert(place, (operation, staged)).is_some() {
                    return Err(gone(operation));
                }
            }
        }
        if used.is_empty() {
            return Ok(());
        }
        let rows = self
            .shared
            .table
            .get_many(used.keys().cloned(), &["x", "r"])
            .await?;
        for (place, (operation, staged)) in used {
            let row = rows.get(&place).ok_or_else(|| gone(operation))?;
            let record = bodies::record(&operation.collection, staged.size, staged.digest);
            if row.time("x")? <= now || row.bytes("r")? != Some(&record) {
                return Err(gone(operation));
            }
            plan.actions.push(self.shared.table.removing_there(&place)?);
        }
        Ok(())
    }

    fn row(&self, place: &Place, put: &Put, created: Timestamp, now: Timestamp) -> Result<Row> {
        let (size, digest) = put.body.measure();
        let doc = std::str::from_utf8(put.doc.as_bytes()).map_err(|_| damaged("a doc"))?;
        let mut row = Row::at(place)
            .with_bytes("v", *self.id.as_bytes())
            .with_number("c", created.as_micros())
            .with_number("m", now.as_micros())
            .with_text("d", doc);
        if let Some(digest) = digest {
            row = row
                .with_number("z", size)
                .with_bytes("h", *digest.as_bytes());
        }
        if !put.attrs.is_empty() {
            row = row.with_bytes("a", put.attrs.encode());
        }
        Ok(match &put.body {
            NewBody::None => row,
            NewBody::Bytes(bytes) => row.with_bytes("b", bytes.as_ref()),
            NewBody::Staged(staged) => row.with_text("k", staged.id.to_string()),
        })
    }
}

fn gone(operation: &Operation) -> Error {
    Error::expired(
        "the staged body is not there: its lease ended, it was used, or it belongs to another collection. \
         Stage it again",
    )
    .at(&operation.collection, Some(&operation.key))
}
