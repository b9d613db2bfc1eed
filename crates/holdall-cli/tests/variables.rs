//! The variables of a BTPS server.

#![allow(clippy::unwrap_used, missing_docs, reason = "tests fail by panicking")]

mod story;

use holdall_testing::services::need;
use story::{Folder, ran};

/// They choose a store where neither an argument, nor `HOLDALL_STORE`, nor a
/// configuration does.
#[test]
fn they_choose_where_nothing_else_does() {
    let folder = Folder::new();
    let with = |variables: &[(&str, &str)], line: &str| {
        let mut command = folder.command(line.split(' '));
        command.envs(variables.iter().copied());
        ran(command.output().unwrap())
    };
    let unknown = [("TRUST_STORE_TYPE", "oracle")];
    with(&unknown, "put a b --doc {}").fails(2, "there are mongodb and postgres");
    with(&unknown, "--store sqlite:here.db put a b --doc {}").ok();
    assert!(folder.files().contains(&"here.db".to_owned()));
    let two = [
        ("TRUST_STORE_TYPE", "postgres"),
        ("IDENTITY_STORE_TYPE", "mongodb"),
        ("POSTGRES_URI", "postgres://me@127.0.0.1:1/x"),
    ];
    with(&two, "put a b --doc {}").fails(2, "--store");
    let Some(url) = need("postgres") else { return };
    let away = [("POSTGRES_URI", "postgres://me@127.0.0.1:1/x")];
    with(&away, "put a b --doc {}").fails(5, "cannot reach PostgreSQL at 127.0.0.1:1");
    let there = [("POSTGRES_URI", url.as_str())];
    with(&there, "put btps_trust a --doc {\"n\":1}").ok();
    let shown = with(&there, "get btps_trust a --doc").ok();
    assert!(shown.contains("\"n\""), "{shown}");
}
