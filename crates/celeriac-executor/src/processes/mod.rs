//! Runs calls in child processes of this program, which can be killed, capped and survived.
//!
//! The children are this same binary: they enter before `main` through a constructor, so no entry
//! point can be forgotten, and are started from `/proc/self/exe`, which is the running binary even
//! if the file on disk was replaced. One thread per pool, the reactor, owns every child.
//!
//! ```text
//!  submit ─▶ queue ─▶ reactor ──── RUN ───▶ child: input ─▶ task ─▶ outbox
//!                        ▲   ◀── OUTCOMES ──                          │
//!                        └──────── black box (survives kill -9) ◀─────┘
//! ```
//!
//! # Invariants
//!
//! - Every call has one outcome, and is begun once: a child that dies costs the call that was
//!   running, with the cause in its outcome. What was finished keeps its outcome, and what was not
//!   begun goes to another child. Only a child that lies about itself can break this, and only for
//!   the calls it was given.
//! - No write blocks the reactor, and a child that writes is always read.
//! - No child outlives the pool or this process, and nothing that a task has started outlives its
//!   child, however that ends. Only `kill -9` of the child's keeper, or a process that the system
//!   itself cannot end, breaks the latter.
//!
//! # Limits
//!
//! The pool times every call, from when its child says that it began. A hard limit kills the child
//! and all that it has started. A soft limit and a cancellation reach the task through its
//! [`Context`](celeriac_core::Context), an `async` task at its next `await`, and any as SIGUSR1 to the
//! thread that runs it, once, so that the system call it waits in ends with `EINTR`; one that does
//! not stop when cancelled is killed after [`ProcessSettings::cancel_grace`]. With coroutines in the
//! children, hard limits and cancellations are kept inside too, so that a slow call does not cost its
//! neighbours theirs; only one that comes to no `await` within a second more costs its child, and
//! those that ran beside it.

mod arena;
mod child;
mod clock;
mod credit;
mod death;
pub(crate) mod inside;
mod job;
mod mailbox;
mod reactor;
mod setup;
mod views;
mod wire;

use std::fmt;
use std::io;
use std::num::{NonZeroU64, NonZeroUsize};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use celeriac_core::payload::{ContentType, DEFAULT_BODY_LIMIT_BYTES};
use celeriac_core::{BoxFuture, Executor, Invocation, ShutdownMode};

use self::mailbox::Mailbox;
use self::reactor::Reactor;
use crate::os;

/// How a process pool is set up.
#[derive(Debug, Clone, Copy)]
pub struct ProcessSettings {
    /// How many children; one per core by default.
    pub children: NonZeroUsize,
    /// So many calls at once in each child, as coroutines; by default one after another.
    pub coroutines: Option<NonZeroUsize>,
    /// A child that holds more resident memory than this, in bytes, is killed while it runs. Looked
    /// at every 20 ms. None by default.
    pub memory_cap_bytes: Option<NonZeroU64>,
    /// A child that holds more than this, in bytes, after a call is replaced once it has nothing to
    /// do. None by default.
    pub max_memory_bytes: Option<NonZeroU64>,
    /// A child is replaced after so many calls. None by default.
    pub max_tasks: Option<NonZeroU64>,
    /// How long a cancelled call may go on before its child is killed; 5 s by default. A coroutine
    /// ends at its next `await`, and has one second at most to come to it.
    pub cancel_grace: Duration,
    /// The largest body of arguments or result, in bytes; 16 MiB by default.
    pub body_limit_bytes: usize,
    /// How long a child may take to report that it is ready; 10 s by default.
    pub start_timeout: Duration,
}

impl Default for ProcessSettings {
    fn default() -> Self {
        Self {
            children: std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN),
            coroutines: None,
            memory_cap_bytes: None,
            max_memory_bytes: None,
            max_tasks: None,
            cancel_grace: Duration::from_secs(5),
            body_limit_bytes: DEFAULT_BODY_LIMIT_BYTES,
            start_timeout: Duration::from_secs(10),
        }
    }
}

/// The most children, or coroutines in one child, that a pool can have.
pub const MOST_SLOTS: usize = 65_536;

