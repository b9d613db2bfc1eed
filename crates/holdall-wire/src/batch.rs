//! Batches and staged bodies.

use std::fmt;

use bytes::{Bytes, BytesMut};
use holdall_core::{
    Action, Attrs, Batch, CollectionName, Condition, Doc, Entry, Error, Key, NewBody, Operation,
    Put, Result, Staged, Written,
};
use serde::de::{self, Deserializer as _, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::entry::read_digest;
use crate::{EntryShape, not_taken, read_attrs, read_base64, read_object, write_attrs};

/// Puts, deletes and checks that take effect all or nothing.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Batch))]
pub struct BatchShape {
    /// The id, a UUIDv7 of now, by which the batch can be resolved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::BatchId>))]
    pub id: Option<String>,
    /// The operations, one an item.
    pub operations: Vec<OperationShape>,
}

/// One operation of a batch.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Operation))]
pub struct OperationShape {
    /// `put`, `delete` or `check`.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Op))]
    pub op: String,
    /// The collection.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Collection))]
    pub collection: String,
    /// The key.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Key))]
    pub key: String,
    /// What must hold at commit: `any`, `absent`, `present`, or a version.
    #[serde(default, rename = "if", skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// Of a put: the doc.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Doc>))]
    pub doc: Option<Box<RawValue>>,
    /// Of a put: the body in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Base64>))]
    pub body: Option<String>,
    /// Of a put: so many bytes behind the head are the body.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body_length: Option<u64>,
    /// Of a put: a body that was staged.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub staged: Option<StagedShape>,
    /// Of a put: what layers keep with the item, in base64.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<crate::schema::Base64>))]
    pub attrs: Option<String>,
}

/// A body that waits for the batch that uses it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "openapi", schema(as = Staged))]
pub struct StagedShape {
    /// Names it.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Version))]
    pub id: String,
    /// Its bytes.
    pub size: u64,
    /// Its BLAKE3 digest in hexadecimal.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Digest))]
    pub digest: String,
    /// When it is gone, if no batch uses it (RFC 3339).
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Time))]
    pub expires: String,
}

impl From<&Staged> for StagedShape {
    fn from(staged: &Staged) -> Self {
        Self {
            id: staged.id.to_string(),
            size: staged.size,
            digest: staged.digest.to_string(),
            expires: staged.expires.to_string(),
        }
    }
}

impl StagedShape {
    /// The staged body that it names.
    ///
    /// # Errors
    /// `Invalid`, naming the member.
    pub fn read(&self) -> Result<Staged> {
        Ok(Staged {
            id: self.id.parse()?,
            size: self.size,
            digest: read_digest(&self.digest)?,
            expires: self.expires.parse()?,
        })
    }
}

/// A batch on its way: the JSON, and the bodies behind it.
#[derive(Debug)]
pub struct Head {
    /// The JSON.
    pub json: Vec<u8>,
    /// The bodies of the puts with a `body_length`, in their order.
    pub bodies: Vec<Bytes>,
}

impl BatchShape {
    /// A batch with its bodies behind the head.
    ///
    /// # Errors
    /// `Corrupt` if a doc, which a backend stored, is no JSON.
    pub fn write(batch: &Batch) -> Result<Head> {
        let mut bodies = Vec::new();
        let operations = batch.operations().iter();
        let shape = Self {
            id: batch.id().map(|id| id.to_string()),
            operations: operations
                .map(|operation| write_operation(operation, &mut bodies))
                .collect::<Result<_>>()?,
        };
        let json = serde_json::to_vec(&shape)
            .map_err(|error| Error::other("the batch cannot be written").because(error))?;
        Ok(Head { json, bodies })
    }

