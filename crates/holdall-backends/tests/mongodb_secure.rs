//! TLS to MongoDB: whose certificate is believed.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::path::Path;
use std::time::Duration;

use holdall_backends::mongodb::{MongoBackend, MongoOptions};
use holdall_core::{Backend, ErrorKind, Retry};
use holdall_testing::services::{Private, private_with};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

/// A server whose certificate is of this host and until this year, and the file of the authority.
fn server(folder: &Path, host: &str, until: i32) -> Option<Private> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec![host.to_owned()]).unwrap();
    params.not_before = date_time_ymd(2020, 1, 1);
    params.not_after = date_time_ymd(until, 1, 1);
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    write("ca.pem", &issuer.pem());
    let files = (
        write("server.pem", &certificate.pem()),
        write("server.key", &key.serialize_pem()),
    );
    private_with("mongodb", |options| {
        let options = options.argument("--tls-cert-file").argument(files.0);
        options.argument("--tls-key-file").argument(files.1)
    })
}

fn options(server: &Private, folder: &Path) -> MongoOptions {
    // The certificates are for names, so the server is called by one.
    let url = server.url().replace("127.0.0.1", "localhost");
    let mut options = MongoOptions {
        connect_timeout: Duration::from_secs(3),
        timeout: Duration::from_secs(10),
        ..MongoOptions::new(url)
    };
    options.set("tls", "true").unwrap();
    options
        .set("tlsCAFile", folder.join("ca.pem").to_str().unwrap())
        .unwrap();
    options
}

#[tokio::test]
async fn a_good_certificate_is_believed() {
    let folder = tempfile::tempdir().unwrap();
    let Some(server) = server(folder.path(), "localhost", 2100) else {
        return;
    };
    let store = MongoBackend::open(options(&server, folder.path()))
        .await
        .unwrap();
    store.health().await.unwrap();
    store.close().await.unwrap();
}

#[tokio::test]
async fn one_of_another_host_out_of_date_or_of_nobody_is_refused() {
    for (host, until, ca) in [
        ("elsewhere", 2100, true),
        ("localhost", 2021, true),
        ("localhost", 2100, false),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let Some(server) = server(folder.path(), host, until) else {
            return;
        };
        let mut options = options(&server, folder.path());
        if !ca {
            options.driver.retain(|(name, _)| name != "tlsCAFile");
        }
        let error = match MongoBackend::open(options).await {
            Ok(_) => panic!("the certificate of {host} until {until} was believed"),
            Err(error) => error,
        };
        assert_eq!(
            (error.kind(), error.retry()),
            (ErrorKind::Unavailable, Retry::No),
            "{error}"
        );
        assert!(
            error.to_string().contains("certificate is not trusted"),
            "{error}"
        );
    }
}
