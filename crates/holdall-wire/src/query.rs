//! Questions about many items, and their answers.

use holdall_core::{Cursor, Filter, Group, Key, Parts, Path, Query, Result, Sort, Value};
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};

/// Which parts of items to return. Key and entry always come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Parts))]
pub struct PartsShape {
    /// The doc.
    pub doc: bool,
    /// The body.
    pub body: bool,
    /// What layers keep with the item.
    pub attrs: bool,
}

impl From<PartsShape> for Parts {
    fn from(parts: PartsShape) -> Self {
        Self {
            doc: parts.doc,
            body: parts.body,
        }
    }
}

fn yes() -> bool {
    true
}

/// A query.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Query))]
pub struct QueryShape {
    /// Which items: a filter in JSON; all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Filter>))]
    pub filter: Option<Box<RawValue>>,
    /// The order: `year:desc,title`; by key if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sort: Option<String>,
    /// The most items of the page; 100 if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u64>,
    /// Leaves so many out at the start.
    #[serde(default)]
    pub offset: u64,
    /// Goes on behind a page: its `next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Whether docs are wanted.
    #[serde(default = "yes")]
    pub doc: bool,
    /// Whether bodies are wanted.
    #[serde(default)]
    pub body: bool,
    /// Whether what layers keep is wanted.
    #[serde(default)]
    pub attrs: bool,
}

impl QueryShape {
    /// A query, with attrs.
    pub fn of(query: &Query) -> Self {
        let sorts: Vec<_> = query.sort.iter().map(ToString::to_string).collect();
        Self {
            filter: write_filter(&query.filter),
            sort: (!sorts.is_empty()).then(|| sorts.join(",")),
            limit: query.limit,
            offset: query.offset,
            after: query.after.as_ref().map(ToString::to_string),
            doc: query.parts.doc,
            body: query.parts.body,
            attrs: true,
        }
    }

    /// The query that it asks.
    ///
    /// # Errors
    /// `Invalid` or `TooLarge`, naming the part and the rule.
    pub fn read(&self) -> Result<Query> {
        let query = Query {
            filter: read_filter(self.filter.as_deref())?,
            sort: match &self.sort {
                Some(list) => Sort::parse_list(list)?,
                None => Vec::new(),
            },
            limit: self.limit,
            offset: self.offset,
            after: self.after.as_deref().map(Cursor::parse).transpose()?,
            parts: self.parts().into(),
        };
        query.validate()?;
        Ok(query)
    }

    /// Which parts it wants.
    pub fn parts(&self) -> PartsShape {
        PartsShape {
            doc: self.doc,
            body: self.body,
            attrs: self.attrs,
        }
    }
}

/// As text: the rules of docs hold for it, and a parsed value could not show
/// that a name stands twice in it.
fn read_filter(filter: Option<&RawValue>) -> Result<Filter> {
    filter.map_or_else(|| Ok(Filter::all()), |filter| Filter::parse(filter.get()))
}

fn write_filter(filter: &Filter) -> Option<Box<RawValue>> {
    let json = (!filter.is_all()).then(|| filter.to_json())?;
    to_raw_value(&json).ok()
}

/// Several keys.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GetMany {
    /// The keys, in the order of the answer.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::schema::Key>))]
    pub keys: Vec<String>,
    /// Whether docs are wanted.
    #[serde(default = "yes")]
    pub doc: bool,
    /// Whether bodies are wanted.
    #[serde(default)]
    pub body: bool,
    /// Whether what layers keep is wanted.
    #[serde(default)]
    pub attrs: bool,
}

impl GetMany {
    /// The keys.
    ///
    /// # Errors
    /// `Invalid` or `TooLarge` if one is none.
    pub fn read_keys(&self) -> Result<Vec<Key>> {
        self.keys.iter().map(Key::new).collect()
    }

    /// Which parts it wants.
    pub fn parts(&self) -> PartsShape {
        PartsShape {
            doc: self.doc,
            body: self.body,
            attrs: self.attrs,
        }
    }
}

/// Asks how many items there are.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Count {
    /// Which items: a filter in JSON; all if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Filter>))]
    pub filter: Option<Box<RawValue>>,
    /// Counts by the value at this path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

impl Count {
    /// A count, by the value at a path if one is given.
    pub fn of(filter: &Filter, by: Option<&Path>) -> Self {
        Self {
            filter: write_filter(filter),
            by: by.map(ToString::to_string),
        }
    }

    /// The filter and the path.
    ///
    /// # Errors
    /// `Invalid` or `TooLarge`, naming the part and the rule.
    pub fn read(&self) -> Result<(Filter, Option<Path>)> {
        let path = self.by.as_deref().map(str::parse).transpose()?;
        Ok((read_filter(self.filter.as_deref())?, path))
    }
}

/// How many items there are: one of the two.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Counts {
    /// All that the filter matches.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub count: Option<u64>,
    /// By value, in the order of values; those without one last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(nullable = false))]
    pub groups: Option<Vec<GroupShape>>,
}

/// The items that share a value.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Group))]
pub struct GroupShape {
    /// The value; left out for the items that have none.
    #[serde(
        default,
        skip_serializing_if = "Option::is_none",
        deserialize_with = "present"
    )]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<Value>))]
    pub value: Option<Value>,
    /// How many.
    pub count: u64,
}

/// A null that stands there is a value; serde would take it for none.
fn present<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

impl From<Group> for GroupShape {
    fn from(group: Group) -> Self {
        Self {
            value: group.value,
            count: group.count,
        }
    }
}

impl From<GroupShape> for Group {
    fn from(group: GroupShape) -> Self {
        Self {
            value: group.value,
            count: group.count,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_core::json;

    #[test]
    fn a_query_comes_back() {
        let filter =
            Filter::parse(r#"{"a":{"$gt":1},"$or":[{"b":null},{"c\\.d":{"$match":"x"}}]}"#)
                .unwrap();
        let query = Query::new(filter)
            .sort(Sort::parse(r"a\,b:desc").unwrap())
            .sort(Sort::parse("$key:asc:first").unwrap())
            .limit(5)
            .offset(2);
        let text = serde_json::to_string(&QueryShape::of(&query)).unwrap();
        let read: QueryShape = serde_json::from_str(&text).unwrap();
        assert_eq!(read.read().unwrap(), query);
        let least: QueryShape = serde_json::from_str("{}").unwrap();
        assert_eq!(least.read().unwrap(), Query::default());
        assert!(serde_json::from_str::<QueryShape>(r#"{"filtre":{}}"#).is_err());
    }

    #[test]
    fn a_group_of_null_is_not_the_group_of_those_without_a_value() {
        for value in [None, Some(json!(null)), Some(json!({"a": 1}))] {
            let group = Group { value, count: 3 };
            let text = serde_json::to_string(&GroupShape::from(group.clone())).unwrap();
            let read: GroupShape = serde_json::from_str(&text).unwrap();
            assert_eq!(Group::from(read), group);
        }
    }
}
