//! A pool of threads that steal work from each other.
//!
//! # Invariants
//!
//! - A thread takes from the shared queue in batches and others steal from its batch, so nothing
//!   waits behind a long call while a thread is idle.
//! - Shared calls hold a thread for a slice of time and then queue behind what waits.
//! - A thread that is one too many ends before it takes anything more.
//! - A thread stuck past a hard time limit is replaced at once and ends when its call returns, so
//!   the pool keeps its number of slots.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use celeriac_core::{
    BoxFuture, ContentType, Control, Executor, Interrupt, Invocation, Reply, SharedCalls,
    ShutdownMode, TaskError, Work,
};
use crossbeam_deque::{Injector, Steal, Stealer, Worker};
use tokio::sync::watch;

use crate::attempt::{begin, run_here};

mod bell;
mod sync;

use bell::Bell;

/// How often an idle thread looks for work before it sleeps.
const SPINS: u32 = 100;

/// How long a thread stays with shared calls while other invocations wait.
const SLICE: Duration = Duration::from_millis(2);

/// Runs each invocation on one of its threads.
///
/// A panic is an outcome. A call that aborts or overflows its stack ends the whole program: give
/// such tasks to processes.
pub struct ThreadPool {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Injector<Invocation>,
    /// What each thread has taken and not begun, by the thread's number.
    stealers: RwLock<Vec<(usize, Stealer<Invocation>)>>,
    bell: Bell,
    alive: watch::Sender<usize>,
    running: Mutex<Vec<Running>>,
    names: AtomicUsize,
    slots: AtomicUsize,
    /// How many threads are to end when they have nothing to run.
    surplus: AtomicUsize,
}

/// An invocation that a thread runs.
struct Running {
    thread: usize,
    control: Arc<Control>,
    reply: Arc<dyn Reply>,
}

impl ThreadPool {
    /// Starts `slots` threads.
    ///
    /// # Errors
    ///
    /// What the system says if it gives no thread; none is left behind.
    pub fn start(slots: NonZeroUsize) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queue: Injector::new(),
            stealers: RwLock::default(),
            bell: Bell::new(),
            alive: watch::Sender::new(0),
            running: Mutex::default(),
            names: AtomicUsize::new(0),
            slots: AtomicUsize::new(slots.get()),
            surplus: AtomicUsize::new(0),
        });
        let pool = Self { shared };
        // If one is refused, those that were started end with the pool.
        for _ in 0..slots.get() {
            pool.shared.spawn()?;
        }
        Ok(pool)
    }
}

impl Executor for ThreadPool {
    fn slots(&self) -> NonZeroUsize {
        NonZeroUsize::new(self.shared.slots.load(Ordering::Relaxed)).unwrap_or(NonZeroUsize::MIN)
    }

    fn content_type(&self) -> Option<ContentType> {
        None
    }

    fn submit(&self, invocation: Invocation) {
        self.shared.queue.push(invocation);
        self.shared.bell.ring();
        if *self.shared.alive.borrow() == 0 {
            self.shared.refuse_queued();
        }
    }

    fn resize(&self, slots: NonZeroUsize) -> bool {
        let before = self.shared.slots.swap(slots.get(), Ordering::Relaxed);
        for _ in slots.get()..before {
            self.shared.surplus.fetch_add(1, Ordering::Relaxed);
            self.shared.bell.ring();
        }
        for missing in before..slots.get() {
            if self.shared.is_surplus() {
                continue;
            }
            if let Err(error) = self.shared.spawn() {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "no thread for another slot");
                self.shared.slots.store(missing, Ordering::Relaxed);
                return false;
            }
        }
        true
    }

    fn shutdown(&self, mode: ShutdownMode) -> BoxFuture<'_, ()> {
        self.shared.close(mode);
        Box::pin(async move {
            let mut alive = self.shared.alive.subscribe();
            if mode != ShutdownMode::Kill {
                // The sender lives in `self`, so waiting cannot fail.
                let _ = alive.wait_for(|&alive| alive == 0).await;
            }
            self.shared.refuse_queued();
        })
    }
}

impl Drop for ThreadPool {
    /// Lets the threads finish what was submitted, without waiting for them.
    fn drop(&mut self) {
        self.shared.close(ShutdownMode::Wait);
    }
}

