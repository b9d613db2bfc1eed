//! SecantusDB, which speaks as MongoDB does, over WiredTiger.

use std::path::PathBuf;

use super::kind::{Kind, Origin, Place, installed, text, words};
use super::server::connect;
use super::{Authority, Result, bin_folder};

pub(super) struct Secantus;

const PACKAGE: &str = "secantus-mdb";
const VERSION: &str = "0.5.3-beta.196";

impl Kind for Secantus {
    fn name(&self) -> &'static str {
        "mongodb"
    }

    fn product(&self) -> &'static str {
        "SecantusDB"
    }

    fn origin(&self) -> Origin {
        Origin::Crate {
            package: PACKAGE,
            version: VERSION,
            arguments: &["--ignore-rust-version"],
            builds_with: &["cmake", "ninja-build", "swig", "build-essential"],
        }
    }

    fn program(&self) -> Result<PathBuf> {
        installed(self, bin_folder(PACKAGE, VERSION)?.join("bin/secantusd-rs"))
    }

    fn port(&self) -> u16 {
        17017
    }

    fn prepare(&self, _: &Place) -> Result {
        Ok(())
    }

    fn commands(&self, place: &Place) -> Result<Vec<Vec<String>>> {
        let mut all = words([
            &text(&self.program()?),
            "--host",
            "127.0.0.1",
            "--port",
            &place.port.to_string(),
            "--storage-path",
            &place.data_text(),
            "--cache-size",
            "256M",
            "--sync-on-commit",
        ]);
        // It speaks TLS or it does not, on one port.
        if place.certificate.is_some() {
            let authority = Authority::get()?;
            let (certificate, key) = authority.hand_out(place.certificate, &place.data(), None)?;
            all.extend(words([
                "--tls-cert-file",
                &certificate,
                "--tls-key-file",
                &key,
            ]));
        }
        all.extend(place.arguments.clone());
        Ok(vec![all])
    }

    fn health(&self, place: &Place) -> Result {
        connect(place.port)
            .map(drop)
            .map_err(|error| format!("port {} does not answer: {error}", place.port))
    }

    fn urls(&self, place: &Place) -> Vec<(&'static str, String)> {
        let mut url = format!("mongodb://127.0.0.1:{}/?directConnection=true", place.port);
        if place.certificate.is_some() {
            url.push_str("&tls=true");
        }
        vec![("mongodb", url)]
    }
}
