//! How many messages are claimed at once, from how fast they come.
//!
//! All that is claimed together comes in one answer, and an answer that takes too long is given up. So the
//! first ones are small, and grow for as long as they come quickly.

use std::time::Duration;

use super::claim::MOST;

/// How many the first claim takes at most.
const FIRST: usize = 32;

/// So long an answer may be on its way, beside the time that an answer takes in any case.
const PATIENCE: Duration = Duration::from_secs(1);

/// No way is longer. What takes longer is narrow.
const LONGEST: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Pace {
    at_once: usize,
    /// What an answer takes in any case, in seconds, if there was any.
    least: Option<f64>,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            at_once: FIRST,
            least: None,
        }
    }
}

impl Pace {
    /// How many to claim at most.
    pub(super) fn at_once(&self) -> usize {
        self.at_once
    }

    /// Takes note that so many came within this time.
    pub(super) fn came(&mut self, count: usize, took: Duration) {
        let took = took.as_secs_f64();
        let least = self.least.map_or(took, |least| {
            // A way that has become longer is known as such after some answers.
            took.min(least + (took - least) / 8.0)
        });
        let least = least.min(LONGEST.as_secs_f64());
        self.least = Some(least);
        let allowed = PATIENCE.as_secs_f64() + least;
        if took > allowed {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "it is less than the count"
            )]
            let fitting = (count as f64 * allowed / took) as usize;
            self.at_once = fitting.max(1);
        } else if count >= self.at_once && took < allowed / 2.0 + least / 2.0 {
            self.at_once = (self.at_once * 2).min(MOST);
        }
    }

    /// Takes note that nothing came.
    pub(super) fn failed(&mut self) {
        self.at_once = (self.at_once / 4).max(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is claimed at once after some claims on a line of so much delay and so many messages a second.
    fn after(pace: &mut Pace, claims: u32, delay_s: f64, per_s: f64) -> usize {
        for _ in 0..claims {
            let count = pace.at_once();
            #[expect(clippy::cast_precision_loss, reason = "it is small")]
            let takes = delay_s + count as f64 / per_s;
            pace.came(count, Duration::from_secs_f64(takes));
        }
        pace.at_once()
    }

    #[test]
    fn a_fast_line_brings_all_that_is_wanted_soon() {
        assert_eq!(after(&mut Pace::default(), 6, 0.0005, 100_000.0), MOST);
    }

    #[test]
    fn a_long_way_is_no_narrow_one() {
        let mut pace = Pace::default();
        assert_eq!(after(&mut pace, 6, 1.0, 100_000.0), MOST);
        // Nor if it was short before.
        let mut pace = Pace::default();
        after(&mut pace, 6, 0.0005, 100_000.0);
        assert!(after(&mut pace, 40, 1.0, 100_000.0) > MOST / 2);
    }

    #[test]
    fn a_narrow_line_is_given_what_it_carries_in_a_second() {
        let mut pace = Pace::default();
        let at_once = after(&mut pace, 40, 0.1, 8.0);
        assert!((4..=32).contains(&at_once), "{at_once}");
        // It has become a wide one.
        assert_eq!(after(&mut pace, 40, 0.1, 100_000.0), MOST);
    }

    #[test]
    fn what_did_not_come_was_too_much() {
        let mut pace = Pace::default();
        for _ in 0..10 {
            pace.failed();
        }
        assert_eq!(pace.at_once(), 1);
        assert_eq!(after(&mut pace, 20, 0.001, 100_000.0), MOST);
    }
}
