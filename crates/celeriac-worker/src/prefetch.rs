//! How many deliveries to hold, from how long tasks take.

use std::time::Duration;

use crate::settings::Prefetch;

/// The most deliveries held or waiting for their settlement, whatever the prefetch; twice the slots
/// if those are more, so that none stands idle while outcomes are settled.
const MOST_UNSETTLED: usize = 8192;

/// A store that takes longer than this to answer is not waited for with more in hand.
const SLOWEST: Duration = Duration::from_secs(2);

/// Measures tasks and the store, and says how many deliveries to hold.
#[derive(Debug)]
pub(crate) struct Credit {
    settings: Prefetch,
    slots: usize,
    /// The usual duration of a call in seconds, if any was measured.
    usual: Option<f64>,
    /// How long the store usually takes to answer, in seconds.
    turn: f64,
}

/// What counts against the credit.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Load {
    /// Deliveries that run or will as soon as there is room.
    pub(crate) active: usize,
    /// Deliveries that wait for their rate limit.
    pub(crate) paced: usize,
    /// Outcomes whose settlement is under way.
    pub(crate) unsettled: usize,
}

impl Credit {
    pub(crate) fn new(settings: Prefetch, slots: usize) -> Self {
        Self {
            settings,
            slots,
            usual: None,
            turn: 0.0,
        }
    }

    /// Takes note that a call ran for `busy`.
    ///
    /// Long ones count at once and short ones slowly, so that a worker holds too little rather than
    /// keep messages from others.
    pub(crate) fn measure(&mut self, busy: Duration) {
        let sample = busy.as_secs_f64();
        self.usual = Some(match self.usual {
            None => sample,
            Some(usual) if sample > usual => usual + (sample - usual) / 2.0,
            Some(usual) => usual + (sample - usual) / 16.0,
        });
    }

    /// Takes note that the store took so long to answer.
    pub(crate) fn measure_store(&mut self, took: Duration) {
        self.turn += (took.min(SLOWEST).as_secs_f64() - self.turn) / 4.0;
    }

    /// How long what is held ahead should last: what is asked for comes a turn later, and is asked for as
    /// long before the last is taken.
    fn horizon_s(&self) -> f64 {
        let horizon = self.settings.horizon;
        if horizon.is_zero() {
            // Only the multiplier counts.
            return 0.0;
        }
        horizon.as_secs_f64() + 2.0 * self.turn
    }

    /// Takes note of how many calls run at once.
    pub(crate) fn set_slots(&mut self, slots: usize) {
        self.slots = slots;
    }

    /// How many to hold, those that run included.
    pub(crate) fn target(&self) -> usize {
        let Prefetch {
            multiplier, most, ..
        } = self.settings;
        let least = self.slots.saturating_mul(multiplier);
        let ahead = self.usual.map_or(least, |usual| {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                clippy::cast_precision_loss,
                reason = "a float beyond usize becomes the largest, and none is negative"
            )]
            let enough = (self.horizon_s() / usual.max(1e-9) * self.slots as f64) as usize;
            enough.clamp(least.min(most), most)
        });
        self.slots + ahead
    }

    /// How many to ask for now; 0 if it is not worth asking yet.
    pub(crate) fn wanted(&self, load: Load) -> usize {
        let target = self.target();
        let most = MOST_UNSETTLED.max(self.slots.saturating_mul(2));
        let room = most.saturating_sub(load.active + load.paced + load.unsettled);
        let free = target.saturating_sub(load.active).min(room);
        // A quarter at a time spares round trips, unless a slot would stand idle meanwhile.
        if free >= target.div_ceil(4) || load.active < self.slots {
            free
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credit(slots: usize) -> Credit {
        Credit::new(Prefetch::default(), slots)
    }

    fn active(active: usize) -> Load {
        Load {
            active,
            ..Load::default()
        }
    }

    #[test]
    fn one_more_for_each_slot_is_held_until_something_is_measured() {
        assert_eq!(credit(4).wanted(active(0)), 8);
        assert_eq!(credit(4).wanted(active(8)), 0);
    }

    #[test]
    fn long_tasks_are_not_hoarded() {
        let mut credit = credit(4);
        credit.measure(Duration::from_secs(60));
        assert_eq!(credit.target(), 8);
    }

    #[test]
    fn tiny_tasks_are_held_for_fifty_milliseconds_of_work() {
        let mut credit = credit(2);
        credit.measure(Duration::from_micros(500));
        assert_eq!(credit.target(), 2 + 200);
        for _ in 0..200 {
            credit.measure(Duration::from_nanos(100));
        }
        assert_eq!(credit.target(), 2 + 2000);
    }

    #[test]
    fn one_long_task_shrinks_the_prefetch_at_once() {
        let mut credit = credit(2);
        credit.measure(Duration::from_micros(10));
        credit.measure(Duration::from_secs(1));
        assert_eq!(credit.target(), 4);
    }

    #[test]
    fn a_free_slot_asks_at_once_and_a_full_worker_waits_for_a_quarter() {
        let mut credit = credit(2);
        credit.measure(Duration::from_millis(1));
        assert_eq!(credit.target(), 102);
        assert_eq!(credit.wanted(active(100)), 0);
        assert_eq!(credit.wanted(active(70)), 32);
    }

    #[test]
    fn a_store_that_is_far_away_is_asked_for_more() {
        let mut credit = credit(2);
        credit.measure(Duration::from_millis(10));
        assert_eq!(credit.target(), 2 + 10);
        for _ in 0..50 {
            credit.measure_store(Duration::from_millis(200));
        }
        let target = credit.target();
        assert!((2 + 85..=2 + 90).contains(&target), "{target}");
        // One that does not answer at all is no reason to hoard.
        for _ in 0..50 {
            credit.measure_store(Duration::from_secs(3600));
        }
        assert!(credit.target() <= 2 + 810, "{}", credit.target());
    }

    #[test]
    fn a_fixed_prefetch_stays_what_it_is_however_far_the_store() {
        let settings = Prefetch {
            horizon: Duration::ZERO,
            multiplier: 4,
            ..Prefetch::default()
        };
        let mut credit = Credit::new(settings, 2);
        credit.measure(Duration::from_millis(1));
        credit.measure_store(Duration::from_secs(1));
        assert_eq!(credit.target(), 2 + 8);
    }

    #[test]
    fn no_prefetch_asks_for_free_slots_only() {
        let settings = Prefetch {
            multiplier: 0,
            ..Prefetch::default()
        };
        let credit = Credit::new(settings, 3);
        assert_eq!(credit.wanted(active(2)), 1);
        assert_eq!(credit.wanted(active(3)), 0);
    }

    #[test]
    fn every_slot_is_filled_however_many_there_are() {
        assert!(credit(100_000).wanted(active(0)) >= 100_000);
    }

    #[test]
    fn outcomes_that_cannot_be_settled_end_the_credit() {
        let load = Load {
            unsettled: MOST_UNSETTLED,
            ..Load::default()
        };
        assert_eq!(credit(4).wanted(load), 0);
    }
}
