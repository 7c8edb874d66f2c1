//! Where the steps of a workflow are sent.

use celeriac_core::{Destination, Registry, Routes};

/// Finds where a step goes that does not say it.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    pub(crate) registry: Registry,
    pub(crate) routes: Routes,
}

impl Router {
    /// Where a task goes: where its signature says, to its own queue, or where the routes send it.
    pub(crate) fn route(&self, named: Option<Destination>, task: &str) -> Destination {
        let own = self.registry.get(task).ok();
        // The attribute checked the name.
        let own = || own.and_then(|task| task.options.queue?.parse().ok());
        match named.or_else(own) {
            Some(named) => self.routes.topology().reach(named),
            None => self.routes.of(task),
        }
    }
}
