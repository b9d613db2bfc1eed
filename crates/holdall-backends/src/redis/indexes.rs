//! Unique indexes: what collections have, and how one is made while others write.
//!
//! Other indexes are not kept: they change no answer, and queries are answered by
//! reading the collection.

use std::sync::Arc;

use ::redis::Value as Answer;
use futures_util::TryStreamExt;
use hashbrown::HashMap;
use holdall_core::{CollectionName, Digest, Doc, Error, Index, Item, Result, Scan};
use parking_lot::RwLock;
use serde_json::{Value, json};

use super::error::damaged;
use super::link::{Fault, Line};
use super::script::{Call, FILL, INDEXES};
use super::{Shared, answer, pages};
use crate::declaration;

/// How often a change of indexes is tried again when others change them too.
const TRIES: usize = 16;

/// Items that are added to an index at once.
const STEP: usize = 256;

/// The unique indexes of a collection, at a state.
#[derive(Debug, Default)]
pub(super) struct Indexes {
    /// Of the state; 0 without indexes.
    pub(super) number: u64,
    pub(super) all: Vec<Unique>,
}

/// A unique index.
#[derive(Clone, Debug)]
pub(super) struct Unique {
    pub(super) id: String,
    /// Whether it binds, or is still being made.
    pub(super) ready: bool,
    pub(super) index: Index,
}

/// What is known of the indexes of collections. It may be old: a script is told
/// the number of the state, and says if there is a newer one.
#[derive(Debug, Default)]
pub(super) struct Known(RwLock<HashMap<CollectionName, Arc<Indexes>>>);

impl Known {
    pub(super) fn of(&self, collection: &CollectionName) -> Arc<Indexes> {
        self.0.read().get(collection).cloned().unwrap_or_default()
    }

    /// Learns what a script said: the name of a collection, and its indexes.
    pub(super) fn learn(&self, mut told: std::vec::IntoIter<Answer>) -> Result<()> {
        let collection = CollectionName::new(answer::text(told.next())?)?;
        match answer::bytes_or_none(told.next())? {
            None => self.0.write().remove(&collection),
            Some(text) => self
                .0
                .write()
                .insert(collection, Arc::new(Indexes::read(&text)?)),
        };
        Ok(())
    }
}

impl Indexes {
    fn read(text: &[u8]) -> Result<Self> {
        let odd = || damaged("the declaration of an index");
        let text = std::str::from_utf8(text).map_err(|_| odd())?;
        let (number, all) = text.split_once(' ').ok_or_else(odd)?;
        let all: Vec<Value> = serde_json::from_str(all).map_err(|_| odd())?;
        Ok(Self {
            number: number.parse().map_err(|_| odd())?,
            all: all
                .iter()
                .map(|value| Unique::read(value).ok_or_else(odd))
                .collect::<Result<_>>()?,
        })
    }

    fn find(&self, index: &Index) -> Option<&Unique> {
        self.all.iter().find(|unique| unique.index == *index)
    }
}

impl Unique {
    /// What it compares of a doc; `None` for one that is exempt.
    pub(super) fn value(&self, doc: &Doc) -> Result<Option<Digest>> {
        let values = self.index.unique_values(doc)?;
        Ok(values.map(|values| Digest::of(&values)))
    }

    fn write(&self) -> Value {
        let mut members = declaration::write(&self.index);
        members.insert("id".to_owned(), json!(self.id));
        members.insert("ready".to_owned(), json!(self.ready));
        Value::Object(members)
    }

    fn read(value: &Value) -> Option<Self> {
        Some(Self {
            id: value.get("id")?.as_str()?.to_owned(),
            ready: value.get("ready")?.as_bool()?,
            index: declaration::read(value)?.unique(),
        })
    }
}

/// Makes the unique indexes that are not there yet, all or none.
pub(super) async fn define(
    shared: Arc<Shared>,
    collection: CollectionName,
    indexes: Vec<Index>,
) -> Result<()> {
    let mut wanted: Vec<Index> = Vec::new();
    for index in indexes.into_iter().filter(|index| index.unique) {
        if !wanted.contains(&index) {
            wanted.push(index);
        }
    }
    if wanted.is_empty() {
        return Ok(());
    }
    let own: Vec<String> = wanted
        .iter()
        .map(|_| shared.options.env.version().to_string())
        .collect();
    let making = Making {
        shared: &shared,
        collection: &collection,
        wanted: &wanted,
    };
    for _ in 0..TRIES {
        let declared = making.declare(&own).await?;
        if declared.iter().all(|unique| unique.ready) {
            return Ok(());
        }
        let mut all = true;
        for unique in declared.iter().filter(|unique| !unique.ready) {
            all &= making.fill(unique).await?;
        }
        // Where one was taken away meanwhile, all is to do again.
        if all && making.finish(&declared).await? {
            return Ok(());
        }
    }
    Err(busy())
}

fn busy() -> Error {
    Error::unavailable(
        "the indexes of the collection change all the time, by other hands; try again",
    )
    .in_backend("redis")
}

/// Indexes that are being made.
struct Making<'a> {
    shared: &'a Arc<Shared>,
    collection: &'a CollectionName,
    wanted: &'a [Index],
}

