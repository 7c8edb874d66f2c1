//! Many `async` calls at once on a few threads.
//!
//! # Invariants
//!
//! - At most `slots` invocations run; the others wait in order.
//! - A plain function runs on a thread of its own, so it holds up no coroutine.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celeriac_core::{
    BoxFuture, ContentType, Control, Executor, Interrupt, Invocation, ShutdownMode, TaskError,
};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::watch;

use crate::attempt::{run_as_future, run_here};
use crate::cores;

/// Runs `async` tasks on a tokio runtime of its own.
///
/// Cancellation and hard time limits drop a coroutine at its next await. One that blocks its thread
/// for over 100 ms is named in a warning.
pub struct CoroutinePool {
    shared: Arc<Shared>,
    runtime: Option<Runtime>,
}

struct Shared {
    slots: AtomicUsize,
    handle: Handle,
    state: Mutex<State>,
    /// How many invocations are queued or running.
    pending: watch::Sender<usize>,
}

#[derive(Default)]
struct State {
    queue: VecDeque<Invocation>,
    running: HashMap<u64, Arc<Control>>,
    next: u64,
    closed: bool,
}

impl CoroutinePool {
    /// Starts a runtime with a thread per core for `slots` coroutines at once.
    ///
    /// # Errors
    ///
    /// What the system says if it gives no thread.
    pub fn start(slots: NonZeroUsize) -> std::io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(cores().get())
            .thread_name("celeriac-coroutines")
            .enable_all()
            .build()?;
        let shared = Arc::new(Shared {
            slots: AtomicUsize::new(slots.get()),
            handle: runtime.handle().clone(),
            state: Mutex::default(),
            pending: watch::Sender::new(0),
        });
        Ok(Self {
            shared,
            runtime: Some(runtime),
        })
    }
}

impl Executor for CoroutinePool {
    fn slots(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.shared.slots()).unwrap_or(NonZeroUsize::MIN)
    }

    fn content_type(&self) -> Option<ContentType> {
        None
    }

    fn submit(&self, invocation: Invocation) {
        let mut state = self.shared.lock();
        if state.closed {
            drop(state);
            return invocation.reply.failed(TaskError::shutdown());
        }
        self.shared.pending.send_modify(|pending| *pending += 1);
        if state.running.len() < self.shared.slots() {
            let number = state.start(&invocation);
            drop(state);
            self.shared.spawn(number, invocation);
        } else {
            state.queue.push_back(invocation);
        }
    }

    fn resize(&self, slots: NonZeroUsize) -> bool {
        self.shared.slots.store(slots.get(), Ordering::Relaxed);
        self.shared.start_waiting();
        true
    }

    fn shutdown(&self, mode: ShutdownMode) -> BoxFuture<'_, ()> {
        self.shared.close(mode);
        Box::pin(async move {
            let mut pending = self.shared.pending.subscribe();
            // The sender lives in `self`, so waiting cannot fail.
            let _ = pending.wait_for(|&pending| pending == 0).await;
        })
    }
}

impl Drop for CoroutinePool {
    /// Cancels what runs at its next await, without waiting for it.
    fn drop(&mut self) {
        self.shared.close(ShutdownMode::Kill);
        if let Some(runtime) = self.runtime.take() {
            // Dropping a runtime in place would block, which is forbidden inside another one.
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for CoroutinePool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("CoroutinePool")
            .field("slots", &self.shared.slots())
            .finish_non_exhaustive()
    }
}

impl State {
    fn start(&mut self, invocation: &Invocation) -> u64 {
        self.next += 1;
        self.running.insert(self.next, invocation.control.clone());
        self.next
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn slots(&self) -> usize {
        self.slots.load(Ordering::Relaxed)
    }

    /// Starts what waits, as far as there is room.
    fn start_waiting(self: &Arc<Self>) {
        loop {
            let mut state = self.lock();
            if state.running.len() >= self.slots() {
                return;
            }
            let Some(next) = state.queue.pop_front() else {
                return;
            };
            let number = state.start(&next);
            drop(state);
            self.spawn(number, next);
        }
    }

    fn spawn(self: &Arc<Self>, number: u64, invocation: Invocation) {
        let finished = Finished {
            shared: self.clone(),
            number,
        };
        if invocation.task.is_async {
            self.handle.spawn(async move {
                run_as_future(invocation).await;
                drop(finished);
            });
        } else {
            self.handle.spawn_blocking(move || {
                run_here(invocation, || {});
                drop(finished);
            });
        }
    }

    fn close(&self, mode: ShutdownMode) {
        let mut state = self.lock();
        state.closed = true;
        let refused = match mode {
            ShutdownMode::Wait => VecDeque::new(),
            _ => std::mem::take(&mut state.queue),
        };
        let interrupted: Vec<_> = match mode {
            ShutdownMode::Kill => state.running.values().cloned().collect(),
            _ => Vec::new(),
        };
        drop(state);
        for invocation in &refused {
            invocation.reply.failed(TaskError::shutdown());
        }
        self.pending
            .send_modify(|pending| *pending -= refused.len());
        for control in interrupted {
            control.interrupt(Interrupt::Shutdown);
        }
    }
}

/// Gives the slot of a finished invocation to the next one; on drop, so that nothing can skip it.
struct Finished {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Finished {
    fn drop(&mut self) {
        self.shared.lock().running.remove(&self.number);
        self.shared.start_waiting();
        self.shared.pending.send_modify(|pending| *pending -= 1);
    }
}
