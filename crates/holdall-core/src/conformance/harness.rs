//! A test binary of the suite: each case is a test with a name of its own.

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use super::report::Status;
use super::runner::Session;
use super::{Case, Options, Target, cases, serve};

/// The `main` of a test binary that runs the suite on a backend, with the
/// arguments of any Rust test binary.
pub fn main_for_tests(target: Target) -> ExitCode {
    main_with(target, cases(), Options::default())
}

/// The same with cases and options of the caller's.
pub fn main_with(target: Target, cases: Vec<Case>, options: Options) -> ExitCode {
    if let Some(code) = serve(std::env::args().skip(1), &target) {
        return code;
    }
    let options = Options {
        // This very program, which serves above.
        worker: options
            .worker
            .or_else(|| Some((std::env::current_exe().ok()?, Vec::new()))),
        ..options
    };
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_all()
        .build()
    {
        Ok(runtime) => Arc::new(runtime),
        Err(error) => return fail(&format!("no runtime: {error}")),
    };
    if options.report.is_some() {
        // All cases in one run, whatever the arguments.
        let result = runtime.block_on(super::run_cases(target, cases, options));
        return match result {
            Ok(report) if report.failed() == 0 => ExitCode::SUCCESS,
            Ok(report) => fail(&report.to_string()),
            Err(error) => fail(&error.to_string()),
        };
    }
    let arguments = Arguments::from_args();
    let shared = Arc::new(Shared {
        runtime,
        target,
        options,
        session: OnceCell::new(),
    });
    let trials = cases
        .into_iter()
        .map(|case| {
            let shared = shared.clone();
            Trial::ignorable_test(case.name(), move || shared.run(&case))
        })
        .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

struct Shared {
    runtime: Arc<Runtime>,
    target: Target,
    options: Options,
    /// Opened by the first case, so that listing them opens nothing.
    session: OnceCell<Session>,
}

impl Shared {
    fn run(&self, case: &Case) -> Result<Completion, Failed> {
        self.runtime.block_on(async {
            let session = self
                .session
                .get_or_try_init(|| Session::open(self.target.clone(), self.options.clone()))
                .await
                .map_err(|error| format!("{} cannot be opened: {error}", self.target.describe()))?;
            let result = session.run(case).await;
            match result.status {
                Status::Passed => Ok(Completion::Completed),
                Status::NotClaimed(why) => {
                    Ok(Completion::ignored_with(format!("not claimed: {why}")))
                }
                Status::Failed(why) => Err(format!("promise: {}\n{why}", case.promise()).into()),
            }
        })
    }
}

#[allow(clippy::print_stderr, reason = "this is a program's last word")]
fn fail(message: &str) -> ExitCode {
    eprintln!("{message}");
    ExitCode::FAILURE
}
