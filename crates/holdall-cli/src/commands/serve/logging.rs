//! The log of the server: lines on stderr.

use std::io::IsTerminal;

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;

use crate::exit::Failure;

/// Writes what is at least of this level: `warn`, or `info,hyper=debug` for
/// parts of their own.
pub(super) fn start(levels: &str, json: bool) -> Result<(), Failure> {
    // `Targets` takes a word that is no level for a part, and logs all of it.
    let plain = |part: &str| part.contains('=') || part.parse::<LevelFilter>().is_ok();
    let targets = levels
        .split(',')
        .all(plain)
        .then(|| levels.parse::<Targets>());
    let Some(Ok(targets)) = targets else {
        return Err(Failure::usage(format!(
            "{levels:?} is no level of a log; write off, error, warn, info, debug or trace, \
             or levels of parts like info,hyper=debug"
        )));
    };
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let registry = tracing_subscriber::registry();
    let started = if json {
        registry
            .with(layer.json().flatten_event(true).with_filter(targets))
            .try_init()
    } else {
        let ansi = std::io::stderr().is_terminal();
        registry
            .with(layer.with_ansi(ansi).with_filter(targets))
            .try_init()
    };
    started.map_err(|error| Failure::other("the log cannot be started", error))
}
