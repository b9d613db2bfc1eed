//! Large bodies: taken in and read in pieces, without a long transaction.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use holdall_core::{
    Body, BodyHasher, ByteStream, CollectionName, Digest, Error, Operation, Result, Staged,
    Timestamp, Version,
};
use rusqlite::{Connection, OptionalExtension};

use super::Shared;
use super::error::failed;
use super::readers::ReadError;
use super::rows::shape;
use crate::pieces::{self, Cut};

/// The most bytes of a body that lies in the row of its item.
pub(super) const INLINE: usize = 64 * 1024;

/// The bytes of a piece; the last may have fewer.
const CHUNK: usize = 64 * 1024;

/// Pieces that a body may have.
pub(super) const CHUNKS_PER_BODY: i64 = 1 << 24;

/// The most bytes of a body: 1 TiB.
pub(super) const MAX_BODY: u64 = CHUNK as u64 * (1 << 24);

/// Bytes that are handed to the writer at once while a body is staged.
const STEP: usize = 1024 * 1024;

/// Pieces that are read at once.
const READ: usize = 4;

/// Takes a body in.
pub(super) async fn stage(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    mut body: ByteStream,
) -> Result<Staged> {
    let id = shared.options.env.version();
    let upload = Upload::begin(shared, collection, id).await?;
    let mut hasher = BodyHasher::default();
    let mut buffer = BytesMut::new();
    let mut number = 0;
    while let Some(piece) = body.try_next().await? {
        hasher.update(&piece);
        if hasher.size() > MAX_BODY {
            return Err(Error::too_large(format!(
                "the body has more than {MAX_BODY} bytes, the limit of this backend"
            )));
        }
        let mut rest = piece.as_ref();
        while !rest.is_empty() {
            let (head, tail) = rest
                .split_at_checked(STEP - buffer.len())
                .unwrap_or((rest, &[]));
            buffer.extend_from_slice(head);
            rest = tail;
            if buffer.len() == STEP {
                number = upload
                    .append(number, std::mem::take(&mut buffer).freeze())
                    .await?;
            }
        }
    }
    upload.append(number, buffer.freeze()).await?;
    upload.finish(&hasher).await
}

/// A body on its way in. What is dropped before it is finished is removed when
/// its lease is over, or sooner.
struct Upload<'a> {
    shared: &'a Arc<Shared>,
    id: Version,
    body: i64,
}

impl<'a> Upload<'a> {
    async fn begin(
        shared: &'a Arc<Shared>,
        collection: &CollectionName,
        id: Version,
    ) -> Result<Self> {
        let collection = collection.clone();
        let lease = shared.options.lease;
        let work = move |session: &mut super::writer::Session| {
            let expires = session.env.now().after(lease).as_micros();
            let table = session.ensure_table(&collection).map_err(failed)?;
            session
                .connection
                .prepare_cached("INSERT INTO holdall_bodies (staged, collection, size, expires) VALUES (?1, ?2, 0, ?3)")
                .and_then(|mut insert| insert.insert((id.as_bytes(), table.id, expires)))
                .map_err(failed)
        };
        let body = shared.writer.submit(0, work).await?;
        Ok(Self { shared, id, body })
    }

    /// Appends pieces from a number on; answers the number of the next.
    async fn append(&self, first: i64, bytes: Bytes) -> Result<i64> {
        let (body, lease) = (self.body, self.shared.options.lease);
        let cost = bytes.len() as u64;
        let work = move |session: &mut super::writer::Session| {
            let expires = session.env.now().after(lease).as_micros();
            let renewed = session
                .connection
                .prepare_cached("UPDATE holdall_bodies SET expires = ?2 WHERE id = ?1")
                .and_then(|mut renew| renew.execute((body, expires)))
                .map_err(failed)?;
            if renewed == 0 {
                return Err(Error::expired(
                    "the lease of the body ended while it was staged; stage it again",
                ));
            }
            insert_chunks(&session.connection, body, first, &bytes).map_err(failed)
        };
        self.shared.writer.submit(cost, work).await
    }

    async fn finish(self, hasher: &BodyHasher) -> Result<Staged> {
        let (body, lease) = (self.body, self.shared.options.lease);
        let (size, digest) = (hasher.size(), hasher.digest());
        let work = move |session: &mut super::writer::Session| {
            let expires = session.env.now().after(lease);
            session
                .connection
                .prepare_cached(
                    "UPDATE holdall_bodies SET size = ?2, digest = ?3, expires = ?4 WHERE id = ?1",
                )
                .and_then(|mut finish| {
                    finish.execute((body, size, digest.as_bytes(), expires.as_micros()))
                })
                .map_err(failed)?;
            Ok(expires)
        };
        let expires = self.shared.writer.submit(0, work).await?;
        Ok(Staged {
            id: self.id,
            size,
            digest,
            expires,
        })
    }
}

