//! Consumes, dispatches and settles: the celeriac worker.
//!
//! A [`Worker`] takes deliveries from a [`Broker`](celeriac_core::Broker), has them run by an
//! [`Executor`](celeriac_core::Executor) and carries out what core decides follows from each
//! outcome. It knows no driver and no kind of pool.
//!
//! # Invariants
//!
//! - Each delivery is settled once, or given back by closing the consumer.
//! - No content of a message, and no outcome, ends a worker.
//! - While the broker is away outcomes are kept and nothing more is fetched.
#![forbid(unsafe_code)]

mod admit;
mod attendants;
mod backoff;
mod batch;
mod control;
mod dispatcher;
mod error;
mod events;
mod held;
mod linux;
mod metrics;
mod observer;
mod pace;
mod prefetch;
mod reply;
mod report;
mod router;
mod settings;
mod settle;
mod shutdown;
mod signal;
mod store;
mod tracer;
mod trouble;
mod watcher;
mod worker;

pub use control::foreign::ForeignCommands;
pub use control::settings::{About, ControlSettings, broker_stats};
pub use error::WorkerError;
pub use metrics::{Histogram, MOST_SERIES, Metrics, OTHER, TaskMetrics};
pub use observer::{Finish, Observer, Reason, TaskRef};
pub use report::WorkerReport;
pub use settings::{Prefetch, WorkerSettings, worker_name};
pub use shutdown::Shutdown;
pub use tracer::{Span, SpanEnd, Tracer};
pub use watcher::{Life, Look, NotReady, Watcher};
pub use worker::{Revocations, RunningWorker, Stopper, Worker};
