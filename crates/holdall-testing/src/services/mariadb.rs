//! MariaDB.

use std::path::PathBuf;

use super::files::Lock;
use super::kind::{Kind, Origin, Place, installed, text, words};
use super::{Authority, Result, process};

pub(super) struct MariaDb;

impl Kind for MariaDb {
    fn name(&self) -> &'static str {
        "mysql"
    }

    fn product(&self) -> &'static str {
        "MariaDB"
    }

    fn origin(&self) -> Origin {
        Origin::Debian(&["mariadb-server"])
    }

    fn program(&self) -> Result<PathBuf> {
        installed(self, "/usr/sbin/mariadbd".into())
    }

    fn port(&self) -> u16 {
        13306
    }

    fn user(&self) -> Option<&'static str> {
        Some("mysql")
    }

    fn prepare(&self, place: &Place) -> Result {
        let make = [
            "mariadb-install-db",
            "--no-defaults",
            &format!("--datadir={}", place.data_text()),
            "--auth-root-authentication-method=normal",
        ];
        // Several at once, as tests start them, fail now and then.
        let _alone = Lock::wait("mariadb-install")?;
        process::run(&words(make), self.user()).map(drop)
    }

    fn commands(&self, place: &Place) -> Result<Vec<Vec<String>>> {
        let authority = Authority::get()?;
        let (certificate, key) =
            authority.hand_out(place.certificate, &place.data(), self.user())?;
        let data = place.data_text();
        let mut all = words([
            &text(&self.program()?),
            "--no-defaults",
            &format!("--datadir={data}"),
            "--bind-address=127.0.0.1",
            &format!("--port={}", place.port),
            &format!("--socket={data}/socket"),
            &format!("--pid-file={data}/pid"),
            "--innodb-flush-log-at-trx-commit=1",
            &format!("--ssl-cert={certificate}"),
            &format!("--ssl-key={key}"),
        ]);
        all.extend(place.arguments.clone());
        Ok(vec![all])
    }

    fn health(&self, place: &Place) -> Result {
        let port = format!("--port={}", place.port);
        let ping = [
            "mariadb-admin",
            "--no-defaults",
            "--host=127.0.0.1",
            &port,
            "--user=root",
            "--connect-timeout=2",
            "ping",
        ];
        process::run(&words(ping), None).map(drop)
    }

    fn urls(&self, place: &Place) -> Vec<(&'static str, String)> {
        vec![(
            "mysql",
            format!("mysql://root@127.0.0.1:{}/test", place.port),
        )]
    }
}
