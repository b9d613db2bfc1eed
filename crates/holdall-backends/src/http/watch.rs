//! Tells changes, on one connection after the other.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{self, Either};
use futures_util::{StreamExt, stream};
use holdall_core::{
    Change, ChangeStream, CollectionName, Error, ErrorKind, Result, Retry, WatchCursor, WatchFrom,
};
use holdall_wire::{Block, Event, Events};
use http::{HeaderName, HeaderValue, header};

use super::Shared;
use super::failure::garbled;
use super::transport::{Answer, Call};
use crate::gate::closed_by_us;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The server sends something every 15 seconds; a connection on which nothing
/// came for so long is gone.
const SILENCE: Duration = Duration::from_secs(45);

/// The pauses before attempts to watch on; then the watch fails, and its reader
/// may go on behind the last change.
const PAUSES: [Duration; 10] = [
    Duration::ZERO,
    Duration::from_millis(100),
    Duration::from_millis(200),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(5),
    Duration::from_secs(5),
    Duration::from_secs(5),
];

/// Watches.
pub(super) async fn watch(
    shared: &Arc<Shared>,
    collection: Option<&CollectionName>,
    from: WatchFrom,
) -> Result<ChangeStream> {
    let last = match from {
        WatchFrom::Now => None,
        WatchFrom::After(cursor) => {
            let text = cursor.to_string();
            // What would not be read on the other side is none of its own.
            text.parse::<WatchCursor>()?;
            Some(text)
        }
    };
    let mut watching = Watching {
        shared: shared.clone(),
        collection: collection.cloned(),
        last,
        line: None,
        ready: VecDeque::new(),
    };
    watching.connect().await?;
    Ok(stream::unfold(Some(watching), |watching| async move {
        let mut watching = watching?;
        match watching.next().await {
            Ok(change) => Some((Ok(change), Some(watching))),
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed())
}

struct Watching {
    shared: Arc<Shared>,
    collection: Option<CollectionName>,
    /// Where to go on: the id of the last event, or of the place where the
    /// watch began.
    last: Option<String>,
    line: Option<Line>,
    ready: VecDeque<Result<Change>>,
}

/// A connection on which changes come.
struct Line {
    answer: Answer,
    events: Events,
}

impl Line {
    fn feed(&mut self, piece: &[u8], blocks: &mut Vec<Block>) -> Result<()> {
        let fed = self.events.feed(piece, blocks);
        fed.map_err(|error| garbled("what are no events").because(error))
    }
}

impl Watching {
    async fn next(&mut self) -> Result<Change> {
        loop {
            if self.shared.gate.is_closed() {
                return Err(closed_by_us());
            }
            if let Some(change) = self.ready.pop_front() {
                return change;
            }
            let closed = Box::pin(self.shared.gate.clone().closed());
            let reading = Box::pin(self.read());
            match future::select(reading, closed).await {
                Either::Left((result, _)) => result?,
                Either::Right(_) => return Err(closed_by_us()),
            }
        }
    }

    /// Reads something, or connects again.
    async fn read(&mut self) -> Result<()> {
        let Some(line) = &mut self.line else {
            return self.connect_again().await;
        };
        let mut blocks = Vec::new();
        match line.answer.next_within(SILENCE).await {
            Ok(Some(piece)) => line.feed(&piece, &mut blocks)?,
            // It broke off, or was ended.
            Ok(None) | Err(_) => self.line = None,
        }
        self.take(blocks)
    }

    fn take(&mut self, blocks: Vec<Block>) -> Result<()> {
        for block in blocks {
            if block.id.is_some() {
                self.last.clone_from(&block.id);
            }
            if block.data.is_empty() {
                continue;
            }
            let id = block.id.as_deref().unwrap_or_default();
            let event = Event::read(&block.name, id, &block.data);
            match event.map_err(|error| garbled("a damaged event").because(error))? {
                Event::Change(change) => self.ready.push_back(Ok(change)),
                Event::Other => {}
                Event::Failed(error) if passes(&error) && self.last.is_some() => self.line = None,
                Event::Failed(error) => self.ready.push_back(Err(error)),
            }
        }
        Ok(())
    }

    /// Connects, and waits until the server says that changes from then on
    /// will come.
    async fn connect(&mut self) -> Result<()> {
        let mut call = Call::get("/v1/watch").header(
            header::ACCEPT,
            HeaderValue::from_static("text/event-stream"),
        );
        if let Some(collection) = &self.collection {
            call = call.with("collection", collection.as_str());
        }
        if let Some(last) = &self.last {
            let last = HeaderValue::from_str(last).map_err(|_| garbled("an id that is none"))?;
            call = call.header(LAST_EVENT_ID, last);
        }
        let answer = self.shared.transport.send_lasting(&call).await;
        let answer = answer.map_err(|lost| lost.error)?;
        let answer = answer.success().await.map_err(|lost| lost.error)?;
        if !answer.is_of_type("text/event-stream") {
            return Err(garbled("another type than that of events"));
        }
        let mut line = Line {
            answer: answer.lasts(),
            events: Events::default(),
        };
        let mut blocks = Vec::new();
        while blocks.is_empty() {
            let piece = line.answer.next().await.map_err(|lost| lost.error)?;
            let piece = piece.ok_or_else(|| super::failure::Unanswered::cut().error)?;
            line.feed(&piece, &mut blocks)?;
        }
        self.line = Some(line);
        self.take(blocks)
    }

    async fn connect_again(&mut self) -> Result<()> {
        if self.last.is_none() {
            return Err(Error::expired(
                "the watch broke off before any change came, and the server named no place to go on from: \
                 changes may be lost. Scan, and watch from now",
            ));
        }
        let mut failed = None;
        for pause in PAUSES {
            tokio::time::sleep(pause).await;
            match self.connect().await {
                Ok(()) => return Ok(()),
                Err(error) if passes(&error) => failed = Some(error),
                Err(error) => return Err(error),
            }
        }
        let failed = failed.unwrap_or_else(|| Error::unavailable("the server cannot be reached"));
        Err(failed.while_doing("the watch broke off; go on behind the last change later"))
    }
}

/// Whether what is wrong now may be right in a moment.
fn passes(error: &Error) -> bool {
    error.retry() == Retry::Yes
        && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout)
}
