//! Batches: what is written all or nothing.

use bytes::Bytes;
use hashbrown::HashSet;

use crate::{
    Attrs, Capabilities, CollectionName, Conditions, Digest, Doc, Entry, Error, Key, Result, Scope,
    Staged, Timestamp, Version,
};

/// Puts, deletes and checks that take effect all or nothing, under one id.
///
/// Each item stands in it once. The id becomes the version of what is put.
///
/// ```
/// use holdall_core::{Batch, CollectionName, Condition, Doc, Key, Put};
/// let accounts = CollectionName::new("accounts")?;
/// let batch = Batch::new()
///     .put(&accounts, &Key::new("ada")?, Condition::Absent, Put::doc(Doc::parse(r#"{"balance":5}"#)?))
///     .check(&accounts, &Key::new("bank")?, Condition::Present);
/// assert_eq!(batch.operations().len(), 2);
/// # Ok::<(), holdall_core::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Batch {
    id: Option<Version>,
    operations: Vec<Operation>,
}

/// One operation of a batch.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The collection.
    pub collection: CollectionName,
    /// The key.
    pub key: Key,
    /// What must hold at commit.
    pub condition: Condition,
    /// What is done.
    pub action: Action,
}

/// What an operation does.
#[derive(Clone, Debug)]
pub enum Action {
    /// Puts an item in the place of what is there, all of it.
    Put(Put),
    /// Deletes; nothing there is fine, unless the condition says otherwise.
    Delete,
    /// Does nothing but hold the condition.
    Check,
}

/// What must hold of an item when the batch commits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Anything.
    #[default]
    Any,
    /// It is not there.
    Absent,
    /// It is there.
    Present,
    /// It is there and of this version.
    Version(Version),
}

impl Condition {
    /// Whether it holds of an item with this version, or of none.
    pub fn holds(self, current: Option<Version>) -> bool {
        match self {
            Self::Any => true,
            Self::Absent => current.is_none(),
            Self::Present => current.is_some(),
            Self::Version(version) => current == Some(version),
        }
    }

    /// Checks it.
    ///
    /// # Errors
    /// `Conflict`, saying what was wanted and what is there.
    pub fn check(self, operation: &Operation, current: Option<Version>) -> Result<()> {
        if self.holds(current) {
            return Ok(());
        }
        let wanted = match self {
            Self::Any | Self::Present => "it was to be present".to_owned(),
            Self::Absent => "it was to be absent".to_owned(),
            Self::Version(version) => format!("it was to be of version {version}"),
        };
        let found = match current {
            None => "there is none".to_owned(),
            Some(version) => format!("it is of version {version}"),
        };
        Err(Error::conflict(format!(
            "the item is not as the write wanted it: {wanted}, but {found}. Read it again, then decide"
        ))
        .at(&operation.collection, Some(&operation.key)))
    }
}

/// What a put puts.
#[derive(Clone, Debug, Default)]
pub struct Put {
    /// The doc.
    pub doc: Doc,
    /// The body.
    pub body: NewBody,
    /// What layers keep with the item. Not for applications.
    pub attrs: Attrs,
}

impl Put {
    /// A doc without a body.
    pub fn doc(doc: Doc) -> Self {
        Self {
            doc,
            ..Self::default()
        }
    }

    /// A body in memory, with an empty doc.
    pub fn bytes(body: impl Into<Bytes>) -> Self {
        Self {
            body: NewBody::Bytes(body.into()),
            ..Self::default()
        }
    }

    /// A staged body, with an empty doc.
    pub fn staged(body: Staged) -> Self {
        Self {
            body: NewBody::Staged(body),
            ..Self::default()
        }
    }

    /// The same with another doc.
    #[must_use]
    pub fn with_doc(mut self, doc: Doc) -> Self {
        self.doc = doc;
        self
    }

    fn inline_len(&self) -> u64 {
        match &self.body {
            NewBody::Bytes(bytes) => bytes.len() as u64,
            NewBody::None | NewBody::Staged(_) => 0,
        }
    }
}

/// The body of a put.
#[derive(Clone, Debug, Default)]
pub enum NewBody {
    /// No body, which is not the same as an empty one.
    #[default]
    None,
    /// Bytes in memory; for small bodies.
    Bytes(Bytes),
    /// One that [`stage`](crate::Backend::stage) took in.
    Staged(Staged),
}

impl NewBody {
    /// Size and digest, as they will stand in the entry. Hashes bytes.
    pub fn measure(&self) -> (u64, Option<Digest>) {
        match self {
            Self::None => (0, None),
            Self::Bytes(bytes) => (bytes.len() as u64, Some(Digest::of(bytes))),
            Self::Staged(staged) => (staged.size, Some(staged.digest)),
        }
    }
}

