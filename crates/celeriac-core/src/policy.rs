//! The rules a task is run by, as plain values: retry, rate, acknowledgement, results.

use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};

use crate::celery_acks::CeleryAcks;
use crate::outcome::{ErrorKind, RetryAdvice, TaskError};

/// How long to wait before a retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Backoff {
    /// Always this long.
    Fixed(Duration),
    /// The first delay, doubled at each retry, never more than the second.
    Exponential(Duration, Duration),
}

impl Backoff {
    /// 1 s, 2 s, 4 s … up to 10 minutes: Celery's `retry_backoff=True`.
    pub const EXPONENTIAL: Self =
        Self::Exponential(Duration::from_secs(1), Duration::from_secs(600));

    /// The delay before retry number `retry`, counted from 1.
    pub fn delay(self, retry: u32) -> Duration {
        match self {
            Self::Fixed(delay) => delay,
            Self::Exponential(first, most) => {
                let factor = 1_u32
                    .checked_shl(retry.saturating_sub(1))
                    .unwrap_or(u32::MAX);
                first.saturating_mul(factor).min(most)
            }
        }
    }
}

/// Which kinds of failure are worth another attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "it is a set of kinds, written as fields"
)]
pub struct RetryOn {
    /// The task returned an error.
    pub error: bool,
    /// The task panicked.
    pub panic: bool,
    /// A time limit ended it.
    pub time_limit: bool,
    /// The child that ran it died.
    pub lost: bool,
}

impl RetryOn {
    /// Only errors the task returned.
    pub const ERROR: Self = Self {
        error: true,
        panic: false,
        time_limit: false,
        lost: false,
    };

    /// Whether failures of `kind` are retried.
    pub fn includes(self, kind: ErrorKind) -> bool {
        match kind {
            ErrorKind::Failed => self.error,
            ErrorKind::Panicked => self.panic,
            ErrorKind::TimeLimit => self.time_limit,
            ErrorKind::Lost => self.lost,
            _ => false,
        }
    }
}

/// Whether and when a failed task is run again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The most retries after the first attempt; 0 means none.
    pub retries: u32,
    /// How long to wait before each.
    pub backoff: Backoff,
    /// Whether the delay is drawn at random between 0 and the back-off (full jitter), so that
    /// tasks that failed together do not come back together.
    pub jitter: bool,
    /// Which failures count.
    pub on: RetryOn,
}

impl RetryPolicy {
    /// No retries; if some are asked for, exponential back-off with jitter on errors.
    pub const NONE: Self = Self {
        retries: 0,
        backoff: Backoff::EXPONENTIAL,
        jitter: true,
        on: RetryOn::ERROR,
    };

    /// The delay before the next attempt, or `None` if `error` is final.
    ///
    /// `attempt` is the one that failed, counted from 1; `random` is in 0..1 and only used for
    /// jitter.
    pub fn next_attempt(&self, attempt: u32, error: &TaskError, random: f64) -> Option<Duration> {
        if attempt > self.retries {
            return None;
        }
        match error.advice() {
            RetryAdvice::Never => None,
            RetryAdvice::After(delay) => Some(delay),
            RetryAdvice::Policy if !self.on.includes(error.kind()) => None,
            RetryAdvice::Policy => {
                let delay = self.backoff.delay(attempt);
                Some(if self.jitter {
                    delay.mul_f64(random.clamp(0.0, 1.0))
                } else {
                    delay
                })
            }
        }
    }
}

/// When a delivery is acknowledged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum AckProfile {
    /// After the task has ended and its result is stored; a dead worker's task runs again.
    #[default]
    Reliable,
    /// When the task starts; a dead worker's task is gone. What was only fetched is not.
    Early,
    /// As the settings of a Celery app say.
    Celery(CeleryAcks),
}

impl AckProfile {
    /// Whether the delivery is acknowledged when the task starts.
    pub fn is_early(self) -> bool {
        match self {
            Self::Reliable => false,
            Self::Early => true,
            Self::Celery(acks) => !acks.late,
        }
    }
}

/// What becomes of a task's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ResultPolicy {
    /// Kept for this long.
    Keep(Duration),
    /// Not stored; waiting for it is refused.
    Ignore,
}

impl ResultPolicy {
    /// Results are kept for a day, as in Celery.
    pub const DEFAULT: Self = Self::Keep(Duration::from_secs(24 * 60 * 60));
}

/// At most so many starts of a task per time, in each worker.
///
/// Written as in Celery: `10/s`, `100/m`, `5/h`; a bare number is per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RateLimit {
    /// How many starts.
    pub count: u32,
    /// In how long.
    pub per: Duration,
}

/// A text that is no rate limit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no rate limit; write a number and a unit, such as 10/s, 100/m or 5/h")]
pub struct RateLimitError(String);

impl FromStr for RateLimit {
    type Err = RateLimitError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (count, unit) = text.split_once('/').unwrap_or((text, "s"));
        let seconds = match unit.trim() {
            "s" => 1,
            "m" => 60,
            "h" => 3600,
            _ => return Err(RateLimitError(text.to_owned())),
        };
        match count.trim().parse() {
            Ok(count) if count > 0 => Ok(Self {
                count,
                per: Duration::from_secs(seconds),
            }),
            _ => Err(RateLimitError(text.to_owned())),
        }
    }
}

