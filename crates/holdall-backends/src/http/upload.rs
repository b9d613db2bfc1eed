//! The content of a request on its way out.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use holdall_core::{ByteStream, Error};
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

/// Bytes in memory are handed over in pieces of this size, so that it shows how
/// far they went.
const PIECE: usize = 64 * 1024;

/// The content of a request, and how it gets on.
pub(super) struct Upload {
    content: Content,
    progress: Progress,
}

enum Content {
    Pieces(VecDeque<Bytes>),
    Stream(ByteStream),
    End,
}

/// Whether the request gets on, for whoever waits for the answer.
#[derive(Clone, Debug)]
pub(super) struct Progress(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    last: Instant,
    /// The stream that the content comes from has nothing for now.
    waiting: bool,
    /// What that stream failed with.
    failed: Option<Error>,
}

impl Upload {
    /// Bytes in memory.
    pub(super) fn pieces(pieces: Vec<Bytes>) -> Self {
        Self::new(Content::Pieces(
            pieces
                .into_iter()
                .filter(|piece| !piece.is_empty())
                .collect(),
        ))
    }

    /// A stream.
    pub(super) fn stream(stream: ByteStream) -> Self {
        Self::new(Content::Stream(stream))
    }

    fn new(content: Content) -> Self {
        let state = State {
            last: Instant::now(),
            waiting: false,
            failed: None,
        };
        Self {
            content,
            progress: Progress(Arc::new(Mutex::new(state))),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }
}

impl Progress {
    /// Until when to wait, if nothing more happens; not while the caller's own
    /// stream is what is waited for.
    pub(super) fn deadline(&self, timeout: Duration) -> Instant {
        let state = self.0.lock();
        if state.waiting {
            Instant::now() + timeout
        } else {
            state.last + timeout
        }
    }

    /// What the caller's stream failed with.
    pub(super) fn take_failure(&self) -> Option<Error> {
        self.0.lock().failed.take()
    }
}

/// Tells hyper that there is no more; what went wrong stands in [`Progress`].
#[derive(Debug)]
pub(super) struct Broken;

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the content of the request broke off")
    }
}

impl std::error::Error for Broken {}

impl Body for Upload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let piece = match &mut self.content {
            Content::End => None,
            Content::Pieces(pieces) => pieces.pop_front().map(|mut piece| {
                let now = piece.split_to(PIECE.min(piece.len()));
                if !piece.is_empty() {
                    pieces.push_front(piece);
                }
                Ok(now)
            }),
            Content::Stream(stream) => loop {
                match stream.poll_next_unpin(task) {
                    Poll::Pending => {
                        self.progress.0.lock().waiting = true;
                        return Poll::Pending;
                    }
                    Poll::Ready(Some(Ok(piece))) if piece.is_empty() => {}
                    Poll::Ready(piece) => break piece,
                }
            },
        };
        let mut state = self.progress.0.lock();
        state.last = Instant::now();
        state.waiting = false;
        let frame = match piece {
            Some(Ok(piece)) => Some(Ok(Frame::data(piece))),
            Some(Err(error)) => {
                state.failed = Some(error);
                Some(Err(Broken))
            }
            None => None,
        };
        drop(state);
        if !matches!(frame, Some(Ok(_))) {
            self.content = Content::End;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::End => true,
            Content::Pieces(pieces) => pieces.is_empty(),
            Content::Stream(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::End => SizeHint::with_exact(0),
            Content::Pieces(pieces) => {
                SizeHint::with_exact(pieces.iter().map(|piece| piece.len() as u64).sum())
            }
            Content::Stream(_) => SizeHint::default(),
        }
    }
}
