//! Collections: in which partition their items are, and their indexes.
//!
//! A collection that is made again after it was dropped has a new partition.

use std::sync::Arc;

use async_trait::async_trait;
use hashbrown::HashMap;
use holdall_core::{
    ChangeKind, CollectionName, Digest, Doc, Error, Holds, Index, Parts, Result, Timestamp, Version,
};
use parking_lot::RwLock;
use serde_json::{Value, json};

use super::Shared;
use super::commit::{Head, Logged, Plan, Planner, commit};
use super::error::damaged;
use super::hints::hint;
use super::pages;
use super::row::{Place, Row};
use super::table::Range;
use crate::declaration;

/// Items that are added to an index at once.
const STEP: i32 = 64;

/// A collection.
#[derive(Clone, Debug)]
pub(super) struct Collection {
    /// A UUID: the partition of its items.
    pub(super) generation: String,
    pub(super) indexes: Vec<Kept>,
}

/// An index. Those of words are not kept: they change no answer.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) id: String,
    /// Whether it is whole, and binds, or is still being made.
    pub(super) ready: bool,
    /// Two items that share values, found while it was made.
    pub(super) shared: Option<(String, String)>,
    pub(super) index: Index,
}

impl Kept {
    /// What it compares of a doc if it is unique; `None` for one that is exempt.
    pub(super) fn value(&self, doc: &Doc) -> Result<Option<String>> {
        if !self.index.unique {
            return Ok(None);
        }
        let values = self.index.unique_values(doc)?;
        Ok(values.map(|values| Digest::of(&values).to_string()))
    }

    /// Where its rows are.
    fn partitions(&self, shared: &Shared) -> [String; 2] {
        [shared.values(&self.id), shared.hints(&self.id)]
    }

    fn write(&self) -> Value {
        let mut members = declaration::write(&self.index);
        members.insert("id".to_owned(), json!(self.id));
        members.insert("unique".to_owned(), json!(self.index.unique));
        members.insert("ready".to_owned(), json!(self.ready));
        if let Some(shared) = &self.shared {
            members.insert("shared".to_owned(), json!(shared));
        }
        Value::Object(members)
    }

    fn read(value: &Value) -> Option<Self> {
        let shared = value.get("shared").and_then(|shared| {
            let key = |at| Some(shared.get(at)?.as_str()?.to_owned());
            Some((key(0)?, key(1)?))
        });
        let index = declaration::read(value)?;
        let index = match value.get("unique")?.as_bool()? {
            true => index.unique(),
            false => index,
        };
        Some(Self {
            id: value.get("id")?.as_str()?.to_owned(),
            ready: value.get("ready")?.as_bool()?,
            shared,
            index,
        })
    }
}

impl Collection {
    pub(super) fn new(shared: &Shared) -> Self {
        Self {
            generation: shared.options.env.version().to_string(),
            indexes: Vec::new(),
        }
    }

    /// The row that has it.
    pub(super) fn row(&self, shared: &Shared, name: &CollectionName) -> Row {
        let indexes: Vec<_> = self.indexes.iter().map(Kept::write).collect();
        Row::at(&shared.collection_place(name))
            .with_text("g", &*self.generation)
            .with_text("x", Value::from(indexes).to_string())
    }

    pub(super) fn of(row: &Row) -> Result<Self> {
        let odd = || damaged("the catalogue of collections");
        let indexes: Vec<Value> = serde_json::from_str(row.text("x")?).map_err(|_| odd())?;
        Ok(Self {
            generation: row.text("g")?.to_owned(),
            indexes: indexes
                .iter()
                .map(|value| Kept::read(value).ok_or_else(odd))
                .collect::<Result<_>>()?,
        })
    }
}

impl Shared {
    pub(super) fn collection_place(&self, name: &CollectionName) -> Place {
        Place::new(self.partition("collections"), name.as_str())
    }

    /// The partition of the items of a generation.
    pub(super) fn items(&self, generation: &str) -> String {
        self.partition(&format!("items/{generation}"))
    }

    /// The partition of the values of a unique index.
    pub(super) fn values(&self, index: &str) -> String {
        self.partition(&format!("unique/{index}"))
    }
}

/// Reads a collection.
pub(super) async fn read(
    shared: &Shared,
    name: &CollectionName,
) -> Result<Option<Arc<Collection>>> {
    let row = shared.table.get(&shared.collection_place(name)).await?;
    let read = row.map(|row| Collection::of(&row)).transpose()?;
    let read = read.map(Arc::new);
    shared.known.learn(name, read.as_ref());
    Ok(read)
}

/// The generations that were seen last. They may be old: readers look whether they
/// still are what the catalogue says.
#[derive(Debug, Default)]
pub(super) struct Known(RwLock<HashMap<CollectionName, String>>);

impl Known {
    pub(super) fn generation(&self, name: &CollectionName) -> Option<String> {
        self.0.read().get(name).cloned()
    }

