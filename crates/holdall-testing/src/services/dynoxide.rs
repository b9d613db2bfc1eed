//! dynoxide, which speaks as DynamoDB does, over SQLite.

use std::path::PathBuf;

use super::kind::{Kind, Origin, Place, installed, text, words};
use super::server::ask;
use super::{Result, bin_folder};

pub(super) struct Dynoxide;

const PACKAGE: &str = "dynoxide-rs";
const VERSION: &str = "3.2.0";

impl Kind for Dynoxide {
    fn name(&self) -> &'static str {
        "dynamodb"
    }

    fn product(&self) -> &'static str {
        "dynoxide"
    }

    fn origin(&self) -> Origin {
        Origin::Crate {
            package: PACKAGE,
            version: VERSION,
            arguments: &[
                "--no-default-features",
                "--features",
                "native-sqlite,http-server,cli",
            ],
            builds_with: &[],
        }
    }

    fn program(&self) -> Result<PathBuf> {
        installed(self, bin_folder(PACKAGE, VERSION)?.join("bin/dynoxide"))
    }

    fn port(&self) -> u16 {
        18002
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
            "--db-path",
            &text(&place.data().join("tables.db")),
        ]);
        all.extend(place.arguments.clone());
        Ok(vec![all])
    }

    fn health(&self, place: &Place) -> Result {
        ask(
            place.port,
            b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        )
        .map(drop)
    }

    fn urls(&self, place: &Place) -> Vec<(&'static str, String)> {
        vec![("dynamodb", format!("http://127.0.0.1:{}", place.port))]
    }
}
