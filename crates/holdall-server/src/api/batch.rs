//! Batches, staged bodies, and what became of a write.

use axum::extract::State;
use bytes::Bytes;
use holdall_core::{Action, CollectionName, Error, Key, Version};
use holdall_wire::{BatchAnswer, BatchShape, OutcomeShape, Resolve, StagedShape, names};
use http::{HeaderMap, StatusCode};

use super::content::Content;
use super::params::{Id, Params};
use super::{Api, conditions, item};
use crate::access::{Caller, Verb};
use crate::openapi;
use crate::{Answer, Failure};

/// Stages a body
///
/// It waits for the batch that uses it, and is gone after its lease.
#[utoipa::path(
    post, path = "/v1/stage", operation_id = "stage", tag = "Batches",
    params(openapi::InCollection),
    request_body(content = Option<openapi::Raw>, content_type = "application/octet-stream"),
    responses(openapi::StagedBody, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn stage(
    State(api): State<Api>,
    caller: Caller,
    mut params: Params,
    content: Content,
) -> Answer {
    let collection = params.collection()?;
    params.finish()?;
    caller.may(Verb::Write, &collection)?;
    let backend = api.backend();
    let (staged, _) = content
        .read_by(api.can().max_body, |stream| {
            backend.stage(&collection, stream)
        })
        .await?;
    super::json(StatusCode::CREATED, &StagedShape::from(&staged))
}

/// Writes a batch
///
/// All of its operations take effect, or none. As `application/vnd.holdall.batch` the
/// JSON is a head of `Holdall-Head-Length` bytes, and behind it stand the bodies of
/// the puts with a `body_length`.
#[utoipa::path(
    post, path = "/v1/batches", operation_id = "write_batch", tag = "Batches",
    params(openapi::BatchFrame),
    request_body(content(
        (BatchShape = "application/json"),
        (openapi::Raw = "application/vnd.holdall.batch"),
    )),
    responses(openapi::Wrote, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn write(
    State(api): State<Api>,
    caller: Caller,
    params: Params,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    params.finish()?;
    // A caller that may write nothing at all need not send anything.
    caller.may_any(Verb::Write)?;
    let head = match content.kind() {
        Some("application/json") => {
            conditions::refuse_head(&headers)?;
            None
        }
        Some(names::BATCH_TYPE) => Some(head_length(&headers)?),
        other => {
            let error = Error::invalid(format!(
                "a batch is application/json or {}, and Content-Type says {}",
                names::BATCH_TYPE,
                other.unwrap_or("nothing")
            ));
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Err(Failure::with_status(error, status));
        }
    };
    let (text, _hold) = content.bytes("batch", most_bytes(&api)).await?;
    let (json, bodies) = match head {
        None => (text, Bytes::new()),
        Some(head) if head <= text.len() => (text.slice(..head), text.slice(head..)),
        Some(head) => {
            return Err(Error::invalid(format!(
                "the content has {} bytes, and Holdall-Head-Length says {head}",
                text.len()
            ))
            .into());
        }
    };
    let batch = BatchShape::read(&json, bodies, api.limits().max_batch_ops)?;
    for operation in batch.operations() {
        match operation.action {
            // What was read may be checked, too: that is how a client commits a
            // transaction that reads one collection and writes another.
            Action::Check => {
                caller.may_either(Verb::Write, Verb::Read, &operation.collection)?;
            }
            _ => caller.may(Verb::Write, &operation.collection)?,
        }
    }
    let written = item::write_batch(&api, batch).await?;
    super::json(StatusCode::OK, &BatchAnswer::from(&written))
}

fn head_length(headers: &HeaderMap) -> Result<usize, Error> {
    conditions::text(headers, &names::HEAD_LENGTH)?
        .and_then(|text| text.parse().ok())
        .ok_or_else(|| {
            Error::invalid("a framed batch needs the header Holdall-Head-Length, a number")
        })
}

/// A batch at the limit, with what JSON puts around it: names, conditions, and
/// base64.
fn most_bytes(api: &Api) -> u64 {
    const AN_OPERATION: u64 = 512;
    let limits = api.can().batch;
    2 * limits.max_bytes + AN_OPERATION * limits.max_ops as u64
}

/// Tells what became of a batch
///
/// What is answered as aborted stays so: a late arrival fails.
#[utoipa::path(
    post, path = "/v1/batches/{id}/resolve", operation_id = "resolve_batch", tag = "Batches",
    params(openapi::OfBatch),
    request_body = Option<Resolve>,
    responses(openapi::Outcome, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn resolve(
    State(api): State<Api>,
    caller: Caller,
    Id(id): Id,
    params: Params,
    content: Content,
) -> Answer {
    params.finish()?;
    caller.may_any(Verb::Write)?;
    let id: Version = id.parse()?;
    let asked: Resolve = match content.length() {
        Some(0) => Resolve::default(),
        _ => content.json().await?,
    };
    let witness = match &asked.witness {
        None => None,
        Some(witness) => {
            let collection = CollectionName::new(&witness.collection)?;
            caller.may(Verb::Write, &collection)?;
            Some((collection, Key::new(&witness.key)?))
        }
    };
    let witness = witness.as_ref().map(|(collection, key)| (collection, key));
    let outcome = api.backend().resolve(id, witness).await?;
    super::json(StatusCode::OK, &OutcomeShape::from(&outcome))
}
