//! What is lost when processes are killed and the power fails, counted.

mod disk;
pub(crate) mod kill9;
pub(crate) mod power_cut;

use std::fmt;
use std::io;
use std::thread;
use std::time::{Duration, SystemTime};

/// How often each thing went wrong, and how often it may.
#[derive(Debug, Default)]
pub(crate) struct Counts(Vec<(&'static str, u64, u64)>);

impl Counts {
    /// Adds a count with its bound.
    pub(crate) fn add(&mut self, name: &'static str, count: u64, at_most: u64) {
        self.0.push((name, count, at_most));
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts: Vec<_> = self
            .0
            .iter()
            .map(|(name, count, at_most)| {
                serde_json::json!({ "name": name, "count": count, "at_most": at_most })
            })
            .collect();
        write!(formatter, "{}", serde_json::json!({ "counts": counts }))
    }
}

/// Lets `least` and a random part of `more` pass before the next fault: faults that keep step with
/// the program miss most of its moments.
fn some_time(least: Duration, more: Duration) -> io::Result<()> {
    let now = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_err(io::Error::other)?;
    // The last digits of the clock are random enough for that.
    let part = f64::from(now.subsec_nanos() % 100_000) / 100_000.0;
    thread::sleep(least + more.mul_f64(part));
    Ok(())
}
