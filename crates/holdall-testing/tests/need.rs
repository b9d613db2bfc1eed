//! A test whose server is not there says so, and fails where `CI` is set.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests of what the environment says"
)]

use std::path::Path;
use std::process::{Command, Output};

use holdall_testing::services;

const CHILD: &str = "HOLDALL_TRIES_NEED";

/// This very test in another process, which asks for PostgreSQL: with a file of
/// URLs, and perhaps under CI.
fn ask(urls: &Path, notes: &Path, ci: Option<&str>) -> Output {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args([
            "--exact",
            "who_needs_a_server_is_told_where_it_is",
            "--nocapture",
        ])
        .env(CHILD, "1")
        .env("HOLDALL_SERVICES", urls)
        .env("HOLDALL_NOT_RUN", notes)
        .env_remove("CI");
    if let Some(ci) = ci {
        command.env("CI", ci);
    }
    command.output().unwrap()
}

#[test]
fn who_needs_a_server_is_told_where_it_is() {
    if std::env::var_os(CHILD).is_some() {
        println!("found {:?}", services::need("postgres"));
        return;
    }
    let folder = std::env::temp_dir().join(format!("holdall-need-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let (urls, notes) = (folder.join("urls"), folder.join("notes"));

    let missing = ask(&urls, &notes, None);
    assert!(missing.status.success());
    assert!(String::from_utf8_lossy(&missing.stdout).contains("found None"));
    let note = std::fs::read_to_string(&notes).unwrap();
    assert_eq!(
        note,
        "not run: need who_needs_a_server_is_told_where_it_is: needs postgres: no server was \
         started; `cargo xtask services up postgres` does it\n"
    );
    assert!(ask(&urls, &notes, Some("")).status.success());
    assert!(!ask(&urls, &notes, Some("true")).status.success());

    // A server of the user's own is believed to serve.
    std::fs::write(&urls, "other=x\npostgres=postgres://db.test:5432/a=b\n").unwrap();
    let own = ask(&urls, &notes, Some("true"));
    assert!(own.status.success());
    let said = String::from_utf8_lossy(&own.stdout).into_owned();
    assert!(
        said.contains(r#"found Some("postgres://db.test:5432/a=b")"#),
        "{said}"
    );
    std::fs::remove_dir_all(&folder).unwrap();
}
