//! How many calls go to a pool together.
//!
//! Sending costs about the same for one call as for many, so short calls are grouped until sending
//! is small beside the work, and long ones go alone so that no slot waits for another's chunk.

use std::num::NonZeroUsize;
use std::time::Duration;

/// The work a chunk should hold: sending one costs about 50 µs between processes, 2 % of this.
const TARGET: Duration = Duration::from_millis(2);

/// How many chunks are under way for each slot: one that runs, and others on their ways.
const CHUNKS: usize = 4;

/// How many calls are under way for each slot, at most, if chunks are smaller than they need be.
///
/// Handing over wakes threads and processes, which costs as much as dozens of empty calls, so it
/// should be done for dozens at once even where each is a chunk of its own.
const CALLS: usize = 256;

/// The most calls in a chunk.
const MOST: usize = 16 * 1024;

/// The most bytes of arguments in a chunk, so that large arguments go alone.
pub(crate) const MOST_BYTES: usize = 256 * 1024;

/// Chooses the size of the next chunk from what the last ones took.
#[derive(Debug)]
pub(crate) struct Chunker {
    fixed: Option<NonZeroUsize>,
    size: usize,
    /// What one call takes, leaning to the longer ones.
    call: Option<Duration>,
}

impl Chunker {
    pub(crate) fn automatic() -> Self {
        Self {
            fixed: None,
            size: 1,
            call: None,
        }
    }

    pub(crate) fn fixed(size: NonZeroUsize) -> Self {
        Self {
            fixed: Some(size),
            size: size.get(),
            call: None,
        }
    }

    /// The size of the next chunk, if `left` calls are left to share among `slots`.
    pub(crate) fn next(&self, left: Option<usize>, slots: usize) -> usize {
        match (self.fixed, left) {
            (Some(size), _) => size.get(),
            // The last chunks shrink, so that all slots finish together.
            (None, Some(left)) => self.size.min(left.div_ceil(slots * 4)).max(1),
            (None, None) => self.size,
        }
    }

    /// How many calls may be under way for each slot, in chunks that are not cut short.
    pub(crate) fn window(&self) -> usize {
        let short = self
            .call
            .map_or(0, |call| TARGET.as_nanos() / call.as_nanos().max(1));
        let calls = usize::try_from(short).unwrap_or(CALLS).min(CALLS);
        self.size.saturating_mul(CHUNKS).max(calls)
    }

    /// Learns that `calls` calls took `busy` together.
    pub(crate) fn learn(&mut self, calls: usize, busy: Duration) {
        if calls == 0 {
            return;
        }
        let call = busy / u32::try_from(calls).unwrap_or(u32::MAX);
        let learnt = match self.call {
            // A longer call counts at once, a shorter one little by little.
            Some(known) if call < known => (known * 3 + call) / 4,
            _ => call,
        };
        self.call = Some(learnt);
        if self.fixed.is_some() {
            return;
        }
        let wanted = TARGET.as_nanos() / learnt.as_nanos().max(1);
        let most = self.size.saturating_mul(4).min(MOST);
        self.size = usize::try_from(wanted).unwrap_or(MOST).clamp(1, most);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiny_calls_are_grouped_step_by_step() {
        let mut chunker = Chunker::automatic();
        let sizes: Vec<_> = (0..8)
            .map(|_| {
                let size = chunker.next(None, 1);
                chunker.learn(
                    size,
                    Duration::from_nanos(100) * u32::try_from(size).unwrap(),
                );
                size
            })
            .collect();
        assert_eq!(sizes, [1, 4, 16, 64, 256, 1024, 4096, 16_384]);
    }

    #[test]
    fn one_long_call_ends_the_grouping_at_once() {
        let mut chunker = Chunker::automatic();
        for _ in 0..6 {
            chunker.learn(chunker.next(None, 1), Duration::from_nanos(100));
        }
        chunker.learn(1, Duration::from_millis(50));
        assert_eq!(chunker.next(None, 1), 1);
    }

    #[test]
    fn the_last_calls_are_shared_among_the_slots() {
        let mut chunker = Chunker::automatic();
        for _ in 0..6 {
            chunker.learn(chunker.next(None, 1), Duration::from_nanos(100));
        }
        assert_eq!(chunker.next(Some(80), 2), 10);
        assert_eq!(chunker.next(Some(1), 2), 1);
    }

    #[test]
    fn many_short_calls_are_under_way_and_few_long_ones() {
        let mut chunker = Chunker::fixed(NonZeroUsize::MIN);
        assert_eq!(chunker.window(), CHUNKS, "nothing is known yet");
        chunker.learn(1, Duration::from_micros(1));
        assert_eq!(chunker.window(), CALLS);
        chunker.learn(1, Duration::from_micros(100));
        assert_eq!(chunker.window(), 20);
        chunker.learn(1, Duration::from_millis(1));
        assert_eq!(chunker.window(), CHUNKS);
        let chunker = Chunker::fixed(NonZeroUsize::new(100).unwrap());
        assert_eq!(chunker.window(), 400);
    }
}
