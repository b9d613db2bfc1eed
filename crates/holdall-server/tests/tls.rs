//! TLS: who is let in, and what is wrong with files.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod wire;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use holdall_server::{Tls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use wire::{Running, serve_with, within};

/// An authority, and certificates of it, in a folder.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let issuer = CertifiedIssuer::self_signed(params, key).unwrap();
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { issuer, folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes `NAME.pem` and `NAME.key`, for `localhost`.
    fn issue(&self, name: &str) {
        let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), certificate.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
    }

    fn files(&self, name: &str) -> TlsFiles {
        TlsFiles {
            certificate: self.path(&format!("{name}.pem")),
            key: self.path(&format!("{name}.key")),
            client_ca: None,
        }
    }
}

async fn serving(tls: &Tls, limits: &[(&str, &str)]) -> Running {
    serve_with(limits, |options| options.tls = Some(tls.clone())).await
}

/// Asks as one who trusts this authority, and perhaps shows a certificate of
/// one. Answers what came, and the certificate of the server.
async fn ask(
    server: &Running,
    trusts: &Authority,
    shows: Option<&Path>,
    protocols: &[&[u8]],
) -> std::io::Result<(String, CertificateDer<'static>)> {
    let mut roots = RootCertStore::empty();
    roots.add(trusts.issuer.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    let mut config = match shows {
        None => config.with_no_client_auth(),
        Some(path) => {
            let chain = CertificateDer::from_pem_file(path).unwrap();
            let key = PrivateKeyDer::from_pem_file(path.with_extension("key")).unwrap();
            config.with_client_auth_cert(vec![chain], key).unwrap()
        }
    };
    config.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
    let stream = TcpStream::connect(server.at).await?;
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(config));
    let mut stream = within(connector.connect(name, stream)).await?;
    let (_, session) = stream.get_ref();
    let shown = session.peer_certificates().unwrap().first().unwrap();
    let shown = shown.clone().into_owned();
    let spoken = session.alpn_protocol().map(<[u8]>::to_vec);
    if spoken.as_deref() == Some(b"h2") {
        return Ok(("h2".to_owned(), shown));
    }
    let get = b"GET /v1/item HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    stream.write_all(get).await?;
    let mut answer = String::new();
    within(stream.read_to_string(&mut answer)).await?;
    Ok((answer, shown))
}

#[tokio::test]
async fn requests_come_through_tls_and_clients_choose_what_is_spoken() {
    let authority = Authority::new();
    authority.issue("server");
    let tls = Tls::load(authority.files("server")).unwrap();
    let server = serving(&tls, &[("head_time", "200ms")]).await;
    let (answer, _) = ask(&server, &authority, None, &[]).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    let one = [b"http/1.1".as_slice()];
    let (answer, _) = ask(&server, &authority, None, &one).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    let both = [b"h2".as_slice(), b"http/1.1"];
    let (answer, _) = ask(&server, &authority, None, &both).await.unwrap();
    assert_eq!(answer, "h2");
    // Plain HTTP, nothing and half a handshake are ended.
    server.says("GET / HTTP/1.1\r\nhost: a\r\n\r\n").await;
    assert_eq!(server.says("").await, "");
    assert_eq!(server.says([22, 3, 1, 0]).await, "");
    let (answer, _) = ask(&server, &authority, None, &[]).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

/// A bug: a server that ended waited for whoever had begun no handshake.
#[tokio::test]
async fn a_handshake_that_does_not_come_keeps_no_server_from_ending() {
    let authority = Authority::new();
    authority.issue("server");
    let tls = Tls::load(authority.files("server")).unwrap();
    let server = serving(&tls, &[("head_time", "1h"), ("drain_time", "1h")]).await;
    let mut silent = server.connect().await;
    // One that came later was taken in, so this one was, too.
    ask(&server, &authority, None, &[]).await.unwrap();
    assert_eq!(server.end().await.given_up, 0);
    assert_eq!(silent.rest().await, "");
}

#[tokio::test]
async fn a_client_without_the_certificate_that_is_asked_for_gets_nothing() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    authority.issue("server");
    authority.issue("client");
    stranger.issue("client");
    let mut files = authority.files("server");
    files.client_ca = Some(authority.path("ca.pem"));
    let tls = Tls::load(files).unwrap();
    assert!(tls.asks_clients());
    let server = serving(&tls, &[]).await;
    let good = authority.path("client.pem");
    let (answer, _) = ask(&server, &authority, Some(&good), &[]).await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
    let wrong = stranger.path("client.pem");
    for shows in [None, Some(wrong.as_path())] {
        assert!(ask(&server, &authority, shows, &[]).await.is_err());
    }
}

#[tokio::test]
async fn a_certificate_is_replaced_while_the_server_runs() {
    let authority = Authority::new();
    authority.issue("server");
    let tls = Tls::load(authority.files("server")).unwrap();
    let server = serving(&tls, &[]).await;
    let (_, first) = ask(&server, &authority, None, &[]).await.unwrap();
    authority.issue("server");
    let (_, still) = ask(&server, &authority, None, &[]).await.unwrap();
    assert_eq!(first, still);
    tls.reload().unwrap();
    let (_, second) = ask(&server, &authority, None, &[]).await.unwrap();
    assert_ne!(first, second);
    // What cannot be read changes nothing.
    std::fs::write(authority.path("server.pem"), "nothing").unwrap();
    tls.reload().unwrap_err();
    let (_, still) = ask(&server, &authority, None, &[]).await.unwrap();
    assert_eq!(second, still);
}

#[test]
fn what_is_wrong_with_a_file_is_said_with_its_name() {
    let authority = Authority::new();
    authority.issue("one");
    authority.issue("two");
    std::fs::write(authority.path("empty.pem"), "").unwrap();
    std::fs::write(authority.path("empty.key"), "").unwrap();
    let bad = "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n";
    std::fs::write(authority.path("bad.pem"), bad).unwrap();
    let files = |certificate: &str, key: &str, ca: Option<&str>| TlsFiles {
        certificate: authority.path(certificate),
        key: authority.path(key),
        client_ca: ca.map(|name| authority.path(name)),
    };
    Tls::load(files("one.pem", "one.key", Some("ca.pem"))).unwrap();
    for (files, parts) in [
        (
            files("none.pem", "one.key", None),
            ["none.pem", "cannot be read"],
        ),
        (
            files("one.pem", "none.key", None),
            ["none.key", "cannot be read"],
        ),
        (
            files("empty.pem", "one.key", None),
            ["empty.pem", "BEGIN CERTIFICATE"],
        ),
        (
            files("bad.pem", "one.key", None),
            ["bad.pem", "BEGIN CERTIFICATE"],
        ),
        (
            files("one.key", "one.key", None),
            ["one.key", "BEGIN CERTIFICATE"],
        ),
        (
            files("one.pem", "empty.key", None),
            ["empty.key", "no private key"],
        ),
        (
            files("one.pem", "one.pem", None),
            ["one.pem", "no private key"],
        ),
        (
            files("one.pem", "two.key", None),
            ["two.key", "not the one of the certificate"],
        ),
        (
            files("one.pem", "one.key", Some("no.pem")),
            ["no.pem", "cannot be read"],
        ),
        (
            files("one.pem", "one.key", Some("empty.pem")),
            ["empty.pem", "BEGIN CERTIFICATE"],
        ),
    ] {
        let error = Tls::load(files).unwrap_err().to_string();
        for part in parts {
            assert!(error.contains(part), "{part:?} in {error}");
        }
    }
}
