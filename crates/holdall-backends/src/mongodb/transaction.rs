//! One attempt to write a batch, in one transaction.
//!
//! A transaction sees the state of one time, and its commit fails if another one
//! wrote the same documents since. What is only checked would not conflict with
//! anything, so it is written too: a document that is there is touched, and for
//! one that is not one is put and deleted again.

use std::sync::Arc;

use hashbrown::HashMap;
use holdall_core::{
    Action, ChangeKind, CollectionName, Condition, Entry, Error, Operation, Staged, Timestamp,
    Version, Written,
};
use mongodb::bson::raw::{RawArrayBuf, RawDocumentBuf};
use mongodb::bson::{Document, cstr, doc, rawdoc};
use mongodb::options::ReadConcern;
use mongodb::{ClientSession, bson::Bson};
use tokio::sync::MutexGuard;

use super::catalogue::{self, Declared, Layout};
use super::connect::{binary, write_concern};
use super::documents::{self, Found, Kept, New};
use super::error::{CONFLICT, Failure, check_reply, code};
use super::log::{self, Logged};
use super::names::{self, BATCHES, CHUNKS, FILES};
use super::write::{Pause, Prepared, Ready, Stop, check_own};
use super::{Shared, Telling, bodies};

/// The most bytes of documents in one command.
const COMMAND: usize = 12 * 1024 * 1024;

/// The most documents in one command.
const MANY: usize = 1000;

/// A batch of so many puts is written without a look at what is there, if there was nothing
/// the last time.
const LARGE: usize = 100;

/// Whether a batch is likely to put nothing but new items, so that the server may be left
/// to say that one is there.
pub(super) fn is_new(shared: &Shared, prepared: &Prepared) -> bool {
    let growing = shared.growing.lock();
    is_large(prepared)
        && prepared
            .collections
            .iter()
            .all(|collection| growing.contains(collection))
}

/// Whether a batch has many puts, and nothing that needs an item to be there.
fn is_large(prepared: &Prepared) -> bool {
    let operations = prepared.batch.operations();
    operations.len() >= LARGE
        && operations.iter().all(|operation| {
            matches!(operation.action, Action::Put(_))
                && matches!(operation.condition, Condition::Any | Condition::Absent)
        })
}

/// Tries to write a batch. Where it does not look at what is there, something that is stops
/// it with [`Stop::Taken`].
pub(super) async fn attempt(
    shared: &Arc<Shared>,
    prepared: &Prepared,
    pause: &mut Pause<'_>,
    look: bool,
) -> Result<Written, Stop> {
    let _numbering = numbering(shared, pause).await?;
    let _turn = shared.turn().await?;
    let mut attempt = Attempt {
        shared,
        session: start(shared).await?,
        prepared,
        now: shared.options.env.now(),
        look,
        number: None,
        changes: Vec::new(),
        released: Vec::new(),
    };
    match attempt.run().await {
        Ok(entries) => {
            commit(shared, &mut attempt.session, pause).await?;
            shared.bell.send_replace(());
            Ok(Written {
                id: prepared.id,
                entries,
            })
        }
        Err(stop) => {
            abort(shared, &mut attempt.session).await;
            Err(stop)
        }
    }
}

/// Waits until no other batch of this handle takes a number: in MongoDB they would only be
/// told to try again.
async fn numbering<'a>(
    shared: &'a Shared,
    pause: &Pause<'_>,
) -> Result<Option<MutexGuard<'a, ()>>, Error> {
    if shared.telling != Telling::Numbers {
        return Ok(None);
    }
    match tokio::time::timeout_at(pause.until(), shared.numbering.lock()).await {
        Ok(guard) => Ok(Some(guard)),
        Err(_) => Err(pause.over()),
    }
}

/// A session with a transaction.
pub(super) async fn start(shared: &Shared) -> Result<ClientSession, Failure> {
    let mut session = shared.call(shared.client.start_session()).await?;
    let start = session
        .start_transaction()
        .read_concern(ReadConcern::snapshot())
        .write_concern(write_concern(&shared.options));
    shared.call(start).await?;
    Ok(session)
}

