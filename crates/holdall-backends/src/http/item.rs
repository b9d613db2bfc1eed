//! Reads one item.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use holdall_core::{
    Attrs, Body, ByteRange, CollectionName, Digest, Doc, Entry, Error, ErrorKind, GetOptions, Item,
    Key, MAX_DOC, Parts, Result, Version,
};
use holdall_wire::{etag, names, read_attrs, read_entry, read_range, write_range};
use http::{HeaderMap, HeaderName, StatusCode, header};

use super::Shared;
use super::body::Reading;
use super::failure::{Unanswered, garbled};
use super::transport::{Answer, Call};

/// Bodies up to this size are read at once, and leave their connection free.
pub(super) const SMALL: u64 = 64 * 1024;

/// Where an item is.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) collection: CollectionName,
    pub(super) key: Key,
}

impl Place {
    pub(super) fn new(collection: &CollectionName, key: &Key) -> Self {
        Self {
            collection: collection.clone(),
            key: key.clone(),
        }
    }

    /// A call about this item.
    pub(super) fn call(&self, method: http::Method) -> Call {
        Call::new(method, "/v1/item")
            .with("collection", self.collection.as_str())
            .with("key", self.key.as_str())
    }

    /// Whether an error is the server's word that there is no such item.
    fn is_missing(&self, error: &Error) -> bool {
        error.kind() == ErrorKind::NotFound
            && error.collection() == Some(&self.collection)
            && error.key() == Some(&self.key)
    }
}

/// Reads an item; `None` if the server says that there is none.
pub(super) async fn get(
    shared: &Arc<Shared>,
    place: &Place,
    options: GetOptions,
) -> Result<Option<Item>> {
    let call = call(place, options);
    let first = shared.transport.send(&call).await;
    let first = match read(shared, place, options, first).await {
        Err(lost) if lost.breaks_off() => lost,
        result => return result.map_err(|lost| lost.error),
    };
    let second = shared.transport.send_afresh(&call).await;
    read(shared, place, options, second)
        .await
        .map_err(|second| {
            if second.is_refusal() {
                second.error
            } else {
                first.error
            }
        })
}

fn call(place: &Place, options: GetOptions) -> Call {
    let mut call = place
        .call(http::Method::GET)
        .with("part", "item")
        .with("attrs", "true");
    if !options.parts.doc {
        call = call.with("doc", "false");
    }
    if !options.parts.body {
        call = call.with("body", "false");
    }
    if let Some(range) = options.range {
        call = call.with("range", &write_range(range));
    }
    match options.if_version {
        Some(version) => call.header(header::IF_MATCH, etag(version)),
        None => call,
    }
}

async fn read(
    shared: &Arc<Shared>,
    place: &Place,
    options: GetOptions,
    answer: Result<Answer, Unanswered>,
) -> Result<Option<Item>, Unanswered> {
    let answer = answer?;
    if answer.status == StatusCode::NOT_FOUND {
        let told = super::failure::of_answer(answer).await;
        return match place.is_missing(&told.error) {
            _ if !told.is_refusal() => Err(told),
            true => Ok(None),
            false => Err(Unanswered::told(misplaced(told.error))),
        };
    }
    let mut frame = Frame::of(answer.success().await?)?;
    options.check_version(frame.entry.version)?;
    let head = frame.content.take(frame.head).await?;
    let doc = match options.parts.doc {
        true if head.is_empty() => return Err(garbled("no doc").into()),
        true => Some(Doc::from_stored(head)),
        false => None,
    };
    let (entry, attrs) = (frame.entry, std::mem::take(&mut frame.attrs));
    let body = match (options.parts.body, entry.digest) {
        (true, Some(digest)) => Some(body(shared, place, options.range, digest, frame).await?),
        _ => {
            frame.content.end().await?;
            None
        }
    };
    Ok(Some(Item {
        key: place.key.clone(),
        entry,
        doc,
        body,
        attrs,
    }))
}

/// That something answers `not found` does not mean that the item is not
/// there, unless it says so of this very item.
fn misplaced(error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    Error::unavailable(
        "the server says that something is not found, but not that it is this item; is the path of its URL right?",
    )
    .because(error)
}

/// Doc and body in one, with the headers of the item read.
struct Frame {
    entry: Entry,
    attrs: Attrs,
    /// The bytes of the doc, which come first.
    head: usize,
    /// Which bytes of the body come then, if the server says so.
    range: Option<ByteRange>,
    content: Content,
}

