//! Writes a batch of one item where there are no transactions.
//!
//! A document is replaced only if it is still of the version that was looked at. A
//! file is marked as moving before and settled after, so that whatever breaks off in between,
//! the sweep finds out from the item itself whether the file is its body.

use std::sync::Arc;

use holdall_core::{
    Action, CollectionName, Entry, Error, ErrorKind, Operation, Parts, Put, Result, Retry, Staged,
    Value, Version, Written,
};
use mongodb::Collection;
use mongodb::bson::{Document, RawDocumentBuf, doc};

use super::catalogue::{self, Layout};
use super::connect::binary;
use super::documents::{self, Found, Kept, New};
use super::error::Failure;
use super::names::{self, FILES, OWN};
use super::write::{Pause, Prepared, Ready, owner};
use super::{Shared, bodies};

/// Writes a batch, of which [`Batch::validate`](holdall_core::Batch::validate) has seen that it has
/// one operation.
pub(super) async fn write(
    shared: &Arc<Shared>,
    prepared: &Prepared,
    pause: &mut Pause<'_>,
) -> Result<Written> {
    let Some(operation) = prepared.batch.operations().first() else {
        return Err(Error::invalid("the batch has no operations"));
    };
    let single = Single {
        shared,
        items: shared
            .database
            .collection(&names::table(&operation.collection)),
        prepared,
        operation,
    };
    loop {
        let turn = shared.turn().await?;
        match single.attempt().await {
            Ok(entry) => {
                return Ok(Written {
                    id: prepared.id,
                    entries: vec![entry],
                });
            }
            Err(Failure::Again(error)) => {
                drop(turn);
                pause.wait(error).await?;
            }
            Err(other) => return Err(other.into_error()),
        }
    }
}

struct Single<'a> {
    shared: &'a Arc<Shared>,
    items: Collection<RawDocumentBuf>,
    prepared: &'a Prepared,
    operation: &'a Operation,
}

