//! `conformance`: whether a store keeps its promises.

use std::process::ExitCode;
use std::sync::Arc;

use holdall::conformance::{CaseResult, Options, Report, Status, Target};
use holdall::{Settings, Store};
use serde_json::json;

use crate::args::Conformance;
use crate::environment;
use crate::exit::{Failure, say};
use crate::output::Output;
use crate::progress::Progress;
use crate::store::with_token;
use crate::table::Table;

pub(crate) async fn run(output: &mut Output, wanted: Conformance) -> Result<(), Failure> {
    let mut options = Options::from_settings(environment::variable)?;
    options.seed = wanted.seed.or(options.seed);
    options.filter = wanted.only;
    // This very program: see `serve`.
    options.worker = std::env::current_exe()
        .ok()
        .map(|program| (program, Vec::new()));
    let progress = Arc::new(Progress::of_steps());
    let bar = progress.clone();
    options.on_result = Some(Arc::new(move |result: &CaseResult| {
        bar.step(result.name.to_owned());
    }));
    let report = holdall::conformance::run(target(&wanted.url)?, options).await?;
    drop(progress);
    show(output, &report)?;
    if report.failed() > 0 {
        output.flush()?;
        say(
            "error",
            &format!(
                "{} promises are broken; repeat it with --seed {}",
                report.failed(),
                report.seed
            ),
        );
        return Err(Failure::Told);
    }
    Ok(())
}

/// Serves as another process of the suite if the arguments say so: then the
/// program has to end with this code.
pub(crate) fn serve() -> Option<ExitCode> {
    let target = Target::new("", opened);
    holdall::conformance::serve(std::env::args().skip(1), &target)
}

async fn opened(url: String) -> holdall::Result<holdall::DynBackend> {
    let settings = with_token(Settings::parse(&url)?)?;
    Ok(Store::open(settings).await?.backend().clone())
}

/// A store by its URL; what is in memory is gone when it is closed.
pub(crate) fn target(url: &str) -> Result<Target, Failure> {
    let settings = Settings::parse(url)?;
    let target = Target::new(url, opened);
    Ok(if settings.scheme() == "memory" {
        target
    } else {
        target.reopens()
    })
}

fn show(output: &mut Output, report: &Report) -> Result<(), Failure> {
    let mut table = Table::new(&["RESULT", "CASE", "MS", ""]);
    for result in &report.results {
        let (status, why) = match &result.status {
            Status::Passed => ("ok", None),
            Status::Failed(why) => ("FAILED", Some(why.clone())),
            Status::NotClaimed(why) => ("-", Some(format!("not claimed: {why}"))),
        };
        let millis = result.duration.as_millis();
        if output.tables() {
            let cells = [
                status.to_owned(),
                result.name.to_owned(),
                millis.to_string(),
                why.unwrap_or_default(),
            ];
            table.row(output, cells)?;
        } else {
            output.json(&json!({
                "case": result.name,
                "promise": result.promise,
                "result": match result.status {
                    Status::Passed => "passed",
                    Status::Failed(_) => "failed",
                    Status::NotClaimed(_) => "not_claimed",
                },
                "why": why,
                "ms": u64::try_from(millis).unwrap_or(u64::MAX),
            }))?;
        }
    }
    table.end(output)?;
    if output.tables() {
        output.line(&format!(
            "\n{} passed, {} failed, {} not claimed; seed {}",
            report.passed(),
            report.failed(),
            report.not_claimed(),
            report.seed
        ))?;
    }
    Ok(())
}
