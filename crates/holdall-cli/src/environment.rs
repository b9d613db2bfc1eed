//! The one place that reads the environment.

/// A variable; `None` if it is not set or empty.
#[allow(
    clippy::disallowed_methods,
    reason = "the program reads the environment, here alone, and hands settings to the library"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
