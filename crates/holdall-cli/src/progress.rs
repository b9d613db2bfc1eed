//! Progress on stderr, where that is a terminal.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// A bar over the bytes of a file, a count where the length is not known, or a
/// sign of life.
pub(crate) struct Progress(ProgressBar);

impl Progress {
    /// Of a file, as far as its length is known.
    pub(crate) fn of_bytes(bytes: Option<u64>) -> Self {
        let template = if bytes.is_some() {
            "{bar:30} {percent:>3} %  {msg}  {bytes_per_sec}  {eta} left"
        } else {
            "{spinner} {bytes}  {msg}  {bytes_per_sec}"
        };
        Self::new(bytes, template)
    }

    /// Of steps that are only named.
    pub(crate) fn of_steps() -> Self {
        Self::new(None, "{spinner} {pos} done  {msg}")
    }

    fn new(length: Option<u64>, template: &str) -> Self {
        let target = if std::io::stderr().is_terminal() {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(length, target);
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    pub(crate) fn at(&self, position: u64, message: String) {
        self.0.set_position(position);
        self.0.set_message(message);
    }

    /// One step more is done.
    pub(crate) fn step(&self, message: String) {
        self.0.inc(1);
        self.0.set_message(message);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
