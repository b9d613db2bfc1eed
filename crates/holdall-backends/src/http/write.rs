//! Writes, and what became of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdall_core::{
    Action, Batch, ByteStream, CollectionName, Condition, Error, ErrorKind, Index, Key, NewBody,
    Operation, Outcome, Put, Result, Retry, Scope, Staged, Version, Written,
};
use holdall_wire::{
    BatchAnswer, BatchShape, IndexShape, Indexes, OutcomeShape, Resolve, StagedShape, Witness,
    etag, names, read_entry, write_attrs,
};
use http::{HeaderValue, Method, header};

use super::Shared;
use super::failure::{Unanswered, garbled};
use super::item::Place;
use super::transport::{Answer, Call, MAX_JSON};

/// The pauses before each attempt to learn what became of a batch. With the
/// attempts themselves they end within a minute, whatever the timeouts.
const PAUSES: [Duration; 6] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(300),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
];

/// The most that an attempt takes.
const PATIENCE: Duration = Duration::from_secs(8);

/// Writes a batch. If its answer is lost, asks what became of it.
pub(super) async fn write(shared: &Arc<Shared>, mut batch: Batch) -> Result<Written> {
    let ours = batch.id().is_none();
    let id = batch.ensure_id(&shared.env);
    let (batch, lost) = match once(shared, id, batch).await? {
        Done::Written(written) => return Ok(written),
        Done::Not(batch, lost) => (batch, lost),
    };
    if !(ours && lost.breaks_off()) {
        return Err(not_written(lost, id));
    }
    // A connection that was kept may have ended just then, and it is certain
    // that nothing was written: once more. A batch's id is used up by that
    // certainty, so this is for those whose id nobody has chosen.
    let mut again = Batch::new();
    for operation in batch.operations() {
        again.push(operation.clone());
    }
    let id = again.ensure_id(&shared.env);
    match once(shared, id, again).await? {
        Done::Written(written) => Ok(written),
        Done::Not(_, lost) => Err(not_written(lost, id)),
    }
}

/// How an attempt to write ended.
enum Done {
    Written(Written),
    /// Nothing was written, and nothing will be under this id.
    Not(Batch, Unanswered),
}

/// What remains to be said of a write that did not happen.
fn not_written(lost: Unanswered, id: Version) -> Error {
    let what = format!(
        "the batch {id} was not written, and will not be; write it again, under another id"
    );
    lost.error
        .with_retry(Retry::Yes)
        .while_doing(what)
        .for_batch(id)
}

/// What remains to be said of a write that may have happened.
fn unknown(lost: Unanswered, id: Version) -> Error {
    let what = format!(
        "whether the batch {id} was written is not known; resolve it, or look at its items"
    );
    lost.error
        .with_retry(Retry::Unknown)
        .while_doing(what)
        .for_batch(id)
}

async fn once(shared: &Arc<Shared>, id: Version, batch: Batch) -> Result<Done> {
    let call = call(&batch, id).map_err(|error| error.for_batch(id))?;
    let answer = shared.transport.send(&call).await;
    let lost = match written(answer, id, &batch).await {
        Ok(written) => return Ok(Done::Written(written)),
        Err(lost) => lost,
    };
    // What the server does not know of a write, it may know a moment later.
    if !lost.may_be_done() && lost.error.retry() != Retry::Unknown {
        return Err(lost.error.for_batch(id));
    }
    match what_became(shared, id, &batch).await {
        Some(Outcome::Committed(Some(commit))) => Ok(Done::Written(Written {
            id,
            entries: batch.entries(id, &commit),
        })),
        Some(Outcome::Committed(None)) => committed_unseen(shared, id, &batch, lost).await,
        Some(Outcome::Aborted) => Ok(Done::Not(batch, lost)),
        Some(Outcome::Unknown) | None => Err(unknown(lost, id)),
    }
}

/// A batch that happened, of which nothing else was recorded: its entry is
/// read, as only batches of one item are like that.
async fn committed_unseen(
    shared: &Arc<Shared>,
    id: Version,
    batch: &Batch,
    lost: Unanswered,
) -> Result<Done> {
    let mut entries = Vec::new();
    for operation in batch.operations() {
        let entry = match operation.action {
            Action::Delete | Action::Check => None,
            Action::Put(_) => {
                let place = Place::new(&operation.collection, &operation.key);
                let options = holdall_core::GetOptions::parts(holdall_core::Parts::ENTRY);
                match super::item::get(shared, &place, options).await {
                    Ok(Some(item)) if item.entry.version == id => Some(item.entry),
                    _ => return Err(unknown(lost, id)),
                }
            }
        };
        entries.push(entry);
    }
    Ok(Done::Written(Written { id, entries }))
}

