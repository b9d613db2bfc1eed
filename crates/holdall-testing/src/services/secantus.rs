//! SecantusDB, which speaks as MongoDB does, over WiredTiger.

use std::path::PathBuf;

use super::kind::{Kind, Origin, Place, installed, text, words};
use super::server::connect;
use super::{Result, bin_folder};

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
        all.extend(place.arguments.clone());
        Ok(vec![all])
    }

    fn health(&self, place: &Place) -> Result {
        connect(place.port)
            .map(drop)
            .map_err(|error| format!("port {} does not answer: {error}", place.port))
    }

    fn urls(&self, place: &Place) -> Vec<(&'static str, String)> {
        let url = format!("mongodb://127.0.0.1:{}/?directConnection=true", place.port);
        vec![("mongodb", url)]
    }
}
