//! An executor whose calls begin and end when the test says so.

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_core::{
    BoxFuture, ContentType, Executor, Invocation, OutcomeChunk, Reply, ShutdownMode, TaskError,
};
use tokio::sync::Notify;
use tokio::time::timeout;

#[derive(Debug)]
pub(crate) struct Stage {
    slots: NonZeroUsize,
    state: Mutex<State>,
    submitted: Notify,
}

#[derive(Default)]
struct State {
    queued: VecDeque<Invocation>,
    running: Vec<Arc<dyn Reply>>,
    closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_list().entries(&self.queued).finish()
    }
}

impl Stage {
    pub(crate) fn new(slots: usize) -> Arc<Self> {
        Arc::new(Self {
            slots: NonZeroUsize::new(slots).unwrap(),
            state: Mutex::default(),
            submitted: Notify::new(),
        })
    }

    /// Waits for the next call and starts it.
    pub(crate) async fn start(&self) -> Playing {
        let next = async {
            loop {
                if let Some(invocation) = self.try_start() {
                    return invocation;
                }
                self.submitted.notified().await;
            }
        };
        timeout(Duration::from_secs(600), next)
            .await
            .expect("nothing was submitted")
    }

    /// Starts the next call if there is one.
    pub(crate) fn try_start(&self) -> Option<Playing> {
        let mut state = self.state.lock().unwrap();
        let invocation = state.queued.pop_front()?;
        state.running.push(invocation.reply.clone());
        invocation.reply.started();
        Some(Playing(invocation))
    }

    /// Drops the next call unanswered, as a broken executor would.
    pub(crate) fn lose_one(&self) {
        drop(self.state.lock().unwrap().queued.pop_front());
    }

    pub(crate) fn queued(&self) -> usize {
        self.state.lock().unwrap().queued.len()
    }
}

/// A call that runs until the test ends it.
#[derive(Debug)]
pub(crate) struct Playing(pub(crate) Invocation);

impl Playing {
    pub(crate) fn returns(&self, value: &str) {
        self.returns_after(value, Duration::from_secs(1));
    }

    pub(crate) fn returns_after(&self, value: &str, busy: Duration) {
        let mut outcome = OutcomeChunk::builder(ContentType::Json, 0);
        outcome.push(&Ok(value.as_bytes().to_vec()));
        self.0.reply.outcomes(outcome.finish(busy));
    }

    pub(crate) fn fails(&self, error: TaskError) {
        self.0.reply.failed(error);
    }
}

impl Executor for Stage {
    fn slots(&self) -> NonZeroUsize {
        self.slots
    }

    fn content_type(&self) -> Option<ContentType> {
        Some(ContentType::Json)
    }

    fn submit(&self, invocation: Invocation) {
        let mut state = self.state.lock().unwrap();
        if state.closed {
            invocation.reply.failed(TaskError::shutdown());
        } else {
            state.queued.push_back(invocation);
            self.submitted.notify_one();
        }
    }

    fn shutdown(&self, mode: ShutdownMode) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            let mut state = self.state.lock().unwrap();
            state.closed = true;
            for invocation in state.queued.drain(..) {
                invocation.reply.failed(TaskError::shutdown());
            }
            if mode == ShutdownMode::Kill {
                for reply in state.running.drain(..) {
                    reply.failed(TaskError::lost("signal 9"));
                }
            }
        })
    }
}
