//! The conformance suite through `http:`, over a server on memory.

mod serving;

use std::process::ExitCode;

use holdall_core::MemoryBackend;

fn main() -> ExitCode {
    serving::conformance("memory", |env| async {
        Ok(MemoryBackend::with_env(env).into())
    })
}
