//! The conformance suite: shows that a backend keeps the promises of
//! [`Backend`](crate::Backend).
//!
//! Every case has a name, and the promise that it shows in words; both stand
//! in the report, so that a failure says what is broken. Cases that need what
//! a backend does not declare are listed as not claimed, never left out.
//!
//! A backend joins with a test binary of its own (`harness = false` in
//! `Cargo.toml`):
//!
//! ```no_run
//! use holdall_core::MemoryBackend;
//! use holdall_core::conformance::{Target, main_for_tests};
//!
//! fn main() -> std::process::ExitCode {
//!     main_for_tests(Target::new("memory:", |_| async { Ok(MemoryBackend::new().into()) }))
//! }
//! ```
//!
//! or is handed to [`run`], which answers a [`Report`]. A store that stays when
//! it is closed says so with [`Target::reopens`], one whose clock can be set with
//! [`Target::with_env`]; more cases apply then.
//!
//! Backends that declare [`shared`](crate::Capabilities::shared) are also tried
//! by several processes: the program that runs the suite starts itself again,
//! and its `main` calls [`serve`] first. [`main_for_tests`] sees to both; who
//! calls [`run`] names the program in [`Options::worker`].

#[macro_use]
mod case;
mod context;
mod harness;
mod helpers;
mod report;
mod runner;
mod target;

mod atomic;
mod background;
mod bodies;
mod cancel;
mod collections;
mod conditions;
mod differential;
mod docs;
mod entries;
mod filters;
mod indexes;
mod jobs;
mod keys;
mod life;
mod limits;
mod linear;
mod pages;
mod processes;
mod races;
mod resolve;
mod scan;
mod sorts;
mod speed;
mod transactions;
mod watch;

pub use case::{Case, Check, Failure, Need};
pub use context::Context;
pub use harness::{main_for_tests, main_with};
pub use processes::serve;
pub use report::{CaseResult, Report, Status};
pub use runner::{OnResult, Options, run, run_cases};
pub use speed::Speed;
pub use target::Target;

/// All cases, in the order in which a report lists them.
pub fn cases() -> Vec<Case> {
    [
        atomic::cases(),
        conditions::cases(),
        entries::cases(),
        bodies::cases(),
        keys::cases(),
        collections::cases(),
        docs::cases(),
        scan::cases(),
        filters::cases(),
        sorts::cases(),
        pages::cases(),
        indexes::cases(),
        resolve::cases(),
        watch::cases(),
        transactions::cases(),
        limits::cases(),
        life::cases(),
        cancel::cases(),
        races::cases(),
        linear::cases(),
        processes::cases(),
        differential::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
