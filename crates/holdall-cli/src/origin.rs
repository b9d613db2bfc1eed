//! Who says what a setting is.

use std::fmt;

/// Where a value comes from; the first of these that is there is in force.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Flag(&'static str),
    Variable(String),
    /// `holdall.toml`.
    File,
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => f.write_str(flag),
            Self::Variable(name) => f.write_str(name),
            Self::File => f.write_str(crate::store::CONFIG),
            Self::Default => f.write_str("default"),
        }
    }
}
