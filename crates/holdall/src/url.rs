//! URLs of backends.

use std::fmt;

use holdall_core::{Error, Result};

/// The most bytes of a URL.
const MAX_URL: usize = 8 * 1024;

/// The URL of a backend: `scheme:location`, and options behind a question mark:
/// `sqlite:data/holdall.db?synchronous=normal&readers=8`.
///
/// - The scheme is a letter and then letters, digits, `+`, `.` and `-`; case
///   does not matter.
/// - The location means what the backend says: a path for `sqlite:`, nothing
///   for `memory:`. A path is taken as it stands, relative to the working
///   folder or absolute (`sqlite:/var/lib/holdall.db`).
/// - Options are `name=value`, joined by `&`, each name once.
/// - `%` and two hexadecimal digits stand for a byte, so `%25` is `%`, `%3F` is
///   `?` and `%23` is `#`, and these three must be written so in a path. What
///   is decoded must be UTF-8 without U+0000. A plus is a plus.
/// - There is no fragment, no control character, and at most 8 KiB.
///
/// It prints with passwords and other secrets replaced by `***`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Url {
    scheme: String,
    location: String,
    options: Vec<(String, String)>,
    text: String,
}

impl Url {
    pub(crate) fn parse(text: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Error::invalid(format!(
                "the URL {:?} is not valid: {why}",
                shortened(&redact(text))
            ))
        };
        if text.len() > MAX_URL {
            return Err(Error::too_large(format!(
                "the URL has {} bytes; the limit is {MAX_URL}",
                text.len()
            )));
        }
        if text.is_empty() {
            return Err(Error::invalid(
                "the URL is empty; write one like sqlite:holdall.db or memory:",
            ));
        }
        if let Some((at, _)) = text.char_indices().find(|(_, c)| c.is_control()) {
            return Err(refuse(&format!(
                "it holds a control character at byte {at}"
            )));
        }
        let (scheme, rest) = text
            .split_once(':')
            .ok_or_else(|| refuse("it has no scheme; write one like sqlite:PATH or memory:"))?;
        let scheme = read_scheme(scheme).map_err(|why| refuse(&why))?;
        if rest.contains('#') {
            return Err(refuse("it has a fragment; write %23 for a #"));
        }
        let (location, query) = match rest.split_once('?') {
            Some((location, query)) => (location, Some(query)),
            None => (rest, None),
        };
        decode(location).map_err(|why| refuse(&format!("in the location, {why}")))?;
        let options = query.map(read_options).transpose();
        Ok(Self {
            scheme,
            location: location.to_owned(),
            options: options.map_err(|why| refuse(&why))?.unwrap_or_default(),
            text: text.to_owned(),
        })
    }

    pub(crate) fn scheme(&self) -> &str {
        &self.scheme
    }

    pub(crate) fn location(&self) -> &str {
        &self.location
    }

    pub(crate) fn path(&self) -> String {
        // It was decoded once already.
        decode(&self.location).unwrap_or_default()
    }

    pub(crate) fn options(&self) -> &[(String, String)] {
        &self.options
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&redact(&self.text))
    }
}

/// Checks a scheme and turns it to lower case.
pub(crate) fn read_scheme(text: &str) -> Result<String, String> {
    const MAX: usize = 32;
    let mut characters = text.chars();
    let starts = characters.next().is_some_and(|c| c.is_ascii_alphabetic());
    let goes_on = characters.all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '.' | '-'));
    if !starts || !goes_on || text.len() > MAX {
        return Err(format!(
            "its scheme is a letter and then letters, digits, \"+\", \".\" and \"-\", {MAX} at most"
        ));
    }
    if text.len() == 1 {
        return Err(
            "a scheme has two letters or more; for a path with a drive write sqlite:C:\\…".into(),
        );
    }
    Ok(text.to_ascii_lowercase())
}

fn read_options(query: &str) -> Result<Vec<(String, String)>, String> {
    let mut options: Vec<(String, String)> = Vec::new();
    for (at, pair) in query.split('&').enumerate() {
        let nth = at + 1;
        let Some((name, value)) = pair.split_once('=') else {
            return Err(format!("its option {nth} has no \"=\"; write NAME=VALUE"));
        };
        let name = decode(name).map_err(|why| format!("in the name of option {nth}, {why}"))?;
        if name.is_empty() {
            return Err(format!("its option {nth} has no name; write NAME=VALUE"));
        }
        let value = decode(value).map_err(|why| format!("in the option {name:?}, {why}"))?;
        if options.iter().any(|(other, _)| *other == name) {
            return Err(format!("the option {name:?} stands in it twice"));
        }
        options.push((name, value));
    }
    Ok(options)
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((byte, tail)) = rest.split_first() {
        if *byte != b'%' {
            bytes.push(*byte);
            rest = tail;
            continue;
        }
        let decoded = tail
            .split_first_chunk::<2>()
            .and_then(|([high, low], tail)| Some((hex(*high)? * 16 + hex(*low)?, tail)));
        let Some((byte, tail)) = decoded else {
            return Err(
                "a % stands without two hexadecimal digits; write %25 for a % itself".into(),
            );
        };
        if byte == 0 {
            return Err("%00 is not allowed".into());
        }
        bytes.push(byte);
        rest = tail;
    }
    String::from_utf8(bytes).map_err(|_| "what % stands for is not UTF-8".into())
}

fn hex(digit: u8) -> Option<u8> {
    let value = char::from(digit).to_digit(16)?;
    u8::try_from(value).ok()
}

