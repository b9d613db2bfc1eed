//! How to reach a server.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::{Env, Error, Result};

use crate::setting::{duration, misfit};

/// How to reach a server.
#[derive(Clone)]
pub struct HttpOptions {
    /// The server's URL: `http://HOST:PORT` or `https://HOST`, with a path
    /// behind it if a proxy gives the server one.
    pub url: String,
    /// The token that lets in, sent with every request. Over `http:` it goes
    /// to this machine only, unless `allow_plain` says otherwise.
    pub token: Option<String>,
    /// A file that holds the token, read when the store is opened.
    pub token_file: Option<PathBuf>,
    /// A file with the certificates (PEM) of the authorities that the server's
    /// certificate may come from; the public ones if it is left out.
    pub ca: Option<PathBuf>,
    /// A file with this client's certificate (PEM), and what it hangs on.
    pub cert: Option<PathBuf>,
    /// A file with the private key (PEM) of `cert`.
    pub key: Option<PathBuf>,
    /// Sends the token over `http:` to other machines too, where everyone on
    /// the way can read it; for networks that are safe by other means.
    pub allow_plain: bool,
    /// How long to wait for a connection, TLS included; 5 s by default.
    pub connect_timeout: Duration,
    /// How long to wait while nothing is heard: for the start of an answer
    /// after the request was sent, and for each further piece; 60 s by default.
    pub timeout: Duration,
    /// How long a connection that is not used is kept; 30 s by default, which
    /// should be less than the server's.
    pub idle_timeout: Duration,
    /// How many requests are under way at once, 1 to 4096; more wait for
    /// their turn. Bodies on their way in or out do not count. 64 by default.
    pub connections: u32,
    /// Clock and randomness, for the ids of batches.
    pub env: Env,
}

const KNOWN: &str = "token, token_file, ca, cert, key, allow_plain, connect_timeout, timeout, \
                     idle_timeout and connections";

impl HttpOptions {
    /// The defaults for a server.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            token: None,
            token_file: None,
            ca: None,
            cert: None,
            key: None,
            allow_plain: false,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(30),
            connections: 64,
            env: Env::system(),
        }
    }

    /// Sets an option from its text, as it stands in a URL or a configuration:
    /// `token` as it is; `token_file`, `ca`, `cert` and `key` are paths;
    /// `allow_plain` is `true` or `false`; `connect_timeout`, `timeout` and
    /// `idle_timeout` are durations like `500ms`, `5s`, `10m` or `1h`;
    /// `connections` is a number.
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
        match name {
            "token" => self.token = Some(value.to_owned()),
            "token_file" => self.token_file = path()?,
            "ca" => self.ca = path()?,
            "cert" => self.cert = path()?,
            "key" => self.key = path()?,
            "allow_plain" => {
                self.allow_plain = value
                    .parse()
                    .map_err(|_| misfit(name, value, "true or false"))?;
            }
            "connect_timeout" => self.connect_timeout = time()?,
            "timeout" => self.timeout = time()?,
            "idle_timeout" => self.idle_timeout = time()?,
            "connections" => {
                let number = value.parse().ok();
                self.connections = number
                    .filter(|number| (1..=4096).contains(number))
                    .ok_or_else(|| misfit(name, value, "a number from 1 to 4096"))?;
            }
            _ => {
                return Err(Error::invalid(format!(
                    "the option {name:?} is unknown for http; there are {KNOWN}"
                )));
            }
        }
        Ok(())
    }
}

/// Without the token.
impl fmt::Debug for HttpOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpOptions")
            .field("token", &self.token.as_ref().map(|_| "***"))
            .field("token_file", &self.token_file)
            .field("ca", &self.ca)
            .field("cert", &self.cert)
            .field("allow_plain", &self.allow_plain)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("idle_timeout", &self.idle_timeout)
            .field("connections", &self.connections)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused_by_name() {
        let mut options = HttpOptions::new("http://h");
        options.set("token", "hunter2").unwrap();
        options.set("timeout", "250ms").unwrap();
        options.set("connections", "4096").unwrap();
        options.set("allow_plain", "true").unwrap();
        assert_eq!(options.timeout, Duration::from_millis(250));
        assert!(!format!("{options:?}").contains("hunter2"));
        for (name, value) in [
            ("timeout", "0s"),
            ("connect_timeout", "5"),
            ("connections", "0"),
            ("connections", "4097"),
            ("allow_plain", "yes"),
            ("ca", ""),
            ("nope", "1"),
        ] {
            let error = options.set(name, value).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
