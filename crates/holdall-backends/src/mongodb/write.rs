//! Writes a batch: what is done before, the attempts, and what became of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hashbrown::HashMap;
use holdall_core::{
    Action, Batch, CollectionName, Digest, Error, NewBody, Operation, Put, Result, Retry, Staged,
    Value, Version, Written,
};
use mongodb::bson::{Document, doc};
use tokio::time::Instant;

use super::catalogue::{self, Layout};
use super::connect::bytes as generic;
use super::documents::unique_digest;
use super::error::Failure;
use super::log::{self, Recorded};
use super::names::{self, OWN};
use super::{Shared, bodies, single, transaction, value};

/// The longest wait between two attempts.
const LONGEST: Duration = Duration::from_millis(200);

/// Waits between attempts, longer each time, until there is no time left.
pub(super) struct Pause<'a> {
    shared: &'a Shared,
    until: Instant,
    next: Duration,
}

impl<'a> Pause<'a> {
    pub(super) fn new(shared: &'a Shared) -> Self {
        let until = Instant::now() + shared.options.timeout;
        Self {
            shared,
            until,
            next: Duration::from_millis(2),
        }
    }

    /// Waits; fails if there is no time left.
    pub(super) async fn wait(&mut self, why: Error) -> Result<()> {
        if Instant::now() + self.next >= self.until {
            return Err(self.over().because(why));
        }
        // Some of it by chance, so that those who met do not meet again.
        let micros = u64::try_from(self.next.as_micros()).unwrap_or(u64::MAX);
        let part = self.shared.options.env.below(micros);
        tokio::time::sleep(Duration::from_micros(micros / 2 + part)).await;
        self.next = (self.next * 2).min(LONGEST);
        Ok(())
    }

    /// The error when there is no time left.
    pub(super) fn over(&self) -> Error {
        Error::timeout(format!(
            "nothing was written within {:?}, as other writes of the same items, or the server itself, were in the way; try again",
            self.shared.options.timeout
        ))
        .in_backend("mongodb")
    }

    pub(super) fn until(&self) -> Instant {
        self.until
    }

    pub(super) fn is_over(&self) -> bool {
        Instant::now() >= self.until
    }
}

/// What a put puts as its body.
#[derive(Clone, Debug)]
pub(super) enum Ready {
    None,
    Inline(Bytes),
    /// A staged body, which stays in its file.
    File(Staged),
    /// A staged body that is small, so that its bytes move to the item.
    Small(Staged, Bytes),
}

/// A batch, with what can be done before it is written.
pub(super) struct Prepared {
    pub(super) batch: Batch,
    pub(super) id: Version,
    pub(super) collections: Vec<CollectionName>,
    /// The parsed doc of each operation.
    pub(super) docs: Vec<Value>,
    pub(super) bodies: Vec<Ready>,
    /// Size and digest of the body of each operation.
    pub(super) measured: Vec<(u64, Option<Digest>)>,
    /// Bodies that were taken in for this batch alone.
    own: Vec<Version>,
}

impl Prepared {
    async fn new(shared: &Arc<Shared>, batch: Batch, id: Version) -> Result<Self, Failure> {
        let mut prepared = Self {
            id,
            collections: Vec::new(),
            docs: Vec::new(),
            bodies: Vec::new(),
            measured: Vec::new(),
            own: Vec::new(),
            batch: Batch::new(),
        };
        for operation in batch.operations() {
            if !prepared.collections.contains(&operation.collection) {
                prepared.collections.push(operation.collection.clone());
            }
            let Action::Put(put) = &operation.action else {
                prepared.docs.push(Value::Null);
                prepared.bodies.push(Ready::None);
                prepared.measured.push((0, None));
                continue;
            };
            prepared.docs.push(put.doc.value()?);
            prepared.measured.push(put.body.measure());
            let ready = match prepared.body(shared, operation, put).await {
                Ok(ready) => ready,
                Err(error) => {
                    prepared.forget(shared).await;
                    return Err(error.at(&operation.collection, Some(&operation.key)).into());
                }
            };
            prepared.bodies.push(ready);
        }
        for collection in &prepared.collections {
            catalogue::ensure(shared, collection).await?;
        }
        prepared.batch = batch;
        Ok(prepared)
    }

