//! The conformance suite on a store that is opened by its URL: the one that
//! `HOLDALL_TEST` names, else a new SQLite file, else memory.
//!
//! `HOLDALL_SEED`, `HOLDALL_STEPS` and `HOLDALL_TIMEOUT` change how it is run.

use std::process::ExitCode;

use holdall::conformance::{Options, Target, cases, main_with};
use holdall::{Env, Registry, Settings, Store, open};

#[allow(
    clippy::disallowed_methods,
    reason = "a test program has its settings from the environment"
)]
fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let options = Options::from_settings(setting)?;
    // Gone with what is in it when the tests are done.
    let folder = tempfile::tempdir()?;
    let url = setting("HOLDALL_TEST").unwrap_or_else(|| {
        if cfg!(feature = "sqlite") {
            format!("sqlite:{}/holdall.db", folder.path().display())
        } else {
            "memory:".to_owned()
        }
    });
    let scheme = Settings::parse(&url)?.scheme().to_owned();
    let mut target = Target::new(
        url,
        |url| async move { Ok(open(&url).await?.backend().clone()) },
    );
    match scheme.as_str() {
        "memory" => target = target.with_env(|env| opened("memory:".to_owned(), env)),
        "sqlite" => {
            let folder = folder.path().to_owned();
            let fresh = move |env: Env| {
                let url = format!("sqlite:{}/{}.db", folder.display(), Env::system().version());
                opened(url, env)
            };
            target = target.reopens().with_env(fresh);
        }
        // A server keeps what it was given; nobody sets its clock.
        _ => target = target.reopens(),
    }
    Ok(main_with(target, cases(), options))
}

async fn opened(url: String, env: Env) -> holdall::Result<holdall::DynBackend> {
    let store = Store::open_with(Registry::global(), Settings::parse(&url)?, env).await?;
    Ok(store.backend().clone())
}