/// The call that writes a batch: for one item without a staged body that of
/// the item itself, which needs no JSON around its doc.
fn call(batch: &Batch, id: Version) -> Result<Call> {
    if let [only] = batch.operations() {
        match &only.action {
            Action::Put(put) if !matches!(put.body, NewBody::Staged(_)) => {
                return Ok(put_call(only, put, id));
            }
            Action::Delete => return Ok(item_call(only, Method::DELETE, id)),
            Action::Put(_) | Action::Check => {}
        }
    }
    let head = BatchShape::write(batch)?;
    let length = HeaderValue::from(head.json.len());
    let mut pieces = vec![Bytes::from(head.json)];
    pieces.extend(head.bodies);
    Ok(Call::post("/v1/batches")
        .header(names::HEAD_LENGTH, length)
        .content(names::BATCH_TYPE, pieces))
}

fn item_call(operation: &Operation, method: Method, id: Version) -> Call {
    let any = HeaderValue::from_static("*");
    let call = Place::new(&operation.collection, &operation.key)
        .call(method)
        .header(names::BATCH, text_header(&id.to_string()));
    match operation.condition {
        Condition::Any => call,
        Condition::Absent => call.header(header::IF_NONE_MATCH, any),
        Condition::Present => call.header(header::IF_MATCH, any),
        Condition::Version(version) => call.header(header::IF_MATCH, etag(version)),
    }
}

fn put_call(operation: &Operation, put: &Put, id: Version) -> Call {
    let doc = put.doc.as_bytes().clone();
    let mut call = item_call(operation, Method::PUT, id)
        .header(names::HEAD_LENGTH, HeaderValue::from(doc.len()));
    if !put.attrs.is_empty() {
        call = call.header(names::ATTRS, text_header(&write_attrs(&put.attrs)));
    }
    let mut pieces = vec![doc];
    match &put.body {
        NewBody::Bytes(body) => pieces.push(body.clone()),
        NewBody::None | NewBody::Staged(_) => {
            call = call.header(names::BODY, HeaderValue::from_static("none"));
        }
    }
    call.content(names::ITEM_TYPE, pieces)
}

