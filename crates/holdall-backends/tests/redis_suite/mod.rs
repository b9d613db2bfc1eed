//! Joins the conformance suite with a store in Redis.

use std::process::ExitCode;

use holdall_backends::redis::{RedisBackend, RedisOptions};
use holdall_core::conformance::{Options, Target, cases, main_with};
use holdall_core::{DynBackend, Env, Result};
use holdall_testing::services::need;

/// Runs it on a server of this name. Each run has a prefix of its own there.
#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
pub(crate) fn conformance(server: &str, replicas: u32) -> ExitCode {
    let Some(url) = need(server) else {
        return ExitCode::SUCCESS;
    };
    let open = move |prefix: String, env: Env| {
        let options = RedisOptions {
            prefix,
            replicas,
            env,
            ..RedisOptions::new(&url)
        };
        async { Ok::<DynBackend, holdall_core::Error>(RedisBackend::open(options).await?.into()) }
    };
    let (run, again) = (Env::system().version().to_string(), open.clone());
    let target = Target::new(run, move |prefix| open(prefix, Env::system()))
        .reopens()
        .with_env(move |env| again(Env::system().version().to_string(), env));
    let options: Result<Options> = Options::from_settings(|name| std::env::var(name).ok());
    match options {
        Ok(options) => main_with(target, cases(), options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
