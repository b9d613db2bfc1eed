//! Rows of the table: their keys, and values by name.

use std::collections::HashMap;
use std::fmt;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use holdall_core::{Error, Result, Timestamp, Version};

use super::error::damaged;

/// Where a row is: partition key and sort key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) partition: String,
    pub(super) sort: String,
}

impl Place {
    pub(super) fn new(partition: impl Into<String>, sort: impl Into<String>) -> Self {
        Self {
            partition: partition.into(),
            sort: sort.into(),
        }
    }

    /// What [`to_string`](ToString::to_string) wrote.
    pub(super) fn read(text: &str) -> Result<Self> {
        let (partition, sort) = text.split_once(' ').ok_or_else(odd)?;
        Ok(Self::new(partition, sort))
    }

    /// As the table's key.
    pub(super) fn key(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            ("p".to_owned(), AttributeValue::S(self.partition.clone())),
            ("s".to_owned(), AttributeValue::S(self.sort.clone())),
        ])
    }
}

/// Partition and sort key, with a space between: no partition has one.
impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.partition, self.sort)
    }
}

/// A row.
#[derive(Clone, Debug, Default)]
pub(super) struct Row(HashMap<String, AttributeValue>);

fn odd() -> Error {
    damaged("a row")
}

impl Row {
    pub(super) fn at(place: &Place) -> Self {
        Self(place.key())
    }

    pub(super) fn of(values: HashMap<String, AttributeValue>) -> Self {
        Self(values)
    }

    pub(super) fn into_values(self) -> HashMap<String, AttributeValue> {
        self.0
    }

    pub(super) fn place(&self) -> Result<Place> {
        Ok(Place::new(self.text("p")?, self.text("s")?))
    }

    pub(super) fn with(mut self, name: &str, value: AttributeValue) -> Self {
        self.0.insert(name.to_owned(), value);
        self
    }

    pub(super) fn with_text(self, name: &str, text: impl Into<String>) -> Self {
        self.with(name, AttributeValue::S(text.into()))
    }

    pub(super) fn with_bytes(self, name: &str, bytes: impl Into<Vec<u8>>) -> Self {
        self.with(name, AttributeValue::B(Blob::new(bytes.into())))
    }

    pub(super) fn with_number(self, name: &str, number: impl ToString) -> Self {
        self.with(name, AttributeValue::N(number.to_string()))
    }

    pub(super) fn text_or_none(&self, name: &str) -> Result<Option<&str>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::S(text)) => Ok(Some(text)),
            Some(_) => Err(odd()),
        }
    }

    pub(super) fn text(&self, name: &str) -> Result<&str> {
        self.text_or_none(name)?.ok_or_else(odd)
    }

    pub(super) fn take_text(&mut self, name: &str) -> Result<String> {
        match self.0.remove(name) {
            Some(AttributeValue::S(text)) => Ok(text),
            _ => Err(odd()),
        }
    }

    pub(super) fn take_bytes(&mut self, name: &str) -> Result<Option<Vec<u8>>> {
        match self.0.remove(name) {
            None => Ok(None),
            Some(AttributeValue::B(bytes)) => Ok(Some(bytes.into_inner())),
            Some(_) => Err(odd()),
        }
    }

    pub(super) fn bytes(&self, name: &str) -> Result<Option<&[u8]>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::B(bytes)) => Ok(Some(bytes.as_ref())),
            Some(_) => Err(odd()),
        }
    }

    pub(super) fn version(&self, name: &str) -> Result<Option<Version>> {
        self.bytes(name)?.map(Version::from_slice).transpose()
    }

    pub(super) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>> {
        match self.0.get(name) {
            None => Ok(None),
            Some(AttributeValue::N(number)) => number.parse().map(Some).map_err(|_| odd()),
            Some(_) => Err(odd()),
        }
    }

    pub(super) fn time(&self, name: &str) -> Result<Timestamp> {
        let micros = self.number(name)?.ok_or_else(odd)?;
        Ok(Timestamp::from_micros(micros))
    }

    pub(super) fn list(&self, name: &str) -> Result<&[AttributeValue]> {
        match self.0.get(name) {
            None => Ok(&[]),
            Some(AttributeValue::L(list)) => Ok(list),
            Some(_) => Err(odd()),
        }
    }

    /// A list of texts.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<String>> {
        let texts = self.list(name)?.iter();
        texts
            .map(|text| text.as_s().cloned().map_err(|_| odd()))
            .collect()
    }
}

/// A list of texts, as a value.
pub(super) fn texts(all: impl IntoIterator<Item = String>) -> AttributeValue {
    AttributeValue::L(all.into_iter().map(AttributeValue::S).collect())
}
