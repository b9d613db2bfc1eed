//! The life of a handle: calls under way, calls that were left alone, and the
//! end.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{FutureExt, Shared, join_all};
use holdall_core::{Error, Result};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

/// Counts calls, and lets none in once it is closed.
#[derive(Debug)]
pub(crate) struct Gate {
    state: watch::Sender<State>,
    /// Writes whose callers went away; each ends when its sender is dropped.
    left: Mutex<Vec<Shared<oneshot::Receiver<()>>>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct State {
    closed: bool,
    running: usize,
}

impl State {
    fn enter(&mut self) -> bool {
        self.running += usize::from(!self.closed);
        false
    }
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct Pass(Arc<Gate>);

impl Gate {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            state: watch::Sender::default(),
            left: Mutex::default(),
        })
    }

    /// Begins a call.
    ///
    /// # Errors
    /// `Closed`.
    pub(crate) fn enter(self: &Arc<Self>) -> Result<Pass> {
        let mut closed = false;
        self.state.send_if_modified(|state| {
            closed = state.closed;
            state.enter()
        });
        if closed {
            return Err(closed_by_us());
        }
        Ok(Pass(self.clone()))
    }

    /// Refuses what comes from now on, and waits for what is under way.
    pub(crate) async fn close(&self) {
        self.state.send_modify(|state| state.closed = true);
        let mut state = self.state.subscribe();
        // The sender is in `self`, so waiting does not fail.
        let _ = state.wait_for(|state| state.running == 0).await;
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state.borrow().closed
    }

    /// Waits until it is closed.
    pub(crate) async fn closed(self: Arc<Self>) {
        let mut state = self.state.subscribe();
        let _ = state.wait_for(|state| state.closed).await;
    }

    /// Does a work to its end, even if the caller goes away meanwhile: then it
    /// is left alone, and the next such work of this handle waits for it
    /// first, so that what a caller began and gave up does not come behind
    /// what was asked for later.
    ///
    /// # Errors
    /// Those of the work; `Closed`.
    pub(crate) async fn finish<T: Send + 'static>(
        self: &Arc<Self>,
        patience: Duration,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let pass = self.enter()?;
        self.settle(patience).await;
        let (running, over) = oneshot::channel();
        let task = tokio::spawn(async move {
            let result = work.await;
            drop((running, pass));
            result
        });
        let mut leaving = Leaving {
            gate: self,
            over: Some(over),
        };
        let result = task.await;
        leaving.over = None;
        match result {
            Ok(result) => result,
            Err(error) if error.is_cancelled() => {
                Err(Error::closed("the runtime shut down").because(error))
            }
            Err(error) => Err(Error::other("the call did not end").because(error)),
        }
    }

    /// Waits for works that were left alone, for so long at most.
    pub(crate) async fn settle(&self, patience: Duration) {
        let left: Vec<_> = {
            let mut left = self.left.lock();
            left.retain(|over| over.clone().now_or_never().is_none());
            left.clone()
        };
        if !left.is_empty() {
            let _ = tokio::time::timeout(patience, join_all(left)).await;
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.0.state.send_if_modified(|state| {
            state.running -= 1;
            state.closed
        });
    }
}

/// Notes a work whose caller goes away.
struct Leaving<'a> {
    gate: &'a Gate,
    over: Option<oneshot::Receiver<()>>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if let Some(over) = self.over.take() {
            let mut left = self.gate.left.lock();
            left.retain(|over| over.clone().now_or_never().is_none());
            left.push(over.shared());
        }
    }
}

pub(crate) fn closed_by_us() -> Error {
    Error::closed("the store was closed; open it again")
}
