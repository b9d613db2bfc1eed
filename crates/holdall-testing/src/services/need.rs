//! What a test does that needs a server.

use std::fs::File;
use std::io::Write;

use super::{Options, Private, Result, Server, urls};

/// The URL of a shared server that serves, such as `postgres` or `redis-tls`. If
/// it does not, says so and answers `None`; under CI, where `CI` is set, that is
/// a failure.
///
/// # Panics
/// Under CI, if it does not serve.
pub fn need(name: &str) -> Option<String> {
    noted(name, serving(name))
}

fn serving(name: &str) -> Result<String> {
    let Some((_, url)) = urls()?.into_iter().find(|(is, _)| is == name) else {
        return Err(format!(
            "no server was started; `cargo xtask services up {name}` does it"
        ));
    };
    for server in super::names().filter_map(|name| Server::shared(name).ok()) {
        // A URL that is none of ours is of a server of the user's own.
        if server.urls().contains(&(name, url.clone())) {
            let name = server.name();
            server
                .health()
                .map_err(|why| format!("{why}; `cargo xtask services up {name}` starts it"))?;
        }
    }
    Ok(url)
}

/// What a shared server is, with its version, for reports; its name if that is not
/// known.
pub fn version(name: &str) -> String {
    Server::shared(name)
        .and_then(|server| server.version())
        .unwrap_or_else(|_| name.to_owned())
}

/// A private server of a kind, started. If its programs are not installed, says
/// so and answers `None`; under CI that is a failure.
///
/// # Panics
/// If it is installed and does not start; under CI, if it is not installed.
pub fn private(name: &str) -> Option<Private> {
    private_with(name, |options| options)
}

/// The same with options.
///
/// # Panics
/// As [`private`].
pub fn private_with(name: &str, set: impl FnOnce(Options) -> Options) -> Option<Private> {
    let installed = Server::shared(name).and_then(|server| {
        if server.is_installed() {
            Ok(())
        } else {
            Err(format!(
                "{} is not installed; `cargo xtask services up {name}` does it",
                server.product()
            ))
        }
    });
    noted(name, installed)?;
    match Private::of(name).and_then(|options| set(options).start()) {
        Ok(private) => Some(private),
        Err(why) => fail(&why),
    }
}

/// What is there, or a note that a test did not run.
fn noted<T>(name: &str, found: Result<T>) -> Option<T> {
    match found {
        Ok(found) => Some(found),
        Err(why) => {
            not_run(name, &why);
            if std::env::var_os("CI").is_some_and(|value| !value.is_empty()) {
                fail(&format!("needs {name}: {why}"));
            }
            None
        }
    }
}

/// Notes that a test did not run, as it needs what is not here.
pub fn not_run(name: &str, why: &str) {
    let program = std::env::current_exe().unwrap_or_default();
    let program = program.file_stem().unwrap_or_default().to_string_lossy();
    // The test's name, where the harness gave its thread one. Cargo adds a dash
    // and a number to the program's.
    let program = program.rsplit_once('-').map_or(&*program, |(name, _)| name);
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("main");
    let line = format!("not run: {program} {test}: needs {name}: {why}");
    eprintln!("{line}");
    if let Some(path) = std::env::var_os("HOLDALL_NOT_RUN") {
        // `cargo xtask test` lists them all at its end.
        let file = File::options().create(true).append(true).open(path);
        let _told = file.and_then(|mut file| writeln!(file, "{line}"));
    }
}

#[allow(clippy::panic, reason = "a test fails so")]
fn fail(why: &str) -> ! {
    panic!("{why}")
}
