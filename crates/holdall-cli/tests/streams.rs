//! Stories of import, export, watch, pipes and signals.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod story;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::Stdio;

use holdall::json;
use story::{Folder, json_lines, keys, noise, ran, read};

fn lines(range: std::ops::Range<u32>) -> String {
    range
        .map(|n| format!("{{\"key\":\"k{n:05}\",\"doc\":{{\"n\":{n}}}}}\n"))
        .collect()
}

#[test]
fn an_export_makes_the_same_store_elsewhere() {
    let folder = Folder::new();
    folder.ok("put c doc --doc {\"a\":[1,2.5,\"ü\"]}");
    for (key, size) in [
        ("empty", 0),
        ("small", 1000),
        ("edge", 1 << 20),
        ("large", 3_500_000),
    ] {
        folder.write("body", noise(size));
        folder.ok(&format!(
            "put c {key} --body body --doc {{\"k\":\"{key}\"}}"
        ));
    }
    let export = folder.ok("export c");
    folder.write("c.jsonl", &export);
    let imported = folder.ok("--store sqlite:copy.db import c c.jsonl");
    assert_eq!(
        json_lines(&imported)[0],
        json!({"imported": 5, "unchanged": 0})
    );
    assert_eq!(folder.ok("--store sqlite:copy.db export c"), export);
    folder.ok("--store sqlite:copy.db get c large --output large");
    assert!(read(folder.path("large")) == noise(3_500_000));
    let again = folder.ok("--store sqlite:copy.db import c c.jsonl");
    assert_eq!(
        json_lines(&again)[0],
        json!({"imported": 0, "unchanged": 5})
    );
    // What `query` prints of items without bodies can be imported too.
    let found = folder
        .args(["query", "c", r#"{"a":{"$exists":true}}"#])
        .ok();
    folder
        .with_stdin("--store sqlite:copy.db import d -", found)
        .ok();
}

#[test]
fn damaged_exports_are_refused() {
    let folder = Folder::new();
    folder.write("body", noise(2_500_000));
    folder.ok("put c large --body body");
    let export = folder.ok("export c");
    let all: Vec<&str> = export.lines().collect();
    assert_eq!(all.len(), 4);
    let cut = all[..3].join("\n");
    folder
        .with_stdin("import d -", cut)
        .fails(2, "line 1: the body of line 1 lacks parts");
    let swapped = [all[0], all[2], all[1], all[3]].join("\n");
    folder
        .with_stdin("import d -", swapped)
        .fails(7, "line 1: its body is not the one");
    folder
        .with_stdin("import d -", all[1])
        .fails(2, "line 1: it is a part");
    assert_eq!(folder.ok("collections"), "{\"collection\":\"c\"}\n");
}

#[test]
fn a_line_that_is_not_valid_is_named_and_nothing_of_its_batch_is_written() {
    let folder = Folder::new();
    for (bad, part) in [
        ("x", "line 1: it is not"),
        ("[]", "line 1: it is not"),
        ("{\"doc\":{}}", "\"key\" is missing"),
        ("{\"key\":\"\"}", "must not be empty"),
        ("{\"key\":\"a\",\"dok\":{}}", "dok"),
        ("{\"key\":\"a\",\"key\":\"b\"}", "duplicate"),
        ("{\"key\":\"a\",\"doc\":[]}", "must be a JSON object"),
        ("{\"key\":\"a\",\"body\":\"a\"}", "base64"),
        ("{\"key\":\"a\",\"body\":\"\",\"parts\":1}", "give one"),
        ("{\"key\":\"a\",\"parts\":1}", "without a \"digest\""),
        ("{\"key\":\"a\",\"digest\":\"00\"}", "64 hexadecimal digits"),
        ("\u{feff}{\"key\":\"a\"}", "line 1"),
    ] {
        folder.with_stdin("import c -", bad).fails(2, part);
    }
    folder
        .with_stdin("import c - --key id", "{\"a\":1}")
        .fails(2, "no key at id");
    folder
        .with_stdin("import c - --key id", "{\"id\":[]}")
        .fails(2, "neither a string");
    assert_eq!(folder.ok("collections"), "");

    let mut text = lines(0..2500);
    text = text.replace("\"doc\":{\"n\":2200}", "\"doc\":{\"n\":NaN}");
    folder.with_stdin("import c -", text).fails(2, "line 2201");
    assert_eq!(folder.ok("query c --count"), "2000\n");
    let rest = folder.with_stdin("import c -", lines(0..2500)).ok();
    assert_eq!(
        json_lines(&rest)[0],
        json!({"imported": 500, "unchanged": 2000})
    );
}

#[test]
fn keys_come_from_docs_and_the_later_line_counts() {
    let folder = Folder::new();
    let text = "{\"id\":7,\"v\":1}\n\n{\"id\":\"x\"}\r\n{\"id\":7,\"v\":2}";
    folder.with_stdin("import c - --key id", text).ok();
    assert_eq!(keys(&folder.ok("ls c")), ["7", "x"]);
    assert_eq!(folder.ok("get c 7 --doc"), "{\"id\":7,\"v\":2}\n");
    let two = folder
        .with_stdin("import d - --from-line 3", lines(0..4))
        .ok();
    assert_eq!(json_lines(&two)[0]["imported"], 2);
    let table = folder.with_stdin("import d - --table", lines(0..4)).ok();
    assert_eq!(table, "2 items imported, 2 were there already\n");
}

#[test]
fn a_unique_value_that_is_taken_names_the_lines() {
    let folder = Folder::new();
    folder.ok("index c n --unique");
    let text = lines(0..10).replace("{\"n\":7}", "{\"n\":3}");
    let error = folder
        .with_stdin("import c -", text)
        .fails(4, "lines 1 to 10");
    assert!(
        error.contains("k00003") && error.contains("k00007"),
        "{error}"
    );
    assert_eq!(folder.ok("query c --count"), "0\n");
}

#[cfg(unix)]
#[test]
fn an_interrupt_leaves_whole_batches() {
    let folder = Folder::new();
    let mut child = folder
        .command(["import", "c", "-"])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    // Input that does not end, so that the import is surely under way.
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines(0..2500).as_bytes()).unwrap();
    wait_for_items(&folder, &mut child);
    let status = std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status();
    assert!(status.unwrap().success());
    let ended = ran(child.wait_with_output().unwrap());
    assert_eq!(ended.code, 130, "{ended:?}");
    assert!(
        ended.err.contains("the lines up to 2000 are in the store"),
        "{ended:?}"
    );
    assert_eq!(ended.out, "");
    drop(stdin);
    assert_eq!(folder.ok("query c --count"), "2000\n");
    let rest = folder.with_stdin("import c -", lines(0..2500)).ok();
    assert_eq!(
        json_lines(&rest)[0],
        json!({"imported": 500, "unchanged": 2000})
    );
}

/// Until another process sees two batches.
#[cfg(unix)]
fn wait_for_items(folder: &Folder, child: &mut std::process::Child) {
    let (mut last, started) = (None, std::time::Instant::now());
    while started.elapsed().as_secs() < 120 {
        assert!(child.try_wait().unwrap().is_none(), "it ended: {last:?}");
        let count = folder.run("query c --count");
        if count.out == "2000\n" {
            return;
        }
        last = Some(count);
    }
    panic!("nothing is imported: {last:?}");
}

#[cfg(unix)]
#[test]
fn an_interrupted_get_leaves_no_file() {
    let folder = Folder::new();
    folder.write("body", noise(1000));
    folder.ok("put c k --body body");
    // The signal may come before, within or after the write: there is never a
    // part of a file.
    for _ in 0..5 {
        let child = folder.start("get c k --output out");
        let _ = std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status();
        let ended = ran(child.wait_with_output().unwrap());
        if ended.code == 0 {
            assert!(read(folder.path("out")) == noise(1000));
        }
        assert!(folder.files().iter().all(|name| !name.contains(".part")));
    }
}

#[test]
fn a_reader_that_stops_is_no_error() {
    let folder = Folder::new();
    folder.with_stdin("import c -", lines(0..5000)).ok();
    for line in ["ls c", "query c", "export c", "ls c --table"] {
        let mut child = folder.start(line);
        let mut stdout = child.stdout.take().unwrap();
        let mut first = [0; 10];
        stdout.read_exact(&mut first).unwrap();
        drop(stdout);
        let ended = ran(child.wait_with_output().unwrap());
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{line}");
    }
}

#[test]
fn changes_are_told_as_they_happen_and_from_a_cursor_on() {
    let folder = Folder::new();
    let mut child = folder.start("watch c --limit 3");
    // Changes come from here on.
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut watching = String::new();
    stderr.read_line(&mut watching).unwrap();
    assert_eq!(watching, "watching: \"c\"\n");
    let put = folder.ok("put c a --doc {}");
    folder.ok("put other x --doc {}");
    folder.ok("put c b --doc {}");
    folder.ok("rm c a");
    let told = json_lines(&ran(child.wait_with_output().unwrap()).out);
    let kinds: Vec<_> = told
        .iter()
        .map(|line| (&line["kind"], &line["key"]))
        .collect();
    let wanted = [
        (json!("put"), json!("a")),
        (json!("put"), json!("b")),
        (json!("delete"), json!("a")),
    ];
    assert_eq!(
        kinds,
        wanted.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>()
    );
    assert_eq!(told[0]["version"], json_lines(&put)[0]["version"]);
    assert_eq!(told[2]["previous"], told[0]["version"]);

    let cursor = told[0]["cursor"].as_str().unwrap();
    let rest = folder.run(&format!("watch c --from {cursor} --limit 2"));
    assert_eq!(json_lines(&rest.out), told[1..]);
    folder
        .run("--store memory: watch --from AAAA")
        .fails_after("watching", 2);
}

impl story::Ran {
    /// As `fails`; stderr may begin with something else.
    fn fails_after(self, _: &str, code: i32) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains("error: "), "{self:?}");
    }
}

