//! `holdall serve`, as a process.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    missing_docs,
    reason = "tests fail by panicking"
)]

mod story;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use story::{Folder, json_lines, keys, ran};

/// No test waits longer than that: what hangs fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that has said that it is ready.
struct Server {
    child: Child,
    stderr: BufReader<ChildStderr>,
    /// What it said.
    ready: String,
    at: String,
}

impl Server {
    fn start(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut ready = String::new();
        while !ready.contains("serving") {
            ready.clear();
            assert!(stderr.read_line(&mut ready).unwrap() > 0, "it ended");
        }
        let (_, rest) = ready.split_once("http://").unwrap();
        let end = rest.find(|c: char| !c.is_ascii_digit() && !matches!(c, '.' | ':'));
        let at = rest[..end.unwrap_or(rest.len())].to_owned();
        Self {
            child,
            stderr,
            ready,
            at,
        }
    }

    fn of(folder: &Folder, line: &str) -> Self {
        Self::start(folder.command(line.split(' ')))
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.at).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Asks on a connection of its own; answers all that came.
    fn ask(&self, head: &str, content: &str) -> String {
        let mut stream = self.connect();
        let length = content.len();
        let request = format!(
            "{head} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n{content}"
        );
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits for its end; answers the exit code and what else it said.
    fn end(mut self) -> (Option<i32>, String) {
        let mut said = String::new();
        self.stderr.read_to_string(&mut said).unwrap();
        (self.child.wait().unwrap().code(), said)
    }
}

#[test]
fn a_store_is_served_until_a_signal() {
    let folder = Folder::new();
    let server = Server::of(&folder, "serve --listen 127.0.0.1:0");
    assert!(
        server
            .ready
            .starts_with("holdall: serving sqlite:holdall.db on http://127.0.0.1:"),
        "{}",
        server.ready
    );
    assert!(
        server
            .ready
            .ends_with("(loopback only, as there are no tokens)\n"),
        "{}",
        server.ready
    );
    let answer = server.ask("PUT /v1/items/notes/hello", r#"{"text":"hi"}"#);
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    let mut watcher = server.connect();
    let watch = b"GET /v1/watch HTTP/1.1\r\nhost: localhost\r\n\r\n";
    watcher.write_all(watch).unwrap();
    let mut first = [0; 12];
    watcher.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");

    let other = folder.run(&format!("serve --listen {}", server.at));
    other.fails(5, "another program listens on");

    server.signal(Signal::INT);
    let mut rest = String::new();
    watcher.read_to_string(&mut rest).unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    let (code, said) = server.end();
    assert_eq!(code, Some(0), "{said}");
    assert!(folder.ok("get notes hello --doc").contains("hi"));
}

/// The server is told to end while 64 clients write: it is gone in time, and
/// what it said is written is there.
#[test]
fn what_was_answered_before_the_end_is_there() {
    const WRITERS: usize = 64;
    let folder = Folder::new();
    let server = Server::of(&folder, "serve --listen 127.0.0.1:0 --log warn");
    let written = AtomicUsize::new(0);
    let (acknowledged, took) = std::thread::scope(|scope| {
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let stream = server.connect();
                let written = &written;
                scope.spawn(move || write_until_closed(stream, writer, written))
            })
            .collect();
        while written.load(Ordering::Relaxed) < 10 * WRITERS {
            assert!(
                !writers
                    .iter()
                    .all(std::thread::ScopedJoinHandle::is_finished)
            );
            std::thread::yield_now();
        }
        let told = Instant::now();
        server.signal(Signal::TERM);
        let keys = writers
            .into_iter()
            .flat_map(|writer| writer.join().unwrap());
        let keys: BTreeSet<_> = keys.collect();
        let (code, said) = server.end();
        assert_eq!(code, Some(0), "{said}");
        (keys, told.elapsed())
    });
    // A promise of docs/server.md, and no measure of speed.
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(acknowledged.len() >= 10 * WRITERS);
    let there: BTreeSet<_> = keys(&folder.ok("ls load")).into_iter().collect();
    let lost: Vec<_> = acknowledged.difference(&there).collect();
    assert!(lost.is_empty(), "{lost:?}");
}

