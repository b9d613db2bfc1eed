//! The conformance suite on Redis.

#![allow(clippy::unwrap_used, reason = "a test without a harness")]

use std::process::ExitCode;

use holdall_backends::redis::{RedisBackend, RedisOptions};
use holdall_core::conformance::{Options, Target, cases, main_with};
use holdall_core::{Env, Result};

async fn open(prefix: String, env: Env) -> Result<holdall_core::DynBackend> {
    let options = RedisOptions {
        prefix,
        env,
        replicas: std::env::var("REDIS_REPLICAS").map_or(0, |n| n.parse().unwrap()),
        ..RedisOptions::new(server())
    };
    Ok(RedisBackend::open(options).await?.into())
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
fn server() -> String {
    std::env::var("REDIS_URL").unwrap()
}

#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
fn main() -> ExitCode {
    let run = Env::system().version().to_string();
    let target = Target::new(run, |prefix| open(prefix, Env::system()))
        .reopens()
        .with_env(|env| open(Env::system().version().to_string(), env));
    match Options::from_settings(|name| std::env::var(name).ok()) {
        Ok(options) => main_with(target, cases(), options),
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