    pub(super) fn learn(&self, name: &CollectionName, collection: Option<&Arc<Collection>>) {
        match collection {
            Some(collection) => {
                let mut known = self.0.write();
                known.insert(name.clone(), collection.generation.clone());
            }
            None => drop(self.0.write().remove(name)),
        }
    }
}

/// The collections that have items.
pub(super) async fn filled(shared: &Shared) -> Result<Vec<CollectionName>> {
    let partition = shared.partition("collections");
    let mut range = Range {
        limit: 256,
        columns: &["g"],
        ..Range::default()
    };
    let mut names = Vec::new();
    loop {
        let (rows, more) = shared.table.query(&partition, &range).await?;
        for row in &rows {
            if !is_empty(shared, row.text("g")?).await? {
                names.push(CollectionName::new(row.text("s")?)?);
            }
            range.bound = Some((">", row.text("s")?.to_owned()));
        }
        if !more {
            return Ok(names);
        }
    }
}

async fn is_empty(shared: &Shared, generation: &str) -> Result<bool> {
    let range = Range {
        limit: 1,
        columns: &["v"],
        ..Range::default()
    };
    let (rows, _) = shared
        .table
        .query(&shared.items(generation), &range)
        .await?;
    Ok(rows.is_empty())
}

/// Drops a collection.
pub(super) struct Drop<'a> {
    pub(super) shared: &'a Shared,
    pub(super) name: &'a CollectionName,
    pub(super) id: Version,
}

#[async_trait]
impl Planner for Drop<'_> {
    type Answer = ();

    async fn plan(&self, head: &mut Head, _: Timestamp) -> Result<Result<Plan<()>, ()>> {
        let Some(collection) = head.collection(self.shared, self.name).await? else {
            // Others may have made it since.
            return match read(self.shared, self.name).await? {
                None => Ok(Err(())),
                Some(_) => Err(Error::unavailable(
                    "the collection was just made; try again",
                )),
            };
        };
        let mut plan = Plan::new(self.id, ());
        let place = self.shared.collection_place(self.name);
        plan.actions.push(self.shared.table.removing(&place)?);
        if !is_empty(self.shared, &collection.generation).await? {
            plan.changes.push(Logged {
                collection: self.name.clone(),
                key: None,
                kind: ChangeKind::Dropped,
                previous: None,
            });
        }
        plan.partitions
            .push(self.shared.items(&collection.generation));
        for kept in &collection.indexes {
            plan.partitions.extend(kept.partitions(self.shared));
        }
        plan.learns.push((self.name.clone(), None));
        Ok(Ok(plan))
    }
}

/// Makes the indexes that are not there yet, all or none: first they are declared, and
/// batches keep them; then the items there are added; then they bind, and are asked.
pub(super) async fn define(
    shared: Arc<Shared>,
    name: CollectionName,
    indexes: Vec<Index>,
) -> Result<()> {
    let mut wanted: Vec<Index> = Vec::new();
    for index in indexes
        .into_iter()
        .filter(|index| index.holds != Holds::Words)
    {
        if !wanted.contains(&index) {
            wanted.push(index);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    // Again where the collection was dropped meanwhile.
    for _ in 0..16 {
        let step = |step| Making {
            shared: &shared,
            name: &name,
            wanted: &wanted,
            step,
        };
        let declared = commit(&shared, &step(Step::Declare)).await.map_err(again)?;
        let mut there = true;
        for kept in declared.indexes.iter().filter(|kept| !kept.ready) {
            let mut after = Some(String::new());
            while let Some(key) = after {
                let fill = step(Step::Fill(kept.id.clone(), key));
                let filled = commit(&shared, &fill).await.map_err(again)?;
                there &= filled.there;
                after = filled.after.filter(|_| there);
            }
        }
        if !there {
            continue;
        }
        let made = commit(&shared, &step(Step::Finish)).await.map_err(again)?;
        if let Some((index, one, other)) = made.conflict {
            return Err(index.taken(&one, &other).at(&name, None));
        }
        if made.there {
            return Ok(());
        }
    }
    Err(Error::unavailable(
        "the collection is dropped all the time, by other hands; try again",
    ))
}

/// Declaring again is always right, whatever became of a call.
fn again(error: Error) -> Error {
    match error.retry() {
        holdall_core::Retry::Unknown => error.with_retry(holdall_core::Retry::Yes),
        _ => error,
    }
}

/// A step of making indexes.
struct Making<'a> {
    shared: &'a Shared,
    name: &'a CollectionName,
    wanted: &'a [Index],
    step: Step,
}

enum Step {
    Declare,
    /// Adds items behind a key to an index.
    Fill(String, String),
    Finish,
}

/// What a step came to.
#[derive(Default)]
struct Made {
    /// Whether what was declared is still there.
    there: bool,
    indexes: Vec<Kept>,
    /// Where to go on.
    after: Option<String>,
    /// An index, and two items that share values of it.
    conflict: Option<(Index, String, String)>,
}

#[async_trait]
impl Planner for Making<'_> {
    type Answer = Made;

    async fn plan(&self, head: &mut Head, _: Timestamp) -> Result<Result<Plan<Made>, Made>> {
        let found = head.collection(self.shared, self.name).await?;
        let mut plan = Plan::new(self.shared.options.env.version(), Made::default());
        match &self.step {
            Step::Declare => self.declare(found, &mut plan)?,
            Step::Fill(id, after) => {
                let Some(collection) = found else {
                    return Ok(Err(Made::default()));
                };
                self.fill(&collection, id, after, &mut plan).await?;
            }
            Step::Finish => {
                let Some(collection) = found else {
                    return Ok(Err(Made::default()));
                };
                self.finish(&collection, &mut plan)?;
            }
        }
        // What is known may be old: even where nothing is to be done, the number is
        // taken, so that it was so.
        Ok(Ok(plan))
    }
}

