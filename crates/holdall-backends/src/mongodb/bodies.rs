//! Large bodies: files of GridFS, taken in before the batch that uses them.
//!
//! A file says in its metadata how it stands: it waits for a batch (`expires`), an
//! item has it (neither), or none has it any more (`dropped`). So whatever breaks
//! off leaves a file that is swept in time.

use std::ops::Range;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use holdall_core::{
    Body, BodyHasher, ByteStream, CollectionName, Digest, Error, Result, Staged, Timestamp, Version,
};
use mongodb::Collection;
use mongodb::bson::{Bson, DateTime, Document, RawDocumentBuf, doc};
use mongodb::options::{Acknowledgment, CollectionOptions, WriteConcern};

use super::connect::{binary, bytes as generic};
use super::error::Failure;
use super::names::{CHUNKS, FILES};
use super::{Shared, value};
use crate::pieces::{self, Cut};

/// The bytes of a piece, GridFS's own choice; the last may have fewer.
const CHUNK: usize = 255 * 1024;

/// Pieces that are sent, or read, at once.
const AT_ONCE: usize = 4;

/// The most bytes of a body: 1 TiB.
pub(super) const MAX_BODY: u64 = 1 << 40;

/// Takes a body in.
pub(super) async fn stage(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    mut body: ByteStream,
) -> Result<Staged> {
    let mut upload = Upload::new(shared, collection);
    let mut hasher = BodyHasher::default();
    let mut buffer = BytesMut::new();
    let taken = async {
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
                    .split_at_checked(upload.step() - buffer.len())
                    .unwrap_or((rest, &[]));
                buffer.extend_from_slice(head);
                rest = tail;
                // What might be the last is kept, so that a small body is sent as a whole.
                if buffer.len() == upload.step() && !rest.is_empty() {
                    upload.send(std::mem::take(&mut buffer).freeze()).await?;
                }
            }
            if buffer.len() == upload.step() && upload.begun {
                upload.send(std::mem::take(&mut buffer).freeze()).await?;
            }
        }
        upload
            .finish(std::mem::take(&mut buffer).freeze(), &hasher)
            .await
    };
    let taken = taken.await;
    if taken.is_err() && upload.begun {
        // If this fails too, the lease ends by itself.
        let _removed = remove(shared, upload.id).await;
    }
    taken
}

/// Takes a body in that is here as a whole.
pub(super) async fn keep(
    shared: &Arc<Shared>,
    collection: &CollectionName,
    bytes: &Bytes,
) -> Result<Staged> {
    let bytes = bytes.clone();
    stage(shared, collection, holdall_core::byte_stream(bytes)).await
}

/// A body on its way in.
struct Upload<'a> {
    shared: &'a Arc<Shared>,
    collection: CollectionName,
    id: Version,
    /// Whether the file is there.
    begun: bool,
    renewed: Timestamp,
    /// The number of the next piece.
    next: i32,
}

impl<'a> Upload<'a> {
    fn new(shared: &'a Arc<Shared>, collection: &CollectionName) -> Self {
        Self {
            shared,
            collection: collection.clone(),
            id: shared.options.env.version(),
            begun: false,
            renewed: shared.options.env.now(),
            next: 0,
        }
    }

    /// How much is sent at once.
    #[allow(clippy::unused_self, reason = "reads as a property of the upload")]
    fn step(&self) -> usize {
        CHUNK * AT_ONCE
    }

    fn file(&self, expires: Timestamp, hasher: Option<&BodyHasher>) -> Document {
        let length = hasher.map_or(0, BodyHasher::size);
        let mut metadata =
            doc! { "collection": self.collection.as_str(), "expires": expires.as_micros() };
        if let Some(hasher) = hasher {
            metadata.insert("digest", generic(hasher.digest().as_bytes()));
        }
        doc! {
            "_id": binary(self.id),
            "length": i64::try_from(length).unwrap_or(i64::MAX),
            "chunkSize": i32::try_from(CHUNK).unwrap_or(i32::MAX),
            "uploadDate": DateTime::from_millis(self.shared.options.env.now().as_micros() / 1000),
            "filename": self.id.to_string(),
            "metadata": metadata,
        }
    }

