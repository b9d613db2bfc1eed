//! Who gets in, and to whom: TLS, client certificates and tokens.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

mod serving;

use std::path::PathBuf;

use holdall_backends::http::{HttpBackend, HttpOptions};
use holdall_core::{
    BackendExt, CollectionName, Condition, DynBackend, Env, Error, ErrorKind, Key, MemoryBackend,
    Put, Result,
};
use holdall_server::access::{Access, Grant, NewToken, Pattern, Tokens, Verb};
use holdall_server::{App, Tls, TlsFiles};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tempfile::TempDir;

/// An authority, and a folder for what it gives out.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let authority = Self {
            folder: tempfile::tempdir().unwrap(),
            issuer,
        };
        authority.write("ca.pem", &authority.issuer.pem());
        authority
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate for a host, and its key.
    fn certify(&self, host: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![host.to_owned()]).unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        (
            self.write(&format!("{host}.pem"), &certificate.pem()),
            self.write(&format!("{host}.key"), &key.serialize_pem()),
        )
    }

    /// A server of this authority, which may ask for client certificates.
    async fn serve(&self, host: &str, asks: bool) -> String {
        let (certificate, key) = self.certify(host);
        let files = TlsFiles {
            certificate,
            key,
            client_ca: asks.then(|| self.path("ca.pem")),
        };
        let tls = Tls::load(files).unwrap();
        let (url, _) = serving::serve_app(App::new(MemoryBackend::new()), Some(tls)).await;
        url
    }
}

async fn open(url: &str, set: impl FnOnce(&mut HttpOptions)) -> Result<DynBackend> {
    let mut options = HttpOptions::new(url);
    set(&mut options);
    Ok(HttpBackend::open(options).await?.into())
}

async fn refused(url: &str, set: impl FnOnce(&mut HttpOptions)) -> Error {
    match open(url, set).await {
        Err(error) => error,
        Ok(_) => panic!("it was opened"),
    }
}

async fn write_to(store: &DynBackend) -> Result<()> {
    let (items, a) = (CollectionName::new("items")?, Key::new("a")?);
    store
        .put(&items, &a, Condition::Any, Put::bytes("x"))
        .await?;
    assert!(store.head(&items, &a).await?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_by_its_authority_and_its_name() {
    let authority = Authority::new();
    let url = authority.serve("127.0.0.1", false).await;
    let store = open(&url, |options| options.ca = Some(authority.path("ca.pem")))
        .await
        .unwrap();
    write_to(&store).await.unwrap();

    let error = refused(&url, |_| ()).await;
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("by the option ca"), "{error}");
    let other = Authority::new();
    let error = refused(&url, |options| options.ca = Some(other.path("ca.pem"))).await;
    assert!(error.to_string().contains("not to be trusted"), "{error}");
    let elsewhere = authority.serve("example.org", false).await;
    let error = refused(&elsewhere, |options| {
        options.ca = Some(authority.path("ca.pem"))
    })
    .await;
    assert!(error.to_string().contains("not to be trusted"), "{error}");
    let plain = url.replace("https:", "http:");
    assert!(open(&plain, |_| ()).await.is_err());

    let (plain, _) = serving::serve(MemoryBackend::new().into(), Env::system()).await;
    let secure = plain.replace("http:", "https:");
    let error = refused(&secure, |_| ()).await;
    assert!(error.to_string().contains("start with http:"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_asks_for_a_certificate_gets_the_one_of_the_options() {
    let authority = Authority::new();
    let url = authority.serve("127.0.0.1", true).await;
    let (cert, key) = authority.certify("client");
    let ca = authority.path("ca.pem");
    let store = open(&url, |options| {
        options.ca = Some(ca.clone());
        options.cert = Some(cert.clone());
        options.key = Some(key.clone());
    })
    .await
    .unwrap();
    write_to(&store).await.unwrap();

    let error = refused(&url, |options| options.ca = Some(ca.clone())).await;
    assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
    assert!(error.to_string().contains("cert and key"), "{error}");
    let (_, other_key) = authority.certify("other");
    let error = refused(&url, |options| {
        options.ca = Some(ca.clone());
        options.cert = Some(cert);
        options.key = Some(other_key);
    })
    .await;
    assert!(error.to_string().contains("do not make a pair"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_in_as_far_as_its_scope_reaches() {
    let store = DynBackend::from(MemoryBackend::new());
    let tokens = Tokens::new(store.clone(), Env::system()).unwrap();
    let grant = Grant::new([Verb::Read], ["items".parse::<Pattern>().unwrap()]).unwrap();
    let (_, secret) = tokens
        .create(NewToken {
            name: "reader".to_owned(),
            grant,
            expires: None,
        })
        .await
        .unwrap();
    let app = App {
        access: Access::tokens(tokens),
        ..App::new(store.clone())
    };
    let (url, _) = serving::serve_app(app, None).await;
    write_to(&store).await.unwrap();

    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, format!("{}\n", secret.reveal())).unwrap();
    let by_text = open(&url, |options| {
        options.token = Some(secret.reveal().to_owned())
    })
    .await
    .unwrap();
    let by_file = open(&url, |options| options.token_file = Some(file))
        .await
        .unwrap();
    let (items, a) = (
        CollectionName::new("items").unwrap(),
        Key::new("a").unwrap(),
    );
    for client in [by_text, by_file] {
        assert!(client.head(&items, &a).await.unwrap().is_some());
        let error = write_to(&client).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!error.to_string().contains(secret.reveal()), "{error}");
        let other = CollectionName::new("other").unwrap();
        assert_eq!(
            client.head(&other, &a).await.unwrap_err().kind(),
            ErrorKind::Denied
        );
    }
    for token in [None, Some("hold_wrong".to_owned())] {
        let error = refused(&url, |options| options.token = token).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(error.to_string().contains("by the option token"), "{error}");
    }
}
