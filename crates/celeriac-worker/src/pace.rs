//! Rate limits: which deliveries wait, here or in their queue.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use celeriac_core::{RateLimit, TaskDefinition};
use tokio::time::Instant;

/// A delivery that may start within this long waits here; a later one waits in its queue.
const NEAR: Duration = Duration::from_secs(1);

/// When a rate-limited delivery may start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// At once.
    Now,
    /// Soon; it waits here.
    At(Instant),
    /// So much later that it goes back to its queue for that long.
    After(Duration),
}

/// The rate limits of a worker's tasks and the deliveries that wait for theirs.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    limits: HashMap<&'static str, Limited>,
    waiting: BinaryHeap<Reverse<(Instant, i64)>>,
}

/// A token bucket of capacity one, as in Celery: after a pause there is no burst.
#[derive(Debug)]
struct Limited {
    interval: Duration,
    /// The next start that is not booked.
    free: Instant,
    /// When the last delivery that was sent back may start.
    parked: Instant,
}

impl Pace {
    /// Says when a delivery of `task` may start, and books that start if it is near.
    ///
    /// Those that are sent back are spread by the limit too, so that they do not all return at
    /// once; nothing is booked for them, because another worker may take them.
    pub(crate) fn turn(&mut self, task: &TaskDefinition, limit: RateLimit, now: Instant) -> Turn {
        let limited = self
            .limits
            .entry(task.name)
            .or_insert_with(|| Limited::new(limit, now));
        let wait = limited.free.saturating_duration_since(now);
        if wait > NEAR {
            limited.parked = limited.parked.max(limited.free) + limited.interval;
            return Turn::After(limited.parked - now);
        }
        limited.free = now + wait + limited.interval;
        if wait.is_zero() {
            Turn::Now
        } else {
            Turn::At(now + wait)
        }
    }

    /// Forgets what was booked for a task, because its limit is another one now.
    pub(crate) fn reset(&mut self, task: &str) {
        self.limits.remove(task);
    }

    /// Keeps the delivery `tag` until `at`.
    pub(crate) fn wait(&mut self, at: Instant, tag: i64) {
        self.waiting.push(Reverse((at, tag)));
    }

    /// The next delivery whose turn has come.
    pub(crate) fn due(&mut self, now: Instant) -> Option<i64> {
        let &Reverse((at, tag)) = self.waiting.peek()?;
        if at > now {
            return None;
        }
        self.waiting.pop();
        Some(tag)
    }

    /// When the next turn comes.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.waiting.peek().map(|&Reverse((at, _))| at)
    }

    /// Forgets who waits, and says who that was.
    pub(crate) fn clear(&mut self) -> Vec<i64> {
        self.waiting.drain().map(|Reverse((_, tag))| tag).collect()
    }
}

impl Limited {
    fn new(limit: RateLimit, now: Instant) -> Self {
        Self {
            interval: limit.per / limit.count,
            free: now,
            parked: now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::{Run, TaskOptions};

    static TASK: TaskDefinition = TaskDefinition {
        name: "t",
        signature: "t()",
        parameters: &[],
        is_async: false,
        wants_context: false,
        options: TaskOptions::DEFAULT,
        call: |_, _, _| Run::Ready(Ok(Vec::new())),
    };

    #[test]
    fn near_starts_wait_here_and_far_ones_in_their_queue_spread_out() {
        let limit = "2/s".parse().unwrap();
        let start = Instant::now();
        let mut pace = Pace::default();
        let turns: Vec<_> = (0..6).map(|_| pace.turn(&TASK, limit, start)).collect();
        let ms = Duration::from_millis;
        assert_eq!(
            turns,
            [
                Turn::Now,
                Turn::At(start + ms(500)),
                Turn::At(start + ms(1000)),
                Turn::After(ms(2000)),
                Turn::After(ms(2500)),
                Turn::After(ms(3000)),
            ]
        );
        // What was sent back has booked nothing.
        let later = start + ms(1500);
        assert_eq!(pace.turn(&TASK, limit, later), Turn::Now);
    }

    #[test]
    fn those_who_wait_come_out_in_the_order_of_their_turns() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.wait(start + Duration::from_secs(2), 1);
        pace.wait(start + Duration::from_secs(1), 2);
        assert_eq!(pace.due(start), None);
        let end = start + Duration::from_secs(3);
        assert_eq!(
            (pace.due(end), pace.due(end), pace.due(end)),
            (Some(2), Some(1), None)
        );
    }
}
