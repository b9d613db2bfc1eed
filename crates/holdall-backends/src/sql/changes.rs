//! The log of changes: how a batch's changes are kept, and the places in it that
//! cursors name.

use holdall_core::{
    Change, ChangeKind, CollectionName, Commit, Error, Key, Result, Timestamp, Version, WatchCursor,
};

/// A change as it is kept.
pub(crate) struct Logged {
    pub(crate) collection: i64,
    /// Empty for a dropped collection.
    pub(crate) key: String,
    pub(crate) kind: ChangeKind,
    pub(crate) previous: Option<Version>,
    pub(crate) created: Timestamp,
}

/// For each change: 1 byte of kind (1 put, 2 delete, 3 dropped), 4 of the
/// collection's id, 2 of the key's length, the key, 1 byte that is 1 if the
/// previous version follows, then for a put 8 of the time of creation. Numbers
/// are big-endian.
pub(crate) fn encode(changes: &[Logged]) -> Vec<u8> {
    let mut out = Vec::with_capacity(changes.len() * 48);
    for change in changes {
        out.push(match change.kind {
            ChangeKind::Put => 1,
            ChangeKind::Delete => 2,
            ChangeKind::Dropped => 3,
        });
        out.extend_from_slice(
            &u32::try_from(change.collection)
                .unwrap_or(u32::MAX)
                .to_be_bytes(),
        );
        // A key has at most 1,024 bytes.
        out.extend_from_slice(
            &u16::try_from(change.key.len())
                .unwrap_or(u16::MAX)
                .to_be_bytes(),
        );
        out.extend_from_slice(change.key.as_bytes());
        match &change.previous {
            Some(previous) => {
                out.push(1);
                out.extend_from_slice(previous.as_bytes());
            }
            None => out.push(0),
        }
        if change.kind == ChangeKind::Put {
            out.extend_from_slice(&change.created.as_micros().to_be_bytes());
        }
    }
    out
}

pub(crate) fn decode(mut rest: &[u8]) -> Result<Vec<Logged>> {
    let mut changes = Vec::new();
    while !rest.is_empty() {
        let change =
            decode_one(&mut rest).ok_or_else(|| Error::corrupt("the log of changes is damaged"))?;
        changes.push(change);
    }
    Ok(changes)
}

fn decode_one(rest: &mut &[u8]) -> Option<Logged> {
    let kind = match take::<1>(rest)? {
        [1] => ChangeKind::Put,
        [2] => ChangeKind::Delete,
        [3] => ChangeKind::Dropped,
        _ => return None,
    };
    let collection = u32::from_be_bytes(take(rest)?).into();
    let len = u16::from_be_bytes(take(rest)?);
    let (key, tail) = rest.split_at_checked(len.into())?;
    let key = std::str::from_utf8(key).ok()?.to_owned();
    *rest = tail;
    let previous = match take::<1>(rest)? {
        [0] => None,
        _ => Some(Version::from_bytes(take(rest)?)),
    };
    let created = match kind {
        ChangeKind::Put => i64::from_be_bytes(take(rest)?),
        ChangeKind::Delete | ChangeKind::Dropped => 0,
    };
    Some(Logged {
        collection,
        key,
        kind,
        previous,
        created: Timestamp::from_micros(created),
    })
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// What a committed batch tells whoever resolves it.
pub(crate) fn commit(at: Timestamp, changes: &[Logged]) -> Commit {
    let puts = changes
        .iter()
        .filter(|change| change.kind == ChangeKind::Put);
    Commit {
        at,
        created: puts.map(|change| change.created).collect(),
    }
}

/// Where a watcher is: behind so many changes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) seq: i64,
    pub(crate) changes: u32,
}

impl Place {
    /// Behind all changes of a batch.
    pub(crate) fn behind(seq: i64) -> Self {
        Self {
            seq,
            changes: u32::MAX,
        }
    }

    /// The place of a cursor of the store with this identity.
    ///
    /// # Errors
    /// `Invalid` if it is of another store, or behind the newest batch.
    pub(crate) fn of(cursor: &WatchCursor, identity: Version, newest: i64) -> Result<Self> {
        let foreign =
            || Error::invalid("the watch cursor is not one of this store; watch from now");
        let mut rest = cursor.as_bytes();
        let parts = take::<16>(&mut rest)
            .zip(take::<8>(&mut rest))
            .zip(take::<4>(&mut rest));
        let Some(((owner, seq), changes)) = parts.filter(|_| rest.is_empty()) else {
            return Err(foreign());
        };
        let place = Self {
            seq: i64::from_be_bytes(seq),
            changes: u32::from_be_bytes(changes),
        };
        if owner != *identity.as_bytes() || place.seq > newest || place.seq < 0 {
            return Err(foreign());
        }
        Ok(place)
    }

    /// Checks that nothing behind it was removed: batches up to `trimmed` were.
    ///
    /// # Errors
    /// `Expired`.
    pub(crate) fn check_kept(self, trimmed: i64) -> Result<()> {
        // Behind the last change that was removed, nothing is missing.
        if self.seq < trimmed || (self.seq == trimmed && self.seq > 0 && self.changes != u32::MAX) {
            return Err(Error::expired(
                "the changes behind this watch cursor are no longer kept; scan, and watch from now",
            ));
        }
        Ok(())
    }

    fn cursor(self, identity: Version) -> WatchCursor {
        let mut cursor = identity.as_bytes().to_vec();
        cursor.extend_from_slice(&self.seq.to_be_bytes());
        cursor.extend_from_slice(&self.changes.to_be_bytes());
        WatchCursor::from_bytes(cursor)
    }
}

/// A kept change as a watcher is told of it.
pub(crate) fn told(
    identity: Version,
    place: Place,
    collection: CollectionName,
    batch: Version,
    change: Logged,
) -> Result<Change> {
    Ok(Change {
        cursor: place.cursor(identity),
        collection,
        key: if change.kind == ChangeKind::Dropped {
            None
        } else {
            Some(Key::new(change.key)?)
        },
        kind: change.kind,
        version: (change.kind == ChangeKind::Put).then_some(batch),
        previous: change.previous,
        batch,
    })
}