    /// Reads a batch of so many operations at most: the JSON, and the bodies
    /// behind it.
    ///
    /// # Errors
    /// `Invalid` or `TooLarge`, naming the operation and the rule.
    pub fn read(json: &[u8], mut bodies: Bytes, max_ops: usize) -> Result<Batch> {
        let outline: Outline<'_> = read_object(json)?;
        let mut batch = match &outline.id {
            Some(id) => Batch::with_id(id.parse()?),
            None => Batch::new(),
        };
        let mut refused = None;
        let operations = Operations {
            batch: &mut batch,
            bodies: &mut bodies,
            max_ops,
            refused: &mut refused,
        };
        let read = serde_json::Deserializer::from_str(outline.operations.get())
            .deserialize_seq(operations);
        if let Some(error) = refused {
            return Err(error);
        }
        read.map_err(not_taken)?;
        if !bodies.is_empty() {
            return Err(Error::invalid(format!(
                "{} bytes stand behind the last body of the batch",
                bodies.len()
            )));
        }
        Ok(batch)
    }
}

/// A batch whose operations are not read yet.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Outline<'a> {
    #[serde(default)]
    id: Option<String>,
    #[serde(borrow)]
    operations: &'a RawValue,
}

/// Reads one operation after the other: as shapes, many small ones would take
/// far more memory than their text.
struct Operations<'a> {
    batch: &'a mut Batch,
    bodies: &'a mut Bytes,
    max_ops: usize,
    /// What serde has no room for.
    refused: &'a mut Option<Error>,
}

impl<'de> Visitor<'de> for Operations<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of operations")
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut operations: S) -> std::result::Result<(), S::Error> {
        for at in 0.. {
            let Some(shape) = operations.next_element::<OperationShape>()? else {
                break;
            };
            let operation = if at < self.max_ops {
                read_operation(shape, self.bodies)
                    .map_err(|error| error.while_doing(format!("operation {at} of the batch")))
            } else {
                Err(Error::too_large(format!(
                    "the batch has more than {} operations, the limit of this server",
                    self.max_ops
                )))
            };
            match operation {
                Ok(operation) => self.batch.push(operation),
                Err(error) => {
                    *self.refused = Some(error);
                    return Err(de::Error::custom("an operation is not taken"));
                }
            }
        }
        Ok(())
    }
}

fn write_operation(operation: &Operation, bodies: &mut Vec<Bytes>) -> Result<OperationShape> {
    let mut shape = OperationShape {
        op: String::new(),
        collection: operation.collection.as_str().to_owned(),
        key: operation.key.as_str().to_owned(),
        condition: write_condition(operation.condition),
        doc: None,
        body: None,
        body_length: None,
        staged: None,
        attrs: None,
    };
    let name = match &operation.action {
        Action::Delete => "delete",
        Action::Check => "check",
        Action::Put(put) => {
            let text = String::from_utf8_lossy(put.doc.as_bytes()).into_owned();
            let doc = RawValue::from_string(text)
                .map_err(|error| Error::corrupt("a doc is no JSON").because(error))?;
            shape.doc = Some(doc);
            match &put.body {
                NewBody::None => {}
                NewBody::Bytes(bytes) => {
                    shape.body_length = Some(bytes.len() as u64);
                    bodies.push(bytes.clone());
                }
                NewBody::Staged(staged) => shape.staged = Some(staged.into()),
            }
            shape.attrs = (!put.attrs.is_empty()).then(|| write_attrs(&put.attrs));
            "put"
        }
    };
    name.clone_into(&mut shape.op);
    Ok(shape)
}

fn read_operation(shape: OperationShape, bodies: &mut Bytes) -> Result<Operation> {
    let collection = CollectionName::new(&shape.collection)?;
    let key = Key::new(&shape.key)?;
    let action = match shape.op.as_str() {
        "put" => Action::Put(read_put(&shape, bodies)?),
        "delete" | "check" => {
            let of_a_put = shape.doc.is_some()
                || shape.body.is_some()
                || shape.body_length.is_some()
                || shape.staged.is_some()
                || shape.attrs.is_some();
            if of_a_put {
                return Err(Error::invalid(format!(
                    "a {} takes no doc, body or attrs",
                    shape.op
                )));
            }
            if shape.op == "delete" {
                Action::Delete
            } else {
                Action::Check
            }
        }
        other => {
            return Err(Error::invalid(format!(
                "the operation {other:?} is unknown; there are put, delete and check"
            )));
        }
    };
    Ok(Operation {
        collection,
        key,
        condition: read_condition(shape.condition.as_deref())?,
        action,
    })
}

