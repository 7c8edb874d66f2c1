//! The lines that Celery's main process writes of single calls.

use celeriac_worker::{Observer, TaskRef};

use super::log::Log;
use super::value::Level;

/// Writes that a call was received, as Celery does.
#[derive(Debug)]
pub(crate) struct Received {
    log: Log,
}

impl Received {
    /// One that writes there.
    pub(crate) fn new(log: Log) -> Self {
        Self { log }
    }
}

impl Observer for Received {
    fn received(&self, call: TaskRef<'_>) {
        let text = format!("Task {}[{}] received", call.task, call.id);
        let fields = [
            ("task.id".to_owned(), call.id.to_string().into()),
            ("task.name".to_owned(), call.task.into()),
        ];
        let logger = "celery.worker.strategy";
        self.log.told(Level::Info, logger, &text, &fields);
    }
}
