//! Memory for requests that are read as a whole.

use std::sync::Arc;

use holdall_core::Error;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::Failure;

/// So many bytes are one permit: a semaphore takes at most 2^32 at a time.
const UNIT: u64 = 1024;

/// How many bytes all requests together may hold in memory: `max_buffered`.
/// Clones share it.
#[derive(Clone, Debug)]
pub struct Budget(Arc<Semaphore>);

/// Bytes of a [`Budget`], given back when this is dropped.
#[derive(Debug)]
pub struct Reserved {
    budget: Budget,
    permit: OwnedSemaphorePermit,
}

impl Budget {
    /// Of so many bytes, to the KiB.
    pub fn new(bytes: u64) -> Self {
        let units = usize::try_from(bytes.div_ceil(UNIT)).unwrap_or(usize::MAX);
        Self(Arc::new(Semaphore::new(units.min(Semaphore::MAX_PERMITS))))
    }

    /// Takes bytes out of it, without waiting for any.
    ///
    /// # Errors
    /// `Unavailable` (503) if they are not there.
    pub fn reserve(&self, bytes: u64) -> Result<Reserved, Failure> {
        Ok(Reserved {
            permit: self.permit(bytes.div_ceil(UNIT))?,
            budget: self.clone(),
        })
    }

    fn permit(&self, units: u64) -> Result<OwnedSemaphorePermit, Failure> {
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let permit = self.0.clone().try_acquire_many_owned(units);
        permit.map_err(|_| {
            Error::unavailable(
                "the server holds as much in memory for other requests as it may; \
                 try again later",
            )
            .into()
        })
    }
}

impl Reserved {
    /// Holds at least so many bytes in all.
    ///
    /// # Errors
    /// As [`Budget::reserve`]; what it holds already, it keeps.
    pub fn grow(&mut self, bytes: u64) -> Result<(), Failure> {
        let held = u64::try_from(self.permit.num_permits()).unwrap_or(u64::MAX);
        let more = bytes.div_ceil(UNIT).saturating_sub(held);
        if more > 0 {
            self.permit.merge(self.budget.permit(more)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_gives_what_it_has_and_not_a_byte_more() {
        let budget = Budget::new(10 * UNIT);
        let mut first = budget.reserve(4 * UNIT).unwrap();
        let second = budget.reserve(5 * UNIT + 1).unwrap();
        assert!(budget.reserve(1).is_err());
        assert!(first.grow(4 * UNIT + 1).is_err());
        first.grow(4 * UNIT).unwrap();
        drop(second);
        first.grow(10 * UNIT).unwrap();
        assert!(budget.reserve(1).is_err());
        drop(first);
        assert!(budget.reserve(10 * UNIT + 1).is_err());
        budget.reserve(10 * UNIT).unwrap();
    }
}