fn read_put(shape: &OperationShape, bodies: &mut Bytes) -> Result<Put> {
    let body = match (&shape.body, shape.body_length, &shape.staged) {
        (None, None, None) => NewBody::None,
        (Some(text), None, None) => NewBody::Bytes(read_base64(text, "the body")?.into()),
        (None, None, Some(staged)) => NewBody::Staged(staged.read()?),
        (None, Some(length), None) => {
            let length = usize::try_from(length)
                .ok()
                .filter(|length| *length <= bodies.len());
            let length = length.ok_or_else(|| {
                Error::invalid("body_length says more bytes than stand behind the batch")
            })?;
            NewBody::Bytes(bodies.split_to(length))
        }
        _ => {
            return Err(Error::invalid(
                "a put takes one of body, body_length and staged",
            ));
        }
    };
    Ok(Put {
        doc: match &shape.doc {
            Some(doc) => Doc::parse(doc.get().to_owned())?,
            None => Doc::empty(),
        },
        body,
        attrs: match &shape.attrs {
            Some(text) => read_attrs(text)?,
            None => Attrs::default(),
        },
    })
}

fn write_condition(condition: Condition) -> Option<String> {
    match condition {
        Condition::Any => None,
        Condition::Absent => Some("absent".to_owned()),
        Condition::Present => Some("present".to_owned()),
        Condition::Version(version) => Some(version.to_string()),
    }
}

fn read_condition(text: Option<&str>) -> Result<Condition> {
    match text {
        None | Some("any") => Ok(Condition::Any),
        Some("absent") => Ok(Condition::Absent),
        Some("present") => Ok(Condition::Present),
        Some(version) => version.parse().map(Condition::Version).map_err(|_| {
            Error::invalid(format!(
                "{version:?} is no condition; there are any, absent, present, or a version"
            ))
        }),
    }
}

/// What the write of a batch answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchAnswer {
    /// The id of the batch, and so the version of what it put.
    #[cfg_attr(feature = "openapi", schema(value_type = crate::schema::Version))]
    pub id: String,
    /// For each operation the new entry, or null where it put nothing.
    pub entries: Vec<Option<EntryShape>>,
}

impl From<&Written> for BatchAnswer {
    fn from(written: &Written) -> Self {
        let entries = written.entries.iter();
        Self {
            id: written.id.to_string(),
            entries: entries
                .map(|entry| entry.as_ref().map(EntryShape::from))
                .collect(),
        }
    }
}

impl BatchAnswer {
    /// What it answers.
    ///
    /// # Errors
    /// `Invalid`, naming the member.
    pub fn read(&self) -> Result<Written> {
        let entry = |shape: &Option<EntryShape>| shape.as_ref().map(EntryShape::read).transpose();
        Ok(Written {
            id: self.id.parse()?,
            entries: self
                .entries
                .iter()
                .map(entry)
                .collect::<Result<Vec<Option<Entry>>>>()?,
        })
    }
}

