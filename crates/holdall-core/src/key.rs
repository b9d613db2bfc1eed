//! Keys of items and names of collections.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::{Error, Result};

/// The most bytes that any backend takes for a key.
pub const MAX_KEY: usize = 1024;

/// The most bytes of a collection's name.
pub const MAX_COLLECTION: usize = 128;

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal, $max:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Checks and takes a name. Cheap to clone afterwards.
            ///
            /// # Errors
            /// `Invalid` if it is empty or holds U+0000, `TooLarge` if it is
            /// too long.
            pub fn new(text: impl AsRef<str>) -> Result<Self> {
                let text = text.as_ref();
                if text.is_empty() {
                    return Err(Error::invalid(concat!($what, " must not be empty")));
                }
                if text.len() > $max {
                    return Err(Error::too_large(format!(
                        concat!($what, " has {} bytes; the limit is {}"),
                        text.len(),
                        $max
                    )));
                }
                if let Some(at) = text.bytes().position(|byte| byte == 0) {
                    return Err(Error::invalid(format!(
                        concat!($what, " must not hold U+0000, and has one at byte {}"),
                        at
                    )));
                }
                Ok(Self(text.into()))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl std::str::FromStr for $name {
            type Err = Error;
            fn from_str(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<&str> for $name {
            type Error = Error;
            fn try_from(text: &str) -> Result<Self> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Error;
            fn try_from(text: String) -> Result<Self> {
                Self::new(text)
            }
        }

        impl From<&$name> for $name {
            fn from(name: &$name) -> Self {
                name.clone()
            }
        }
    };
}

name_type! {
    /// The key of an item: 1 to 1,024 bytes of UTF-8 without U+0000.
    ///
    /// Keys are compared and ordered by their bytes, and come back byte for
    /// byte: nothing is trimmed, folded or normalised. `a//b`, `..` and a
    /// leading slash are keys like any other.
    ///
    /// ```
    /// use holdall_core::Key;
    /// assert!(Key::new("a/../b").is_ok());
    /// assert!(Key::new("").is_err());
    /// assert!(Key::new("a\0b").is_err());
    /// assert!(Key::new("x".repeat(1025)).is_err());
    /// ```
    Key, "a key", MAX_KEY
}

name_type! {
    /// The name of a collection: 1 to 128 bytes of UTF-8 without U+0000.
    ///
    /// Names are compared by their bytes: `a-b`, `a_b` and `A_b` are three
    /// collections on every backend.
    CollectionName, "a collection's name", MAX_COLLECTION
}

impl Key {
    /// The first string in key order after every key that starts with
    /// `prefix`; `None` where there is none.
    ///
    /// Backends use it to turn a prefix into a range. It is the prefix with
    /// its last character replaced by the next code point, and earlier ones
    /// where the last is U+10FFFF.
    pub fn after_prefix(prefix: &str) -> Option<String> {
        let mut end = prefix.to_owned();
        while let Some(last) = end.pop() {
            // The gap of the surrogates lies between U+D7FF and U+E000.
            let next = match last {
                '\u{D7FF}' => Some('\u{E000}'),
                other => char::from_u32(u32::from(other) + 1),
            };
            if let Some(next) = next {
                end.push(next);
                return Some(end);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_lies_after_all_that_start_with_it() {
        for prefix in ["a", "ab", "\u{D7FF}", "a\u{10FFFF}", "é"] {
            let end = Key::after_prefix(prefix).unwrap();
            for tail in ["", "z", "\u{10FFFF}\u{10FFFF}"] {
                assert!(format!("{prefix}{tail}") < end, "{prefix:?} {tail:?}");
            }
        }
        assert_eq!(Key::after_prefix("\u{10FFFF}"), None);
        assert_eq!(Key::after_prefix(""), None);
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        assert!(Key::new("x".repeat(1024)).is_ok());
        assert!(Key::new("x".repeat(1025)).is_err());
        assert!(CollectionName::new("x".repeat(128)).is_ok());
        assert!(CollectionName::new("x".repeat(129)).is_err());
    }
}