/// Puts items over one connection, until that is closed; answers the keys that
/// were acknowledged.
fn write_until_closed(stream: TcpStream, writer: usize, written: &AtomicUsize) -> Vec<String> {
    let mut sender = stream.try_clone().unwrap();
    let mut reader = BufReader::new(stream);
    let mut keys = Vec::new();
    for number in 0.. {
        let key = format!("{writer}-{number}");
        let request = format!(
            "PUT /v1/items/load/{key} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 7\r\n\r\n{{\"a\":1}}"
        );
        if sender.write_all(request.as_bytes()).is_err() || !acknowledges(&mut reader) {
            break;
        }
        written.fetch_add(1, Ordering::Relaxed);
        keys.push(key);
    }
    keys
}

/// Reads an answer; whether it is a whole one of 2xx.
fn acknowledges(reader: &mut impl BufRead) -> bool {
    let (mut status, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return false;
        }
        if status.is_empty() {
            status.clone_from(&line);
        }
        if let Some(text) = line.strip_prefix("content-length: ") {
            length = text.trim().parse().unwrap();
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut content = vec![0; length];
    reader.read_exact(&mut content).is_ok() && status.starts_with("HTTP/1.1 2")
}

#[test]
fn a_check_shows_what_is_in_force_and_who_says_so() {
    let folder = Folder::new();
    folder.write(
        "holdall.toml",
        r#"
[server]
listen = "127.0.0.1:1"
cors = ["https://app.example"]
[server.limits]
max_body = "2MiB"
max_headers = 50
idle_time = "5m"
"#,
    );
    let mut command = folder.command([
        "serve",
        "--check",
        "--listen",
        "127.0.0.1:0",
        "--limit",
        "max_headers=70",
        "--tokens",
        "sqlite:tokens.db?token=hunter2",
    ]);
    command
        .env("HOLDALL_LIMIT_MAX_BODY", "3MiB")
        .env("HOLDALL_LOG", "warn");
    let told = ran(command.output().unwrap());
    // The store of tokens takes no such option, and its value is not shown.
    assert!(
        !told.err.contains("hunter2") && !told.out.contains("hunter2"),
        "{told:?}"
    );

    command = folder.command(["serve", "--check", "--listen", "127.0.0.1:0"]);
    command
        .args(["--limit", "max_headers=70"])
        .env("HOLDALL_LIMIT_MAX_BODY", "3MiB")
        .env("HOLDALL_LOG", "warn");
    let lines = json_lines(&ran(command.output().unwrap()).ok());
    let of = |name: &str| {
        let line = lines.iter().find(|line| line["name"] == name).unwrap();
        (
            line["value"].as_str().unwrap().to_owned(),
            line["from"].as_str().unwrap().to_owned(),
        )
    };
    let is = |value: &str, from: &str| (value.to_owned(), from.to_owned());
    assert_eq!(of("store"), is("sqlite:holdall.db (to be made)", "default"));
    assert_eq!(of("listen"), is("127.0.0.1:0", "--listen"));
    assert_eq!(of("log"), is("warn", "HOLDALL_LOG"));
    assert_eq!(of("cors"), is("https://app.example", "holdall.toml"));
    assert_eq!(of("limits.max_headers"), is("70", "--limit"));
    assert_eq!(of("limits.max_body"), is("3MiB", "HOLDALL_LIMIT_MAX_BODY"));
    assert_eq!(of("limits.idle_time"), is("5m", "holdall.toml"));
    assert_eq!(of("limits.head_time"), is("10s", "default"));
    // To check makes nothing.
    assert_eq!(folder.files(), ["holdall.toml"]);
}

#[test]
fn what_keeps_a_server_from_starting_is_said_in_a_sentence() {
    let folder = Folder::new();
    folder.write("no.db", "this is no database, whatever its name says");
    folder.write("no.pem", "nothing");
    for (line, code, part) in [
        ("--listen nowhere", 2, "no address to listen on"),
        ("--listen 192.0.2.1:4520", 2, "no address of this machine"),
        ("--listen 0.0.0.0:0", 2, "make a token first"),
        ("--limit max_body", 2, "NAME=VALUE"),
        ("--limit max_body=much", 2, "the limit max_body is"),
        ("--limit max_bodies=1", 2, "no limit is called"),
        ("--tls-cert no.pem", 2, "give --tls-key"),
        ("--tls-key no.pem", 2, "give --tls-cert"),
        ("--tls-client-ca no.pem", 2, "need TLS"),
        ("--tls-cert no.pem --tls-key no.pem", 2, "no.pem"),
        (
            "--tls-cert none.pem --tls-key no.pem",
            3,
            "none.pem cannot be read",
        ),
        ("--cors nowhere", 2, "is no origin"),
        ("--log loud", 2, "no level of a log"),
        ("--store sqlite:no.db", 7, "no.db"),
        ("--store nosuch:x", 2, "nosuch"),
        ("--store sqlite:nowhere/x.db", 0, "nowhere"),
        ("--store memory: --tokens sqlite:nowhere/x.db", 0, "nowhere"),
    ] {
        for check in ["", " --check"] {
            let listen = if line.contains("--listen") {
                ""
            } else {
                " --listen 127.0.0.1:0"
            };
            // One that starts all the same is ended, and found by its code.
            let mut command = Command::new("timeout");
            command
                .args(["-s", "KILL", "20", env!("CARGO_BIN_EXE_holdall"), "serve"])
                .args(format!("{line}{listen}{check}").split(' '))
                .current_dir(folder.path("."))
                .env_remove("HOLDALL_STORE")
                .stdin(Stdio::null());
            let told = ran(command.output().unwrap());
            if code == 0 {
                assert!(told.code > 0, "{told:?}");
                assert!(told.err.contains(part), "{told:?}");
            } else {
                told.fails(code, part);
            }
        }
    }
    for (text, part) in [
        ("[server]\nlisen = 1", "server.lisen (line 2, column 1)"),
        (
            "[server.limits]\nmax_bodies = 1",
            "server.limits.max_bodies",
        ),
        (
            "[server.limits]\nmax_body = \"much\"",
            "server.limits.max_body (line 2",
        ),
        (
            "[server.limits]\nmax_buffered = \"1MiB\"",
            "max_buffered is 1MiB, and max_batch is 16MiB",
        ),
        ("[server]\nlisten = [\"a\"]", "server.listen (line 2"),
    ] {
        folder.write("holdall.toml", text);
        folder.run("serve --check").fails(2, part);
    }
}

/// A log in lines of JSON is that from its first line to its last.
#[test]
fn a_log_for_programs_is_json() {
    let folder = Folder::new();
    let server = Server::of(&folder, "serve --json --listen 127.0.0.1:0");
    let first = json_lines(&server.ready);
    assert_eq!(first[0]["message"], "serving");
    assert_eq!(first[0]["store"], "sqlite:holdall.db");
    server.signal(Signal::TERM);
    let (code, said) = server.end();
    assert_eq!(code, Some(0));
    let last = json_lines(&said).pop().unwrap();
    assert_eq!(last["given_up"], 0, "{said}");
}

/// systemd waits for READY=1 before it starts what needs the server.
#[cfg(target_os = "linux")]
#[test]
fn systemd_is_told_of_the_beginning_and_the_end() {
    let folder = Folder::new();
    let path = folder.path("notify.sock");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut command = folder.command(["serve", "--listen", "127.0.0.1:0"]);
    command.env("NOTIFY_SOCKET", &path);
    let server = Server::start(command);
    let told = || {
        let mut space = [0; 256];
        let count = socket.recv(&mut space).unwrap();
        String::from_utf8_lossy(&space[..count]).into_owned()
    };
    assert!(told().contains("READY=1"));
    server.signal(Signal::TERM);
    assert!(told().contains("STOPPING=1"));
    assert_eq!(server.end().0, Some(0));
}

/// A socket of systemd's is the third file of the program, and goes before
/// `--listen`. The shell hands it over as systemd does: its process id stays
/// that of the program.
#[cfg(target_os = "linux")]
#[test]
fn a_socket_that_is_handed_over_is_listened_on() {
    let folder = Folder::new();
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = socket.local_addr().unwrap().to_string();
    rustix::io::fcntl_setfd(&socket, rustix::io::FdFlags::empty()).unwrap();
    let script = format!(
        "exec 3<&{}; LISTEN_PID=$$ LISTEN_FDS=1 exec {} serve --listen 127.0.0.1:1",
        socket.as_raw_fd(),
        env!("CARGO_BIN_EXE_holdall")
    );
    let mut command = Command::new("bash");
    command
        .args(["-c", &script])
        .current_dir(folder.path("."))
        .stdin(Stdio::null());
    let server = Server::start(command);
    assert_eq!(server.at, at);
    assert!(server.ask("GET /ready", "").starts_with("HTTP/1.1 200"));
    server.signal(Signal::TERM);
    assert_eq!(server.end().0, Some(0));
}
