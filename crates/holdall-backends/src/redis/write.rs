//! Writes batches.

use std::sync::Arc;

use hashbrown::HashMap;
use holdall_core::{
    Action, Batch, CollectionName, Commit, Condition, Error, Key, NewBody, Operation, Result,
    Timestamp, Version, Written,
};

use super::bodies::{self, INLINE};
use super::indexes::Indexes;
use super::link::Line;
use super::script::{Call, WRITE};
use super::{Shared, answer, entry, error, log};

/// How often a batch is sent again because the indexes of a collection changed.
const TRIES: usize = 16;

/// Writes a batch that is valid.
pub(super) async fn write(shared: &Arc<Shared>, mut batch: Batch, id: Version) -> Result<Written> {
    id.check_batch_id(shared.options.env.now())?;
    let staged = stage_large(shared, &mut batch).await?;
    let written = send(shared, &batch, id).await;
    if let Err(error) = &written
        && error.retry() != holdall_core::Retry::Unknown
    {
        // Else they would lie there until their lease is over.
        bodies::discard(shared, &staged, None).await.ok();
    }
    written
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

async fn send(shared: &Arc<Shared>, batch: &Batch, id: Version) -> Result<Written> {
    for _ in 0..TRIES {
        let collections = Collections::of(shared, batch);
        let now = shared.options.env.now();
        let call = call(shared, batch, id, now, &collections)?;
        let answer = call.write(&shared.link, Line::Write).await;
        let answer = answer.map_err(|fault| fault.of_write())?;
        let (done, mut told) = answer::outcome(answer)?;
        let operation = |number: usize| {
            let at = number.checked_sub(1);
            at.and_then(|at| batch.operations().get(at))
                .ok_or_else(|| error::damaged("the answer of a script"))
        };
        return Err(match done.as_str() {
            "done" => {
                shared.bell.ring();
                let created = told.map(|created| {
                    let bytes = answer::bytes(Some(created))?;
                    let bytes = <[u8; 8]>::try_from(bytes.as_slice());
                    bytes
                        .map(|bytes| Timestamp::from_micros(i64::from_be_bytes(bytes)))
                        .map_err(|_| error::damaged("a stored time"))
                });
                let commit = Commit {
                    at: now,
                    created: created.collect::<Result<_>>()?,
                };
                return Ok(Written {
                    id,
                    entries: batch.entries(id, &commit),
                });
            }
            "indexes" => {
                shared.indexes.learn(told)?;
                continue;
            }
            "aborted" => Error::expired(
                "the batch was given up by `resolve` before it arrived; make a new one",
            ),
            "used" => {
                Error::conflict("a batch with this id was committed already; an id is used once")
            }
            "condition" => {
                let operation = operation(answer::number(told.next())?)?;
                let found = match answer::bytes(told.next())?.as_slice() {
                    [] => None,
                    found => Some(Version::from_slice(found)?),
                };
                match operation.condition.check(operation, found) {
                    Err(error) => error,
                    Ok(()) => error::damaged("the answer of a script"),
                }
            }
            "taken" => {
                let operation = operation(answer::number(told.next())?)?;
                let number: usize = answer::number(told.next())?;
                let other = answer::text(told.next())?;
                collections.taken(operation, number, &other)?
            }
            "staged" => {
                let operation = operation(answer::number(told.next())?)?;
                Error::expired(
                    "the staged body is not there: its lease ended, it was used, or it belongs to another collection. \
                     Stage it again",
                )
                .at(&operation.collection, Some(&operation.key))
            }
            _ => error::damaged("the answer of a script"),
        });
    }
    Err(Error::unavailable(
        "the indexes of the collections change all the time, by other hands; try again",
    ))
}

/// The collections of a batch, with what is known of their indexes.
struct Collections<'a> {
    all: Vec<(&'a CollectionName, Arc<Indexes>)>,
    numbers: HashMap<&'a CollectionName, usize>,
}

impl<'a> Collections<'a> {
    fn of(shared: &Shared, batch: &'a Batch) -> Self {
        let (mut all, mut numbers) = (Vec::new(), HashMap::new());
        for operation in batch.operations() {
            let name = &operation.collection;
            numbers.entry(name).or_insert_with(|| {
                all.push((name, shared.indexes.of(name)));
                all.len()
            });
        }
        Self { all, numbers }
    }

    fn indexes(&self, collection: &CollectionName) -> (usize, Option<&Indexes>) {
        let number = self.numbers.get(collection).copied().unwrap_or_default();
        let indexes = number.checked_sub(1).and_then(|at| self.all.get(at));
        (number, indexes.map(|(_, indexes)| indexes.as_ref()))
    }

    /// The error of a unique index, naming both items.
    fn taken(&self, operation: &Operation, number: usize, other: &str) -> Result<Error> {
        let (_, indexes) = self.indexes(&operation.collection);
        let unique = indexes.and_then(|indexes| indexes.all.get(number.checked_sub(1)?));
        let unique = unique.ok_or_else(|| error::damaged("the answer of a script"))?;
        Ok(unique
            .index
            .taken(operation.key.as_str(), other)
            .at(&operation.collection, Some(&operation.key)))
    }
}

fn call<'a>(
    shared: &Shared,
    batch: &'a Batch,
    id: Version,
    now: Timestamp,
    collections: &Collections<'a>,
) -> Result<Call<'a>> {
    let names = &shared.names;
    let mut call = Call::new(
        &WRITE,
        names.all([
            "meta", "log", "batches", "aborted", "names", "indexes", "leases", "staged", "small",
            "dropped",
        ]),
    );
    call.number(now.as_micros())
        .arg(now.as_micros().to_be_bytes().to_vec())
        .arg(id.as_bytes().to_vec())
        .number(collections.all.len());
    for (name, indexes) in &collections.all {
        call.keys(names.of(name, ["entries", "docs", "bodies", "keys", "large"]));
        let mut ready = String::new();
        for unique in &indexes.all {
            call.keys(names.of_index(name, &unique.id));
            ready.push(if unique.ready { '1' } else { '0' });
        }
        call.text(name.as_str())
            .number(indexes.number)
            .arg(ready.into_bytes());
    }
    for operation in batch.operations() {
        add(&mut call, operation, now, collections)?;
    }
    Ok(call)
}

