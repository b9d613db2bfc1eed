//! A server of one test's own.

use std::fs;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use super::files::{self, Lock};
use super::kind::{Kind, Place, kind};
use super::process::Life;
use super::{Certificate, Result, Server};

/// A server of one test's own, with data and ports of its own. It ends with
/// this value, or with the process, and its data is gone then.
pub struct Private {
    server: Server,
    _ports: Lock,
}

/// What is special about a private server.
pub struct Options {
    kind: &'static dyn Kind,
    folder: Option<PathBuf>,
    before: u16,
    certificate: Option<Certificate>,
    arguments: Vec<String>,
}

/// Of how many ports each has its own, from 20,000 on: below those that the
/// system gives to clients, which could be in the way of starting again.
const PORTS: u16 = 16;
const FIRST: u16 = 20_000;
const SLOTS: u16 = 700;

static NUMBER: AtomicU32 = AtomicU32::new(0);

impl Private {
    /// A server of this kind.
    ///
    /// # Errors
    /// If there is no such kind.
    pub fn of(name: &str) -> Result<Options> {
        let kind = kind(name)?;
        Ok(Options {
            kind,
            folder: None,
            before: match kind.stands_on() {
                Some(below) => self::kind(below)?.port(),
                None => 0,
            },
            certificate: None,
            arguments: Vec::new(),
        })
    }

    /// Its first URL.
    pub fn url(&self) -> String {
        self.server
            .urls()
            .into_iter()
            .next()
            .map_or_else(String::new, |(_, url)| url)
    }
}

impl Options {
    /// The certificate that it shows. Without this, a good one; `mongodb` speaks TLS
    /// with this alone.
    #[must_use]
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// An argument beside its own: a setting.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// The port of the server that it stands on; the shared one's by default.
    #[must_use]
    pub fn before(mut self, port: u16) -> Self {
        self.before = port;
        self
    }

    /// An empty folder to live in, which the users of servers can enter.
    #[must_use]
    pub fn folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.folder = Some(folder.into());
        self
    }

    /// Starts it.
    ///
    /// # Errors
    /// Those of [`Server::start`].
    pub fn start(self) -> Result<Private> {
        let me = std::process::id();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = match self.folder {
            Some(folder) => folder,
            None => {
                let all = files::base()?.join("private");
                sweep(&all);
                all.join(format!("{me}-{number}-{}", self.kind.name()))
            }
        };
        let (port, ports) = ports(me)?;
        let place = Place {
            folder,
            port,
            before: self.before,
            certificate: self.certificate,
            arguments: self.arguments,
        };
        let private = Private {
            server: Server::at(self.kind, place, Life::WithThis),
            _ports: ports,
        };
        private.server.start()?;
        Ok(private)
    }
}

/// Ports that nobody uses, and what keeps others from them.
fn ports(seed: u32) -> Result<(u16, Lock)> {
    for n in 0..SLOTS {
        let slot = ((seed % u32::from(SLOTS)) as u16 + n) % SLOTS;
        let first = FIRST + slot * PORTS;
        let Some(lock) = Lock::take(&format!("ports-{first}"))? else {
            continue;
        };
        let is_free = |port| std::net::TcpListener::bind(("127.0.0.1", port)).is_ok();
        if (first..first + PORTS).all(is_free) {
            return Ok((first, lock));
        }
    }
    Err(format!("all ports from {FIRST} on are taken"))
}

/// Removes what processes left that could not tidy up.
fn sweep(all: &Path) {
    for entry in fs::read_dir(all).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner = name.to_str().and_then(|name| name.split('-').next());
        let is_over = |pid: &str| !Path::new("/proc").join(pid).exists();
        if owner.is_some_and(is_over) {
            let _tidied = fs::remove_dir_all(entry.path());
        }
    }
}

impl Deref for Private {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        let _tidied = self.server.kill();
        let _tidied = fs::remove_dir_all(self.server.folder());
    }
}
