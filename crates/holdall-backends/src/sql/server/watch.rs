//! Tells watchers of changes, those of other processes too.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::select;
use futures_util::{StreamExt, TryStreamExt, stream};
use hashbrown::HashMap;
use holdall_core::{Change, ChangeStream, CollectionName, Error, Result, WatchFrom};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::Shared;
use super::driver::{Connection, Driver};
use super::log;
use crate::sql::Value;
use crate::sql::changes::Place;

/// The most often that others are told of commits.
const ANNOUNCE: Duration = Duration::from_millis(10);

/// How long to go without being told before it is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(10);

/// Wakes watchers when something was committed.
#[derive(Debug, Default)]
pub(super) struct Bell {
    sender: watch::Sender<()>,
    /// Whether a task looks for the commits of other processes.
    looking: Mutex<bool>,
    /// Whether others are about to be told.
    announcing: AtomicBool,
    /// The names of collections by their ids, as far as they were needed.
    names: Mutex<HashMap<i64, CollectionName>>,
}

impl Bell {
    pub(super) fn ring(&self) {
        self.sender.send_replace(());
    }

    pub(super) fn name(&self, id: i64) -> Option<CollectionName> {
        self.names.lock().get(&id).cloned()
    }

    pub(super) fn learn(&self, id: i64, name: &CollectionName) {
        self.names.lock().insert(id, name.clone());
    }
}

impl<D: Driver> Shared<D> {
    /// Tells watchers here and elsewhere that something was committed.
    pub(super) fn tell(self: &Arc<Self>) {
        self.bell.ring();
        if self.bell.announcing.swap(true, Ordering::AcqRel) {
            return;
        }
        let shared = self.clone();
        tokio::spawn(async move {
            // One word does for all that is committed meanwhile.
            tokio::time::sleep(ANNOUNCE).await;
            shared.bell.announcing.store(false, Ordering::Release);
            shared.driver.announce().await;
        });
    }

    /// Starts the task that looks for the commits of other processes, unless
    /// there is one. It ends when nobody watches any more.
    fn look(self: &Arc<Self>) {
        let mut looking = self.bell.looking.lock();
        if !std::mem::replace(&mut *looking, true) {
            tokio::spawn(look(self.clone()));
        }
    }
}

async fn look<D: Driver>(shared: Arc<Shared<D>>) {
    let listening = async {
        loop {
            // What it fails with does not matter: watchers are polled for, too.
            let _ = shared.driver.listen(|| shared.bell.ring()).await;
            tokio::time::sleep(LISTEN_AGAIN).await;
        }
    };
    let polling = async {
        let mut seen = None;
        loop {
            let now = state(&shared).await.ok();
            let waiting = now.as_ref().is_none_or(|(_, waiting)| *waiting);
            if waiting || now != seen {
                seen = now;
                shared.bell.ring();
            }
            tokio::time::sleep(shared.options.poll).await;
            let mut looking = shared.bell.looking.lock();
            if shared.bell.sender.receiver_count() == 0 || shared.closed.load(Ordering::Acquire) {
                *looking = false;
                return;
            }
        }
    };
    select(pin!(listening), pin!(polling)).await;
}

/// The greatest number of the log, and whether batches wait for one.
async fn state<D: Driver>(shared: &Shared<D>) -> Result<(Option<Value>, bool)> {
    let mut connection = shared.connect().await?;
    let look = vec![log::meta(shared, "numbered", ""), log::waiting(shared)];
    let answers = connection
        .run(look)
        .await
        .map_err(super::Failure::into_error)?;
    let mut answers = answers.into_iter();
    let numbered = answers.next().unwrap_or_default().rows.into_iter().next();
    let waiting = answers.next().is_some_and(|answer| !answer.rows.is_empty());
    Ok((numbered.and_then(|row| row.into_iter().next()), waiting))
}

pub(super) async fn watch<D: Driver>(
    shared: &Arc<Shared<D>>,
    collection: Option<CollectionName>,
    from: WatchFrom,
) -> Result<ChangeStream> {
    let heard = shared.bell.sender.subscribe();
    shared.look();
    let cursor = match &from {
        WatchFrom::After(cursor) => Some(cursor),
        _ => None,
    };
    let place = log::place(shared, cursor).await?;
    let watcher = Watcher {
        shared: shared.clone(),
        collection,
        heard,
        place,
    };
    let pages = stream::try_unfold(watcher, |mut watcher| async move {
        let page = watcher.next().await?;
        Ok::<_, Error>(page.map(|page| (stream::iter(page.into_iter().map(Ok)), watcher)))
    });
    Ok(pages.try_flatten().boxed())
}

struct Watcher<D> {
    shared: Arc<Shared<D>>,
    collection: Option<CollectionName>,
    heard: watch::Receiver<()>,
    place: Place,
}

impl<D: Driver> Watcher<D> {
    async fn next(&mut self) -> Result<Option<Vec<Change>>> {
        loop {
            // Before the log is read, so that what comes after wakes it again.
            self.heard.mark_unchanged();
            let (page, next) =
                log::after(&self.shared, self.place, self.collection.as_ref()).await?;
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
