//! Turns the errors of PostgreSQL into those of Holdall.

use holdall_core::{Error, Retry};
use tokio_postgres::error::{DbError, SqlState};

use crate::sql::server::driver::Failure;

/// What a failed statement means.
pub(super) fn failure(error: tokio_postgres::Error) -> Failure {
    let Some(db) = error.as_db_error() else {
        return match error.is_closed() || is_io(&error) {
            true => Failure::Broken(lost(error)),
            false => Failure::Other(
                Error::other(
                    "the answer of PostgreSQL was not understood; this is a bug of Holdall",
                )
                .because(error),
            ),
        };
    };
    let code = db.code().clone();
    let index = db.constraint().unwrap_or_default().to_owned();
    let column = db.column().map(str::to_owned);
    let shown = sentence(db);
    let error = shown.because(error);
    match code {
        SqlState::UNIQUE_VIOLATION | SqlState::DUPLICATE_TABLE => Failure::Taken { index, error },
        SqlState::T_R_DEADLOCK_DETECTED
        | SqlState::T_R_SERIALIZATION_FAILURE
        | SqlState::LOCK_NOT_AVAILABLE => Failure::GaveWay(error),
        SqlState::UNDEFINED_COLUMN
        | SqlState::UNDEFINED_TABLE
        | SqlState::INVALID_SQL_STATEMENT_NAME
        | SqlState::FEATURE_NOT_SUPPORTED => Failure::Outdated(error),
        SqlState::NOT_NULL_VIOLATION if column.as_deref() == Some("changes") => {
            Failure::Outdated(error)
        }
        SqlState::ADMIN_SHUTDOWN
        | SqlState::CRASH_SHUTDOWN
        | SqlState::CANNOT_CONNECT_NOW
        | SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT => Failure::Broken(error),
        _ => Failure::Other(error),
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if inner.is::<std::io::Error>() {
            return true;
        }
        source = inner.source();
    }
    false
}

fn lost(error: tokio_postgres::Error) -> Error {
    Error::unavailable("the connection to PostgreSQL was lost. Is the server running?")
        .in_backend("postgres")
        .because(error)
}

/// What the server said, as a sentence that helps.
fn sentence(db: &DbError) -> Error {
    let said = db.message();
    let error = match *db.code() {
        SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
            Error::denied(format!(
                "PostgreSQL does not let this user in: {said}. Check user, password and pg_hba.conf"
            ))
        }
        SqlState::INVALID_CATALOG_NAME => Error::not_found(format!(
            "{said}. Create it first (CREATE DATABASE), or name another"
        )),
        SqlState::INVALID_SCHEMA_NAME => Error::not_found(format!(
            "{said}. Create it first (CREATE SCHEMA), or set the option schema to one that is there"
        )),
        SqlState::INSUFFICIENT_PRIVILEGE => Error::denied(format!(
            "PostgreSQL refuses it: {said}. Grant the user what it needs, or connect as another"
        )),
        SqlState::READ_ONLY_SQL_TRANSACTION => Error::denied(format!(
            "the database takes no writes: {said}. Is it a standby? Connect to the primary"
        )),
        SqlState::TOO_MANY_CONNECTIONS => Error::unavailable(format!(
            "PostgreSQL takes no more connections: {said}. Lower the option connections, or raise max_connections"
        )),
        SqlState::DISK_FULL => Error::unavailable(format!(
            "the server's disk is full: {said}. Nothing was changed; free some space there"
        ))
        .with_retry(Retry::No),
        SqlState::OUT_OF_MEMORY | SqlState::INSUFFICIENT_RESOURCES => {
            Error::unavailable(format!("the server ran out of resources: {said}"))
        }
        SqlState::PROGRAM_LIMIT_EXCEEDED => Error::too_large(format!(
            "a limit of PostgreSQL was passed: {said}. Nothing was changed"
        )),
        SqlState::QUERY_CANCELED => Error::timeout(format!(
            "PostgreSQL gave up: {said}. Try again, or raise statement_timeout on the server"
        )),
        SqlState::T_R_DEADLOCK_DETECTED | SqlState::T_R_SERIALIZATION_FAILURE => {
            Error::unavailable(format!(
                "too many others write the same items: {said}. Nothing was changed; try again"
            ))
        }
        SqlState::LOCK_NOT_AVAILABLE => Error::timeout(format!(
            "another transaction holds a lock for too long: {said}. Nothing was changed; try again"
        )),
        SqlState::ADMIN_SHUTDOWN | SqlState::CRASH_SHUTDOWN | SqlState::CANNOT_CONNECT_NOW => {
            Error::unavailable(format!("PostgreSQL is going down or starting: {said}"))
        }
        SqlState::DATA_CORRUPTED | SqlState::INDEX_CORRUPTED => Error::corrupt(format!(
            "PostgreSQL found damaged data: {said}. Restore it from a backup"
        )),
        SqlState::UNIQUE_VIOLATION => {
            Error::conflict("a value that must be unique is taken by another item")
        }
        _ => Error::other(format!(
            "PostgreSQL refused a statement: {said} ({})",
            db.code().code()
        )),
    };
    error.in_backend("postgres")
}

/// Why no connection could be made.
pub(super) fn unreachable(error: tokio_postgres::Error, place: &str) -> Error {
    if let Some(db) = error.as_db_error() {
        return sentence(db).because(error);
    }
    let mut why = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(inner) = source {
        why = inner.to_string();
        source = inner.source();
    }
    if why == "password missing" {
        return Error::denied(format!(
            "PostgreSQL at {place} asks for a password; write it into the URL, or set password or password_file"
        ))
        .in_backend("postgres");
    }
    let is_tls = why.contains("certificate") || why.contains("TLS") || why.contains("tls");
    let error = match is_tls {
        true => Error::denied(format!(
            "no safe connection to PostgreSQL at {place}: {why}. Check the server's certificate, and the options sslmode and ca"
        ))
        .because(error),
        false => Error::unavailable(format!(
            "cannot reach PostgreSQL at {place}: {why}. Is the server running?"
        ))
        .because(error),
    };
    error.in_backend("postgres")
}
