//! The executor that is the caller itself.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, Ordering};

use celeriac_core::{BoxFuture, ContentType, Executor, Invocation, ShutdownMode, TaskError};

use crate::attempt::run_here;

/// Runs each invocation to its end inside [`submit`](Executor::submit).
///
/// The one executor that blocks its caller. Time limits are looked at by the task's own context; a
/// call that ran past its hard limit has a time-out as its outcome once it returns.
#[derive(Debug, Default)]
pub struct Inline {
    closed: AtomicBool,
}

impl Inline {
    /// An executor that has nothing to start.
    pub fn new() -> Self {
        Self::default()
    }
}

impl Executor for Inline {
    fn slots(&self) -> NonZeroUsize {
        NonZeroUsize::MIN
    }

    fn content_type(&self) -> Option<ContentType> {
        None
    }

    fn submit(&self, invocation: Invocation) {
        if self.closed.load(Ordering::Acquire) {
            invocation.reply.failed(TaskError::shutdown());
        } else {
            run_here(invocation, || {});
        }
    }

    fn blocks(&self) -> bool {
        true
    }

    fn shutdown(&self, _: ShutdownMode) -> BoxFuture<'_, ()> {
        self.closed.store(true, Ordering::Release);
        Box::pin(std::future::ready(()))
    }
}
