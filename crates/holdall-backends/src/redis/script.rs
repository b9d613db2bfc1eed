//! The scripts, and calls of them.

use std::borrow::Cow;
use std::sync::LazyLock;

use ::redis::{Cmd, Value};

use super::link::{Fault, Line, Link};

/// A script. Redis runs it alone, all or nothing.
pub(super) struct Script {
    code: &'static str,
    hash: String,
}

macro_rules! scripts {
    ($($name:ident $file:literal)*) => {
        $(pub(super) static $name: LazyLock<Script> = LazyLock::new(|| {
            let code = include_str!(concat!("lua/", $file));
            Script { code, hash: ::redis::Script::new(code).get_hash().to_owned() }
        });)*
    };
}

scripts! {
    AFTER "after.lua"
    DISCARD "discard.lua"
    DROP "drop.lua"
    FILL "fill.lua"
    INDEXES "indexes.lua"
    OPEN "open.lua"
    READ "read.lua"
    RESOLVE "resolve.lua"
    SCAN "scan.lua"
    STAGE "stage.lua"
    TRIM "trim.lua"
    WRITE "write.lua"
}

/// A call of a script, with its keys and arguments.
pub(super) struct Call<'a> {
    script: &'static Script,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Cow<'a, [u8]>>,
}

impl<'a> Call<'a> {
    pub(super) fn new(script: &'static Script, keys: impl IntoIterator<Item = Vec<u8>>) -> Self {
        Self {
            script,
            keys: keys.into_iter().collect(),
            arguments: Vec::new(),
        }
    }

    /// Adds keys.
    pub(super) fn keys(&mut self, keys: impl IntoIterator<Item = Vec<u8>>) {
        self.keys.extend(keys);
    }

    /// Adds bytes as an argument.
    pub(super) fn arg(&mut self, bytes: impl Into<Cow<'a, [u8]>>) -> &mut Self {
        self.arguments.push(bytes.into());
        self
    }

    /// Adds a text.
    pub(super) fn text(&mut self, text: &'a str) -> &mut Self {
        self.arg(text.as_bytes())
    }

    /// Adds a number, in decimal.
    pub(super) fn number(&mut self, number: impl ToString) -> &mut Self {
        self.arg(number.to_string().into_bytes())
    }

    /// Adds a yes or no.
    pub(super) fn flag(&mut self, flag: bool) -> &mut Self {
        self.text(if flag { "1" } else { "0" })
    }

    /// Calls one that changes nothing.
    pub(super) async fn read(&self, link: &Link) -> holdall_core::Result<Value> {
        let answer = match link.read(&self.by_hash()).await {
            Err(Fault::NoScript) => link.read(&self.by_code()).await,
            other => other,
        };
        answer.map_err(Fault::of_read)
    }

    /// Calls one that changes something.
    pub(super) async fn write(&self, link: &Link, line: Line) -> Result<Value, Fault> {
        match link.write(line, &self.by_hash()).await {
            // It was not run. Told its code, Redis keeps that.
            Err(Fault::NoScript) => link.write(line, &self.by_code()).await,
            other => other,
        }
    }

    fn by_hash(&self) -> Cmd {
        self.command("EVALSHA", &self.script.hash)
    }

    fn by_code(&self) -> Cmd {
        self.command("EVAL", self.script.code)
    }

    fn command(&self, name: &str, script: &str) -> Cmd {
        let size = self.keys.iter().map(Vec::len).sum::<usize>()
            + self
                .arguments
                .iter()
                .map(|argument| argument.len())
                .sum::<usize>();
        let count = 3 + self.keys.len() + self.arguments.len();
        let mut command = Cmd::with_capacity(count, size + name.len() + script.len() + 8);
        command.arg(name).arg(script).arg(self.keys.len());
        for key in &self.keys {
            command.arg(key.as_slice());
        }
        for argument in &self.arguments {
            command.arg(argument.as_ref());
        }
        command
    }
}