/// The arguments of an operation.
fn add<'a>(
    call: &mut Call<'a>,
    operation: &'a Operation,
    now: Timestamp,
    collections: &Collections<'a>,
) -> Result<()> {
    let (number, indexes) = collections.indexes(&operation.collection);
    call.number(number).text(match &operation.action {
        Action::Put(_) => "put",
        Action::Delete => "delete",
        Action::Check => "check",
    });
    match &operation.condition {
        Condition::Any => call.text("any"),
        Condition::Absent => call.text("absent"),
        Condition::Present => call.text("present"),
        Condition::Version(version) => call.arg(version.as_bytes().as_slice()),
    };
    call.text(operation.key.as_str())
        .arg(log::name(&operation.collection, Some(&operation.key)));
    let Action::Put(put) = &operation.action else {
        for _ in 0..6 {
            call.text("");
        }
        return Ok(());
    };
    let (size, digest) = put.body.measure();
    let large = match &put.body {
        NewBody::Staged(staged) if staged.size > INLINE as u64 => Some(staged.id),
        _ => None,
    };
    call.arg(entry::tail(now, size, digest, large, &put.attrs))
        .arg(put.doc.as_bytes().as_ref());
    match &put.body {
        NewBody::None => call.text("none").text("").text(""),
        NewBody::Bytes(bytes) => call.text("bytes").arg(bytes.as_ref()).text(""),
        NewBody::Staged(staged) => call
            .text(if large.is_some() { "large" } else { "small" })
            .arg(staged.id.as_bytes().as_slice())
            .arg(bodies::record(
                &operation.collection,
                staged.size,
                staged.digest,
            )),
    };
    let mut values = Vec::new();
    for unique in indexes.iter().flat_map(|indexes| &indexes.all) {
        match unique.value(&put.doc)? {
            Some(value) => {
                values.push(b'1');
                values.extend_from_slice(value.as_bytes());
            }
            None => values.extend_from_slice(&[b'0'; 33]),
        }
    }
    call.arg(values);
    Ok(())
}

/// Drops a collection.
pub(super) async fn drop_collection(
    shared: &Arc<Shared>,
    collection: &CollectionName,
) -> Result<()> {
    let id = shared.options.env.version();
    for _ in 0..TRIES {
        let names = &shared.names;
        let known = shared.indexes.of(collection);
        let mut call = Call::new(
            &super::script::DROP,
            names.all(["meta", "log", "batches", "names", "indexes", "dropped"]),
        );
        call.keys([names.with_id("gone", id.as_bytes())]);
        call.keys(names.of(collection, ["large", "keys", "entries", "docs", "bodies"]));
        for unique in &known.all {
            call.keys(names.of_index(collection, &unique.id));
        }
        call.number(shared.options.env.now().as_micros())
            .arg(id.as_bytes().as_slice())
            .text(collection.as_str())
            .number(known.number)
            .arg(log::name(collection, None::<&Key>));
        let answer = call.write(&shared.link, Line::Write).await;
        let answer = answer.map_err(|fault| fault.of_write().for_batch(id))?;
        let (done, told) = answer::outcome(answer)?;
        if done == "indexes" {
            shared.indexes.learn(told)?;
            continue;
        }
        shared.bell.ring();
        return Ok(());
    }
    Err(Error::unavailable(
        "the indexes of the collection change all the time, by other hands; try again",
    ))
}
