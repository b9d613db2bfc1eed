//! Tells watchers of changes, those of other processes too.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use holdall_core::{ChangeStream, CollectionName, Result, WatchFrom};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::error::failed;
use super::log;
use super::{Shared, SqliteOptions, connection};
use crate::sql::changes::Place;

/// How often to look for the commits of other processes.
const POLL: Duration = Duration::from_millis(50);

/// Wakes watchers when something was committed.
#[derive(Clone, Debug)]
pub(super) struct Bell {
    sender: watch::Sender<()>,
    /// Whether a thread looks for the commits of other processes.
    looking: Arc<Mutex<bool>>,
}

impl Bell {
    pub(super) fn new() -> Self {
        Self {
            sender: watch::Sender::new(()),
            looking: Arc::default(),
        }
    }

    pub(super) fn ring(&self) {
        self.sender.send_replace(());
    }

    /// Starts the thread that looks for the commits of other processes, unless
    /// there is one. It ends when nobody watches any more.
    fn look(&self, options: &SqliteOptions) -> Result<()> {
        let mut looking = self.looking.lock();
        if *looking {
            return Ok(());
        }
        let connection = connection::open(options).map_err(failed)?;
        let bell = self.clone();
        std::thread::Builder::new()
            .name("holdall-sqlite-watch".to_owned())
            .spawn(move || bell.poll(&connection))
            .map_err(|error| {
                holdall_core::Error::unavailable("a thread for watchers could not be started")
                    .because(error)
            })?;
        *looking = true;
        Ok(())
    }

    fn poll(&self, connection: &rusqlite::Connection) {
        let mut seen = None;
        loop {
            // Changes with every commit of another connection. If it cannot be
            // read, watchers look for themselves.
            let now = connection
                .pragma_query_value(None, "data_version", |row| row.get::<_, i64>(0))
                .ok();
            if now != seen || now.is_none() {
                seen = now;
                self.ring();
            }
            std::thread::sleep(POLL);
            let mut looking = self.looking.lock();
            if self.sender.receiver_count() == 0 {
                *looking = false;
                return;
            }
        }
    }
}

pub(super) async fn watch(
    shared: &Arc<Shared>,
    collection: Option<CollectionName>,
    from: WatchFrom,
) -> Result<ChangeStream> {
    let heard = shared.bell.sender.subscribe();
    shared.bell.look(&shared.options)?;
    let identity = shared.identity;
    let place = shared
        .readers
        .read(move |connection| log::place(connection, identity, &from))
        .await?;
    let watcher = Watcher {
        shared: shared.clone(),
        collection,
        heard,
        place,
    };
    let pages = stream::try_unfold(watcher, |mut watcher| async move {
        let page = watcher.next().await?;
        Ok::<_, holdall_core::Error>(
            page.map(|page| (stream::iter(page.into_iter().map(Ok)), watcher)),
        )
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
    async fn next(&mut self) -> Result<Option<Vec<holdall_core::Change>>> {
        loop {
            // Before the log is read, so that what comes after wakes it again.
            self.heard.mark_unchanged();
            let (identity, place) = (self.shared.identity, self.place);
            let (names, wanted) = (self.shared.names.clone(), self.collection.clone());
            let read = move |connection: &rusqlite::Connection| {
                log::after(connection, identity, &names, place, wanted.as_ref())
            };
            let (page, next) = self.shared.readers.read(read).await?;
            let moved = next != self.place;
            self.place = next;
            if !page.is_empty() {
                return Ok(Some(page));
            }
            if !moved && self.heard.changed().await.is_err() {
                return Ok(None);
            }
        }
    }
}
