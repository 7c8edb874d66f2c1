//! Which queue the steps of a workflow are sent to.

use celeriac_core::{QueueName, Registry, Routes};

/// Finds the queue of a step that names none.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    pub(crate) registry: Registry,
    pub(crate) routes: Routes,
}

impl Router {
    /// The queue of a task: its own, or where the routes send it.
    pub(crate) fn queue(&self, task: &str) -> QueueName {
        let own = self.registry.get(task).ok();
        // The attribute checked the name.
        own.and_then(|task| QueueName::new(task.options.queue?).ok())
            .unwrap_or_else(|| self.routes.queue(task))
    }
}
