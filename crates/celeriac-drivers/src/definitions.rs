//! The queues that are defined, to which more are added while a program runs.

use std::sync::{Arc, PoisonError, RwLock};

use celeriac_core::{BrokerError, Queue, QueueName, Topology};

/// The definitions that all parts of one handle share. Clones share them too.
#[derive(Debug, Clone, Default)]
pub(crate) struct Definitions(Arc<RwLock<Arc<Topology>>>);

impl Definitions {
    pub(crate) fn new(topology: Arc<Topology>) -> Self {
        Self(Arc::new(RwLock::new(topology)))
    }

    /// All of them now.
    pub(crate) fn now(&self) -> Arc<Topology> {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Adds one, unless its queue is defined already, and says what the queue is called.
    pub(crate) fn add(
        &self,
        queue: &Queue,
        address: impl FnOnce() -> String,
    ) -> Result<QueueName, BrokerError> {
        let cannot = |reason: String| BrokerError::Unsupported {
            address: address(),
            what: format!("define the queue `{}`: {reason}", queue.name()),
        };
        let name = match QueueName::new(queue.name()) {
            Ok(name) => name,
            Err(error) => return Err(cannot(error.to_string())),
        };
        let mut topology = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if topology.queue(&name).is_none() {
            let more = topology.with(queue.clone());
            *topology = more.map_err(|error| cannot(error.to_string()))?.into();
        }
        Ok(name)
    }
}
