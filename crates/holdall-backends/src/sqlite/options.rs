//! How to open an SQLite file.

use std::path::PathBuf;
use std::time::Duration;

use holdall_core::{Env, Error, Result};

use crate::setting::{duration, misfit};

/// How to open an SQLite file.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The file. Its folder must exist.
    pub path: PathBuf,
    /// Makes the file if it is not there; else that is `NotFound`.
    pub create: bool,
    /// When a write is on disk.
    pub synchronous: Synchronous,
    /// How long to wait for another process's lock; 5 s by default.
    pub busy_timeout: Duration,
    /// Connections for reading; 4 by default, 1 to 64.
    pub readers: u32,
    /// How long the body of an overwritten or deleted item stays readable for
    /// those who are reading it; 1 h by default.
    pub grace: Duration,
    /// How long a staged body waits for its batch; 1 h by default.
    pub lease: Duration,
    /// The most bytes of the log of changes, which else is kept for a day;
    /// 256 MiB by default.
    pub log_bytes: u64,
    /// Clock and randomness.
    pub env: Env,
}

/// When a write is on disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Synchronous {
    /// Before it is answered: it survives a loss of power.
    #[default]
    Full,
    /// Some time later. A loss of power may take the last writes, all or
    /// nothing each; a crash of the process takes none.
    Normal,
}

const KNOWN: &str = "synchronous, busy_timeout, readers, grace, lease and log_bytes";

impl SqliteOptions {
    /// The defaults for a file.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            create: true,
            synchronous: Synchronous::Full,
            busy_timeout: Duration::from_secs(5),
            readers: 4,
            grace: Duration::from_secs(60 * 60),
            lease: Duration::from_secs(60 * 60),
            log_bytes: 256 * 1024 * 1024,
            env: Env::system(),
        }
    }

    /// Sets an option from its text, as it stands in a URL or a configuration:
    /// `synchronous` is `full` or `normal`; `busy_timeout`, `grace` and `lease`
    /// are durations like `500ms`, `5s`, `10m` or `1h`; `readers` and
    /// `log_bytes` are numbers.
    ///
    /// # Errors
    /// `Invalid` for an unknown option, naming those there are, or for a value
    /// that does not fit.
    pub fn set(&mut self, name: &str, value: &str) -> Result<()> {
        match name {
            "synchronous" => {
                self.synchronous = match value {
                    "full" => Synchronous::Full,
                    "normal" => Synchronous::Normal,
                    _ => return Err(misfit(name, value, "full or normal")),
                };
            }
            "busy_timeout" => self.busy_timeout = duration(name, value)?,
            "grace" => self.grace = duration(name, value)?,
            "lease" => self.lease = duration(name, value)?,
            "readers" => {
                let readers = value
                    .parse()
                    .ok()
                    .filter(|readers| (1..=64).contains(readers));
                self.readers =
                    readers.ok_or_else(|| misfit(name, value, "a number from 1 to 64"))?;
            }
            "log_bytes" => {
                self.log_bytes = value
                    .parse()
                    .map_err(|_| misfit(name, value, "a number of bytes"))?;
            }
            _ => {
                return Err(Error::invalid(format!(
                    "the option {name:?} is unknown for sqlite; there are {KNOWN}"
                )));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_or_refused_by_name() {
        let mut options = SqliteOptions::new("x.db");
        options.set("synchronous", "normal").unwrap();
        options.set("busy_timeout", "250ms").unwrap();
        options.set("readers", "8").unwrap();
        assert_eq!(options.synchronous, Synchronous::Normal);
        assert_eq!(options.busy_timeout, Duration::from_millis(250));
        for (name, value) in [
            ("synchronous", "off"),
            ("busy_timeout", "5"),
            ("busy_timeout", "s"),
            ("busy_timeout", "5 s"),
            ("grace", "99999999999999999999h"),
            ("readers", "0"),
            ("readers", "65"),
            ("log_bytes", "-1"),
            ("nope", "1"),
        ] {
            let error = options.set(name, value).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