    /// Sends pieces, after the file if that is not there.
    async fn send(&mut self, bytes: Bytes) -> Result<()> {
        let _pass = self.shared.life.enter()?;
        let _turn = self.shared.turn().await?;
        let now = self.shared.options.env.now();
        let expires = now.after(self.shared.options.lease);
        if !self.begun {
            let file = self.file(expires, None);
            self.sent(quick(self.shared, FILES).insert_one(file))
                .await?;
            self.begun = true;
            self.renewed = now;
        } else if now > self.renewed.after(self.shared.options.lease / 2) {
            let waiting =
                doc! { "_id": binary(self.id), "metadata.expires": { "$gt": now.as_micros() } };
            let renew = doc! { "$set": { "metadata.expires": expires.as_micros() } };
            let renewed = self
                .shared
                .read(quick::<Document>(self.shared, FILES).update_one(waiting, renew))
                .await?;
            if renewed.matched_count == 0 {
                return Err(Error::expired(
                    "the lease of the body ended while it was staged; stage it again",
                ));
            }
            self.renewed = now;
        }
        let pieces = self.pieces(&bytes);
        self.sent(quick(self.shared, CHUNKS).insert_many(pieces))
            .await
    }

    /// Waits for an insert of documents that nobody else makes. The driver sends one again
    /// whose answer was lost, and not every server knows the two for one.
    async fn sent<'b, T, A>(&'b self, insert: A) -> Result<()>
    where
        T: Send + 'b,
        A: IntoFuture<Output = mongodb::error::Result<T>>,
        A::IntoFuture: Send + 'b,
    {
        match self.shared.call(insert).await {
            Ok(_) => Ok(()),
            Err(Failure::Taken(why)) => Err(Error::unavailable(
                "the connection to MongoDB broke while a body was sent, and some of it is there twice or not at all; stage it again",
            )
            .in_backend("mongodb")
            .because(why)),
            Err(failure) => Err(failure.into_error()),
        }
    }

    fn pieces(&mut self, bytes: &Bytes) -> Vec<Document> {
        let mut pieces = Vec::new();
        for piece in bytes.chunks(CHUNK) {
            pieces
                .push(doc! { "files_id": binary(self.id), "n": self.next, "data": generic(piece) });
            self.next = self.next.saturating_add(1);
        }
        pieces
    }

    /// Sends the last pieces, and waits until all is safe: what was acknowledged
    /// by a majority takes all before it along.
    async fn finish(&mut self, rest: Bytes, hasher: &BodyHasher) -> Result<Staged> {
        let _pass = self.shared.life.enter()?;
        let expires = self
            .shared
            .options
            .env
            .now()
            .after(self.shared.options.lease);
        let files = self.shared.database.collection::<Document>(FILES);
        if self.begun {
            if !rest.is_empty() {
                self.send(rest).await?;
            }
            let _turn = self.shared.turn().await?;
            let set = doc! { "$set": {
                "length": i64::try_from(hasher.size()).unwrap_or(i64::MAX),
                "metadata.digest": generic(hasher.digest().as_bytes()),
                "metadata.expires": expires.as_micros(),
            } };
            let done = self
                .shared
                .read(files.update_one(doc! { "_id": binary(self.id) }, set))
                .await?;
            if done.matched_count == 0 {
                return Err(Error::expired(
                    "the lease of the body ended while it was staged; stage it again",
                ));
            }
        } else {
            let _turn = self.shared.turn().await?;
            let file = self.file(expires, Some(hasher));
            self.begun = true;
            if rest.is_empty() {
                self.sent(files.insert_one(file)).await?;
            } else {
                self.sent(quick(self.shared, FILES).insert_one(file))
                    .await?;
                let pieces = self.pieces(&rest);
                let chunks = self.shared.database.collection::<Document>(CHUNKS);
                self.sent(chunks.insert_many(pieces)).await?;
            }
        }
        Ok(Staged {
            id: self.id,
            size: hasher.size(),
            digest: hasher.digest(),
            expires,
        })
    }
}

