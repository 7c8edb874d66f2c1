//! Does the same work several times and reports how long each took.

use std::fmt;
use std::time::{Duration, Instant};

/// The work of one repetition, in the unit of the measure, and how long each took.
#[derive(Debug)]
pub(crate) struct Report {
    amount: u32,
    took: Vec<Duration>,
}

/// A repetition is as good as another once it is warm, so this many seconds of them are enough.
const ENOUGH: Duration = Duration::from_secs(3);

impl Report {
    /// Repeats `work`, which gets `amount` done, after a warm-up: 3 to 10 times, as fit into about
    /// 3 seconds.
    ///
    /// # Errors
    ///
    /// That of `work`.
    pub(crate) fn of<E>(amount: u32, work: impl FnMut() -> Result<(), E>) -> Result<Self, E> {
        Self::of_each(amount, work, || Ok(()))
    }

    /// The same, with `clear` after each repetition, which does not count.
    ///
    /// # Errors
    ///
    /// Those of `work` and `clear`.
    pub(crate) fn of_each<E>(
        amount: u32,
        mut work: impl FnMut() -> Result<(), E>,
        mut clear: impl FnMut() -> Result<(), E>,
    ) -> Result<Self, E> {
        work()?;
        clear()?;
        let mut took = Vec::new();
        while took.len() < 3 || (took.len() < 10 && took.iter().sum::<Duration>() < ENOUGH) {
            let begun = Instant::now();
            work()?;
            took.push(begun.elapsed());
            clear()?;
        }
        Ok(Self { amount, took })
    }

    /// What was measured elsewhere.
    pub(crate) fn new(amount: u32, took: Vec<Duration>) -> Self {
        Self { amount, took }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds: Vec<_> = self.took.iter().map(Duration::as_secs_f64).collect();
        let line = serde_json::json!({ "amount": self.amount, "seconds": seconds });
        write!(formatter, "{line}")
    }
}
