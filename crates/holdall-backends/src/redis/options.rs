//! How to open a store in Redis.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::{Env, Error, Result};

use super::address::Node;
use crate::setting::{duration, misfit};

/// How to open a store in Redis.
#[derive(Clone)]
pub struct RedisOptions {
    /// The server's URL: `redis://[USER[:PASSWORD]@]HOST[:PORT][/DATABASE]`, or
    /// `rediss:` with TLS. Not looked at where a client is handed in.
    pub url: String,
    /// Other nodes of its cluster, `HOST:PORT`, to ask where the first is gone.
    pub nodes: Vec<String>,
    /// The user, where the URL names none.
    pub username: Option<String>,
    /// The password, where the URL has none.
    pub password: Option<String>,
    /// A file that holds the password, read when the store is opened.
    pub password_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of the authorities that the server's
    /// certificate may come from; the public ones if it is left out.
    pub ca: Option<PathBuf>,
    /// A file with this client's certificate (PEM), and what it hangs on.
    pub cert: Option<PathBuf>,
    /// A file with the private key (PEM) of `cert`.
    pub key: Option<PathBuf>,
    /// What all keys of the store start with, in braces: 1 to 64 letters,
    /// digits, `-`, `_`, `.` and `:`; `holdall` by default.
    pub prefix: String,
    /// Makes the store if it is not there; else that is `NotFound`.
    pub create: bool,
    /// Refuses a server that does not write each change to disk before it
    /// answers; true by default.
    pub durable: bool,
    /// How many replicas must have a write before it is answered; 0 by default.
    pub replicas: u32,
    /// How long to wait for a connection, TLS included; 5 s by default.
    pub connect_timeout: Duration,
    /// How long to wait for an answer; 10 s by default.
    pub timeout: Duration,
    /// Connections, 2 to 64, each for many calls at once; 4 by default. One is
    /// for writing.
    pub connections: u32,
    /// How long the body of an overwritten or deleted item stays readable for
    /// those who are reading it; 1 h by default.
    pub grace: Duration,
    /// How long a staged body waits for its batch; 1 h by default.
    pub lease: Duration,
    /// The most bytes of the log of changes, which else is kept for a day;
    /// 64 MiB by default.
    pub log_bytes: u64,
    /// Clock and randomness.
    pub env: Env,
}

const KNOWN: &str = "nodes, username, password, password_file, ca, cert, key, prefix, durable, \
                     replicas, connect_timeout, timeout, connections, grace, lease and log_bytes";

impl RedisOptions {
    /// The defaults for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            nodes: Vec::new(),
            username: None,
            password: None,
            password_file: None,
            ca: None,
            cert: None,
            key: None,
            prefix: "holdall".to_owned(),
            create: true,
            durable: true,
            replicas: 0,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            connections: 4,
            grace: Duration::from_secs(60 * 60),
            lease: Duration::from_secs(60 * 60),
            log_bytes: 64 * 1024 * 1024,
            env: Env::system(),
        }
    }

    /// Sets an option from its text, as it stands in a URL or a configuration:
    /// `nodes` are `HOST:PORT`, joined by commas; `username` and `password` as
    /// they are; `password_file`, `ca`, `cert` and `key` are paths; `durable` is
    /// `true` or `false`; `replicas`, `connections` and `log_bytes` are numbers;
    /// `connect_timeout`, `timeout`, `grace` and `lease` are durations like
    /// `500ms`, `5s`, `10m` or `1h`.
    ///
    /// # Errors
    /// `Invalid` for an unknown option, naming those there are, or for a value
    /// that does not fit. Values that may be secret are not shown.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let path = || match value {
            "" => Err(Error::invalid(format!(
                "the option {name} is the path of a file, and is empty"
            ))),
            path => Ok(Some(PathBuf::from(path))),
        };
        let time = || {
            duration(name, value).and_then(|time| match time.is_zero() {
                true => Err(misfit(name, value, "more than nothing")),
                false => Ok(time),
            })
        };
        let number = |least: u32, most: u32| {
            let number = value.parse().ok();
            number
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| misfit(name, value, &format!("a number from {least} to {most}")))
        };
        match name {
            "nodes" => {
                let nodes: Vec<String> = value.split(',').map(str::to_owned).collect();
                if nodes.len() > 64 || nodes.iter().any(|node| Node::parse(node).is_none()) {
                    return Err(misfit(
                        name,
                        value,
                        "1 to 64 times HOST:PORT, with commas between",
                    ));
                }
                self.nodes = nodes;
            }
            "username" => self.username = Some(value.to_owned()),
            "password" => self.password = Some(value.to_owned()),
            "password_file" => self.password_file = path()?,
            "ca" => self.ca = path()?,
            "cert" => self.cert = path()?,
            "key" => self.key = path()?,
            "prefix" => {
                check_prefix(value)?;
                self.prefix = value.to_owned();
            }
            "durable" => {
                self.durable = value
                    .parse()
                    .map_err(|_| misfit(name, value, "true or false"))?;
            }
            "replicas" => self.replicas = number(0, 16)?,
            "connections" => self.connections = number(2, 64)?,
            "connect_timeout" => self.connect_timeout = time()?,
            "timeout" => self.timeout = time()?,
            "grace" => self.grace = duration(name, value)?,
            "lease" => self.lease = duration(name, value)?,
            "log_bytes" => {
                self.log_bytes = value
                    .parse()
                    .map_err(|_| misfit(name, value, "a number of bytes"))?;
            }
            _ => {
                return Err(Error::invalid(format!(
                    "the option {name:?} is unknown for redis; there are {KNOWN}"
                )));
            }
        }
        Ok(())
    }
}

/// Braces in it would change which part of a key chooses the slot.
pub(super) fn check_prefix(prefix: &str) -> Result<()> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    if (1..=64).contains(&prefix.len()) && prefix.chars().all(plain) {
        return Ok(());
    }
    Err(misfit(
        "prefix",
        prefix,
        "1 to 64 letters, digits, \"-\", \"_\", \".\" and \":\"",
    ))
}

/// Without secrets: the URL may have a password in it.
impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("nodes", &self.nodes)
            .field("password", &self.password.as_ref().map(|_| "***"))
            .field("prefix", &self.prefix)
            .field("durable", &self.durable)
            .field("replicas", &self.replicas)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused_by_name() {
        let mut options = RedisOptions::new("redis://:hunter2@h");
        for (name, value) in [
            ("nodes", "a:1,[::1]:2,c"),
            ("password", "hunter2"),
            ("prefix", "app:v1"),
            ("durable", "false"),
            ("replicas", "2"),
            ("timeout", "250ms"),
            ("connections", "64"),
            ("log_bytes", "0"),
        ] {
            options.set(name, value).unwrap();
        }
        assert_eq!(options.nodes.len(), 3);
        assert_eq!(options.timeout, Duration::from_millis(250));
        assert!(!options.durable);
        assert!(!format!("{options:?}").contains("hunter2"));
        for (name, value) in [
            ("nodes", ""),
            ("nodes", "a:b"),
            ("prefix", ""),
            ("prefix", "a{b}"),
            ("durable", "yes"),
            ("replicas", "17"),
            ("connections", "1"),
            ("timeout", "0s"),
            ("ca", ""),
            ("log_bytes", "-1"),
            ("nope", "1"),
        ] {
            let error = options.set(name, value).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
