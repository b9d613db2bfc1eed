//! The content of a put: a doc, a body, or both.

use holdall_core::{
    Attrs, BackendExt, CollectionName, Condition, Doc, Error, ErrorKind, Key, NewBody, Operation,
    Put, Result,
};
use holdall_wire::{MAX_INLINE_BODY, names, read_attrs};
use http::{HeaderMap, StatusCode};

use super::content::Content;
use super::{Api, conditions};
use crate::Failure;
use crate::budget::Hold;

/// Why a put was not read.
pub(super) enum Refused {
    /// Its condition does not hold, which showed before its body was read.
    Early(Error),
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Refused {
    fn from(error: E) -> Self {
        Self::Failed(error.into())
    }
}

/// Reads what is put. A body that is not small is staged: it is neither held
/// in memory nor in the way of other writers while it comes in.
pub(super) async fn read(
    api: &Api,
    collection: &CollectionName,
    key: &Key,
    condition: Condition,
    headers: &HeaderMap,
    content: Content,
) -> Result<(Put, Hold), Refused> {
    let attrs = match conditions::text(headers, &names::ATTRS)? {
        Some(text) => read_attrs(text)?,
        None => Attrs::default(),
    };
    let without_body = match conditions::text(headers, &names::BODY)? {
        None => false,
        Some("none") => true,
        Some(_) => return Err(Error::invalid("the header Holdall-Body takes none alone").into()),
    };
    if content.kind() != Some(names::ITEM_TYPE) {
        conditions::refuse_head(headers)?;
    }
    let max_doc = api.can().max_doc as u64;
    let (doc, content) = match content.kind() {
        Some("application/json") => {
            let (text, hold) = content.bytes("doc", max_doc).await?;
            let put = Put {
                doc: Doc::parse(text)?,
                body: NewBody::None,
                attrs,
            };
            return Ok((put, hold));
        }
        Some("application/x-www-form-urlencoded" | "multipart/form-data") => {
            let error = Error::invalid(
                "forms are not taken. Send Content-Type: application/json for a doc \
                 (curl --json), or application/octet-stream for a body (curl -T FILE)",
            );
            return Err(Failure::with_status(error, StatusCode::UNSUPPORTED_MEDIA_TYPE).into());
        }
        Some(names::ITEM_TYPE) => {
            let head = conditions::text(headers, &names::HEAD_LENGTH)?.ok_or_else(|| {
                Error::invalid("a framed item needs the header Holdall-Head-Length")
            })?;
            let head = head.parse().map_err(|error| {
                Error::invalid("Holdall-Head-Length is no number").because(error)
            })?;
            let (doc, rest) = content.split(head, max_doc).await?;
            let doc = if doc.is_empty() {
                Doc::empty()
            } else {
                Doc::parse(doc)?
            };
            (doc, rest)
        }
        _ => (Doc::empty(), content),
    };
    if without_body {
        let hold = nothing(content).await?;
        let body = NewBody::None;
        return Ok((Put { doc, body, attrs }, hold));
    }
    let small = content
        .length()
        .is_some_and(|length| length <= MAX_INLINE_BODY);
    let (body, hold) = if small {
        let limit = MAX_INLINE_BODY.min(api.can().max_body);
        let (bytes, hold) = content.bytes("body", limit).await?;
        (NewBody::Bytes(bytes), hold)
    } else {
        refuse_early(api, collection, key, condition).await?;
        let max_body = api.can().max_body;
        let backend = api.backend();
        let (staged, hold) = content
            .read_by(max_body, |stream| backend.stage(collection, stream))
            .await?;
        (NewBody::Staged(staged), hold)
    };
    Ok((Put { doc, body, attrs }, hold))
}

/// Nothing stands behind the doc of an item without a body.
async fn nothing(content: Content) -> Result<Hold, Failure> {
    let read = content.bytes("content behind the doc", 0).await;
    let (_, hold) = read.map_err(|failure| match failure.error().kind() {
        ErrorKind::TooLarge => {
            Error::invalid("Holdall-Body: none says that the item has no body, and there is one")
                .into()
        }
        _ => failure,
    })?;
    Ok(hold)
}

/// A large body whose put cannot succeed as things are need not come in.
async fn refuse_early(
    api: &Api,
    collection: &CollectionName,
    key: &Key,
    condition: Condition,
) -> Result<(), Refused> {
    if condition == Condition::Any {
        return Ok(());
    }
    let entry = api.backend().head(collection, key).await?;
    let operation = Operation {
        collection: collection.clone(),
        key: key.clone(),
        condition,
        action: holdall_core::Action::Check,
    };
    let current = entry.map(|entry| entry.version);
    condition.check(&operation, current).map_err(Refused::Early)
}
