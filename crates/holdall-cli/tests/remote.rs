//! The program on the store of a server.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a test fails by panicking"
)]

mod story;

use std::process::Command;
use std::sync::mpsc;

use holdall::{DynBackend, Env, MemoryBackend};
use holdall_server::access::{Access, Grant, NewToken, Tokens};
use holdall_server::{App, Server, ServerOptions, app};

use story::{Folder, json_lines, keys, noise, ran, read};

/// A server in this process, until that ends: its URL, and a token if it
/// wants one.
fn serve(wants_token: bool) -> (String, Option<String>) {
    let (tell, told) = mpsc::channel();
    let serving = async move {
        let store = DynBackend::from(MemoryBackend::new());
        let mut served = App::new(store.clone());
        let mut token = None;
        if wants_token {
            let tokens = Tokens::new(store, Env::system()).unwrap();
            let new = NewToken {
                name: "test".to_owned(),
                grant: Grant::all(),
                expires: None,
            };
            let (_, secret) = tokens.create(new).await.unwrap();
            token = Some(secret.reveal().to_owned());
            served.access = Access::tokens(tokens);
        }
        let options = ServerOptions {
            ending: served.ending.clone(),
            ..ServerOptions::default()
        };
        let server = Server::bind("127.0.0.1:0", options).await.unwrap();
        tell.send((server.url(), token)).unwrap();
        server.serve(app(served), std::future::pending()).await;
    };
    std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(serving);
    });
    told.recv().unwrap()
}

fn on(folder: &Folder, url: &str, line: &str) -> Command {
    folder.command(["--store", url].into_iter().chain(line.split(' ')))
}

#[test]
fn every_command_takes_the_url_of_a_server() {
    let folder = Folder::new();
    let (url, _) = serve(false);
    let run = |line: &str| ran(on(&folder, &url, line).output().unwrap());
    let body = noise(300_000);
    folder.write("cover.png", &body);
    run("index books year").ok();
    run(r#"put books emma --doc {"year":1815} --body cover.png"#).ok();
    run(r#"put books ulysses --doc {"year":1922}"#).ok();
    let conflict = run(r#"put books emma --doc {} --if-absent"#);
    assert_eq!(conflict.code, 4, "{conflict:?}");
    assert_eq!(keys(&run("ls books").ok()), ["emma", "ulysses"]);
    assert_eq!(
        keys(&run(r#"query books {"year":{"$lt":1900}}"#).ok()),
        ["emma"]
    );
    run("get books emma --body --output copy.png").ok();
    assert_eq!(read(folder.path("copy.png")), body);
    run("get books persuasion").fails(3, "persuasion");

    // From one server into a file, and from there into another server.
    let exported = run("export books").ok();
    folder.write("books.jsonl", &exported);
    let (other, _) = serve(false);
    let imported = ran(on(&folder, &other, "import books books.jsonl")
        .output()
        .unwrap());
    assert_eq!(imported.code, 0, "{imported:?}");
    let again = ran(on(&folder, &other, "export books").output().unwrap()).ok();
    assert_eq!(json_lines(&again), json_lines(&exported));

    run("rm books emma").ok();
    run("drop books --yes").ok();
    assert_eq!(run("collections").ok(), "");
    assert_eq!(folder.files(), ["books.jsonl", "copy.png", "cover.png"]);
}

#[test]
fn the_token_of_the_environment_goes_to_the_server_of_the_command_alone() {
    let folder = Folder::new();
    let (url, token) = serve(true);
    let token = token.unwrap();
    ran(on(&folder, &url, "collections").output().unwrap()).fails(6, "token");
    let with_token =
        |command: &mut Command| ran(command.env("HOLDALL_TOKEN", &token).output().unwrap());
    with_token(&mut on(&folder, &url, "put notes a --doc {}")).ok();
    let by_variable = &mut folder.command(["ls", "notes"]);
    assert_eq!(
        keys(&with_token(by_variable.env("HOLDALL_STORE", &url)).ok()),
        ["a"]
    );
    // The suite's workers are processes of their own, which need it too.
    let suite = ["conformance", &url, "--only", "processes/one-creator"];
    let suite = ran(folder
        .command(suite)
        .env("HOLDALL_TOKEN", &token)
        .output()
        .unwrap());
    assert_eq!(json_lines(&suite.out)[0]["result"], "passed", "{suite:?}");
    let beside = format!("{url}?token=hold_other");
    with_token(&mut on(&folder, &beside, "ls notes")).fails(6, "token");

    // A configuration that lies in some folder is not given it.
    folder.write("token", format!("{token}\n"));
    let config = format!("default = \"s\"\n[backends.s]\nurl = \"{url}\"\n");
    folder.write("holdall.toml", &config);
    let error = with_token(&mut folder.command(["ls", "notes"])).fails(6, "token");
    assert!(!error.contains(&token), "{error}");
    folder.write("holdall.toml", format!("{config}token_file = \"token\"\n"));
    assert_eq!(keys(&folder.ok("ls notes")), ["a"]);
}
