//! `lint`: what a reviewer should not have to say.

use crate::shell::{Result, cargo, root, shell};
use crate::{docs, tools};

type Check = (&'static str, fn() -> Result);

const CHECKS: &[Check] = &[
    ("rustfmt", format),
    ("clippy", clippy),
    ("dependencies", dependencies),
    ("advisories", advisories),
    ("docs", documentation),
];

/// Runs every check, and then says which failed.
pub(crate) fn run(_: &[String]) -> Result {
    let mut failed = Vec::new();
    for (name, check) in CHECKS {
        if let Err(why) = check() {
            eprintln!("{name}: {why}");
            failed.push(*name);
        }
    }
    if failed.is_empty() {
        eprintln!("\nlint: all clean");
        Ok(())
    } else {
        Err(format!("lint found something: {}", failed.join(", ")))
    }
}

/// Packages that stand outside of the workspace are held to its style, too.
fn format() -> Result {
    [".", "fuzz", "bench/peers"].iter().try_for_each(|folder| {
        cargo(["fmt", "--all", "--check"])
            .within(root().join(folder))
            .run()
    })
}

fn clippy() -> Result {
    cargo(["clippy", "--workspace", "--all-targets", "--all-features"])
        .args(["--", "-D", "warnings"])
        .run()
}

fn documentation() -> Result {
    docs::run(&[])
}

/// Which crates stand in the tree, under which licences, from where.
fn dependencies() -> Result {
    shell(tools::DENY.path()?)
        .args(["--all-features", "check", "bans", "licenses", "sources"])
        .run()
}

/// Known faults of crates. The list of them lives on the network, so a machine
/// that cannot reach it says so and goes on.
fn advisories() -> Result {
    let mut unreachable = false;
    let sound = shell(tools::DENY.path()?)
        .args(["--all-features", "check", "advisories"])
        .watch(|line| unreachable |= line.contains("failed to fetch advisory database"))?;
    match (sound, unreachable) {
        (true, _) => Ok(()),
        (false, true) => {
            eprintln!("advisories: NOT CHECKED, as the database cannot be reached from here");
            Ok(())
        }
        (false, false) => Err("cargo-deny found an advisory; it stands above".into()),
    }
}
