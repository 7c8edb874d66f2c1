//! How far ahead work is sent to a child.
//!
//! Waking a child on another core costs as much as dozens of short calls, so short ones are sent
//! ahead of time; long ones are not, since the child beside may be free sooner.

use super::arena::INLINE_BYTES;

/// So much work is sent ahead, by the time it is thought to take.
const AHEAD_NS: f64 = 2_000_000.0;

/// Calls that take longer than this are not sent ahead at all.
const LONG_NS: f64 = 10_000_000.0;

/// The weight of the newest observation.
const WEIGHT: f64 = 0.2;

/// The most chunks a child holds that runs one call after another.
pub(super) const MOST_CHUNKS: usize = 64;

/// Large chunks are sent ahead by one only, whatever the time: their bytes are memory.
pub(super) const LARGE_BYTES: usize = INLINE_BYTES;

/// What is known of a task's duration, in nanoseconds per call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pace(Option<f64>);

impl Pace {
    /// Learns that `calls` calls took `busy_ns` together.
    #[expect(
        clippy::cast_precision_loss,
        reason = "an estimate needs no more than 52 bits"
    )]
    pub(super) fn learn(&mut self, busy_ns: u64, calls: usize) {
        let each = busy_ns as f64 / calls.max(1) as f64;
        self.0 = Some(match self.0 {
            // A long call among short ones is forgotten slowly, a short one among long ones too.
            Some(known) => known + WEIGHT * (each - known),
            None => each,
        });
    }

    /// Whether calls are known to be short.
    pub(super) fn is_short(self) -> bool {
        self.0.is_some_and(|each| each < LONG_NS)
    }

    /// How long `calls` calls are thought to take.
    #[expect(clippy::cast_precision_loss, reason = "it is an estimate")]
    pub(super) fn cost(self, calls: usize) -> f64 {
        self.0.unwrap_or(LONG_NS) * calls as f64
    }
}

/// What a child holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Load {
    pub(super) chunks: usize,
    pub(super) calls: usize,
    /// Chunks that nothing may be sent behind.
    pub(super) alone: usize,
    /// The time they are thought to take.
    pub(super) cost_ns: f64,
}

impl Load {
    /// Whether a chunk of short calls may be sent behind what the child holds.
    pub(super) fn has_room(self, bytes: usize) -> bool {
        match self.chunks {
            0 => true,
            1 => self.alone == 0,
            chunks => {
                self.alone == 0
                    && chunks < MOST_CHUNKS
                    && self.cost_ns < AHEAD_NS
                    && bytes <= LARGE_BYTES
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_calls_are_sent_ahead_and_long_ones_are_not() {
        let mut pace = Pace::default();
        assert!(!pace.is_short(), "nothing is known yet");
        pace.learn(1_000, 1);
        assert!(pace.is_short());
        for _ in 0..30 {
            pace.learn(50_000_000, 1);
        }
        assert!(!pace.is_short());
    }

    #[test]
    fn a_child_holds_two_milliseconds_of_work_or_two_chunks() {
        let load = |chunks, cost_ns| Load {
            chunks,
            calls: chunks,
            alone: 0,
            cost_ns,
        };
        assert!(load(1, 9e9).has_room(10));
        assert!(load(10, 1e6).has_room(10));
        assert!(!load(10, 3e6).has_room(10));
        assert!(!load(64, 0.0).has_room(10));
    }
}