impl Batch {
    /// An empty batch; the backend chooses its id.
    pub fn new() -> Self {
        Self::default()
    }

    /// An empty batch with an id of the caller's, for one who wants to
    /// [`resolve`](crate::Backend::resolve) it should its answer be lost.
    /// Take the id from [`Env::version`](crate::Env::version).
    pub fn with_id(id: Version) -> Self {
        Self {
            id: Some(id),
            operations: Vec::new(),
        }
    }

    /// The id, if one was chosen.
    pub fn id(&self) -> Option<Version> {
        self.id
    }

    /// The id, chosen now if none was.
    pub fn ensure_id(&mut self, env: &crate::Env) -> Version {
        *self.id.get_or_insert_with(|| env.version())
    }

    /// The operations.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operations, to change them; for layers.
    pub fn operations_mut(&mut self) -> &mut [Operation] {
        &mut self.operations
    }

    /// Adds any operation.
    pub fn push(&mut self, operation: Operation) {
        self.operations.push(operation);
    }

    /// Adds a put.
    pub fn put(
        self,
        collection: &CollectionName,
        key: &Key,
        condition: Condition,
        put: Put,
    ) -> Self {
        self.with(collection, key, condition, Action::Put(put))
    }

    /// Adds a delete.
    pub fn delete(self, collection: &CollectionName, key: &Key, condition: Condition) -> Self {
        self.with(collection, key, condition, Action::Delete)
    }

    /// Adds a check.
    pub fn check(self, collection: &CollectionName, key: &Key, condition: Condition) -> Self {
        self.with(collection, key, condition, Action::Check)
    }

    fn with(
        mut self,
        collection: &CollectionName,
        key: &Key,
        condition: Condition,
        action: Action,
    ) -> Self {
        self.operations.push(Operation {
            collection: collection.clone(),
            key: key.clone(),
            condition,
            action,
        });
        self
    }

    /// What the batch counts against [`BatchLimits::max_bytes`]: keys, docs,
    /// attrs, and bodies given as bytes.
    ///
    /// [`BatchLimits::max_bytes`]: crate::BatchLimits::max_bytes
    pub fn bytes(&self) -> u64 {
        self.operations.iter().map(Operation::bytes).sum()
    }

    /// Checks the batch against what a backend can do. Every backend calls it
    /// first, so that what is refused is refused before anything is touched.
    ///
    /// # Errors
    /// `Invalid` for an empty batch or an item that stands in it twice;
    /// `Unsupported` beyond the scope or the conditions; `TooLarge` beyond a
    /// limit. It names the item.
    pub fn validate(&self, can: &Capabilities) -> Result<()> {
        let limits = can.batch;
        if self.operations.is_empty() {
            return Err(Error::invalid("the batch has no operations"));
        }
        // Before the number of operations: where the scope is one item, that
        // is what a batch of two breaks, whatever the limit says.
        self.validate_scope(limits.scope)?;
        if self.operations.len() > limits.max_ops {
            return Err(Error::too_large(format!(
                "the batch has {} operations; the limit is {}",
                self.operations.len(),
                limits.max_ops
            )));
        }
        let bytes = self.bytes();
        if bytes > limits.max_bytes {
            return Err(Error::too_large(format!(
                "the batch has {bytes} bytes; the limit is {}. Stage large bodies, or write less at once",
                limits.max_bytes
            )));
        }
        if let [only] = self.operations.as_slice() {
            return only.validate(can);
        }
        let mut seen = HashSet::with_capacity(self.operations.len());
        for operation in &self.operations {
            operation.validate(can)?;
            if !seen.insert((&operation.collection, &operation.key)) {
                return Err(Error::invalid("an item stands in the batch twice")
                    .at(&operation.collection, Some(&operation.key)));
            }
        }
        Ok(())
    }

    fn validate_scope(&self, scope: Scope) -> Result<()> {
        let Some((first, rest)) = self.operations.split_first() else {
            return Ok(());
        };
        let (fits, reach) = match scope {
            Scope::Store => return Ok(()),
            Scope::Collection => (
                rest.iter().all(|o| o.collection == first.collection),
                "one collection",
            ),
            Scope::Item => (rest.is_empty(), "one item"),
        };
        if fits {
            return Ok(());
        }
        Err(Error::unsupported(format!(
            "this backend writes batches of {reach} at most; nothing was written"
        )))
    }

    /// What the write answers: for each operation the new entry, or `None`
    /// where it put nothing.
    pub fn entries(&self, id: Version, commit: &Commit) -> Vec<Option<Entry>> {
        let mut created = commit.created.iter();
        self.operations
            .iter()
            .map(|operation| {
                let Action::Put(put) = &operation.action else {
                    return None;
                };
                let (size, digest) = put.body.measure();
                Some(Entry {
                    version: id,
                    created: created.next().copied().unwrap_or(commit.at),
                    modified: commit.at,
                    size,
                    digest,
                })
            })
            .collect()
    }
}

