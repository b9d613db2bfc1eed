//! PostgreSQL.

use std::path::PathBuf;

use super::kind::{Kind, Origin, Place, text, words};
use super::{Authority, Result, files, process};

pub(super) struct Postgres;

/// The tests' user needs no password; users that tests make need theirs.
const ACCESS: &str = "\
local all all trust
host all postgres 127.0.0.1/32 trust
host all all 127.0.0.1/32 scram-sha-256
";

/// The newest of Debian's, which keeps several apart.
fn programs() -> Result<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten();
    versions
        .flatten()
        .filter_map(|entry| {
            let version: u32 = entry.file_name().to_str()?.parse().ok()?;
            let folder = entry.path().join("bin");
            folder.join("initdb").exists().then_some((version, folder))
        })
        .max()
        .map(|(_, folder)| folder)
        .ok_or_else(|| "PostgreSQL is not installed".into())
}

/// Whether a server of its protocol answers a query.
pub(super) fn answers(url: &str) -> Result {
    let psql = text(&programs()?.join("psql"));
    // PgBouncer keeps a query waiting for minutes while what it stands on is away.
    let ask = ["timeout", "5", &psql, url, "-X", "-q", "-c", "select 1"];
    process::run(&words(ask), None).map(drop)
}

pub(super) fn url(place: &Place) -> String {
    format!("postgres://postgres@127.0.0.1:{}/postgres", place.port)
}

impl Kind for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn product(&self) -> &'static str {
        "PostgreSQL"
    }

    fn origin(&self) -> Origin {
        Origin::Debian(&["postgresql"])
    }

    fn program(&self) -> Result<PathBuf> {
        Ok(programs()?.join("postgres"))
    }

    fn port(&self) -> u16 {
        15432
    }

    fn user(&self) -> Option<&'static str> {
        Some("postgres")
    }

    fn prepare(&self, place: &Place) -> Result {
        let initdb = text(&programs()?.join("initdb"));
        let data = place.data_text();
        let make = [
            &initdb,
            "-D",
            &data,
            "-A",
            "trust",
            "-U",
            "postgres",
            "-E",
            "UTF8",
            "--no-locale",
            // A new store need not survive a loss of power.
            "--no-sync",
        ];
        process::run(&words(make), self.user())?;
        files::write(&place.data().join("pg_hba.conf"), ACCESS)
    }

    fn commands(&self, place: &Place) -> Result<Vec<Vec<String>>> {
        let data = place.data_text();
        let (certificate, key) =
            Authority::get()?.hand_out(place.certificate, &place.data(), self.user())?;
        let mut all = words([
            &text(&self.program()?),
            "-D",
            &data,
            "-p",
            &place.port.to_string(),
        ]);
        for setting in [
            "listen_addresses=127.0.0.1",
            &format!("unix_socket_directories={data}"),
            "max_connections=200",
            "fsync=on",
            "ssl=on",
            &format!("ssl_cert_file={certificate}"),
            &format!("ssl_key_file={key}"),
        ] {
            all.extend(words(["-c", setting]));
        }
        all.extend(place.arguments.clone());
        Ok(vec![all])
    }

    fn health(&self, place: &Place) -> Result {
        answers(&url(place))
    }

    fn end_signal(&self) -> &'static str {
        // TERM would wait for clients.
        "INT"
    }

    fn urls(&self, place: &Place) -> Vec<(&'static str, String)> {
        vec![("postgres", url(place))]
    }
}
