//! Large bodies, in pieces.
//!
//! A row of `holdall_bodies` says what becomes of a body: while `expires` is set
//! it is staged, while neither is an item has it, and once `dropped` is long
//! enough ago it is removed.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use holdall_core::{
    Body, BodyHasher, ByteStream, CollectionName, Digest, Entry, Error, NewBody, Operation, Put,
    Result, Staged, Timestamp, Version,
};

use super::Shared;
use super::driver::{Connection, Driver, Failure, Statement, rows};
use crate::pieces::{self, Cut};
use crate::sql::{Kind, Value};

/// The most bytes of a body that lies in the row of its item.
const INLINE: usize = 64 * 1024;

/// The bytes of a piece; the last may have fewer.
const PIECE: usize = 256 * 1024;

/// The most bytes of a body: 1 TiB.
pub(super) const MAX_BODY: u64 = 1 << 40;

/// Bytes that are written at once while a body is staged, and read at once.
const STEP: usize = 1024 * 1024;

/// Takes a body in.
pub(super) async fn stage<D: Driver>(
    shared: &Arc<Shared<D>>,
    collection: &CollectionName,
    mut body: ByteStream,
) -> Result<Staged> {
    let upload = Upload::begin(shared, collection).await?;
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
                number = upload.append(number, &buffer).await?;
                buffer.clear();
            }
        }
    }
    if !buffer.is_empty() {
        upload.append(number, &buffer).await?;
    }
    upload.finish(&hasher).await
}

/// A body on its way in. What is dropped before it is finished is removed when
/// its lease is over.
struct Upload<'a, D> {
    shared: &'a Arc<Shared<D>>,
    id: Version,
}

impl<'a, D: Driver> Upload<'a, D> {
    async fn begin(shared: &'a Arc<Shared<D>>, collection: &CollectionName) -> Result<Self> {
        let mut connection = shared.connect().await?;
        let table = shared.ensure_table(&mut connection, collection).await;
        let table = table.map_err(Failure::into_error)?;
        let upload = Self {
            shared,
            id: shared.options.env.version(),
        };
        let made = made(shared, upload.id, table.id, 0, None, Some(upload.expires()));
        connection
            .run(vec![made])
            .await
            .map_err(Failure::into_error)?;
        Ok(upload)
    }

    fn expires(&self) -> Timestamp {
        self.shared
            .options
            .env
            .now()
            .after(self.shared.options.lease)
    }

    /// Appends pieces from a number on; answers the number of the next.
    async fn append(&self, first: i64, bytes: &[u8]) -> Result<i64> {
        let renew = format!(
            "UPDATE {} SET expires = ? WHERE id = ? AND expires IS NOT NULL",
            self.shared.own("holdall_bodies")
        );
        let values = [
            Value::Time(self.expires().as_micros()),
            Value::Version(self.id),
        ];
        let mut statements = vec![Statement::begin(), Statement::new(renew, values)];
        let (pieces, next) = pieces(self.id, first, bytes);
        statements.extend(self.shared.spelling().insert_chunks(pieces));
        let mut connection = self.shared.connect().await?;
        let answers = connection
            .run(statements)
            .await
            .map_err(Failure::into_error)?;
        if answers.get(1).is_none_or(|renewed| renewed.written == 0) {
            connection.roll_back().await;
            return Err(Error::expired(
                "the lease of the body ended while it was staged; stage it again",
            ));
        }
        connection
            .run(vec![Statement::commit()])
            .await
            .map_err(Failure::into_error)?;
        Ok(next)
    }

    async fn finish(self, hasher: &BodyHasher) -> Result<Staged> {
        let expires = self.expires();
        let sql = format!(
            "UPDATE {} SET size = ?, digest = ?, expires = ? WHERE id = ? AND expires IS NOT NULL",
            self.shared.own("holdall_bodies")
        );
        let values = [
            Value::Int(i64::try_from(hasher.size()).unwrap_or(i64::MAX)),
            Value::Bytes(hasher.digest().as_bytes().to_vec()),
            Value::Time(expires.as_micros()),
            Value::Version(self.id),
        ];
        let mut connection = self.shared.connect().await?;
        connection
            .run(vec![Statement::new(sql, values)])
            .await
            .map_err(Failure::into_error)?;
        Ok(Staged {
            id: self.id,
            size: hasher.size(),
            digest: hasher.digest(),
            expires,
        })
    }
}