    async fn body(
        &mut self,
        shared: &Arc<Shared>,
        operation: &Operation,
        put: &Put,
    ) -> Result<Ready> {
        // A doc of many short values takes up to nine times its text.
        let doc = put.doc.as_bytes().len() * 9;
        let room = (14 * 1024 * 1024_usize).saturating_sub(doc);
        let inline = usize::try_from(shared.options.inline)
            .unwrap_or(0)
            .min(room);
        Ok(match &put.body {
            NewBody::None => Ready::None,
            NewBody::Bytes(bytes) if bytes.len() <= inline => Ready::Inline(bytes.clone()),
            NewBody::Bytes(bytes) => {
                let staged = bodies::keep(shared, &operation.collection, bytes).await?;
                self.own.push(staged.id);
                Ready::File(staged)
            }
            NewBody::Staged(staged) if staged.size <= inline as u64 => {
                // One that is not there is refused when it is to be used.
                let bytes = bodies::small(shared, staged).await?;
                let same = bytes.filter(|bytes| Digest::of(bytes) == staged.digest);
                same.map_or_else(
                    || Ready::File(staged.clone()),
                    |bytes| Ready::Small(staged.clone(), bytes),
                )
            }
            NewBody::Staged(staged) => Ready::File(staged.clone()),
        })
    }

    /// Removes what was taken in for a batch that is not written.
    async fn forget(&self, shared: &Shared) {
        for id in &self.own {
            // If it fails, the lease ends by itself.
            let _removed = bodies::remove(shared, *id).await;
        }
    }

    /// The operations on one collection, with their numbers.
    pub(super) fn of<'a>(
        &'a self,
        collection: &'a CollectionName,
    ) -> impl Iterator<Item = (usize, &'a Operation)> + 'a {
        let all = self.batch.operations().iter().enumerate();
        all.filter(move |(_, operation)| operation.collection == *collection)
    }
}

/// Why an attempt was not committed.
pub(super) enum Stop {
    Failure(Failure),
    /// The id of the batch is recorded already.
    Recorded,
    /// A unique value of this collection is taken.
    Taken(CollectionName, Layout),
}

impl<T: Into<Failure>> From<T> for Stop {
    fn from(failure: T) -> Self {
        Self::Failure(failure.into())
    }
}

/// Writes a batch that was checked.
pub(super) async fn write(shared: &Arc<Shared>, batch: Batch, id: Version) -> Result<Written> {
    id.check_batch_id(shared.options.env.now())?;
    let mut pause = Pause::new(shared);
    let prepared = loop {
        match Prepared::new(shared, batch.clone(), id).await {
            Ok(prepared) => break prepared,
            Err(Failure::Again(error)) => pause.wait(error).await?,
            Err(other) => {
                let error = other.into_error();
                // Nothing of the batch itself was written yet.
                return Err(match error.retry() {
                    Retry::Unknown => error.with_retry(Retry::Yes),
                    Retry::No | Retry::Yes => error,
                });
            }
        }
    };
    let written = match shared.transactions {
        true => attempts(shared, &prepared, &mut pause).await,
        false => single::write(shared, &prepared, &mut pause).await,
    };
    if let Err(error) = &written
        && error.retry() != Retry::Unknown
    {
        prepared.forget(shared).await;
    }
    written
}

