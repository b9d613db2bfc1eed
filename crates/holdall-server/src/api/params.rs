//! What stands in URLs: names, and the parameters of the query string.

use axum::extract::{FromRequestParts, Path};
use holdall_core::{CollectionName, Error, Key, Result};
use http::request::Parts as RequestParts;

use crate::Failure;

/// The parameters of a query string. Each is taken once; what is left over at
/// the end is unknown.
pub(crate) struct Params(Vec<(String, String)>);

impl Params {
    fn read(query: &str) -> Result<Self> {
        let mut all: Vec<(String, String)> = Vec::new();
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let name = decode(name, true)?;
            if all.iter().any(|(own, _)| *own == name) {
                return Err(Error::invalid(format!(
                    "the parameter {name:?} stands in the URL twice"
                )));
            }
            all.push((name, decode(value, true)?));
        }
        Ok(Self(all))
    }

    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.0.iter().position(|(own, _)| own == name)?;
        Some(self.0.swap_remove(at).1)
    }

    pub(crate) fn need(&mut self, name: &str) -> Result<String> {
        self.text(name)
            .ok_or_else(|| Error::invalid(format!("the parameter {name:?} is missing in the URL")))
    }

    pub(crate) fn collection(&mut self) -> Result<CollectionName> {
        CollectionName::new(self.need("collection")?)
    }

    pub(crate) fn key(&mut self) -> Result<Key> {
        Key::new(self.need("key")?)
    }

    pub(crate) fn flag(&mut self, name: &str, default: bool) -> Result<bool> {
        match self.text(name).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(other) => Err(Error::invalid(format!(
                "the parameter {name:?} is true or false, not {other:?}"
            ))),
        }
    }

    pub(crate) fn number(&mut self, name: &str) -> Result<Option<u64>> {
        self.text(name)
            .map(|text| {
                text.parse().map_err(|error| {
                    Error::invalid(format!("the parameter {name:?} is a number, not {text:?}"))
                        .because(error)
                })
            })
            .transpose()
    }

    /// Refuses what was not taken.
    pub(crate) fn finish(self) -> Result<()> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(Error::invalid(format!(
                "the parameter {name:?} is unknown here; /docs lists those there are"
            ))),
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut RequestParts, _: &S) -> Result<Self, Failure> {
        Ok(Self::read(parts.uri.query().unwrap_or_default())?)
    }
}

/// The item that a path names: `/v1/items/COLLECTION/KEY`.
pub(crate) struct PathPlace(pub(crate) CollectionName, pub(crate) Key);

impl<S: Send + Sync> FromRequestParts<S> for PathPlace {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut RequestParts, _: &S) -> Result<Self, Failure> {
        let path = parts.uri.path().strip_prefix("/v1/items/");
        let (collection, key) = path
            .and_then(|path| path.split_once('/'))
            .ok_or_else(|| Error::invalid("the path of an item is /v1/items/COLLECTION/KEY"))?;
        for segment in std::iter::once(collection).chain(key.split('/')) {
            if is_dots(segment) {
                return Err(Error::invalid(
                    "a path with a segment of dots is rewritten on its way; write \
                     /v1/item?collection=…&key=… instead",
                )
                .into());
            }
        }
        Ok(Self(
            CollectionName::new(decode(collection, false)?)?,
            Key::new(decode(key, false)?)?,
        ))
    }
}

/// Whether a segment of a path is `.` or `..`, encoded or not.
fn is_dots(segment: &str) -> bool {
    let dots =
        segment.len() <= "%2E%2E".len() && !segment.is_empty() && segment.starts_with(['.', '%']);
    dots && matches!(
        segment.to_ascii_lowercase().replace("%2e", ".").as_str(),
        "." | ".."
    )
}

/// The id in a path.
pub(crate) struct Id(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut RequestParts, state: &S) -> Result<Self, Failure> {
        let id = Path::from_request_parts(parts, state).await;
        let Path(id) = id.map_err(|error| {
            Error::invalid("the id in the URL is not UTF-8 when it is decoded").because(error)
        })?;
        Ok(Self(id))
    }
}

/// Decodes what is percent-encoded, and refuses what is not valid: nothing is
/// turned into another name.
fn decode(text: &str, plus_is_space: bool) -> Result<String> {
    if !text.contains(['%', '+']) {
        return Ok(text.to_owned());
    }
    let mut escapes = text.split('%');
    escapes.next();
    let valid = escapes.all(|rest| {
        let mut digits = rest.bytes().take(2).map(|byte| byte.is_ascii_hexdigit());
        digits.next() == Some(true) && digits.next() == Some(true)
    });
    if !valid {
        return Err(Error::invalid(
            "the URL has a % without two hexadecimal digits behind it; write %25 for a %",
        ));
    }
    let text = if plus_is_space {
        text.replace('+', " ").into()
    } else {
        std::borrow::Cow::Borrowed(text)
    };
    let decoded = percent_encoding::percent_decode_str(&text).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|error| Error::invalid("the URL is not UTF-8 when it is decoded").because(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_decoded_is_exact_or_refused() {
        assert_eq!(decode("a%2Fb%20c+d", false).unwrap(), "a/b c+d");
        assert_eq!(decode("a%2Fb%20c+d%2B", true).unwrap(), "a/b c d+");
        for text in ["%", "%2", "%zz", "a%", "%2%20", "%ff", "%c3"] {
            assert!(decode(text, false).is_err(), "{text}");
        }
    }

    #[test]
    fn a_parameter_stands_once_and_is_known() {
        assert!(Params::read("a=1&a=2").is_err());
        assert!(Params::read("a=1&%61=2").is_err());
        let mut params = Params::read("a=1&b=true&c").unwrap();
        assert_eq!(params.number("a").unwrap(), Some(1));
        assert!(params.flag("b", false).unwrap());
        assert!(params.finish().unwrap_err().message().contains("\"c\""));
    }
}
