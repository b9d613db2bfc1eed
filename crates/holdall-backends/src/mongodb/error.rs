//! Turns the errors of the driver into those of Holdall.

use holdall_core::{Error, ErrorKind, Retry};
use mongodb::bson::Document;
use mongodb::error::{
    Error as Driver, ErrorKind as Kind, TRANSIENT_TRANSACTION_ERROR,
    UNKNOWN_TRANSACTION_COMMIT_RESULT, WriteFailure,
};

/// What a call came to that did not work.
#[derive(Debug)]
pub(super) enum Failure {
    /// It failed for good.
    Error(Error),
    /// A write of another got in the way, or the connection broke before
    /// anything took effect: the same again may work.
    Again(Error),
    /// A value of a unique index is taken; what the server says.
    Taken(String),
    /// Nobody knows whether it took effect.
    Unknown(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl From<Driver> for Failure {
    fn from(error: Driver) -> Self {
        if error.contains_label(UNKNOWN_TRANSACTION_COMMIT_RESULT) || has_given_up(&text(&error)) {
            return Self::Unknown(failed(error));
        }
        let code = code(&error);
        if code == Some(DUPLICATE) {
            return Self::Taken(text(&error));
        }
        let again = error.contains_label(TRANSIENT_TRANSACTION_ERROR)
            || code.is_some_and(|code| AGAIN.contains(&code));
        match again {
            true => Self::Again(failed(error)),
            false => Self::Error(failed(error)),
        }
    }
}

impl Failure {
    /// The error, where nobody tries again.
    pub(super) fn into_error(self) -> Error {
        match self {
            Self::Error(error) => error,
            Self::Again(error) => error.with_retry(Retry::Yes),
            Self::Taken(why) => {
                Error::conflict("a value that must be unique is taken by another document")
                    .because(why)
            }
            Self::Unknown(error) => error.with_retry(Retry::Unknown),
        }
    }
}

/// The error of a unique index.
pub(super) const DUPLICATE: i32 = 11000;

/// Another transaction wrote the same.
pub(super) const CONFLICT: i32 = 112;

/// Write conflicts, and snapshots that are gone.
const AGAIN: [i32; 5] = [112, 225, 246, 251, 267];

/// The collection is there already.
pub(super) const EXISTS: i32 = 48;

/// An index, or the collection it is on, is not there.
pub(super) const MISSING: [i32; 2] = [26, 27];

/// The server's number of an error.
pub(super) fn code(error: &Driver) -> Option<i32> {
    let own = match &*error.kind {
        Kind::Command(command) => Some(command.code),
        Kind::Write(WriteFailure::WriteError(error)) => Some(error.code),
        Kind::Write(WriteFailure::WriteConcernError(error)) => Some(error.code),
        Kind::InsertMany(many) => {
            let first = many.write_errors.iter().flatten().next();
            let concern = many.write_concern_error.as_ref().map(|error| error.code);
            first.map(|error| error.code).or(concern)
        }
        _ => None,
    };
    own.or_else(|| {
        let source = std::error::Error::source(error)?;
        code(source.downcast_ref::<Driver>()?)
    })
}

/// What the server, or the driver, says of an error; without the reply it came in.
fn text(error: &Driver) -> String {
    match &*error.kind {
        Kind::Command(command) => format!("{} ({})", command.message, command.code),
        Kind::Write(WriteFailure::WriteError(error)) => {
            format!("{} ({})", error.message, error.code)
        }
        Kind::Write(WriteFailure::WriteConcernError(error)) => {
            format!("{} ({})", error.message, error.code)
        }
        Kind::InsertMany(many) => match many.write_errors.iter().flatten().next() {
            Some(error) => format!("{} ({})", error.message, error.code),
            None => many
                .write_concern_error
                .as_ref()
                .map(|error| format!("{} ({})", error.message, error.code))
                .unwrap_or_default(),
        },
        other => other.to_string(),
    }
}

/// Whether the storage engine gave up, on a full disk for one, or told in the system's
/// words that the disk is full: then nobody knows what became of a write. A server that does
/// not end itself may answer nothing else until it is started again.
fn has_given_up(text: &str) -> bool {
    ["WT_PANIC", "No space left on device"]
        .iter()
        .any(|words| text.contains(words))
}

fn given_up() -> Error {
    Error::unavailable(
        "MongoDB's storage engine has given up; is its disk full? Free some space, start the server again, and try again",
    )
}

/// The error of a call that failed.
pub(super) fn failed(error: Driver) -> Error {
    let text = text(&error);
    let told = match code(&error) {
        _ if has_given_up(&text) => given_up(),
        Some(code) => by_code(code),
        None => by_kind(&error.kind, &text),
    };
    told.in_backend("mongodb").because(text)
}

fn by_code(code: i32) -> Error {
    match code {
        18 | 8000 => Error::denied("MongoDB refused the user, or the password"),
        13 => Error::denied(
            "the user may not do this in MongoDB; it needs the role readWrite on the database",
        ),
        50 | 262 => {
            Error::timeout("MongoDB ended the operation because it took too long; try again")
        }
        14031 => Error::unavailable("MongoDB's disk is full; free some space, then try again"),
        85 | 86 | 68 => Error::conflict(
            "an index of this name is in MongoDB with another definition; drop that one there, then try again",
        ),
        67 => Error::too_large("MongoDB makes no more indexes on this collection; it takes 64"),
        10334 | 17419 | 17420 | 17280 => Error::too_large(
            "the document of the item, with its indexes, is larger than MongoDB takes (16 MiB)",
        ),
        20 | 263 => Error::unsupported(
            "this MongoDB deployment has no transactions; run it as a replica set, or open it with transactions=off",
        ),
        91 | 189 | 10058 | 10107 | 11600 | 11602 | 13435 | 13436 => Error::unavailable(
            "MongoDB has no primary to write to at the moment: one is being elected, or the server shuts down; try again",
        ),
        64 | 79 | 100 => Error::unavailable(
            "MongoDB did not confirm the write on a majority of its members; are enough of them running?",
        ),
        code if AGAIN.contains(&code) => {
            Error::unavailable("other writes of the same items got in the way; try again")
        }
        _ => Error::other("MongoDB refused the operation"),
    }
}

fn by_kind(kind: &Kind, text: &str) -> Error {
    match kind {
        Kind::Authentication { .. } => Error::denied("MongoDB refused the user, or the password"),
        // What breaks at a certificate breaks again.
        Kind::ServerSelection { .. } | Kind::Io(_) | Kind::ConnectionPoolCleared { .. }
            if text.contains("certificate") =>
        {
            Error::new(
                ErrorKind::Unavailable,
                Retry::No,
                "MongoDB's certificate is not trusted: it is of another host or authority, or out of date",
            )
        }
        Kind::ServerSelection { .. } => Error::unavailable(
            "cannot reach MongoDB. Is the server running, and does the URL say its host and port?",
        ),
        Kind::Io(_) | Kind::ConnectionPoolCleared { .. } => {
            Error::unavailable("the connection to MongoDB broke")
        }
        Kind::InvalidTlsConfig { .. } => Error::invalid("TLS for MongoDB cannot be set up"),
        Kind::Shutdown => {
            Error::closed("the client of MongoDB was shut down; open the store again")
        }
        Kind::SessionsNotSupported => by_code(20),
        Kind::IncompatibleServer { .. } => Error::unsupported(
            "this version of MongoDB is too old for Holdall; it needs 5.0 or later",
        ),
        Kind::InvalidArgument { .. } => Error::invalid("the driver of MongoDB refused an argument"),
        _ => Error::other("the driver of MongoDB could not do it"),
    }
}

/// What stands in the reply of a write command that was sent as such.
pub(super) fn check_reply(reply: &Document) -> Result<(), Failure> {
    let list = reply.get_array("writeErrors").ok();
    if let Some(first) = list
        .and_then(|list| list.first())
        .and_then(|first| first.as_document())
    {
        let message = first.get_str("errmsg").unwrap_or_default().to_owned();
        let code = first.get_i32("code").unwrap_or_default();
        return Err(match code {
            DUPLICATE => Failure::Taken(message),
            _ if has_given_up(&message) => {
                Failure::Unknown(given_up().in_backend("mongodb").because(message))
            }
            code if AGAIN.contains(&code) => {
                Failure::Again(by_code(code).in_backend("mongodb").because(message))
            }
            code => Failure::Error(by_code(code).in_backend("mongodb").because(message)),
        });
    }
    if let Ok(concern) = reply.get_document("writeConcernError") {
        let message = concern.get_str("errmsg").unwrap_or_default().to_owned();
        let code = concern.get_i32("code").unwrap_or_default();
        return Err(Failure::Unknown(
            by_code(code).in_backend("mongodb").because(message),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What cannot be brought about in tests on a server: each has its sentence, and
    /// the right answer on trying again.
    #[test]
    fn each_fault_has_its_kind() {
        for (code, kind, retry, word) in [
            (14031, ErrorKind::Unavailable, Retry::Yes, "disk is full"),
            (10107, ErrorKind::Unavailable, Retry::Yes, "primary"),
            (64, ErrorKind::Unavailable, Retry::Yes, "majority"),
            (112, ErrorKind::Unavailable, Retry::Yes, "other writes"),
            (50, ErrorKind::Timeout, Retry::Yes, "too long"),
            (18, ErrorKind::Denied, Retry::No, "password"),
            (13, ErrorKind::Denied, Retry::No, "readWrite"),
            (86, ErrorKind::Conflict, Retry::No, "another definition"),
            (67, ErrorKind::TooLarge, Retry::No, "64"),
            (10334, ErrorKind::TooLarge, Retry::No, "16 MiB"),
            (20, ErrorKind::Unsupported, Retry::No, "replica set"),
            (1, ErrorKind::Other, Retry::No, "refused"),
        ] {
            let error = by_code(code);
            assert_eq!((error.kind(), error.retry()), (kind, retry), "{code}");
            assert!(error.message().contains(word), "{code}: {error}");
        }
    }

    /// A full disk used to be told as a write that was refused for good, where the storage
    /// engine met it in the middle of one and the server had no code for that.
    #[test]
    fn a_full_disk_is_told_whoever_finds_out() {
        let said = "WiredTiger error: WtError { code: 28, message: \"No space left on device\" }";
        let reply = mongodb::bson::doc! {
            "ok": 1, "n": 0, "writeErrors": [{ "index": 0, "code": 1, "errmsg": said }],
        };
        let error = check_reply(&reply).unwrap_err().into_error();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert_eq!(error.retry(), Retry::Unknown, "{error}");
        assert!(has_given_up("WT_PANIC: WiredTiger library panic"));
    }

    /// A write concern that failed leaves it open whether the write stays.
    #[test]
    fn an_unconfirmed_write_is_unknown() {
        let reply = mongodb::bson::doc! {
            "ok": 1, "n": 1,
            "writeConcernError": { "code": 64, "errmsg": "waiting for replication timed out" },
        };
        let failure = check_reply(&reply).unwrap_err();
        assert_eq!(failure.into_error().retry(), Retry::Unknown);
        let reply = mongodb::bson::doc! {
            "ok": 1, "n": 0, "writeErrors": [{ "index": 0, "code": DUPLICATE, "errmsg": "E11000" }],
        };
        assert!(matches!(check_reply(&reply), Err(Failure::Taken(_))));
        assert!(check_reply(&mongodb::bson::doc! { "ok": 1, "n": 0 }).is_ok());
    }
}
