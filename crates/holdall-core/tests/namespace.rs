//! The conformance suite on the namespace layer, over memory.

use std::process::ExitCode;

use holdall_core::conformance::{Options, Target, cases, main_with};
use holdall_core::layers::Namespace;
use holdall_core::{DynBackend, MemoryBackend, Result};

#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
fn main() -> ExitCode {
    let target = Target::new("namespace over memory:", |_| async {
        wrap(MemoryBackend::new())
    })
    .with_env(|env| async { wrap(MemoryBackend::with_env(env)) });
    match Options::from_settings(|name| std::env::var(name).ok()) {
        Ok(options) => main_with(target, cases(), options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn wrap(inner: MemoryBackend) -> Result<DynBackend> {
    Ok(Namespace::new(inner.into(), "tenant")?.into())
}
