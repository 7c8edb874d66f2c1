//! What a worker has counted and measured, by task and by queue.
//!
//! The dispatcher counts in numbers of its own, which nobody shares; whoever wants to know asks it for a
//! copy, between two deliveries.

mod meter;

use std::time::Duration;

use celeriac_core::QueueName;

pub(crate) use meter::{Count, Meter, Series};

/// The most pairs of a task and a queue that are counted apart; what comes after is counted as
/// [`OTHER`], together with tasks that nobody has registered.
///
/// So a message cannot make a worker's memory, or a store of metrics, grow by its name.
pub const MOST_SERIES: usize = 200;

/// The name under which all is counted that has no place of its own.
pub const OTHER: &str = "other";

/// What a worker has counted and measured since its start, and how it stands now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// By task and queue, in the order in which they were first met.
    pub tasks: Vec<TaskMetrics>,
    /// The queues that the worker takes from now.
    pub queues: Vec<QueueName>,
    /// How many calls can run at once.
    pub slots: usize,
    /// How many run now.
    pub running: usize,
    /// How many deliveries are held: those that run, and those that wait for a slot or for their rate.
    pub held: usize,
    /// How many are held at most.
    pub prefetch: usize,
    /// How many ends are decided, but not carried out yet.
    pub settling: usize,
}

/// What was counted and measured of one task in one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TaskMetrics {
    /// The task's name, or [`OTHER`].
    pub task: String,
    /// The queue its calls came from, or [`OTHER`].
    pub queue: String,
    /// Deliveries of it.
    pub received: u64,
    /// Calls that began to run.
    pub started: u64,
    /// Calls that returned.
    pub succeeded: u64,
    /// Calls that failed for good, dead ones included.
    pub failed: u64,
    /// Attempts that failed and were sent again.
    pub retried: u64,
    /// Calls that were cancelled, or had expired.
    pub revoked: u64,
    /// Deliveries given back to their queue.
    pub given_back: u64,
    /// Runs that were lost with the process they ran in; each is counted as what became of it too.
    pub lost: u64,
    /// How long calls ran.
    pub runtime: Histogram,
    /// How long calls were here before they began to run.
    pub wait: Histogram,
}

/// How often something took how long.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Histogram {
    /// How many took at most the bound of the same number, and longer than the one before; the last is
    /// for all that took longer than any bound.
    pub counts: [u64; Histogram::BOUNDS.len() + 1],
    /// All of them together.
    pub sum: Duration,
}

impl Histogram {
    /// The bounds, from a millisecond to two hours.
    pub const BOUNDS: [Duration; 12] = [
        Duration::from_millis(1),
        Duration::from_millis(5),
        Duration::from_millis(25),
        Duration::from_millis(100),
        Duration::from_millis(500),
        Duration::from_secs(1),
        Duration::from_secs(5),
        Duration::from_secs(15),
        Duration::from_secs(60),
        Duration::from_secs(300),
        Duration::from_secs(1800),
        Duration::from_secs(7200),
    ];

    /// Counts one that took so long.
    fn observe(&mut self, took: Duration) {
        let bucket = Self::BOUNDS.iter().position(|bound| took <= *bound);
        self.counts[bucket.unwrap_or(Self::BOUNDS.len())] += 1;
        self.sum = self.sum.saturating_add(took);
    }

    /// How many were counted.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_took_just_its_bound_is_within_it() {
        let mut histogram = Histogram::default();
        for took in [0, 1, 2, 5, 3_600_000, 7_200_001] {
            histogram.observe(Duration::from_millis(took));
        }
        let mut counts = [0; 13];
        (counts[0], counts[1], counts[11], counts[12]) = (2, 2, 1, 1);
        assert_eq!(histogram.counts, counts);
        assert_eq!(histogram.count(), 6);
        assert_eq!(histogram.sum, Duration::from_millis(10_800_009));
    }
}
