//! Stories of single items, queries and what stands around them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod story;

use holdall::json;
use story::{Folder, json_lines, keys, noise, read};

#[test]
fn an_empty_folder_gets_a_store_when_something_is_put() {
    let folder = Folder::new();
    for reads in [
        "get books emma",
        "head books emma",
        "ls books",
        "query books",
        "export books",
        "collections",
        "rm books emma",
        "drop books",
    ] {
        folder.run(reads).fails(3, "there is no such file");
        let typo = format!("--store sqlite:typo.db {reads}");
        folder.run(&typo).fails(3, "typo.db");
    }
    assert!(folder.files().is_empty());
    let put = folder
        .args(["put", "books", "emma", "--doc", r#"{"year":1815}"#])
        .ok();
    assert_eq!(keys(&put), ["emma"]);
    assert_eq!(folder.files(), ["holdall.db"]);
    let item = &json_lines(&folder.ok("get books emma"))[0];
    assert_eq!(item["doc"], json!({"year": 1815}));
    assert_eq!(item["version"], json_lines(&put)[0]["version"]);
    assert_eq!(folder.ok("get books emma --doc"), "{\"year\":1815}\n");
    assert_eq!(folder.ok("collections"), "{\"collection\":\"books\"}\n");
}

#[test]
fn wrong_input_is_named_and_changes_nothing() {
    let folder = Folder::new();
    folder.write("bad.json", b"{\"a\":\xff}");
    for (arguments, part) in [
        (vec!["put", "c", "k"], "--doc"),
        (vec!["put", "", "k", "--doc", "{}"], "must not be empty"),
        (vec!["put", "c", "", "--doc", "{}"], "must not be empty"),
        (vec!["put", "c", "k", "--doc", "{"], "the doc is not valid"),
        (
            vec!["put", "c", "k", "--doc", "[]"],
            "must be a JSON object",
        ),
        (vec!["put", "c", "k", "--doc", r#"{"a":1,"a":2}"#], "twice"),
        (vec!["put", "c", "k", "--doc", "@bad.json"], "UTF-8"),
        (
            vec!["put", "c", "k", "--doc", "-", "--body", "-"],
            "both come from stdin",
        ),
        (vec!["put", "c", "k", "--body", "."], "is a folder"),
        (
            vec!["put", "c", "k", "--doc", "{}", "--if-version", "7"],
            "not a version",
        ),
        (vec!["get", "c", "k", "--range", "5-3"], "stands before"),
        (
            vec!["get", "c", "k", "--doc", "--range", "0-1"],
            "cannot be used with",
        ),
        (vec!["query", "c", "{"], "the filter is not valid"),
        (vec!["query", "c", r#"{"a":{"$regex":"x"}}"#], "$regex"),
        (vec!["query", "c", "--sort", "a..b"], "the path \"a..b\""),
        (vec!["query", "c", "--after", "xyz"], "cursor"),
        (
            vec!["query", "c", "--count", r#"{"a":1}"#],
            "before --count",
        ),
        (vec!["index", "c", "a,,b"], "the path \"\""),
        (vec!["index", "c", "a,a"], "twice"),
        (
            vec!["index", "c", "a", "--unique", "--words"],
            "cannot be used with",
        ),
        (vec!["watch", "--from", "!"], "watch cursor"),
        (vec!["import", "c", "-", "--from-line", "0"], "from-line"),
        (vec!["--store", "oracle:x", "ls", "c"], "there are "),
        (vec!["--store", "sqlite:a%zz", "ls", "c"], "hexadecimal"),
        (vec!["--store", "sqlite:x.db?nope=1", "ls", "c"], "nope"),
        (vec!["--store", "main", "ls", "c"], "no holdall.toml here"),
        (vec!["conformance", "sqlite"], "no scheme"),
        (vec!["nonsense"], "unrecognized subcommand"),
    ] {
        folder.args(&arguments).fails(2, part);
    }
    folder
        .run("put c k --body missing.bin")
        .fails(3, "missing.bin");
    assert_eq!(folder.files(), ["bad.json"]);
}

#[test]
fn conditions_decide_who_writes() {
    let folder = Folder::new();
    let first = folder.ok("put locks job --doc {} --if-absent");
    folder
        .run("put locks job --doc {} --if-absent")
        .fails(4, "it was to be absent");
    let version = json_lines(&first)[0]["version"]
        .as_str()
        .unwrap()
        .to_owned();
    let second = folder.ok(&format!("put locks job --doc {{}} --if-version {version}"));
    let stale = format!("rm locks job --if-version {version}");
    folder.run(&stale).fails(4, "it was to be of version");
    folder
        .run(&format!("head locks job --if-version {version}"))
        .fails(4, "version");
    let version = json_lines(&second)[0]["version"]
        .as_str()
        .unwrap()
        .to_owned();
    folder.ok(&format!("rm locks job --if-version {version}"));
    folder.run("rm locks job").fails(3, "no such item");
    folder.run("head locks job").fails(3, "no such item");
    folder.run("get locks job").fails(3, "key \"job\"");
}

#[test]
fn bodies_of_any_size_go_in_and_out() {
    let folder = Folder::new();
    for size in [0, 1, 5000, 300_000, 5_000_000] {
        let content = noise(size);
        folder.write("in.bin", &content);
        folder.ok("put files f --body in.bin");
        folder.ok("get files f --output out.bin");
        assert!(read(folder.path("out.bin")) == content, "{size}");
        let out = folder
            .command(["get", "files", "f", "--body"])
            .output()
            .unwrap();
        assert!(out.stdout == content, "{size}");
    }
    let content = noise(5_000_000);
    let range = |range: &str| {
        let out = folder.command(["get", "files", "f", "--range", range]);
        { out }.output().unwrap().stdout
    };
    assert_eq!(range("0-0"), content[..1]);
    assert_eq!(range("1048570-1048585"), content[1_048_570..=1_048_585]);
    assert_eq!(range("4999990-"), content[4_999_990..]);
    assert_eq!(range("-7"), content[4_999_993..]);
    folder
        .run("get files f --range 5000001-")
        .fails(2, "5000000");

    let piped = folder.with_stdin("put files piped --body - --doc {\"a\":1}", "hello");
    assert_eq!(json_lines(&piped.ok())[0]["size"], 5);
    assert_eq!(folder.ok("get files piped --body"), "hello");
    // A put puts the whole item: what it does not give is gone.
    folder.ok("put files piped --doc {\"a\":2}");
    folder.run("get files piped --body").fails(3, "has no body");
}

#[test]
fn a_failed_get_leaves_no_file_and_the_old_one_stays() {
    let folder = Folder::new();
    folder.ok("put files doc --doc {}");
    folder
        .run("get files none --output out")
        .fails(3, "no such item");
    folder.run("get files doc --output out").fails(3, "no body");
    folder
        .run("get files doc --doc --output no/such/out")
        .fails(3, "no/such/out");
    assert_eq!(folder.files(), ["holdall.db"]);
    folder.write("out", "old");
    folder.run("get files doc --output out").fails(3, "no body");
    assert_eq!(read(folder.path("out")), b"old");
    folder.ok("get files doc --doc --output out");
    assert_eq!(read(folder.path("out")), b"{}\n");
    assert_eq!(folder.files(), ["holdall.db", "out"]);
}

#[test]
fn lists_and_queries_are_lines_in_a_pipe() {
    let folder = Folder::new();
    let lines: String = (0..10)
        .map(|n| {
            format!(
                "{{\"key\":\"k{n}\",\"doc\":{{\"n\":{n},\"odd\":{}}}}}\n",
                n % 2 == 1
            )
        })
        .collect();
    folder.with_stdin("import c -", lines).ok();
    assert_eq!(
        keys(&folder.ok("ls c --prefix k --after k6")),
        ["k7", "k8", "k9"]
    );
    assert_eq!(keys(&folder.ok("ls c --reverse --limit 2")), ["k9", "k8"]);
    let odd = "{\"odd\":true,\"n\":{\"$gt\":2}}";
    assert_eq!(
        keys(&folder.args(["query", "c", odd]).ok()),
        ["k3", "k5", "k7", "k9"]
    );
    folder.write("filter.json", odd);
    let sorted = folder.ok("query c @filter.json --sort n:desc");
    assert_eq!(keys(&sorted), ["k9", "k7", "k5", "k3"]);
    assert_eq!(folder.ok("query c --count"), "10\n");
    assert_eq!(
        folder.ok("query c --count odd"),
        "{\"value\":false,\"count\":5}\n{\"value\":true,\"count\":5}\n"
    );

    let mut seen = Vec::new();
    let mut line = "query c --sort odd,n:desc --limit 4".to_owned();
    loop {
        let page = folder.run(&line);
        assert_eq!(page.code, 0, "{page:?}");
        seen.extend(keys(&page.out));
        let Some(cursor) = page.err.strip_prefix("next: ") else {
            assert_eq!(page.err, "");
            break;
        };
        line = format!(
            "query c --sort odd,n:desc --limit 4 --after {}",
            cursor.trim()
        );
    }
    assert_eq!(
        seen,
        ["k8", "k6", "k4", "k2", "k0", "k9", "k7", "k5", "k3", "k1"]
    );
    let table = folder.ok("query c --limit 1 --table");
    assert!(
        table.contains("KEY") && table.contains("more with --after"),
        "{table}"
    );
}

#[test]
fn a_unique_index_refuses_and_a_dropped_collection_forgets_it() {
    let folder = Folder::new();
    folder.ok("put users a --doc {\"mail\":\"x\"}");
    folder.ok("index users mail --unique");
    folder.ok("index users mail --unique");
    folder
        .run("put users b --doc {\"mail\":\"x\"}")
        .fails(4, "unique");
    folder.ok("index users name --words");
    folder.ok("drop users --yes");
    assert_eq!(folder.ok("collections"), "");
    folder.ok("put users a --doc {\"mail\":\"x\"}");
    folder.ok("put users b --doc {\"mail\":\"x\"}");
    folder.run("index users mail --unique").fails(4, "\"a\"");
}

#[test]
fn control_characters_of_keys_do_not_reach_a_table() {
    let folder = Folder::new();
    let key = "a\u{1b}[2J\u{9b}b\nc\u{202e}";
    folder.args(["put", "c", key, "--doc", "{}"]).ok();
    assert_eq!(keys(&folder.ok("ls c")), [key]);
    let table = folder.ok("ls c --table");
    assert!(table.contains(r"a\u{1b}[2J\u{9b}b\nc\u{202e}"), "{table}");
    assert_eq!(table.lines().count(), 2, "{table}");
    let error = folder.args(["get", "d", key]).fails(3, "no such item");
    assert_eq!(error.lines().count(), 1, "{error:?}");
    assert!(!error.contains('\u{1b}'), "{error:?}");
}

#[test]
fn the_store_is_the_flag_then_the_variable_then_the_file() {
    let folder = Folder::new();
    folder.write(
        "holdall.toml",
        "default = \"main\"\n[backends.disk]\nurl = \"sqlite:file.db\"\n\
         [stores.main]\nbackend = \"disk\"\nlayers = [{ type = \"namespace\", name = \"acme\" }]\n",
    );
    folder.ok("put notes a --doc {}");
    assert_eq!(folder.files(), ["file.db", "holdall.toml"]);
    let raw = folder.ok("--store disk collections");
    assert_eq!(raw, "{\"collection\":\"acme/notes\"}\n");
    assert_eq!(folder.ok("collections"), "{\"collection\":\"notes\"}\n");

    let with = |value: &str, line: &str| {
        let mut command = folder.command(line.split(' '));
        story::ran(command.env("HOLDALL_STORE", value).output().unwrap())
    };
    with("sqlite:env.db", "put notes b --doc {}").ok();
    assert_eq!(
        with("sqlite:env.db", "ls notes --table")
            .ok()
            .lines()
            .count(),
        2
    );
    assert_eq!(with("disk", "collections").ok(), raw);
    assert_eq!(with("sqlite:env.db", "--store disk collections").ok(), raw);
    with("nope", "collections").fails(3, "\"disk\", \"main\"");
    folder.write("holdall.toml", "defaul = 1");
    folder.run("collections").fails(2, "line 1, column 1");
}

#[test]
fn a_store_that_cannot_be_opened_has_its_own_code() {
    let folder = Folder::new();
    folder.write(
        "text.db",
        "this is no database, and long enough to be looked at. ".repeat(20),
    );
    folder
        .run("--store sqlite:text.db collections")
        .fails(7, "text.db");
    assert!(read(folder.path("text.db")).starts_with(b"this is no"));
    folder
        .run("--store sqlite:no/such/x.db put a b --doc {}")
        .fails(5, "no/such/x.db");
}
