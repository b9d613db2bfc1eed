//! Large bodies, read while they are consumed.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_core::{BodyHasher, ByteStream, Digest, Entry, Error, Result, Retry, Version};

use super::Shared;
use super::failure::{Unanswered, garbled};
use super::item::{Content, Place, altered, open_range};
use crate::gate::closed_by_us;

/// How often to go on in a row without a byte more.
const MAX_IDLE_ATTEMPTS: u32 = 5;

/// How often to go on altogether: a slow reader is cut off by the server from
/// time to time, and this many times are hours.
const MAX_ATTEMPTS: u32 = 1000;

const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// A body on its way: a connection that breaks off is followed by another,
/// from where it stopped, as long as the item is of the same version.
pub(super) struct Reading {
    shared: Arc<Shared>,
    place: Place,
    version: Version,
    size: u64,
    digest: Digest,
    /// What is left.
    range: Range<u64>,
    /// Of the bytes so far, where they are to be all.
    hasher: Option<BodyHasher>,
    content: Option<Content>,
    /// Attempts since the last byte, and altogether.
    idle_attempts: u32,
    attempts: u32,
}

impl Reading {
    /// The bytes of a range, none of them read yet.
    pub(super) fn of(
        shared: &Arc<Shared>,
        place: Place,
        entry: &Entry,
        digest: Digest,
        range: Range<u64>,
    ) -> Self {
        let whole = range == (0..entry.size);
        Self {
            shared: shared.clone(),
            place,
            version: entry.version,
            size: entry.size,
            digest,
            range,
            hasher: whole.then(BodyHasher::default),
            content: None,
            idle_attempts: 0,
            attempts: 0,
        }
    }

    /// The same, with an answer that brings them.
    pub(super) fn going_on(mut self, content: Content) -> Self {
        self.content = Some(content);
        self
    }

    pub(super) fn stream(self) -> ByteStream {
        stream::try_unfold(self, Self::step).boxed()
    }

    async fn step(mut self) -> Result<Option<(Bytes, Self)>> {
        if self.range.is_empty() {
            return Ok(None);
        }
        loop {
            if self.shared.gate.is_closed() {
                return Err(closed_by_us());
            }
            match self.next().await {
                Ok(piece) => return Ok(Some((piece, self))),
                Err(lost) => self.go_on(lost).await?,
            }
        }
    }

    /// The next piece, on the connection there is or a new one.
    async fn next(&mut self) -> Result<Bytes, Unanswered> {
        let content = match &mut self.content {
            Some(content) => content,
            None => {
                let opening = open_range(
                    &self.shared,
                    &self.place,
                    self.version,
                    self.size,
                    self.range.clone(),
                );
                self.content.insert(opening.await?)
            }
        };
        let piece = content.next().await?.ok_or_else(Unanswered::cut)?;
        let length = piece.len() as u64;
        if length > self.range.end - self.range.start {
            return Err(garbled("more bytes than it says").into());
        }
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&piece);
        }
        self.range.start += length;
        self.idle_attempts = 0;
        if self.range.is_empty() {
            // Before the last piece is handed out: with it, the body is whole.
            let digest = self.hasher.as_ref().map(BodyHasher::digest);
            if digest.is_some_and(|digest| digest != self.digest) {
                return Err(altered(&self.place.collection, &self.place.key).into());
            }
            match content.end().await {
                Err(more) if more.is_refusal() => {
                    let error = more.error.with_retry(Retry::No);
                    return Err(Unanswered::told(error));
                }
                // All bytes are here; that the connection breaks off behind
                // them does no harm.
                _ => self.content = None,
            }
        }
        Ok(piece)
    }

    /// Prepares to go on on another connection, or gives up.
    async fn go_on(&mut self, lost: Unanswered) -> Result<()> {
        self.content = None;
        let hopeless = lost.is_refusal() && lost.error.retry() != Retry::Yes
            || self.idle_attempts == MAX_IDLE_ATTEMPTS
            || self.attempts == MAX_ATTEMPTS;
        if hopeless {
            return Err(self.named(lost.error));
        }
        if self.idle_attempts > 0 {
            tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(self.idle_attempts)).await;
        }
        self.idle_attempts += 1;
        self.attempts += 1;
        Ok(())
    }

    fn named(&self, error: Error) -> Error {
        error.at(&self.place.collection, Some(&self.place.key))
    }
}