/// Gives a transaction up; if that does not arrive, the server does it in time.
pub(super) async fn abort(shared: &Shared, session: &mut ClientSession) {
    let _aborted = shared.call(session.abort_transaction()).await;
}

/// Commits; asks again while nobody knows whether it worked.
pub(super) async fn commit(
    shared: &Shared,
    session: &mut ClientSession,
    pause: &mut Pause<'_>,
) -> Result<(), Failure> {
    loop {
        let limit = shared.options.timeout;
        let error =
            match tokio::time::timeout(limit, async { session.commit_transaction().await }).await {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) => {
                    let is_conflict = code(&error) == Some(CONFLICT);
                    match Failure::from(error) {
                        Failure::Unknown(error) => error,
                        other if is_conflict => return Err(other),
                        // The driver sends a commit again whose answer was lost, and a server
                        // that died meanwhile knows of no such transaction.
                        other => return Err(Failure::Unknown(other.into_error())),
                    }
                }
                // The session may be in the middle of something.
                Err(_) => return Err(Failure::Unknown(shared.too_slow())),
            };
        if pause.is_over() || pause.wait(Error::other("")).await.is_err() {
            return Err(Failure::Unknown(error));
        }
    }
}

struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    session: ClientSession,
    prepared: &'a Prepared,
    now: Timestamp,
    look: bool,
    /// Its number among all batches, in a store that has numbers.
    number: Option<i64>,
    changes: Vec<Logged>,
    /// Files that no item has any more.
    released: Vec<Version>,
}

/// What is to be sent for one collection.
#[derive(Default)]
struct Plan {
    inserts: Vec<RawDocumentBuf>,
    updates: Vec<RawDocumentBuf>,
    deletes: Vec<String>,
    /// Keys that are put and deleted again.
    guards: Vec<String>,
}

