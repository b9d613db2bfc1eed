//! The content of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{ByteStream, Error, ErrorKind, Result};
use holdall_wire::read_object;
use http::{HeaderMap, StatusCode, header};
use serde::de::DeserializeOwned;

use super::Api;
use crate::Failure;
use crate::budget::Hold;

/// The content of a request, not read yet.
pub(crate) struct Content {
    stream: ByteStream,
    length: Option<u64>,
    kind: Option<String>,
    /// What was taken off its start, and is in memory beside it.
    hold: Hold,
    /// Set when the content itself came too slowly, or not to its end.
    fault: Arc<AtomicBool>,
}

impl FromRequest<Api> for Content {
    type Rejection = Failure;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        if parts.headers.contains_key(header::CONTENT_ENCODING) {
            let error = Error::invalid(
                "content that is compressed is not taken; send it as it is, without Content-Encoding",
            );
            return Err(Failure::with_status(
                error,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
            ));
        }
        let fault = Arc::new(AtomicBool::new(false));
        Ok(Self {
            length: http_body::Body::size_hint(&body).exact(),
            kind: media_type(&parts.headers),
            stream: pieces(body, fault.clone()),
            hold: api.budget().hold(),
            fault,
        })
    }
}

/// The type in `Content-Type`, in lower case and without parameters.
fn media_type(headers: &HeaderMap) -> Option<String> {
    let text = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let kind = text.split(';').next().unwrap_or_default();
    Some(kind.trim().to_ascii_lowercase())
}

fn pieces(body: Body, fault: Arc<AtomicBool>) -> ByteStream {
    body.into_data_stream()
        .map_err(move |error| {
            fault.store(true, Ordering::Relaxed);
            let error = error.into_inner();
            match error.downcast::<Error>() {
                Ok(error) => *error,
                Err(error) => Error::invalid("the content of the request did not come to its end")
                    .because(error),
            }
        })
        .boxed()
}

impl Content {
    /// Its type, in lower case and without parameters.
    pub(crate) fn kind(&self) -> Option<&str> {
        self.kind.as_deref()
    }

    /// Its length, if the request said it.
    pub(crate) fn length(&self) -> Option<u64> {
        self.length
    }

    /// Refuses another type than this one.
    pub(crate) fn must_be(&self, kind: &str) -> Result<(), Failure> {
        if self.kind() == Some(kind) {
            return Ok(());
        }
        let error = Error::invalid(format!(
            "the content must be {kind}, and Content-Type says {}",
            self.kind().unwrap_or("nothing")
        ));
        Err(Failure::with_status(
            error,
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
        ))
    }

    /// What an error means that came while the content was read: a slow
    /// request is the client's fault, a slow store is not.
    fn blame(fault: &AtomicBool, error: Error) -> Failure {
        let status = match error.kind() {
            ErrorKind::Timeout if fault.load(Ordering::Relaxed) => StatusCode::REQUEST_TIMEOUT,
            _ => return error.into(),
        };
        Failure::with_status(error, status)
    }

    /// All of it in memory, up to a limit, and what it takes with what was
    /// split off before.
    pub(crate) async fn bytes(mut self, what: &str, limit: u64) -> Result<(Bytes, Hold), Failure> {
        let before = self.hold.bytes();
        let too_large = |size: u64| {
            Error::too_large(format!(
                "the {what} has {size} bytes or more; the limit of this server is {limit}"
            ))
        };
        if let Some(length) = self.length.filter(|length| *length > limit) {
            return Err(too_large(length).into());
        }
        let mut all = BytesMut::new();
        while let Some(piece) = self.stream.next().await {
            let piece = piece.map_err(|error| Self::blame(&self.fault, error))?;
            let size = (all.len() + piece.len()) as u64;
            if size > limit {
                return Err(too_large(size).into());
            }
            self.hold.grow_to(before + size)?;
            all.extend_from_slice(&piece);
        }
        Ok((all.freeze(), self.hold))
    }

    /// Its JSON.
    pub(crate) async fn json<T: DeserializeOwned>(self) -> Result<T, Failure> {
        /// Room for a filter with large values, or many keys.
        const MAX_JSON: u64 = 4 * 1024 * 1024;
        self.must_be("application/json")?;
        let (text, _hold) = self.bytes("JSON", MAX_JSON).await?;
        Ok(read_object(&text)?)
    }

    /// Takes a head of so many bytes off its start.
    pub(crate) async fn split(mut self, head: u64, limit: u64) -> Result<(Bytes, Self), Failure> {
        let too_short = || {
            Error::invalid(format!(
                "the content ends before the head of {head} bytes that Holdall-Head-Length says"
            ))
        };
        if head > limit {
            return Err(Error::too_large(format!(
                "the head has {head} bytes; the limit of this server is {limit}"
            ))
            .into());
        }
        self.hold.grow_to(head)?;
        let wanted = usize::try_from(head).unwrap_or(usize::MAX);
        let mut all = BytesMut::new();
        while all.len() < wanted {
            let piece = self.stream.next().await.ok_or_else(too_short)?;
            all.extend_from_slice(&piece.map_err(|error| Self::blame(&self.fault, error))?);
        }
        let rest = all.split_off(wanted).freeze();
        self.length = self.length.map(|length| length.saturating_sub(head));
        if !rest.is_empty() {
            self.stream = stream::once(async move { Ok(rest) })
                .chain(self.stream)
                .boxed();
        }
        Ok((all.freeze(), self))
    }

    /// Hands it to something that reads it as a stream, with a limit. With the
    /// answer comes what is held of it in memory.
    pub(crate) async fn read_by<T, F>(
        self,
        limit: u64,
        reader: impl FnOnce(ByteStream) -> F,
    ) -> Result<(T, Hold), Failure>
    where
        F: Future<Output = Result<T>>,
    {
        let too_large = move || {
            Error::too_large(format!(
                "the body has more than {limit} bytes, the limit of this server"
            ))
        };
        if self.length.is_some_and(|length| length > limit) {
            return Err(too_large().into());
        }
        let mut size = 0;
        let bounded = self.stream.map(move |piece| {
            let piece = piece?;
            size += piece.len() as u64;
            if size > limit {
                return Err(too_large());
            }
            Ok(piece)
        });
        match reader(bounded.boxed()).await {
            Ok(read) => Ok((read, self.hold)),
            Err(error) => Err(Self::blame(&self.fault, error)),
        }
    }
}
