//! The declaration of an index as JSON, for stores that keep it so.

use holdall_core::{Holds, Index, Path, Type};
use serde_json::{Map, Value, json};

const TYPES: [(Type, &str); 6] = [
    (Type::Null, "null"),
    (Type::Bool, "bool"),
    (Type::Number, "number"),
    (Type::String, "string"),
    (Type::Array, "array"),
    (Type::Object, "object"),
];

/// The members `paths` and `holds` of an object.
pub(crate) fn write(index: &Index) -> Map<String, Value> {
    let paths: Vec<String> = index.paths.iter().map(ToString::to_string).collect();
    let holds = match index.holds {
        Holds::Any => "any",
        Holds::Words => "words",
        Holds::Only(of) => TYPES
            .iter()
            .find(|(own, _)| *own == of)
            .map_or("any", |(_, name)| name),
    };
    let mut members = Map::new();
    members.insert("paths".to_owned(), json!(paths));
    members.insert("holds".to_owned(), json!(holds));
    members
}

/// Reads these members, of an index that is not unique.
pub(crate) fn read(value: &Value) -> Option<Index> {
    let paths = value.get("paths")?.as_array()?.iter();
    let paths = paths.map(|path| path.as_str()?.parse::<Path>().ok());
    let holds = match value.get("holds")?.as_str()? {
        "any" => Holds::Any,
        "words" => Holds::Words,
        wanted => Holds::Only(TYPES.iter().find(|(_, name)| *name == wanted)?.0),
    };
    Some(Index::on(paths.collect::<Option<Vec<_>>>()?).holding(holds))
}
