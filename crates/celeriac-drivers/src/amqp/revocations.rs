//! The calls that were revoked while we listened.
//!
//! # Sources
//!
//! For how long they are remembered follows Celery's workers, and twice as many are.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use celeriac_core::TaskId;

/// So many are remembered.
const MOST: usize = 100_000;

/// For so long.
const KEEP: Duration = Duration::from_secs(3 * 60 * 60);

/// A bounded memory of revoked calls.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    since: HashMap<TaskId, Instant>,
    order: VecDeque<(Instant, TaskId)>,
}

impl Revocations {
    /// Remembers a call, and forgets what is too old or too much.
    pub(crate) fn add(&mut self, id: TaskId) {
        let now = Instant::now();
        self.since.insert(id.clone(), now);
        self.order.push_back((now, id));
        while let Some((at, _)) = self.order.front()
            && (self.order.len() > MOST || now.duration_since(*at) > KEEP)
        {
            let Some((at, id)) = self.order.pop_front() else {
                return;
            };
            if self.since.get(&id) == Some(&at) {
                self.since.remove(&id);
            }
        }
    }

    /// Whether a call is revoked.
    pub(crate) fn contains(&self, id: &TaskId) -> bool {
        self.since.contains_key(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let mut revocations = Revocations::default();
        for number in 0..=MOST {
            revocations.add(number.to_string().into());
        }
        assert!(!revocations.contains(&"0".into()));
        assert!(revocations.contains(&"1".into()));
    }
}
