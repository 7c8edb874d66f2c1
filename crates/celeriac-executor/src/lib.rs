//! Runs invocations: in the caller, on threads, on coroutines, in child processes.
//!
//! [`open`] turns a [`Place`] into an [`Executor`]. Executors bring their own threads and their own
//! runtime, so they serve blocking programs and programs on any runtime alike.
//!
//! # Invariants
//!
//! - Every call gets an outcome, also after a panic, a time-out, a death or a shutdown.
//! - Executors do not know that brokers exist, nor that a failed call may be retried.
#![deny(unsafe_code)]

pub mod coroutines;
pub mod drive;
pub mod inline;
pub mod processes;
pub mod threads;

mod attempt;
mod os;

use std::num::NonZeroUsize;
use std::sync::Arc;

use celeriac_core::place::DEFAULT_COROUTINES;
use celeriac_core::{BrokerUrl, Executor, Place};

use crate::coroutines::CoroutinePool;
use crate::inline::Inline;
use crate::processes::{ProcessPool, ProcessSettings, StartError};
use crate::threads::ThreadPool;

/// Why an executor could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecutorError {
    /// The operating system gave no thread.
    #[error("cannot start the pool `{place}`")]
    Start {
        /// The place that was asked for.
        place: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The process pool could not be started.
    #[error(transparent)]
    Processes(#[from] StartError),
    /// A broker is no executor: what it holds is run by workers.
    #[error("`{0}` is a broker, not a pool; run a worker on it and give the worker a pool")]
    Broker(BrokerUrl),
}

/// Opens the executor of a place on this machine.
///
/// # Errors
///
/// [`ExecutorError`] if the place is a broker or the system gives no thread or process.
pub fn open(place: &Place) -> Result<Arc<dyn Executor>, ExecutorError> {
    open_with(place, ProcessSettings::default())
}

/// As [`open`], with limits for the children if the place is a process pool. How many there are, and
/// how many coroutines in each, is what the place says.
///
/// # Errors
///
/// As [`open`].
pub fn open_with(
    place: &Place,
    processes: ProcessSettings,
) -> Result<Arc<dyn Executor>, ExecutorError> {
    let failed = |source| ExecutorError::Start {
        place: place.to_string(),
        source,
    };
    Ok(match place {
        Place::Inline => Arc::new(Inline::new()),
        Place::Threads(count) => {
            Arc::new(ThreadPool::start(count.unwrap_or_else(cores)).map_err(failed)?)
        }
        Place::Coroutines(count) => {
            Arc::new(CoroutinePool::start(count.unwrap_or(DEFAULT_COROUTINES)).map_err(failed)?)
        }
        Place::Processes {
            children,
            coroutines,
        } => Arc::new(ProcessPool::start(ProcessSettings {
            children: children.unwrap_or_else(cores),
            coroutines: *coroutines,
            ..processes
        })?),
        Place::Broker(url) => return Err(ExecutorError::Broker(url.clone())),
    })
}

/// One slot per core this process may use; 1 if that is not known.
pub fn cores() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
