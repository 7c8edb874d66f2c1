//! The calls that were revoked, as far as somebody has heard of them.
//!
//! # Sources
//!
//! For how long they are remembered follows Celery's workers, and twice as many are.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::TaskId;

/// So many calls are remembered.
const MOST: usize = 100_000;

/// For so long.
const KEEP: Duration = Duration::from_secs(3 * 60 * 60);

/// What is heard within this time is forgotten at one time.
const GRAIN: Duration = Duration::from_secs(1);

/// A bounded memory of revoked calls: the last 100,000, for three hours.
///
/// ```
/// # use std::time::Instant;
/// # use celeriac_core::RevokedCalls;
/// let mut revoked = RevokedCalls::default();
/// revoked.add("order-17".into(), Instant::now());
/// assert!(revoked.contains(&"order-17".into()) && !revoked.contains(&"order-18".into()));
/// ```
#[derive(Debug, Default)]
pub struct RevokedCalls {
    ids: HashSet<TaskId>,
    /// Those that were revoked first first.
    order: VecDeque<TaskId>,
    /// When they were heard of, in their order: how many at a time.
    heard: VecDeque<(Instant, usize)>,
}

impl RevokedCalls {
    /// Remembers a call, and forgets what is too old or too much.
    pub fn add(&mut self, id: TaskId, now: Instant) {
        if self.ids.insert(id.clone()) {
            self.order.push_back(id);
            match self.heard.back_mut() {
                Some((at, count)) if now.saturating_duration_since(*at) < GRAIN => *count += 1,
                _ => self.heard.push_back((now, 1)),
            }
        }
        while self.is_overdue(now) {
            self.forget_first();
        }
    }

    fn is_overdue(&self, now: Instant) -> bool {
        let is_old = |(at, _): &(Instant, _)| now.saturating_duration_since(*at) > KEEP;
        self.order.len() > MOST || self.heard.front().is_some_and(is_old)
    }

    fn forget_first(&mut self) {
        if let Some(id) = self.order.pop_front() {
            self.ids.remove(&id);
        }
        if let Some((_, count)) = self.heard.front_mut() {
            *count -= 1;
            if *count == 0 {
                self.heard.pop_front();
            }
        }
    }

    /// Whether a call is revoked.
    pub fn contains(&self, id: &TaskId) -> bool {
        !self.ids.is_empty() && self.ids.contains(id)
    }

    /// The calls, those that were revoked first first.
    pub fn iter(&self) -> impl Iterator<Item = &TaskId> {
        self.order.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(revoked: &RevokedCalls) -> Vec<String> {
        revoked.iter().map(TaskId::to_string).collect()
    }

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let mut revoked = RevokedCalls::default();
        let now = Instant::now();
        for number in 0..=MOST {
            revoked.add(number.to_string().into(), now);
        }
        revoked.add("1".into(), now);
        let ids = known(&revoked);
        assert_eq!((ids.len(), &*ids[0]), (MOST, "1"));
        assert!(!revoked.contains(&"0".into()) && revoked.contains(&"1".into()));
    }

    #[test]
    fn they_are_forgotten_after_their_time_and_not_before() {
        let mut revoked = RevokedCalls::default();
        let now = Instant::now();
        revoked.add("early".into(), now);
        revoked.add("with it".into(), now + GRAIN / 2);
        revoked.add("later".into(), now + GRAIN);
        revoked.add("a".into(), now + KEEP);
        assert_eq!(known(&revoked), ["early", "with it", "later", "a"]);
        revoked.add("b".into(), now + KEEP + GRAIN);
        assert_eq!(known(&revoked), ["later", "a", "b"]);
        assert!(!revoked.contains(&"early".into()));
    }
}
