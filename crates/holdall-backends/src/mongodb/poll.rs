//! Tells watchers of changes where MongoDB has no change streams: batches have numbers,
//! none of which is left out, and each watcher asks for those that come next.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use holdall_core::{Change, ChangeStream, CollectionName, Result, Version, WatchCursor, WatchFrom};
use mongodb::bson::{Document, doc};
use tokio::sync::watch::Receiver;

use super::error::failed;
use super::log::{self, ALL};
use super::names::BATCHES;
use super::watch::{CHECK, check, expired, foreign};
use super::{Shared, value};
use crate::gate::closed_by_us;

/// The first pause after nothing was found; each is twice as long.
const FIRST: Duration = Duration::from_millis(100);

/// The longest pause.
const LONGEST: Duration = Duration::from_secs(1);

/// The most batches that are read at once.
const PAGE: i64 = 256;

/// Reading ends behind the batch that passes so many changes.
const MOST: usize = 10_000;

/// Where a watcher is: behind so many changes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    number: i64,
    changes: u32,
}

impl Place {
    /// For a cursor: the identity of the store (16 bytes), the number of the batch (8), the changes
    /// of it that were told (4), and a check (4).
    fn write(self, identity: Version) -> WatchCursor {
        let mut out = identity.as_bytes().to_vec();
        out.extend_from_slice(&self.number.to_be_bytes());
        out.extend_from_slice(&self.changes.to_be_bytes());
        let check = check(&out);
        out.extend_from_slice(&check);
        WatchCursor::from_bytes(out)
    }

    fn parse(bytes: &[u8], identity: Version) -> Option<Self> {
        let (content, tail) = bytes.split_last_chunk::<CHECK>()?;
        let (owner, rest) = content.split_first_chunk::<16>()?;
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (changes, rest) = rest.split_first_chunk::<4>()?;
        let is_own = check(content) == *tail && owner == identity.as_bytes() && rest.is_empty();
        is_own.then(|| Self {
            number: i64::from_be_bytes(*number),
            changes: u32::from_be_bytes(*changes),
        })
    }
}

pub(super) async fn watch(
    shared: &Arc<Shared>,
    collection: Option<CollectionName>,
    from: WatchFrom,
) -> Result<ChangeStream> {
    // Before the newest number is read, so that what comes after wakes it.
    let heard = shared.bell.subscribe();
    let newest = newest(shared).await?;
    let place = match &from {
        WatchFrom::Now => Place {
            number: newest,
            changes: ALL,
        },
        WatchFrom::After(cursor) => {
            let place = Place::parse(cursor.as_bytes(), shared.identity);
            place
                .filter(|place| (0..=newest).contains(&place.number))
                .ok_or_else(foreign)?
        }
    };
    let mut watcher = Watcher {
        shared: shared.clone(),
        collection,
        heard,
        next: match place.changes {
            ALL => place.number + 1,
            _ => place.number,
        },
        seen: match place.changes {
            ALL => 0,
            seen => seen,
        },
        pending: VecDeque::new(),
    };
    // What is no longer kept is said at once.
    watcher.read(newest).await?;
    let changes = stream::try_unfold(watcher, |mut watcher| async move {
        Ok(Some((watcher.next().await?, watcher)))
    });
    Ok(changes.boxed())
}

async fn newest(shared: &Arc<Shared>) -> Result<i64> {
    let _pass = shared.life.enter()?;
    let _turn = shared.turn().await?;
    log::newest(shared).await
}

struct Watcher {
    shared: Arc<Shared>,
    collection: Option<CollectionName>,
    heard: Receiver<()>,
    /// The number of the batch that is read next.
    next: i64,
    /// How many changes of it were told already.
    seen: u32,
    pending: VecDeque<Change>,
}

impl Watcher {
    async fn next(&mut self) -> Result<Change> {
        let ended = self.shared.life.clone().closed();
        tokio::pin!(ended);
        let mut pause = FIRST;
        loop {
            while let Some(change) = self.pending.pop_front() {
                let wanted = self.collection.as_ref();
                if wanted.is_none_or(|wanted| *wanted == change.collection) {
                    return Ok(change);
                }
            }
            // Before it is asked, so that what comes after wakes it again.
            self.heard.mark_unchanged();
            if self.read(newest(&self.shared).await?).await? {
                pause = FIRST;
                continue;
            }
            tokio::select! {
                biased;
                () = &mut ended => return Err(closed_by_us()),
                _ = self.heard.changed() => {}
                () = tokio::time::sleep(pause) => pause = (pause * 2).min(LONGEST),
            }
        }
    }

    /// Reads what comes next of the batches up to the newest; answers whether there was any.
    async fn read(&mut self, newest: i64) -> Result<bool> {
        if self.next > newest {
            return Ok(false);
        }
        let shared = self.shared.clone();
        let _pass = shared.life.enter()?;
        let _turn = shared.turn().await?;
        let batches = shared.database.collection::<Document>(BATCHES);
        let find = batches
            .find(doc! { "number": { "$gte": self.next } })
            .sort(doc! { "number": 1 })
            .limit(PAGE);
        let mut cursor = shared.read(find).await?;
        let first = self.next;
        while self.pending.len() < MOST && shared.read(cursor.advance()).await? {
            let record = cursor.deserialize_current().map_err(failed)?;
            let number = record
                .get_i64("number")
                .map_err(|_| value::foreign("the number of a batch is damaged"))?;
            // Others may have been committed while the first were read.
            if number != self.next {
                break;
            }
            let told = log::told(&record, self.seen, |changes| {
                Ok(Place { number, changes }.write(shared.identity))
            });
            self.pending.extend(told?);
            (self.next, self.seen) = (number + 1, 0);
        }
        // It was committed before this reading began, so it was removed.
        match self.next == first {
            true => Err(expired()),
            false => Ok(true),
        }
    }
}
