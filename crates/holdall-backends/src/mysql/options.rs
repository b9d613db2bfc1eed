//! How to reach a MySQL or MariaDB database.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::{Error, Result};

use crate::setting::{duration, misfit};
use crate::sql::server::ServerOptions;

/// How to reach a MySQL or MariaDB database, and how to keep items in it.
#[derive(Clone)]
pub struct MysqlOptions {
    /// `mysql://USER@HOST:PORT/DATABASE`, with a password perhaps.
    pub url: String,
    /// The password, if it does not stand in the URL.
    pub password: Option<String>,
    /// A file that holds the password, read when the store is opened.
    pub password_file: Option<PathBuf>,
    /// The path of the server's Unix socket, instead of host and port.
    pub socket: Option<PathBuf>,
    /// Whether connections are encrypted; by default they are, but to this
    /// machine.
    pub tls: Option<bool>,
    /// A file with the certificates (PEM) of the authorities that the server's
    /// certificate may come from; the public ones if it is left out.
    pub ca: Option<PathBuf>,
    /// A file with this client's certificate (PEM), and what it hangs on.
    pub cert: Option<PathBuf>,
    /// A file with the private key (PEM) of `cert`.
    pub key: Option<PathBuf>,
    /// The most connections, 1 to 1024; 16 by default.
    pub connections: u32,
    /// How long to wait for a connection, to be made or to become free; 5 s by
    /// default.
    pub connect_timeout: Duration,
    /// How long the statements of one step may take; 30 s by default. Changes of
    /// the schema may take longer.
    pub timeout: Duration,
    /// Whether writes must survive a loss of power; `true` by default. A server
    /// that does not promise it is refused then.
    pub durable: bool,
    /// Grace, leases, polling, clock and randomness. Nobody tells watchers of
    /// what other processes commit, so they look four times a second by default.
    pub server: ServerOptions,
}

const KNOWN: &str = "password, password_file, socket, sslmode, ca, cert, key, connections, \
                     connect_timeout, timeout, durable, grace, lease and poll";

impl MysqlOptions {
    /// The defaults for a database.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            password_file: None,
            socket: None,
            tls: None,
            ca: None,
            cert: None,
            key: None,
            connections: 16,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            durable: true,
            server: ServerOptions {
                poll: Duration::from_millis(250),
                ..ServerOptions::default()
            },
        }
    }

    /// Sets an option from its text, as it stands in a URL or a configuration:
    /// `password` as it is; `password_file`, `socket`, `ca`, `cert` and `key` are
    /// paths; `sslmode`, or `ssl-mode`, is `disabled`, `required`, `verify_ca` or
    /// `verify_identity`, or as PostgreSQL calls them, and whatever encrypts also
    /// verifies; `durable` is `true` or `false`; `connections` is a number; the
    /// others are durations like `500ms`, `5s`, `10m` or `1h`.
    ///
    /// # Errors
    /// `Invalid` for an unknown option, naming those there are, or for a value
    /// that does not fit. Values that may be secret are not shown.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let path = || match value {
            "" => Err(misfit(name, value, "the path of a file")),
            path => Ok(Some(PathBuf::from(path))),
        };
        let time = || {
            duration(name, value).and_then(|time| match time.is_zero() {
                true => Err(misfit(name, value, "more than nothing")),
                false => Ok(time),
            })
        };
        match name {
            "password" => self.password = Some(value.to_owned()),
            "password_file" => self.password_file = path()?,
            "socket" => self.socket = path()?,
            "sslmode" | "ssl-mode" => {
                let mode = value.to_ascii_lowercase().replace('-', "_");
                self.tls = match mode.as_str() {
                    "disable" | "disabled" => Some(false),
                    "require" | "required" | "verify_ca" | "verify_identity" | "verify_full" => {
                        Some(true)
                    }
                    _ => {
                        let wanted = "disabled, required, verify_ca or verify_identity";
                        return Err(misfit(name, value, wanted));
                    }
                };
            }
            "ca" => self.ca = path()?,
            "cert" => self.cert = path()?,
            "key" => self.key = path()?,
            "connections" => {
                let number = value.parse().ok();
                self.connections = number
                    .filter(|number| (1..=1024).contains(number))
                    .ok_or_else(|| misfit(name, value, "a number from 1 to 1024"))?;
            }
            "connect_timeout" => self.connect_timeout = time()?,
            "timeout" => self.timeout = time()?,
            "durable" => {
                self.durable = value
                    .parse()
                    .map_err(|_| misfit(name, value, "true or false"))?;
            }
            "grace" => self.server.grace = duration(name, value)?,
            "lease" => self.server.lease = time()?,
            "poll" => self.server.poll = time()?,
            _ => {
                return Err(Error::invalid(format!(
                    "the option {name:?} is unknown for mysql; there are {KNOWN}"
                )));
            }
        }
        Ok(())
    }

    /// The URL without a password, for errors.
    pub(super) fn shown(&self) -> String {
        let hidden = || {
            let (scheme, rest) = self.url.split_once("//")?;
            let (user, place) = rest.rsplit_once('@')?;
            let (user, _) = user.split_once(':')?;
            Some(format!("{scheme}//{user}:***@{place}"))
        };
        hidden().unwrap_or_else(|| self.url.clone())
    }
}

/// Without the password.
impl fmt::Debug for MysqlOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MysqlOptions")
            .field("url", &self.shown())
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("socket", &self.socket)
            .field("tls", &self.tls)
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("durable", &self.durable)
            .field("server", &self.server)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused_by_name_and_hide_the_password() {
        let mut options = MysqlOptions::new("mysql://me:hunter2@db/x");
        options.set("password", "hunter3").unwrap();
        options.set("connections", "8").unwrap();
        options.set("ssl-mode", "VERIFY_IDENTITY").unwrap();
        assert_eq!(options.tls, Some(true));
        options.set("sslmode", "disabled").unwrap();
        assert_eq!(options.tls, Some(false));
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter"), "{shown}");
        for (name, value) in [
            ("sslmode", "preferred"),
            ("connections", "0"),
            ("connections", "1025"),
            ("timeout", "0s"),
            ("timeout", "5"),
            ("durable", "maybe"),
            ("socket", ""),
            ("nope", "1"),
        ] {
            let error = options.set(name, value).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