/// Ids and base64 are always header values.
fn text_header(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// What the server says of a write. An answer that cannot be read is as good
/// as lost.
async fn written(
    answer: Result<Answer, Unanswered>,
    id: Version,
    batch: &Batch,
) -> Result<Written, Unanswered> {
    let answer = answer?;
    if !answer.status.is_success() {
        return Err(super::failure::of_answer(answer).await);
    }
    let lost =
        |error: Error| Unanswered::lost(garbled("what is no answer to a write").because(error));
    let (status, headers) = (answer.status, answer.headers.clone());
    let content = answer.all(MAX_JSON).await?;
    let single = match batch.operations() {
        [only] => Some(&only.action),
        _ => None,
    };
    let written = match single {
        Some(Action::Delete) if status == http::StatusCode::NO_CONTENT => Written {
            id,
            entries: vec![None],
        },
        Some(Action::Put(put)) if !matches!(put.body, NewBody::Staged(_)) => Written {
            id,
            entries: vec![Some(read_entry(&headers).map_err(lost)?)],
        },
        _ => {
            let shape = serde_json::from_slice::<BatchAnswer>(&content);
            let shape = shape.map_err(|error| Error::invalid("no JSON").because(error));
            shape.and_then(|shape| shape.read()).map_err(lost)?
        }
    };
    let fits = written.id == id
        && written.entries.len() == batch.operations().len()
        && written
            .entries
            .iter()
            .flatten()
            .all(|entry| entry.version == id)
        && std::iter::zip(&written.entries, batch.operations()).all(|(entry, operation)| {
            entry.is_some() == matches!(operation.action, Action::Put(_))
        });
    match fits {
        true => Ok(written),
        false => Err(lost(Error::other("it is about another batch"))),
    }
}

/// Asks several times what became of a batch; `None` if nobody says.
async fn what_became(shared: &Arc<Shared>, id: Version, batch: &Batch) -> Option<Outcome> {
    let witness = batch
        .operations()
        .iter()
        .find(|operation| matches!(operation.action, Action::Put(_)))
        .map(|operation| (&operation.collection, &operation.key))
        .filter(|_| shared.capabilities.batch.scope != Scope::Store);
    for pause in PAUSES {
        tokio::time::sleep(pause).await;
        let asked = tokio::time::timeout(PATIENCE, resolve_afresh(shared, id, witness)).await;
        match asked {
            Ok(Ok(Outcome::Unknown)) => {}
            Ok(Ok(outcome)) => return Some(outcome),
            // It will not be told later either.
            Ok(Err(error)) if error.retry() == Retry::No && error.kind() != ErrorKind::Other => {
                return None;
            }
            Ok(Err(_)) | Err(_) => {}
        }
    }
    None
}

fn resolve_call(id: Version, witness: Option<(&CollectionName, &Key)>) -> Result<Call> {
    let witness = witness.map(|(collection, key)| Witness {
        collection: collection.as_str().to_owned(),
        key: key.as_str().to_owned(),
    });
    Call::post(format!("/v1/batches/{id}/resolve")).json(&Resolve { witness })
}

/// On a new connection: those that were kept may all have ended at once.
async fn resolve_afresh(
    shared: &Arc<Shared>,
    id: Version,
    witness: Option<(&CollectionName, &Key)>,
) -> Result<Outcome> {
    let call = resolve_call(id, witness)?;
    let answer = shared.transport.send_afresh(&call).await;
    let answer = answer.map_err(|lost| lost.error)?;
    let answer = answer.success().await.map_err(|lost| lost.error)?;
    let text = answer.all(MAX_JSON).await.map_err(|lost| lost.error)?;
    read_outcome(&text)
}

fn read_outcome(text: &[u8]) -> Result<Outcome> {
    let shape = serde_json::from_slice::<OutcomeShape>(text);
    let shape = shape.map_err(|error| garbled("no outcome").because(error))?;
    shape
        .read()
        .map_err(|error| garbled("no outcome").because(error))
}

/// What became of a batch. Asking twice says the same.
pub(super) async fn resolve(
    shared: &Arc<Shared>,
    id: Version,
    witness: Option<(CollectionName, Key)>,
) -> Result<Outcome> {
    let witness = witness.as_ref().map(|(collection, key)| (collection, key));
    let call = resolve_call(id, witness)?;
    let (_, text) = shared.transport.ask(&call, MAX_JSON).await?;
    read_outcome(&text)
}

/// Declares indexes. Declaring one again changes nothing, so it is asked again
/// if its answer is lost.
pub(super) async fn define(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    indexes: &[Index],
) -> Result<()> {
    let indexes = indexes.iter().map(IndexShape::from).collect();
    let call = Call::post("/v1/indexes")
        .with("collection", collection.as_str())
        .json(&Indexes { indexes })?;
    shared.transport.ask(&call, MAX_JSON).await.map(drop)
}

/// Drops a collection. That is not repeated: it could drop what others put
/// meanwhile.
pub(super) async fn drop_collection(
    shared: &Arc<Shared>,
    collection: &CollectionName,
) -> Result<()> {
    let call = Call::new(Method::DELETE, "/v1/collections").with("collection", collection.as_str());
    let lost = match shared.transport.send(&call).await {
        Ok(answer) if answer.status.is_success() => return Ok(()),
        Ok(answer) => super::failure::of_answer(answer).await,
        Err(lost) => lost,
    };
    if !lost.may_be_done() {
        return Err(lost.error);
    }
    let what = "whether the collection was dropped is not known; look at it";
    Err(lost.error.with_retry(Retry::Unknown).while_doing(what))
}

/// Sends a body in before the batch that uses it.
pub(super) async fn stage(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    body: ByteStream,
) -> Result<Staged> {
    let call = Call::post("/v1/stage").with("collection", collection.as_str());
    let call = call.content("application/octet-stream", Vec::new());
    let measured = super::measure::Measured::default();
    let most = shared.capabilities.max_body;
    let body = measured
        .clone()
        .of(body, most, shared.gate.clone().closed());
    let answer = shared.transport.send_stream(&call, body).await;
    let answer = answer.map_err(|lost| lost.error)?;
    let answer = answer.success().await.map_err(|lost| lost.error)?;
    let text = answer.all(MAX_JSON).await.map_err(|lost| lost.error)?;
    let shape = serde_json::from_slice::<StagedShape>(&text);
    let shape = shape.map_err(|error| garbled("no staged body").because(error))?;
    let staged = shape
        .read()
        .map_err(|error| garbled("no staged body").because(error))?;
    let (size, digest) = measured.result();
    if (staged.size, staged.digest) != (size, digest) {
        return Err(Error::unavailable(
            "the body that the server took in is not the one that was sent: it was changed on the way. Send it again",
        ));
    }
    Ok(staged)
}
