//! Paths: where in an item a value lies.

use std::fmt;

use crate::{Error, Result, Value};

/// The most segments of a path: one for each level of a doc.
pub const MAX_SEGMENTS: usize = 64;

/// Where in an item a value lies: in its doc, or in its entry.
///
/// In text, segments are joined by dots: `author.name`, `tags.0`. A segment
/// that is a number indexes an array, else it names a member. A backslash
/// takes the next character as it is, so `a\.b` is one member, and `\$key` is
/// a member of that name. The entry's fields are `$key`, `$created`,
/// `$modified`, `$size` and `$version`, and `$doc` is the doc as a whole.
///
/// ```
/// use holdall_core::{Path, json};
/// let path: Path = r"authors.0.first\.name".parse()?;
/// assert_eq!(path.to_string(), r"authors.0.first\.name");
/// let doc = json!({"authors": [{"first.name": "Ada"}]});
/// assert_eq!(path.in_doc(&doc), Some(&json!("Ada")));
/// # Ok::<(), holdall_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// A field of the entry.
    Entry(EntryField),
    /// A value in the doc; no segments mean the doc itself.
    Doc(Vec<String>),
}

/// A field of an entry that queries can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryField {
    /// `$key`, a string.
    Key,
    /// `$created`, a time.
    Created,
    /// `$modified`, a time.
    Modified,
    /// `$size`, the bytes of the body; 0 where there is none.
    Size,
    /// `$version`; equality alone, as nothing is ordered by it.
    Version,
}

impl EntryField {
    const ALL: [Self; 5] = [
        Self::Key,
        Self::Created,
        Self::Modified,
        Self::Size,
        Self::Version,
    ];

    /// Its name with the dollar.
    pub fn name(self) -> &'static str {
        match self {
            Self::Key => "$key",
            Self::Created => "$created",
            Self::Modified => "$modified",
            Self::Size => "$size",
            Self::Version => "$version",
        }
    }
}

const DOC: &str = "$doc";

impl Path {
    /// A path of one member of the doc, taken as it is.
    pub fn member(name: impl Into<String>) -> Self {
        Self::Doc(vec![name.into()])
    }

    /// Reads the text form.
    ///
    /// # Errors
    /// `Invalid` if a segment is empty, a backslash ends the text, it holds
    /// U+0000, a `$` field is unknown, or there are more than 64 segments.
    pub fn parse(text: &str) -> Result<Self> {
        let refuse = |why: String| {
            Err(Error::invalid(format!(
                "the path {text:?} is not valid: {why}"
            )))
        };
        if text == DOC {
            return Ok(Self::Doc(Vec::new()));
        }
        if text.contains('\0') {
            return refuse("it holds U+0000".into());
        }
        if text.starts_with('$') {
            return match EntryField::ALL
                .into_iter()
                .find(|field| field.name() == text)
            {
                Some(field) => Ok(Self::Entry(field)),
                None => refuse(
                    "a name that starts with $ must be $key, $created, $modified, $size, $version \
                     or $doc; write \\$ for a member whose name starts so"
                        .into(),
                ),
            };
        }
        let mut segments = vec![String::new()];
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            let character = match character {
                '.' => {
                    segments.push(String::new());
                    continue;
                }
                '\\' => match characters.next() {
                    Some(escaped) => escaped,
                    None => return refuse("a backslash stands at its end".into()),
                },
                other => other,
            };
            if let Some(last) = segments.last_mut() {
                last.push(character);
            }
        }
        if segments.iter().any(String::is_empty) {
            return refuse("a segment is empty; write \\. for a dot in a name".into());
        }
        if segments.len() > MAX_SEGMENTS {
            return refuse(format!(
                "it has {} segments; the limit is {MAX_SEGMENTS}",
                segments.len()
            ));
        }
        Ok(Self::Doc(segments))
    }

    /// Checks a path that was not read from text: each one must have a text, as
    /// that is how paths are stored and sent.
    ///
    /// # Errors
    /// `Invalid` for an empty segment, U+0000, or more than 64 segments.
    pub fn check(&self) -> Result<()> {
        let Self::Doc(segments) = self else {
            return Ok(());
        };
        let sound = |segment: &String| !segment.is_empty() && !segment.contains('\0');
        if segments.iter().all(sound) && segments.len() <= MAX_SEGMENTS {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "the path {segments:?} is not valid: it has 1 to {MAX_SEGMENTS} segments, none empty or with U+0000"
        )))
    }

    /// The value at this path of a doc; `None` if it is missing, or if this is
    /// a path of the entry.
    pub fn in_doc<'a>(&self, doc: &'a Value) -> Option<&'a Value> {
        let Self::Doc(segments) = self else {
            return None;
        };
        segments.iter().try_fold(doc, |value, segment| match value {
            Value::Object(members) => members.get(segment),
            Value::Array(elements) => elements.get(array_index(segment)?),
            _ => None,
        })
    }
}