#[test]
fn the_suite_and_the_speed_are_run_from_here() {
    let folder = Folder::new();
    let report = json_lines(&folder.ok("conformance sqlite:x.db --only keys"));
    assert!(
        report.iter().all(|line| line["result"] == "passed"),
        "{report:?}"
    );
    assert!(!report.is_empty());
    // Other processes are this program again.
    let report = json_lines(&folder.ok("conformance sqlite:x.db --only processes/increments"));
    assert_eq!(report[0]["result"], "passed", "{report:?}");
    assert_eq!(folder.ok("--store sqlite:x.db collections"), "");
    let table = folder.ok("conformance memory: --only keys --seed 7 --table");
    assert!(
        table.contains("0 failed") && table.contains("seed 7"),
        "{table}"
    );
    let speed = json_lines(&folder.ok("bench memory:"));
    assert!(
        speed
            .iter()
            .all(|line| line["per_second"].as_f64() > Some(0.0))
    );
}

#[test]
fn help_completions_and_manual_pages_are_made() {
    let folder = Folder::new();
    let help = folder.ok("--help");
    assert!(
        help.contains("Exit codes:") && help.contains("HOLDALL_STORE"),
        "{help}"
    );
    for command in [
        "put",
        "get",
        "head",
        "rm",
        "ls",
        "query",
        "import",
        "export",
        "index",
        "collections",
        "drop",
        "watch",
        "conformance",
        "bench",
        "completions",
        "man",
    ] {
        assert!(help.contains(command), "{command}");
        folder.ok(&format!("{command} --help"));
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(
            folder
                .ok(&format!("completions {shell}"))
                .contains("holdall")
        );
    }
    assert!(folder.ok("man").contains(".TH holdall"));
    folder.ok("man pages");
    assert!(folder.path("pages/holdall-import.1").exists());
}
