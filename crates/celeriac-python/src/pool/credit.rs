//! How far ahead calls are sent to a child.
//!
//! A child that must wait for its next call waits for two wake-ups of other processes, which cost as
//! much as a short call. So short ones are sent ahead of time; long ones are not, because the child
//! beside may be free sooner.

use std::collections::HashMap;
use std::time::Duration;

/// So much work a child holds at most beside what it runs, by the time it is thought to take, and so
/// long a call may take at most for others to be sent behind it.
pub(super) const AHEAD: Duration = Duration::from_millis(8);

/// The most calls that a child holds ahead.
pub(super) const MOST_AHEAD: usize = 64;

/// A call of more bytes is not sent ahead: they are memory.
pub(super) const LARGE_BYTES: usize = 32 * 1024;

/// The weight of the newest observation.
const WEIGHT: f64 = 0.2;

/// What is known of a task's duration: seconds for each call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace(Option<f64>);

impl Pace {
    /// Learns that a call took so long.
    pub(super) fn learn(&mut self, took: Duration) {
        let took = took.as_secs_f64();
        self.0 = Some(match self.0 {
            // A long call among short ones is forgotten slowly, a short one among long ones too.
            Some(known) => known + WEIGHT * (took - known),
            None => took,
        });
    }

    /// Whether calls are known to be short.
    pub(super) fn is_short(self) -> bool {
        self.0.is_some_and(|each| each < AHEAD.as_secs_f64())
    }

    /// How long a call is thought to take, in seconds.
    pub(super) fn cost(self) -> f64 {
        self.0.unwrap_or(AHEAD.as_secs_f64())
    }
}

/// The pace of each task, by what it is known by.
#[derive(Debug, Default)]
pub(super) struct Paces(HashMap<usize, Pace>);

impl Paces {
    pub(super) fn of(&self, task: usize) -> Pace {
        self.0.get(&task).copied().unwrap_or_default()
    }

    pub(super) fn learn(&mut self, task: usize, took: Duration) {
        self.0.entry(task).or_default().learn(took);
    }
}

/// What a child holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    pub(super) calls: usize,
    /// Calls that nothing may be sent behind.
    pub(super) long: usize,
    /// The time that the calls are thought to take one after another, in seconds.
    pub(super) cost: f64,
}

impl Load {
    pub(super) fn add(&mut self, pace: Pace) {
        self.calls += 1;
        self.long += usize::from(!pace.is_short());
        self.cost += pace.cost();
    }

    /// Takes out a call that was added with this pace.
    pub(super) fn remove(&mut self, pace: Pace) {
        self.calls -= 1;
        self.long -= usize::from(!pace.is_short());
        self.cost = if self.calls == 0 {
            0.0
        } else {
            self.cost - pace.cost()
        };
    }

    /// Whether a call may be sent ahead of its time to a child that runs `slots` calls at once.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an estimate needs no more than 52 bits"
    )]
    pub(super) fn has_room(self, slots: usize, pace: Pace, bytes: usize) -> bool {
        pace.is_short()
            && bytes <= LARGE_BYTES
            && self.long == 0
            && self.calls < slots + MOST_AHEAD
            && self.cost < AHEAD.as_secs_f64() * slots as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(took: Duration) -> Pace {
        let mut pace = Pace::default();
        for _ in 0..50 {
            pace.learn(took);
        }
        pace
    }

    #[test]
    fn short_calls_are_sent_ahead_and_long_ones_are_not() {
        let (short, long) = (
            pace(Duration::from_micros(60)),
            pace(Duration::from_secs(1)),
        );
        let mut load = Load::default();
        load.add(short);
        assert!(load.has_room(1, short, 100));
        assert!(!load.has_room(1, long, 100));
        assert!(
            !load.has_room(1, Pace::default(), 100),
            "nothing is known yet"
        );
        assert!(!load.has_room(1, short, 1_000_000));
        load.add(long);
        assert!(!load.has_room(1, short, 100));
        load.remove(long);
        assert!(load.has_room(1, short, 100));
    }

    #[test]
    fn a_child_holds_no_more_than_the_time_and_the_number() {
        let (tiny, some) = (
            pace(Duration::from_micros(1)),
            pace(Duration::from_millis(3)),
        );
        let fill = |pace| {
            let mut load = Load::default();
            while load.has_room(1, pace, 0) {
                load.add(pace);
            }
            load.calls
        };
        assert_eq!(fill(tiny), 1 + MOST_AHEAD);
        assert_eq!(fill(some), 3);
    }
}
