//! Large bodies, which lie in pieces of one size.

use std::ops::Range;

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use holdall_core::{Body, BodyHasher, Digest, Error, Result};

/// How bodies are cut.
#[derive(Clone, Copy)]
pub(crate) struct Cut {
    /// The bytes of a piece; the last may have fewer.
    pub(crate) piece: usize,
    /// Pieces that are read at once.
    pub(crate) at_once: usize,
}

/// The bytes of a range of a body of so many bytes, read while they are consumed.
///
/// `read` answers the pieces of these numbers, one behind the other, or `None` if one is
/// gone. A whole body is checked against its digest at the end.
pub(crate) fn body<R, F>(
    cut: Cut,
    range: Range<u64>,
    size: u64,
    digest: Option<Digest>,
    read: R,
) -> Body
where
    R: Fn(Range<u64>) -> F + Send + 'static,
    F: Future<Output = Result<Option<Bytes>>> + Send,
{
    let whole = range == (0..size);
    let start = Reading {
        cut,
        rest: range.clone(),
        check: digest
            .filter(|_| whole)
            .map(|digest| (BodyHasher::default(), digest)),
        read,
    };
    let bytes = stream::try_unfold(start, |mut reading| async move {
        let bytes = reading.next().await?;
        Ok(bytes.map(|bytes| (bytes, reading)))
    });
    Body::from_stream(range, bytes.boxed())
}

struct Reading<R> {
    cut: Cut,
    rest: Range<u64>,
    check: Option<(BodyHasher, Digest)>,
    read: R,
}

impl<R, F> Reading<R>
where
    R: Fn(Range<u64>) -> F,
    F: Future<Output = Result<Option<Bytes>>>,
{
    async fn next(&mut self) -> Result<Option<Bytes>> {
        if self.rest.is_empty() {
            return match self.check.take() {
                Some((hasher, digest)) if hasher.digest() != digest => Err(Error::corrupt(
                    "the stored body does not have the digest that its entry says; restore it from a backup",
                )),
                _ => Ok(None),
            };
        }
        let piece = self.cut.piece as u64;
        let first = self.rest.start / piece;
        let last = (first + self.cut.at_once as u64).min(self.rest.end.div_ceil(piece));
        let bytes = (self.read)(first..last).await?.ok_or_else(|| {
            Error::conflict(
                "the body was overwritten or deleted, and removed before it was read to its end; read the item again",
            )
        })?;
        let start = usize::try_from(self.rest.start - first * piece).unwrap_or(usize::MAX);
        let length = usize::try_from(self.rest.end - self.rest.start).unwrap_or(usize::MAX);
        let end = bytes.len().min(start.saturating_add(length));
        if start >= end {
            return Err(Error::corrupt(
                "a stored body is shorter than its entry says; restore it from a backup",
            ));
        }
        let bytes = bytes.slice(start..end);
        if let Some((hasher, _)) = &mut self.check {
            hasher.update(&bytes);
        }
        self.rest.start += bytes.len() as u64;
        Ok(Some(bytes))
    }
}

#[cfg(test)]
mod tests {
    use holdall_core::ErrorKind;

    use super::*;

    const CUT: Cut = Cut {
        piece: 10,
        at_once: 2,
    };

    fn text() -> Bytes {
        (0..55).collect()
    }

    fn digest(bytes: &[u8]) -> Option<Digest> {
        let mut hasher = BodyHasher::default();
        hasher.update(bytes);
        Some(hasher.digest())
    }

    /// Reads a range of a body of 55 bytes, of which these are stored.
    async fn read(range: Range<u64>, stored: Bytes) -> Result<Bytes> {
        let body = body(CUT, range, 55, digest(&text()), move |numbers| {
            let at = |number: u64| usize::try_from(number).unwrap() * CUT.piece;
            let end = at(numbers.end).min(stored.len());
            let there = at(numbers.start) < end;
            let bytes = there.then(|| stored.slice(at(numbers.start)..end));
            async move { Ok(bytes) }
        });
        body.bytes(55).await
    }

    #[tokio::test]
    async fn every_range_is_what_was_stored() {
        for start in 0..=55 {
            for end in start..=55 {
                let wanted = text().slice(start..end);
                let found = read(start as u64..end as u64, text()).await.unwrap();
                assert_eq!(found, wanted, "{start}..{end}");
            }
        }
    }

    #[tokio::test]
    async fn what_is_gone_or_damaged_is_told() {
        let kind = async |stored| read(0..55, stored).await.unwrap_err().kind();
        assert_eq!(kind(text().slice(..40)).await, ErrorKind::Conflict);
        assert_eq!(kind(text().slice(..54)).await, ErrorKind::Corrupt);
        let mut changed = text().to_vec();
        changed[54] = 0;
        assert_eq!(kind(changed.into()).await, ErrorKind::Corrupt);
    }
}
