//! The log of the server: lines on stderr.

use std::io::IsTerminal;

use tracing_subscriber::filter::Targets;
use tracing_subscriber::prelude::*;

use crate::exit::Failure;

/// Writes what is at least of this level: `warn`, or `info,hyper=debug` for
/// parts of their own.
pub(super) fn start(levels: &str, json: bool) -> Result<(), Failure> {
    let targets = levels.parse::<Targets>().map_err(|_| {
        Failure::usage(format!(
            "{levels:?} is no level of a log; write off, error, warn, info, debug or trace, \
             or levels of parts like info,hyper=debug"
        ))
    })?;
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
