//! What became of a batch.

use holdall_core::{Commit, Error, Outcome, Result, Timestamp};
use serde::{Deserialize, Serialize};

/// Asks what became of a batch.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resolve {
    /// An item that the batch puts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<Witness>,
}

/// An item by its place.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Witness {
    /// The collection.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Collection))]
    pub collection: String,
    /// The key.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Key))]
    pub key: String,
}

/// What became of a batch.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Outcome))]
pub struct OutcomeShape {
    /// `committed`, `aborted` (for good) or `unknown`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::OutcomeName))]
    pub outcome: String,
    /// When it was committed, where the store records that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Time, required = false))]
    pub at: Option<String>,
    /// For each put, when its item was first put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<crate::schema::Time>, required = false))]
    pub created: Option<Vec<String>>,
}

impl From<&Outcome> for OutcomeShape {
    fn from(outcome: &Outcome) -> Self {
        let (name, commit) = match outcome {
            Outcome::Committed(commit) => ("committed", commit.as_ref()),
            Outcome::Aborted => ("aborted", None),
            Outcome::Unknown => ("unknown", None),
        };
        Self {
            outcome: name.to_owned(),
            at: commit.map(|commit| commit.at.to_string()),
            created: commit.map(|commit| commit.created.iter().map(ToString::to_string).collect()),
        }
    }
}

impl OutcomeShape {
    /// The outcome.
    ///
    /// # Errors
    /// `Invalid`, naming the member.
    pub fn read(&self) -> Result<Outcome> {
        match self.outcome.as_str() {
            "committed" => {}
            "aborted" => return Ok(Outcome::Aborted),
            "unknown" => return Ok(Outcome::Unknown),
            other => return Err(Error::invalid(format!("the outcome {other:?} is unknown"))),
        }
        let Some(at) = &self.at else {
            return Ok(Outcome::Committed(None));
        };
        let created = self.created.iter().flatten().map(|time| time.parse());
        Ok(Outcome::Committed(Some(Commit {
            at: at.parse()?,
            created: created.collect::<Result<Vec<Timestamp>>>()?,
        })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_come_back() {
        let commit = Commit {
            at: Timestamp::from_micros(5),
            created: vec![Timestamp::from_micros(4)],
        };
        for outcome in [
            Outcome::Committed(Some(commit)),
            Outcome::Committed(None),
            Outcome::Aborted,
            Outcome::Unknown,
        ] {
            let text = serde_json::to_string(&OutcomeShape::from(&outcome)).unwrap();
            let read: OutcomeShape = serde_json::from_str(&text).unwrap();
            assert_eq!(read.read().unwrap(), outcome);
        }
    }
}
