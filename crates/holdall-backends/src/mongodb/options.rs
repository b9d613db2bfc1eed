//! How to reach a MongoDB deployment.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::{Env, Error, Result};

use crate::setting::{duration, misfit};

/// How to reach a MongoDB deployment, and what to keep there how.
#[derive(Clone)]
pub struct MongoOptions {
    /// `mongodb://USER:PASSWORD@HOST:PORT,HOST:PORT/DATABASE`; the database is
    /// `holdall` if it is left out.
    pub url: String,
    /// Makes the store if the database holds none; else that is `NotFound`.
    pub create: bool,
    /// The user, if it does not stand in the URL.
    pub username: Option<String>,
    /// The user's password, if it does not stand in the URL.
    pub password: Option<String>,
    /// A file that holds the password, read when the store is opened.
    pub password_file: Option<PathBuf>,
    /// Options for the driver, as they stand in URLs of MongoDB; [`set`](Self::set)
    /// says which there are.
    pub driver: Vec<(String, String)>,
    /// How many calls are under way at once, each on a connection of its own, 1
    /// to 1000; more wait for their turn. 16 by default.
    pub connections: u32,
    /// How long to wait for a connection, TLS included; 5 s by default.
    pub connect_timeout: Duration,
    /// How long a call may take, from waiting for its turn to the last attempt;
    /// 30 s by default.
    pub timeout: Duration,
    /// Whether batches are written in transactions.
    pub transactions: Transactions,
    /// Whether change streams are used where there are any. A store that is made without
    /// them numbers its batches, and its watchers ask for them from time to time.
    pub streams: bool,
    /// Whether a write waits until it is in the journal. Without it, it is
    /// acknowledged by a majority that has it in memory alone.
    pub journal: bool,
    /// The most bytes of a body that lies in the document of its item, up to 12
    /// MiB; 64 KiB by default.
    pub inline: u32,
    /// How long the body of an overwritten or deleted item stays readable for
    /// those who are reading it; 1 h by default.
    pub grace: Duration,
    /// How long a staged body waits for its batch; 1 h by default.
    pub lease: Duration,
    /// Clock and randomness.
    pub env: Env,
}

/// Whether batches are written in transactions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Transactions {
    /// Where the deployment has them: a replica set, or a sharded cluster.
    #[default]
    Auto,
    /// They are needed; open fails where there are none.
    On,
    /// Never: a batch is one item, and nothing is told to watchers.
    Off,
}

/// What the driver is told as it stands.
const DRIVER: [&str; 9] = [
    "appName",
    "authMechanism",
    "authSource",
    "directConnection",
    "heartbeatFrequencyMS",
    "replicaSet",
    "tls",
    "tlsCAFile",
    "tlsCertificateKeyFile",
];

const KNOWN: &str = "username, password, password_file, connections, connect_timeout, timeout, transactions, \
                     streams, journal, inline, grace and lease, and of the driver's own";

/// The most of [`MongoOptions::inline`].
pub(super) const MAX_INLINE: u32 = 12 * 1024 * 1024;

