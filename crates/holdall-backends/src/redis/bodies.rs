//! Large bodies: taken in and read in pieces.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use holdall_core::{
    Body, BodyHasher, ByteStream, CollectionName, Digest, Error, Result, Staged, Timestamp, Version,
};

use super::link::{Fault, Line};
use super::script::{Call, DISCARD, STAGE};
use super::{Shared, answer};
use crate::pieces::{self, Cut};

/// The most bytes of a body that lies with its item.
pub(super) const INLINE: usize = 64 * 1024;

/// The bytes of a piece; the last may have fewer.
const PIECE: usize = 256 * 1024;

/// Bytes that are sent at once.
const STEP: usize = 4 * PIECE;

/// The most bytes of a body.
pub(super) const MAX_BODY: u64 = 64 * 1024 * 1024 * 1024;

/// Takes a body in. If that fails, or is given up, nothing stays, at the latest when
/// its lease is over.
pub(super) async fn stage(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    body: ByteStream,
) -> Result<Staged> {
    let id = shared.options.env.version();
    let upload = Upload {
        shared,
        collection,
        id,
        next: 0,
    };
    let staged = upload.take(body).await;
    if staged.is_err() {
        discard(shared, &[id], None).await.ok();
    }
    staged
}

struct Upload<'a> {
    shared: &'a Shared,
    collection: &'a CollectionName,
    id: Version,
    /// The number of the next piece.
    next: usize,
}

impl Upload<'_> {
    async fn take(mut self, mut body: ByteStream) -> Result<Staged> {
        let mut hasher = BodyHasher::default();
        let mut buffer = BytesMut::new();
        while let Some(piece) = body.try_next().await? {
            hasher.update(&piece);
            if hasher.size() > MAX_BODY {
                return Err(Error::too_large(format!(
                    "the body has more than {MAX_BODY} bytes, the limit of this backend"
                )));
            }
            let mut rest = piece.as_ref();
            while !rest.is_empty() {
                let room = STEP - buffer.len();
                let (head, tail) = rest.split_at_checked(room).unwrap_or((rest, &[]));
                buffer.extend_from_slice(head);
                rest = tail;
                if buffer.len() == STEP {
                    self.send(&std::mem::take(&mut buffer), None).await?;
                }
            }
        }
        let expires = self.send(&buffer, Some(&hasher)).await?;
        Ok(Staged {
            id: self.id,
            size: hasher.size(),
            digest: hasher.digest(),
            expires,
        })
    }

    /// Sends bytes, the last ones with what all are. Answers the end of the lease.
    async fn send(&mut self, bytes: &[u8], end: Option<&BodyHasher>) -> Result<Timestamp> {
        let names = &self.shared.names;
        let now = self.shared.options.env.now();
        let expires = now.after(self.shared.options.lease);
        let mut call = Call::new(&STAGE, names.all(["leases", "staged", "small"]));
        call.keys([names.body(self.id)]);
        let record = end.map(|all| record(self.collection, all.size(), all.digest()));
        let small = end.is_some_and(|all| all.size() <= INLINE as u64);
        call.arg(self.id.as_bytes().to_vec())
            .number(now.as_micros())
            .number(expires.as_micros())
            .flag(self.next == 0)
            .arg(record.unwrap_or_default())
            .flag(small);
        if small {
            call.arg(bytes);
        } else {
            for piece in bytes.chunks(PIECE) {
                call.number(self.next).arg(piece);
                self.next += 1;
            }
        }
        let answer = call.write(&self.shared.link, Line::Read).await;
        // Nobody knows of it yet: whatever became of the call, staging again is right.
        match answer::word(answer.map_err(Fault::of_read)?)?.as_str() {
            "done" => Ok(expires),
            _ => Err(Error::expired(
                "the lease of the body ended while it was staged; stage it again",
            )),
        }
    }
}

/// What is kept of a body that waits for its batch.
pub(super) fn record(collection: &CollectionName, size: u64, digest: Digest) -> Vec<u8> {
    let mut out = size.to_be_bytes().to_vec();
    out.extend_from_slice(digest.as_bytes());
    out.extend_from_slice(collection.as_str().as_bytes());
    out
}

/// Removes bodies that wait for a batch: all of these, or those whose lease is over
/// at a time.
pub(super) async fn discard(
    shared: &Shared,
    ids: &[Version],
    now: Option<Timestamp>,
) -> Result<()> {
    if ids.is_empty() {
        return Ok(());
    }
    let names = &shared.names;
    let mut call = Call::new(&DISCARD, names.all(["leases", "staged", "small"]));
    call.keys(ids.iter().map(|id| names.body(*id)));
    match now {
        Some(now) => call.number(now.as_micros()),
        None => call.text(""),
    };
    for id in ids {
        call.arg(id.as_bytes().as_slice());
    }
    let removed = call.write(&shared.link, Line::Read).await;
    removed.map(drop).map_err(Fault::of_read)
}

/// A large body, read while it is consumed, a few pieces at a time.
pub(super) fn body(
    shared: Arc<Shared>,
    id: Version,
    range: Range<u64>,
    size: u64,
    digest: Option<Digest>,
) -> Body {
    let cut = Cut {
        piece: PIECE,
        at_once: STEP / PIECE,
    };
    pieces::body(cut, range, size, digest, move |numbers| {
        read(shared.clone(), id, numbers)
    })
}

/// Pieces of a body; `None` if one is gone.
async fn read(shared: Arc<Shared>, id: Version, numbers: Range<u64>) -> Result<Option<Bytes>> {
    shared.check_open()?;
    let mut read = ::redis::cmd("HMGET");
    read.arg(shared.names.body(id).as_slice());
    for number in numbers {
        read.arg(number);
    }
    let found = shared.link.read(&read).await.map_err(Fault::of_read)?;
    let mut bytes = BytesMut::new();
    for piece in answer::list(found)? {
        let Some(piece) = answer::bytes_or_none(Some(piece))? else {
            return Ok(None);
        };
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes.freeze()))
}
