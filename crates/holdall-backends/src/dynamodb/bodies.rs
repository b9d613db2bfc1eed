//! Large bodies: taken in and read in pieces, a row each.

use std::ops::Range as Bytes_;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use holdall_core::{
    Body, BodyHasher, ByteStream, CollectionName, Digest, Error, Result, Staged, Timestamp, Version,
};

use super::Shared;
use super::row::{Place, Row};
use super::table::Range;
use crate::pieces::{self, Cut};

/// The most bytes of a body that lies with its item.
pub(super) const INLINE: usize = 64 * 1024;

/// The bytes of a piece; the last may have fewer.
const PIECE: usize = 256 * 1024;

/// Pieces that are sent, and read, at once.
const AT_ONCE: usize = 4;

/// The most bytes of a body.
pub(super) const MAX_BODY: u64 = 64 * 1024 * 1024 * 1024;

/// The row that says until when a body is kept without an item.
pub(super) fn lease_place(shared: &Shared, id: &str) -> Place {
    Place::new(shared.partition("staged"), id)
}

fn piece_place(shared: &Shared, id: &str, number: u64) -> Place {
    Place::new(
        shared.partition(&format!("body/{id}")),
        format!("{number:08}"),
    )
}

/// What is kept of a body that waits for its batch.
pub(super) fn record(collection: &CollectionName, size: u64, digest: Digest) -> Vec<u8> {
    let mut out = size.to_be_bytes().to_vec();
    out.extend_from_slice(digest.as_bytes());
    out.extend_from_slice(collection.as_str().as_bytes());
    out
}

/// Takes a body in. If that fails, or is given up, nothing stays, at the latest when
/// its lease is over.
pub(super) async fn stage(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    body: ByteStream,
) -> Result<Staged> {
    let upload = Upload {
        shared,
        id: shared.options.env.version(),
        next: 0,
    };
    let id = upload.id.to_string();
    let staged = upload.take(collection, body).await;
    if staged.is_err() {
        discard(shared, &id).await.ok();
    }
    staged
}

struct Upload<'a> {
    shared: &'a Shared,
    id: Version,
    /// The number of the next piece.
    next: u64,
}

impl Upload<'_> {
    async fn take(mut self, collection: &CollectionName, mut body: ByteStream) -> Result<Staged> {
        let mut hasher = BodyHasher::default();
        let mut buffer = BytesMut::new();
        let first = self.lease();
        self.shared.table.put(self.lease_row(first)).await?;
        while let Some(piece) = body.try_next().await? {
            hasher.update(&piece);
            if hasher.size() > MAX_BODY {
                return Err(Error::too_large(format!(
                    "the body has more than {MAX_BODY} bytes, the limit of this backend"
                )));
            }
            let mut rest = piece.as_ref();
            while !rest.is_empty() {
                let room = AT_ONCE * PIECE - buffer.len();
                let (head, tail) = rest.split_at_checked(room).unwrap_or((rest, &[]));
                buffer.extend_from_slice(head);
                rest = tail;
                if buffer.len() == AT_ONCE * PIECE {
                    self.send(&std::mem::take(&mut buffer)).await?;
                    let expires = self.lease();
                    self.renew(self.lease_row(expires)).await?;
                }
            }
        }
        self.send(&buffer).await?;
        let (size, digest) = (hasher.size(), hasher.digest());
        let expires = self.lease();
        let row = self.lease_row(expires);
        self.renew(row.with_bytes("r", record(collection, size, digest)))
            .await?;
        Ok(Staged {
            id: self.id,
            size,
            digest,
            expires,
        })
    }

    fn lease(&self) -> Timestamp {
        let options = &self.shared.options;
        options.env.now().after(options.lease)
    }

    fn lease_row(&self, expires: Timestamp) -> Row {
        let place = lease_place(self.shared, &self.id.to_string());
        Row::at(&place).with_number("x", expires.as_micros())
    }

    async fn renew(&self, row: Row) -> Result<()> {
        let now = self.shared.options.env.now().as_micros();
        match self.shared.table.put_if_above(row, "x", now).await? {
            true => Ok(()),
            false => Err(Error::expired(
                "the lease of the body ended while it was staged; stage it again",
            )),
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let id = self.id.to_string();
        let rows: Vec<_> = bytes
            .chunks(PIECE)
            .zip(self.next..)
            .map(|(piece, number)| {
                Row::at(&piece_place(self.shared, &id, number)).with_bytes("b", piece)
            })
            .collect();
        self.next += rows.len() as u64;
        let puts = rows.into_iter().map(|row| self.shared.table.put(row));
        futures_util::future::try_join_all(puts).await.map(drop)
    }
}

/// Removes a body that waits for no batch any more.
pub(super) async fn discard(shared: &Shared, id: &str) -> Result<()> {
    shared.table.remove([lease_place(shared, id)]).await?;
    remove(shared, id).await
}

/// Removes the pieces of a body.
pub(super) async fn remove(shared: &Shared, id: &str) -> Result<()> {
    let partition = shared.partition(&format!("body/{id}"));
    let range = Range {
        limit: 256,
        columns: &["x"],
        ..Range::default()
    };
    loop {
        let (rows, more) = shared.table.query(&partition, &range).await?;
        let places = rows.iter().map(Row::place).collect::<Result<Vec<_>>>()?;
        shared.table.remove(places).await?;
        if !more {
            return Ok(());
        }
    }
}

/// A large body, read while it is consumed, a few pieces at a time.
pub(super) fn body(
    shared: Arc<Shared>,
    id: String,
    range: Bytes_<u64>,
    size: u64,
    digest: Option<Digest>,
) -> Body {
    let cut = Cut {
        piece: PIECE,
        at_once: AT_ONCE,
    };
    pieces::body(cut, range, size, digest, move |numbers| {
        read(shared.clone(), id.clone(), numbers)
    })
}

/// Pieces of a body; `None` if one is gone.
async fn read(shared: Arc<Shared>, id: String, numbers: Bytes_<u64>) -> Result<Option<Bytes>> {
    shared.check_open()?;
    let place = |number| piece_place(&shared, &id, number);
    let places = numbers.clone().map(place);
    let mut rows = shared.table.get_many(places, &["b"]).await?;
    let mut bytes = BytesMut::new();
    for number in numbers {
        let row = rows.remove(&place(number));
        let piece = row.map(|mut row| row.take_bytes("b")).transpose()?;
        let Some(piece) = piece.flatten() else {
            return Ok(None);
        };
        bytes.extend_from_slice(&piece);
    }
    Ok(Some(bytes.freeze()))
}
