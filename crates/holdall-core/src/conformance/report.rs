//! What came out.

use std::fmt;
use std::time::Duration;

use super::Speed;
use crate::{BatchLimits, Capabilities};

/// What came out of a run. Prints as a table.
#[derive(Clone, Debug)]
pub struct Report {
    /// What was tested.
    pub target: String,
    /// What it stands on, with its version, where the target says so.
    pub stands_on: String,
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

    /// The report as lines for programs: tabs between fields, of which the first
    /// says what the line is: `on` and what the target stands on; `can`, a
    /// capability and its value; `case`, its name, promise, `passed`, `failed` or
    /// `not claimed`, and why; `speed`, what was done, and how often in a second.
    pub fn lines(&self) -> String {
        let mut lines = Vec::new();
        let mut line = |fields: &[&str]| {
            let clean = |field: &&str| field.replace(['\t', '\n', '\r'], " ");
            lines.push(fields.iter().map(clean).collect::<Vec<_>>().join("\t") + "\n");
        };
        line(&["on", &self.stands_on]);
        for (name, value) in declared(&self.capabilities) {
            line(&["can", name, &value]);
        }
        for result in &self.results {
            let (status, why) = match &result.status {
                Status::Passed => ("passed", ""),
                Status::Failed(why) => ("failed", why.as_str()),
                Status::NotClaimed(why) => ("not claimed", why.as_str()),
            };
            line(&["case", result.name, result.promise, status, why]);
        }
        for speed in &self.speed {
            line(&["speed", speed.what, &format!("{:.1}", speed.per_second())]);
        }
        lines.concat()
    }

    fn count(&self, wanted: impl Fn(&Status) -> bool) -> usize {
        self.results
            .iter()
            .filter(|result| wanted(&result.status))
            .count()
    }
}

/// Capabilities by name.
fn declared(can: &Capabilities) -> [(&'static str, String); 12] {
    // Names every field, so that a new one cannot be forgotten.
    let Capabilities {
        batch:
            BatchLimits {
                scope,
                max_ops,
                max_bytes,
            },
        snapshot,
        conditions,
        watch,
        query,
        durable,
        shared,
        max_key,
        max_doc,
        max_body,
    } = can;
    [
        ("batch.scope", format!("{scope:?}")),
        ("batch.max_ops", max_ops.to_string()),
        ("batch.max_bytes", max_bytes.to_string()),
        ("snapshot", format!("{snapshot:?}")),
        ("conditions", format!("{conditions:?}")),
        ("watch", format!("{watch:?}")),
        ("query", format!("{query:?}")),
        ("durable", durable.to_string()),
        ("shared", shared.to_string()),
        ("max_key", max_key.to_string()),
        ("max_doc", max_doc.to_string()),
        ("max_body", max_body.to_string()),
    ]
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