impl Single<'_> {
    fn collection(&self) -> &CollectionName {
        &self.operation.collection
    }

    async fn attempt(&self) -> Result<Option<Entry>, Failure> {
        let layout = catalogue::layout(self.shared, self.collection()).await?;
        let find = self
            .items
            .find_one(doc! { "_id": self.operation.key.as_str() });
        let there = self
            .shared
            .call(find.projection(Found::projection()))
            .await?;
        let there = there
            .map(|document| Found::read(&document))
            .transpose()?
            .map(|(_, there)| there);
        self.operation
            .condition
            .check(self.operation, there.as_ref().map(|there| there.version))?;
        match &self.operation.action {
            Action::Check => Ok(None),
            Action::Delete => self.delete(there).await.map(|()| None),
            Action::Put(put) => self.put(put, there, &layout).await.map(Some),
        }
    }

    /// The document, if it is still what was looked at.
    fn same(&self, there: &Found) -> Document {
        doc! { "_id": self.operation.key.as_str(), format!("{OWN}.version"): binary(there.version) }
    }

    async fn delete(&self, there: Option<Found>) -> Result<(), Failure> {
        let Some(there) = there else { return Ok(()) };
        self.moving(there.file).await?;
        let deleted = self
            .written(self.items.delete_one(self.same(&there)))
            .await?;
        if deleted.deleted_count == 0 {
            return Err(self.overtaken());
        }
        self.settle(there.file, "metadata.dropped").await;
        Ok(())
    }

    async fn put(
        &self,
        put: &Put,
        there: Option<Found>,
        layout: &Layout,
    ) -> Result<Entry, Failure> {
        let ready = self.prepared.bodies.first().cloned().unwrap_or(Ready::None);
        let (kept, staged) = match ready {
            Ready::None => (Kept::None, None),
            Ready::Inline(bytes) => (Kept::Inline(bytes), None),
            Ready::File(staged) => (Kept::File(staged.id), Some(staged)),
            Ready::Small(staged, bytes) => (Kept::Inline(bytes), Some(staged)),
        };
        let now = self.shared.options.env.now();
        let (size, digest) = self.prepared.measured.first().copied().unwrap_or_default();
        let entry = Entry {
            version: self.prepared.id,
            created: there.as_ref().map_or(now, |there| there.created),
            modified: now,
            size,
            digest,
        };
        let new = New {
            key: &self.operation.key,
            entry,
            attrs: &put.attrs,
            doc: self.prepared.docs.first().unwrap_or(&Value::Null),
            body: &kept,
        };
        let document = documents::document(&new, &layout.indexes)
            .map_err(|error| error.at(self.collection(), Some(&self.operation.key)))?;
        if let Some(staged) = &staged {
            self.claim(staged).await?;
        }
        let old = there.as_ref().and_then(|there| there.file);
        let put = match self.moving(old).await {
            Ok(()) => self.replace(document, there).await,
            Err(failure) => Err(failure),
        };
        if let Err(failure) = put {
            if let (Some(staged), false) = (&staged, matches!(failure, Failure::Unknown(_))) {
                self.give_back(staged).await;
            }
            return match failure {
                Failure::Taken(why) => {
                    match owner(self.shared, self.prepared, self.collection(), layout).await? {
                        Some(error) => Err(Failure::Error(error)),
                        None => Err(Failure::Again(Error::conflict(why))),
                    }
                }
                other => Err(other),
            };
        }
        self.settle(old, "metadata.dropped").await;
        match (&kept, staged) {
            (Kept::File(id), _) => self.settle(Some(*id), "metadata.settled").await,
            // Its bytes lie in the item; if this fails, it is swept.
            (_, Some(staged)) => drop(bodies::remove(self.shared, staged.id).await),
            (_, None) => {}
        }
        // It is written: what fails now cannot say that it is not.
        self.follow(layout)
            .await
            .map_err(|failure| self.unknown(failure.into_error()))?;
        Ok(entry)
    }

    async fn replace(&self, document: RawDocumentBuf, there: Option<Found>) -> Result<(), Failure> {
        let refused = match there {
            None => match self.written(self.items.insert_one(document)).await {
                Ok(_) => return Ok(()),
                Err(taken @ Failure::Taken(_)) => taken,
                Err(other) => return Err(other),
            },
            Some(there) => {
                let replace = self.items.replace_one(self.same(&there), document);
                if self.written(replace).await?.matched_count > 0 {
                    return Ok(());
                }
                self.overtaken()
            }
        };
        // The driver sends a write again whose answer was lost, and not every server
        // knows the two for one.
        match self.own().await {
            Ok(true) => Ok(()),
            Ok(false) => Err(refused),
            Err(failure) => Err(self.unknown(failure.into_error())),
        }
    }

    /// Whether the item is what this batch writes.
    async fn own(&self) -> Result<bool, Failure> {
        let own = self.items.find_one(self.written_here());
        let own = own.projection(doc! { "_id": 1 });
        Ok(self.shared.call(own).await?.is_some())
    }

    /// The document, if it is what this batch writes.
    fn written_here(&self) -> Document {
        doc! { "_id": self.operation.key.as_str(), format!("{OWN}.version"): binary(self.prepared.id) }
    }

    fn unknown(&self, error: Error) -> Failure {
        let error = error.with_retry(Retry::Unknown);
        Failure::Unknown(error.for_batch(self.prepared.id))
    }

    fn overtaken(&self) -> Failure {
        Failure::Again(Error::conflict("another write of the item got in first"))
    }

    /// A write of the item. If its answer is lost, nobody knows.
    async fn written<'a, T, A>(&'a self, write: A) -> Result<T, Failure>
    where
        T: Send + 'a,
        A: IntoFuture<Output = mongodb::error::Result<T>>,
        A::IntoFuture: Send + 'a,
    {
        self.shared
            .call(write)
            .await
            .map_err(|failure| match failure {
                Failure::Error(error)
                    if [ErrorKind::Unavailable, ErrorKind::Timeout].contains(&error.kind()) =>
                {
                    self.unknown(error)
                }
                other => other,
            })
    }

    /// Takes a staged body for this batch, or has it already: the driver sends a write
    /// again whose answer was lost, and an earlier attempt may not have given it back.
    async fn claim(&self, staged: &Staged) -> Result<(), Failure> {
        let now = self.shared.options.env.now();
        let files = self.shared.database.collection::<Document>(FILES);
        let claim = doc! {
            "$set": {
                "metadata.moving": now.as_micros(),
                "metadata.key": self.operation.key.as_str(),
                "metadata.batch": binary(self.prepared.id),
            },
            "$unset": { "metadata.expires": "" },
        };
        let own = doc! { "_id": binary(staged.id), "metadata.batch": binary(self.prepared.id) };
        let waiting = bodies::waiting(staged, self.collection(), now);
        let either = doc! { "$or": [own, waiting] };
        let claimed = self.shared.call(files.update_one(either, claim)).await?;
        if claimed.matched_count == 0 {
            return Err(Failure::Error(
                bodies::gone().at(self.collection(), Some(&self.operation.key)),
            ));
        }
        Ok(())
    }

    /// Gives it back, as the batch was refused.
    async fn give_back(&self, staged: &Staged) {
        let files = self.shared.database.collection::<Document>(FILES);
        let back = doc! {
            "$set": { "metadata.expires": staged.expires.as_micros() },
            "$unset": bodies::settled(),
        };
        let _back = self
            .shared
            .call(files.update_one(doc! { "_id": binary(staged.id) }, back))
            .await;
    }

    /// Marks a file whose item is about to be overwritten or deleted.
    async fn moving(&self, file: Option<Version>) -> Result<(), Failure> {
        let Some(file) = file else { return Ok(()) };
        let files = self.shared.database.collection::<Document>(FILES);
        let now = self.shared.options.env.now();
        let mark = doc! { "$set": { "metadata.moving": now.as_micros(), "metadata.key": self.operation.key.as_str() } };
        self.shared
            .call(files.update_one(doc! { "_id": binary(file) }, mark))
            .await
            .map(drop)
    }

    /// Says what became of a file; if that does not arrive, the sweep finds out.
    async fn settle(&self, file: Option<Version>, what: &str) {
        let Some(file) = file else { return };
        let files = self.shared.database.collection::<Document>(FILES);
        let mut settled = doc! { "$unset": bodies::settled() };
        if what == "metadata.dropped" {
            settled.insert(
                "$set",
                doc! { what: self.shared.options.env.now().as_micros() },
            );
        }
        let _settled = self
            .shared
            .call(files.update_one(doc! { "_id": binary(file) }, settled))
            .await;
    }

    /// Gives the item the fields of indexes that were declared while it was written.
    async fn follow(&self, layout: &Layout) -> Result<(), Failure> {
        let now = catalogue::layout(self.shared, self.collection()).await?;
        if now.generation == layout.generation {
            return Ok(());
        }
        let same = self.written_here();
        let find = self
            .items
            .find_one(same.clone())
            .projection(documents::projection(Parts::DOC, None));
        let Some(document) = self.shared.call(find).await? else {
            return Ok(());
        };
        let (stored, doc) = documents::whole(&document)?;
        let fields = documents::index_fields(&stored, &doc, &now.indexes)?;
        if fields.is_empty() {
            return Ok(());
        }
        let add = self.items.update_one(same, doc! { "$set": fields });
        self.shared.call(add).await.map(drop)
    }
}
