//! Items, one by one.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_core::{
    BackendExt, Batch, ByteRange, CollectionName, Entry, Error, ErrorKind, GetOptions, Item, Key,
    Parts, Result,
};
use holdall_wire::{
    EntryShape, MAX_INLINE_BODY, names, read_range, schema, write_attrs, write_entry,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};

use super::conditions::{self, OfRead};
use super::content::Content;
use super::params::{Params, PathPlace};
use super::{Api, put};
use crate::access::{Caller, Verb};
use crate::openapi;
use crate::{Answer, Failure};

/// Reads an item
///
/// `part=item` answers doc and body as one: the doc is so many bytes at the start as
/// `Holdall-Head-Length` says.
#[utoipa::path(
    get,
    path = "/v1/items/{collection}/{*key}",
    operation_id = "get_item_by_path",
    tag = "Items",
    params(openapi::ByPath, openapi::Reading),
    responses(openapi::Found, openapi::Usual)
)]
pub(super) async fn get_by_path(
    State(api): State<Api>,
    caller: Caller,
    PathPlace(collection, key): PathPlace,
    params: Params,
    request: Request,
) -> Answer {
    let (method, headers) = (request.method(), request.headers());
    read(&api, &caller, &collection, &key, params, method, headers).await
}

/// Reads an item by its names
///
/// The same as by path, for names that paths cannot hold.
#[utoipa::path(
    get,
    path = "/v1/item",
    operation_id = "get_item",
    tag = "Items",
    params(openapi::ByNames, openapi::Reading),
    responses(openapi::Found, openapi::Usual)
)]
pub(super) async fn get(
    State(api): State<Api>,
    caller: Caller,
    mut params: Params,
    request: Request,
) -> Answer {
    let (collection, key) = (params.collection()?, params.key()?);
    let (method, headers) = (request.method(), request.headers());
    read(&api, &caller, &collection, &key, params, method, headers).await
}

/// Puts an item
///
/// In the place of all that was there. `application/json` is the doc,
/// `application/vnd.holdall.item` doc and body framed, and all other types but forms
/// are the body.
#[utoipa::path(
    put, path = "/v1/items/{collection}/{*key}", operation_id = "put_item_by_path", tag = "Items",
    params(openapi::ByPath, openapi::Writing, openapi::Frame),
    request_body(content(
        (schema::Doc = "application/json"),
        (openapi::Raw = "application/octet-stream"),
        (openapi::Raw = "application/vnd.holdall.item"),
    )),
    responses(openapi::StoredByPath, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn put_by_path(
    State(api): State<Api>,
    caller: Caller,
    PathPlace(collection, key): PathPlace,
    params: Params,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    params.finish()?;
    write(&api, &caller, &collection, &key, &headers, content).await
}

/// Puts an item by its names
///
/// The same as by path, for names that paths cannot hold.
#[utoipa::path(
    put, path = "/v1/item", operation_id = "put_item", tag = "Items",
    params(openapi::ByNames, openapi::Writing, openapi::Frame),
    request_body(content(
        (schema::Doc = "application/json"),
        (openapi::Raw = "application/octet-stream"),
        (openapi::Raw = "application/vnd.holdall.item"),
    )),
    responses(openapi::Stored, openapi::WithContent, openapi::Usual),
)]
pub(super) async fn put(
    State(api): State<Api>,
    caller: Caller,
    mut params: Params,
    headers: HeaderMap,
    content: Content,
) -> Answer {
    let (collection, key) = (params.collection()?, params.key()?);
    params.finish()?;
    write(&api, &caller, &collection, &key, &headers, content).await
}

/// Deletes an item
///
/// Also where there is none.
#[utoipa::path(
    delete,
    path = "/v1/items/{collection}/{*key}",
    operation_id = "delete_item_by_path",
    tag = "Items",
    params(openapi::ByPath, openapi::Writing),
    responses(openapi::Done, openapi::WriteFailed, openapi::Usual)
)]
pub(super) async fn delete_by_path(
    State(api): State<Api>,
    caller: Caller,
    PathPlace(collection, key): PathPlace,
    params: Params,
    headers: HeaderMap,
) -> Answer {
    params.finish()?;
    remove(&api, &caller, &collection, &key, &headers).await
}

/// Deletes an item by its names
///
/// The same as by path, for names that paths cannot hold.
#[utoipa::path(
    delete,
    path = "/v1/item",
    operation_id = "delete_item",
    tag = "Items",
    params(openapi::ByNames, openapi::Writing),
    responses(openapi::Done, openapi::WriteFailed, openapi::Usual)
)]
pub(super) async fn delete(
    State(api): State<Api>,
    caller: Caller,
    mut params: Params,
    headers: HeaderMap,
) -> Answer {
    let (collection, key) = (params.collection()?, params.key()?);
    params.finish()?;
    remove(&api, &caller, &collection, &key, &headers).await
}

/// Which content a read asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The body where there is one, else the doc.
    Either,
    Doc,
    Body,
    /// Both, framed.
    Item,
}

/// What a read asks for in the URL.
pub(super) struct Wanted {
    part: Part,
    parts: Parts,
    attrs: bool,
    range: Option<ByteRange>,
}

