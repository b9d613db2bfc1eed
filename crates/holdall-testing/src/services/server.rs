//! One server: starting, ending and killing it.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::Result;
use super::files::{self, Lock, make_folder, remove_folder};
use super::kind::{Kind, Place, kind};
use super::process::{self, Life, PATIENCE};

/// A server, running or not.
#[derive(Clone)]
pub struct Server {
    kind: &'static dyn Kind,
    place: Place,
    life: Life,
}

impl Server {
    /// The one that all tests share.
    ///
    /// # Errors
    /// If there is none of this name.
    pub fn shared(name: &str) -> Result<Self> {
        let kind = kind(name)?;
        let before = match kind.stands_on() {
            Some(below) => self::kind(below)?.port(),
            None => 0,
        };
        let place = Place {
            folder: files::base()?.join(name),
            port: kind.port(),
            before,
            certificate: None,
            arguments: Vec::new(),
        };
        Ok(Self::at(kind, place, Life::Own))
    }

    pub(super) fn at(kind: &'static dyn Kind, place: Place, life: Life) -> Self {
        Self { kind, place, life }
    }

    /// What tests call it.
    pub fn name(&self) -> &'static str {
        self.kind.name()
    }

    /// What people call it.
    pub fn product(&self) -> &'static str {
        self.kind.product()
    }

    /// Where its programs come from.
    pub fn origin(&self) -> super::Origin {
        self.kind.origin()
    }

    /// The name of the server that it stands on.
    pub fn stands_on(&self) -> Option<&'static str> {
        self.kind.stands_on()
    }

    /// Its URLs by name.
    pub fn urls(&self) -> Vec<(&'static str, String)> {
        self.kind.urls(&self.place)
    }

    /// What it is, with its version: `PostgreSQL 15.18`.
    ///
    /// # Errors
    /// If it is not installed.
    pub fn version(&self) -> Result<String> {
        let version = match self.kind.origin() {
            super::Origin::Crate { version, .. } => version.to_owned(),
            super::Origin::Debian(_) => {
                let program = self.kind.program()?.to_string_lossy().into_owned();
                let said = process::run(&[program, "--version".into()], None)?;
                // `Redis server v=7.0.15 sha=…`, `mariadbd  Ver 10.11.19-MariaDB-0+deb12u1 …`
                let word = said
                    .split_whitespace()
                    .map(|word| word.trim_start_matches("v="))
                    .find(|word| word.starts_with(|first: char| first.is_ascii_digit()));
                let word = word.ok_or_else(|| format!("{} tells no version", self.product()))?;
                word.split('-').next().unwrap_or(word).to_owned()
            }
        };
        Ok(format!("{} {version}", self.product()))
    }

    /// Its folder, with `data`, and with `log` of what it said.
    pub fn folder(&self) -> &Path {
        &self.place.folder
    }

    /// Whether its programs are there.
    pub fn is_installed(&self) -> bool {
        self.kind.program().is_ok()
    }

    /// Whether its processes run.
    pub fn is_running(&self) -> bool {
        !self.pids().is_empty()
    }

    /// Why it does not serve.
    ///
    /// # Errors
    /// That.
    pub fn health(&self) -> Result {
        if !self.is_running() {
            return Err(format!("{} does not run", self.name()));
        }
        self.kind.health(&self.place)
    }

    /// The processes that it was started as, and that run.
    pub fn pids(&self) -> Vec<u32> {
        let Ok(program) = self.kind.program() else {
            return Vec::new();
        };
        let text = fs::read_to_string(self.pid_file()).unwrap_or_default();
        text.lines()
            .filter_map(|line| line.parse().ok())
            .filter(|pid| process::runs(*pid, &program))
            .collect()
    }

    fn pid_file(&self) -> PathBuf {
        self.place.folder.join("pid")
    }

    fn lock(&self) -> Result<Lock> {
        let name = self.place.folder.file_name().unwrap_or_default();
        Lock::wait(&name.to_string_lossy())
    }

    /// Starts it if it does not run, with the data that it has, and waits until
    /// it serves.
    ///
    /// # Errors
    /// If it is not installed, its port is taken, or it does not serve within a
    /// minute.
    pub fn start(&self) -> Result {
        let _lock = self.lock()?;
        let place = &self.place;
        self.kind.program()?;
        if !self.is_running() {
            if is_open(place.port) {
                return Err(format!(
                    "{} cannot start, as another program listens on port {}",
                    self.name(),
                    place.port
                ));
            }
            make_folder(&place.folder)?;
            let data = place.data();
            let made = place.folder.join("made");
            if !made.exists() {
                remove_folder(&data)?;
                make_folder(&data)?;
                if let Some(user) = self.kind.user().filter(|_| process::is_root()) {
                    process::run(&["chown", user, &place.data_text()].map(String::from), None)?;
                }
                self.kind.prepare(place)?;
                // Whole from here; what was broken off is made anew.
                files::write(&made, "")?;
            }
            let log = place.folder.join("log");
            let mut pids = String::new();
            for words in self.kind.commands(place)? {
                let pid = process::start(&words, self.kind.user(), self.life, &log)?;
                pids.push_str(&format!("{pid}\n"));
            }
            files::write(&self.pid_file(), &pids)?;
            let settled = place.folder.join("settled");
            if !settled.exists() {
                self.kind.settle(place)?;
                files::write(&settled, "")?;
            }
        }
        self.await_health()
    }

    /// Waits until it serves.
    ///
    /// # Errors
    /// If it ends instead, or does not serve within a minute.
    pub fn await_health(&self) -> Result {
        let place = &self.place;
        let start = Instant::now();
        loop {
            let Err(why) = self.kind.health(place) else {
                return Ok(());
            };
            let count = fs::read_to_string(self.pid_file()).map_or(0, |text| text.lines().count());
            if self.pids().len() < count {
                return Err(format!(
                    "{} ended as it started; it said: {}",
                    self.name(),
                    self.last_words()
                ));
            }
            if start.elapsed() > PATIENCE {
                return Err(format!(
                    "{} does not serve after {} s ({why}); it said: {}",
                    self.name(),
                    PATIENCE.as_secs(),
                    self.last_words()
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn last_words(&self) -> String {
        let text = fs::read(self.place.folder.join("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// Ends it in good order; data stays.
    ///
    /// # Errors
    /// If it does not end within a minute.
    pub fn stop(&self) -> Result {
        let _lock = self.lock()?;
        self.end(self.kind.end_signal())
    }

    /// Kills it and all that it has started, as a loss of power would, but for
    /// what the kernel still writes.
    ///
    /// # Errors
    /// If it does not end within a minute.
    pub fn kill(&self) -> Result {
        let _lock = self.lock()?;
        self.end("KILL")
    }

    fn end(&self, signal: &str) -> Result {
        let mut pids = self.pids();
        if signal == "KILL" {
            // Stopped, it starts nothing that would be missed.
            process::signal("STOP", &pids);
            let children = process::children(&pids);
            process::signal("KILL", &pids);
            process::signal("KILL", &children);
            pids.extend(children);
        } else {
            process::signal(signal, &pids);
        }
        if !process::await_end(&pids, PATIENCE) {
            return Err(format!(
                "{} does not end within {} s of SIG{signal}",
                self.name(),
                PATIENCE.as_secs()
            ));
        }
        match fs::remove_file(self.pid_file()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!(
                "cannot remove {}: {error}",
                self.pid_file().display()
            )),
            _ => Ok(()),
        }
    }

    /// Starts the shared server, and tells tests of it.
    ///
    /// # Errors
    /// Those of [`start`](Self::start).
    pub fn up(&self) -> Result {
        self.start()?;
        let _lock = Lock::wait("urls")?;
        let urls = self.urls();
        let mut lines: Vec<_> = urls
            .into_iter()
            .map(|(name, url)| (name, Some(url)))
            .collect();
        let authority = super::Authority::get()?;
        lines.push((
            "ca",
            Some(authority.certificate_file().display().to_string()),
        ));
        files::set_urls(&lines)
    }

    /// Ends the shared server, and removes its data and its URLs.
    ///
    /// # Errors
    /// If it does not end.
    pub fn down(&self) -> Result {
        if self.stop().is_err() {
            self.kill()?;
        }
        remove_folder(&self.place.folder)?;
        let _lock = Lock::wait("urls")?;
        let urls = self.urls();
        let lines: Vec<_> = urls.into_iter().map(|(name, _)| (name, None)).collect();
        files::set_urls(&lines)
    }
}

/// Whether somebody listens there.
pub(super) fn is_open(port: u16) -> bool {
    connect(port).is_ok()
}

pub(super) fn connect(port: u16) -> std::io::Result<TcpStream> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let limit = Duration::from_secs(2);
    let stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.set_write_timeout(Some(limit))?;
    Ok(stream)
}

/// Sends a request and answers the first bytes of what comes back.
pub(super) fn ask(port: u16, request: &[u8]) -> Result<Vec<u8>> {
    use std::io::{Read, Write};
    let asked = || {
        let mut stream = connect(port)?;
        stream.write_all(request)?;
        let mut answer = vec![0; 4096];
        let count = stream.read(&mut answer)?;
        answer.truncate(count);
        Ok(answer)
    };
    asked().map_err(|error: std::io::Error| format!("port {port} does not answer: {error}"))
}
