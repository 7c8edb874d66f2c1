//! How long to wait before a broker is asked again.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use celeriac_core::Backoff;
use tokio::time::Instant;

/// From 0.1 s, doubled up to 5 s.
const RECONNECT: Backoff = Backoff::Exponential(Duration::from_millis(100), Duration::from_secs(5));

/// When something that failed may be tried again: exponential, with full jitter above 0.1 s.
#[derive(Debug, Default)]
pub(crate) struct RetryTimer {
    failures: u32,
    at: Option<Instant>,
}

impl RetryTimer {
    /// It failed at `now`; says how long to wait.
    pub(crate) fn failed(&mut self, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let delay = RECONNECT
            .delay(self.failures)
            .mul_f64(random())
            .max(Duration::from_millis(100));
        self.at = Some(now + delay);
        delay
    }

    pub(crate) fn succeeded(&mut self) {
        *self = Self::default();
    }

    /// Whether the last try failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failures > 0
    }

    /// Whether it may be tried at `now`.
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.at.is_none_or(|at| at <= now)
    }

    /// When it may be tried again, if it is waiting for that.
    pub(crate) fn at(&self) -> Option<Instant> {
        self.at
    }
}

/// A number in 0..1, from the randomness the standard library seeds its maps with.
pub(crate) fn random() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 11;
    #[expect(clippy::cast_precision_loss, reason = "53 bits fit a float exactly")]
    let number = bits as f64 / (1_u64 << 53) as f64;
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_with_each_failure_and_stays_within_bounds() {
        let now = Instant::now();
        let mut timer = RetryTimer::default();
        assert!(timer.is_due(now));
        let waits: Vec<_> = (0..200).map(|_| timer.failed(now)).collect();
        assert_eq!(waits[0], Duration::from_millis(100));
        assert!(waits.iter().all(|wait| *wait <= Duration::from_secs(5)));
        assert!(
            waits[20..]
                .iter()
                .any(|wait| *wait > Duration::from_secs(1))
        );
        assert!(timer.is_failing() && !timer.is_due(now));
        timer.succeeded();
        assert!(timer.is_due(now));
    }
}
