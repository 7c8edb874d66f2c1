//! Submits invocations to an executor: now, after a delay, or as a rate limit allows.
//!
//! # Invariants
//!
//! - What waits here counts as submitted: a shutdown waits for it or answers it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use celeriac_core::policy::Pacer;
use celeriac_core::{Executor, Invocation, Registry, ShutdownMode, TaskError};
use celeriac_executor::drive::reactor;
use tokio::sync::watch;

/// The way into an executor.
#[derive(Debug)]
pub(crate) struct Launcher {
    pub(crate) executor: Arc<dyn Executor>,
    pub(crate) registry: Arc<Registry>,
    pacers: Mutex<HashMap<&'static str, Pacer>>,
    delayed: watch::Sender<usize>,
    closing: watch::Sender<Option<ShutdownMode>>,
    refuses_queued: AtomicBool,
    canvases: watch::Sender<usize>,
}

/// One canvas under way, until it is dropped.
#[derive(Debug)]
pub(crate) struct Underway(Arc<Launcher>);

impl Drop for Underway {
    fn drop(&mut self) {
        self.0.canvases.send_modify(|count| *count -= 1);
    }
}

impl Launcher {
    pub(crate) fn new(executor: Arc<dyn Executor>, registry: Arc<Registry>) -> Arc<Self> {
        Arc::new(Self {
            executor,
            registry,
            pacers: Mutex::default(),
            delayed: watch::Sender::new(0),
            closing: watch::Sender::new(None),
            refuses_queued: AtomicBool::new(false),
            canvases: watch::Sender::new(0),
        })
    }

    /// Submits `invocation` after `delay`, or later if its task's rate limit says so.
    pub(crate) fn launch(self: &Arc<Self>, invocation: Invocation, delay: Duration) {
        let delay = delay + self.pace(&invocation, delay);
        if delay.is_zero() {
            return self.executor.submit(invocation);
        }
        self.delayed.send_modify(|delayed| *delayed += 1);
        let this = self.clone();
        reactor().spawn(async move {
            let mut closing = this.closing.subscribe();
            let cancelled = closing.wait_for(|mode| matches!(mode, Some(mode) if *mode != ShutdownMode::Wait));
            tokio::select! {
                () = tokio::time::sleep(delay) => this.executor.submit(invocation),
                _ = invocation.control.wait_cancelled() => invocation.reply.failed(TaskError::cancelled()),
                _ = cancelled => invocation.reply.failed(TaskError::shutdown()),
            }
            this.delayed.send_modify(|delayed| *delayed -= 1);
        });
    }

    /// How the shutdown goes that was asked for, if one was.
    pub(crate) fn closing(&self) -> watch::Receiver<Option<ShutdownMode>> {
        self.closing.subscribe()
    }

    /// Whether what was submitted and has not started is to be refused.
    pub(crate) fn refuses_queued(&self) -> bool {
        self.refuses_queued.load(Ordering::Relaxed)
    }

    /// Counts a canvas among what a shutdown waits for: its later calls are not submitted yet.
    pub(crate) fn enter(self: &Arc<Self>) -> Underway {
        self.canvases.send_modify(|count| *count += 1);
        Underway(self.clone())
    }

    /// Waits until no canvas is under way.
    async fn canvases_ended(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self
            .canvases
            .subscribe()
            .wait_for(|&count| count == 0)
            .await;
    }

    pub(crate) async fn shutdown(&self, mode: ShutdownMode) {
        if mode != ShutdownMode::Wait {
            self.refuses_queued.store(true, Ordering::Relaxed);
        }
        self.closing.send_replace(Some(mode));
        if mode == ShutdownMode::Wait {
            self.canvases_ended().await;
        }
        let mut delayed = self.delayed.subscribe();
        // The sender lives in `self`, so waiting cannot fail.
        let _ = delayed.wait_for(|&delayed| delayed == 0).await;
        self.executor.shutdown(mode).await;
        // What they had running is answered by now, and the rest is refused.
        self.canvases_ended().await;
    }

    fn pace(&self, invocation: &Invocation, delay: Duration) -> Duration {
        let Some(limit) = invocation.task.options.rate_limit else {
            return Duration::ZERO;
        };
        let mut pacers = self.pacers.lock().unwrap_or_else(PoisonError::into_inner);
        let pacer = pacers
            .entry(invocation.task.name)
            .or_insert_with(|| Pacer::new(limit));
        pacer.reserve(Instant::now() + delay)
    }
}
