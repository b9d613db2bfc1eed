//! What came out.

use std::fmt;
use std::time::Duration;

use super::Speed;
use crate::Capabilities;

/// What came out of a run. Prints as a table.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was tested.
    pub target: String,
    /// What it declares.
    pub capabilities: Capabilities,
    /// Where everything random came from.
    pub seed: u64,
    /// Each case, in the order of the suite.
    pub results: Vec<CaseResult>,
    /// How fast it was, if that was asked for.
    pub speed: Vec<Speed>,
}

/// What came out of a case.
#[derive(Clone, Debug)]
pub struct CaseResult {
    /// Its name.
    pub name: &'static str,
    /// The promise that it shows.
    pub promise: &'static str,
    /// How it ended.
    pub status: Status,
    /// How long it took.
    pub duration: Duration,
}

/// How a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// The promise was kept.
    Passed,
    /// It was not; how.
    Failed(String),
    /// The backend does not claim what the case needs, or the case cannot be
    /// run here; why.
    NotClaimed(String),
}

impl Report {
    /// How many promises were kept.
    pub fn passed(&self) -> usize {
        self.count(|status| *status == Status::Passed)
    }

    /// How many were not.
    pub fn failed(&self) -> usize {
        self.count(|status| matches!(status, Status::Failed(_)))
    }

    /// How many are not claimed.
    pub fn not_claimed(&self) -> usize {
        self.count(|status| matches!(status, Status::NotClaimed(_)))
    }

    fn count(&self, wanted: impl Fn(&Status) -> bool) -> usize {
        self.results
            .iter()
            .filter(|result| wanted(&result.status))
            .count()
    }
}

impl fmt::Display for CaseResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.duration.as_millis();
        match &self.status {
            Status::Passed => write!(f, "ok      {} ({millis} ms)", self.name),
            Status::Failed(why) => {
                write!(
                    f,
                    "FAILED  {} ({millis} ms)\n        promise: {}\n        {why}",
                    self.name, self.promise
                )
            }
            Status::NotClaimed(why) => write!(f, "-       {}: not claimed ({why})", self.name),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {:?}", self.target, self.capabilities)?;
        for result in &self.results {
            writeln!(f, "{result}")?;
        }
        for speed in &self.speed {
            writeln!(f, "{speed}")?;
        }
        write!(
            f,
            "{} passed, {} failed, {} not claimed; seed {}",
            self.passed(),
            self.failed(),
            self.not_claimed(),
            self.seed
        )
    }
}
