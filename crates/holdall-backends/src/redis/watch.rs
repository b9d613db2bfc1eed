//! Tells watchers of changes, those of other processes too.

use std::sync::{Arc, Weak};
use std::time::Duration;

use ::redis::Value;
use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{Change, ChangeStream, CollectionName, Result, WatchFrom};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Shared;
use super::link::{Fault, Live};
use super::log::{self, Place};

/// How long Redis is asked to wait for a change in one call.
const LISTEN: Duration = Duration::from_secs(5);

/// How long to wait before the server is asked again when it did not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// Wakes watchers when something was committed.
#[derive(Debug)]
pub(super) struct Bell {
    sender: watch::Sender<()>,
    /// Whether a task listens for the commits of other processes.
    listening: Mutex<bool>,
}

impl Bell {
    pub(super) fn new() -> Self {
        Self {
            sender: watch::Sender::new(()),
            listening: Mutex::default(),
        }
    }

    pub(super) fn ring(&self) {
        self.sender.send_replace(());
    }
}

/// Listens for commits while somebody watches.
async fn listen(shared: Weak<Shared>, live: Live, mut seq: u64) {
    let mut live = Some(live);
    loop {
        let Some(shared) = shared.upgrade() else {
            return;
        };
        {
            let mut listening = shared.bell.listening.lock();
            if shared.bell.sender.receiver_count() == 0 || shared.check_open().is_err() {
                *listening = false;
                return;
            }
        }
        let heard = match live.take() {
            Some(live) => hear(&shared, live, seq).await,
            None => shared.link.alone().await.map(|live| (live, seq)),
        };
        match heard {
            Ok((kept, newest)) => {
                live = Some(kept);
                if newest != seq {
                    seq = newest;
                    shared.bell.ring();
                }
            }
            Err(_) => {
                // Watchers look for themselves, and say what is wrong.
                shared.bell.ring();
                drop(shared);
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Waits for a batch behind a number. Answers the number of the newest.
async fn hear(shared: &Shared, live: Live, seq: u64) -> Result<(Live, u64)> {
    let [log] = shared.names.all(["log"]);
    let mut read = ::redis::cmd("XREAD");
    read.arg("BLOCK")
        .arg(u64::try_from(LISTEN.as_millis()).unwrap_or(1))
        .arg("COUNT")
        .arg(1)
        .arg("STREAMS")
        .arg(log.as_slice())
        .arg(format!("{seq}-0"));
    let longer = LISTEN.saturating_add(shared.options.timeout);
    let answer = shared.link.call_alone(&live, &read, longer).await;
    match answer.map_err(Fault::of_read)? {
        Value::Nil => Ok((live, seq)),
        _ => Ok((live, Place::of(shared, &WatchFrom::Now).await?.seq)),
    }
}

pub(super) async fn watch(
    shared: &Arc<Shared>,
    collection: Option<CollectionName>,
    from: WatchFrom,
) -> Result<ChangeStream> {
    let heard = shared.bell.sender.subscribe();
    let place = Place::of(shared, &from).await?;
    if !*shared.bell.listening.lock() {
        let live = shared.link.alone().await?;
        let mut listening = shared.bell.listening.lock();
        if !*listening {
            *listening = true;
            tokio::spawn(listen(Arc::downgrade(shared), live, place.seq));
        }
    }
    let watcher = Watcher {
        shared: shared.clone(),
        collection,
        heard,
        place,
    };
    let pages = stream::try_unfold(watcher, |mut watcher| async move {
        let page = watcher.next().await?;
        Ok::<_, holdall_core::Error>(Some((stream::iter(page.into_iter().map(Ok)), watcher)))
    });
    Ok(pages.try_flatten().boxed())
}

struct Watcher {
    shared: Arc<Shared>,
    collection: Option<CollectionName>,
    heard: watch::Receiver<()>,
    place: Place,
}

impl Watcher {
    async fn next(&mut self) -> Result<Vec<Change>> {
        loop {
            self.shared.check_open()?;
            // Before the log is read, so that what comes after wakes it again.
            self.heard.mark_unchanged();
            let (page, next) =
                log::after(&self.shared, self.place, self.collection.as_ref()).await?;
            let moved = next.seq != self.place.seq;
            self.place = next;
            if !page.is_empty() {
                return Ok(page);
            }
            if !moved {
                // The sender lives as long as `shared`.
                self.heard.changed().await.ok();
            }
        }
    }
}
