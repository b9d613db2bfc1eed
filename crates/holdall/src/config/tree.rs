//! A configuration as a tree that knows where each thing stands in the text.

use holdall_core::{Error, Result, Value};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The most bytes of a configuration.
const MAX_CONFIG: usize = 1024 * 1024;

/// The most levels of a configuration.
const MAX_LEVELS: usize = 16;

/// A value, and where it stands.
pub(super) struct Node {
    pub(super) place: Place,
    content: Content,
}

enum Content {
    Text(String),
    /// A number or a bool, as text.
    Scalar(String),
    List(Vec<Node>),
    Table(Vec<(String, Node)>),
    Other(&'static str),
}

/// Where something stands: its path, and the line and column where it was read
/// from a text. Values are never shown: they may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Place {
    path: String,
    at: Option<(usize, usize)>,
}

impl Place {
    /// An error about what stands here.
    pub(super) fn refuse(&self, why: impl std::fmt::Display) -> Error {
        let path = if self.path.is_empty() {
            "the configuration"
        } else {
            &self.path
        };
        Error::invalid(match self.at {
            Some((line, column)) => {
                format!("{path} (line {line}, column {column}) is not valid: {why}")
            }
            None => format!("{path} is not valid: {why}"),
        })
    }

    /// The same error, saying that it is about what stands here.
    pub(super) fn about(&self, error: &Error) -> Error {
        self.refuse(error)
    }

    fn below(&self, name: &str, at: Option<(usize, usize)>) -> Self {
        let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        let name = if !name.is_empty() && name.chars().all(plain) {
            name.to_owned()
        } else {
            format!("{name:?}")
        };
        let path = if self.path.is_empty() {
            name
        } else {
            format!("{}.{name}", self.path)
        };
        Self { path, at }
    }

    fn element(&self, index: usize, at: Option<(usize, usize)>) -> Self {
        Self {
            path: format!("{}[{index}]", self.path),
            at,
        }
    }
}

impl Node {
    /// Reads TOML.
    pub(super) fn from_toml(text: &str) -> Result<Self> {
        if text.len() > MAX_CONFIG {
            return Err(Error::too_large(format!(
                "the configuration has {} bytes; the limit is {MAX_CONFIG}",
                text.len()
            )));
        }
        let root = Place {
            path: String::new(),
            at: None,
        };
        // The error's own text shows the line, which may hold a secret.
        let lines = Lines::of(text);
        let table = DeTable::parse(text).map_err(|error| {
            let at = error.span().map(|span| lines.place(span.start));
            Place {
                at: Some(at.unwrap_or((1, 1))),
                path: String::new(),
            }
            .refuse(format!("it is no TOML: {}", error.message()))
        })?;
        from_table(&lines, root, table.into_inner(), 0)
    }

    /// Takes a JSON value.
    pub(super) fn from_json(value: &Value) -> Result<Self> {
        let root = Place {
            path: String::new(),
            at: None,
        };
        from_value(root, value, 0)
    }

    pub(super) fn text(self) -> Result<String> {
        match self.content {
            Content::Text(text) => Ok(text),
            _ => Err(self.not("a string")),
        }
    }

    /// A string, number or bool, as text.
    pub(super) fn option(self) -> Result<String> {
        match self.content {
            Content::Text(text) | Content::Scalar(text) => Ok(text),
            _ => Err(self.not("a string, a number, true or false")),
        }
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self.content, Content::List(_))
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self.content, Content::Table(_))
    }

    pub(super) fn list(self) -> Result<Vec<Self>> {
        match self.content {
            Content::List(elements) => Ok(elements),
            _ => Err(self.not("a list")),
        }
    }

    pub(super) fn table(self) -> Result<Table> {
        match self.content {
            Content::Table(members) => Ok(Table {
                place: self.place,
                members,
                taken: Vec::new(),
            }),
            _ => Err(self.not("a table")),
        }
    }

    fn not(&self, wanted: &str) -> Error {
        let found = match &self.content {
            Content::Text(_) => "a string",
            Content::Scalar(_) => "a number or a bool",
            Content::List(_) => "a list",
            Content::Table(_) => "a table",
            Content::Other(what) => what,
        };
        self.place
            .refuse(format!("it takes {wanted}, and this is {found}"))
    }
}

/// A table whose members are taken out one by one; those that nobody took are
/// unknown.
pub(super) struct Table {
    pub(super) place: Place,
    members: Vec<(String, Node)>,
    taken: Vec<&'static str>,
}

