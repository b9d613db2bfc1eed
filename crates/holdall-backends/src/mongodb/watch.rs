//! Tells watchers of changes: a change stream of MongoDB on the records of batches,
//! which come in the order of their commits.

use std::collections::VecDeque;
use std::sync::Arc;

use futures_util::StreamExt;
use futures_util::stream;
use holdall_core::{
    Change, ChangeStream, CollectionName, Digest, Error, ErrorKind, Result, Version, WatchCursor,
    WatchFrom,
};
use mongodb::bson::Document;
use mongodb::change_stream::ChangeStream as Stream;
use mongodb::change_stream::event::{ChangeStreamEvent, OperationType, ResumeToken};
use mongodb::{Client, bson};

use super::error::{code, failed};
use super::log::{self, ALL};
use super::names::BATCHES;
use super::{Shared, connect};
use crate::gate::closed_by_us;

/// The place is no longer in MongoDB's log of operations.
const GONE: [i32; 3] = [136, 280, 286];

/// The place is none of this deployment.
const NO_TOKEN: [i32; 2] = [9, 260];

/// The bytes of a check behind a cursor.
pub(super) const CHECK: usize = 4;

/// Where a watcher is: behind so many changes of a batch, at which MongoDB's own
/// token stands.
struct Place {
    batch: Version,
    changes: u32,
    token: ResumeToken,
}

impl Place {
    /// For a cursor: the identity of the store (16 bytes), the batch (16), the changes of
    /// it that were told (4), the token in BSON, and a check (4).
    fn write(&self, identity: Version) -> Result<WatchCursor> {
        let mut out = identity.as_bytes().to_vec();
        out.extend_from_slice(self.batch.as_bytes());
        out.extend_from_slice(&self.changes.to_be_bytes());
        let token = bson::serialize_to_bson(&self.token);
        let token =
            token.and_then(|token| bson::serialize_to_raw_document_buf(&bson::doc! { "t": token }));
        let unwritten = |error: bson::error::Error| {
            Error::other("a place among changes cannot be written").because(error.to_string())
        };
        out.extend_from_slice(token.map_err(unwritten)?.as_bytes());
        let check = check(&out);
        out.extend_from_slice(&check);
        Ok(WatchCursor::from_bytes(out))
    }

    fn read(cursor: &WatchCursor, identity: Version) -> Result<Self> {
        Self::parse(cursor.as_bytes(), identity).ok_or_else(foreign)
    }

    fn parse(bytes: &[u8], identity: Version) -> Option<Self> {
        let (content, tail) = bytes.split_last_chunk::<CHECK>()?;
        if check(content) != *tail {
            return None;
        }
        let (owner, rest) = content.split_first_chunk::<16>()?;
        let (batch, rest) = rest.split_first_chunk::<16>()?;
        let (changes, token) = rest.split_first_chunk::<4>()?;
        if owner != identity.as_bytes() {
            return None;
        }
        let mut token: Document = bson::deserialize_from_slice(token).ok()?;
        let token = bson::deserialize_from_bson(token.remove("t")?).ok()?;
        Some(Self {
            batch: Version::from_bytes(*batch),
            changes: u32::from_be_bytes(*changes),
            token,
        })
    }
}

/// What tells a cursor from one that was damaged.
pub(super) fn check(content: &[u8]) -> [u8; CHECK] {
    let mut out = [0; CHECK];
    for (to, from) in out.iter_mut().zip(Digest::of(content).as_bytes()) {
        *to = *from;
    }
    out
}

pub(super) async fn watch(
    shared: &Arc<Shared>,
    collection: Option<CollectionName>,
    from: WatchFrom,
) -> Result<ChangeStream> {
    let place = match &from {
        WatchFrom::Now => None,
        WatchFrom::After(cursor) => Some(Place::read(cursor, shared.identity)?),
    };
    let client = shared.watcher().await?;
    let database = connect::database(&client, shared.database.name(), &shared.options);
    let batches = database.collection::<Document>(BATCHES);
    let mut open = batches.watch();
    let mut pending = VecDeque::new();
    if let Some(place) = place {
        open = open.start_after(place.token.clone());
        let stream = tokio::time::timeout(shared.options.timeout, open.into_future()).await;
        let stream = stream.map_err(|_| shared.too_slow())?.map_err(broken)?;
        pending.extend(rest(shared, &place).await?);
        return Ok(Watcher {
            shared: shared.clone(),
            collection,
            stream,
            pending,
        }
        .changes());
    }
    let stream = tokio::time::timeout(shared.options.timeout, open.into_future()).await;
    let stream = stream.map_err(|_| shared.too_slow())?.map_err(broken)?;
    Ok(Watcher {
        shared: shared.clone(),
        collection,
        stream,
        pending,
    }
    .changes())
}

