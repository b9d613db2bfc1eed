//! TLS, from files.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdall_core::{Error, ErrorKind, Result};
use parking_lot::RwLock;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// The most bytes of a file with certificates or a key.
const MAX_FILE: u64 = 1024 * 1024;

/// Where the server's certificate and key lie, in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and behind it those that it stands on.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
    /// If given, a client needs a certificate of one of these authorities.
    pub client_ca: Option<PathBuf>,
}

/// TLS as it is in force. Clones share it.
#[derive(Clone, Debug)]
pub struct Tls(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    files: TlsFiles,
    config: RwLock<Arc<ServerConfig>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence that names the file: that it cannot be read, has no
    /// certificate or key in it, or that the two do not belong together.
    pub fn load(files: TlsFiles) -> Result<Self> {
        let config = RwLock::new(read(&files)?);
        Ok(Self(Arc::new(Inner { files, config })))
    }

    /// Reads the files again; connections from now on get what they hold. If
    /// something is wrong with them, all stays as it was.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn reload(&self) -> Result<()> {
        let config = read(&self.0.files)?;
        *self.0.config.write() = config;
        Ok(())
    }

    /// Whether clients need a certificate.
    pub fn asks_clients(&self) -> bool {
        self.0.files.client_ca.is_some()
    }

    pub(super) fn config(&self) -> Arc<ServerConfig> {
        self.0.config.read().clone()
    }
}

fn read(files: &TlsFiles) -> Result<Arc<ServerConfig>> {
    let chain = certificates(&files.certificate)?;
    let key = read_file(&files.key, "key")?;
    let key = PrivateKeyDer::from_pem_slice(&key).map_err(|_| {
        let path = files.key.display();
        Error::invalid(format!(
            "the key {path} has no private key in PEM that can be read; it starts with \
             a line like -----BEGIN PRIVATE KEY-----, and is not encrypted"
        ))
    })?;
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::other("TLS cannot be set up").because(error))?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(|error| unfit(path, error))?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            let verifier = verifier.build().map_err(|error| unfit(path, error))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut config = builder
        .with_single_cert(chain, key)
        .map_err(|error| match error {
            rustls::Error::InconsistentKeys(_) => Error::invalid(format!(
                "the key {} is not the one of the certificate {}; give the two that \
                 were made together",
                files.key.display(),
                files.certificate.display()
            )),
            error => unfit(&files.certificate, error),
        })?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read_file(path, "certificate")?;
    let all: std::result::Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or_else(|| {
        Error::invalid(format!(
            "the certificate {} has none in PEM that can be read; it starts with a line \
             -----BEGIN CERTIFICATE-----",
            path.display()
        ))
    })
}

fn read_file(path: &Path, what: &str) -> Result<Vec<u8>> {
    use std::io::Read;

    let mut bytes = Vec::new();
    let read =
        std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes));
    let shown = path.display();
    match read {
        Ok(_) if bytes.len() as u64 > MAX_FILE => Err(Error::too_large(format!(
            "the {what} {shown} has more than {MAX_FILE} bytes"
        ))),
        Ok(_) => Ok(bytes),
        Err(error) => {
            let kind = match error.kind() {
                std::io::ErrorKind::NotFound => ErrorKind::NotFound,
                std::io::ErrorKind::PermissionDenied => ErrorKind::Denied,
                _ => ErrorKind::Other,
            };
            let message = format!("the {what} {shown} cannot be read");
            Err(Error::new(kind, holdall_core::Retry::No, message).because(error))
        }
    }
}

fn unfit(path: &Path, error: impl std::error::Error + Send + Sync + 'static) -> Error {
    let path = path.display();
    Error::invalid(format!("the certificate {path} cannot be used")).because(error)
}