impl fmt::Debug for ThreadPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ThreadPool")
            .field("slots", &self.slots())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn running(&self) -> MutexGuard<'_, Vec<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spawn(self: &Arc<Self>) -> std::io::Result<()> {
        let number = self.names.fetch_add(1, Ordering::Relaxed);
        let local = Worker::new_fifo();
        let shared = self.clone();
        self.write_stealers().push((number, local.stealer()));
        self.alive.send_modify(|alive| *alive += 1);
        let spawned = thread::Builder::new()
            .name(format!("celeriac-{number}"))
            .spawn(move || {
                shared.work(number, &local);
                // What a retiring thread still had goes back to the others.
                while let Some(invocation) = local.pop() {
                    shared.queue.push(invocation);
                    shared.bell.ring();
                }
                shared.write_stealers().retain(|(of, _)| *of != number);
                shared.alive.send_modify(|alive| *alive -= 1);
            });
        if let Err(error) = spawned {
            self.alive.send_modify(|alive| *alive -= 1);
            self.write_stealers().retain(|(of, _)| *of != number);
            return Err(error);
        }
        Ok(())
    }

    fn write_stealers(&self) -> RwLockWriteGuard<'_, Vec<(usize, Stealer<Invocation>)>> {
        self.stealers
            .write()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a thread is to end, which is then told so.
    fn is_surplus(&self) -> bool {
        let one_less = |surplus: usize| surplus.checked_sub(1);
        let (set, get) = (Ordering::Relaxed, Ordering::Relaxed);
        self.surplus.fetch_update(set, get, one_less).is_ok()
    }

    /// The life of one thread: until the pool closes, or its call outlived a hard limit.
    fn work(self: &Arc<Self>, number: usize, local: &Worker<Invocation>) {
        let retired = Arc::new(AtomicBool::new(false));
        while let Some(invocation) = self.next(local) {
            self.running().push(Running {
                thread: number,
                control: invocation.control.clone(),
                reply: invocation.reply.clone(),
            });
            if let Work::Shared(calls) = &invocation.work {
                if run_slice(&invocation, &**calls) {
                    self.queue.push(invocation);
                    self.bell.ring();
                }
            } else {
                let (shared, retire) = (self.clone(), retired.clone());
                run_here(invocation, move || {
                    retire.store(true, Ordering::Release);
                    if let Err(error) = shared.spawn() {
                        tracing::error!(
                            error = &error as &dyn std::error::Error,
                            "no thread to replace a stuck one"
                        );
                        shared.close(ShutdownMode::CancelQueued);
                    }
                });
            }
            self.running().retain(|running| running.thread != number);
            if retired.load(Ordering::Acquire) {
                return;
            }
        }
    }

    /// Waits for work; `None` if there will be none, or none for this thread.
    fn next(&self, local: &Worker<Invocation>) -> Option<Invocation> {
        if self.is_surplus() {
            return None;
        }
        for _ in 0..SPINS {
            if let Some(invocation) = self.find(local) {
                return Some(invocation);
            }
            std::hint::spin_loop();
        }
        let found = self.bell.wait_for(|| match self.find(local) {
            Some(invocation) => Some(Some(invocation)),
            None => self.is_surplus().then_some(None),
        });
        found.flatten()
    }

    /// Looks for work: own batch, shared queue, the batches of others.
    fn find(&self, local: &Worker<Invocation>) -> Option<Invocation> {
        if let Some(invocation) = local.pop() {
            return Some(invocation);
        }
        loop {
            let stolen = self.queue.steal_batch_and_pop(local).or_else(|| {
                let stealers = self.stealers.read().unwrap_or_else(PoisonError::into_inner);
                stealers.iter().map(|(_, it)| it.steal()).collect()
            });
            match stolen {
                Steal::Success(invocation) => return Some(invocation),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    fn close(&self, mode: ShutdownMode) {
        self.bell.close();
        if mode != ShutdownMode::Wait {
            self.refuse_queued();
        }
        if mode == ShutdownMode::Kill {
            for running in &*self.running() {
                running.control.interrupt(Interrupt::Shutdown);
                running.reply.failed(TaskError::shutdown());
            }
        }
    }

    /// Answers what nobody will run any more.
    fn refuse_queued(&self) {
        let stealers = self.stealers.read().unwrap_or_else(PoisonError::into_inner);
        let steal = || -> Steal<Invocation> {
            self.queue
                .steal()
                .or_else(|| stealers.iter().map(|(_, it)| it.steal()).collect())
        };
        loop {
            match steal() {
                Steal::Success(invocation) => invocation.reply.failed(TaskError::shutdown()),
                Steal::Empty => return,
                Steal::Retry => {}
            }
        }
    }
}

/// Runs shared calls for a while, and says whether some may be left.
fn run_slice(invocation: &Invocation, calls: &dyn SharedCalls) -> bool {
    begin(invocation).is_some_and(|context| calls.run(&context, Some(Instant::now() + SLICE)))
}