async fn attempts(
    shared: &Arc<Shared>,
    prepared: &Prepared,
    pause: &mut Pause<'_>,
) -> Result<Written> {
    // Whether an earlier attempt may have been committed.
    let mut doubt = false;
    let mut look = !transaction::is_new(shared, prepared);
    loop {
        let why = match transaction::attempt(shared, prepared, pause, look).await {
            Ok(written) => return Ok(written),
            // Something was there, so it is looked at.
            Err(Stop::Taken(..)) if !look => {
                look = true;
                continue;
            }
            Err(Stop::Recorded) => match log::find(shared, prepared.id).await {
                // Its record may be on its way to the majority.
                Ok(Recorded::Nothing) => Error::unavailable("the batch is being resolved"),
                Ok(_) | Err(_) => {
                    let taken = log::refusal(&Recorded::Nothing, prepared.id);
                    return settle(shared, prepared, doubt, taken).await;
                }
            },
            Err(Stop::Taken(collection, layout)) => {
                match owner(shared, prepared, &collection, &layout).await {
                    // It is free again, or it was the key of an item that came in between.
                    Ok(None) => Error::conflict("another write took a value, and gave it back"),
                    Ok(Some(error)) | Err(error) => {
                        return settle(shared, prepared, doubt, error).await;
                    }
                }
            }
            Err(Stop::Failure(Failure::Unknown(error))) => {
                doubt = true;
                error
            }
            Err(Stop::Failure(Failure::Again(error))) => error,
            Err(Stop::Failure(other)) => {
                return settle(shared, prepared, doubt, other.into_error()).await;
            }
        };
        if let Err(error) = pause.wait(why).await {
            return match doubt {
                true => settle(shared, prepared, doubt, error).await,
                false => Err(error),
            };
        }
    }
}

/// The last word on a batch that was refused: what is recorded of its id says more than
/// what else is wrong, and may be that an earlier attempt was committed.
async fn settle(
    shared: &Shared,
    prepared: &Prepared,
    doubt: bool,
    error: Error,
) -> Result<Written> {
    let id = prepared.id;
    match log::find(shared, id).await {
        Ok(Recorded::Committed(commit)) if doubt => Ok(log::written(&prepared.batch, id, &commit)),
        Ok(recorded @ (Recorded::Committed(_) | Recorded::Aborted)) => {
            Err(log::refusal(&recorded, id))
        }
        Ok(Recorded::Nothing) | Err(_) if doubt => {
            Err(error.with_retry(Retry::Unknown).for_batch(id))
        }
        Ok(Recorded::Nothing) | Err(_) => Err(error),
    }
}

/// The error of a unique index, naming both items; `None` if nobody has the values
/// any more.
pub(super) async fn owner(
    shared: &Shared,
    prepared: &Prepared,
    collection: &CollectionName,
    layout: &Layout,
) -> Result<Option<Error>> {
    let touched: Vec<&str> = prepared
        .of(collection)
        .filter(|(_, operation)| !matches!(operation.action, Action::Check))
        .map(|(_, operation)| operation.key.as_str())
        .collect();
    let items = shared
        .database
        .collection::<Document>(&names::table(collection));
    for declared in layout
        .indexes
        .iter()
        .filter(|declared| declared.index.unique)
    {
        let field = format!("{OWN}.unique.{}", declared.id);
        for (at, operation) in prepared.of(collection) {
            let doc = prepared
                .docs
                .get(at)
                .filter(|_| matches!(operation.action, Action::Put(_)));
            let Some(digest) = doc.and_then(|doc| unique_digest(declared, doc)) else {
                continue;
            };
            let find = items
                .find_one(
                    doc! { &field: generic(digest.as_bytes()), "_id": { "$nin": touched.clone() } },
                )
                .projection(doc! { "_id": 1 });
            if let Some(other) = shared.read(find).await? {
                let other = other
                    .get_str("_id")
                    .map_err(|_| value::foreign("its _id is no text"))?;
                let error = declared.index.taken(operation.key.as_str(), other);
                return Ok(Some(error.at(collection, Some(&operation.key))));
            }
        }
    }
    Ok(None)
}

/// Refuses a batch whose own puts share values of a unique index.
pub(super) fn check_own(
    prepared: &Prepared,
    collection: &CollectionName,
    layout: &Layout,
) -> Result<()> {
    for declared in layout
        .indexes
        .iter()
        .filter(|declared| declared.index.unique)
    {
        let mut seen: HashMap<[u8; 32], &Operation> = HashMap::new();
        for (at, operation) in prepared.of(collection) {
            let doc = prepared
                .docs
                .get(at)
                .filter(|_| matches!(operation.action, Action::Put(_)));
            let Some(digest) = doc.and_then(|doc| unique_digest(declared, doc)) else {
                continue;
            };
            if let Some(other) = seen.insert(*digest.as_bytes(), operation) {
                let error = declared
                    .index
                    .taken(operation.key.as_str(), other.key.as_str());
                return Err(error.at(collection, Some(&operation.key)));
            }
        }
    }
    Ok(())
}
