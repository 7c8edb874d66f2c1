//! What stands for traces in programs without the feature `otel`.

use celeriac_worker::Worker;
use tracing_subscriber::layer::Identity;

/// None.
#[derive(Debug)]
pub(super) struct WorkerTraces;

#[expect(clippy::unused_self, reason = "with the feature it is used")]
impl WorkerTraces {
    pub(super) fn from_environment() -> Self {
        Self
    }

    pub(super) fn layer(&self) -> Option<Identity> {
        None
    }

    pub(super) fn attend(&self, worker: Worker, _: &str, _: &str) -> Worker {
        worker
    }
}