/// A collection whose writes are waited for only until the primary has them.
fn quick<T: Send + Sync>(shared: &Shared, name: &str) -> Collection<T> {
    let first = WriteConcern::builder().w(Acknowledgment::Nodes(1)).build();
    let options = CollectionOptions::builder().write_concern(first).build();
    shared.database.collection_with_options(name, options)
}

/// The condition that a file is this very staged body, and still waits.
pub(super) fn waiting(staged: &Staged, collection: &CollectionName, now: Timestamp) -> Document {
    doc! {
        "_id": binary(staged.id),
        "length": i64::try_from(staged.size).unwrap_or(i64::MAX),
        "metadata.collection": collection.as_str(),
        "metadata.digest": generic(staged.digest.as_bytes()),
        "metadata.expires": { "$gt": now.as_micros() },
    }
}

/// What a file says no more when it is known whose it is.
pub(super) fn settled() -> Document {
    doc! { "metadata.moving": "", "metadata.key": "", "metadata.batch": "" }
}

/// The error of a staged body that is not there.
pub(super) fn gone() -> Error {
    Error::expired(
        "the staged body is not there: its lease ended, it was used, or it belongs to another collection. \
         Stage it again",
    )
}

/// A staged body that is small enough to lie in the document of its item.
pub(super) async fn small(shared: &Shared, staged: &Staged) -> Result<Option<Bytes>> {
    let length = usize::try_from(staged.size).unwrap_or(usize::MAX);
    let bytes = read(shared, staged.id, 0..staged.size.div_ceil(CHUNK as u64)).await?;
    Ok(bytes.filter(|bytes| bytes.len() == length))
}

/// Removes a file and its pieces.
pub(super) async fn remove(shared: &Shared, id: Version) -> Result<()> {
    let by_file = doc! { "files_id": binary(id) };
    shared
        .read(
            shared
                .database
                .collection::<Document>(CHUNKS)
                .delete_many(by_file),
        )
        .await?;
    let by_id = doc! { "_id": binary(id) };
    shared
        .read(
            shared
                .database
                .collection::<Document>(FILES)
                .delete_one(by_id),
        )
        .await
        .map(drop)
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
        piece: CHUNK,
        at_once: AT_ONCE,
    };
    pieces::body(cut, range, size, digest, move |numbers| {
        let shared = shared.clone();
        async move {
            let _pass = shared.life.enter()?;
            let _turn = shared.turn().await?;
            read(&shared, id, numbers).await
        }
    })
}

/// Pieces of a file; `None` if one is gone.
async fn read(shared: &Shared, id: Version, numbers: Range<u64>) -> Result<Option<Bytes>> {
    let number = |number: u64| Bson::from(i64::try_from(number).unwrap_or(i64::MAX));
    let find = doc! { "files_id": binary(id), "n": { "$gte": number(numbers.start), "$lt": number(numbers.end) } };
    let chunks = shared.database.collection::<RawDocumentBuf>(CHUNKS);
    let mut cursor = shared
        .read(chunks.find(find).sort(doc! { "files_id": 1, "n": 1 }))
        .await?;
    let mut bytes = BytesMut::new();
    let mut found = numbers.start;
    while shared.read(cursor.advance()).await? {
        let piece = cursor.current();
        let data = piece
            .get_binary("data")
            .map_err(|_| value::foreign("a piece of a body has no data"))?;
        bytes.extend_from_slice(data.bytes);
        found += 1;
    }
    Ok((found == numbers.end).then(|| bytes.freeze()))
}