impl Wanted {
    pub(super) fn read(mut params: Params) -> Result<Self> {
        let (part, parts) = match params.text("part").as_deref() {
            None => (Part::Either, Parts::ALL),
            Some("doc") => (Part::Doc, Parts::DOC),
            Some("body") => (Part::Body, Parts::BODY),
            Some("item") => {
                let doc = params.flag("doc", true)?;
                let body = params.flag("body", true)?;
                (Part::Item, Parts { doc, body })
            }
            Some(other) => {
                return Err(Error::invalid(format!(
                    "the part {other:?} is unknown; there are doc, body and item"
                )));
            }
        };
        let mut wanted = Self {
            part,
            parts,
            attrs: false,
            range: None,
        };
        if part == Part::Item {
            wanted.attrs = params.flag("attrs", false)?;
            wanted.range = params
                .text("range")
                .as_deref()
                .map(read_range)
                .transpose()?;
        }
        params.finish()?;
        Ok(wanted)
    }
}

impl Wanted {
    /// For a read without ranges.
    pub(super) fn whole(params: Params) -> Result<Self> {
        let wanted = Self::read(params)?;
        if wanted.range.is_some() {
            return Err(Error::invalid("a read in a transaction takes no range"));
        }
        Ok(wanted)
    }
}

async fn read(
    api: &Api,
    caller: &Caller,
    collection: &CollectionName,
    key: &Key,
    params: Params,
    method: &Method,
    headers: &HeaderMap,
) -> Answer {
    caller.may(Verb::Read, collection)?;
    let wanted = Wanted::read(params)?;
    let mut asked = OfRead::read(headers)?;
    let head = method == Method::HEAD;
    if head || matches!(wanted.part, Part::Doc | Part::Item) {
        asked.range = None;
        asked.if_range = None;
    }
    let mut options = GetOptions {
        parts: wanted.parts,
        range: asked.range.or(wanted.range),
        if_version: asked.if_match.or(asked.if_range),
    };
    options.parts.body &= !head;
    let backend = api.backend();
    let mut found = backend.get(collection, key, options).await;
    if asked.if_range.is_some() && is(&found, ErrorKind::Conflict) {
        // Another version: all of it.
        asked.range = None;
        options.range = None;
        options.if_version = asked.if_match;
        found = backend.get(collection, key, options).await;
    }
    if asked.range.is_some() && is(&found, ErrorKind::Invalid) {
        let entry = backend.head(collection, key).await?;
        let entry = entry.ok_or_else(|| absent(collection, key))?;
        if asked.knows(entry.version) {
            return Ok(not_modified(&entry));
        }
        return Err(not_satisfiable(entry.size));
    }
    let item = found
        .map_err(|error| of_conditions(error, headers))?
        .ok_or_else(|| absent(collection, key))?;
    if asked.knows(item.entry.version) {
        return Ok(not_modified(&item.entry));
    }
    if asked.range.is_some()
        && let Some(body) = &item.body
        && body.is_empty()
    {
        // A range that starts at the end, which HTTP does not know.
        return Err(not_satisfiable(item.entry.size));
    }
    answer(item, &wanted, collection, asked.range.is_some()).await
}

fn is<T>(result: &Result<T>, kind: ErrorKind) -> bool {
    matches!(result, Err(error) if error.kind() == kind)
}

pub(super) fn absent(collection: &CollectionName, key: &Key) -> Error {
    Error::not_found("there is no such item").at(collection, Some(key))
}

fn not_satisfiable(size: u64) -> Failure {
    let error = Error::invalid(format!(
        "the range lies beyond the body, which has {size} bytes"
    ));
    let range = HeaderValue::from_str(&format!("bytes */{size}"));
    Failure::with_status(error, StatusCode::RANGE_NOT_SATISFIABLE)
        .with_header(header::CONTENT_RANGE, range.ok())
}

/// A conflict is told as a failed condition where the request had one.
pub(super) fn of_conditions(error: Error, headers: &HeaderMap) -> Failure {
    if error.is_conflict() && conditions::has_any(headers) {
        return Failure::with_status(error, StatusCode::PRECONDITION_FAILED);
    }
    error.into()
}

fn not_modified(entry: &Entry) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_MODIFIED;
    describe(entry, response.headers_mut());
    response
}

/// What every answer with an item says.
fn describe(entry: &Entry, headers: &mut HeaderMap) {
    write_entry(entry, headers);
    let cache = HeaderValue::from_static("private, no-cache");
    headers.insert(header::CACHE_CONTROL, cache);
}

