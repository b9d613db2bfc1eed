//! Certificates of an authority of the tests' own.

use std::path::PathBuf;

use super::Result;
use super::files::{Lock, base, make_folder, remove_folder, write};
use super::kind::text;
use super::{process, system};

/// The certificate that a server shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Certificate {
    /// For `localhost` and 127.0.0.1, of today.
    Good,
    /// Of another host.
    WrongHost,
    /// For `localhost` and 127.0.0.1, until 2021.
    Expired,
}

impl Certificate {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::WrongHost => "wrong-host",
            Self::Expired => "expired",
        }
    }
}

/// Who signed all certificates.
pub struct Authority {
    folder: PathBuf,
}

/// What `openssl ca` wants to be told.
const SETTINGS: &str = "\
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[ca]
default_ca = all
[all]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = policy
copy_extensions = copy
[policy]
commonName = supplied
";

impl Authority {
    /// The one of this machine, made if there is none.
    ///
    /// # Errors
    /// If there is no `openssl`.
    pub fn get() -> Result<Self> {
        let folder = base()?.join("certificates");
        let _lock = Lock::wait("certificates")?;
        if !folder.exists() {
            let part = folder.with_extension("part");
            remove_folder(&part)?;
            make_folder(&part)?;
            make(&text(&part))?;
            // Whole from here.
            std::fs::rename(&part, &folder)
                .map_err(|error| format!("cannot move {}: {error}", part.display()))?;
        }
        Ok(Self { folder })
    }

    /// The authority's own certificate, in PEM.
    pub fn certificate_file(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// The chain of a certificate and its key, both in PEM.
    pub fn files(&self, certificate: Certificate) -> (PathBuf, PathBuf) {
        let name = certificate.name();
        (
            self.folder.join(format!("{name}.pem")),
            self.folder.join(format!("{name}.key")),
        )
    }

    /// Copies a certificate and its key into the folder of a server's data, for
    /// its user alone.
    pub(super) fn hand_out(
        &self,
        certificate: Option<Certificate>,
        data: &std::path::Path,
        user: Option<&str>,
    ) -> Result<(String, String)> {
        let (from, from_key) = self.files(certificate.unwrap_or(Certificate::Good));
        let (to, to_key) = (data.join("server.pem"), data.join("server.key"));
        for (from, to) in [(from, &to), (from_key, &to_key)] {
            std::fs::copy(&from, to)
                .and_then(|_| system::permit(to, 0o600))
                .map_err(|error| format!("cannot copy to {}: {error}", to.display()))?;
            if let Some(user) = user.filter(|_| process::is_root()) {
                process::run(&["chown".into(), user.into(), text(to)], None)?;
            }
        }
        Ok((text(&to), text(&to_key)))
    }
}

fn make(folder: &str) -> Result {
    write(&PathBuf::from(folder).join("settings"), SETTINGS)?;
    write(&PathBuf::from(folder).join("index.txt"), "")?;
    let openssl = |script: &str| {
        let script = format!("cd '{folder}' && openssl {script}");
        let ran = process::run(&["sh".into(), "-c".into(), script], None);
        ran.map_err(|why| format!("certificates are made by openssl, and {why}"))
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -config settings -x509 {key} -extensions authority -days 3650 \
         -subj '/CN=The authority of tests' -keyout ca.key -out ca.pem"
    ))?;
    let here = "DNS:localhost,IP:127.0.0.1";
    for (certificate, hosts, from, to) in [
        (Certificate::Good, here, "20200101", "20991231"),
        (
            Certificate::WrongHost,
            "DNS:elsewhere.test",
            "20200101",
            "20991231",
        ),
        (Certificate::Expired, here, "20200101", "20201231"),
    ] {
        let name = certificate.name();
        openssl(&format!(
            "req -config settings -new {key} -subj '/CN={name}' -addext 'subjectAltName={hosts}' \
             -addext 'extendedKeyUsage=serverAuth' -keyout {name}.key -out {name}.csr"
        ))?;
        openssl(&format!(
            "ca -batch -config settings -cert ca.pem -keyfile ca.key -notext \
             -startdate {from}000000Z -enddate {to}000000Z -in {name}.csr -out {name}.pem"
        ))?;
    }
    Ok(())
}