impl Attempt<'_> {
    async fn run(&mut self) -> Result<Vec<Option<Entry>>, Stop> {
        let prepared = self.prepared;
        self.number = log::number(self.shared, &mut self.session).await?;
        let layouts =
            catalogue::layouts(self.shared, &mut self.session, &prepared.collections).await?;
        let mut found = HashMap::new();
        if self.look {
            for collection in &prepared.collections {
                self.find(collection, &mut found).await?;
            }
            self.note(found.is_empty());
        }
        // All conditions before the first write, so that a refused batch costs none.
        for operation in prepared.batch.operations() {
            let there = found
                .get(&place(operation))
                .map(|found: &Found| found.version);
            operation.condition.check(operation, there)?;
        }
        for (collection, layout) in prepared.collections.iter().zip(&layouts) {
            check_own(prepared, collection, layout)?;
        }
        let bodies = self.bodies().await?;
        let mut entries = vec![None; prepared.batch.operations().len()];
        for (collection, layout) in prepared.collections.iter().zip(&layouts) {
            let plan = self.plan(collection, layout, &found, &bodies, &mut entries)?;
            match self.send(collection, plan).await {
                Ok(()) => {}
                Err(Failure::Taken(_)) => {
                    return Err(Stop::Taken(collection.clone(), layout.clone()));
                }
                Err(other) => return Err(other.into()),
            }
        }
        self.record().await?;
        Ok(entries)
    }

    /// Notes whether a large batch found anything, for the next.
    fn note(&self, nothing: bool) {
        if !is_large(self.prepared) {
            return;
        }
        let mut growing = self.shared.growing.lock();
        for collection in &self.prepared.collections {
            match nothing {
                true => drop(growing.insert(collection.clone())),
                false => drop(growing.remove(collection)),
            }
        }
    }

    /// What is there of the items of one collection.
    async fn find<'k>(
        &mut self,
        collection: &'k CollectionName,
        found: &mut HashMap<(&'k str, String), Found>,
    ) -> Result<(), Failure> {
        let keys: Vec<&str> = self
            .prepared
            .of(collection)
            .map(|(_, operation)| operation.key.as_str())
            .collect();
        let filter = match keys.as_slice() {
            [only] => doc! { "_id": *only },
            _ => doc! { "_id": { "$in": keys } },
        };
        let items = self
            .shared
            .database
            .collection::<RawDocumentBuf>(&names::table(collection));
        let find = items
            .find(filter)
            .projection(Found::projection())
            .session(&mut self.session);
        let mut cursor = self.shared.call(find).await?;
        while self.shared.call(cursor.advance(&mut self.session)).await? {
            let (key, there) = Found::read(cursor.current())?;
            found.insert((collection.as_str(), key), there);
        }
        Ok(())
    }

    /// Takes staged bodies over; says where each body lies from now on.
    async fn bodies(&mut self) -> Result<Vec<Kept>, Failure> {
        let prepared = self.prepared;
        let mut kept = Vec::with_capacity(prepared.bodies.len());
        for (operation, ready) in prepared.batch.operations().iter().zip(&prepared.bodies) {
            kept.push(match ready {
                Ready::None => Kept::None,
                Ready::Inline(bytes) => Kept::Inline(bytes.clone()),
                Ready::File(staged) => {
                    let adopt = doc! { "$unset": { "metadata.expires": "" } };
                    let update = doc! { "q": self.waiting(staged, operation), "u": adopt };
                    let adopt = doc! { "update": FILES, "updates": [update] };
                    self.one(adopt, operation).await?;
                    Kept::File(staged.id)
                }
                Ready::Small(staged, bytes) => {
                    let delete = doc! { "q": self.waiting(staged, operation), "limit": 1 };
                    self.one(doc! { "delete": FILES, "deletes": [delete] }, operation)
                        .await?;
                    let pieces = doc! { "q": { "files_id": binary(staged.id) }, "limit": 0 };
                    self.command(doc! { "delete": CHUNKS, "deletes": [pieces] })
                        .await?;
                    Kept::Inline(bytes.clone())
                }
            });
        }
        Ok(kept)
    }

    fn waiting(&self, staged: &Staged, operation: &Operation) -> Document {
        bodies::waiting(staged, &operation.collection, self.now)
    }

    /// A command that is to find one staged body.
    async fn one(&mut self, command: Document, operation: &Operation) -> Result<(), Failure> {
        let reply = self.command(command).await?;
        match reply.get_i32("n") {
            Ok(1) => Ok(()),
            _ => Err(Failure::Error(
                bodies::gone().at(&operation.collection, Some(&operation.key)),
            )),
        }
    }

    /// What has to be sent for one collection.
    fn plan(
        &mut self,
        collection: &CollectionName,
        layout: &Layout,
        found: &HashMap<(&str, String), Found>,
        bodies: &[Kept],
        entries: &mut [Option<Entry>],
    ) -> Result<Plan, Error> {
        let prepared = self.prepared;
        let mut plan = Plan::default();
        for (at, operation) in prepared.of(collection) {
            let there = found.get(&place(operation));
            let key = operation.key.as_str();
            match (&operation.action, there) {
                (Action::Put(put), there) => {
                    let (size, digest) = prepared.measured.get(at).copied().unwrap_or_default();
                    let entry = Entry {
                        version: prepared.id,
                        created: there.map_or(self.now, |there| there.created),
                        modified: self.now,
                        size,
                        digest,
                    };
                    let none = Kept::None;
                    let new = New {
                        key: &operation.key,
                        entry,
                        attrs: &put.attrs,
                        doc: prepared.docs.get(at).unwrap_or(&holdall_core::Value::Null),
                        body: bodies.get(at).unwrap_or(&none),
                    };
                    let document = documents::document(&new, &layout.indexes)
                        .map_err(|error| error.at(collection, Some(&operation.key)))?;
                    match there {
                        None => plan.inserts.push(document),
                        // An index holds of the state after a batch: two items may swap their
                        // values. So what gives one up goes before anything comes.
                        Some(there) if there.gives_up(&document) => {
                            plan.deletes.push(key.to_owned());
                            plan.inserts.push(document);
                        }
                        Some(_) => plan
                            .updates
                            .push(rawdoc! { "q": { "_id": key }, "u": document }),
                    }
                    if let Some(slot) = entries.get_mut(at) {
                        *slot = Some(entry);
                    }
                    self.changed(operation, ChangeKind::Put, there, entry.created);
                }
                (Action::Delete, Some(_)) => {
                    plan.deletes.push(key.to_owned());
                    self.changed(operation, ChangeKind::Delete, there, self.now);
                }
                (Action::Delete | Action::Check, None)
                    if operation.condition == Condition::Absent =>
                {
                    plan.guards.push(key.to_owned());
                    plan.inserts
                        .push(rawdoc! { "_id": key, "_holdall": { "guard": true } });
                }
                (Action::Check, Some(_)) if operation.condition != Condition::Any => {
                    let id = prepared.id.to_string();
                    plan.updates.push(rawdoc! { "q": { "_id": key }, "u": { "$set": { "_holdall.checked": id } } });
                }
                (Action::Delete, None) | (Action::Check, _) => {}
            }
        }
        Ok(plan)
    }

    fn changed(
        &mut self,
        operation: &Operation,
        kind: ChangeKind,
        there: Option<&Found>,
        created: Timestamp,
    ) {
        self.released.extend(there.and_then(|there| there.file));
        self.changes.push(Logged {
            collection: operation.collection.clone(),
            key: Some(operation.key.clone()),
            kind,
            previous: there.map(|there| there.version),
            created,
        });
    }

    async fn send(&mut self, collection: &CollectionName, plan: Plan) -> Result<(), Failure> {
        let table = names::table(collection);
        self.delete(&table, plan.deletes).await?;
        let mut updates = plan.updates.into_iter().peekable();
        while updates.peek().is_some() {
            let (mut list, mut bytes, mut count) = (RawArrayBuf::new(), 0, 0);
            while let Some(next) = updates.next_if(|next| {
                count == 0 || (count < MANY && bytes + next.as_bytes().len() <= COMMAND)
            }) {
                bytes += next.as_bytes().len();
                count += 1;
                list.push(next);
            }
            let mut command = RawDocumentBuf::new();
            command.append(cstr!("update"), table.as_str());
            command.append(cstr!("updates"), list);
            let run = self
                .shared
                .database
                .run_raw_command(command)
                .session(&mut self.session);
            check_reply(&self.shared.call(run).await?)?;
        }
        if !plan.inserts.is_empty() {
            let items = self.shared.database.collection::<RawDocumentBuf>(&table);
            let insert = items.insert_many(plan.inserts).session(&mut self.session);
            self.shared.call(insert).await?;
        }
        self.delete(&table, plan.guards).await
    }

    async fn delete(&mut self, table: &str, keys: Vec<String>) -> Result<(), Failure> {
        if keys.is_empty() {
            return Ok(());
        }
        let all = doc! { "q": { "_id": { "$in": keys } }, "limit": 0 };
        self.command(doc! { "delete": table, "deletes": [all] })
            .await
            .map(drop)
    }

    /// Records the batch, and lets go of the bodies that no item has any more.
    async fn record(&mut self) -> Result<(), Stop> {
        if !self.released.is_empty() {
            let released: Vec<Bson> = self.released.iter().map(|id| binary(*id)).collect();
            let drop = doc! { "$set": { "metadata.dropped": self.now.as_micros() } };
            let all = doc! { "q": { "_id": { "$in": released } }, "u": drop, "multi": true };
            self.command(doc! { "update": FILES, "updates": [all] })
                .await?;
        }
        let record = log::record(self.prepared.id, self.number, self.now, &self.changes);
        let batches = self.shared.database.collection::<Document>(BATCHES);
        match self
            .shared
            .call(batches.insert_one(record).session(&mut self.session))
            .await
        {
            Ok(_) => Ok(()),
            Err(Failure::Taken(_)) => Err(Stop::Recorded),
            Err(other) => Err(other.into()),
        }
    }

    async fn command(&mut self, command: Document) -> Result<Document, Failure> {
        let run = self
            .shared
            .database
            .run_command(command)
            .session(&mut self.session);
        let reply = self.shared.call(run).await?;
        check_reply(&reply)?;
        Ok(reply)
    }
}

/// Where an operation is about.
fn place(operation: &Operation) -> (&str, String) {
    (
        operation.collection.as_str(),
        operation.key.as_str().to_owned(),
    )
}

/// The indexes that readers may use.
pub(super) fn ready(indexes: &[Declared]) -> impl Iterator<Item = &Declared> {
    indexes.iter().filter(|declared| declared.ready)
}
