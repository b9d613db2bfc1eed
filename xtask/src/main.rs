//! The one door to every task of this repository: `cargo xtask` lists them.
//!
//! People and CI call the same ones. It is plain std, so that the door opens
//! in seconds on a machine that has nothing but Rust.

#![allow(
    clippy::disallowed_methods,
    reason = "the rule is for the library; a task runner reads its environment"
)]

mod api_fuzz;
mod backends_table;
mod docs;
mod fuzz;
mod lint;
mod msrv;
mod services;
mod shell;
mod test;
mod tools;

use std::process::ExitCode;

use shell::{Result, cargo};

struct Task {
    name: &'static str,
    arguments: &'static str,
    what: &'static str,
    run: fn(&[String]) -> Result,
}

const TASKS: &[Task] = &[
    Task {
        name: "test",
        arguments: "[FILTER]…",
        what: "runs all tests: doctests, then the rest by nextest, or by cargo where that is missing",
        run: test::run,
    },
    Task {
        name: "services",
        arguments: "up|down|restart|status [NAME]…",
        what: "installs, starts and ends the servers that tests need, and lists their URLs",
        run: services::run,
    },
    Task {
        name: "lint",
        arguments: "",
        what: "rustfmt, clippy, cargo-deny, rustdoc, and the links of the pages, without a warning",
        run: lint::run,
    },
    Task {
        name: "docs",
        arguments: "",
        what: "builds the API documentation and follows the links of every page",
        run: docs::run,
    },
    Task {
        name: "bench",
        arguments: "[ARGUMENT]…",
        what: "runs the benchmarks against peers, in release",
        run: bench,
    },
    Task {
        name: "fuzz",
        arguments: "[TARGET] [SECONDS]",
        what: "fuzzes a target, a minute by default; without a target lists them",
        run: fuzz::run,
    },
    Task {
        name: "api-fuzz",
        arguments: "[SECONDS] [SEED]",
        what: "asks a server what its OpenAPI document says, and much that it does not",
        run: api_fuzz::run,
    },
    Task {
        name: "backends-table",
        arguments: "",
        what: "runs the conformance suite on every backend, and writes docs/backends.md",
        run: backends_table::run,
    },
    Task {
        name: "msrv",
        arguments: "",
        what: "checks that the declared Rust version is one that really builds this",
        run: msrv::run,
    },
];

fn bench(arguments: &[String]) -> Result {
    let bench = cargo(["run", "--release", "--package", "bench", "--"]).args(arguments);
    let is_all = arguments.first().is_none_or(|first| first.starts_with('-'));
    if !is_all && !arguments.iter().any(|scenario| scenario == "server") {
        return bench.run();
    }
    // Without it, that scenario is not measured, and the others are.
    let path = std::env::var_os("PATH").unwrap_or_default();
    match tools::OHA.path() {
        Ok(oha) => {
            let folders = oha.parent().map(std::path::Path::to_owned).into_iter();
            let all = std::env::join_paths(folders.chain(std::env::split_paths(&path)));
            bench.env("PATH", all.unwrap_or(path)).run()
        }
        Err(why) => {
            eprintln!("{why}");
            bench.run()
        }
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (name, rest) = match arguments.split_first() {
        Some((name, rest)) => (name.as_str(), rest),
        None => ("help", [].as_slice()),
    };
    if matches!(name, "help" | "--help" | "-h") {
        list();
        return ExitCode::SUCCESS;
    }
    let Some(task) = TASKS.iter().find(|task| task.name == name) else {
        eprintln!("error: there is no task {name:?}\n");
        list();
        return ExitCode::from(2);
    };
    match (task.run)(rest) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("error: {why}");
            ExitCode::FAILURE
        }
    }
}

fn list() {
    println!("cargo xtask TASK\n");
    for task in TASKS {
        println!(
            "  {:<39} {}",
            format!("{} {}", task.name, task.arguments),
            task.what
        );
    }
}
