//! `bench`: how fast a store is, for information.

use holdall::Error;
use holdall::conformance::{Options, run_cases};
use serde_json::json;

use super::conformance::target;
use crate::args::Bench;
use crate::exit::Failure;
use crate::output::Output;
use crate::table::Table;

/// Runs the part of the suite that measures, and no case.
pub(crate) async fn run(output: &mut Output, wanted: Bench) -> Result<(), Failure> {
    let options = Options {
        speed: true,
        ..Options::default()
    };
    let report = run_cases(target(&wanted.url)?, Vec::new(), options).await?;
    if report.speed.is_empty() {
        return Err(Error::other(
            "the store could not be measured; `holdall conformance` tells what is wrong with it",
        )
        .into());
    }
    let mut table = Table::new(&["WHAT", "A SECOND"]);
    for speed in &report.speed {
        let rate = speed.per_second().round();
        if output.tables() {
            table.row(output, [speed.what.to_owned(), rate.to_string()])?;
        } else {
            output.json(&json!({
                "what": speed.what,
                "per_second": rate,
                "times": speed.times,
                "ms": u64::try_from(speed.took.as_millis()).unwrap_or(u64::MAX),
            }))?;
        }
    }
    table.end(output)
}