impl fmt::Display for RateLimit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [("s", 1_u32), ("m", 60), ("h", 3600)];
        let whole = |seconds: u32| self.per == Duration::from_secs(seconds.into());
        if let Some((unit, _)) = units.iter().find(|(_, seconds)| whole(*seconds)) {
            return write!(formatter, "{}/{unit}", self.count);
        }
        // One start in a tenth of a second is ten in a second.
        let each = f64::from(self.count) / self.per.as_secs_f64();
        let count = |seconds: u32| each * f64::from(seconds);
        let is_whole = |count: f64| (count - count.round()).abs() < 1e-5 && count > 0.5;
        let fits = units.iter().find(|(_, seconds)| is_whole(count(*seconds)));
        match fits {
            Some((unit, seconds)) => write!(formatter, "{}/{unit}", count(*seconds).round()),
            None => write!(formatter, "{each}/s"),
        }
    }
}

/// Spaces the starts of one task evenly: the state behind a [`RateLimit`].
///
/// A token bucket of capacity one, as in Celery: after a pause there is no burst.
#[derive(Debug)]
pub struct Pacer {
    interval: Duration,
    next: Option<Instant>,
}

impl Pacer {
    /// A pacer for `limit` that lets the first start through at once.
    pub fn new(limit: RateLimit) -> Self {
        Self {
            interval: limit.per / limit.count,
            next: None,
        }
    }

    /// Books the next start and says how long to wait for it from `now`.
    pub fn reserve(&mut self, now: Instant) -> Duration {
        let start = self.next.map_or(now, |next| next.max(now));
        self.next = Some(start + self.interval);
        start - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const POLICY: RetryPolicy = RetryPolicy {
        retries: 2,
        jitter: false,
        ..RetryPolicy::NONE
    };

    #[test]
    fn exponential_backoff_doubles_up_to_its_cap() {
        let delays: Vec<_> = (1..=12)
            .map(|n| Backoff::EXPONENTIAL.delay(n).as_secs())
            .collect();
        assert_eq!(delays[..4], [1, 2, 4, 8]);
        assert_eq!(delays[11], 600);
        assert_eq!(Backoff::EXPONENTIAL.delay(1000).as_secs(), 600);
    }

    #[test]
    fn retries_end_after_their_number() {
        let error = TaskError::failed("E", "x");
        assert_eq!(
            POLICY.next_attempt(1, &error, 0.5),
            Some(Duration::from_secs(1))
        );
        assert_eq!(
            POLICY.next_attempt(2, &error, 0.5),
            Some(Duration::from_secs(2))
        );
        assert_eq!(POLICY.next_attempt(3, &error, 0.5), None);
    }

    #[test]
    fn advice_overrides_the_policy_but_not_the_number() {
        let never = TaskError::failed("E", "x").with_advice(RetryAdvice::Never);
        assert_eq!(POLICY.next_attempt(1, &never, 0.5), None);
        let soon = TaskError::failed("E", "x").with_advice(RetryAdvice::After(Duration::ZERO));
        assert_eq!(POLICY.next_attempt(1, &soon, 0.5), Some(Duration::ZERO));
        assert_eq!(POLICY.next_attempt(3, &soon, 0.5), None);
    }

    #[test]
    fn a_panic_is_not_retried_unless_asked() {
        let panic = TaskError::new(ErrorKind::Panicked, "x");
        assert_eq!(POLICY.next_attempt(1, &panic, 0.5), None);
        let on = RetryOn {
            panic: true,
            ..RetryOn::ERROR
        };
        assert!(
            RetryPolicy { on, ..POLICY }
                .next_attempt(1, &panic, 0.5)
                .is_some()
        );
    }

    #[test]
    fn full_jitter_draws_between_zero_and_the_delay() {
        let policy = RetryPolicy {
            jitter: true,
            ..POLICY
        };
        let error = TaskError::failed("E", "x");
        assert_eq!(policy.next_attempt(1, &error, 0.0), Some(Duration::ZERO));
        assert_eq!(
            policy.next_attempt(1, &error, 0.25),
            Some(Duration::from_millis(250))
        );
    }

    #[test]
    fn rate_limits_read_as_in_celery() {
        assert_eq!(
            "10/s".parse(),
            Ok(RateLimit {
                count: 10,
                per: Duration::from_secs(1)
            })
        );
        assert_eq!("7".parse::<RateLimit>().unwrap().to_string(), "7/s");
        for bad in ["", "0/s", "x", "1/d", "-1/s"] {
            assert!(bad.parse::<RateLimit>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pacer_spaces_starts_and_saves_up_no_burst() {
        let mut pacer = Pacer::new("2/s".parse().unwrap());
        let start = Instant::now();
        assert_eq!(pacer.reserve(start), Duration::ZERO);
        assert_eq!(pacer.reserve(start), Duration::from_millis(500));
        let later = start + Duration::from_secs(60);
        assert_eq!(pacer.reserve(later), Duration::ZERO);
        assert_eq!(pacer.reserve(later), Duration::from_millis(500));
    }
}
