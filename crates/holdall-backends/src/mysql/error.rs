//! Turns the errors of MySQL and MariaDB into those of Holdall.

use holdall_core::{Error, Retry};
use mysql_async::{DriverError, Error as Failed, IoError, ServerError};

use crate::sql::server::driver::Failure;

/// Whether a change of the schema was made already: a column or an index that is
/// there, or one to be removed that is not.
pub(super) fn is_done(error: &Failed) -> bool {
    matches!(error, Failed::Server(server) if matches!(server.code, 1060 | 1061 | 1091))
}

/// What a failed statement means.
pub(super) fn failure(error: Failed) -> Failure {
    let Failed::Server(server) = &error else {
        return match &error {
            Failed::Driver(DriverError::PacketTooLarge) => Failure::Other(packet(error)),
            Failed::Io(_)
            | Failed::Driver(
                DriverError::ConnectionClosed
                | DriverError::PoolDisconnected
                | DriverError::PacketOutOfOrder,
            ) => Failure::Broken(lost(error)),
            _ => Failure::Other(
                Error::other("the answer of MySQL was not understood; this is a bug of Holdall")
                    .because(error),
            ),
        };
    };
    let code = server.code;
    let message = server.message.clone();
    let shown = sentence(server).because(error);
    match code {
        1062 | 1586 => Failure::Taken {
            index: index_of(&message),
            error: shown,
        },
        // A lock that is held too long, a deadlock.
        1205 | 1213 | 3058 | 3572 => Failure::GaveWay(shown),
        // An unknown column or table, a definition that changed meanwhile.
        1054 | 1051 | 1146 | 1412 | 1615 => Failure::Outdated(shown),
        1048 if message.contains("'changes'") => Failure::Outdated(shown),
        // The server goes down, or was told to end the connection.
        1053 | 1080 | 1152 | 1158..=1161 | 1927 | 4031 => Failure::Broken(shown),
        _ => Failure::Other(shown),
    }
}

/// The name of the index in `Duplicate entry '…' for key 'NAME'`. MySQL writes
/// the table before it, which only tells primary keys apart.
fn index_of(message: &str) -> String {
    let named = message.trim_end_matches('\'').rsplit_once('\'');
    let name = named.map_or("", |(_, name)| name);
    match name.rsplit_once('.') {
        Some((_, index)) if index != "PRIMARY" => index.to_owned(),
        _ => name.to_owned(),
    }
}

fn lost(error: Failed) -> Error {
    Error::unavailable("the connection to MySQL was lost. Is the server running?")
        .in_backend("mysql")
        .because(error)
}

fn packet(error: Failed) -> Error {
    Error::too_large(
        "a statement is larger than the server takes, as max_allowed_packet was lowered. Raise it, or open the store again",
    )
    .in_backend("mysql")
    .because(error)
}

