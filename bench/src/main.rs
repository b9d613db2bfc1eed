//! Holdall beside what one would use else: `cargo xtask bench` runs it.
//!
//! Every number is a ratio of two that were measured in one run, round by
//! round in turns. README.md says what each scenario compares.

mod child;
mod data;
mod load;
mod memory;
mod options;
mod peers;
mod place;
mod raw;
mod report;
mod rounds;
mod scenarios;
mod served;
mod size;

use std::process::ExitCode;

use options::{Asked, Options};
use report::Report;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

type Result<T, E = Box<dyn std::error::Error + Send + Sync>> = std::result::Result<T, E>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match run(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &[String]) -> Result<()> {
    if let Some(("child", rest)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return child::run(rest);
    }
    let options = match Options::read(arguments)? {
        Asked::Help => {
            print!("{}", options::HELP);
            for scenario in scenarios::ALL {
                println!("  {:<8} {}", scenario.name, scenario.what);
            }
            return Ok(());
        }
        Asked::Run(options) => options,
    };
    let mut report = Report::new(&options);
    for scenario in scenarios::ALL {
        if options.wants(scenario.name) {
            report.heading(scenario.name, scenario.what);
            // One that cannot run says why, and the others run all the same.
            if let Err(error) = (scenario.run)(&options, &mut report) {
                report.not_measured(scenario.name, &error.to_string());
            }
        }
    }
    report.summary();
    Ok(())
}
