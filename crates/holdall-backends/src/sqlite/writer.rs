//! The one writer of the process: a thread that commits in groups.
//!
//! Jobs that wait while a commit is being synced become one transaction, so
//! many writers share one sync. Within it each job has a savepoint of its own:
//! one that fails undoes itself alone.

use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use holdall_core::{CollectionName, Env, Error, Result, Retry};
use rusqlite::{Connection, ErrorCode};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::catalogue::{self, Catalogue, Table};
use super::error::failed;
use super::sweep::Sweep;

/// The most bytes of jobs that wait or are being written. More wait for room,
/// without being taken in.
const QUEUE: u64 = 128 * 1024 * 1024;

/// Bytes that one permit of the queue stands for.
const PERMIT: u64 = 1024;

/// The most jobs of a group.
const GROUP_JOBS: usize = 256;

/// The most bytes of a group, so that the WAL stays small.
const GROUP_BYTES: u64 = 16 * 1024 * 1024;

/// The WAL is copied into the file when it has so many pages (32 MiB).
const FOLD_PAGES: i32 = 8192;

/// How often to look for what can be removed.
const SWEEP: Duration = Duration::from_secs(60);

/// Hands jobs to the writer. When the last one is gone, the writer ends.
#[derive(Clone, Debug)]
pub(super) struct Writer {
    jobs: Sender<Queued>,
    room: Arc<Semaphore>,
    /// Closed when the thread has ended.
    ended: watch::Receiver<()>,
}

/// What a job works with: the connection, in a transaction.
pub(super) struct Session {
    pub(super) connection: Connection,
    pub(super) catalogue: Arc<Catalogue>,
    pub(super) env: Env,
    /// Tables made in this transaction; known to all once it is committed.
    made: Vec<(CollectionName, Arc<Table>)>,
    made_before_job: usize,
}

struct Queued {
    job: Option<Box<dyn Job>>,
    bytes: u64,
    /// What it takes up of the queue, until the group is answered.
    room: Option<OwnedSemaphorePermit>,
}

trait Job: Send {
    /// Whether nobody waits for the answer any more.
    fn abandoned(&self) -> bool;
    /// Does the work and keeps the result; answers whether it succeeded.
    fn run(&mut self, session: &mut Session) -> bool;
    /// Answers what was kept, or that the group failed.
    fn answer(self: Box<Self>, group: std::result::Result<(), &GroupError>);
}

struct Task<T, W> {
    work: Option<W>,
    result: Option<Result<T>>,
    reply: oneshot::Sender<Result<T>>,
}

impl<T: Send, W: FnOnce(&mut Session) -> Result<T> + Send> Job for Task<T, W> {
    fn abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn run(&mut self, session: &mut Session) -> bool {
        self.result = self.work.take().map(|work| work(session));
        matches!(self.result, Some(Ok(_)))
    }

    fn answer(self: Box<Self>, group: std::result::Result<(), &GroupError>) {
        let result = match (group, self.result) {
            (_, Some(Err(error))) => Err(error),
            (Err(error), _) => Err(error.to_error()),
            (Ok(()), Some(Ok(done))) => Ok(done),
            (Ok(()), None) => return,
        };
        // Whoever asked may have gone meanwhile; the work is done all the same.
        let _gone = self.reply.send(result);
    }
}

/// Why a whole group failed.
struct GroupError {
    message: String,
    retry: Retry,
    kind: holdall_core::ErrorKind,
}

impl GroupError {
    fn of(error: &Error) -> Self {
        Self {
            message: error.to_string(),
            retry: error.retry(),
            kind: error.kind(),
        }
    }

    fn to_error(&self) -> Error {
        Error::new(self.kind, self.retry, self.message.clone()).in_backend("sqlite")
    }
}

impl Writer {
    /// Starts the thread.
    pub(super) fn start(
        connection: Connection,
        wal_pages: Arc<AtomicI32>,
        catalogue: Arc<Catalogue>,
        env: Env,
        sweep: Sweep,
        committed: impl Fn() + Send + 'static,
    ) -> Result<Self> {
        let (jobs, queue) = channel();
        let session = Session {
            connection,
            catalogue,
            env,
            made: Vec::new(),
            made_before_job: 0,
        };
        let (ending, ended) = watch::channel(());
        let permits = usize::try_from(QUEUE / PERMIT).unwrap_or(Semaphore::MAX_PERMITS);
        std::thread::Builder::new()
            .name("holdall-sqlite".to_owned())
            .spawn(move || {
                Loop {
                    session,
                    wal_pages,
                    queue,
                    sweep,
                    committed,
                    broken: false,
                }
                .run();
                drop(ending);
            })
            .map_err(|error| {
                Error::unavailable("a thread for the writer could not be started").because(error)
            })?;
        Ok(Self {
            jobs,
            room: Arc::new(Semaphore::new(permits)),
            ended,
        })
    }