/// What the server said, as a sentence that helps.
fn sentence(server: &ServerError) -> Error {
    let said = &server.message;
    let error = match server.code {
        1044 | 1045 | 1698 => Error::denied(format!(
            "MySQL does not let this user in: {said}. Check user, password and database"
        )),
        1049 => Error::not_found(format!(
            "{said}. Create it first (CREATE DATABASE), or name another"
        )),
        1142 | 1143 | 1227 | 1370 => Error::denied(format!(
            "MySQL refuses it: {said}. Grant the user what it needs, or connect as another"
        )),
        1290 | 1792 | 1836 => Error::denied(format!(
            "the server takes no writes: {said}. Is it a replica? Connect to the primary"
        )),
        1040 | 1203 | 1226 => Error::unavailable(format!(
            "MySQL takes no more connections: {said}. Lower the option connections, or raise max_connections"
        )),
        1021 | 1114 => Error::unavailable(format!(
            "the server's disk is full: {said}. Nothing was changed; free some space there"
        ))
        .with_retry(Retry::No),
        1030 | 1026 if said.contains("28") => Error::unavailable(format!(
            "the server's disk is full: {said}. Nothing was changed; free some space there"
        ))
        .with_retry(Retry::No),
        1037 | 1038 | 1041 | 1135 | 1206 | 1461 => {
            Error::unavailable(format!("the server ran out of resources: {said}"))
        }
        1153 | 1301 => Error::too_large(format!(
            "a statement is larger than the server takes: {said}. Raise max_allowed_packet, and open the store again"
        )),
        1118 | 1406 | 1071 => Error::too_large(format!(
            "a limit of MySQL was passed: {said}. Nothing was changed"
        )),
        1317 | 1969 | 3024 => Error::timeout(format!(
            "MySQL gave up: {said}. Try again, or raise the server's limit of time for statements"
        )),
        1205 | 3572 => Error::timeout(format!(
            "another transaction holds a lock for too long: {said}. Nothing was changed; try again"
        )),
        1213 | 3058 => Error::unavailable(format!(
            "too many others write the same items: {said}. Nothing was changed; try again"
        )),
        1053 | 1080 | 1152 | 1927 | 4031 => Error::unavailable(format!(
            "MySQL is going down, or ended the connection: {said}"
        )),
        1665 => Error::invalid(format!(
            "the server logs statements, which does not keep what concurrent ones do: {said}. \
             Set binlog_format to ROW or MIXED"
        )),
        126 | 127 | 144 | 145 | 1194 | 1712 => Error::corrupt(format!(
            "MySQL found damaged data: {said}. Restore it from a backup"
        )),
        1062 | 1586 => Error::conflict("a value that must be unique is taken by another item"),
        code => Error::other(format!("MySQL refused a statement: {said} ({code})")),
    };
    error.in_backend("mysql")
}

/// Why no connection could be made.
pub(super) fn unreachable(error: Failed, place: &str) -> Error {
    let error = match &error {
        Failed::Server(server) => sentence(server).because(error),
        Failed::Io(IoError::Tls(why)) => Error::denied(format!(
            "no safe connection to MySQL at {place}: {why}. Check the server's certificate, and the options sslmode and ca"
        ))
        .because(error),
        Failed::Io(IoError::Io(why)) if is_tls(why) => Error::denied(format!(
            "no safe connection to MySQL at {place}: {why}. Check the server's certificate, and the options sslmode and ca"
        ))
        .because(error),
        Failed::Driver(DriverError::NoClientSslFlagFromServer) => Error::denied(format!(
            "MySQL at {place} offers no encryption. Set it up there, or accept that with sslmode=disabled"
        ))
        .because(error),
        Failed::Driver(
            DriverError::UnknownAuthPlugin { .. }
            | DriverError::MysqlOldPasswordDisabled
            | DriverError::CleartextPluginDisabled,
        ) => Error::denied(format!(
            "MySQL at {place} wants a way of authentication that is not supported: {error}. \
             Use caching_sha2_password or mysql_native_password for this user"
        ))
        .because(error),
        Failed::Driver(DriverError::PoolDisconnected) => {
            Error::closed("the store was closed; open it again to use it")
        }
        _ => {
            let why = reason(&error);
            Error::unavailable(format!(
                "cannot reach MySQL at {place}: {why}. Is the server running?"
            ))
            .because(error)
        }
    };
    error.in_backend("mysql")
}

/// Whether an error of the connection is one of TLS.
fn is_tls(error: &std::io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<rustls::Error>())
}

fn reason(error: &Failed) -> String {
    let mut why = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        why = inner.to_string();
        source = inner.source();
    }
    why
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_index_of_a_taken_value_is_told_whatever_the_value_is() {
        for (message, index) in [
            ("Duplicate entry 'a' for key 'PRIMARY'", "PRIMARY"),
            (
                "Duplicate entry 'a' for key 'notes.PRIMARY'",
                "notes.PRIMARY",
            ),
            (
                "Duplicate entry 'it's.x' for key 'holdall_1_2'",
                "holdall_1_2",
            ),
            (
                "Duplicate entry 'x' for key 'notes.holdall_1_2'",
                "holdall_1_2",
            ),
            ("something else", ""),
        ] {
            assert_eq!(index_of(message), index);
        }
    }
}
