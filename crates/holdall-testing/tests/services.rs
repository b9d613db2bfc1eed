//! Servers start, keep what they were given when they are killed, and end with
//! the test that started them.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "tests fail by panicking"
)]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use holdall_testing::services::{self, Certificate, Private};

/// What a Redis answers to a line.
fn redis(server: &Private, line: &str) -> String {
    let url = server.url();
    let mut stream = TcpStream::connect(url.strip_prefix("redis://").unwrap()).unwrap();
    stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    let mut answer = [0; 100];
    let count = stream.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

fn psql(url: &str, script: &str) -> String {
    let output = Command::new("psql")
        .args([url, "-qAt", "-c", script])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.trim().to_owned() + String::from_utf8_lossy(&output.stderr).trim()
}

#[test]
fn a_killed_redis_has_what_it_answered() {
    let Some(server) = services::private("redis") else {
        return;
    };
    assert_eq!(redis(&server, "SET a 1"), "+OK\r\n");
    server.kill().unwrap();
    assert!(!server.is_running());
    assert!(server.health().is_err());
    server.start().unwrap();
    assert_eq!(redis(&server, "GET a"), "$1\r\n1\r\n");
}

#[test]
fn a_killed_postgres_has_what_it_answered() {
    let Some(server) = services::private("postgres") else {
        return;
    };
    let url = server.url();
    assert_eq!(psql(&url, "create table t as select 7 as n"), "");
    server.kill().unwrap();
    assert!(psql(&url, "select n from t").contains("refused"));
    server.start().unwrap();
    assert_eq!(psql(&url, "select n from t"), "7");
    server.stop().unwrap();
    server.start().unwrap();
    assert_eq!(psql(&url, "select n from t"), "7");
}

#[test]
fn two_private_servers_know_nothing_of_each_other() {
    let (Some(a), Some(b)) = (services::private("redis"), services::private("redis")) else {
        return;
    };
    assert_eq!(redis(&a, "SET a 1"), "+OK\r\n");
    assert_eq!(redis(&b, "GET a"), "$-1\r\n");
    let folder = a.folder().to_owned();
    assert!(folder.exists());
    drop(a);
    assert!(!folder.exists(), "its data is left");
    assert_eq!(redis(&b, "PING"), "+PONG\r\n");
}

/// Starts a server with each certificate, and asks OpenSSL what it thinks of it.
fn shows_its_certificate(name: &str, starttls: &[&str]) {
    let ca = services::Authority::get().unwrap().certificate_file();
    for (certificate, wanted) in [
        (Certificate::Good, "Verification: OK"),
        (Certificate::WrongHost, "hostname mismatch"),
        (Certificate::Expired, "certificate has expired"),
    ] {
        let started = services::private_with(name, |new| new.certificate(certificate));
        let Some(server) = started else {
            return;
        };
        // The last URL is that of TLS, where it has a port of its own.
        let (_, url) = server.urls().pop().unwrap();
        let at = url.find("127.0.0.1:").unwrap();
        let end = url[at..].find('/').map_or(url.len(), |end| at + end);
        let output = Command::new("openssl")
            .args(["s_client", "-connect", &url[at..end], "-CAfile"])
            .arg(&ca)
            .args(["-verify_hostname", "localhost", "-verify_return_error"])
            .args(starttls)
            .stdin(std::process::Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(said.contains(wanted), "{name}, {certificate:?}: {said}");
    }
}

#[test]
fn postgres_shows_the_certificate_that_it_was_given() {
    shows_its_certificate("postgres", &["-starttls", "postgres"]);
}

#[test]
fn pgbouncer_shows_the_certificate_that_it_was_given() {
    // It is healthy when what it stands on is.
    if services::need("postgres").is_some() {
        shows_its_certificate("pgbouncer", &["-starttls", "postgres"]);
    }
}

#[test]
fn mariadb_shows_the_certificate_that_it_was_given() {
    shows_its_certificate("mysql", &["-starttls", "mysql"]);
}

#[test]
fn redis_shows_the_certificate_that_it_was_given() {
    shows_its_certificate("redis", &[]);
}

#[test]
fn secantus_shows_the_certificate_that_it_was_given() {
    shows_its_certificate("mongodb", &[]);
}

/// SecantusDB that is killed while it makes its first tables does not always start
/// again, so it is only asked to end. Tests of the backend kill it later.
#[test]
fn servers_built_from_crates_start_again_when_they_ended() {
    let Some(server) = services::private("dynamodb") else {
        return;
    };
    server.kill().unwrap();
    assert!(server.health().is_err());
    server.start().unwrap();
    server.health().unwrap();
    let Some(server) = services::private("mongodb") else {
        return;
    };
    server.stop().unwrap();
    assert!(server.health().is_err());
    server.start().unwrap();
    server.health().unwrap();
}

#[test]
fn a_killed_mariadb_has_what_it_answered() {
    let Some(server) = services::private("mysql") else {
        return;
    };
    let mysql = |script: &str| {
        let port = server.url();
        let port = port.split(['/', ':']).nth(4).unwrap();
        let output = Command::new("mariadb")
            .args(["--no-defaults", "-h127.0.0.1", "-uroot", "-N", "-B", "test"])
            .args([&format!("-P{port}"), "-e", script])
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr)
    };
    assert_eq!(mysql("create table t select 7 as n"), "");
    server.kill().unwrap();
    assert!(mysql("select n from t").contains("Can't connect"));
    server.start().unwrap();
    assert_eq!(mysql("select n from t"), "7\n");
    assert!(mysql("show variables like 'have_ssl'").contains("YES"));
}

#[test]
fn pgbouncer_serves_again_when_what_it_stands_on_does() {
    let Some(below) = services::private("postgres") else {
        return;
    };
    let port = below.url();
    let port = port.split(['/', ':', '@']).nth(5).unwrap().parse().unwrap();
    let Some(server) = services::private_with("pgbouncer", |new| new.before(port)) else {
        return;
    };
    let url = server.url();
    assert_eq!(psql(&url, "create table t as select 7 as n"), "");
    assert_eq!(psql(&below.url(), "select n from t"), "7");
    below.kill().unwrap();
    below.start().unwrap();
    server.await_health().unwrap();
    assert_eq!(psql(&url, "select n from t"), "7");
    assert_eq!(psql(&format!("{url}?sslmode=require"), "select 1"), "1");
}

#[test]
fn a_cluster_is_whole_again_when_all_of_it_was_killed() {
    let Some(server) = services::private("redis-cluster") else {
        return;
    };
    assert_eq!(server.pids().len(), 6);
    let slots = redis(&server, "CLUSTER INFO");
    assert!(slots.contains("cluster_slots_ok:16384"), "{slots}");
    server.kill().unwrap();
    server.start().unwrap();
    assert!(redis(&server, "CLUSTER INFO").contains("cluster_state:ok"));
}

#[test]
fn a_setting_of_a_test_reaches_its_server() {
    let started = services::private_with("postgres", |new| {
        new.argument("-c").argument("max_connections=17")
    });
    let Some(server) = started else {
        return;
    };
    assert_eq!(psql(&server.url(), "show max_connections"), "17");
    let version = psql(&server.url(), "show server_version");
    let version = version.split(' ').next().unwrap();
    assert_eq!(
        services::version("postgres"),
        format!("PostgreSQL {version}")
    );
    // A password is asked of all but the tests' user.
    assert_eq!(psql(&server.url(), "create role r login password 'p'"), "");
    let wrong = server.url().replace("postgres@", "r:wrong@");
    assert!(psql(&wrong, "select 1").contains("authentication failed"));
}

#[test]
fn a_server_that_does_not_start_says_why() {
    if services::private("redis").is_none() {
        return;
    }
    let options = Private::of("redis").unwrap().argument("--no-such-setting");
    let Err(error) = options.start() else {
        panic!("it started");
    };
    assert!(error.contains("no-such-setting"), "{error}");
    let Err(error) = Private::of("oracle") else {
        panic!("there is an oracle");
    };
    assert!(
        error.starts_with("there is no server \"oracle\"; there are postgres, "),
        "{error}"
    );
}
