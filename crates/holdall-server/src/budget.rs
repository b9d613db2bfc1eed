//! How many bytes of requests and answers may be in memory at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdall_core::{Error, Result};

/// A number of bytes that all requests share. Nobody waits for it: a request
/// that does not fit is refused.
#[derive(Clone, Debug)]
pub(crate) struct Budget(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: u64,
    held: AtomicU64,
}

impl Budget {
    pub(crate) fn new(limit: u64) -> Self {
        let held = AtomicU64::new(0);
        Self(Arc::new(Inner { limit, held }))
    }

    /// Nothing yet, to grow.
    pub(crate) fn hold(&self) -> Hold {
        Hold {
            budget: self.clone(),
            bytes: 0,
        }
    }
}

/// Bytes of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Hold {
    budget: Budget,
    bytes: u64,
}

impl Hold {
    /// How many bytes it holds.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds so many bytes altogether.
    ///
    /// # Errors
    /// `Unavailable` if the budget has no room.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<()> {
        let more = bytes.saturating_sub(self.bytes);
        let inner = &self.budget.0;
        let fits = |held: u64| held.checked_add(more).filter(|sum| *sum <= inner.limit);
        inner
            .held
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits)
            .map_err(|_| {
                Error::unavailable(
                    "the server holds as many bytes of requests as it may; try again in a moment",
                )
            })?;
        self.bytes += more;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.budget.0.held.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_shared_and_given_back() {
        let budget = Budget::new(10);
        let (mut one, mut two) = (budget.hold(), budget.hold());
        one.grow_to(6).unwrap();
        one.grow_to(4).unwrap();
        two.grow_to(4).unwrap();
        assert!(two.grow_to(5).is_err());
        assert!(two.grow_to(u64::MAX).is_err());
        drop(one);
        two.grow_to(10).unwrap();
    }
}
