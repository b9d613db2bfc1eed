//! `test`: everything that can fail.

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;

use crate::services::{self, Missing};
use crate::shell::{Result, cargo, shell};
use crate::tools;

/// Runs the doctests, then all others, and sums them up at the end. Arguments
/// choose tests by parts of their names; doctests are left out then.
pub(crate) fn run(filters: &[String]) -> Result {
    install_strace();
    // Who asks for one test does not want to wait for servers to be built.
    services::up_for_tests(if filters.is_empty() {
        Missing::Install
    } else {
        Missing::Leave
    });
    let not_run = not_run_file();
    let _old = std::fs::remove_file(&not_run);
    let mut sound = true;
    let mut doctests = Count::default();
    if filters.is_empty() {
        sound &= cargo([
            "test",
            "--no-fail-fast",
            "--workspace",
            "--all-features",
            "--doc",
        ])
        .watch(|line| doctests.see_cargo(line))?;
    }

    let mut tests = Count::default();
    let has_nextest = cargo(["nextest", "--version"])
        .ask()
        .is_some_and(|(worked, _)| worked);
    let run = if has_nextest {
        cargo(["nextest", "run", "--no-fail-fast", "--no-tests", "pass"])
    } else {
        cargo(["test", "--no-fail-fast"])
    };
    sound &= run
        .args(["--workspace", "--all-features"])
        .args(["--lib", "--bins", "--tests", "--examples"])
        .args(filters)
        .env("HOLDALL_NOT_RUN", &not_run)
        .watch(|line| {
            if has_nextest {
                tests.see_nextest(line);
            } else {
                tests.see_cargo(line);
            }
        })?;

    // A binary says it again each time that its tests are listed.
    let notes = std::fs::read_to_string(&not_run).unwrap_or_default();
    for line in notes.lines().collect::<BTreeSet<_>>() {
        eprintln!("{line}");
    }
    let _tidied = std::fs::remove_file(&not_run);
    eprintln!("\ndoctests: {doctests}\ntests:    {tests}");
    if sound && doctests.failed == 0 && tests.failed == 0 {
        Ok(())
    } else {
        Err("not all tests passed; what failed stands above".into())
    }
}

/// Where tests say that their server is not there.
fn not_run_file() -> PathBuf {
    std::env::temp_dir().join(format!("holdall-not-run-{}", std::process::id()))
}

/// A test makes syncs fail with strace. Where it cannot be installed, that test
/// fails and says so.
fn install_strace() {
    let is_there = shell("strace").args(["--version"]).ask();
    if is_there.is_some_and(|(worked, _)| worked) {
        return;
    }
    if let Err(error) = tools::apt_install(&["strace"]) {
        eprintln!("strace is not here and could not be installed: {error}");
    }
}

#[derive(Default)]
struct Count {
    passed: u64,
    failed: u64,
    skipped: u64,
}

impl Count {
    /// `test result: ok. 3 passed; 0 failed; 1 ignored; …`
    fn see_cargo(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else {
            return;
        };
        self.passed += before(counts, "passed");
        self.failed += before(counts, "failed");
        self.skipped += before(counts, "ignored");
    }

    /// `Summary [ 0.1s] 9 tests run: 8 passed (1 slow), 1 failed, 2 skipped`
    fn see_nextest(&mut self, line: &str) {
        let Some((_, counts)) = line
            .split_once("Summary [")
            .and_then(|(_, rest)| rest.split_once("run:"))
        else {
            return;
        };
        self.passed += before(counts, "passed");
        self.failed +=
            before(counts, "failed") + before(counts, "timed out") + before(counts, "exec failed");
        self.skipped += before(counts, "skipped");
    }
}

/// The number that stands before a word.
fn before(text: &str, word: &str) -> u64 {
    let number = text
        .split([',', ';', '.', '('])
        .find_map(|part| part.trim().strip_suffix(word)?.trim().parse().ok());
    number.unwrap_or(0)
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_summaries_of_both_runners_are_understood() {
        let mut count = Count::default();
        count.see_cargo(
            "test result: FAILED. 3 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out",
        );
        count.see_nextest(
            "     Summary [   0.123s] 9 tests run: 7 passed (1 slow), 2 failed, 1 skipped",
        );
        count.see_nextest("     Summary [   0.123s] 1 test run: 1 passed, 0 skipped");
        count.see_cargo("running 5 tests");
        assert_eq!((count.passed, count.failed, count.skipped), (11, 3, 3));
    }
}
