//! How often a message is sent again that a broker did not take.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How often, and after which waits, a publish is tried again that failed for a reason that may pass.
///
/// The first wait is `first`, each one after it `step` longer, and none longer than `longest`. A broker
/// that did not answer may have stored the message all the same: it is then stored twice under one id.
///
/// ```
/// # use celeriac_core::PublishRetry;
/// let waits: Vec<_> = (1..=4).map_while(|retry| PublishRetry::DEFAULT.wait(retry)).collect();
/// assert_eq!(waits.iter().map(|wait| wait.as_millis()).collect::<Vec<_>>(), [0, 200, 400]);
/// ```
///
/// # Sources
///
/// Celery's `task_publish_retry_policy`, and its values for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishRetry {
    /// How often at most; with 0 never.
    pub retries: u32,
    /// The first wait.
    pub first: Duration,
    /// How much longer each wait is than the one before.
    pub step: Duration,
    /// The longest wait.
    pub longest: Duration,
}

impl PublishRetry {
    /// Three times: at once, after 0.2 s and after 0.4 s.
    pub const DEFAULT: Self = Self {
        retries: 3,
        first: Duration::ZERO,
        step: Duration::from_millis(200),
        longest: Duration::from_secs(1),
    };

    /// Never.
    pub const NEVER: Self = Self {
        retries: 0,
        ..Self::DEFAULT
    };

    /// The wait before the retry of this number, counted from 1; `None` if there is none.
    pub fn wait(&self, retry: u32) -> Option<Duration> {
        let steps = retry.checked_sub(1)?;
        let wait = self.first.saturating_add(self.step.saturating_mul(steps));
        (retry <= self.retries).then(|| wait.min(self.longest))
    }
}

impl Default for PublishRetry {
    fn default() -> Self {
        Self::DEFAULT
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_up_to_the_longest_and_end() {
        let policy = PublishRetry {
            retries: 5,
            first: Duration::from_millis(100),
            step: Duration::from_millis(300),
            longest: Duration::from_millis(800),
        };
        let waits: Vec<_> = (1..10).map_while(|retry| policy.wait(retry)).collect();
        let expected = [100, 400, 700, 800, 800].map(Duration::from_millis);
        assert_eq!(waits, expected);
        assert_eq!(policy.wait(0), None);
        assert_eq!(PublishRetry::NEVER.wait(1), None);
    }
}
