//! Bodies: the bytes of items, in memory or as a stream.

use std::fmt;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use parking_lot::Mutex;

use crate::{Digest, Error, Result, Timestamp, Version};

/// A stream of bytes in pieces of any size; the pieces together are the body.
pub type ByteStream = BoxStream<'static, Result<Bytes>>;

/// A stream of one piece.
pub fn byte_stream(bytes: impl Into<Bytes>) -> ByteStream {
    let bytes = bytes.into();
    stream::once(async move { Ok(bytes) }).boxed()
}

/// The body of an item, or the range of it that was asked for.
///
/// A small one is already here; a large one is read while it is consumed,
/// without holding a connection or a snapshot. It never mixes versions: if its
/// version is overwritten and the grace period (an hour by default) passes
/// before it is read to the end, the stream fails with `Conflict`.
pub struct Body {
    range: Range<u64>,
    content: Content,
}

enum Content {
    Here(Bytes),
    /// Never locked: the mutex makes items `Sync`, which streams are not.
    Stream(Mutex<ByteStream>),
}

impl Body {
    /// A body that is in memory: the bytes of `range`.
    pub fn from_bytes(bytes: Bytes, start: u64) -> Self {
        Self {
            range: start..start + bytes.len() as u64,
            content: Content::Here(bytes),
        }
    }

    /// A body that is read while it is consumed: the stream gives exactly the
    /// bytes of `range`.
    pub fn from_stream(range: Range<u64>, stream: ByteStream) -> Self {
        Self {
            range,
            content: Content::Stream(Mutex::new(stream)),
        }
    }

    /// Which bytes of the whole body these are.
    pub fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// How many bytes these are.
    pub fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.range.is_empty()
    }

    /// All of it in memory.
    ///
    /// # Errors
    /// `TooLarge` if it has more than `limit` bytes, before any is read; else
    /// what the stream fails with.
    pub async fn bytes(self, limit: usize) -> Result<Bytes> {
        if self.len() > limit as u64 {
            return Err(Error::too_large(format!(
                "the body has {} bytes, and {limit} were allowed; read it as a stream",
                self.len()
            )));
        }
        match self.content {
            Content::Here(bytes) => Ok(bytes),
            Content::Stream(stream) => collect(stream.into_inner(), limit).await,
        }
    }

    /// As a stream, in pieces of any size.
    pub fn into_stream(self) -> ByteStream {
        match self.content {
            Content::Here(bytes) => byte_stream(bytes),
            Content::Stream(stream) => stream.into_inner(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({:?})", self.range)
    }
}

async fn collect(mut stream: ByteStream, limit: usize) -> Result<Bytes> {
    let mut all = BytesMut::new();
    while let Some(piece) = stream.next().await {
        let piece = piece?;
        if all.len() + piece.len() > limit {
            return Err(Error::too_large(format!(
                "the stream gives more than {limit} bytes"
            )));
        }
        all.extend_from_slice(&piece);
    }
    Ok(all.freeze())
}

/// A range of a body that a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ByteRange {
    /// From the first position up to, but not including, the second. What
    /// lies beyond the end of the body is left out.
    Bounded(u64, u64),
    /// From a position to the end.
    From(u64),
    /// The last so many bytes, or all if there are fewer.
    Last(u64),
}

impl ByteRange {
    /// The bytes that it means in a body of `size` bytes.
    ///
    /// # Errors
    /// `Invalid` if it ends before it starts, or starts beyond the end; a
    /// start right at the end is an empty range.
    pub fn resolve(self, size: u64) -> Result<Range<u64>> {
        let range = match self {
            Self::Bounded(start, end) if end < start => {
                return Err(Error::invalid(format!(
                    "the range {start}..{end} ends before it starts"
                )));
            }
            Self::Bounded(start, end) => start..end.min(size),
            Self::From(start) => start..size,
            Self::Last(count) => size.saturating_sub(count)..size,
        };
        if range.start > size {
            return Err(Error::invalid(format!(
                "the range starts at byte {}, and the body has {size}",
                range.start
            )));
        }
        Ok(range)
    }
}

/// A body that was taken in and waits for the batch that uses it.
///
/// It is invisible until then, can be used by one batch, and is swept when its
/// lease ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Staged {
    /// Names it in its backend.
    pub id: Version,
    /// Its bytes.
    pub size: u64,
    /// Its BLAKE3 digest.
    pub digest: Digest,
    /// When its lease ends, by the backend's clock.
    pub expires: Timestamp,
}

/// Hashes and counts a body while it passes.
#[derive(Debug, Default)]
pub struct BodyHasher {
    hasher: blake3::Hasher,
    size: u64,
}

impl BodyHasher {
    /// Takes the next piece in.
    pub fn update(&mut self, piece: &[u8]) {
        self.hasher.update(piece);
        self.size += piece.len() as u64;
    }

    /// The bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The digest of the bytes so far.
    pub fn digest(&self) -> Digest {
        Digest::from_bytes(*self.hasher.finalize().as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_body_or_refused() {
        for (range, size, want) in [
            (ByteRange::Bounded(0, 5), 10, Some(0..5)),
            (ByteRange::Bounded(5, 50), 10, Some(5..10)),
            (ByteRange::Bounded(10, 10), 10, Some(10..10)),
            (ByteRange::From(10), 10, Some(10..10)),
            (ByteRange::From(3), 10, Some(3..10)),
            (ByteRange::Last(3), 10, Some(7..10)),
            (ByteRange::Last(30), 10, Some(0..10)),
            (ByteRange::Last(0), 0, Some(0..0)),
            (ByteRange::From(11), 10, None),
            (ByteRange::Bounded(11, 12), 10, None),
            (ByteRange::Bounded(5, 4), 10, None),
        ] {
            assert_eq!(range.resolve(size).ok(), want, "{range:?} of {size}");
        }
    }
}