impl Making<'_> {
    /// Adds what is not there, not ready yet. Answers all that are wanted.
    async fn declare(&self, own: &[String]) -> Result<Vec<Unique>> {
        for _ in 0..TRIES {
            let known = self.shared.indexes.of(self.collection);
            let mut all = known.all.clone();
            for (index, id) in self.wanted.iter().zip(own) {
                if known.find(index).is_none() {
                    all.push(Unique {
                        id: id.clone(),
                        ready: false,
                        index: index.clone(),
                    });
                }
            }
            // Also if nothing is added: what is known may be old.
            if self.change(&known, &all, &[]).await?.is_done() {
                let known = Indexes { number: 0, all };
                let found = self.wanted.iter().filter_map(|index| known.find(index));
                return Ok(found.cloned().collect());
            }
        }
        Err(busy())
    }

    /// Adds the items that are there. Answers whether the index is still wanted.
    async fn fill(&self, unique: &Unique) -> Result<bool> {
        let items = pages::scan(self.shared.clone(), self.collection.clone(), Scan::all());
        let mut steps = items.try_chunks(STEP);
        loop {
            let step = match steps.try_next().await {
                Ok(Some(step)) => step,
                Ok(None) => return Ok(true),
                Err(error) => return Err(error.1),
            };
            match self.add(unique, &step).await?.as_str() {
                "gone" => return Ok(false),
                // `finish` says which.
                "shared" => return Ok(true),
                _ => {}
            }
        }
    }

    async fn add(&self, unique: &Unique, items: &[Item]) -> Result<String> {
        let names = &self.shared.names;
        let [indexes] = names.all(["indexes"]);
        let [entries] = names.of(self.collection, ["entries"]);
        let mut call = Call::new(&FILL, [indexes, entries]);
        call.keys(names.of_index(self.collection, &unique.id));
        call.text(self.collection.as_str()).text(&unique.id);
        for item in items {
            if let Some(value) = unique.value(item.doc()?)? {
                call.text(item.key.as_str())
                    .arg(item.entry.version.as_bytes().as_slice())
                    .arg(value.as_bytes().to_vec());
            }
        }
        let answer = call.write(&self.shared.link, Line::Write).await;
        answer::word(answer.map_err(again)?)
    }

    /// Makes them ready, or takes those back that are not if two items share the
    /// values of one. Answers false if all is to do again.
    async fn finish(&self, declared: &[Unique]) -> Result<bool> {
        for _ in 0..TRIES {
            let known = self.shared.indexes.of(self.collection);
            let ours = |unique: &Unique| declared.iter().any(|own| own.id == unique.id);
            if known.all.iter().filter(|unique| ours(unique)).count() != declared.len() {
                // Known for sure only if the state is the newest.
                if self.change(&known, &known.all, &[]).await?.is_done() {
                    return Ok(false);
                }
                continue;
            }
            let mut all = known.all.clone();
            let mut made = Vec::new();
            for unique in all
                .iter_mut()
                .filter(|unique| ours(unique) && !unique.ready)
            {
                unique.ready = true;
                made.push(unique.clone());
            }
            match self.change(&known, &all, &made).await? {
                Change::Done => return Ok(true),
                Change::Old => {}
                Change::Shared(at, one, other) => {
                    self.take_back(&made).await?;
                    let index = made.get(at).map(|unique| &unique.index);
                    let index = index.ok_or_else(|| damaged("the answer of a script"))?;
                    return Err(index.taken(&one, &other).at(self.collection, None));
                }
            }
        }
        Err(busy())
    }

    /// Removes indexes that were not finished.
    async fn take_back(&self, made: &[Unique]) -> Result<()> {
        for _ in 0..TRIES {
            let known = self.shared.indexes.of(self.collection);
            let mut all = known.all.clone();
            all.retain(|unique| unique.ready || made.iter().all(|own| own.id != unique.id));
            if self.change(&known, &all, &[]).await?.is_done() {
                let mut unlink = ::redis::cmd("UNLINK");
                for unique in made {
                    for key in self.shared.names.of_index(self.collection, &unique.id) {
                        unlink.arg(key.as_slice());
                    }
                }
                let removed = self.shared.link.write(Line::Write, &unlink).await;
                return removed.map(drop).map_err(again);
            }
        }
        Err(busy())
    }

    /// Changes the indexes of the collection from a state that is known.
    async fn change(&self, known: &Indexes, all: &[Unique], made: &[Unique]) -> Result<Change> {
        let names = &self.shared.names;
        let mut call = Call::new(&INDEXES, names.all(["meta", "indexes"]));
        for unique in made {
            let [unique, _] = names.of_index(self.collection, &unique.id);
            call.keys([unique]);
        }
        let text = match all {
            [] => String::new(),
            all => Value::from(all.iter().map(Unique::write).collect::<Vec<_>>()).to_string(),
        };
        call.text(self.collection.as_str())
            .number(known.number)
            .arg(text.into_bytes());
        let answer = call.write(&self.shared.link, Line::Write).await;
        let (done, mut told) = answer::outcome(answer.map_err(again)?)?;
        match done.as_str() {
            "done" => {
                self.shared.indexes.learn(told)?;
                Ok(Change::Done)
            }
            "indexes" => {
                self.shared.indexes.learn(told)?;
                Ok(Change::Old)
            }
            "shared" => Ok(Change::Shared(
                answer::number::<usize>(told.next())?.saturating_sub(1),
                answer::text(told.next())?,
                answer::text(told.next())?,
            )),
            _ => Err(damaged("the answer of a script")),
        }
    }
}

/// Declaring again is always right, whatever became of a call.
fn again(fault: Fault) -> Error {
    fault.of_read()
}

/// What a change of indexes came to.
enum Change {
    Done,
    /// The state that was known is not the newest; now it is.
    Old,
    /// These two items share values of this index.
    Shared(usize, String, String),
}

impl Change {
    fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }
}
