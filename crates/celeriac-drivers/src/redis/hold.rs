//! What one consumer knows of the messages it holds.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use celeriac_core::{QueueName, TaskId};

/// A message that is held.
#[derive(Debug, Clone)]
pub(super) struct Held {
    /// What kombu calls it.
    pub(super) tag: Arc<str>,
    /// Under which name it was claimed.
    pub(super) owner: Arc<str>,
    /// How often it was delivered, this time included.
    pub(super) deliveries: u32,
    /// The queue it came from.
    pub(super) queue: QueueName,
    /// The call, once it has been read.
    pub(super) id: Option<TaskId>,
}

impl Held {
    fn is_suspect(&self) -> bool {
        self.deliveries > 1
    }
}

/// The messages one consumer holds, by the number under which it delivers them.
#[derive(Debug, Default)]
pub(super) struct Hold {
    last: i64,
    by_number: BTreeMap<i64, Held>,
    by_tag: HashMap<Arc<str>, i64>,
    suspects: usize,
}

impl Hold {
    /// Takes up a claimed message, under the number it had if it is still known.
    pub(super) fn take(&mut self, held: Held) -> i64 {
        let known = self.by_tag.get(&held.tag).copied();
        let number = known.unwrap_or_else(|| {
            self.last += 1;
            self.last
        });
        self.by_tag.insert(held.tag.clone(), number);
        self.suspects += usize::from(held.is_suspect());
        if let Some(before) = self.by_number.insert(number, held) {
            self.suspects -= usize::from(before.is_suspect());
        }
        number
    }

    /// Lets go of a message.
    pub(super) fn let_go(&mut self, number: i64) {
        if let Some(held) = self.by_number.remove(&number) {
            self.by_tag.remove(&held.tag);
            self.suspects -= usize::from(held.is_suspect());
        }
    }

    /// The message of a number.
    pub(super) fn get(&self, number: i64) -> Option<&Held> {
        self.by_number.get(&number)
    }

    /// Notes which call a message makes.
    pub(super) fn name(&mut self, number: i64, id: TaskId) {
        if let Some(held) = self.by_number.get_mut(&number) {
            held.id = Some(id);
        }
    }

    /// Whether a message is held under this name.
    pub(super) fn knows(&self, tag: &str, owner: &str) -> bool {
        let number = self.by_tag.get(tag);
        let held = number.and_then(|number| self.by_number.get(number));
        held.is_some_and(|held| *held.owner == *owner)
    }

    /// How many messages are held that were delivered before.
    pub(super) fn suspects(&self) -> usize {
        self.suspects
    }

    /// What is held under the name `owner`, the last claimed first.
    pub(super) fn tags(&self, owner: &str) -> Vec<Arc<str>> {
        let held = self.by_number.values().rev();
        held.filter(|held| *held.owner == *owner)
            .map(|held| held.tag.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(tag: &str, owner: &str, deliveries: u32) -> Held {
        Held {
            tag: tag.into(),
            owner: owner.into(),
            deliveries,
            queue: QueueName::default(),
            id: None,
        }
    }

    #[test]
    fn a_message_that_comes_back_keeps_its_number() {
        let mut hold = Hold::default();
        let first = hold.take(held("a", "old", 1));
        let other = hold.take(held("b", "old", 1));
        assert_ne!(first, other);
        assert_eq!(hold.take(held("a", "new", 2)), first);
        assert_eq!(hold.suspects(), 1);
        assert!(hold.knows("a", "new") && !hold.knows("a", "old"));
        hold.let_go(first);
        assert_eq!(hold.suspects(), 0);
        assert_ne!(hold.take(held("a", "new", 1)), first);
    }

    #[test]
    fn the_last_claimed_is_given_back_first() {
        let mut hold = Hold::default();
        for tag in ["a", "b", "c"] {
            hold.take(held(tag, "me", 1));
        }
        let tags = hold.tags("me");
        let tags: Vec<&str> = tags.iter().map(|tag| &**tag).collect();
        assert_eq!(tags, ["c", "b", "a"]);
    }
}