/// The content of a framed batch.
impl Head {
    /// All of it in one.
    pub fn into_bytes(self) -> Bytes {
        let length = self.json.len() + self.bodies.iter().map(Bytes::len).sum::<usize>();
        let mut out = BytesMut::with_capacity(length);
        out.extend_from_slice(&self.json);
        for body in &self.bodies {
            out.extend_from_slice(body);
        }
        out.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdall_core::{Commit, Digest, Timestamp, Version};

    fn batch() -> Batch {
        let (items, key) = (CollectionName::new("a/b").unwrap(), |key| {
            Key::new(key).unwrap()
        });
        let version = Version::from_bytes([3; 16]);
        let mut put = Put::bytes("small").with_doc(Doc::parse(r#"{"n":1.0}"#).unwrap());
        put.attrs.set("slot", vec![1]).unwrap();
        let staged = Staged {
            id: version,
            size: 5,
            digest: Digest::of(b"large"),
            expires: Timestamp::from_micros(7),
        };
        Batch::with_id(version)
            .put(&items, &key("1"), Condition::Absent, put)
            .put(&items, &key("2"), Condition::Present, Put::staged(staged))
            .put(&items, &key("3"), Condition::Any, Put::bytes(""))
            .put(&items, &key("4"), Condition::Any, Put::default())
            .delete(&items, &key("5"), Condition::Version(version))
            .check(&items, &key("6"), Condition::Absent)
    }

    #[test]
    fn a_batch_comes_back_with_its_bodies() {
        let sent = batch();
        let head = BatchShape::write(&sent).unwrap();
        let (json, bodies) = (head.json.clone(), head.bodies.concat());
        let read = BatchShape::read(&json, bodies.into(), 6).unwrap();
        assert_eq!(format!("{read:?}"), format!("{sent:?}"));
        assert_eq!(head.into_bytes().len(), json.len() + 5);
    }

    /// A bug: all of it was read before its operations were counted, at tens
    /// of times the memory of its text.
    #[test]
    fn a_batch_of_more_operations_than_are_taken_is_not_read_to_its_end() {
        let json = BatchShape::write(&batch()).unwrap().json;
        let error = BatchShape::read(&json, "small".into(), 5).unwrap_err();
        assert_eq!(error.kind(), holdall_core::ErrorKind::TooLarge, "{error}");
        let delete = r#"{"op":"delete","collection":"c","key":"k"}"#;
        let behind = format!(r#"{{"operations":[{delete},{delete},7]}}"#);
        let error = BatchShape::read(behind.as_bytes(), Bytes::new(), 1).unwrap_err();
        assert_eq!(error.kind(), holdall_core::ErrorKind::TooLarge, "{error}");
    }

    #[test]
    fn a_batch_that_is_not_one_is_refused() {
        let put = r#"{"op":"put","collection":"c","key":"k""#;
        for (json, tail) in [
            ("", ""),
            ("{}", ""),
            (r#"{"operations":[],"more":1}"#, ""),
            (
                r#"{"operations":[{"op":"pat","collection":"c","key":"k"}]}"#,
                "",
            ),
            (
                r#"{"operations":[{"op":"delete","collection":"c","key":"k","doc":{}}]}"#,
                "",
            ),
            (
                r#"{"operations":[{"op":"delete","collection":"c","key":""}]}"#,
                "",
            ),
            (
                &format!(r#"{{"operations":[{put},"body_length":3}}]}}"#),
                "ab",
            ),
            (
                &format!(r#"{{"operations":[{put},"body_length":18446744073709551615}}]}}"#),
                "ab",
            ),
            (
                &format!(r#"{{"operations":[{put},"body_length":1}}]}}"#),
                "ab",
            ),
            (
                &format!(r#"{{"operations":[{put},"body_length":1,"body":""}}]}}"#),
                "a",
            ),
            (&format!(r#"{{"operations":[{put},"body":"?"}}]}}"#), ""),
            (&format!(r#"{{"operations":[{put},"doc":[]}}]}}"#), ""),
            (
                &format!(r#"{{"operations":[{put},"doc":{{"a":1,"a":2}}}}]}}"#),
                "",
            ),
            (&format!(r#"{{"operations":[{put},"if":"maybe"}}]}}"#), ""),
        ] {
            let tail = Bytes::copy_from_slice(tail.as_bytes());
            let error = BatchShape::read(json.as_bytes(), tail, 6).unwrap_err();
            assert_eq!(
                error.kind(),
                holdall_core::ErrorKind::Invalid,
                "{json}: {error}"
            );
        }
    }

    #[test]
    fn an_answer_comes_back() {
        let commit = Commit {
            at: Timestamp::from_micros(5),
            created: vec![Timestamp::from_micros(4)],
        };
        let written = Written {
            id: Version::from_bytes([3; 16]),
            entries: batch().entries(Version::from_bytes([3; 16]), &commit),
        };
        assert_eq!(BatchAnswer::from(&written).read().unwrap(), written);
    }
}