/// The index that a segment means in an array: decimal digits without a
/// leading zero. Any other segment finds nothing there.
pub(crate) fn array_index(segment: &str) -> Option<usize> {
    let digits = segment.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = segment == "0" || !segment.starts_with('0');
    (digits && canonical)
        .then(|| segment.parse().ok())
        .flatten()
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        let segments = match self {
            Self::Entry(field) => return f.write_str(field.name()),
            Self::Doc(segments) if segments.is_empty() => return f.write_str(DOC),
            Self::Doc(segments) => segments,
        };
        for (at, segment) in segments.iter().enumerate() {
            if at > 0 {
                f.write_char('.')?;
            }
            for (nth, character) in segment.chars().enumerate() {
                let first_dollar = character == '$' && at == 0 && nth == 0;
                if matches!(character, '.' | '\\') || first_dollar {
                    f.write_char('\\')?;
                }
                f.write_char(character)?;
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Path {
    type Err = Error;
    fn from_str(text: &str) -> Result<Self> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A path that was made of parts went into SQL and came back as another.
    #[test]
    fn a_path_without_a_text_is_refused_where_it_is_used() {
        for segments in [vec![""], vec!["a", ""], vec!["a\0b"], vec!["a"; 65]] {
            let path = Path::Doc(segments.into_iter().map(str::to_owned).collect());
            let filter = crate::Filter::test(path.clone(), crate::Test::Exists(true));
            assert!(filter.is_err(), "{path:?}");
            assert!(crate::Index::on([path.clone()]).validate().is_err());
            let sorted = crate::Query::default().sort(crate::Sort::by(path));
            assert!(sorted.validate().is_err());
        }
        assert!(Path::Doc(Vec::new()).check().is_ok());
    }

    #[test]
    fn text_and_back() {
        for text in [
            "a", "a.b", r"a\.b.c", r"\$key", "$key", "$doc", "tags.0", r"a\\b", "a$b", "ü.日",
        ] {
            assert_eq!(Path::parse(text).unwrap().to_string(), text);
        }
        // Escapes that are not needed are read, and not written.
        assert_eq!(Path::parse(r"\a").unwrap().to_string(), "a");
        for text in ["", ".", "a.", ".a", "a..b", "$nope", "\\", "a\0b", "a\\\0"] {
            assert!(Path::parse(text).is_err(), "{text:?}");
        }
        assert!(Path::parse(&vec!["a"; 64].join(".")).is_ok());
        assert!(Path::parse(&vec!["a"; 65].join(".")).is_err());
    }

    #[test]
    fn a_number_indexes_an_array_and_names_a_member() {
        let doc = json!({"list": [10, 11], "map": {"1": "one"}});
        assert_eq!(
            Path::parse("list.1").unwrap().in_doc(&doc),
            Some(&json!(11))
        );
        assert_eq!(
            Path::parse("map.1").unwrap().in_doc(&doc),
            Some(&json!("one"))
        );
        for text in [
            "list.2", "list.01", "list.-1", "list.x", "map.0", "list.1.x", "no.1",
        ] {
            assert_eq!(Path::parse(text).unwrap().in_doc(&doc), None, "{text}");
        }
    }
}
