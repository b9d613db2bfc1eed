//! The one public error type.

use std::error::Error as StdError;
use std::fmt::{self, Write as _};

use crate::{CollectionName, Key, Version};

/// A `Result` with Holdall's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, as far as a caller acts on it differently.
///
/// A new kind is added only where a caller would do something else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// What was named does not exist, and the call needs it.
    NotFound,
    /// A condition failed, a unique value is taken, or a concurrent change
    /// got in first. Read again, then decide.
    Conflict,
    /// A cursor, staged body, transaction or batch id outlived its time.
    Expired,
    /// The input breaks a rule; the message names the part and the rule.
    Invalid,
    /// This backend, with these layers, cannot do it.
    Unsupported,
    /// A limit was passed; the message names the limit.
    TooLarge,
    /// Credentials or permissions do not allow it.
    Denied,
    /// The backend cannot be reached, or cannot work right now.
    Unavailable,
    /// It took longer than allowed.
    Timeout,
    /// Stored data is damaged or was made by a newer format.
    Corrupt,
    /// The store was closed, or closed itself for writing after a fault.
    Closed,
    /// Anything else; look at the source.
    Other,
}

impl ErrorKind {
    /// Every kind, in the order of declaration.
    pub const ALL: [Self; 12] = [
        Self::NotFound,
        Self::Conflict,
        Self::Expired,
        Self::Invalid,
        Self::Unsupported,
        Self::TooLarge,
        Self::Denied,
        Self::Unavailable,
        Self::Timeout,
        Self::Corrupt,
        Self::Closed,
        Self::Other,
    ];

    /// The kind's name in snake case, as it stands in logs and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Expired => "expired",
            Self::Invalid => "invalid",
            Self::Unsupported => "unsupported",
            Self::TooLarge => "too_large",
            Self::Denied => "denied",
            Self::Unavailable => "unavailable",
            Self::Timeout => "timeout",
            Self::Corrupt => "corrupt",
            Self::Closed => "closed",
            Self::Other => "other",
        }
    }
}

/// Whether doing the same again helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Retry {
    /// No: it would fail again.
    No,
    /// Yes: nothing happened, and a later attempt may succeed.
    Yes,
    /// The outcome is unknown: ask [`Backend::resolve`] before doing anything
    /// again.
    ///
    /// [`Backend::resolve`]: crate::Backend::resolve
    Unknown,
}

/// The most bytes of a message.
const MAX_MESSAGE: usize = 2000;

/// An error: a kind, whether a retry helps, where it happened, and a sentence
/// that says what to do next.
///
/// It is one pointer wide, so that results stay small.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    message: String,
    backend: Option<&'static str>,
    collection: Option<CollectionName>,
    key: Option<Key>,
    batch: Option<Version>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

