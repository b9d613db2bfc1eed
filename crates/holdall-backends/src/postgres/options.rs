//! How to reach a PostgreSQL database.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::{Error, Result};

use crate::setting::{duration, misfit};
use crate::sql::server::ServerOptions;

/// How to reach a PostgreSQL database, and how to keep items in it.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://USER@HOST:PORT/DATABASE`, with a password perhaps; several
    /// hosts are separated by commas.
    pub url: String,
    /// The password, if it does not stand in the URL.
    pub password: Option<String>,
    /// A file that holds the password, read when the store is opened.
    pub password_file: Option<PathBuf>,
    /// The schema that the tables are in; the first of the user's search path by
    /// default. It must exist.
    pub schema: Option<String>,
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
    /// How long the statements of one round trip may take; 30 s by default.
    pub timeout: Duration,
    /// Whether statements stay prepared on a connection. It must be `false`
    /// behind a pooler that gives each transaction another connection, like
    /// PgBouncer in transaction mode before 1.21.
    pub prepare: bool,
    /// Whether writes must survive a loss of power; `true` by default. A server
    /// that does not promise it is refused then.
    pub durable: bool,
    /// Grace, leases, polling, clock and randomness.
    pub server: ServerOptions,
}

const KNOWN: &str = "password, password_file, schema, sslmode, ca, cert, key, connections, \
                     connect_timeout, timeout, prepare, durable, grace, lease and poll";

impl PostgresOptions {
    /// The defaults for a database.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            password: None,
            password_file: None,
            schema: None,
            tls: None,
            ca: None,
            cert: None,
            key: None,
            connections: 16,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            prepare: true,
            durable: true,
            server: ServerOptions::default(),
        }
    }

    /// Sets an option from its text, as it stands in a URL or a configuration:
    /// `password` and `schema` as they are; `password_file`, `ca`, `cert` and
    /// `key` are paths; `sslmode` is `disable`, `require`, `verify-ca` or
    /// `verify-full`, and whatever encrypts also verifies; `prepare` and
    /// `durable` are `true` or `false`; `connections` is a number; the others
    /// are durations like `500ms`, `5s`, `10m` or `1h`.
    ///
    /// # Errors
    /// `Invalid` for an unknown option, naming those there are, or for a value
    /// that does not fit. Values that may be secret are not shown.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let path = || match value {
            "" => Err(misfit(name, value, "the path of a file")),
            path => Ok(Some(PathBuf::from(path))),
        };
        let yes_or_no = || {
            value
                .parse()
                .map_err(|_| misfit(name, value, "true or false"))
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
            "schema" => {
                if value.is_empty() || value.len() > 63 || value.contains('\0') {
                    return Err(misfit(name, value, "a name of 1 to 63 bytes"));
                }
                self.schema = Some(value.to_owned());
            }
            "sslmode" => {
                self.tls = match value {
                    "disable" => Some(false),
                    "require" | "verify-ca" | "verify-full" => Some(true),
                    _ => {
                        let wanted = "disable, require, verify-ca or verify-full";
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
            "prepare" => self.prepare = yes_or_no()?,
            "durable" => self.durable = yes_or_no()?,
            "grace" => self.server.grace = duration(name, value)?,
            "lease" => self.server.lease = time()?,
            "poll" => self.server.poll = time()?,
            _ => {
                return Err(Error::invalid(format!(
                    "the option {name:?} is unknown for postgres; there are {KNOWN}"
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
impl fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresOptions")
            .field("url", &self.shown())
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("schema", &self.schema)
            .field("tls", &self.tls)
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("prepare", &self.prepare)
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
        let mut options = PostgresOptions::new("postgres://me:hunter2@db/x");
        options.set("password", "hunter3").unwrap();
        options.set("connections", "8").unwrap();
        options.set("sslmode", "verify-full").unwrap();
        assert_eq!(options.tls, Some(true));
        let shown = format!("{options:?}");
        assert!(!shown.contains("hunter"), "{shown}");
        for (name, value) in [
            ("sslmode", "prefer"),
            ("connections", "0"),
            ("connections", "1025"),
            ("timeout", "0s"),
            ("timeout", "5"),
            ("prepare", "maybe"),
            ("schema", ""),
            ("nope", "1"),
        ] {
            let error = options.set(name, value).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
