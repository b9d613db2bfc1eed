//! Ranges of keys.

use std::ops::Bound;

use crate::{Key, Parts};

/// A range of keys in order, and which parts of the items to return.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// Keys that start so.
    pub prefix: Option<String>,
    /// Keys behind this one, in the direction of the scan. Any string will do.
    pub after: Option<String>,
    /// From the last key to the first.
    pub reverse: bool,
    /// At most so many.
    pub limit: Option<u64>,
    /// Which parts of the items to return.
    pub parts: Parts,
}

impl Default for Scan {
    fn default() -> Self {
        Self {
            prefix: None,
            after: None,
            reverse: false,
            limit: None,
            parts: Parts::DOC,
        }
    }
}

impl Scan {
    /// All keys, with their docs.
    pub fn all() -> Self {
        Self::default()
    }

    /// Keys that start so.
    pub fn prefix(prefix: impl Into<String>) -> Self {
        Self {
            prefix: Some(prefix.into()),
            ..Self::default()
        }
    }

    /// Sets the parts to return.
    #[must_use]
    pub fn parts(mut self, parts: Parts) -> Self {
        self.parts = parts;
        self
    }

    /// The keys that lie in the range, as bounds in ascending order. `None` if
    /// there can be none.
    pub fn bounds(&self) -> Option<(Bound<String>, Bound<String>)> {
        let prefix = self.prefix.as_deref().unwrap_or_default();
        let mut low = Bound::Included(prefix.to_owned());
        let mut high = Key::after_prefix(prefix).map_or(Bound::Unbounded, Bound::Excluded);
        if let Some(after) = &self.after {
            let inside = |bound: &Bound<String>, outside: fn(&str, &str) -> bool| match bound {
                Bound::Included(edge) | Bound::Excluded(edge) => !outside(after, edge),
                Bound::Unbounded => true,
            };
            if self.reverse {
                if inside(&high, |after, edge| after >= edge) {
                    high = Bound::Excluded(after.clone());
                }
            } else if inside(&low, |after, edge| after < edge) {
                low = Bound::Excluded(after.clone());
            }
        }
        let empty = match (&low, &high) {
            (Bound::Included(low), Bound::Excluded(high)) => low >= high,
            (Bound::Excluded(low), Bound::Excluded(high)) => low >= high,
            _ => false,
        };
        (!empty).then_some((low, high))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::RangeBounds;

    #[test]
    fn bounds_admit_exactly_the_keys_of_the_range() {
        let keys = [
            "",
            "a",
            "a/",
            "a/b",
            "a/c",
            "a0",
            "b",
            "é",
            "\u{10FFFF}",
            "\u{10FFFF}x",
        ];
        for prefix in [
            None,
            Some("a"),
            Some("a/"),
            Some("b"),
            Some("\u{10FFFF}"),
            Some("zz"),
        ] {
            for after in [
                None,
                Some(""),
                Some("a"),
                Some("a/b"),
                Some("a0"),
                Some("zzz"),
                Some("\u{10FFFF}x"),
            ] {
                for reverse in [false, true] {
                    let scan = Scan {
                        prefix: prefix.map(Into::into),
                        after: after.map(Into::into),
                        reverse,
                        ..Scan::default()
                    };
                    let bounds = scan.bounds();
                    for key in keys {
                        let wanted = key.starts_with(prefix.unwrap_or(""))
                            && after.is_none_or(
                                |after| if reverse { key < after } else { key > after },
                            );
                        let found = bounds
                            .clone()
                            .is_some_and(|bounds| bounds.contains(&key.to_owned()));
                        assert_eq!(found, wanted, "{key:?} in {scan:?}");
                    }
                }
            }
        }
    }
}
