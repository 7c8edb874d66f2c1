//! The queues that a consumer takes from, which may change while it does.

use std::sync::{Mutex, MutexGuard, PoisonError};

use celeriac_core::QueueName;

/// The queues of one consumer, each once, in the order in which it takes them in turn.
#[derive(Debug)]
pub(crate) struct Queues(Mutex<Vec<QueueName>>);

impl Queues {
    pub(crate) fn new(names: Vec<QueueName>) -> Self {
        Self(Mutex::new(names))
    }

    /// All of them now.
    pub(crate) fn all(&self) -> Vec<QueueName> {
        self.lock().clone()
    }

    /// Whether this is one of them.
    #[cfg(any(feature = "redis", feature = "sqlite"))]
    pub(crate) fn has(&self, name: &QueueName) -> bool {
        self.lock().contains(name)
    }

    /// Adds one, unless it is there.
    pub(crate) fn add(&self, name: QueueName) {
        let mut names = self.lock();
        if !names.contains(&name) {
            names.push(name);
        }
    }

    /// Takes one away; whether it was there.
    pub(crate) fn cancel(&self, name: &QueueName) -> bool {
        let mut names = self.lock();
        let before = names.len();
        names.retain(|it| it != name);
        names.len() < before
    }

    fn lock(&self) -> MutexGuard<'_, Vec<QueueName>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