impl MongoOptions {
    /// The defaults for a URL.
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            create: true,
            username: None,
            password: None,
            password_file: None,
            driver: Vec::new(),
            connections: 16,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
            transactions: Transactions::Auto,
            streams: true,
            journal: true,
            inline: 64 * 1024,
            grace: Duration::from_secs(60 * 60),
            lease: Duration::from_secs(60 * 60),
            env: Env::system(),
        }
    }

    /// Sets an option from its text, as it stands in a URL or a configuration:
    /// `username` and `password` as they are; `password_file` is a path; `connections` and `inline` are numbers;
    /// `connect_timeout`, `timeout`, `grace` and `lease` are durations like
    /// `500ms`, `5s`, `10m` or `1h`; `transactions` is `auto`, `on` or `off`; `streams` is `auto` or `off`;
    /// `journal` is `true` or `false`. The driver takes `appName`,
    /// `authMechanism`, `authSource`, `directConnection`, `heartbeatFrequencyMS`,
    /// `replicaSet`, `tls`, `tlsCAFile` and `tlsCertificateKeyFile`.
    ///
    /// # Errors
    /// `Invalid` for an unknown option, naming those there are, or for a value
    /// that does not fit. A password is not shown.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let time = || {
            duration(name, value).and_then(|time| match time.is_zero() {
                true => Err(misfit(name, value, "more than nothing")),
                false => Ok(time),
            })
        };
        let number = |most: u32, least: u32, wanted: &str| {
            let number = value.parse().ok();
            number
                .filter(|number| (least..=most).contains(number))
                .ok_or_else(|| misfit(name, value, wanted))
        };
        match name {
            "username" => self.username = Some(value.to_owned()),
            "password" => self.password = Some(value.to_owned()),
            "password_file" if value.is_empty() => {
                return Err(misfit(name, value, "the path of a file"));
            }
            "password_file" => self.password_file = Some(PathBuf::from(value)),
            "connections" => self.connections = number(1000, 1, "a number from 1 to 1000")?,
            "inline" => {
                self.inline = number(MAX_INLINE, 0, "a number of bytes, up to 12582912")?;
            }
            "connect_timeout" => self.connect_timeout = time()?,
            "timeout" => self.timeout = time()?,
            "grace" => self.grace = duration(name, value)?,
            "lease" => self.lease = time()?,
            "journal" => {
                let journal = value.parse();
                self.journal = journal.map_err(|_| misfit(name, value, "true or false"))?;
            }
            "transactions" => {
                self.transactions = match value {
                    "auto" => Transactions::Auto,
                    "on" => Transactions::On,
                    "off" => Transactions::Off,
                    _ => return Err(misfit(name, value, "auto, on or off")),
                };
            }
            "streams" => {
                self.streams = match value {
                    "auto" => true,
                    "off" => false,
                    _ => return Err(misfit(name, value, "auto or off")),
                };
            }
            _ => {
                let Some(known) = DRIVER
                    .into_iter()
                    .find(|known| known.eq_ignore_ascii_case(name))
                else {
                    return Err(Error::invalid(format!(
                        "the option {name:?} is unknown for mongodb; there are {KNOWN} {}",
                        DRIVER.join(", ")
                    )));
                };
                self.driver.push((known.to_owned(), value.to_owned()));
            }
        }
        Ok(())
    }

    /// The URL for the driver, with its options.
    pub(super) fn driver_url(&self) -> String {
        let mut url = self.url.clone();
        let slashes = url.find("//").map_or(0, |at| at + 2);
        if !url
            .get(slashes..)
            .is_some_and(|rest| rest.contains(['/', '?']))
        {
            url.push('/');
        }
        for (name, value) in &self.driver {
            url.push(if url.contains('?') { '&' } else { '?' });
            url.push_str(name);
            url.push('=');
            for byte in value.bytes() {
                if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
                    url.push(char::from(byte));
                } else {
                    url.push_str(&format!("%{byte:02X}"));
                }
            }
        }
        url
    }
}

/// Without what may be secret.
impl fmt::Debug for MongoOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MongoOptions")
            .field("connections", &self.connections)
            .field("connect_timeout", &self.connect_timeout)
            .field("timeout", &self.timeout)
            .field("transactions", &self.transactions)
            .field("streams", &self.streams)
            .field("journal", &self.journal)
            .field("inline", &self.inline)
            .field("grace", &self.grace)
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused_by_name() {
        let mut options = MongoOptions::new("mongodb://u:hunter2@h");
        options.set("password", "hunter3").unwrap();
        options.set("timeout", "250ms").unwrap();
        options.set("transactions", "off").unwrap();
        options.set("replicaset", "a&b").unwrap();
        options.set("tlsCAFile", "/a b.pem").unwrap();
        assert_eq!(options.timeout, Duration::from_millis(250));
        assert!(!format!("{options:?}").contains("hunter"));
        assert_eq!(
            options.driver_url(),
            "mongodb://u:hunter2@h/?replicaSet=a%26b&tlsCAFile=/a%20b.pem"
        );
        for (name, value) in [
            ("timeout", "0s"),
            ("password_file", ""),
            ("connect_timeout", "5"),
            ("connections", "0"),
            ("connections", "1001"),
            ("inline", "12582913"),
            ("journal", "yes"),
            ("transactions", "maybe"),
            ("streams", "on"),
            ("tlsInsecure", "true"),
            ("w", "1"),
            ("nope", "1"),
        ] {
            let error = options.set(name, value).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
