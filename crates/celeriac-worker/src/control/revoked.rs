//! The calls that were revoked, as far as this worker has heard.
//!
//! # Sources
//!
//! For how long they are remembered follows Celery's workers, and twice as many are.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use celeriac_core::{Message, TaskId};
use serde_json::Value;
use tokio::time::Instant;

/// So many calls are remembered.
const MOST: usize = 100_000;

/// For so long.
const KEEP: Duration = Duration::from_secs(3 * 60 * 60);

/// So many stamps are remembered.
const MOST_STAMPS: usize = 1000;

/// A bounded memory of revoked calls and stamps.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    ids: HashMap<TaskId, Instant>,
    order: VecDeque<(Instant, TaskId)>,
    stamps: VecDeque<(String, Value)>,
}

impl Revoked {
    /// What is known from the start.
    pub(crate) fn of(ids: Vec<TaskId>, now: Instant) -> Self {
        let mut revoked = Self::default();
        for id in ids {
            revoked.add(id, now);
        }
        revoked
    }

    /// Remembers a call, and forgets what is too old or too much.
    pub(crate) fn add(&mut self, id: TaskId, now: Instant) {
        if self.ids.insert(id.clone(), now).is_none() {
            self.order.push_back((now, id));
        }
        while let Some((at, _)) = self.order.front()
            && (self.order.len() > MOST || now.duration_since(*at) > KEEP)
        {
            let Some((_, id)) = self.order.pop_front() else {
                return;
            };
            self.ids.remove(&id);
        }
    }

    /// Remembers calls that carry this stamp with one of these values.
    pub(crate) fn add_stamp(&mut self, name: &str, values: &[Value]) {
        for value in values {
            let stamp = (name.to_owned(), value.clone());
            if !self.stamps.contains(&stamp) {
                self.stamps.push_back(stamp);
            }
        }
        let surplus = self.stamps.len().saturating_sub(MOST_STAMPS);
        self.stamps.drain(..surplus);
    }

    /// Whether the call of a message is revoked, by its id or by a stamp.
    pub(crate) fn has(&self, message: &Message) -> bool {
        let headers = &message.headers;
        (!self.ids.is_empty() && self.ids.contains_key(&headers.id))
            || (!self.stamps.is_empty() && self.has_stamp(&headers.extra))
    }

    fn has_stamp(&self, headers: &serde_json::Map<String, Value>) -> bool {
        let mut stamps = self.stamps.iter();
        stamps.any(|(name, value)| carries(headers, name, std::slice::from_ref(value)))
    }

    /// The calls, those that were revoked first first.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.order.iter().map(|(_, id)| id.to_string()).collect()
    }
}

/// Whether a message with these headers is stamped so, with one of these values.
pub(crate) fn carries(
    headers: &serde_json::Map<String, Value>,
    name: &str,
    values: &[Value],
) -> bool {
    match headers.get("stamps").and_then(|stamps| stamps.get(name)) {
        Some(Value::Array(carried)) => carried.iter().any(|value| values.contains(value)),
        Some(value) => values.contains(value),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten_when_there_are_too_many() {
        let mut revoked = Revoked::default();
        let now = Instant::now();
        for number in 0..=MOST {
            revoked.add(number.to_string().into(), now);
        }
        revoked.add("1".into(), now);
        let ids = revoked.ids();
        assert_eq!((ids.len(), &*ids[0]), (MOST, "1"));
        revoked.add("late".into(), now + KEEP + Duration::from_secs(1));
        assert_eq!(revoked.ids(), ["late"]);
    }
}
