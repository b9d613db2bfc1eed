//! Errors as problem documents (RFC 9457).

use holdall_core::{CollectionName, Error, ErrorKind, Key, Retry, Version};
use http::StatusCode;
use serde::{Deserialize, Serialize};

/// An error on the wire.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Problem {
    /// `urn:holdall:error:` and the kind.
    #[serde(rename = "type")]
    #[cfg_attr(feature = "openapi", schema(pattern = "^urn:holdall:error:[a-z_]+$"))]
    pub uri: String,
    /// The kind in words.
    pub title: String,
    /// The HTTP status.
    #[cfg_attr(feature = "openapi", schema(minimum = 400, maximum = 599))]
    pub status: u16,
    /// A sentence that says what happened, and what to do next.
    pub detail: String,
    /// The kind of error.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::KindName))]
    pub kind: String,
    /// Whether the same again helps: `no`, `yes`, or `unknown`: then it may
    /// have happened.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::RetryName))]
    pub retry: String,
    /// The collection that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Collection, required = false))]
    pub collection: Option<String>,
    /// The key that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Key, required = false))]
    pub key: Option<String>,
    /// The batch that it is about, to be resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Version, required = false))]
    pub batch: Option<String>,
}

impl Problem {
    /// The MIME type.
    pub const TYPE: &str = "application/problem+json";

    /// An error, with the status of its kind.
    pub fn of(error: &Error) -> Self {
        Self::with_status(error, status_of(error.kind()))
    }

    /// An error with a status of its own.
    pub fn with_status(error: &Error, status: StatusCode) -> Self {
        let kind = error.kind().name();
        let mut detail = error.message().to_owned();
        if let Some(cause) = std::error::Error::source(error) {
            detail = format!("{detail}: {cause}");
        }
        Self {
            uri: format!("urn:holdall:error:{kind}"),
            title: title(kind),
            status: status.as_u16(),
            detail,
            kind: kind.to_owned(),
            retry: match error.retry() {
                Retry::No => "no",
                Retry::Yes => "yes",
                Retry::Unknown => "unknown",
            }
            .to_owned(),
            collection: error.collection().map(|name| name.as_str().to_owned()),
            key: error.key().map(|key| key.as_str().to_owned()),
            batch: error.batch().map(|id| id.to_string()),
        }
    }

    /// The error that it tells of. A kind that this version does not know is
    /// [`ErrorKind::Other`].
    pub fn into_error(self) -> Error {
        let kind = ErrorKind::ALL
            .into_iter()
            .find(|kind| kind.name() == self.kind)
            .unwrap_or(ErrorKind::Other);
        let retry = match self.retry.as_str() {
            "yes" => Retry::Yes,
            "unknown" => Retry::Unknown,
            _ => Retry::No,
        };
        let mut error = Error::new(kind, retry, self.detail);
        let collection = self
            .collection
            .and_then(|name| CollectionName::new(name).ok());
        if let Some(collection) = collection {
            let key = self.key.and_then(|key| Key::new(key).ok());
            error = error.at(&collection, key.as_ref());
        }
        match self.batch.and_then(|id| id.parse::<Version>().ok()) {
            Some(id) => error.for_batch(id),
            None => error,
        }
    }
}

/// `too_large` as "Too large".
fn title(kind: &str) -> String {
    let mut title = kind.replace('_', " ");
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    title
}

/// The status of a kind of error, where the request asks for no other.
pub fn status_of(kind: ErrorKind) -> StatusCode {
    match kind {
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::Expired => StatusCode::GONE,
        ErrorKind::Invalid => StatusCode::BAD_REQUEST,
        ErrorKind::Unsupported => StatusCode::UNPROCESSABLE_ENTITY,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::Unavailable | ErrorKind::Closed => StatusCode::SERVICE_UNAVAILABLE,
        ErrorKind::Timeout => StatusCode::GATEWAY_TIMEOUT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// What kind of error a status is that came without a problem document: of a
/// proxy, say. Never [`ErrorKind::NotFound`]: that a proxy does not know the
/// way does not mean that an item is not there.
pub fn kind_of_status(status: StatusCode) -> (ErrorKind, Retry) {
    match status.as_u16() {
        401 | 403 | 407 => (ErrorKind::Denied, Retry::No),
        408 | 504 => (ErrorKind::Timeout, Retry::Yes),
        413 | 414 | 431 => (ErrorKind::TooLarge, Retry::No),
        404 | 429 | 502 | 503 => (ErrorKind::Unavailable, Retry::Yes),
        400..=499 => (ErrorKind::Invalid, Retry::No),
        _ => (ErrorKind::Other, Retry::No),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_comes_through_with_all_that_a_caller_acts_on() {
        let (collection, key) = (
            CollectionName::new("books").unwrap(),
            Key::new("a/ü").unwrap(),
        );
        let id = "0193c1f0-8a2b-7c3d-9e4f-001122334455".parse().unwrap();
        for kind in ErrorKind::ALL {
            for retry in [Retry::No, Retry::Yes, Retry::Unknown] {
                let error = Error::new(kind, retry, "it went wrong")
                    .at(&collection, Some(&key))
                    .for_batch(id);
                let text = serde_json::to_string(&Problem::of(&error)).unwrap();
                let read: Problem = serde_json::from_str(&text).unwrap();
                assert_eq!(read.status, status_of(kind).as_u16());
                let back = read.into_error();
                assert_eq!((back.kind(), back.retry()), (kind, retry));
                assert_eq!(back.to_string(), error.to_string());
                assert_eq!(back.batch(), Some(id));
            }
        }
    }
}
