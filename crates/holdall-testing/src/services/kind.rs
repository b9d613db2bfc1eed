//! What the servers have in common.

use std::path::{Path, PathBuf};

use super::{Certificate, Result};
use super::{dynoxide, mariadb, pgbouncer, postgres, redis, secantus};

/// All kinds, each after those it stands on.
pub(super) static ALL: &[&dyn Kind] = &[
    &postgres::Postgres,
    &pgbouncer::PgBouncer,
    &redis::Redis,
    &redis::Cluster,
    &mariadb::MariaDb,
    &dynoxide::Dynoxide,
    &secantus::Secantus,
];

/// Where a server's programs come from.
#[derive(Clone, Copy, Debug)]
pub enum Origin {
    /// Packages of Debian.
    Debian(&'static [&'static str]),
    /// A package from crates.io, built into [`bin_folder`](super::bin_folder).
    Crate {
        /// The package.
        package: &'static str,
        /// The only version that is used.
        version: &'static str,
        /// What else `cargo install` is told.
        arguments: &'static [&'static str],
        /// Debian's packages that it is built with.
        builds_with: &'static [&'static str],
    },
}

/// A kind of server.
pub(super) trait Kind: Sync {
    /// What tests call it: the protocol.
    fn name(&self) -> &'static str;
    /// What people call it.
    fn product(&self) -> &'static str;
    fn origin(&self) -> Origin;
    /// The program that runs, or why it is not there.
    fn program(&self) -> Result<PathBuf>;
    /// The first of its ports, where it is shared.
    fn port(&self) -> u16;
    /// The user that it runs as where this runs as root.
    fn user(&self) -> Option<&'static str> {
        None
    }
    /// The kind of server that it stands on.
    fn stands_on(&self) -> Option<&'static str> {
        None
    }
    /// Fills the folder of a new server.
    fn prepare(&self, place: &Place) -> Result;
    /// The processes of a server: program and arguments.
    fn commands(&self, place: &Place) -> Result<Vec<Vec<String>>>;
    /// What is done once, when the processes of a new server were started.
    fn settle(&self, _: &Place) -> Result {
        Ok(())
    }
    /// Why it does not serve yet.
    fn health(&self, place: &Place) -> Result;
    /// The signal that ends it in good order, without waiting for clients.
    fn end_signal(&self) -> &'static str {
        "TERM"
    }
    /// Its URLs by name; the first is of the name of the kind.
    fn urls(&self, place: &Place) -> Vec<(&'static str, String)>;
}

pub(super) fn kind(name: &str) -> Result<&'static dyn Kind> {
    let found = ALL.iter().find(|kind| kind.name() == name);
    found.copied().ok_or_else(|| {
        let names: Vec<_> = super::names().collect();
        format!(
            "there is no server {name:?}; there are {}",
            names.join(", ")
        )
    })
}

/// Where a server lives, and what is special about it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) folder: PathBuf,
    /// The first of its ports; 16 from here are its own.
    pub(super) port: u16,
    /// The port of the server that it stands on.
    pub(super) before: u16,
    /// The certificate that it is to show; a good one, if any, where none is named.
    pub(super) certificate: Option<Certificate>,
    /// Arguments beside its own.
    pub(super) arguments: Vec<String>,
}

impl Place {
    /// The folder of the data.
    pub(super) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    pub(super) fn data_text(&self) -> String {
        text(&self.data())
    }
}

/// The program of a kind, at the place where it is installed.
pub(super) fn installed(kind: &dyn Kind, path: PathBuf) -> Result<PathBuf> {
    if path.exists() {
        Ok(path)
    } else {
        Err(format!("{} is not installed", kind.product()))
    }
}

pub(super) fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

pub(super) fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}