macro_rules! constructors {
    ($($(#[$doc:meta])* $name:ident => $kind:ident, $retry:ident;)*) => {
        $($(#[$doc])*
        #[cold]
        pub fn $name(message: impl Into<String>) -> Self {
            Self::new(ErrorKind::$kind, Retry::$retry, message)
        })*
    };
}

impl Error {
    /// An error of `kind`; `message` is a sentence without the key and the
    /// collection, which [`at`](Self::at) adds.
    ///
    /// Beyond 2,000 bytes it is cut: it may quote what came from outside.
    #[cold]
    pub fn new(kind: ErrorKind, retry: Retry, message: impl Into<String>) -> Self {
        let mut message = message.into();
        if message.len() > MAX_MESSAGE {
            message.truncate(message.floor_char_boundary(MAX_MESSAGE));
            message.push('…');
        }
        Self(Box::new(Inner {
            kind,
            retry,
            message,
            backend: None,
            collection: None,
            key: None,
            batch: None,
            source: None,
        }))
    }

    constructors! {
        /// [`ErrorKind::NotFound`]; a retry does not help.
        not_found => NotFound, No;
        /// [`ErrorKind::Conflict`]; the same again does not help, reading again does.
        conflict => Conflict, No;
        /// [`ErrorKind::Expired`]; a retry does not help.
        expired => Expired, No;
        /// [`ErrorKind::Invalid`]; a retry does not help.
        invalid => Invalid, No;
        /// [`ErrorKind::Unsupported`]; a retry does not help.
        unsupported => Unsupported, No;
        /// [`ErrorKind::TooLarge`]; a retry does not help.
        too_large => TooLarge, No;
        /// [`ErrorKind::Denied`]; a retry does not help.
        denied => Denied, No;
        /// [`ErrorKind::Unavailable`]; a retry may help.
        unavailable => Unavailable, Yes;
        /// [`ErrorKind::Timeout`]; a retry may help.
        timeout => Timeout, Yes;
        /// [`ErrorKind::Corrupt`]; a retry does not help.
        corrupt => Corrupt, No;
        /// [`ErrorKind::Closed`]; a retry does not help.
        closed => Closed, No;
        /// [`ErrorKind::Other`]; a retry does not help.
        other => Other, No;
    }

    /// The same error with another answer on retrying.
    #[must_use]
    pub fn with_retry(mut self, retry: Retry) -> Self {
        self.0.retry = retry;
        self
    }

    /// The same error, saying where: the collection and, if it is about one
    /// item, its key. What is already said stays.
    #[must_use]
    pub fn at(mut self, collection: &CollectionName, key: Option<&Key>) -> Self {
        self.0.collection.get_or_insert_with(|| collection.clone());
        if let Some(key) = key {
            self.0.key.get_or_insert_with(|| key.clone());
        }
        self
    }

    /// The same error with the collection renamed; for layers that map names.
    #[must_use]
    pub fn map_collection(
        mut self,
        rename: impl FnOnce(CollectionName) -> Option<CollectionName>,
    ) -> Self {
        self.0.collection = self.0.collection.take().and_then(rename);
        self
    }

    /// The same error, with what was being done before its sentence:
    /// `cannot open the store: the disk is full`.
    #[must_use]
    pub fn while_doing(mut self, what: impl fmt::Display) -> Self {
        self.0.message = format!("{what}: {}", self.0.message);
        self
    }

    /// The same error, naming the kind of backend (`"sqlite"`).
    #[must_use]
    pub fn in_backend(mut self, backend: &'static str) -> Self {
        self.0.backend.get_or_insert(backend);
        self
    }

    /// The same error with the id of the batch that it is about, so that an
    /// unknown outcome can be resolved.
    #[must_use]
    pub fn for_batch(mut self, id: Version) -> Self {
        self.0.batch.get_or_insert(id);
        self
    }

    /// The same error with its cause.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The kind.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether a retry helps.
    pub fn retry(&self) -> Retry {
        self.0.retry
    }

    /// The sentence alone, without place and cause.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The kind of backend that it happened in.
    pub fn backend(&self) -> Option<&'static str> {
        self.0.backend
    }

    /// The collection that it is about.
    pub fn collection(&self) -> Option<&CollectionName> {
        self.0.collection.as_ref()
    }

    /// The key that it is about.
    pub fn key(&self) -> Option<&Key> {
        self.0.key.as_ref()
    }

    /// The batch that it is about.
    pub fn batch(&self) -> Option<Version> {
        self.0.batch
    }

    /// Whether this is a [`Conflict`](ErrorKind::Conflict).
    pub fn is_conflict(&self) -> bool {
        self.0.kind == ErrorKind::Conflict
    }
}

/// `message (collection "c", key "k"): cause`. Control characters are escaped,
/// so that a key, or a name in a doc, cannot forge a line of a log.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut f = OneLine(f);
        f.write_str(&self.0.message)?;
        match (&self.0.collection, &self.0.key) {
            (Some(collection), Some(key)) => {
                write!(
                    f,
                    " (collection {:?}, key {:?})",
                    collection.as_str(),
                    key.as_str()
                )?;
            }
            (Some(collection), None) => write!(f, " (collection {:?})", collection.as_str())?,
            (None, Some(key)) => write!(f, " (key {:?})", key.as_str())?,
            (None, None) => {}
        }
        if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

/// Escapes control characters on their way.
struct OneLine<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl fmt::Write for OneLine<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for piece in text.split_inclusive(char::is_control) {
            let mut rest = piece.chars();
            match rest.next_back() {
                Some(last) if last.is_control() => {
                    write!(self.0, "{}{}", rest.as_str(), last.escape_default())?;
                }
                _ => self.0.write_str(piece)?,
            }
        }
        Ok(())
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0
            .source
            .as_deref()
            .map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Doc, Filter};

    /// A name in a doc used to come into the message as it was.
    #[test]
    fn what_came_from_outside_forges_no_line_and_has_an_end() {
        let name = r#"x\nERROR all is lost\u001b[31m"#;
        let forged = [
            Doc::parse(format!("{{\"{name}\":01}}")).unwrap_err(),
            Filter::parse(&format!("{{\"{name}\":{{\"$none\":1}}}}")).unwrap_err(),
            Error::other("a").because(std::io::Error::other("b\nc")),
        ];
        for error in forged {
            let text = error.to_string();
            assert!(!text.contains(char::is_control), "{text:?}");
            assert!(text.contains("\\n"), "{text:?}");
        }
        let long = Filter::parse(&format!("{{\"{}..\":1}}", "é".repeat(5000))).unwrap_err();
        assert!(long.message().len() < 2010);
        assert!(long.message().ends_with('…'));
    }
}
