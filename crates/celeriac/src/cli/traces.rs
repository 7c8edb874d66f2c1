//! Traces of what a worker runs, if the environment asks for them.

use std::error::Error;

use celeriac_otel::{Traces, TracesError};
use celeriac_worker::Worker;
use tracing::{Subscriber, warn};
use tracing_subscriber::Layer;
use tracing_subscriber::registry::LookupSpan;

/// Where spans go, if they go anywhere, or why they do not.
#[derive(Debug)]
pub(super) struct WorkerTraces(Result<Option<Traces>, TracesError>);

impl WorkerTraces {
    /// What the environment asks for.
    pub(super) fn from_environment() -> Self {
        Self(Traces::from_environment())
    }

    /// Takes spans of tasks, once it is part of a subscriber.
    pub(super) fn layer<S>(&self) -> Option<impl Layer<S> + use<S>>
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
    {
        let traces = self.0.as_ref().ok()?.as_ref();
        traces.map(Traces::layer)
    }

    /// Has a span made of each run of a worker that is called `name`, and says if that cannot be.
    pub(super) fn attend(&self, worker: Worker, scheme: &str, name: &str) -> Worker {
        match &self.0 {
            Ok(None) => worker,
            Ok(Some(traces)) => worker.tracer(traces.tracer(scheme, name)),
            Err(error) => {
                warn!(error = error as &dyn Error, "no traces are exported");
                worker
            }
        }
    }
}
