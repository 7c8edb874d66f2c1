//! What tasks write down when they run, each one line with its number: who counts it misses none.

use std::collections::HashMap;
use std::fs;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::Result;

/// How often the ledger is looked into.
const LOOK: Duration = Duration::from_millis(5);

/// A file that tasks write to.
#[derive(Debug)]
pub(super) struct Ledger(TempDir);

impl Ledger {
    /// An empty one.
    pub(super) fn new() -> Result<Self> {
        Ok(Self(tempfile::tempdir()?))
    }

    /// Where it is, for the tasks.
    pub(super) fn file(&self) -> String {
        self.0.path().join("ledger").display().to_string()
    }

    /// How often each number was written.
    pub(super) fn times(&self) -> Result<HashMap<u32, u64>> {
        let text = match fs::read_to_string(self.file()) {
            Err(error) if error.kind() == ErrorKind::NotFound => String::new(),
            text => text?,
        };
        let mut times = HashMap::new();
        for line in text.lines() {
            *times.entry(line.parse()?).or_default() += 1;
        }
        Ok(times)
    }

    /// How many lines it has.
    pub(super) fn lines(&self) -> Result<u64> {
        Ok(self.times()?.values().sum())
    }

    /// How many numbers below `end` are not there.
    pub(super) fn missing(&self, end: u32) -> Result<u64> {
        let times = self.times()?;
        let missing = (0..end).filter(|number| !times.contains_key(number));
        Ok(missing.count() as u64)
    }

    /// How many lines repeat an earlier one.
    pub(super) fn again(&self) -> Result<u64> {
        Ok(self.times()?.values().map(|times| times - 1).sum())
    }

    /// Waits until `is_so`, and says whether it came to that within `limit`.
    pub(super) async fn wait(
        &self,
        limit: Duration,
        mut is_so: impl FnMut(&Self) -> Result<bool>,
    ) -> Result<bool> {
        let end = Instant::now() + limit;
        loop {
            if is_so(self)? {
                return Ok(true);
            }
            if Instant::now() > end {
                return Ok(false);
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_there_again_are_counted() {
        let ledger = Ledger::new().unwrap();
        assert_eq!(ledger.missing(2).unwrap(), 2);
        fs::write(ledger.file(), "0\n2\n0\n2\n2\n").unwrap();
        assert_eq!(ledger.missing(4).unwrap(), 2);
        assert_eq!((ledger.lines().unwrap(), ledger.again().unwrap()), (5, 3));
    }
}
