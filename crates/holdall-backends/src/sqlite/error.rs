//! Turns the errors of SQLite into those of Holdall.

use holdall_core::{Error, Retry};
use rusqlite::ErrorCode;

/// The error of a call that failed before anything took effect.
pub(super) fn failed(error: rusqlite::Error) -> Error {
    sentence(&error).in_backend("sqlite").because(error)
}

fn sentence(error: &rusqlite::Error) -> Error {
    use rusqlite::Error as Sqlite;
    let code = match error {
        Sqlite::SqliteFailure(failure, _)
            if failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_FUNCTION =>
        {
            return Error::corrupt(
                "a stored row cannot be read; was it changed by another program?",
            );
        }
        Sqlite::SqliteFailure(failure, _) => failure.code,
        Sqlite::FromSqlConversionFailure(..)
        | Sqlite::InvalidColumnType(..)
        | Sqlite::IntegralValueOutOfRange(..)
        | Sqlite::Utf8Error(..) => {
            return Error::corrupt(
                "a stored row does not have the shape that Holdall writes; was it changed by another program?",
            );
        }
        _ => return Error::other("SQLite refused a statement; this is a bug of Holdall"),
    };
    match code {
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Error::timeout(
            "another process holds the file's lock; try again, or raise `busy_timeout`",
        ),
        ErrorCode::DiskFull => Error::unavailable("the disk is full; free some space, then try again"),
        ErrorCode::ReadOnly => Error::denied("the file, or the folder that it is in, cannot be written"),
        ErrorCode::PermissionDenied | ErrorCode::AuthorizationForStatementDenied => {
            Error::denied("the permissions of the file, or of its folder, do not allow it")
        }
        ErrorCode::CannotOpen => Error::unavailable(
            "the file cannot be opened. Does its folder exist, and may this user read and write there?",
        )
        .with_retry(Retry::No),
        ErrorCode::DatabaseCorrupt => Error::corrupt(
            "the database file is damaged. Restore it from a backup, or rescue what can be read with `sqlite3 FILE .recover`",
        ),
        ErrorCode::NotADatabase => Error::corrupt("the file is not an SQLite database, or its start is damaged"),
        ErrorCode::SystemIoFailure => Error::unavailable("reading or writing the file failed"),
        ErrorCode::OutOfMemory => Error::unavailable("there is no memory left"),
        ErrorCode::TooBig => Error::too_large("a value is larger than SQLite can keep"),
        _ => Error::other("SQLite could not do it"),
    }
}

/// Whether the error says that a value of a unique index is taken.
pub(super) fn is_unique_violation(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::SqliteFailure(failure, _)
            if failure.extended_code == rusqlite::ffi::SQLITE_CONSTRAINT_UNIQUE
    )
}

/// Whether a read was interrupted because it took too long for the thread that
/// it ran on.
pub(super) fn is_interrupt(error: &rusqlite::Error) -> bool {
    matches!(
        error,
        rusqlite::Error::SqliteFailure(failure, _) if failure.code == ErrorCode::OperationInterrupted
    )
}
