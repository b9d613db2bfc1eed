//! Changes, as server-sent events.

use holdall_core::{Change, ChangeKind, CollectionName, Error, Key, Result, WatchCursor};
use serde::{Deserialize, Serialize};

use crate::Problem;

/// The data of an event. Its id is the cursor, its name the kind of change.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Change))]
pub struct ChangeShape {
    /// The collection.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Collection))]
    pub collection: String,
    /// The key; null where the whole collection was dropped.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Key>))]
    pub key: Option<String>,
    /// The version that was put; null where nothing was.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Version>))]
    pub version: Option<String>,
    /// The version that was there before; null where there was none.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Version>))]
    pub previous: Option<String>,
    /// The batch that did it.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Version))]
    pub batch: String,
}

impl From<&Change> for ChangeShape {
    fn from(change: &Change) -> Self {
        Self {
            collection: change.collection.as_str().to_owned(),
            key: change.key.as_ref().map(|key| key.as_str().to_owned()),
            version: change.version.map(|version| version.to_string()),
            previous: change.previous.map(|version| version.to_string()),
            batch: change.batch.to_string(),
        }
    }
}

/// An event of a watch, as it was read.
#[derive(Debug)]
pub enum Event {
    /// A change.
    Change(Change),
    /// What ended the watch.
    Failed(Error),
    /// One that this version does not know, to be passed over.
    Other,
}

impl Event {
    /// Reads the three fields of an event.
    ///
    /// # Errors
    /// `Invalid` if the data is not that of such an event.
    pub fn read(name: &str, id: &str, data: &str) -> Result<Self> {
        let damaged =
            |error: serde_json::Error| Error::invalid("an event is damaged").because(error);
        let kind = match name {
            "put" => ChangeKind::Put,
            "delete" => ChangeKind::Delete,
            "dropped" => ChangeKind::Dropped,
            "error" => {
                let problem: Problem = serde_json::from_str(data).map_err(damaged)?;
                return Ok(Self::Failed(problem.into_error()));
            }
            _ => return Ok(Self::Other),
        };
        let shape: ChangeShape = serde_json::from_str(data).map_err(damaged)?;
        let version = |text: Option<String>| text.map(|text| text.parse()).transpose();
        Ok(Self::Change(Change {
            cursor: id.parse::<WatchCursor>()?,
            collection: CollectionName::new(shape.collection)?,
            key: shape.key.map(Key::new).transpose()?,
            kind,
            version: version(shape.version)?,
            previous: version(shape.previous)?,
            batch: shape.batch.parse()?,
        }))
    }
}
