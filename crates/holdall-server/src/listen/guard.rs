//! The bytes of a connection, watched.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use holdall_core::Error;
use http::StatusCode;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

use super::answer::{last_words, status_of_automatic};
use super::pulse::Pulse;
use super::socket::Stream;

/// How long, and how many bytes, a peer may go on sending what nobody reads: an
/// answer that comes before the end of a body is lost if the connection is
/// closed with bytes unread.
pub(super) const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 * 1024 * 1024;

/// Tells the [`Pulse`] what passes, and says itself what hyper does not: that a
/// head came too slowly, and what was wrong with one that it could not read.
pub(super) struct Guard {
    stream: Stream,
    pulse: Pulse,
    max_head: u64,
    /// What is to be written instead of what hyper wrote, and what that counts.
    own: Option<(Bytes, usize)>,
    /// The head is not waited for any more.
    given_up: bool,
    linger: Option<Box<Linger>>,
}

struct Linger {
    sleep: Pin<Box<Sleep>>,
    left: usize,
}

impl Guard {
    pub(super) fn new(stream: Stream, pulse: Pulse, max_head: u64) -> Self {
        Self {
            stream,
            pulse,
            max_head,
            own: None,
            given_up: false,
            linger: None,
        }
    }

    /// Notes whether the peer takes what is written.
    fn noted<T>(&self, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.pulse.wrote(result.is_ready());
        result
    }

    /// Writes what stands in for an answer of hyper's.
    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        while let Some((bytes, counts)) = &mut self.own {
            if bytes.is_empty() {
                let counts = *counts;
                self.own = None;
                return Poll::Ready(Ok(counts));
            }
            let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
            self.pulse.wrote(result.is_ready());
            match ready!(result)? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => bytes.advance(count),
            }
        }
        Poll::Ready(Ok(0))
    }

    /// A problem in the place of an empty answer of hyper's.
    fn instead_of(&self, response: &[u8]) -> Option<Bytes> {
        let status = status_of_automatic(response)?;
        Some(match status {
            StatusCode::BAD_REQUEST => last_words(
                &Error::invalid(
                    "this is no HTTP request, or one whose headers contradict each other; \
                     nothing of it was done",
                ),
                status,
            ),
            _ => self.too_large(),
        })
    }

    /// What there is to say of a head that is too large.
    fn too_large(&self) -> Bytes {
        let max_head = self.max_head;
        if self.pulse.first_line() > max_head {
            return last_words(
                &Error::too_large(format!(
                    "the URL is too long: the head of a request has at most {max_head} bytes. \
                     Put what is long into its content"
                )),
                StatusCode::URI_TOO_LONG,
            );
        }
        last_words(
            &Error::too_large(format!(
                "the head of the request is too large: it has at most {max_head} bytes, and \
                 its headers are limited in number"
            )),
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
        )
    }

    /// Says what is wrong with a head that is not complete, and fails.
    fn poll_give_up(&mut self, cx: &mut Context<'_>) -> Poll<io::Error> {
        if ready!(self.poll_own(cx)).is_ok() && self.linger.is_none() {
            let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
        }
        ready!(self.poll_linger(cx));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// Reads what nobody will, until the peer has closed or the time is over.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let linger = self.linger.get_or_insert_with(|| {
            Box::new(Linger {
                sleep: Box::pin(tokio::time::sleep(LINGER)),
                left: LINGER_BYTES,
            })
        });
        let mut space = [0; 4096];
        loop {
            if linger.sleep.as_mut().poll(cx).is_ready() || linger.left == 0 {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut space);
            let read = ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer));
            let count = buffer.filled().len();
            if read.is_err() || count == 0 {
                return Poll::Ready(());
            }
            linger.left = linger.left.saturating_sub(count);
        }
    }
}

impl AsyncRead for Guard {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begun = self.pulse.late();
        if let Some(begun) = begun
            && !self.given_up
        {
            if !begun {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            let error = Error::timeout("the head of the request came too slowly");
            self.own = Some((last_words(&error, StatusCode::REQUEST_TIMEOUT), 0));
            self.given_up = true;
        }
        if self.given_up {
            return self.poll_give_up(cx).map(Err);
        }
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        if let Some(bytes) = buffer.filled().get(before..)
            && !bytes.is_empty()
            && self.pulse.read(bytes) > self.max_head
        {
            self.own = Some((self.too_large(), 0));
            self.given_up = true;
            return self.poll_give_up(cx).map(Err);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Guard {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.own.is_none()
            && let Some(own) = self.instead_of(bytes)
        {
            self.own = Some((own, bytes.len()));
        }
        if self.own.is_some() {
            return self.poll_own(cx);
        }
        let result = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.noted(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [only] = slices {
            return self.poll_write(cx, only);
        }
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.noted(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        if result.is_pending() {
            self.pulse.wrote(false);
        }
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            let result = Pin::new(&mut self.stream).poll_shutdown(cx);
            let result = ready!(self.noted(result));
            if result.is_err() || !self.pulse.is_unread() {
                return Poll::Ready(result);
            }
        }
        ready!(self.poll_linger(cx));
        Poll::Ready(Ok(()))
    }
}
