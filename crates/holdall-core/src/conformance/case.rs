//! A case: a promise in words, and a function that shows whether it is kept.

use std::fmt;
use std::panic::Location;
use std::sync::Arc;

use futures_util::future::BoxFuture;

use super::Context;
use crate::{Capabilities, Conditions, Error, ErrorKind, Scope, Snapshot, Watch};

/// What a case answers.
pub type Check = Result<(), Failure>;

type Body = Arc<dyn Fn(Context) -> BoxFuture<'static, Check> + Send + Sync>;

/// A case of the suite.
#[derive(Clone)]
pub struct Case {
    name: &'static str,
    promise: &'static str,
    needs: Vec<Need>,
    body: Body,
}

/// What a case needs of the backend, or of the way it is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Conditions that are checked at commit.
    Conditions(Conditions),
    /// Batches that reach so far.
    Scope(Scope),
    /// Batches of so many operations.
    Operations(usize),
    /// Batches of so many bytes.
    BatchBytes(u64),
    /// Bodies of so many bytes.
    Body(u64),
    /// Readers that see a batch as a unit so far.
    Snapshot(Snapshot),
    /// Changes that are told.
    Watch(Watch),
    /// A store that keeps what was written when it is opened again.
    Reopen,
    /// A way to open a store with a clock of the suite's.
    Clock,
    /// Several processes at once, and a program to start as another one.
    Processes,
}

impl Need {
    /// Why a case with this need cannot be run; `None` if it can.
    pub(super) fn lacking(
        self,
        can: &Capabilities,
        reopens: bool,
        clock: bool,
        worker: bool,
    ) -> Option<String> {
        let declared = |fits: bool, what: String| (!fits).then_some(what);
        match self {
            Self::Conditions(least) => declared(
                can.conditions >= least,
                format!("conditions: {:?}", can.conditions),
            ),
            Self::Scope(least) => declared(
                can.batch.scope >= least,
                format!("batch.scope: {:?}", can.batch.scope),
            ),
            Self::Operations(least) => declared(
                can.batch.max_ops >= least,
                format!("batch.max_ops: {}", can.batch.max_ops),
            ),
            Self::BatchBytes(least) => declared(
                can.batch.max_bytes >= least,
                format!("batch.max_bytes: {}", can.batch.max_bytes),
            ),
            Self::Body(least) => {
                declared(can.max_body >= least, format!("max_body: {}", can.max_body))
            }
            Self::Snapshot(least) => declared(
                can.snapshot >= least,
                format!("snapshot: {:?}", can.snapshot),
            ),
            Self::Watch(least) => declared(can.watch >= least, format!("watch: {:?}", can.watch)),
            Self::Reopen => declared(reopens, "the store is gone when it is closed".into()),
            Self::Clock => declared(clock, "the clock cannot be set".into()),
            Self::Processes if !can.shared => Some("shared: false".into()),
            Self::Processes => declared(
                worker,
                "no program was given to start as a second process".into(),
            ),
        }
    }
}

impl Case {
    /// A case: `area/what-is-done`, and the promise as a sentence.
    pub fn new<F, Fut>(name: &'static str, promise: &'static str, body: F) -> Self
    where
        F: Fn(Context) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Check> + Send + 'static,
    {
        Self {
            name,
            promise,
            needs: Vec::new(),
            body: Arc::new(move |context| Box::pin(body(context))),
        }
    }

    /// Adds a need.
    #[must_use]
    pub fn needs(mut self, need: Need) -> Self {
        self.needs.push(need);
        self
    }

    /// The name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The promise that it shows.
    pub fn promise(&self) -> &'static str {
        self.promise
    }

    pub(super) fn needed(&self) -> &[Need] {
        &self.needs
    }

    pub(super) fn start(&self, context: Context) -> BoxFuture<'static, Check> {
        (self.body)(context)
    }
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// How a promise was broken, and where in the suite that showed.
#[derive(Debug)]
pub struct Failure(String);

/// The most characters of a failure; whole docs may stand in one.
const MAX_FAILURE: usize = 4000;

impl Failure {
    /// A failure at the caller's line.
    #[track_caller]
    pub fn here(message: impl Into<String>) -> Self {
        let at = Location::caller();
        let mut message = message.into();
        if message.chars().count() > MAX_FAILURE {
            message = message.chars().take(MAX_FAILURE).collect::<String>() + "…";
        }
        Self(format!("{message} [{}:{}]", at.file(), at.line()))
    }

    /// A failure because something is not what it should be. Of long values
    /// only the surroundings of the first difference are shown.
    #[track_caller]
    pub fn differ(
        what: impl fmt::Display,
        found: &(impl fmt::Debug + ?Sized),
        wanted: &(impl fmt::Debug + ?Sized),
    ) -> Self {
        const LONG: usize = 400;
        const AROUND: usize = 150;
        let (found, wanted) = (format!("{found:?}"), format!("{wanted:?}"));
        if found.len().max(wanted.len()) <= LONG {
            return Self::here(format!("{what}: found {found}, wanted {wanted}"));
        }
        let alike = found
            .chars()
            .zip(wanted.chars())
            .take_while(|(a, b)| a == b);
        let start = alike.count().saturating_sub(AROUND);
        let part = |text: &str| {
            text.chars()
                .skip(start)
                .take(2 * AROUND)
                .collect::<String>()
        };
        Self::here(format!(
            "{what}: they differ after {start} characters: found …{}…, wanted …{}…",
            part(&found),
            part(&wanted)
        ))
    }

    /// The same, with what was being done in front.
    #[must_use]
    pub fn during(self, what: impl fmt::Display) -> Self {
        Self(format!("{what}: {}", self.0))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error where the case expects none.
impl From<Error> for Failure {
    #[track_caller]
    fn from(error: Error) -> Self {
        Self::here(format!(
            "this should have worked, and failed as {}: {error}",
            error.kind().name()
        ))
    }
}

/// Expects an error of a kind, and answers it.
#[track_caller]
pub(super) fn refused<T: fmt::Debug>(
    result: crate::Result<T>,
    kind: ErrorKind,
    what: &str,
) -> Result<Error, Failure> {
    match result {
        Err(error) if error.kind() == kind => Ok(error),
        Err(error) => Err(Failure::here(format!(
            "{what} should be refused as {}, and was refused as {}: {error}",
            kind.name(),
            error.kind().name()
        ))),
        Ok(answer) => Err(Failure::here(format!(
            "{what} should be refused as {}, and was answered with {answer:?}",
            kind.name()
        ))),
    }
}

/// Fails the case unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $($message:tt)+) => {
        if !$holds {
            return Err($crate::conformance::Failure::here(format!($($message)+)));
        }
    };
}

/// Fails the case unless two values are equal.
macro_rules! ensure_eq {
    ($found:expr, $wanted:expr, $($message:tt)+) => {
        match (&$found, &$wanted) {
            (found, wanted) if found == wanted => {}
            (found, wanted) => {
                return Err($crate::conformance::Failure::differ(
                    format_args!($($message)+),
                    found,
                    wanted,
                ));
            }
        }
    };
}
