//! How many requests a token may make in a second.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use super::token::TokenId;

/// So many tokens are remembered before those that rest are looked for.
const SWEEP_AT: usize = 1024;

/// The generic cell rate algorithm: for each token, one time, at which all that
/// it was allowed so far would be used up if it had come evenly. A request
/// moves that time on by a step, and is refused where it lies too far ahead.
///
/// The crate `governor` does the same, and brings a second version of
/// `hashbrown` into the tree.
///
/// Time is that of tokio and not the clock's, which may be set back.
#[derive(Debug)]
pub(super) struct Rate {
    start: Instant,
    /// Nanoseconds between two requests that come evenly.
    step: u64,
    /// How far ahead the time may lie: a second's requests may come at once.
    ahead: u64,
    used: Mutex<Used>,
}

#[derive(Debug)]
struct Used {
    until: HashMap<TokenId, u64>,
    sweep_at: usize,
}

impl Rate {
    pub(super) fn new(per_second: u64) -> Self {
        const SECOND: u64 = 1_000_000_000;
        let per_second = per_second.clamp(1, SECOND);
        let step = SECOND / per_second;
        Self {
            start: Instant::now(),
            step,
            ahead: step * (per_second - 1),
            used: Mutex::new(Used {
                until: HashMap::new(),
                sweep_at: SWEEP_AT,
            }),
        }
    }

    /// Takes a request, or says how long to wait.
    pub(super) fn take(&self, id: &TokenId) -> Result<(), Duration> {
        let now = u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let used = &mut *self.used.lock();
        let until = used.until.get(id).copied().unwrap_or(0).max(now);
        if until - now > self.ahead {
            return Err(Duration::from_nanos(until - now - self.ahead));
        }
        if used.until.len() >= used.sweep_at {
            // One whose time is over is as if it had never come. Twice what is
            // left, so that sweeping costs nothing for each request, whatever
            // the number of tokens, which has a limit of its own.
            used.until.retain(|_, until| *until > now);
            used.sweep_at = SWEEP_AT.max(2 * used.until.len());
        }
        let until = until.saturating_add(self.step);
        match used.until.get_mut(id) {
            Some(own) => *own = until,
            None => {
                used.until.insert(id.clone(), until);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> TokenId {
        format!("{number:016x}").parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_second_holds_as_many_requests_as_are_allowed_and_no_more() {
        for allowed in [1, 2, 3, 7, 1000] {
            let rate = Rate::new(allowed);
            for _ in 0..allowed {
                assert_eq!(rate.take(&id(1)), Ok(()), "{allowed}");
            }
            let wait = rate.take(&id(1)).unwrap_err();
            assert!(
                !wait.is_zero() && wait <= Duration::from_secs(1),
                "{wait:?}"
            );
            // Another token has its own.
            assert_eq!(rate.take(&id(2)), Ok(()));
            // After the wait there is room for one.
            tokio::time::advance(wait).await;
            tokio::time::advance(Duration::from_millis(1)).await;
            assert_eq!(rate.take(&id(1)), Ok(()));
            if allowed < 500 {
                assert!(rate.take(&id(1)).is_err());
            }
            // And who rested a second has all again, not more.
            tokio::time::advance(Duration::from_secs(60)).await;
            let taken = (0..2 * allowed).filter(|_| rate.take(&id(1)).is_ok());
            assert_eq!(taken.count() as u64, allowed);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tokens_that_rest_are_forgotten() {
        let rate = Rate::new(10);
        for number in 0..10 * SWEEP_AT {
            rate.take(&id(number)).unwrap();
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        // A step is 100 ms, so about 100 are not over.
        assert!(rate.used.lock().until.len() <= SWEEP_AT);
        assert_eq!(rate.used.lock().sweep_at, SWEEP_AT);
    }
}