/// What is left of the batch that a place lies in.
async fn rest(shared: &Arc<Shared>, place: &Place) -> Result<Vec<Change>> {
    if place.changes == ALL {
        return Ok(Vec::new());
    }
    let batches = shared.database.collection::<Document>(BATCHES);
    let find = batches.find_one(bson::doc! { "_id": connect::binary(place.batch) });
    let record = shared.read(find).await?.ok_or_else(expired)?;
    told(shared.identity, &record, &place.token, place.changes)
}

/// The changes of a batch behind some of them.
fn told(
    identity: Version,
    record: &Document,
    token: &ResumeToken,
    seen: u32,
) -> Result<Vec<Change>> {
    let batch = log::id(record)?;
    log::told(record, seen, |changes| {
        let token = token.clone();
        Place {
            batch,
            changes,
            token,
        }
        .write(identity)
    })
}

/// The error of a cursor of another store, or none.
pub(super) fn foreign() -> Error {
    Error::invalid("the watch cursor is not one of this store; watch from now")
}

/// The error of a cursor whose next changes were removed.
pub(super) fn expired() -> Error {
    Error::expired(
        "the changes behind this watch cursor are no longer kept; scan, and watch from now",
    )
}

fn broken(error: mongodb::error::Error) -> Error {
    match code(&error) {
        Some(code) if GONE.contains(&code) => expired().because(failed(error)),
        Some(code) if NO_TOKEN.contains(&code) => foreign().because(failed(error)),
        _ => failed(error),
    }
}

struct Watcher {
    shared: Arc<Shared>,
    collection: Option<CollectionName>,
    stream: Stream<ChangeStreamEvent<Document>>,
    pending: VecDeque<Change>,
}

impl Watcher {
    fn changes(self) -> ChangeStream {
        stream::try_unfold(self, |mut watcher| async move {
            Ok(Some((watcher.next().await?, watcher)))
        })
        .boxed()
    }

    async fn next(&mut self) -> Result<Change> {
        let ended = self.shared.life.clone().closed();
        tokio::pin!(ended);
        loop {
            while let Some(change) = self.pending.pop_front() {
                if self
                    .collection
                    .as_ref()
                    .is_none_or(|wanted| *wanted == change.collection)
                {
                    return Ok(change);
                }
            }
            let event = tokio::select! {
                biased;
                () = &mut ended => return Err(closed_by_us()),
                event = self.stream.next_if_any() => event.map_err(broken)?,
            };
            let Some(event) = event else { continue };
            match (event.operation_type, event.full_document) {
                (OperationType::Insert, Some(record)) if !record.contains_key("aborted") => {
                    self.pending
                        .extend(told(self.shared.identity, &record, &event.id, 0)?);
                }
                (OperationType::Invalidate | OperationType::Drop | OperationType::Rename, _) => {
                    return Err(Error::new(
                        ErrorKind::Expired,
                        holdall_core::Retry::No,
                        "the records of batches were removed from MongoDB; scan, and watch from now",
                    ));
                }
                _ => {}
            }
        }
    }
}

impl Shared {
    /// A client for watchers, as each of them holds a connection while it waits.
    async fn watcher(&self) -> Result<Client> {
        if !self.owned {
            return Ok(self.client.clone());
        }
        let client = self.watchers.get_or_try_init(|| async {
            let options = super::MongoOptions {
                connections: MOST_WATCHERS,
                ..self.options.clone()
            };
            connect::client(&options).await.map(|(client, _)| client)
        });
        client.await.cloned()
    }
}

/// The most connections of watchers.
const MOST_WATCHERS: u32 = 1000;
