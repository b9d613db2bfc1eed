//! The conformance suite on the memory backend.

use std::process::ExitCode;

use holdall_core::MemoryBackend;
use holdall_core::conformance::{Options, Target, cases, main_with};

#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
fn main() -> ExitCode {
    let target = Target::new("memory:", |_| async { Ok(MemoryBackend::new().into()) })
        .with_env(|env| async { Ok(MemoryBackend::with_env(env).into()) });
    match Options::from_settings(|name| std::env::var(name).ok()) {
        Ok(options) => main_with(target, cases(), options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