fn made<D: Driver>(
    shared: &Shared<D>,
    id: Version,
    table: i64,
    size: u64,
    digest: Option<Digest>,
    expires: Option<Timestamp>,
) -> Statement {
    let sql = format!(
        "INSERT INTO {} (id, collection, size, digest, expires) VALUES (?, ?, ?, ?, ?)",
        shared.own("holdall_bodies")
    );
    let digest = digest.map(|digest| Value::Bytes(digest.as_bytes().to_vec()));
    let expires = expires.map(|expires| Value::Time(expires.as_micros()));
    let values = [
        Value::Version(id),
        Value::Int(table),
        Value::Int(i64::try_from(size).unwrap_or(i64::MAX)),
        digest.unwrap_or(Value::Null),
        expires.unwrap_or(Value::Null),
    ];
    Statement::new(sql, values)
}

/// The rows of the pieces of bytes, and the number behind them.
fn pieces(body: Version, first: i64, bytes: &[u8]) -> (Vec<Vec<Value>>, i64) {
    let rows: Vec<_> = (first..)
        .zip(bytes.chunks(PIECE))
        .map(|(number, piece)| {
            vec![
                Value::Version(body),
                Value::Int(number),
                Value::Bytes(piece.to_vec()),
            ]
        })
        .collect();
    let next = first + i64::try_from(rows.len()).unwrap_or(0);
    (rows, next)
}

/// Where the body of a put goes: `None` is into its row. Statements that keep the
/// bytes of a large one are added.
pub(super) fn keep<D: Driver>(
    shared: &Shared<D>,
    table: i64,
    put: &Put,
    entry: &Entry,
    statements: &mut Vec<Statement>,
) -> Option<Version> {
    match &put.body {
        NewBody::None => None,
        NewBody::Staged(staged) => Some(staged.id),
        NewBody::Bytes(bytes) if bytes.len() <= INLINE => None,
        NewBody::Bytes(bytes) => {
            let id = shared.options.env.version();
            statements.push(made(shared, id, table, entry.size, entry.digest, None));
            let (rows, _) = pieces(id, 0, bytes);
            statements.extend(shared.spelling().insert_chunks(rows));
            Some(id)
        }
    }
}

/// Takes a staged body over, so that it belongs to an item from now on; writes a
/// row if it is there.
pub(super) fn adopt<D: Driver>(
    shared: &Shared<D>,
    table: i64,
    staged: &Staged,
    now: Timestamp,
) -> Statement {
    let sql = format!(
        "UPDATE {} SET expires = NULL WHERE id = ? AND collection = ? AND size = ? AND digest = ? AND expires > ?",
        shared.own("holdall_bodies")
    );
    let values = [
        Value::Version(staged.id),
        Value::Int(table),
        Value::Int(i64::try_from(staged.size).unwrap_or(i64::MAX)),
        Value::Bytes(staged.digest.as_bytes().to_vec()),
        Value::Time(now.as_micros()),
    ];
    Statement::new(sql, values)
}

/// The error of a staged body that is not there.
pub(super) fn gone(operation: &Operation) -> Error {
    Error::expired(
        "the staged body is not there: its lease ended, it was used, or it belongs to another collection. \
         Stage it again",
    )
    .at(&operation.collection, Some(&operation.key))
}

/// Marks bodies that no item has any more.
pub(super) fn release<D: Driver>(
    shared: &Shared<D>,
    bodies: Vec<Value>,
    now: Timestamp,
) -> Statement {
    let any = shared.spelling().any_of("id", Kind::Version, bodies);
    let sql = format!(
        "UPDATE {} SET dropped = ? WHERE {}",
        shared.own("holdall_bodies"),
        any.sql
    );
    let now = Value::Time(now.as_micros());
    Statement::new(sql, std::iter::once(now).chain(any.values))
}

/// A large body, read while it is consumed, a few pieces at a time.
pub(super) fn body<D: Driver>(
    shared: Arc<Shared<D>>,
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
async fn read<D: Driver>(
    shared: Arc<Shared<D>>,
    id: Version,
    numbers: Range<u64>,
) -> Result<Option<Bytes>> {
    let number = |number: u64| Value::Int(i64::try_from(number).unwrap_or(i64::MAX));
    let sql = format!(
        "SELECT data FROM {} WHERE body = ? AND number >= ? AND number < ? ORDER BY number",
        shared.own("holdall_chunks")
    );
    let values = [
        Value::Version(id),
        number(numbers.start),
        number(numbers.end),
    ];
    let mut connection = shared.connect().await?;
    let rows = rows(&mut connection, Statement::new(sql, values))
        .await
        .map_err(Failure::into_error)?;
    if (rows.len() as u64) < numbers.end - numbers.start {
        return Ok(None);
    }
    let mut bytes = BytesMut::new();
    for row in &rows {
        match row.as_slice() {
            [Value::Bytes(data)] => bytes.extend_from_slice(data),
            _ => return Err(super::damaged(row)),
        }
    }
    Ok(Some(bytes.freeze()))
}