impl Frame {
    fn of(answer: Answer) -> Result<Self> {
        if !answer.is_of_type(names::ITEM_TYPE) {
            return Err(garbled("another type than that of an item"));
        }
        let headers = &answer.headers;
        let wrong = |error: Error| garbled("headers that are not those of an item").because(error);
        let entry = read_entry(headers).map_err(wrong)?;
        let head = text(headers, &names::HEAD_LENGTH).and_then(|text| text.parse().ok());
        let head = head.filter(|head| *head <= MAX_DOC);
        let attrs = text(headers, &names::ATTRS).map(read_attrs).transpose();
        let range = text(headers, &names::RANGE).map(read_range).transpose();
        Ok(Self {
            entry,
            attrs: attrs.map_err(wrong)?.unwrap_or_default(),
            head: head.ok_or_else(|| garbled("no length of its doc, or one beyond all docs"))?,
            range: range.map_err(wrong)?,
            content: Content::new(answer),
        })
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// The body behind the doc: here if it is small, else read while it is
/// consumed.
async fn body(
    shared: &Arc<Shared>,
    place: &Place,
    wanted: Option<ByteRange>,
    digest: Digest,
    frame: Frame,
) -> Result<Body, Unanswered> {
    let size = frame.entry.size;
    let range = wanted.unwrap_or(ByteRange::From(0)).resolve(size)?;
    let said = match frame.range {
        None if wanted.is_some() => return Err(garbled("no word of which range it is").into()),
        None => 0..size,
        Some(said) => said
            .resolve(size)
            .map_err(|error| garbled("a range beyond its body").because(error))?,
    };
    if said != range {
        return Err(garbled("another range than was asked for").into());
    }
    if range.end - range.start > SMALL {
        let reading = Reading::of(shared, place.clone(), &frame.entry, digest, range.clone());
        let stream = reading.going_on(frame.content.lasts()).stream();
        return Ok(Body::from_stream(range, stream));
    }
    let mut content = frame.content;
    let length = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
    let bytes = content.take(length).await?;
    content.end().await?;
    if length as u64 == size && Digest::of(&bytes) != digest {
        return Err(altered(&place.collection, &place.key).into());
    }
    Ok(Body::from_bytes(bytes, range.start))
}

/// The error of a body that is not the one that was put.
pub(super) fn altered(collection: &CollectionName, key: &Key) -> Error {
    Error::corrupt("the body that came is not the one that was put: its digest differs. Read it again; if that is so again, it was changed on the way or where it is stored")
        .at(collection, Some(key))
}

/// What is to come of an answer, in pieces of the reader's choice.
pub(super) struct Content {
    answer: Answer,
    /// Read and not taken yet.
    ahead: Bytes,
}

impl Content {
    pub(super) fn new(answer: Answer) -> Self {
        Self {
            answer,
            ahead: Bytes::new(),
        }
    }

    /// Exactly so many bytes.
    async fn take(&mut self, length: usize) -> Result<Bytes, Unanswered> {
        if self.ahead.len() >= length {
            return Ok(self.ahead.split_to(length));
        }
        let mut taken = BytesMut::from(std::mem::take(&mut self.ahead));
        while taken.len() < length {
            let Some(mut piece) = self.answer.next().await? else {
                return Err(Unanswered::cut());
            };
            let rest = length - taken.len();
            taken.extend_from_slice(&piece.split_to(rest.min(piece.len())));
            self.ahead = piece;
        }
        Ok(taken.freeze())
    }

    /// The next piece; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Unanswered> {
        if self.ahead.is_empty() {
            return self.answer.next().await;
        }
        Ok(Some(std::mem::take(&mut self.ahead)))
    }

    /// Checks that there is nothing more.
    pub(super) async fn end(&mut self) -> Result<(), Unanswered> {
        match self.next().await? {
            None => Ok(()),
            Some(_) => Err(garbled("more bytes than it says").into()),
        }
    }

    fn lasts(self) -> Self {
        Self {
            answer: self.answer.lasts(),
            ahead: self.ahead,
        }
    }
}

/// Reads a range of a body from there on, if the item is still of a version.
///
/// # Errors
/// `Conflict` if it is not, or gone.
pub(super) async fn open_range(
    shared: &Arc<Shared>,
    place: &Place,
    version: Version,
    size: u64,
    range: Range<u64>,
) -> Result<Content, Unanswered> {
    let wanted = ByteRange::Bounded(range.start, range.end);
    let options = GetOptions {
        parts: Parts::BODY,
        range: Some(wanted),
        if_version: Some(version),
    };
    let answer = shared.transport.send(&call(place, options)).await?;
    if answer.status == StatusCode::NOT_FOUND {
        let told = super::failure::of_answer(answer).await;
        return Err(match place.is_missing(&told.error) {
            _ if !told.is_refusal() => told,
            true => changed(place, "deleted").into(),
            false => misplaced(told.error).into(),
        });
    }
    let answer = answer
        .success()
        .await
        .map_err(|told| match told.error.is_conflict() {
            true => changed(place, "changed").into(),
            false => told,
        })?;
    let mut frame = Frame::of(answer)?;
    if frame.entry.version != version {
        return Err(changed(place, "changed").into());
    }
    if frame.entry.size != size || frame.range != Some(wanted) {
        return Err(garbled("another range than was asked for").into());
    }
    let head = frame.head;
    frame.content.take(head).await?;
    Ok(frame.content.lasts())
}

fn changed(place: &Place, how: &str) -> Error {
    Error::conflict(format!(
        "the item was {how} before its body was read to the end; read it again"
    ))
    .at(&place.collection, Some(&place.key))
}
