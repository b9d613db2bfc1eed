//! How to open a store in DynamoDB.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use holdall_core::{Env, Error, Result};

use crate::setting::{duration, misfit};

/// How to open a store in DynamoDB.
#[derive(Clone)]
pub struct DynamoDbOptions {
    /// The table.
    pub table: String,
    /// The region, such as `eu-central-1`. Not looked at, as all up to `ca`, where a
    /// client is handed in.
    pub region: Option<String>,
    /// The URL of a server that speaks as DynamoDB does, where it is not Amazon's.
    pub endpoint: Option<String>,
    /// The id of the access key.
    pub access_key_id: Option<String>,
    /// The access key.
    pub secret_access_key: Option<String>,
    /// The token of a session, where the key is one for a time.
    pub session_token: Option<String>,
    /// A file with the certificates (PEM) of the authorities that the server's may
    /// come from; the system's if it is left out.
    pub ca: Option<PathBuf>,
    /// What the partition keys of the store start with: 1 to 64 letters, digits, `-`,
    /// `_`, `.` and `:`; `holdall` by default.
    pub prefix: String,
    /// Makes the table if it is not there, billed by request; else that is `NotFound`.
    pub create_table: bool,
    /// Makes the store in the table if it is not there; else that is `NotFound`.
    pub create: bool,
    /// How long to wait for a connection; 5 s by default.
    pub connect_timeout: Duration,
    /// How long a call may take, with what is tried again; 10 s by default.
    pub timeout: Duration,
    /// How often a watch looks for changes of other processes; 500 ms by default.
    pub poll: Duration,
    /// How long the body of an overwritten or deleted item stays readable for those
    /// who are reading it; 1 h by default.
    pub grace: Duration,
    /// How long a staged body waits for its batch; 1 h by default.
    pub lease: Duration,
    /// Clock and randomness.
    pub env: Env,
}

const KNOWN: &str = "region, endpoint, access_key_id, secret_access_key, session_token, ca, prefix, \
                     create_table, connect_timeout, timeout, poll, grace and lease";

impl DynamoDbOptions {
    /// The defaults for a table.
    pub fn new(table: impl Into<String>) -> Self {
        Self {
            table: table.into(),
            region: None,
            endpoint: None,
            access_key_id: None,
            secret_access_key: None,
            session_token: None,
            ca: None,
            prefix: "holdall".to_owned(),
            create_table: false,
            create: true,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            poll: Duration::from_millis(500),
            grace: Duration::from_secs(60 * 60),
            lease: Duration::from_secs(60 * 60),
            env: Env::system(),
        }
    }

    /// Sets an option from its text, as it stands in a URL or a configuration:
    /// `create_table` is `true` or `false`; `ca` is a path; `connect_timeout`,
    /// `timeout`, `poll`, `grace` and `lease` are durations like `500ms`, `5s`, `10m` or
    /// `1h`; all others are taken as they are.
    ///
    /// # Errors
    /// `Invalid` for an unknown option, naming those there are, or for a value that
    /// does not fit. Values that may be secret are not shown.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        let text = || match value {
            "" => Err(Error::invalid(format!("the option {name} is empty"))),
            text => Ok(Some(text.to_owned())),
        };
        let time = || {
            duration(name, value).and_then(|time| match time.is_zero() {
                true => Err(misfit(name, value, "more than nothing")),
                false => Ok(time),
            })
        };
        match name {
            "region" => self.region = text()?,
            "endpoint" => self.endpoint = text()?,
            "access_key_id" => self.access_key_id = text()?,
            "secret_access_key" => self.secret_access_key = text()?,
            "session_token" => self.session_token = text()?,
            "ca" => self.ca = text()?.map(PathBuf::from),
            "prefix" => {
                check_prefix(value)?;
                self.prefix = value.to_owned();
            }
            "create_table" => {
                self.create_table = value
                    .parse()
                    .map_err(|_| misfit(name, value, "true or false"))?;
            }
            "connect_timeout" => self.connect_timeout = time()?,
            "timeout" => self.timeout = time()?,
            "poll" => self.poll = time()?,
            "grace" => self.grace = duration(name, value)?,
            "lease" => self.lease = duration(name, value)?,
            _ => {
                return Err(Error::invalid(format!(
                    "the option {name:?} is unknown for dynamodb; there are {KNOWN}"
                )));
            }
        }
        Ok(())
    }
}

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

/// Without keys and tokens.
impl fmt::Debug for DynamoDbOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DynamoDbOptions")
            .field("table", &self.table)
            .field("region", &self.region)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused_by_name() {
        let mut options = DynamoDbOptions::new("t");
        for (name, value) in [
            ("region", "eu-central-1"),
            ("access_key_id", "hunter1"),
            ("secret_access_key", "hunter2"),
            ("session_token", "hunter3"),
            ("endpoint", "http://:hunter4@h"),
            ("create_table", "true"),
            ("poll", "2s"),
        ] {
            options.set(name, value).unwrap();
        }
        assert!(options.create_table);
        assert!(!format!("{options:?}").contains("hunter"));
        for (name, value) in [
            ("region", ""),
            ("prefix", "a/b"),
            ("create_table", "yes"),
            ("timeout", "0s"),
            ("nope", "1"),
        ] {
            let error = options.set(name, value).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
