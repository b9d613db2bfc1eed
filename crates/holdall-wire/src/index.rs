//! Declarations of indexes.

use holdall_core::{Error, Holds, Index, Path, Result, Type};
use serde::{Deserialize, Serialize};

/// Declares indexes of a collection.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Indexes {
    /// The indexes; those that are there already stay as they are.
    #[cfg_attr(feature = "openapi", schema(max_items = 64))]
    pub indexes: Vec<IndexShape>,
}

/// One index.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Index))]
pub struct IndexShape {
    /// The paths whose values it holds.
    #[cfg_attr(feature = "openapi", schema(min_items = 1, max_items = 8))]
    pub paths: Vec<String>,
    /// Refuses a second item with the same values.
    #[serde(default)]
    pub unique: bool,
    /// `any`, a type (`null`, `bool`, `number`, `string`, `array`, `object`),
    /// or `words`, for `$match`.
    #[serde(default = "any")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::HoldsName))]
    pub holds: String,
}

fn any() -> String {
    "any".to_owned()
}

const HOLDS: [(&str, Holds); 8] = [
    ("any", Holds::Any),
    ("null", Holds::Only(Type::Null)),
    ("bool", Holds::Only(Type::Bool)),
    ("number", Holds::Only(Type::Number)),
    ("string", Holds::Only(Type::String)),
    ("array", Holds::Only(Type::Array)),
    ("object", Holds::Only(Type::Object)),
    ("words", Holds::Words),
];

impl From<&Index> for IndexShape {
    fn from(index: &Index) -> Self {
        let holds = HOLDS.iter().find(|(_, holds)| *holds == index.holds);
        Self {
            paths: index.paths.iter().map(ToString::to_string).collect(),
            unique: index.unique,
            holds: holds.map_or_else(any, |(name, _)| (*name).to_owned()),
        }
    }
}

impl IndexShape {
    /// The index that it declares.
    ///
    /// # Errors
    /// `Invalid`, naming the rule.
    pub fn read(&self) -> Result<Index> {
        let holds = HOLDS.iter().find(|(name, _)| *name == self.holds);
        let Some((_, holds)) = holds else {
            let names = HOLDS.map(|(name, _)| name).join(", ");
            return Err(Error::invalid(format!(
                "an index does not hold {:?}; there are {names}",
                self.holds
            )));
        };
        let paths = self.paths.iter().map(|path| path.parse());
        let index = Index {
            paths: paths.collect::<Result<Vec<Path>>>()?,
            unique: self.unique,
            holds: *holds,
        };
        index.validate()?;
        Ok(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_index_comes_back() {
        for (_, holds) in HOLDS {
            let index = Index::parse(&[r"a\.b"]).unwrap().holding(holds);
            assert_eq!(IndexShape::from(&index).read().unwrap(), index);
        }
        let unique = Index::parse(&["a", "b"]).unwrap().unique();
        assert_eq!(IndexShape::from(&unique).read().unwrap(), unique);
    }
}
