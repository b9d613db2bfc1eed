//! The shapes of Holdall's HTTP protocol, as `docs/http.md` tells them: what the
//! server and the backend `http:` have in common.

mod problem;

pub use problem::{Problem, kind_of_status, status_of};
