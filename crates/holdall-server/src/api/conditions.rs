//! Conditional headers, and ranges.

use holdall_core::{ByteRange, Condition, Error, Result, Version};
use holdall_wire::{names, read_etag};
use http::{HeaderMap, HeaderName, header};

/// The text of a header; `None` if it is not there.
///
/// # Errors
/// `Invalid` if it stands there twice, or is not ASCII.
pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>> {
    let mut all = headers.get_all(name).iter();
    let Some(value) = all.next() else {
        return Ok(None);
    };
    if all.next().is_some() {
        return Err(Error::invalid(format!(
            "the header {name} stands there twice"
        )));
    }
    value
        .to_str()
        .map(Some)
        .map_err(|error| Error::invalid(format!("the header {name} is not ASCII")).because(error))
}

/// Refuses the header of a frame where the content is of another type: a frame
/// whose type was forgotten would be kept as a body.
pub(crate) fn refuse_head(headers: &HeaderMap) -> Result<()> {
    if !headers.contains_key(names::HEAD_LENGTH) {
        return Ok(());
    }
    Err(Error::invalid(
        "Holdall-Head-Length is for framed content, and Content-Type says another type; \
         send application/vnd.holdall.item for an item, or application/vnd.holdall.batch for a batch",
    ))
}

/// The condition of a write.
pub(crate) fn of_write(headers: &HeaderMap) -> Result<Condition> {
    let matches = text(headers, &header::IF_MATCH)?;
    let none = text(headers, &header::IF_NONE_MATCH)?;
    match (matches.map(str::trim), none.map(str::trim)) {
        (None, None) => Ok(Condition::Any),
        (Some("*"), None) => Ok(Condition::Present),
        (Some(tag), None) => read_etag(tag).map(Condition::Version),
        (None, Some("*")) => Ok(Condition::Absent),
        (None, Some(_)) => Err(Error::invalid(
            "a write takes If-None-Match: * alone, for an item that is to be absent",
        )),
        (Some(_), Some(_)) => Err(Error::invalid(
            "a write takes If-Match or If-None-Match, not both",
        )),
    }
}

/// Whether the request has a condition of HTTP's own, whose failure has a
/// status of its own.
pub(crate) fn has_any(headers: &HeaderMap) -> bool {
    headers.contains_key(header::IF_MATCH) || headers.contains_key(header::IF_NONE_MATCH)
}

/// What a read asks for in headers.
pub(crate) struct OfRead {
    /// Only if it is of this version.
    pub(crate) if_match: Option<Version>,
    /// Only if it is of none of these.
    none_match: Known,
    /// Only this range of the body.
    pub(crate) range: Option<ByteRange>,
    /// The range, only if the item is of this version; else all of it.
    pub(crate) if_range: Option<Version>,
}

/// What the client has already.
enum Known {
    /// `*`: whatever there is.
    Any,
    These(Vec<Version>),
}

impl OfRead {
    /// Whether the client has a version, so that it need not be sent.
    pub(crate) fn knows(&self, version: Version) -> bool {
        match &self.none_match {
            Known::Any => true,
            Known::These(versions) => versions.contains(&version),
        }
    }

    pub(crate) fn read(headers: &HeaderMap) -> Result<Self> {
        let if_match = match text(headers, &header::IF_MATCH)?.map(str::trim) {
            // What is there is there.
            None | Some("*") => None,
            Some(tag) => Some(read_etag(tag)?),
        };
        // A list may stand in several lines.
        let tags = headers.get_all(header::IF_NONE_MATCH).iter();
        let tags = tags.filter_map(|tags| tags.to_str().ok());
        let tags: Vec<_> = tags
            .flat_map(|tags| tags.split(',').map(str::trim))
            .collect();
        let none_match = if tags == ["*"] {
            Known::Any
        } else {
            // Tags that are not Holdall's are of no version that there is.
            let tags = tags.into_iter();
            let tags = tags.map(|tag| tag.strip_prefix("W/").unwrap_or(tag));
            Known::These(tags.filter_map(|tag| read_etag(tag).ok()).collect())
        };
        let range = text(headers, &header::RANGE)?.and_then(read_range);
        let if_range = text(headers, &header::IF_RANGE)?;
        let (range, if_range) = match if_range.map(read_etag) {
            None => (range, None),
            // The item will be of the one, and so cannot be of the other.
            Some(Ok(version)) if if_match.is_some_and(|wanted| wanted != version) => (None, None),
            Some(Ok(version)) => (range, Some(version)),
            // A date, or a tag of another's: it cannot be shown to be the same.
            Some(Err(_)) => (None, None),
        };
        Ok(Self {
            if_match,
            none_match,
            range,
            if_range: if_range.filter(|_| range.is_some()),
        })
    }
}

/// One range of bytes as RFC 9110 writes it. What it does not define, and
/// several ranges, are left out of account, as it says.
fn read_range(text: &str) -> Option<ByteRange> {
    let spec = text.trim().strip_prefix("bytes=")?.trim();
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| text.parse().unwrap_or(u64::MAX))
    };
    match spec.split_once('-')? {
        ("", last) => number(last).map(ByteRange::Last),
        (first, "") => number(first).map(ByteRange::From),
        (first, last) => {
            let (first, last) = (number(first)?, number(last)?);
            (first <= last).then(|| ByteRange::Bounded(first, last.saturating_add(1)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_those_of_http() {
        for (text, want) in [
            ("bytes=0-0", Some(ByteRange::Bounded(0, 1))),
            ("bytes=5-", Some(ByteRange::From(5))),
            ("bytes=-3", Some(ByteRange::Last(3))),
            ("bytes=5-4", None),
            ("bytes=0-1,5-6", None),
            ("bytes=", None),
            ("bytes=-", None),
            ("bytes=+1-2", None),
            ("items=0-1", None),
            (
                "bytes=0-99999999999999999999",
                Some(ByteRange::Bounded(0, u64::MAX)),
            ),
        ] {
            assert_eq!(read_range(text), want, "{text}");
        }
    }
}
