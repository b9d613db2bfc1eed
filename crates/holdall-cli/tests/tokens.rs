//! Stories of tokens, and of a server that asks for them.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod story;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use holdall::json;
use story::{Folder, json_lines};

/// Makes a token; answers it.
fn create(folder: &Folder, arguments: &str) -> String {
    let made = folder.run(&format!("token create {arguments}"));
    assert_eq!(made.code, 0, "{made:?}");
    // stdout is the token alone, and stderr says what to do with it.
    let token = made.out.strip_suffix('\n').unwrap().to_owned();
    assert!(!made.err.contains(&token), "{made:?}");
    assert!(made.err.contains("Authorization: Bearer"), "{made:?}");
    assert!(made.err.contains(id_of(&token)), "{made:?}");
    token
}

fn id_of(token: &str) -> &str {
    token.split('_').nth(1).unwrap()
}

#[test]
fn a_token_is_made_listed_and_revoked() {
    let folder = Folder::new();
    let shop = create(
        &folder,
        "--name shop --verbs write,read --collections books,logs/*",
    );
    let guest = create(
        &folder,
        "--name guest --verbs read --collections * --expires 90d",
    );
    create(&folder, "--name prometheus --verbs metrics");
    assert_eq!(shop.len(), 4 + 16 + 1 + 64);
    assert_ne!(shop, guest);

    let list = folder.ok("token list");
    let lines = json_lines(&list);
    let names: Vec<_> = lines
        .iter()
        .map(|line| line["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["shop", "guest", "prometheus"]);
    assert_eq!(lines[0]["id"], id_of(&shop));
    assert_eq!(lines[0]["verbs"], json!(["read", "write"]));
    assert_eq!(lines[0]["collections"], json!(["books", "logs/*"]));
    assert_eq!(
        (&lines[0]["expires"], &lines[0]["state"]),
        (&json!(null), &json!("good"))
    );
    assert!(lines[1]["expires"].is_string());
    let table = folder.ok("--table token list");
    assert!(
        table.trim_start().starts_with("ID") && table.contains("never"),
        "{table}"
    );

    assert_eq!(folder.ok(&format!("token revoke {}", id_of(&shop))), "");
    assert_eq!(folder.ok(&format!("token revoke {}", id_of(&shop))), "");
    let lines = json_lines(&folder.ok("token list"));
    assert_eq!(lines[0]["state"], "revoked");
    folder
        .run("token revoke 0123456789abcdef")
        .fails(3, "0123456789abcdef");
    // A whole token is not an id, and is not repeated on the screen.
    let refused = folder.run(&format!("token revoke {guest}"));
    assert_eq!(refused.code, 2, "{refused:?}");

    // No secret is in any file.
    let secret = &shop[21..];
    for name in folder.files() {
        let bytes = story::read(folder.path(&name));
        assert!(!String::from_utf8_lossy(&bytes).contains(secret), "{name}");
    }
}

#[test]
fn what_is_no_token_makes_no_file() {
    let folder = Folder::new();
    for (arguments, part) in [
        ("--name a --verbs read", "no collection"),
        ("--name a --verbs eat --collections *", "no verb"),
        ("--name a --verbs read --collections", "--collections"),
        ("--verbs read --collections *", "--name"),
        ("--name a --collections *", "--verbs"),
        (
            "--name a --verbs read --collections * --expires soon",
            "90d",
        ),
        ("--name a --verbs read --collections * --expires 0d", "90d"),
        (
            "--name a --verbs read --collections * --expires 2020-01-01T00:00:00Z",
            "which is over",
        ),
    ] {
        folder
            .run(&format!("token create {arguments}"))
            .fails(2, part);
    }
    folder.run("token list").fails(3, "no such file");
    folder
        .run("token revoke 0123456789abcdef")
        .fails(3, "no such file");
    assert!(folder.files().is_empty());
}

#[cfg(unix)]
#[test]
fn the_file_can_be_read_by_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;

    let folder = Folder::new();
    create(&folder, "--name a --verbs metrics");
    create(&folder, "--name a --verbs metrics --tokens sqlite:own.db");
    for name in folder.files() {
        let mode = std::fs::metadata(folder.path(&name)).unwrap().permissions();
        assert_eq!(mode.mode() & 0o777, 0o600, "{name}");
    }
    let open = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(folder.path("own.db"), open).unwrap();
    let listed = folder.run("token list --tokens sqlite:own.db");
    assert_eq!(listed.code, 0);
    assert!(listed.err.contains("chmod 600"), "{listed:?}");
}

#[test]
fn where_tokens_are_is_said_by_a_flag_a_variable_or_the_configuration() {
    let folder = Folder::new();
    folder.write("holdall.toml", "[server]\ntokens = \"sqlite:file.db\"\n");
    create(&folder, "--name file --verbs metrics");
    let mut command = folder.command([
        "token", "create", "--name", "variable", "--verbs", "metrics",
    ]);
    let made = command.env("HOLDALL_TOKENS", "sqlite:variable.db").output();
    assert!(made.unwrap().status.success());
    let mut command = folder.command([
        "token",
        "create",
        "--name",
        "flag",
        "--verbs",
        "metrics",
        "--tokens",
        "sqlite:flag.db",
    ]);
    let made = command.env("HOLDALL_TOKENS", "sqlite:variable.db").output();
    assert!(made.unwrap().status.success());
    for name in ["file", "variable", "flag"] {
        let listed = folder.ok(&format!("token list --tokens sqlite:{name}.db"));
        assert_eq!(json_lines(&listed)[0]["name"], name);
    }
}

/// What a server answers, by its status.
fn status(address: &str, token: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let request = format!(
        "GET /v1/capabilities HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).unwrap().to_owned()
}

/// The file of the tokens is found where `token create` made it, and a
/// revocation by another process arrives while the server runs.
#[test]
fn a_server_asks_for_the_tokens_that_were_made() {
    let folder = Folder::new();
    let token = create(&folder, "--name a --verbs read --collections *");
    let mut server = folder.start("serve --listen 127.0.0.1:0");
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let said = lines.find_map(|line| {
        let line = line.unwrap();
        line.split_once("http://").map(|(_, rest)| rest.to_owned())
    });
    let said = said.unwrap();
    let address = said.split([' ', '/']).next().unwrap();
    // It goes on writing lines.
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    assert_eq!(status(address, ""), "401");
    assert_eq!(status(address, &token), "200");
    folder.ok(&format!("token revoke {}", id_of(&token)));
    // It is known within a second, in which requests may be too many.
    let refused = (0..100_000).any(|_| status(address, &token) == "401");
    assert!(refused);
    server.kill().unwrap();
    server.wait().unwrap();
    let log = reader.join().unwrap().join("\n");
    assert!(
        log.contains("holdall::audit") && log.contains(id_of(&token)),
        "{log}"
    );
    assert!(!log.contains(&token[21..]), "{log}");
}

#[test]
fn a_server_does_not_serve_its_tokens_nor_start_without_those_it_is_told_of() {
    let folder = Folder::new();
    create(&folder, "--name a --verbs metrics");
    let path = folder.path("holdall-tokens.db");
    for store in [
        "sqlite:holdall-tokens.db",
        "sqlite:./holdall-tokens.db",
        &format!("sqlite:{}", path.display()),
    ] {
        folder
            .run(&format!("--store {store} serve --listen 127.0.0.1:0"))
            .fails(2, "tokens are kept elsewhere");
    }
    folder
        .run("serve --listen 127.0.0.1:0 --tokens sqlite:typo.db")
        .fails(3, "typo.db");
}
