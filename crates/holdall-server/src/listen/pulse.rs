//! What a connection is doing, as far as its times depend on it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::head::HeadScan;
use crate::Limits;

/// Shared by the parts of one connection: its bytes, its requests, and who
/// looks at the clock.
#[derive(Clone)]
pub(super) struct Pulse(Arc<Mutex<Beat>>);

struct Beat {
    /// In flight: from the head of the request to the end of the answer.
    requests: usize,
    /// Whether there was any.
    served: bool,
    http2: bool,
    /// Since when nothing is in flight.
    quiet: Instant,
    /// Since when a head is on its way. HTTP/1 alone: in HTTP/2 there are
    /// frames without requests.
    head: Option<Instant>,
    scan: HeadScan,
    /// Since when what is to be written is not taken.
    stalled: Option<Instant>,
    /// Answers whose next piece nobody asks for, and since when. HTTP/2 alone:
    /// each of its answers has a window, beside the connection.
    waiting: Vec<(u64, Instant)>,
    /// How many answers there were.
    answers: u64,
    /// A request's body was left where it was.
    unread: bool,
    /// The head took too long.
    late: bool,
}

/// What became due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// The head of a request takes too long.
    Head,
    /// There is no request.
    Idle,
    /// The peer takes nothing of an answer.
    Write,
}

/// What the head of a request showed that the parsed one does not.
pub(super) struct Head {
    /// It has a `Content-Length`, whatever else it has.
    pub(super) length: bool,
}

impl Pulse {
    pub(super) fn new(http2: bool) -> Self {
        Self(Arc::new(Mutex::new(Beat {
            requests: 0,
            served: false,
            http2,
            quiet: Instant::now(),
            head: None,
            scan: HeadScan::default(),
            stalled: None,
            waiting: Vec::new(),
            answers: 0,
            unread: false,
            late: false,
        })))
    }

    /// Bytes came, perhaps of a head. Answers how large it is so far.
    pub(super) fn read(&self, bytes: &[u8]) -> u64 {
        let mut beat = self.0.lock();
        if beat.http2 || beat.requests > 0 {
            return 0;
        }
        beat.head.get_or_insert_with(Instant::now);
        beat.scan.feed(bytes);
        beat.scan.size()
    }

    /// What is to be written was taken, or was not.
    pub(super) fn wrote(&self, progress: bool) {
        let mut beat = self.0.lock();
        if progress {
            beat.stalled = None;
        } else {
            beat.stalled.get_or_insert_with(Instant::now);
        }
    }

    /// A request begins.
    pub(super) fn begin(&self) -> Head {
        let mut beat = self.0.lock();
        beat.requests += 1;
        beat.served = true;
        beat.head = None;
        Head {
            length: std::mem::take(&mut beat.scan).has_length(),
        }
    }

    /// An answer begins. Says its number, if it is to tell how it gets on.
    pub(super) fn answer(&self) -> Option<u64> {
        let mut beat = self.0.lock();
        beat.answers += 1;
        beat.http2.then_some(beat.answers)
    }

    /// A piece of an answer was handed out, or its head.
    pub(super) fn handed(&self, answer: u64) {
        self.0.lock().waiting.push((answer, Instant::now()));
    }

    /// The next piece of an answer is asked for, or none any more.
    pub(super) fn asked(&self, answer: u64) {
        let mut beat = self.0.lock();
        beat.waiting.retain(|(own, _)| *own != answer);
    }

    /// Its answer is complete, or given up.
    pub(super) fn end(&self) {
        let mut beat = self.0.lock();
        beat.requests = beat.requests.saturating_sub(1);
        if beat.requests == 0 {
            beat.quiet = Instant::now();
        }
    }

    /// A request's body is left where it is.
    pub(super) fn leave_unread(&self) {
        self.0.lock().unread = true;
    }

    pub(super) fn is_unread(&self) -> bool {
        self.0.lock().unread
    }

    /// Bytes of the head's first line so far.
    pub(super) fn first_line(&self) -> u64 {
        self.0.lock().scan.first_line()
    }

    /// Whether the connection may be closed without anybody losing anything:
    /// no request has come on it.
    pub(super) fn is_unused(&self) -> bool {
        let beat = self.0.lock();
        !beat.served && beat.requests == 0
    }

    pub(super) fn is_busy(&self) -> bool {
        self.0.lock().requests > 0
    }

    pub(super) fn set_late(&self) {
        self.0.lock().late = true;
    }

    /// Whether the head came too late; and whether any of it came.
    pub(super) fn late(&self) -> Option<bool> {
        let beat = self.0.lock();
        beat.late.then_some(beat.head.is_some())
    }

    /// What is due next, and when; nothing while requests are worked on.
    pub(super) fn next(&self, limits: &Limits) -> Option<(Instant, Due)> {
        let beat = self.0.lock();
        let waiting = beat.waiting.iter().map(|(_, since)| *since);
        let write = waiting
            .chain(beat.stalled)
            .min()
            .map(|since| (since + limits.write_time, Due::Write));
        let read = if beat.requests > 0 {
            None
        } else if let Some(since) = beat.head {
            Some((since + limits.head_time, Due::Head))
        } else if beat.served {
            Some((beat.quiet + limits.idle_time, Due::Idle))
        } else {
            Some((beat.quiet + limits.head_time, Due::Head))
        };
        [write, read]
            .into_iter()
            .flatten()
            .min_by_key(|(at, _)| *at)
    }
}
