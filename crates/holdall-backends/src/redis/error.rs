//! Turns what Redis says, and what happens on the way there, into errors of
//! Holdall.

use std::io;
use std::time::Duration;

use ::redis::{ErrorKind as RedisKind, RedisError};
use holdall_core::{Error, ErrorKind, Retry};

use super::address::Node;

/// The error of a call that Redis refused, or that cannot be read. Nothing
/// happened.
pub(super) fn refused(error: &RedisError) -> Error {
    sentence(error).in_backend("redis").because(error.clone())
}

fn sentence(error: &RedisError) -> Error {
    let detail = error.detail().unwrap_or_default();
    let unavailable = |message: &str| Error::unavailable(message);
    // Redis 6 says so in the middle of what a script failed with.
    // And the library leaves the code out when it opens a connection.
    let denials = [
        "can't run this command",
        "can't access at least one",
        "has no permissions",
    ];
    if denials.iter().any(|denial| detail.contains(denial)) {
        return denied();
    }
    match error.code().unwrap_or_default() {
        "NOAUTH" | "WRONGPASS" => login(),
        "NOPERM" => denied(),
        "OOM" => unavailable(
            "Redis has no memory left. Free some, or raise its maxmemory, then try again",
        ),
        "MISCONF" => unavailable(
            "Redis takes no writes, as it cannot write to its disk. Is the disk full? Then try again",
        ),
        "READONLY" => unavailable(
            "this server is a replica and takes no writes. Name the primary, or wait until one took over",
        ),
        "NOREPLICAS" => unavailable(
            "Redis takes no writes, as too few replicas are connected to it; start them, then try again",
        ),
        "LOADING" => unavailable("Redis is still loading its data; try again"),
        "BUSY" => unavailable("Redis is busy with a script of somebody's; try again"),
        "CLUSTERDOWN" | "MASTERDOWN" => unavailable(
            "the Redis cluster serves nothing right now, as nodes of it are missing; try again",
        ),
        "TRYAGAIN" | "ASK" | "MOVED" => {
            unavailable("the store is on its way to another node of the Redis cluster; try again")
        }
        "WRONGTYPE" => Error::corrupt(
            "a key of the store is not what Holdall made it. Do other programs write keys with its prefix?",
        ),
        _ if error.kind() == RedisKind::AuthenticationFailed => login(),
        _ if detail.contains("DB index") || detail.contains("SELECT is not allowed") => {
            Error::not_found(
                "Redis has no database of this number: a server has as many as its setting databases says, and a cluster has 0 alone",
            )
        }
        _ if detail.contains("unknown command") => Error::unsupported(
            "the server does not know a command of Redis 6.2; it is too old, or something else",
        ),
        _ => Error::other("Redis refused a call; this is a bug of Holdall"),
    }
}

fn login() -> Error {
    Error::denied("Redis does not let in: user or password are missing or wrong")
}

fn denied() -> Error {
    Error::denied(
        "Redis does not allow this user a command, or a key; docs/redis.md lists what it needs",
    )
}

/// The error of a connection that could not be made.
pub(super) fn unreachable(node: &Node, error: &io::Error) -> Error {
    if let Some(tls) = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref::<rustls::Error>())
    {
        return of_tls(node, tls);
    }
    let hint = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused. Is the server running?".to_owned(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            "it hung up. Does it speak TLS (rediss:) or not (redis:), other than the URL says? Or has it as many connections as it takes (maxclients)?"
                .to_owned()
        }
        _ => format!("{error}. Is it running, and is the address right?"),
    };
    Error::unavailable(format!("cannot reach Redis at {node}: {hint}")).in_backend("redis")
}

fn of_tls(node: &Node, error: &rustls::Error) -> Error {
    use rustls::Error::{
        AlertReceived, InvalidCertificate, InvalidMessage, NoCertificatesPresented,
    };
    let (kind, why) = match error {
        InvalidCertificate(_) => (
            ErrorKind::Unavailable,
            "its certificate is not to be trusted. If it comes from an authority of your own, name that by the option ca",
        ),
        InvalidMessage(_) => (
            ErrorKind::Unavailable,
            "it does not speak TLS. Should the URL start with redis:?",
        ),
        AlertReceived(_) | NoCertificatesPresented => (
            ErrorKind::Denied,
            "it wants no connection from here. If it asks for a client certificate, give one by the options cert and key",
        ),
        _ => (ErrorKind::Unavailable, "TLS failed"),
    };
    let message = format!("there is no safe connection to Redis at {node}: {why}");
    Error::new(kind, Retry::No, message)
        .in_backend("redis")
        .because(error.clone())
}

/// No connection in time.
pub(super) fn no_connection(node: &Node, timeout: Duration) -> Error {
    Error::timeout(format!(
        "cannot reach Redis at {node}: no connection within {timeout:?}. Is it running, and does a firewall let you through?"
    ))
    .in_backend("redis")
}

/// A connection that a handed-in client could not make, or that did not get
/// through its first words.
pub(super) fn greeted(node: &Node, error: &RedisError) -> Error {
    if is_cut(error) {
        let kind = if error.is_connection_refusal() {
            io::ErrorKind::ConnectionRefused
        } else {
            io::ErrorKind::UnexpectedEof
        };
        return unreachable(node, &io::Error::new(kind, error.to_string())).because(error.clone());
    }
    refused(error).while_doing(format_args!("cannot open a connection to Redis at {node}"))
}

/// Whether the connection ended before an answer did. An answer of which a part came
/// cannot be parsed.
pub(super) fn is_cut(error: &RedisError) -> bool {
    error.is_io_error() || error.kind() == RedisKind::Parse
}

/// No answer in time.
pub(super) fn silence(node: &Node, timeout: Duration) -> Error {
    Error::timeout(format!(
        "Redis at {node} did not answer within {timeout:?}; it may be overloaded, or allow it more by the option timeout"
    ))
    .in_backend("redis")
}

/// A connection that broke while an answer was awaited.
pub(super) fn broken(node: &Node, error: &RedisError) -> Error {
    Error::unavailable(format!(
        "the connection to Redis at {node} broke off before it answered. Is the server running?"
    ))
    .in_backend("redis")
    .because(error.clone())
}

/// An answer, or stored data, of a shape that Holdall does not make.
pub(super) fn damaged(what: &str) -> Error {
    Error::corrupt(format!(
        "{what} in Redis cannot be read. Do other programs write keys with the store's prefix?"
    ))
    .in_backend("redis")
}