/// Whether an option of this name is a secret.
pub(crate) fn is_secret(name: &str) -> bool {
    const PARTS: [&str; 7] = [
        "pass",
        "secret",
        "token",
        "key",
        "credential",
        "auth",
        "pwd",
    ];
    let name = name.to_ascii_lowercase();
    PARTS.iter().any(|part| name.contains(part))
}

/// A URL, well formed or not, with its secrets replaced by `***`: the password
/// before an `@`, and options whose names say that they are secrets. What is
/// doubtful is left out rather than shown.
pub(crate) fn redact(text: &str) -> String {
    let text = redact_password(text);
    let mut shown = String::with_capacity(text.len());
    for (at, piece) in text.split('&').enumerate() {
        if at > 0 {
            shown.push('&');
        }
        // The first option stands behind the location and a question mark.
        let first = piece
            .find('?')
            .filter(|_| at == 0)
            .map_or(0, |mark| mark + 1);
        let (before, option) = piece.split_at_checked(first).unwrap_or((piece, ""));
        shown.push_str(before);
        match option.split_once('=') {
            // A damaged name may be one of a secret.
            Some((name, _)) if decode(name).map_or(true, |name| is_secret(&name)) => {
                shown.push_str(name);
                shown.push_str("=***");
            }
            _ => shown.push_str(option),
        }
    }
    shown
}

/// Hides what stands before the last `@` in URLs with `//`, from the first
/// colon or question mark on: it may be a password that was not encoded, or an
/// option with an `@` in it.
fn redact_password(text: &str) -> String {
    let parts = text.find("//").and_then(|slashes| {
        let start = slashes + 2;
        // Slashes behind a question mark belong to an option.
        let no_option = !text.get(..slashes)?.contains('?');
        let end = text.rfind('@').filter(|end| no_option && *end >= start)?;
        let from = start + text.get(start..end)?.find([':', '?'])?;
        Some((text.get(..=from)?, text.get(end..)?))
    });
    match parts {
        Some((before, after)) => format!("{before}***{after}"),
        None => text.to_owned(),
    }
}

fn shortened(text: &str) -> String {
    const MAX: usize = 200;
    if text.chars().count() > MAX {
        text.chars().take(MAX).collect::<String>() + "…"
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_scheme_location_and_options() {
        let url = Url::parse("SQLite:my%20data/a%3Fb.db?synchronous=normal&x=a%26b+c").unwrap();
        assert_eq!(url.scheme(), "sqlite");
        assert_eq!(url.location(), "my%20data/a%3Fb.db");
        assert_eq!(url.path(), "my data/a?b.db");
        let options: Vec<_> = url.options().iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(options, [("synchronous", "normal"), ("x", "a&b+c")]);
        assert_eq!(
            Url::parse("sqlite:C:\\data\\x.db").unwrap().path(),
            "C:\\data\\x.db"
        );
        assert_eq!(Url::parse("memory:").unwrap().path(), "");
    }

    #[test]
    fn what_is_malformed_is_refused_with_the_part_and_the_rule() {
        for (text, part) in [
            ("", "empty"),
            ("holdall.db", "no scheme"),
            (":x", "its scheme"),
            ("1a:x", "its scheme"),
            ("a b:x", "its scheme"),
            ("/a/b:c", "its scheme"),
            ("C:\\data", "drive"),
            ("sqlite:a\nb", "control character at byte 8"),
            ("sqlite:a#b", "%23"),
            ("sqlite:a%2", "location, a % stands"),
            ("sqlite:a%+1", "location, a % stands"),
            ("sqlite:a%00", "%00"),
            ("sqlite:%ff", "UTF-8"),
            ("sqlite:a?", "option 1 has no \"=\""),
            ("sqlite:a?x=1&", "option 2 has no \"=\""),
            ("sqlite:a?=1", "option 1 has no name"),
            ("sqlite:a?x=1&x=2", "\"x\" stands in it twice"),
            ("sqlite:a?x=%zz", "option \"x\""),
        ] {
            let error = Url::parse(text).err().unwrap_or_else(|| panic!("{text:?}"));
            assert!(error.message().contains(part), "{text:?}: {error}");
        }
        let long = format!("sqlite:{}", "x".repeat(MAX_URL));
        let error = Url::parse(&long).err().unwrap();
        assert_eq!(error.kind(), holdall_core::ErrorKind::TooLarge);
    }

    /// Whatever is wrong with a URL, its password must not reach a log.
    #[test]
    fn secrets_are_never_shown() {
        for text in [
            "postgres://app:hunter2@db/x",
            "postgres://app:hun/ter2@db/x?a=1",
            "postgres://app:hunter2?@db/x",
            "postgres://app:a@hunter2@db/x",
            "post gres://app:hunter2@db/x",
            "postgres://app:hunter2@db/x#f",
            "s3://bucket?secret_access_key=hunter2",
            "s3://bucket?pass%77ord=hunter2",
            "s3://bucket?a=1&Token=hunter2&x=%zz",
            "s3://bucket?%zz=hunter2",
            "s3:bucket?password=hunter2//x@y",
            "s3://bucket?password=hunter2//x:@y",
            "s3://bucket?a=x@y&token=hunter2",
        ] {
            let shown = match Url::parse(text) {
                Ok(url) => url.to_string(),
                Err(error) => error.to_string(),
            };
            assert!(!shown.contains("ter2"), "{text}: {shown}");
            assert!(shown.contains("***"), "{text}: {shown}");
        }
        for text in [
            "postgres://app@db/x",
            "sqlite:a:b@c",
            "s3://bucket/a@b?region=eu",
        ] {
            assert_eq!(redact(text), text);
        }
    }
}