    /// Has work done in a transaction, and waits until it is committed.
    ///
    /// Dropping the future before the writer has taken the work up drops the
    /// work; after that it is done.
    pub(super) async fn submit<T: Send + 'static>(
        &self,
        bytes: u64,
        work: impl FnOnce(&mut Session) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permits = u32::try_from((bytes.min(QUEUE) / PERMIT).max(1)).unwrap_or(1);
        let room = self
            .room
            .clone()
            .acquire_many_owned(permits)
            .await
            .map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        let task = Task {
            work: Some(work),
            result: None,
            reply,
        };
        let queued = Queued {
            job: Some(Box::new(task)),
            bytes,
            room: Some(room),
        };
        self.jobs.send(queued).map_err(|_| closed())?;
        answer.await.unwrap_or_else(|_| Err(closed()))
    }

    /// Takes no more jobs, and waits until those that came before are done and
    /// the connection is closed.
    pub(super) async fn close(&self) {
        self.room.close();
        // It may have ended already.
        let _ended = self.jobs.send(Queued {
            job: None,
            bytes: 0,
            room: None,
        });
        // Fails when the thread has let go of its end, which is what it waits for.
        let _gone = self.ended.clone().changed().await;
    }
}

fn closed() -> Error {
    Error::closed("the store was closed; open it again")
}

impl Session {
    /// The table of a collection, if it has one.
    pub(super) fn table(
        &self,
        collection: &CollectionName,
    ) -> rusqlite::Result<Option<Arc<Table>>> {
        if let Some(table) = self.catalogue.known(collection) {
            return Ok(Some(table));
        }
        if let Some((_, table)) = self.made.iter().find(|(name, _)| name == collection) {
            return Ok(Some(table.clone()));
        }
        // Not learned here: it may be of this transaction.
        catalogue::find(&self.connection, collection)
    }

    /// The table of a collection, made if it has none.
    pub(super) fn ensure_table(
        &mut self,
        collection: &CollectionName,
    ) -> rusqlite::Result<Arc<Table>> {
        if let Some(table) = self.table(collection)? {
            return Ok(table);
        }
        let table = catalogue::create(&self.connection, collection)?;
        self.made.push((collection.clone(), table.clone()));
        Ok(table)
    }

    /// Undoes what the job has done so far.
    pub(super) fn start_over(&mut self) -> rusqlite::Result<()> {
        self.made.truncate(self.made_before_job);
        self.connection
            .prepare_cached("ROLLBACK TO job")?
            .execute([])
            .map(drop)
    }

    fn savepoint(&mut self) -> rusqlite::Result<()> {
        self.made_before_job = self.made.len();
        self.connection
            .prepare_cached("SAVEPOINT job")?
            .execute([])
            .map(drop)
    }

    fn release(&self) -> rusqlite::Result<()> {
        self.connection
            .prepare_cached("RELEASE job")?
            .execute([])
            .map(drop)
    }

    fn commit(&mut self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        for (collection, table) in self.made.drain(..) {
            self.catalogue.learn(&collection, table);
        }
        Ok(())
    }

    fn rollback(&mut self) {
        self.made.clear();
        if !self.connection.is_autocommit() {
            // If even this fails, the next BEGIN does too, and says so.
            let _failed = self.connection.execute_batch("ROLLBACK");
        }
    }
}

struct Loop<C> {
    session: Session,
    wal_pages: Arc<AtomicI32>,
    queue: Receiver<Queued>,
    sweep: Sweep,
    committed: C,
    /// A sync failed: what is on disk is not known, so nothing more is written.
    broken: bool,
}

