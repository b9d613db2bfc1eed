//! What a token allows: verbs, and collections by pattern.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use holdall_core::{CollectionName, Error, MAX_COLLECTION, Result};

/// What a call does, as far as tokens tell it apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verb {
    /// Reads, finds, counts and lists.
    Read,
    /// Puts, deletes, stages, writes batches and resolves them, and
    /// transactions.
    Write,
    /// Is told of changes.
    Watch,
    /// Declares indexes and drops collections.
    Admin,
    /// Reads `/metrics`, which tell of all collections.
    Metrics,
}

impl Verb {
    /// Every verb.
    pub const ALL: [Self; 5] = [
        Self::Read,
        Self::Write,
        Self::Watch,
        Self::Admin,
        Self::Metrics,
    ];

    /// Its name: `read`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Watch => "watch",
            Self::Admin => "admin",
            Self::Metrics => "metrics",
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Verb {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|verb| verb.name() == text)
            .ok_or_else(|| {
                let names = Self::ALL.map(Self::name).join(", ");
                Error::invalid(format!("{text:?} is no verb; there are {names}"))
            })
    }
}

/// Which collections: a name in which `*` stands for any run of characters,
/// the empty one included, and all else for itself.
///
/// The exact bytes of names are compared: nothing is folded or decoded.
///
/// ```
/// use holdall_server::access::Pattern;
/// let logs: Pattern = "logs/*".parse()?;
/// assert!(logs.matches(&"logs/2026".parse()?));
/// assert!(!logs.matches(&"logs".parse()?));
/// # Ok::<(), holdall_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Pattern(Arc<str>);

impl Pattern {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a collection is one of those.
    pub fn matches(&self, name: &CollectionName) -> bool {
        let mut pieces = self.0.split('*');
        let first = pieces.next().unwrap_or_default();
        let Some(mut rest) = name.as_str().strip_prefix(first) else {
            return false;
        };
        let Some(last) = pieces.next_back() else {
            return rest.is_empty();
        };
        // Each piece as early as it can be leaves the most to those behind it,
        // so there is nothing to try again: no pattern takes long.
        for piece in pieces {
            match rest.split_once(piece) {
                Some((_, behind)) => rest = behind,
                None => return false,
            }
        }
        rest.ends_with(last)
    }
}

impl FromStr for Pattern {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Err(Error::invalid(
                "a pattern of collections is empty; write * for all, or a name in which * stands for any characters",
            ));
        }
        if text.len() > MAX_COLLECTION {
            return Err(Error::too_large(format!(
                "a pattern of collections has {} bytes; the limit is {MAX_COLLECTION}",
                text.len()
            )));
        }
        if text.contains(char::is_control) {
            return Err(Error::invalid(format!(
                "the pattern of collections {text:?} has a control character in it; write * in its place"
            )));
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The most patterns of a grant.
pub const MAX_PATTERNS: usize = 64;

/// Verbs, and the collections that they reach.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    verbs: Vec<Verb>,
    collections: Vec<Pattern>,
}

impl Grant {
    /// All verbs on all collections.
    pub fn all() -> Self {
        Self {
            verbs: Verb::ALL.to_vec(),
            collections: vec![Pattern("*".into())],
        }
    }

    /// Some verbs on some collections.
    ///
    /// # Errors
    /// `Invalid` if there is no verb, or no collection though a verb needs
    /// one; `TooLarge` beyond 64 patterns.
    pub fn new(
        verbs: impl IntoIterator<Item = Verb>,
        collections: impl IntoIterator<Item = Pattern>,
    ) -> Result<Self> {
        let mut verbs: Vec<_> = verbs.into_iter().collect();
        verbs.sort();
        verbs.dedup();
        let collections: Vec<_> = collections.into_iter().collect();
        if verbs.is_empty() {
            let names = Verb::ALL.map(Verb::name).join(", ");
            return Err(Error::invalid(format!(
                "no verb is allowed, so the token would be of no use; there are {names}"
            )));
        }
        if collections.is_empty() && verbs != [Verb::Metrics] {
            return Err(Error::invalid(
                "no collection is allowed, so the token would be of no use; write * for all",
            ));
        }
        if collections.len() > MAX_PATTERNS {
            return Err(Error::too_large(format!(
                "there are {} patterns of collections; the limit is {MAX_PATTERNS}",
                collections.len()
            )));
        }
        Ok(Self { verbs, collections })
    }

    /// The verbs.
    pub fn verbs(&self) -> &[Verb] {
        &self.verbs
    }

    /// The collections.
    pub fn collections(&self) -> &[Pattern] {
        &self.collections
    }

    /// Whether a verb is allowed on a collection; for listings and watches of
    /// all collections, which leave out the others.
    pub fn covers(&self, verb: Verb, collection: &CollectionName) -> bool {
        self.has(verb)
            && self
                .collections
                .iter()
                .any(|pattern| pattern.matches(collection))
    }

    /// Whether a verb is allowed on any collection.
    pub fn has(&self, verb: Verb) -> bool {
        self.verbs.contains(&verb)
    }

