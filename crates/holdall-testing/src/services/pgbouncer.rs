//! PgBouncer in transaction mode, before PostgreSQL.

use std::path::PathBuf;

use super::kind::{Kind, Origin, Place, installed, text, words};
use super::{Authority, Result, files, postgres};

pub(super) struct PgBouncer;

impl Kind for PgBouncer {
    fn name(&self) -> &'static str {
        "pgbouncer"
    }

    fn product(&self) -> &'static str {
        "PgBouncer"
    }

    fn origin(&self) -> Origin {
        Origin::Debian(&["pgbouncer"])
    }

    fn program(&self) -> Result<PathBuf> {
        installed(self, "/usr/sbin/pgbouncer".into())
    }

    fn port(&self) -> u16 {
        16432
    }

    fn user(&self) -> Option<&'static str> {
        Some("postgres")
    }

    fn stands_on(&self) -> Option<&'static str> {
        Some("postgres")
    }

    fn prepare(&self, _: &Place) -> Result {
        Ok(())
    }

    fn commands(&self, place: &Place) -> Result<Vec<Vec<String>>> {
        let (certificate, key) =
            Authority::get()?.hand_out(place.certificate, &place.data(), self.user())?;
        let settings = place.data().join("settings");
        let (port, before) = (place.port, place.before);
        // `any` asks no password, and every database is met as one user.
        let mut text_of = format!(
            "[databases]\n\
             * = host=127.0.0.1 port={before} user=postgres\n\
             [pgbouncer]\n\
             listen_addr = 127.0.0.1\n\
             listen_port = {port}\n\
             unix_socket_dir =\n\
             auth_type = any\n\
             pool_mode = transaction\n\
             default_pool_size = 20\n\
             max_client_conn = 500\n\
             server_login_retry = 1\n\
             client_tls_sslmode = allow\n\
             client_tls_cert_file = {certificate}\n\
             client_tls_key_file = {key}\n"
        );
        for argument in &place.arguments {
            text_of.push_str(argument);
            text_of.push('\n');
        }
        files::write(&settings, &text_of)?;
        Ok(vec![words([&text(&self.program()?), &text(&settings)])])
    }

    fn health(&self, place: &Place) -> Result {
        postgres::answers(&postgres::url(place))
    }

    fn urls(&self, place: &Place) -> Vec<(&'static str, String)> {
        vec![("pgbouncer", postgres::url(place))]
    }
}
