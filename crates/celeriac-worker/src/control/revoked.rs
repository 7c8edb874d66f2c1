//! The calls that were revoked, as far as this worker has heard: by their ids or by stamps.

use std::collections::VecDeque;

use celeriac_core::{Message, RevokedCalls, TaskId};
use serde_json::Value;
use tokio::time::Instant;

/// So many stamps are remembered.
const MOST_STAMPS: usize = 1000;

/// A bounded memory of revoked calls and stamps.
#[derive(Debug, Default)]
pub(crate) struct Revoked {
    calls: RevokedCalls,
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

    /// Remembers a call.
    pub(crate) fn add(&mut self, id: TaskId, now: Instant) {
        self.calls.add(id, now.into_std());
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
        self.calls.contains(&headers.id)
            || (!self.stamps.is_empty() && self.has_stamp(&headers.extra))
    }

    fn has_stamp(&self, headers: &serde_json::Map<String, Value>) -> bool {
        let mut stamps = self.stamps.iter();
        stamps.any(|(name, value)| carries(headers, name, std::slice::from_ref(value)))
    }

    /// The calls, those that were revoked first first.
    pub(crate) fn ids(&self) -> Vec<String> {
        self.calls.iter().map(TaskId::to_string).collect()
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
