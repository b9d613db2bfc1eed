//! Runs cases and reports.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};

use super::report::{CaseResult, Report, Status};
use super::{Case, Context, Target, cases};
use crate::{DynBackend, Env, Error, Result};

/// Is told of each result.
pub type OnResult = Arc<dyn Fn(&CaseResult) + Send + Sync>;

/// How to run the suite.
#[derive(Clone)]
pub struct Options {
    /// Everything random comes from it; chosen at random if `None`. The
    /// report names it.
    pub seed: Option<u64>,
    /// How many random steps the differential cases make.
    pub steps: usize,
    /// How many cases run at one time.
    pub parallel: usize,
    /// How long a case may take.
    pub timeout: Duration,
    /// How long a watcher waits for a change that is due.
    pub patience: Duration,
    /// Only cases whose name holds this.
    pub filter: Option<String>,
    /// The program, and the arguments before the suite's own, that starts as a
    /// worker: its `main` calls [`serve`](super::serve). Cases of several
    /// processes are not run without it.
    pub worker: Option<(std::path::PathBuf, Vec<String>)>,
    /// A file to write [`Report::lines`] to; speed is measured for it too.
    pub report: Option<std::path::PathBuf>,
    /// Whether to measure speed when the cases are done.
    pub speed: bool,
    /// Called with each result as it comes, for a progress bar.
    pub on_result: Option<OnResult>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: None,
            steps: 3000,
            parallel: 4,
            timeout: Duration::from_secs(120),
            patience: Duration::from_secs(20),
            filter: None,
            worker: None,
            report: None,
            speed: false,
            on_result: None,
        }
    }
}

impl Options {
    /// Defaults, changed by the settings `HOLDALL_SEED`, `HOLDALL_STEPS`,
    /// `HOLDALL_TIMEOUT` (in seconds) and `HOLDALL_REPORT` (a file), wherever the
    /// caller has them from.
    ///
    /// # Errors
    /// `Invalid` if one is no number.
    pub fn from_settings(setting: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let number = |name: &str| -> Result<Option<u64>> {
            let Some(text) = setting(name) else {
                return Ok(None);
            };
            text.parse()
                .map(Some)
                .map_err(|_| Error::invalid(format!("{name} is {text:?}; it takes a number")))
        };
        let mut options = Self {
            seed: number("HOLDALL_SEED")?,
            report: setting("HOLDALL_REPORT").map(Into::into),
            ..Self::default()
        };
        if let Some(steps) = number("HOLDALL_STEPS")? {
            options.steps = usize::try_from(steps).unwrap_or(usize::MAX);
        }
        if let Some(seconds) = number("HOLDALL_TIMEOUT")? {
            options.timeout = Duration::from_secs(seconds);
        }
        Ok(options)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options")
            .field("seed", &self.seed)
            .field("steps", &self.steps)
            .finish_non_exhaustive()
    }
}

/// Runs the whole suite. Wants a tokio runtime with its timer enabled; races
/// are sharper on one of several threads.
///
/// # Errors
/// Those of opening the store, and of writing the file of the report. What fails
/// else stands in the report.
pub async fn run(target: Target, options: Options) -> Result<Report> {
    run_cases(target, cases(), options).await
}

/// Runs some cases.
///
/// # Errors
/// As [`run`].
pub async fn run_cases(target: Target, cases: Vec<Case>, options: Options) -> Result<Report> {
    let session = Session::open(target, options).await?;
    let parallel = session.options.parallel.max(1);
    let chosen = cases.into_iter().enumerate().filter(|(_, case)| {
        let filter = session.options.filter.as_deref();
        filter.is_none_or(|part| case.name().contains(part))
    });
    let mut results: Vec<(usize, CaseResult)> = stream::iter(chosen)
        .map(|(at, case)| {
            let session = session.clone();
            async move {
                let result = session.run(&case).await;
                if let Some(on_result) = &session.options.on_result {
                    on_result(&result);
                }
                (at, result)
            }
        })
        .buffer_unordered(parallel)
        .collect()
        .await;
    results.sort_by_key(|(at, _)| *at);
    let mut speed = Vec::new();
    if session.options.speed || session.options.report.is_some() {
        let context = session.context("speed");
        // What a failure here would say, the cases have said.
        speed = super::speed::measure(&context).await.unwrap_or_default();
        context.clean().await;
    }
    let capabilities = session.store.capabilities();
    // Whether closing works is a case of its own; here it leaves no files.
    let _closed = session.store.close().await;
    let report = Report {
        speed,
        target: session.target.describe().to_owned(),
        stands_on: session.target.below().to_owned(),
        capabilities,
        seed: session.seed,
        results: results.into_iter().map(|(_, result)| result).collect(),
    };
    if let Some(path) = &session.options.report {
        std::fs::write(path, report.lines()).map_err(|error| {
            Error::other(format!(
                "the report cannot be written to {}",
                path.display()
            ))
            .because(error)
        })?;
    }
    Ok(report)
}

/// An open store on which cases run.
#[derive(Clone)]
pub(super) struct Session {
    target: Target,
    store: DynBackend,
    options: Options,
    seed: u64,
}

impl Session {
    pub(super) async fn open(target: Target, options: Options) -> Result<Self> {
        let store = target.open().await?;
        let seed = options
            .seed
            .unwrap_or_else(|| Env::system().below(u64::MAX));
        Ok(Self {
            target,
            store,
            options,
            seed,
        })
    }

    /// Runs one case, to its end whatever happens in it.
    pub(super) async fn run(&self, case: &Case) -> CaseResult {
        let started = Instant::now();
        let status = self.status(case).await;
        CaseResult {
            name: case.name(),
            promise: case.promise(),
            status,
            duration: started.elapsed(),
        }
    }

    fn context(&self, case: &'static str) -> Context {
        Context::new(
            case,
            &self.target,
            self.store.clone(),
            &self.options,
            self.seed,
        )
    }

    async fn status(&self, case: &Case) -> Status {
        let can = self.store.capabilities();
        let (reopens, clock) = (self.target.keeps(), self.target.takes_env());
        let worker = self.options.worker.is_some();
        let lacking = case
            .needed()
            .iter()
            .find_map(|need| need.lacking(&can, reopens, clock, worker));
        if let Some(why) = lacking {
            return Status::NotClaimed(why);
        }
        let context = self.context(case.name());
        // A task of its own, so that a panic is a result and not the end.
        let mut task = tokio::spawn(case.start(context.clone()));
        let ended = tokio::time::timeout(self.options.timeout, &mut task).await;
        let status = match ended {
            Ok(Ok(Ok(()))) => Status::Passed,
            Ok(Ok(Err(failure))) => Status::Failed(failure.to_string()),
            Ok(Err(error)) => Status::Failed(format!("the case did not end: {error}")),
            Err(_) => {
                task.abort();
                Status::Failed(format!(
                    "the case did not end within {:?}; something waits for ever, or the store is \
                     very slow",
                    self.options.timeout
                ))
            }
        };
        let _ = tokio::time::timeout(self.options.timeout, context.clean()).await;
        match status {
            Status::Failed(why) => Status::Failed(format!("{why} (seed {})", self.seed)),
            other => other,
        }
    }
}
