//! What makes `https:` and `rediss:` safe.

use std::path::Path;

use holdall_core::{Error, Result};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};

use crate::files::read_file;

/// The files that options name.
#[derive(Clone, Copy)]
pub(crate) struct TlsFiles<'a> {
    /// Certificates of the authorities; the public ones without it.
    pub(crate) ca: Option<&'a Path>,
    /// The client's certificate.
    pub(crate) cert: Option<&'a Path>,
    /// Its private key.
    pub(crate) key: Option<&'a Path>,
}

/// Reads the files, and makes TLS of them.
///
/// # Errors
/// `Invalid` or `NotFound`, naming the option and the file.
pub(crate) fn client_config(files: TlsFiles<'_>) -> Result<ClientConfig> {
    let roots = match files.ca {
        None => RootCertStore {
            roots: webpki_roots::TLS_SERVER_ROOTS.to_vec(),
        },
        Some(path) => roots_of(path, &read_file("ca", path)?)?,
    };
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::other("TLS cannot be set up").because(error))?
        .with_root_certificates(roots);
    match (files.cert, files.key) {
        (None, None) => Ok(builder.with_no_client_auth()),
        (Some(cert), Some(key)) => {
            let chain = certificates("cert", cert, &read_file("cert", cert)?)?;
            let text = read_file("key", key)?;
            let secret = PrivateKeyDer::from_pem_slice(&text)
                .map_err(|_| wrong("key", key, "holds no private key in PEM"))?;
            builder
                .with_client_auth_cert(chain, secret)
                .map_err(|error| {
                    wrong("cert", cert, "and the key do not make a pair").because(error)
                })
        }
        _ => Err(Error::invalid(
            "the options cert and key belong together; give both or none",
        )),
    }
}

/// Reads the file of authorities, in PEM, for a library that makes TLS of it itself.
///
/// # Errors
/// `Invalid` or `NotFound`, naming the option and the file.
#[cfg(feature = "dynamodb")]
pub(crate) fn authorities(path: &Path) -> Result<Vec<u8>> {
    let text = read_file("ca", path)?;
    roots_of(path, &text)?;
    Ok(text)
}

fn roots_of(path: &Path, text: &[u8]) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("ca", path, text)? {
        roots.add(certificate).map_err(|error| {
            wrong(
                "ca",
                path,
                "holds a certificate that is none of an authority",
            )
            .because(error)
        })?;
    }
    Ok(roots)
}

fn certificates(option: &str, path: &Path, text: &[u8]) -> Result<Vec<CertificateDer<'static>>> {
    let all = CertificateDer::pem_slice_iter(text).collect::<Result<Vec<_>, _>>();
    let all = all.map_err(|_| wrong(option, path, "is damaged: its PEM cannot be read"))?;
    if all.is_empty() {
        return Err(wrong(option, path, "holds no certificate in PEM"));
    }
    Ok(all)
}

fn wrong(option: &str, path: &Path, why: &str) -> Error {
    Error::invalid(format!("the file {path:?} of the option {option} {why}"))
}