impl Table {
    pub(super) fn take(&mut self, name: &'static str) -> Option<Node> {
        self.taken.push(name);
        let at = self.members.iter().position(|(own, _)| own == name)?;
        Some(self.members.swap_remove(at).1)
    }

    pub(super) fn need(&mut self, name: &'static str) -> Result<Node> {
        self.take(name)
            .ok_or_else(|| self.place.refuse(format!("{name:?} is missing")))
    }

    /// All members that are left.
    pub(super) fn rest(self) -> Vec<(String, Node)> {
        self.members
    }

    /// Refuses what nobody took.
    pub(super) fn finish(self) -> Result<()> {
        // The first one in the text.
        let unknown = self.members.iter().min_by_key(|(_, node)| node.place.at);
        match unknown {
            None => Ok(()),
            Some((_, node)) => Err(node.place.refuse(format!(
                "this name is unknown here; there are {}",
                self.taken.join(", ")
            ))),
        }
    }
}

fn too_deep(place: &Place) -> Error {
    place.refuse(format!("it is nested deeper than {MAX_LEVELS} levels"))
}

fn from_table(lines: &Lines<'_>, place: Place, table: DeTable<'_>, level: usize) -> Result<Node> {
    if level > MAX_LEVELS {
        return Err(too_deep(&place));
    }
    let members = table
        .into_iter()
        .map(|(name, value)| {
            let at = Some(lines.place(name.span().start));
            let name = name.into_inner().into_owned();
            let place = place.below(&name, at);
            Ok((name, from_spanned(lines, place, value, level + 1)?))
        })
        .collect::<Result<_>>()?;
    Ok(Node {
        place,
        content: Content::Table(members),
    })
}

fn from_spanned(
    lines: &Lines<'_>,
    place: Place,
    value: Spanned<DeValue<'_>>,
    level: usize,
) -> Result<Node> {
    if level > MAX_LEVELS {
        return Err(too_deep(&place));
    }
    let content = match value.into_inner() {
        DeValue::String(text) => Content::Text(text.into_owned()),
        DeValue::Integer(number) if number.radix() == 10 => {
            Content::Scalar(number.as_str().to_owned())
        }
        DeValue::Integer(_) => Content::Other("a number that is not decimal"),
        DeValue::Float(number) => Content::Scalar(number.as_str().to_owned()),
        DeValue::Boolean(value) => Content::Scalar(value.to_string()),
        DeValue::Datetime(_) => Content::Other("a time"),
        DeValue::Array(elements) => {
            let elements = elements.into_iter().enumerate().map(|(index, element)| {
                let at = Some(lines.place(element.span().start));
                from_spanned(lines, place.element(index, at), element, level + 1)
            });
            Content::List(elements.collect::<Result<_>>()?)
        }
        DeValue::Table(table) => return from_table(lines, place, table, level),
    };
    Ok(Node { place, content })
}

fn from_value(place: Place, value: &Value, level: usize) -> Result<Node> {
    if level > MAX_LEVELS {
        return Err(too_deep(&place));
    }
    let content = match value {
        Value::Null => Content::Other("null"),
        Value::Bool(value) => Content::Scalar(value.to_string()),
        Value::Number(number) => Content::Scalar(number.to_string()),
        Value::String(text) => Content::Text(text.clone()),
        Value::Array(elements) => Content::List(
            elements
                .iter()
                .enumerate()
                .map(|(index, element)| from_value(place.element(index, None), element, level + 1))
                .collect::<Result<_>>()?,
        ),
        Value::Object(members) => Content::Table(
            members
                .iter()
                .map(|(name, value)| {
                    let node = from_value(place.below(name, None), value, level + 1)?;
                    Ok((name.clone(), node))
                })
                .collect::<Result<_>>()?,
        ),
    };
    Ok(Node { place, content })
}

/// Where lines start in a text.
struct Lines<'a> {
    text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Lines<'a> {
    fn of(text: &'a str) -> Self {
        let behind = text.match_indices('\n').map(|(at, _)| at + 1);
        Self {
            text,
            starts: std::iter::once(0).chain(behind).collect(),
        }
    }

    /// Line and column, both from 1; columns count characters.
    fn place(&self, at: usize) -> (usize, usize) {
        let line = self.starts.partition_point(|start| *start <= at);
        let start = line.checked_sub(1).and_then(|nth| self.starts.get(nth));
        let before = start.and_then(|start| self.text.get(*start..at));
        (line, before.unwrap_or_default().chars().count() + 1)
    }
}
