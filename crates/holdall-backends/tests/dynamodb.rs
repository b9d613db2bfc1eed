//! The conformance suite on a server that speaks as DynamoDB does.

use std::process::ExitCode;

use holdall_backends::dynamodb::{DynamoDbBackend, DynamoDbOptions};
use holdall_core::conformance::{Options, Target, cases, main_with};
use holdall_core::{DynBackend, Env, Result};
use holdall_testing::services::need;

#[allow(
    clippy::disallowed_methods,
    reason = "a test binary has no other settings"
)]
fn main() -> ExitCode {
    let Some(endpoint) = need("dynamodb") else {
        return ExitCode::SUCCESS;
    };
    let open = move |prefix: String, env: Env| {
        let options = DynamoDbOptions {
            endpoint: Some(endpoint.clone()),
            access_key_id: Some("test".to_owned()),
            secret_access_key: Some("test".to_owned()),
            prefix,
            create_table: true,
            env,
            ..DynamoDbOptions::new("conformance")
        };
        async {
            Ok::<DynBackend, holdall_core::Error>(DynamoDbBackend::open(options).await?.into())
        }
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
