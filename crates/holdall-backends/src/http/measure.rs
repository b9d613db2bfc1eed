//! Bodies, measured on their way out.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;

use futures_util::future::{self, Either};
use futures_util::{StreamExt, stream};
use holdall_core::{BodyHasher, ByteStream, Digest, Error};
use parking_lot::Mutex;

use crate::gate::closed_by_us;

/// Size and digest of what has passed.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured(Arc<Mutex<BodyHasher>>);

impl Measured {
    /// Passes a stream on, up to so many bytes, and until the store is closed.
    pub(super) fn of(
        self,
        body: ByteStream,
        most: u64,
        closed: impl Future<Output = ()> + Send + 'static,
    ) -> ByteStream {
        let closed = Box::pin(closed);
        stream::unfold(
            (self, body, closed),
            move |(measured, mut body, mut closed)| async move {
                let piece = match future::select(pin!(body.next()), &mut closed).await {
                    Either::Left((piece, _)) => piece?,
                    Either::Right(_) => Err(closed_by_us()),
                };
                let piece = piece.and_then(|piece| {
                    let mut hasher = measured.0.lock();
                    hasher.update(&piece);
                    match hasher.size() > most {
                        false => Ok(piece),
                        true => Err(Error::too_large(format!(
                            "the body has more than {most} bytes, which is the limit of this store"
                        ))),
                    }
                });
                Some((piece, (measured, body, closed)))
            },
        )
        .boxed()
    }

    pub(super) fn result(&self) -> (u64, Digest) {
        let hasher = self.0.lock();
        (hasher.size(), hasher.digest())
    }
}
