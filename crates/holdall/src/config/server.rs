//! `[server]`: what the program that serves a store reads there.

use std::collections::BTreeMap;
use std::fmt;

use holdall_core::{Error, Result};

use super::tree::{Node, Place};

/// One setting of `[server]`, and where it stands. This crate does not know
/// which there are.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerSetting {
    place: Place,
    value: Value,
}

#[derive(Clone, PartialEq, Eq)]
enum Value {
    One(String),
    List(Vec<String>),
}

impl ServerSetting {
    /// Its value: a string, or a number or bool as text.
    ///
    /// # Errors
    /// `Invalid` if it is a list, naming the place.
    pub fn value(&self) -> Result<&str> {
        match &self.value {
            Value::One(value) => Ok(value),
            Value::List(_) => Err(self.refuse("it takes one value, and this is a list")),
        }
    }

    /// Its values: those of a list, or the one.
    pub fn values(&self) -> &[String] {
        match &self.value {
            Value::One(value) => std::slice::from_ref(value),
            Value::List(values) => values,
        }
    }

    /// An error about it: `Invalid`, naming the place.
    pub fn refuse(&self, why: impl fmt::Display) -> Error {
        self.place.refuse(why)
    }
}

/// Without the value, which may be a secret.
impl fmt::Debug for ServerSetting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerSetting").finish_non_exhaustive()
    }
}

/// Settings by name; those of a table within have its name and a dot in front.
pub(super) fn read(node: Node) -> Result<BTreeMap<String, ServerSetting>> {
    let mut settings = BTreeMap::new();
    read_into(&mut settings, "", node)?;
    Ok(settings)
}

fn read_into(
    settings: &mut BTreeMap<String, ServerSetting>,
    prefix: &str,
    node: Node,
) -> Result<()> {
    for (name, node) in node.table()?.rest() {
        let name = format!("{prefix}{name}");
        let place = node.place.clone();
        let value = if node.is_table() {
            read_into(settings, &format!("{name}."), node)?;
            continue;
        } else if node.is_list() {
            let elements = node.list()?.into_iter();
            Value::List(elements.map(Node::option).collect::<Result<_>>()?)
        } else {
            Value::One(node.option()?)
        };
        let setting = ServerSetting {
            place: place.clone(),
            value,
        };
        // `a.b = 1` and `[a] b = 1` are one name to TOML; `"a.b" = 1` is not.
        if settings.insert(name, setting).is_some() {
            return Err(place.refuse("this name stands there twice"));
        }
    }
    Ok(())
}
