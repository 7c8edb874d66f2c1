//! How far ahead a message waits in the server.
//!
//! A queue whose messages all wait equally long lets each go exactly then; one with different waits
//! lets the first hold up the others. So there is one queue for each of some lengths, and a message
//! waits in the longest that does not take it past its time, comes back to its queue, and waits for
//! the rest in a shorter one. Whoever consumes the queue then, in whatever language, finds the time
//! in its header.

use std::time::Duration;

use jiff::Timestamp;

/// The shortest wait; each level waits four times as long as the one before.
const SHORTEST_MS: u64 = 250;

/// So many levels there are; the last waits twelve days.
pub(crate) const LEVELS: usize = 12;

/// What is due within this time is held rather than sent to wait.
pub(crate) const NEAR: Duration = Duration::from_secs(1);

/// How long messages wait on this level, in milliseconds.
pub(crate) fn level_ms(level: usize) -> u64 {
    SHORTEST_MS << (2 * level.min(LEVELS - 1))
}

/// The longest wait that ends before `due`; `None` if it is too near for any.
pub(crate) fn level(now: Timestamp, due: Timestamp) -> Option<usize> {
    let wait = due.duration_since(now).as_millis();
    let fits = |level: &usize| i128::from(level_ms(*level)) <= wait;
    (0..LEVELS).rev().find(fits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn after(milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(milliseconds).unwrap()
    }

    #[test]
    fn a_wait_is_the_longest_that_fits() {
        for (wait, found) in [
            (-5, None),
            (249, None),
            (250, Some(0)),
            (999, Some(0)),
            (1000, Some(1)),
            (3_600_000, Some(6)),
            (100 * 365 * 86_400_000, Some(11)),
        ] {
            assert_eq!(level(NOW, after(wait)), found, "{wait}");
        }
        assert_eq!(level_ms(11), 1_048_576_000);
    }

    proptest! {
        #[test]
        fn waiting_again_and_again_ends_just_before_the_time(wait in 0_i64..1_000_000_000) {
            let (mut now, mut hops) = (0, 0);
            while let Some(found) = level(after(now), after(wait)) {
                now += i64::try_from(level_ms(found)).unwrap();
                hops += 1;
            }
            prop_assert!(now <= wait && wait - now < 250);
            prop_assert!(hops <= 3 * LEVELS);
        }
    }
}