fn insert_chunks(
    connection: &Connection,
    body: i64,
    first: i64,
    bytes: &[u8],
) -> rusqlite::Result<i64> {
    let mut insert =
        connection.prepare_cached("INSERT INTO holdall_chunks (id, data) VALUES (?1, ?2)")?;
    let mut number = first;
    for chunk in bytes.chunks(CHUNK) {
        insert.execute((body * CHUNKS_PER_BODY + number, chunk))?;
        number += 1;
    }
    Ok(number)
}

/// Where the body of a put goes.
pub(super) enum Kept {
    /// Into the row; `None` is no body.
    Inline(Option<Bytes>),
    /// Into pieces, under this id.
    Large(i64),
}

/// Keeps bytes that came with the batch.
pub(super) fn keep(
    connection: &Connection,
    table: i64,
    id: Version,
    bytes: &Bytes,
) -> rusqlite::Result<Kept> {
    if bytes.len() <= INLINE {
        return Ok(Kept::Inline(Some(bytes.clone())));
    }
    let body = connection
        .prepare_cached(
            "INSERT INTO holdall_bodies (staged, collection, size) VALUES (?1, ?2, ?3)",
        )?
        .insert((id.as_bytes(), table, bytes.len()))?;
    insert_chunks(connection, body, 0, bytes)?;
    Ok(Kept::Large(body))
}

/// Takes a staged body over: it belongs to an item from now on.
pub(super) fn adopt(
    connection: &Connection,
    table: i64,
    staged: &Staged,
    now: Timestamp,
    operation: &Operation,
) -> Result<Kept> {
    let gone = || {
        Error::expired(
            "the staged body is not there: its lease ended, it was used, or it belongs to another collection. \
             Stage it again",
        )
        .at(&operation.collection, Some(&operation.key))
    };
    let body: Option<i64> = connection
        .prepare_cached(
            "SELECT id FROM holdall_bodies WHERE staged = ?1 AND collection = ?2 AND size = ?3 AND digest = ?4 \
             AND expires > ?5",
        )
        .and_then(|mut find| {
            let params = (staged.id.as_bytes(), table, staged.size, staged.digest.as_bytes(), now.as_micros());
            find.query_row(params, |row| row.get(0)).optional()
        })
        .map_err(failed)?;
    let body = body.ok_or_else(gone)?;
    take_over(connection, body, staged.size).map_err(failed)
}

fn take_over(connection: &Connection, body: i64, size: u64) -> rusqlite::Result<Kept> {
    if size > INLINE as u64 {
        connection
            .prepare_cached("UPDATE holdall_bodies SET expires = NULL WHERE id = ?1")?
            .execute([body])?;
        return Ok(Kept::Large(body));
    }
    let bytes: Option<Vec<u8>> = connection
        .prepare_cached("DELETE FROM holdall_chunks WHERE id = ?1 RETURNING data")?
        .query_row([body * CHUNKS_PER_BODY], |row| row.get(0))
        .optional()?;
    connection
        .prepare_cached("DELETE FROM holdall_bodies WHERE id = ?1")?
        .execute([body])?;
    Ok(Kept::Inline(Some(bytes.unwrap_or_default().into())))
}

/// Marks a body that no item has any more.
pub(super) fn release(connection: &Connection, body: i64, now: Timestamp) -> rusqlite::Result<()> {
    connection
        .prepare_cached("UPDATE holdall_bodies SET dropped = ?2 WHERE id = ?1")?
        .execute((body, now.as_micros()))
        .map(drop)
}

/// A large body, read while it is consumed, a few pieces at a time.
pub(super) fn body(
    shared: Arc<Shared>,
    id: i64,
    range: Range<u64>,
    size: u64,
    digest: Option<Digest>,
) -> Body {
    let cut = Cut {
        piece: CHUNK,
        at_once: READ,
    };
    pieces::body(cut, range, size, digest, move |numbers| {
        let shared = shared.clone();
        let read = move |connection: &Connection| read(connection, id, numbers.clone());
        async move { shared.readers.read(read).await }
    })
}

/// Pieces of a body; `None` if one is gone.
fn read(
    connection: &Connection,
    body: i64,
    numbers: Range<u64>,
) -> Result<Option<Bytes>, ReadError> {
    let mut bytes = BytesMut::with_capacity(CHUNK * READ);
    let mut read = connection.prepare_cached("SELECT data FROM holdall_chunks WHERE id = ?1")?;
    for number in numbers {
        let number = i64::try_from(number).unwrap_or(i64::MAX);
        let mut rows = read.query([body * CHUNKS_PER_BODY + number])?;
        let Some(row) = rows.next()? else {
            return Ok(None);
        };
        bytes.extend_from_slice(row.get_ref(0)?.as_blob().map_err(shape)?);
    }
    Ok(Some(bytes.freeze()))
}
