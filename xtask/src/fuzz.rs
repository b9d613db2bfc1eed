//! `fuzz`: random input against what reads input.

use crate::shell::{Result, root, shell};
use crate::tools;

/// Fuzzes one target for some seconds, starting from its corpus.
pub(crate) fn run(arguments: &[String]) -> Result {
    let targets = targets()?;
    let Some((target, rest)) = arguments.split_first() else {
        println!(
            "cargo xtask fuzz TARGET [SECONDS]\n\ntargets: {}",
            targets.join(", ")
        );
        return Ok(());
    };
    if !targets.contains(target) {
        return Err(format!(
            "there is no target {target:?}; there are {}",
            targets.join(", ")
        ));
    }
    let seconds = rest.first().map_or("60", String::as_str);
    if seconds.parse::<u64>().is_err() {
        return Err(format!("{seconds:?} is not a number of seconds"));
    }
    let has_nightly = shell("rustup")
        .args(["run", "nightly", "rustc", "--version"])
        .ask()
        .is_some_and(|(worked, _)| worked);
    if !has_nightly {
        return Err(
            "the fuzzer needs sanitizers, which only a nightly Rust has: `rustup toolchain install nightly`. \
             The corpus is replayed on stable too, by `cargo xtask test`"
                .into(),
        );
    }
    let cargo_fuzz = tools::FUZZ.path()?;
    shell("rustup")
        .args(["run", "nightly"])
        .args([cargo_fuzz])
        .args(["run", target, "--"])
        .args([
            format!("-max_total_time={seconds}"),
            "-timeout=10".into(),
            "-max_len=4096".into(),
        ])
        .env("RUSTUP_TOOLCHAIN", "nightly")
        // The cargo that started this is another one.
        .without("CARGO")
        .within(root().join("fuzz"))
        .run()
}

fn targets() -> Result<Vec<String>> {
    let folder = root().join("fuzz/fuzz_targets");
    let entries = std::fs::read_dir(&folder)
        .map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut targets: Vec<_> = entries
        .flatten()
        .filter_map(|entry| Some(entry.path().file_stem()?.to_string_lossy().into_owned()))
        .collect();
    targets.sort();
    Ok(targets)
}