    /// Allows a verb on a collection, or refuses it.
    ///
    /// # Errors
    /// `Denied`, saying the same whether there is such a collection or not.
    pub fn may(&self, verb: Verb, collection: &CollectionName) -> Result<()> {
        if self.covers(verb, collection) {
            return Ok(());
        }
        Err(Error::denied(format!(
            "this token does not reach \"{verb}\" in this collection; use one whose verbs have \"{verb}\", \
             and whose collections have this one"
        ))
        .at(collection, None))
    }

    /// Allows a verb whatever the collection, or refuses it.
    ///
    /// # Errors
    /// `Denied`.
    pub fn may_any(&self, verb: Verb) -> Result<()> {
        if self.has(verb) {
            return Ok(());
        }
        Err(Error::denied(format!(
            "this token does not reach \"{verb}\"; use one whose verbs have \"{verb}\""
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_core::ErrorKind;

    fn name(text: &str) -> CollectionName {
        CollectionName::new(text).unwrap()
    }

    #[test]
    fn a_star_is_any_run_of_characters_and_all_else_is_itself() {
        for (pattern, yes, no) in [
            (
                "books",
                vec!["books"],
                vec!["book", "bookss", "Books", "a/books"],
            ),
            ("*", vec!["a", "a/b", "*", "日本"], vec![]),
            (
                "logs/*",
                vec!["logs/", "logs/a", "logs/a/b"],
                vec!["logs", "xlogs/a"],
            ),
            ("*/a", vec!["/a", "b/a", "a/a/a"], vec!["a", "/ab"]),
            ("a*a", vec!["aa", "aba", "aaa"], vec!["a", "ab", "ba"]),
            (
                "a*b*c",
                vec!["abc", "a-b-b-c", "abcbc"],
                vec!["acb", "ab", "abcd"],
            ),
            ("*ab*", vec!["ab", "aab", "abab"], vec!["a", "ba"]),
            ("**", vec!["a"], vec![]),
            // What would be special elsewhere is not here.
            ("a.c", vec!["a.c"], vec!["abc"]),
            ("a?[b]", vec!["a?[b]"], vec!["axb", "a?b"]),
            (r"a\*", vec![r"a\", r"a\b"], vec!["a*", "a"]),
            ("%2A", vec!["%2A"], vec!["*", "a"]),
            // The same to the eye, and other bytes.
            ("\u{e9}", vec!["\u{e9}"], vec!["e\u{301}"]),
        ] {
            let parsed: Pattern = pattern.parse().unwrap();
            for text in yes {
                assert!(parsed.matches(&name(text)), "{pattern} {text}");
            }
            for text in no {
                assert!(!parsed.matches(&name(text)), "{pattern} {text}");
            }
        }
    }

    /// A second reading, which tries every way.
    fn slowly(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((b'*', rest)) => (0..=name.len()).any(|at| slowly(rest, &name[at..])),
            Some((byte, rest)) => name.first() == Some(byte) && slowly(rest, &name[1..]),
        }
    }

    #[test]
    fn every_short_pattern_and_name_is_as_a_second_reading_has_it() {
        let texts = |letters: &[u8], most: usize| {
            let mut all = vec![String::new()];
            let mut from = 0;
            for _ in 0..most {
                let until = all.len();
                for at in from..until {
                    for letter in letters {
                        all.push(format!("{}{}", all[at], char::from(*letter)));
                    }
                }
                from = until;
            }
            all.remove(0);
            all
        };
        for pattern in texts(b"ab*", 5) {
            let parsed: Pattern = pattern.parse().unwrap();
            for text in texts(b"ab", 5) {
                let expected = slowly(pattern.as_bytes(), text.as_bytes());
                assert_eq!(parsed.matches(&name(&text)), expected, "{pattern} {text}");
            }
        }
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        assert!("*".repeat(128).parse::<Pattern>().is_ok());
        assert!("*".repeat(129).parse::<Pattern>().is_err());
        assert!("".parse::<Pattern>().is_err());
        assert!("a\nb".parse::<Pattern>().is_err());
        let patterns = |count| vec!["a".parse::<Pattern>().unwrap(); count];
        assert!(Grant::new([Verb::Read], patterns(64)).is_ok());
        assert!(Grant::new([Verb::Read], patterns(65)).is_err());
        assert!(Grant::new([Verb::Read], []).is_err());
        assert!(Grant::new([], patterns(1)).is_err());
        assert!(Grant::new([Verb::Metrics], []).is_ok());
        assert!("Read".parse::<Verb>().is_err());
    }

    #[test]
    fn what_is_refused_names_the_verb_and_the_collection() {
        let grant = Grant::new([Verb::Read], ["books".parse().unwrap()]).unwrap();
        assert!(grant.may(Verb::Read, &name("books")).is_ok());
        for (verb, collection) in [
            (Verb::Write, "books"),
            (Verb::Read, "people"),
            (Verb::Admin, "people"),
        ] {
            let error = grant.may(verb, &name(collection)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Denied);
            let text = error.to_string();
            assert!(
                text.contains(verb.name()) && text.contains(collection),
                "{text}"
            );
        }
        assert!(grant.may_any(Verb::Read).is_ok());
        assert!(grant.may_any(Verb::Metrics).is_err());
        for verb in Verb::ALL {
            assert!(Grant::all().may(verb, &name("x")).is_ok());
            assert_eq!(verb.name().parse::<Verb>().unwrap(), verb);
        }
    }
}
