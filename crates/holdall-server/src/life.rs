//! Whether the server goes on.

use std::sync::Arc;

use tokio::sync::watch;

/// Whether the server goes on: what `/ready` and watchers look at. Clones are
/// about the same server.
#[derive(Clone, Debug)]
pub struct Life(Arc<watch::Sender<Stage>>);

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    Serving,
    /// What is in flight is finished, nothing new begins.
    Ending,
    /// What is still in flight is given up.
    Over,
}

impl Life {
    /// Of a server that goes on.
    pub fn new() -> Self {
        Self(Arc::new(watch::channel(Stage::Serving).0))
    }

    /// Whether the server is to end, or has ended.
    pub fn is_ending(&self) -> bool {
        *self.0.borrow() >= Stage::Ending
    }

    /// Ready when the server is to end: whoever waits for something else that
    /// may never come gives up then.
    pub fn ending(&self) -> impl Future<Output = ()> + Send + use<> {
        self.reached(Stage::Ending)
    }

    pub(crate) fn reached(&self, wanted: Stage) -> impl Future<Output = ()> + Send + use<> {
        let mut stage = self.0.subscribe();
        async move {
            if stage.wait_for(|stage| *stage >= wanted).await.is_err() {
                // The server is gone without having ended: nobody waits.
                std::future::pending().await
            }
        }
    }

    /// Tells all that the server is to end.
    pub fn end(&self) {
        self.advance(Stage::Ending);
    }

    pub(crate) fn give_up(&self) {
        self.advance(Stage::Over);
    }

    fn advance(&self, to: Stage) {
        self.0.send_if_modified(|stage| {
            let later = *stage < to;
            *stage = (*stage).max(to);
            later
        });
    }
}

impl Default for Life {
    fn default() -> Self {
        Self::new()
    }
}
