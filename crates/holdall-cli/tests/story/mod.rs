//! What the stories share: an empty folder, and the program in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    dead_code,
    unreachable_pub,
    reason = "each test program uses a part of it, and fails by panicking"
)]

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use holdall::Value;

/// An empty folder with the program in it, gone at the end.
pub struct Folder(tempfile::TempDir);

/// What a run printed, and its exit code.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Folder {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, content).unwrap();
        path
    }

    /// The names of its files, hidden ones too.
    pub fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.0.path()).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    pub fn command<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdall"));
        command
            .args(arguments)
            .current_dir(self.0.path())
            .env_remove("HOLDALL_STORE")
            .env_remove("HOLDALL_TOKENS")
            .env_remove("HOLDALL_TOKEN")
            .env_remove("TRUST_STORE_TYPE")
            .env_remove("IDENTITY_STORE_TYPE")
            .env_remove("MONGODB_URI")
            .env_remove("POSTGRES_URI")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program with a line of arguments, cut at spaces.
    pub fn run(&self, line: &str) -> Ran {
        self.args(line.split(' '))
    }

    pub fn args<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        ran(self.command(arguments).output().unwrap())
    }

    pub fn with_stdin(&self, line: &str, input: impl Into<Vec<u8>>) -> Ran {
        let mut child = self
            .command(line.split(' '))
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.into();
        // The program may end before it has read all.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        ran(output)
    }

    /// Runs it and expects that it works; answers what it printed.
    pub fn ok(&self, line: &str) -> String {
        self.run(line).ok()
    }

    pub fn start(&self, line: &str) -> Child {
        self.command(line.split(' ')).spawn().unwrap()
    }
}

pub fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

impl Ran {
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        assert_eq!(self.err, "", "{self:?}");
        self.out
    }

    /// Expects that it failed with a code and a sentence in which this stands,
    /// and with nothing on stdout.
    #[track_caller]
    pub fn fails(self, code: i32, part: &str) -> String {
        assert_eq!(self.code, code, "{self:?}");
        assert_eq!(self.out, "", "{self:?}");
        assert!(self.err.starts_with("error: "), "{self:?}");
        assert!(self.err.contains(part), "{part:?} in {self:?}");
        self.err
    }
}

/// The lines of JSON in a text.
pub fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// The keys of lines of JSON.
pub fn keys(text: &str) -> Vec<String> {
    json_lines(text)
        .iter()
        .map(|line| line["key"].as_str().unwrap().to_owned())
        .collect()
}

/// Bytes that do not repeat, and are no text.
pub fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    (0..len)
        .map(|_| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[3]
        })
        .collect()
}

pub fn read(path: impl AsRef<Path>) -> Vec<u8> {
    std::fs::read(path).unwrap()
}