/// An item as the content of an answer.
pub(super) async fn answer(
    item: Item,
    wanted: &Wanted,
    collection: &CollectionName,
    partial: bool,
) -> Answer {
    let mut response = Response::new(Body::empty());
    let headers = response.headers_mut();
    describe(&item.entry, headers);
    // What is kept here may be anyone's: no browser is to run or guess it.
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static("default-src 'none'; sandbox"),
    );
    let has_body = item.entry.digest.is_some();
    let serves_body = match wanted.part {
        Part::Either => has_body,
        Part::Doc => false,
        Part::Body if !has_body => {
            let error = Error::not_found("the item has no body").at(collection, Some(&item.key));
            return Err(error.into());
        }
        Part::Body => true,
        Part::Item => return framed(item, wanted, response).await,
    };
    if !serves_body {
        let text = item.doc()?.as_bytes().clone();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        *response.body_mut() = Body::from(text);
        return Ok(response);
    }
    let binary = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, binary);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let size = item.entry.size;
    let Some(body) = item.body else {
        // HEAD: how long the content would be.
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(size));
        return Ok(response);
    };
    let range = body.range();
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    if partial {
        let text = format!(
            "bytes {}-{}/{size}",
            range.start,
            range.end.saturating_sub(1)
        );
        if let Ok(value) = HeaderValue::from_str(&text) {
            headers.insert(header::CONTENT_RANGE, value);
        }
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
    *response.body_mut() = content(body).await?;
    Ok(response)
}

/// A small body in one piece, which needs no stream; a large one as it comes.
async fn content(body: holdall_core::Body) -> Result<Body> {
    if body.len() > MAX_INLINE_BODY {
        return Ok(Body::from_stream(body.into_stream()));
    }
    let limit = usize::try_from(MAX_INLINE_BODY).unwrap_or(usize::MAX);
    Ok(Body::from(body.bytes(limit).await?))
}

/// Doc and body in one.
async fn framed(item: Item, wanted: &Wanted, mut response: Response) -> Answer {
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(names::ITEM_TYPE),
    );
    let doc = item
        .doc
        .as_ref()
        .map_or_else(Bytes::new, |doc| doc.as_bytes().clone());
    headers.insert(names::HEAD_LENGTH, HeaderValue::from(doc.len()));
    if wanted.attrs
        && !item.attrs.is_empty()
        && let Ok(value) = HeaderValue::from_str(&write_attrs(&item.attrs))
    {
        headers.insert(names::ATTRS, value);
    }
    let range = match &item.body {
        Some(body) => body.range(),
        // HEAD: how long the content would be.
        None if wanted.parts.body && item.entry.digest.is_some() => {
            let range = wanted.range.unwrap_or(ByteRange::From(0));
            range.resolve(item.entry.size)?
        }
        None => {
            *response.body_mut() = Body::from(doc);
            return Ok(response);
        }
    };
    if let Ok(value) = HeaderValue::from_str(&format!("{}..{}", range.start, range.end)) {
        headers.insert(names::RANGE, value);
    }
    let length = doc.len() as u64 + range.end.saturating_sub(range.start);
    headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    let Some(body) = item.body else {
        return Ok(response);
    };
    *response.body_mut() = if body.len() <= MAX_INLINE_BODY {
        let limit = usize::try_from(MAX_INLINE_BODY).unwrap_or(usize::MAX);
        let body = body.bytes(limit).await?;
        Body::from_stream(stream::iter([Ok::<_, Error>(doc), Ok(body)]))
    } else {
        let head = stream::once(async move { Ok(doc) });
        Body::from_stream(head.chain(body.into_stream()))
    };
    Ok(response)
}

async fn write(
    api: &Api,
    caller: &Caller,
    collection: &CollectionName,
    key: &Key,
    headers: &HeaderMap,
    content: Content,
) -> Answer {
    caller.may(Verb::Write, collection)?;
    let condition = conditions::of_write(headers)?;
    let mut batch = batch_of(headers)?;
    let read = put::read(api, collection, key, condition, headers, content).await;
    let (put, _hold) = read.map_err(|failure| match failure {
        put::Refused::Early(error) => of_conditions(error, headers),
        put::Refused::Failed(failure) => failure,
    })?;
    batch = batch.put(collection, key, condition, put);
    let written = write_batch(api, batch).await;
    let written = written.map_err(|error| of_conditions(error, headers))?;
    let entry = written.entries.into_iter().flatten().next();
    let entry = entry.ok_or_else(|| Error::other("the store answered a put without an entry"))?;
    let status = if entry.created == entry.modified {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    let mut response = super::json(status, &EntryShape::from(&entry))?;
    write_entry(&entry, response.headers_mut());
    Ok(response)
}

async fn remove(
    api: &Api,
    caller: &Caller,
    collection: &CollectionName,
    key: &Key,
    headers: &HeaderMap,
) -> Answer {
    caller.may(Verb::Write, collection)?;
    let condition = conditions::of_write(headers)?;
    let batch = batch_of(headers)?.delete(collection, key, condition);
    let written = write_batch(api, batch).await;
    written.map_err(|error| of_conditions(error, headers))?;
    Ok(super::no_content())
}

fn batch_of(headers: &HeaderMap) -> Result<Batch> {
    let id = conditions::text(headers, &names::BATCH)?;
    id.map_or_else(|| Ok(Batch::new()), |id| id.parse().map(Batch::with_id))
}

/// Writes a batch that fits the limits of the server.
pub(super) async fn write_batch(api: &Api, batch: Batch) -> Result<holdall_core::Written> {
    batch.validate(api.can())?;
    api.backend().write(batch).await
}
