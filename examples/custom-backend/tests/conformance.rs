//! The conformance suite on a backend of one's own.

use std::process::ExitCode;

use holdall::conformance::{Target, main_for_tests};
use holdall::{DynBackend, Env};

fn main() -> ExitCode {
    let toy = |env| -> DynBackend { std::sync::Arc::new(custom_backend::Toy::new(env)) };
    let target = Target::new("toy:", move |_| async move { Ok(toy(Env::system())) })
        .with_env(move |env| async move { Ok(toy(env)) });
    main_for_tests(target)
}
