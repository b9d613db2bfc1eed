//! The peers' program: built here, and driven a line at a time.

use std::fmt::Display;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use crate::rounds::Work;
use crate::{Result, place};

/// Builds the program; cargo does nothing where it is there.
#[allow(
    clippy::disallowed_methods,
    reason = "the rule is for the library; cargo names itself to what it runs"
)]
pub(crate) fn build() -> Result<PathBuf> {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/Cargo.toml");
    let target = place::target()?;
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args([
            "build",
            "--release",
            "--locked",
            "--quiet",
            "--manifest-path",
        ])
        .arg(&manifest)
        .env("CARGO_TARGET_DIR", &target)
        .status()?;
    if !status.success() {
        return Err(format!("{} could not be built", manifest.display()).into());
    }
    Ok(target.join("release").join("bench-peers"))
}

/// A process of it, with one peer open.
pub(crate) struct Peer {
    process: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Peer {
    pub(crate) fn start(
        program: &Path,
        peer: &str,
        place: impl Display,
        count: u64,
        size: usize,
    ) -> Result<Self> {
        let mut process = Command::new(program)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let input = process.stdin.take();
        let output = process.stdout.take().ok_or("the peer has no output")?;
        let mut started = Self {
            process,
            input,
            output: BufReader::new(output),
        };
        started.ask(&format!("open\t{peer}\t{place}\t{count}\t{size}"))?;
        Ok(started)
    }

    pub(crate) fn read(&mut self, count: u64, seed: u64) -> Result<Work> {
        let nanos = self.ask(&format!("read\t{count}\t{seed}"))?;
        Ok(Work {
            operations: count,
            nanos,
        })
    }

    pub(crate) fn write(
        &mut self,
        tasks: u64,
        each: u64,
        size: usize,
        round: usize,
    ) -> Result<Work> {
        let nanos = self.ask(&format!("write\t{tasks}\t{each}\t{size}\t{round}"))?;
        Ok(Work {
            operations: tasks * each,
            nanos,
        })
    }

    fn ask(&mut self, line: &str) -> Result<u128> {
        let input = self.input.as_mut().ok_or("the peer has no input")?;
        writeln!(input, "{line}")?;
        input.flush()?;
        let mut answer = String::new();
        self.output.read_line(&mut answer)?;
        match answer.trim_end().split_once(' ') {
            Some(("ok", nanos)) => Ok(nanos.parse()?),
            Some(("error", why)) => Err(why.to_owned().into()),
            _ => Err("the peer ended without an answer".into()),
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // The end of its input is the end of it.
        self.input = None;
        let _ended = self.process.wait();
    }
}