impl Operation {
    fn bytes(&self) -> u64 {
        // Not the collection's name: layers lengthen it, and a batch at the
        // limit they declare would be past that of the backend within.
        let key = self.key.as_str().len() as u64;
        match &self.action {
            Action::Put(put) => {
                let kept = (put.doc.as_bytes().len() + put.attrs.bytes()) as u64;
                key + kept + put.inline_len()
            }
            Action::Delete | Action::Check => key,
        }
    }

    fn validate(&self, can: &Capabilities) -> Result<()> {
        self.check_limits(can)
            .map_err(|error| error.at(&self.collection, Some(&self.key)))
    }

    fn check_limits(&self, can: &Capabilities) -> Result<()> {
        let supported = match self.condition {
            Condition::Any => true,
            Condition::Absent => can.conditions >= Conditions::CreateOnly,
            Condition::Present | Condition::Version(_) => can.conditions >= Conditions::Full,
        };
        if !supported {
            return Err(Error::unsupported(format!(
                "this backend cannot check the condition {:?} at commit",
                self.condition
            )));
        }
        let too_large = |what: &str, size: u64, limit: u64| {
            Err(Error::too_large(format!(
                "the {what} has {size} bytes; the limit of this backend is {limit}"
            )))
        };
        let key = self.key.as_str().len();
        if key > can.max_key {
            return too_large("key", key as u64, can.max_key as u64);
        }
        let Action::Put(put) = &self.action else {
            return Ok(());
        };
        let doc = put.doc.as_bytes().len();
        if doc > can.max_doc {
            return too_large("doc", doc as u64, can.max_doc as u64);
        }
        let body = match &put.body {
            NewBody::Staged(staged) => staged.size,
            NewBody::None | NewBody::Bytes(_) => put.inline_len(),
        };
        if body > can.max_body {
            return too_large("body", body, can.max_body);
        }
        Ok(())
    }
}

/// What a committed batch left that its writer could not know beforehand.
///
/// Together with the batch it gives the entries ([`Batch::entries`]).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// When it was committed.
    pub at: Timestamp,
    /// For each put in the order of the batch, when its item was first put.
    pub created: Vec<Timestamp>,
}

/// What a write answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// The id of the batch, and so the version of what it put.
    pub id: Version,
    /// For each operation the new entry, or `None` where it put nothing.
    pub entries: Vec<Option<Entry>>,
}

/// What became of a batch whose answer was lost.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It took effect. What the backend recorded of it tells the entries; one
    /// that records nothing knows only that it happened.
    Committed(Option<Commit>),
    /// It did not, and never will: the id is refused from now on.
    Aborted,
    /// It cannot be told. Look at the items themselves.
    Unknown,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Backend, BatchLimits, ErrorKind, MemoryBackend};

    /// The name of the collection was counted and attrs were not: a batch at
    /// the limit that a namespace declares was past that of the backend in it,
    /// and 4 KiB of attrs an item came on top of any limit.
    #[test]
    fn bytes_are_those_of_keys_docs_attrs_and_bodies() {
        let key = Key::new("four").unwrap();
        let mut put = Put::bytes("body!");
        put.attrs.set("slot", vec![0; 10]).unwrap();
        let bytes = |collection: &str| {
            let collection = CollectionName::new(collection).unwrap();
            Batch::new()
                .put(&collection, &key, Condition::Any, put.clone())
                .delete(&collection, &Key::new("b").unwrap(), Condition::Any)
                .bytes()
        };
        assert_eq!(bytes("c"), 4 + 2 + 5 + put.attrs.encode().len() as u64 + 1);
        assert_eq!(bytes("c"), bytes("tenant/c"));
    }

    /// A backend of scope `Item` has no reason to take more than one operation,
    /// and its batches of two were `TooLarge`, as if fewer bytes would help.
    #[test]
    fn a_batch_beyond_the_scope_is_unsupported_whatever_the_limit() {
        let capabilities = MemoryBackend::new().capabilities();
        let can = Capabilities {
            batch: BatchLimits {
                scope: Scope::Item,
                max_ops: 1,
                ..capabilities.batch
            },
            ..capabilities
        };
        let (items, key) = ("items".parse().unwrap(), |key: &str| Key::new(key).unwrap());
        let one = Batch::new().delete(&items, &key("a"), Condition::Any);
        assert!(one.validate(&can).is_ok());
        let two = one.delete(&items, &key("b"), Condition::Any);
        assert_eq!(
            two.validate(&can).unwrap_err().kind(),
            ErrorKind::Unsupported
        );
    }
}
