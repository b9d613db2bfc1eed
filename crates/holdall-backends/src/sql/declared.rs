//! Declared indexes, as they are remembered.

use holdall_core::{Doc, Error, Holds, Index, Path, Result, Type, json};

/// An index that a collection has.
#[derive(Clone, Debug)]
pub(crate) struct Declared {
    pub(crate) id: i64,
    pub(crate) index: Index,
}

/// How a declaration is stored: JSON with its members in this order.
pub(crate) fn declaration(index: &Index) -> String {
    let holds = match index.holds {
        Holds::Any => "any".to_owned(),
        Holds::Words => "words".to_owned(),
        Holds::Only(of) => type_name(of).to_owned(),
    };
    let paths: Vec<String> = index.paths.iter().map(ToString::to_string).collect();
    format!(
        "{{\"paths\":{},\"unique\":{},\"holds\":{}}}",
        json!(paths),
        json!(index.unique),
        json!(holds)
    )
}

pub(crate) fn read_declaration(text: &str) -> Result<Index> {
    let damaged = || Error::corrupt("a stored declaration of an index is damaged");
    let value = Doc::from_stored(text.to_owned()).value()?;
    let paths = value
        .get("paths")
        .and_then(|paths| paths.as_array())
        .ok_or_else(damaged)?;
    let paths = paths
        .iter()
        .map(|path| path.as_str().ok_or_else(damaged)?.parse())
        .collect::<Result<Vec<Path>>>()?;
    let unique = value
        .get("unique")
        .and_then(|unique| unique.as_bool())
        .ok_or_else(damaged)?;
    let holds = match value
        .get("holds")
        .and_then(|holds| holds.as_str())
        .ok_or_else(damaged)?
    {
        "any" => Holds::Any,
        "words" => Holds::Words,
        name => {
            let of = TYPES.into_iter().find(|of| type_name(*of) == name);
            Holds::Only(of.ok_or_else(damaged)?)
        }
    };
    Ok(Index {
        paths,
        unique,
        holds,
    })
}

const TYPES: [Type; 6] = [
    Type::Null,
    Type::Bool,
    Type::Number,
    Type::String,
    Type::Array,
    Type::Object,
];

fn type_name(of: Type) -> &'static str {
    match of {
        Type::Null => "null",
        Type::Bool => "bool",
        Type::Number => "number",
        Type::String => "string",
        Type::Array => "array",
        Type::Object => "object",
    }
}