impl Making<'_> {
    fn change(&self, collection: Collection, plan: &mut Plan<Made>) -> Result<()> {
        let row = collection.row(self.shared, self.name);
        plan.actions.push(self.shared.table.putting(row)?);
        plan.learns
            .push((self.name.clone(), Some(Arc::new(collection))));
        Ok(())
    }

    fn declare(&self, found: Option<Arc<Collection>>, plan: &mut Plan<Made>) -> Result<()> {
        let mut collection = match found {
            Some(found) => (*found).clone(),
            None => Collection::new(self.shared),
        };
        for index in self.wanted {
            if !collection.indexes.iter().any(|own| own.index == *index) {
                collection.indexes.push(Kept {
                    id: self.shared.options.env.version().to_string(),
                    ready: false,
                    shared: None,
                    index: index.clone(),
                });
            }
        }
        let wanted = collection.indexes.iter();
        let wanted = wanted.filter(|kept| self.wanted.contains(&kept.index));
        plan.answer = Made {
            there: true,
            indexes: wanted.cloned().collect(),
            ..Made::default()
        };
        self.change(collection, plan)
    }

    async fn fill(
        &self,
        collection: &Collection,
        id: &str,
        after: &str,
        plan: &mut Plan<Made>,
    ) -> Result<()> {
        let mut collection = collection.clone();
        let Some(at) = collection.indexes.iter().position(|kept| kept.id == id) else {
            return Ok(());
        };
        let range = Range {
            bound: Some((">", after.to_owned())).filter(|(_, after)| !after.is_empty()),
            limit: STEP,
            columns: pages::columns(Parts::DOC),
            ..Range::default()
        };
        let partition = self.shared.items(&collection.generation);
        let (rows, more) = self.shared.table.query(&partition, &range).await?;
        plan.answer.there = true;
        let Some(kept) = collection.indexes.get_mut(at) else {
            return Ok(());
        };
        let mut new: HashMap<Place, String> = HashMap::new();
        let mut hints = Vec::new();
        for mut row in rows {
            let key = row.text("s")?.to_owned();
            if more {
                plan.answer.after = Some(key.clone());
            }
            let version = row.version("v")?.ok_or_else(|| damaged("an item"))?;
            let doc = Doc::from_stored(row.take_text("d")?);
            hints.extend(hint(self.shared, kept, &key, version, &doc)?);
            if let Some(value) = kept.value(&doc)? {
                let place = Place::new(self.shared.values(id), value);
                if let Some(other) = new.insert(place, key.clone()) {
                    kept.shared = Some((key, other));
                }
            }
        }
        self.shared.table.put_all(hints).await?;
        let owners = self
            .shared
            .table
            .get_many(new.keys().cloned(), &["k"])
            .await?;
        for (place, key) in new {
            match owners.get(&place).map(|row| row.text("k")).transpose()? {
                Some(owner) if owner == key => {}
                Some(owner) => kept.shared = Some((key, owner.to_owned())),
                None => {
                    let row = Row::at(&place).with_text("k", key);
                    plan.actions.push(self.shared.table.putting(row)?);
                }
            }
        }
        if kept.shared.is_some() {
            plan.answer.after = None;
            plan.actions.clear();
            return self.change(collection, plan);
        }
        Ok(())
    }

    fn finish(&self, found: &Collection, plan: &mut Plan<Made>) -> Result<()> {
        let mut collection = found.clone();
        let all = |index: &Index| collection.indexes.iter().any(|own| own.index == *index);
        if !self.wanted.iter().all(all) {
            return Ok(());
        }
        plan.answer.there = true;
        let ours = |kept: &Kept| !kept.ready && self.wanted.contains(&kept.index);
        let mut making = collection.indexes.iter().filter(|kept| ours(kept));
        let conflict = making.find_map(|kept| {
            let (one, other) = kept.shared.clone()?;
            Some((kept.index.clone(), one, other))
        });
        if conflict.is_some() {
            let left = collection.indexes.iter().filter(|kept| ours(kept));
            plan.partitions = left.flat_map(|kept| kept.partitions(self.shared)).collect();
            collection.indexes.retain(|kept| !ours(kept));
        }
        plan.answer.conflict = conflict;
        for kept in &mut collection.indexes {
            kept.ready |= self.wanted.contains(&kept.index);
        }
        self.change(collection, plan)
    }
}
