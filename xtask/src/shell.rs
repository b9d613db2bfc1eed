//! Running other programs.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::Receiver;

/// A task's answer; the error is a sentence.
pub(crate) type Result<T = ()> = std::result::Result<T, String>;

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_owned()
}

/// A program that is run in the root of the repository.
pub(crate) struct Shell(Command);

/// A cargo command, by the cargo that runs this.
pub(crate) fn cargo<I: AsRef<OsStr>>(arguments: impl IntoIterator<Item = I>) -> Shell {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    // One folder for all that is built, in whatever folder cargo runs.
    let target =
        std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| root().join("target").into());
    shell(cargo).args(arguments).env("CARGO_TARGET_DIR", target)
}

/// Any program.
pub(crate) fn shell(program: impl AsRef<OsStr>) -> Shell {
    let mut command = Command::new(program);
    command.current_dir(root()).stdin(Stdio::null());
    Shell(command)
}

impl Shell {
    pub(crate) fn args<I: AsRef<OsStr>>(mut self, arguments: impl IntoIterator<Item = I>) -> Self {
        self.0.args(arguments);
        self
    }

    pub(crate) fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.0.env(name, value);
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.0.env_remove(name);
        self
    }

    pub(crate) fn within(mut self, folder: impl AsRef<Path>) -> Self {
        self.0.current_dir(folder);
        self
    }

    /// Runs it and lets it talk to the terminal; it must succeed.
    pub(crate) fn run(mut self) -> Result {
        let line = self.announce();
        let status = self.0.status();
        check(&line, status)
    }

    /// Runs it, shows each line as it comes, and hands the lines on; answers
    /// whether it succeeded.
    pub(crate) fn watch(mut self, mut see: impl FnMut(&str)) -> Result<bool> {
        let line = self.announce();
        let cannot = |error: std::io::Error| format!("cannot run `{line}`: {error}");
        // One pipe for both, so that the lines stay in order.
        let (reader, writer) = std::io::pipe().map_err(cannot)?;
        self.0
            .stdout(writer.try_clone().map_err(cannot)?)
            .stderr(writer);
        if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            self.0.env("CARGO_TERM_COLOR", "always");
        }
        let mut child = self.0.spawn().map_err(cannot)?;
        // The command holds the writing ends; the pipe ends when all are gone.
        drop(self);
        for line in BufReader::new(reader).split(b'\n') {
            let line = line.map_err(|error| error.to_string())?;
            let line = String::from_utf8_lossy(&line);
            eprintln!("{line}");
            see(&without_colors(&line));
        }
        child
            .wait()
            .map(|status| status.success())
            .map_err(|error| error.to_string())
    }

    /// Starts it and reads what it says on stderr.
    pub(crate) fn start(mut self) -> Result<Running> {
        let line = self.announce();
        let cannot = |error: std::io::Error| format!("cannot run `{line}`: {error}");
        let mut child = self.0.stderr(Stdio::piped()).spawn().map_err(cannot)?;
        let said = child.stderr.take().ok_or("there is no pipe to it")?;
        let (sender, lines) = std::sync::mpsc::channel();
        // Reads on, or it would wait for room in the pipe.
        std::thread::spawn(move || {
            for line in BufReader::new(said)
                .lines()
                .map_while(std::result::Result::ok)
            {
                let _ended = sender.send(line);
            }
        });
        Ok(Running { child, lines })
    }

    /// Runs it without a word; answers whether it succeeded and all that it
    /// said. `None` if there is no such program.
    pub(crate) fn ask(mut self) -> Option<(bool, String)> {
        let output = self.0.output().ok()?;
        let mut said = String::from_utf8_lossy(&output.stdout).into_owned();
        said.push_str(&String::from_utf8_lossy(&output.stderr));
        Some((output.status.success(), said))
    }

    fn announce(&self) -> String {
        let program = Path::new(self.0.get_program())
            .file_name()
            .unwrap_or_default();
        let words: Vec<_> = std::iter::once(program)
            .chain(self.0.get_args())
            .map(|word| word.to_string_lossy())
            .collect();
        let line = words.join(" ");
        eprintln!("\n$ {line}");
        line
    }
}

/// A program that runs until it is told to end, or until this is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    /// The first line that something is found in; `None` if it ends before.
    pub(crate) fn find<T>(&mut self, find: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.lines.iter().find_map(|line| {
            eprintln!("{line}");
            find(&line)
        })
    }

    /// Tells it to end; answers whether it ended well, and what else it said.
    pub(crate) fn end(mut self) -> Result<(bool, Vec<String>)> {
        shell("kill").args([self.child.id().to_string()]).run()?;
        let status = self.child.wait().map_err(|error| error.to_string())?;
        Ok((status.success(), self.lines.iter().collect()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _gone = self.child.kill().and_then(|()| self.child.wait());
    }
}

fn check(line: &str, status: std::io::Result<ExitStatus>) -> Result {
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(format!("`{line}` failed; its output stands above")),
        Err(error) => Err(format!("cannot run `{line}`: {error}")),
    }
}

/// The text without the escape sequences of a terminal.
fn without_colors(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line.chars();
    while let Some(character) = rest.next() {
        if character == '\u{1b}' {
            let _sequence = rest.by_ref().find(char::is_ascii_alphabetic);
        } else {
            out.push(character);
        }
    }
    out
}

/// A file of the repository as text.
pub(crate) fn read(path: impl AsRef<Path>) -> Result<String> {
    let path = root().join(path);
    let mut text = String::new();
    std::fs::File::open(&path)
        .and_then(|mut file| file.read_to_string(&mut text))
        .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Ok(text)
}
