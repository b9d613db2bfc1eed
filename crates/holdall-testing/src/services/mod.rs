//! Real servers on loopback, for tests.
//!
//! `cargo xtask services up` installs and starts them, and writes their URLs
//! to a file. A test asks for the one that it needs:
//!
//! ```no_run
//! let Some(url) = holdall_testing::services::need("postgres") else { return };
//! ```
//!
//! These servers are shared by all tests, which use names of their own in them,
//! and never end one. A test that kills its server, or needs other settings,
//! starts a [`Private`] one.

mod certificates;
mod dynoxide;
mod files;
mod kind;
mod mariadb;
mod need;
mod pgbouncer;
mod postgres;
mod private;
mod process;
mod redis;
mod secantus;
mod server;
mod system;

pub use certificates::{Authority, Certificate};
pub use files::{bin_folder, clean, url, urls, urls_file};
pub use kind::Origin;
pub use need::{need, not_run, private, private_with, version};
pub use private::{Options, Private};
pub use server::Server;

/// An answer; the error is a sentence.
pub type Result<T = ()> = std::result::Result<T, String>;

/// The names of all servers, each after those it stands on.
pub fn names() -> impl Iterator<Item = &'static str> {
    kind::ALL.iter().map(|kind| kind.name())
}
