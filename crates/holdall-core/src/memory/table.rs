//! One collection in memory.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use hashbrown::{HashMap, HashSet};

use super::slice;
use crate::{
    Action, Attrs, ByteRange, CollectionName, Doc, Entry, Index, Item, Key, Operation, Parts,
    Result, Scan,
};

pub(super) struct Stored {
    pub(super) entry: Entry,
    pub(super) doc: Doc,
    pub(super) body: Option<Bytes>,
    pub(super) attrs: Attrs,
}

impl Stored {
    pub(super) fn item(&self, key: &Key, parts: Parts, range: Option<ByteRange>) -> Result<Item> {
        let body = match &self.body {
            Some(body) if parts.body => Some(slice(body, range)?),
            _ => None,
        };
        Ok(Item {
            key: key.clone(),
            entry: self.entry,
            doc: parts.doc.then(|| self.doc.clone()),
            body,
            attrs: self.attrs.clone(),
        })
    }
}

/// The items of a collection, by hash for reads and by order for scans, and
/// the values of its unique indexes.
///
/// Other indexes are not kept: they change no answer, and a scan of memory is
/// what they would be compared with.
#[derive(Default)]
pub(super) struct Table {
    by_hash: HashMap<Key, Arc<Stored>>,
    by_order: BTreeMap<Key, Arc<Stored>>,
    unique: Vec<Unique>,
}

struct Unique {
    index: Index,
    owners: HashMap<Vec<u8>, Key>,
}

impl Table {
    pub(super) fn get(&self, key: &Key) -> Option<&Arc<Stored>> {
        self.by_hash.get(key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_hash.is_empty()
    }

    pub(super) fn has_unique(&self) -> bool {
        !self.unique.is_empty()
    }

    pub(super) fn insert(&mut self, key: Key, stored: Stored) -> Result<()> {
        self.remove(&key)?;
        for unique in &mut self.unique {
            if let Some(values) = unique.index.unique_values(&stored.doc)? {
                unique.owners.insert(values, key.clone());
            }
        }
        let stored = Arc::new(stored);
        self.by_hash.insert(key.clone(), stored.clone());
        self.by_order.insert(key, stored);
        Ok(())
    }

    pub(super) fn remove(&mut self, key: &Key) -> Result<()> {
        let Some(stored) = self.by_hash.remove(key) else {
            return Ok(());
        };
        self.by_order.remove(key);
        for unique in &mut self.unique {
            if let Some(values) = unique.index.unique_values(&stored.doc)?
                && unique.owners.get(&values) == Some(key)
            {
                unique.owners.remove(&values);
            }
        }
        Ok(())
    }

    /// All that a scan finds, as of now.
    pub(super) fn range(&self, scan: &Scan) -> Vec<(Key, Arc<Stored>)> {
        let Some((low, high)) = scan.bounds() else {
            return Vec::new();
        };
        let bounds = (as_str(&low), as_str(&high));
        let limit = scan.limit.map_or(usize::MAX, |limit| {
            usize::try_from(limit).unwrap_or(usize::MAX)
        });
        let range = self
            .by_order
            .range::<str, _>(bounds)
            .map(|(key, stored)| (key.clone(), stored.clone()));
        if scan.reverse {
            range.rev().take(limit).collect()
        } else {
            range.take(limit).collect()
        }
    }

    pub(super) fn define(&mut self, name: &CollectionName, indexes: &[Index]) -> Result<()> {
        let mut added = Vec::new();
        for index in indexes.iter().filter(|index| index.unique) {
            if self
                .unique
                .iter()
                .chain(&added)
                .any(|unique| unique.index == *index)
            {
                continue;
            }
            let mut unique = Unique {
                index: index.clone(),
                owners: HashMap::new(),
            };
            for (key, stored) in &self.by_order {
                let Some(values) = unique.index.unique_values(&stored.doc)? else {
                    continue;
                };
                if let Some(first) = unique.owners.insert(values, key.clone()) {
                    return Err(index
                        .taken(key.as_str(), first.as_str())
                        .at(name, Some(key)));
                }
            }
            added.push(unique);
        }
        self.unique.append(&mut added);
        Ok(())
    }

    /// Checks the unique indexes as they will be after the whole batch.
    pub(super) fn check_unique<'a>(
        &self,
        name: &CollectionName,
        operations: impl Iterator<Item = &'a Operation>,
    ) -> Result<()> {
        let operations: Vec<_> = operations
            .filter(|operation| !matches!(operation.action, Action::Check))
            .collect();
        let touched: HashSet<&Key> = operations.iter().map(|operation| &operation.key).collect();
        for unique in &self.unique {
            let mut new: HashMap<Vec<u8>, &Key> = HashMap::new();
            for operation in &operations {
                let Action::Put(put) = &operation.action else {
                    continue;
                };
                let Some(values) = unique.index.unique_values(&put.doc)? else {
                    continue;
                };
                let owner = unique
                    .owners
                    .get(&values)
                    .filter(|owner| !touched.contains(owner));
                if let Some(other) = owner.or_else(|| new.get(&values).copied()) {
                    return Err(unique
                        .index
                        .taken(operation.key.as_str(), other.as_str())
                        .at(name, Some(&operation.key)));
                }
                new.insert(values, &operation.key);
            }
        }
        Ok(())
    }
}

fn as_str(bound: &Bound<String>) -> Bound<&str> {
    match bound {
        Bound::Included(edge) => Bound::Included(edge),
        Bound::Excluded(edge) => Bound::Excluded(edge),
        Bound::Unbounded => Bound::Unbounded,
    }
}
