//! How long a refusal is borne before those who wait for a result are told.
//!
//! A password that is being changed, or a permission, is refused for a moment. Calls that are under way
//! need not fail of that, and must not wait for ever if it stays so.

use std::time::Duration;

use tokio::time::Instant;

/// Longer than somebody takes to change a password on both sides.
const PATIENCE: Duration = Duration::from_secs(10);

/// Since when something is refused each time it is tried.
#[derive(Debug, Default)]
pub(crate) struct Patience {
    since: Option<Instant>,
}

impl Patience {
    /// Takes note of a refusal; whether it is the first one.
    pub(crate) fn begins(&mut self, now: Instant) -> bool {
        let first = self.since.is_none();
        self.since.get_or_insert(now);
        first
    }

    /// Whether it has been refused for so long that it is told.
    pub(crate) fn is_over(&self, now: Instant) -> bool {
        self.since.is_some_and(|since| now - since >= PATIENCE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_over_once_a_refusal_has_lasted() {
        let start = Instant::now();
        let mut patience = Patience::default();
        assert!(!patience.is_over(start));
        assert!(patience.begins(start) && !patience.begins(start + PATIENCE / 2));
        assert!(!patience.is_over(start + PATIENCE / 2));
        assert!(patience.is_over(start + PATIENCE));
    }
}