/// Why a process pool could not be started.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// This process is a pool's child itself.
    #[error(
        "a child of a process pool cannot start a pool of its own; use `threads` or `coroutines` \
         in tasks that run in processes"
    )]
    InChild,
    /// More was asked for than can be.
    #[error("{asked} {unit} are more than a process pool can have; use at most {MOST_SLOTS}")]
    TooMany {
        /// What was asked for.
        asked: usize,
        /// `children` or `coroutines`.
        unit: &'static str,
    },
    /// The system refused a process, a thread or memory.
    #[error("the process pool could not be started")]
    System(#[from] io::Error),
}

/// A pool of child processes.
///
/// Dropping it kills the children; [`Executor::shutdown`] lets them finish.
///
/// ```no_run
/// use celeriac_executor::processes::{ProcessPool, ProcessSettings};
/// let pool = ProcessPool::start(ProcessSettings::default())?;
/// # Ok::<(), celeriac_executor::processes::StartError>(())
/// ```
pub struct ProcessPool {
    mailbox: Arc<Mailbox>,
    slots: NonZeroUsize,
    reactor: Mutex<Option<JoinHandle<()>>>,
}

impl ProcessPool {
    /// Starts the children, without waiting until they are ready.
    ///
    /// # Errors
    ///
    /// [`StartError`]; nothing is left behind then.
    pub fn start(settings: ProcessSettings) -> Result<Self, StartError> {
        if os::is_child() {
            return Err(StartError::InChild);
        }
        let lanes = settings.coroutines.map_or(1, NonZeroUsize::get);
        for (asked, unit) in [(settings.children.get(), "children"), (lanes, "coroutines")] {
            if asked > MOST_SLOTS {
                return Err(StartError::TooMany { asked, unit });
            }
        }
        let slots = settings
            .children
            .saturating_mul(settings.coroutines.unwrap_or(NonZeroUsize::MIN));
        let mailbox = Arc::new(Mailbox::new()?);
        let (started, first) = mpsc::channel();
        let reactor_mailbox = mailbox.clone();
        // Children die with the thread that started them, so that thread has to be the reactor.
        let reactor = std::thread::Builder::new()
            .name("celeriac-pool".to_owned())
            .spawn(move || Reactor::run(settings, reactor_mailbox, &started))?;
        match first.recv() {
            Ok(Ok(())) => Ok(Self {
                mailbox,
                slots,
                reactor: Mutex::new(Some(reactor)),
            }),
            Ok(Err(error)) => {
                let _ = reactor.join();
                Err(error.into())
            }
            Err(_) => Err(io::Error::other("the pool's thread panicked").into()),
        }
    }
}

impl Executor for ProcessPool {
    fn slots(&self) -> NonZeroUsize {
        self.slots
    }

    fn content_type(&self) -> Option<ContentType> {
        Some(ContentType::Msgpack)
    }

    fn submit(&self, invocation: Invocation) {
        self.mailbox.submit(invocation);
    }

    fn shutdown(&self, mode: ShutdownMode) -> BoxFuture<'_, ()> {
        self.mailbox.shut_down(mode);
        Box::pin(async move {
            self.mailbox.gone().await;
            // The thread has nothing left to do but return.
            let reactor = self.take_reactor();
            if let Some(reactor) = reactor {
                join(reactor);
            }
        })
    }
}

impl ProcessPool {
    fn take_reactor(&self) -> Option<JoinHandle<()>> {
        self.reactor
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
    }
}

/// Waits for the reactor, unless this is it: a reply may be what drops the pool.
fn join(reactor: JoinHandle<()>) {
    if reactor.thread().id() != std::thread::current().id() {
        let _ = reactor.join();
    }
}

impl Drop for ProcessPool {
    fn drop(&mut self) {
        if let Some(reactor) = self.take_reactor() {
            self.mailbox.shut_down(ShutdownMode::Kill);
            join(reactor);
        }
    }
}

impl fmt::Debug for ProcessPool {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ProcessPool")
            .field("slots", &self.slots)
            .finish_non_exhaustive()
    }
}