impl<C: Fn()> Loop<C> {
    fn run(mut self) {
        let mut swept = Instant::now().checked_sub(SWEEP);
        let mut more = false;
        loop {
            let due = swept.is_none_or(|swept| more || swept.elapsed() >= SWEEP);
            let wait = if due { Duration::ZERO } else { SWEEP };
            let first = match self.queue.recv_timeout(wait) {
                Ok(first) => first,
                Err(RecvTimeoutError::Timeout) => {
                    more = !self.broken && self.sweep();
                    swept = Some(Instant::now());
                    continue;
                }
                Err(RecvTimeoutError::Disconnected) => return,
            };
            if !self.group(first) {
                return;
            }
        }
    }

    /// Removes some of what nobody needs any more; answers whether there is
    /// more. What fails here is tried again later.
    fn sweep(&mut self) -> bool {
        let swept = self
            .session
            .connection
            .execute_batch("BEGIN IMMEDIATE")
            .and_then(|()| {
                self.sweep
                    .step(&self.session.connection, self.session.env.now())
            })
            .and_then(|more| self.session.commit().map(|()| more));
        if swept.is_err() {
            self.session.rollback();
        }
        self.fold_in();
        swept.unwrap_or(false)
    }

    /// Commits a group; answers whether to go on.
    fn group(&mut self, first: Queued) -> bool {
        let mut jobs = Vec::new();
        let mut rooms = Vec::new();
        let mut go_on = true;
        let mut bytes = 0;
        let mut next = Some(first);
        while let Some(queued) = next {
            bytes += queued.bytes;
            rooms.push(queued.room);
            match queued.job {
                Some(job) if !job.abandoned() => jobs.push(job),
                Some(_) => {}
                None => go_on = false,
            }
            let full = !go_on || jobs.len() >= GROUP_JOBS || bytes >= GROUP_BYTES;
            next = if full {
                None
            } else {
                self.queue.try_recv().ok()
            };
        }
        if !jobs.is_empty() {
            let result = self.transaction(&mut jobs);
            if result.is_ok() {
                (self.committed)();
            }
            for job in jobs {
                job.answer(result.as_ref().copied());
            }
            // Behind the answers, so that nobody waits for it.
            self.fold_in();
        }
        if !go_on {
            // What still waits is answered with `Closed` as the queue goes.
            // A WAL that cannot be folded in now is folded in at the next open.
            let _later = self
                .session
                .connection
                .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)");
        }
        go_on
    }

    /// Copies a WAL that has grown large into the file.
    fn fold_in(&self) {
        if self.wal_pages.load(Ordering::Relaxed) >= FOLD_PAGES {
            // What readers still need, or a full disk forbids, is folded in later.
            let _later = self
                .session
                .connection
                .execute_batch("PRAGMA wal_checkpoint(PASSIVE)");
        }
    }

    fn transaction(&mut self, jobs: &mut [Box<dyn Job>]) -> std::result::Result<(), GroupError> {
        if self.broken {
            return Err(GroupError::of(&Error::closed(
                "an earlier write could not be synced to disk, so the store writes no more; open it again",
            )));
        }
        let begun = self
            .session
            .connection
            .prepare_cached("BEGIN IMMEDIATE")
            .and_then(|mut begin| begin.execute([]));
        if let Err(error) = begun {
            return Err(GroupError::of(&failed(error)));
        }
        for job in jobs {
            if let Err(error) = self.one(job) {
                self.session.rollback();
                return Err(GroupError::of(&error));
            }
        }
        match self.session.commit() {
            Ok(()) => Ok(()),
            Err(error) => {
                let unknown = !matches!(
                    error.sqlite_error_code(),
                    Some(ErrorCode::DiskFull | ErrorCode::DatabaseBusy)
                );
                self.broken = unknown;
                self.session.rollback();
                let error = failed(error);
                Err(GroupError::of(&if unknown {
                    error.with_retry(Retry::Unknown)
                } else {
                    error
                }))
            }
        }
    }

    /// Runs one job in a savepoint. An error means that the whole transaction
    /// is lost.
    fn one(&mut self, job: &mut Box<dyn Job>) -> Result<()> {
        self.session.savepoint().map_err(failed)?;
        if !job.run(&mut self.session) {
            // SQLite ends the transaction by itself where it cannot go on: the
            // disk is full, say.
            if self.session.connection.is_autocommit() {
                return Err(Error::unavailable(
                    "nothing was written, because another write of the same group could not go on; try again",
                ));
            }
            self.session.start_over().map_err(failed)?;
        }
        self.session.release().map_err(failed)
    }
}
