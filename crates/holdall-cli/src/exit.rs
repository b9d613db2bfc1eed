//! How a command ends when it fails: a sentence on stderr, and a code that
//! scripts can use.

use std::io;
use std::process::ExitCode;

use holdall::{Error, ErrorKind, Retry};

use crate::output::safe;

/// What the help says of the codes.
pub(crate) const CODES: &str = "\
Exit codes:
    0  done
    1  anything else; the sentence says what
    2  wrong usage, or input that breaks a rule or a limit
    3  not found
    4  conflict: a condition failed, a unique value is taken, or a cursor has
       expired
    5  unavailable, locked or timed out; a later attempt may succeed
    6  denied
    7  corrupt, or of a newer format
    8  the store cannot do this
    9  the outcome is unknown: look before you do it again
  130  interrupted";

/// Why a command failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error of the store.
    Error(Error),
    /// Wrong usage that clap cannot see.
    Usage(String),
    /// Nobody reads on: that is no error.
    Pipe,
    /// A signal came; perhaps with what is left to say.
    Interrupted(Option<String>),
    /// It was all said already.
    Told,
}

impl Failure {
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    pub(crate) fn other(
        message: impl Into<String>,
        cause: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        Self::Error(Error::other(message).because(cause))
    }

    /// A failure to read or write a file.
    pub(crate) fn file(doing: &str, path: &std::path::Path, error: io::Error) -> Self {
        let message = format!("cannot {doing} {:?}", path.display().to_string());
        let error_of = match error.kind() {
            io::ErrorKind::NotFound => Error::not_found(message),
            io::ErrorKind::PermissionDenied => Error::denied(message),
            _ => Error::other(message),
        };
        Self::Error(error_of.because(error))
    }

    /// Says what there is to say, and answers the code.
    pub(crate) fn tell(self) -> ExitCode {
        match self {
            Self::Pipe => ExitCode::SUCCESS,
            Self::Told => ExitCode::from(1),
            Self::Usage(message) => {
                say("error", &message);
                ExitCode::from(2)
            }
            Self::Interrupted(message) => {
                if let Some(message) = message {
                    say("interrupted", &message);
                }
                ExitCode::from(130)
            }
            Self::Error(error) => {
                say("error", &error.to_string());
                if error.retry() == Retry::Unknown {
                    say(
                        "hint",
                        "look whether it happened (head, get) before you do it again",
                    );
                }
                ExitCode::from(code(&error))
            }
        }
    }
}

/// One line on stderr. That nobody can read it changes nothing.
pub(crate) fn say(what: &str, message: &str) {
    use io::Write;
    let _ = writeln!(io::stderr(), "{what}: {}", safe(message));
}

fn code(error: &Error) -> u8 {
    if error.retry() == Retry::Unknown {
        return 9;
    }
    match error.kind() {
        ErrorKind::Invalid | ErrorKind::TooLarge => 2,
        ErrorKind::NotFound => 3,
        ErrorKind::Conflict | ErrorKind::Expired => 4,
        ErrorKind::Unavailable | ErrorKind::Timeout | ErrorKind::Closed => 5,
        ErrorKind::Denied => 6,
        ErrorKind::Corrupt => 7,
        ErrorKind::Unsupported => 8,
        _ => 1,
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// A failure to write to stdout.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Pipe
        } else {
            Self::other("cannot write to stdout", error)
        }
    }
}
