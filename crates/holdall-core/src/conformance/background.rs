//! Something that goes on while a case looks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::JoinHandle;

use super::{Check, Failure};

/// A step that is repeated until the case has seen enough, or has failed.
pub(super) struct Background {
    task: JoinHandle<Check>,
    stop: Arc<AtomicBool>,
}

impl Background {
    /// Repeats a step, which is told how often it was run before.
    pub(super) fn start<F, Fut>(step: F) -> Self
    where
        F: Fn(u64) -> Fut + Send + 'static,
        Fut: Future<Output = Check> + Send + 'static,
    {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                step(number).await?;
                number += 1;
                // A backend that never waits would keep all others from
                // running.
                tokio::task::yield_now().await;
            }
            Ok(())
        });
        Self { task, stop }
    }

    /// Whether it still goes on: it ends by itself when a step fails.
    pub(super) fn goes_on(&self) -> bool {
        !self.task.is_finished()
    }

    /// Ends it, and answers what went wrong in it.
    pub(super) async fn end(mut self) -> Check {
        self.stop.store(true, Ordering::Relaxed);
        (&mut self.task)
            .await
            .map_err(|error| Failure::here(error.to_string()))?
    }
}

/// A case that failed leaves nothing running.
impl Drop for Background {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
