//! `msrv`: a declared Rust version that nobody builds with is a guess.

use crate::shell::{Result, read, shell};

/// Checks that `rust-version` is the Rust that runs this, or builds with it
/// where rustup can bring it.
pub(crate) fn run(_: &[String]) -> Result {
    let declared = value_of(&read("Cargo.toml")?, "rust-version")?;
    let clippy = value_of(&read("clippy.toml")?, "msrv")?;
    if declared != clippy {
        return Err(format!(
            "Cargo.toml says rust-version {declared}, and clippy.toml msrv {clippy}; make them one"
        ));
    }
    let (_, version) = shell("rustc")
        .args(["--version"])
        .ask()
        .ok_or("there is no rustc; install Rust from https://rustup.rs")?;
    let running = version.split_whitespace().nth(1).unwrap_or_default();
    if running == declared || running.starts_with(&format!("{declared}.")) {
        eprintln!("msrv: this is Rust {running}, the declared version");
        return Ok(());
    }
    eprintln!("msrv: this is Rust {running}, so {declared} builds the workspace too");
    let has_declared = shell("rustup")
        .args(["toolchain", "install", &declared, "--profile", "minimal"])
        .ask()
        .is_some_and(|(worked, _)| worked);
    if !has_declared {
        eprintln!("msrv: NOT CHECKED, as rustup cannot bring Rust {declared}");
        return Ok(());
    }
    shell("rustup")
        .args([
            "run",
            &declared,
            "cargo",
            "check",
            "--workspace",
            "--all-features",
        ])
        // A cargo that started this would else decide for its own toolchain.
        .env("RUSTUP_TOOLCHAIN", &declared)
        .run()
}

fn value_of(toml: &str, name: &str) -> Result<String> {
    toml.lines()
        .find_map(|line| line.strip_prefix(name)?.trim().strip_prefix('='))
        .map(|value| value.trim().trim_matches('"').to_owned())
        .ok_or_else(|| format!("there is no {name} to be found"))
}
