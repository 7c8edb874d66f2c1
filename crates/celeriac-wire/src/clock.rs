//! The clock by which workers put what they tell in order.

use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Map, Value};

/// What a clock of somebody else is at most: one that says more is broken, and would carry ours away.
const MOST: u64 = 1 << 53;

/// A Lamport clock: it goes on by one with each message, and is never behind one that was heard.
///
/// ```
/// use celeriac_wire::Clock;
///
/// let clock = Clock::default();
/// assert_eq!(clock.forward(), 1);
/// clock.adjust(41);
/// assert_eq!(clock.value(), 42);
/// clock.adjust(7);
/// assert_eq!(clock.value(), 43);
/// ```
#[derive(Debug, Default)]
pub struct Clock(AtomicU64);

impl Clock {
    /// Goes on by one, and says where it is then.
    pub fn forward(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Takes note of the clock of a message that was heard.
    pub fn adjust(&self, theirs: u64) {
        let theirs = if theirs > MOST { 0 } else { theirs };
        let _ = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |ours| {
                Some(ours.max(theirs) + 1)
            });
    }

    /// The same, if the headers of the message have a clock.
    pub fn hear(&self, headers: &Map<String, Value>) {
        self.adjust(headers.get("clock").and_then(Value::as_u64).unwrap_or(0));
    }

    /// Where it is.
    pub fn value(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_clock_does_not_carry_ours_away() {
        let clock = Clock::default();
        for broken in [u64::MAX, u64::MAX - 1, MOST + 1] {
            clock.adjust(broken);
        }
        assert_eq!(clock.value(), 3);
    }
}
