//! The calls of a map that wait, as values, for a thread of this process.
//!
//! Sending a call to a pool by itself costs more than a short call takes. So a map's calls stand in
//! one line, and the pool is given no more than one invocation for each of its slots, each of which
//! takes calls from the line until there are none. A call still waits behind no other as long as a
//! slot is free.
//!
//! # Invariants
//!
//! - While a call stands in the line, a runner is queued or running, or the line is closed and the
//!   call is answered with the error it was closed with.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use celeriac_core::task::call_typed;
use celeriac_core::{
    Context, Control, Interrupt, Invocation, Limits, OutcomeChunk, Reply, Run, SharedCalls, Task,
    TaskError, TaskId, Work,
};
use crossbeam_deque::{Injector, Steal};
use smallvec::SmallVec;

use super::arrivals::{Arrival, Arrivals, Part};
use super::runners::{Advice, Runners};
use super::window::Ticket;
use crate::launcher::Launcher;

/// The arguments of calls that are run one after another.
pub(super) type Values<T> = SmallVec<[<T as Task>::Args; 1]>;

/// A queue of calls that the runners of one map share.
pub(super) struct Line<T: Task> {
    id: TaskId,
    launcher: Arc<Launcher>,
    arrivals: Arc<Arrivals<T::Output>>,
    queue: Injector<Piece<T>>,
    /// Those that are queued or running.
    runners: Runners,
    control: Arc<Control>,
    /// What calls are answered with that nobody will run.
    closed: OnceLock<TaskError>,
}

/// Calls taken from the line together.
struct Piece<T: Task> {
    ticket: Ticket,
    /// The number of the first call among all of the map.
    first: usize,
    values: Values<T>,
}

impl<T: Task> Line<T> {
    /// A line of calls whose ids count on from `id`.
    pub(super) fn new(
        id: TaskId,
        launcher: Arc<Launcher>,
        arrivals: Arc<Arrivals<T::Output>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            id,
            launcher,
            arrivals,
            queue: Injector::new(),
            runners: Runners::new(),
            control: Control::new(),
            closed: OnceLock::new(),
        })
    }

    /// Queues the calls of one flight, the first of which is the `first` of the map.
    pub(super) fn push(self: &Arc<Self>, ticket: Ticket, first: usize, values: Values<T>) {
        self.queue.push(Piece {
            ticket,
            first,
            values,
        });
        match self.runners.advise(self.launcher.executor.slots().get()) {
            Advice::Nothing => {}
            Advice::Start => self.start_runner(),
            Advice::Refuse => self.refuse(),
        }
    }

    /// Nobody wants the calls any more.
    pub(super) fn cancel(&self) {
        self.control.interrupt(Interrupt::Cancelled);
    }

    fn start_runner(self: &Arc<Self>) {
        let runner = Arc::new(Runner {
            line: self.clone(),
            current: AtomicU64::new(Runner::<T>::IDLE),
        });
        let invocation = Invocation {
            id: self.id.clone(),
            task: T::DEFINITION,
            attempt: 1,
            limits: Limits::NONE,
            control: self.control.clone(),
            work: Work::Shared(runner.clone()),
            reply: runner,
        };
        self.launcher.launch(invocation, Duration::ZERO);
    }

    fn next(&self) -> Option<Piece<T>> {
        loop {
            match self.queue.steal() {
                Steal::Success(piece) => return Some(piece),
                Steal::Empty => return None,
                Steal::Retry => {}
            }
        }
    }

    /// Answers what nobody will run any more.
    fn refuse(&self) {
        while let Some(piece) = self.next() {
            let error = self.closed.get_or_init(TaskError::shutdown);
            self.fail(piece.ticket, error.clone());
        }
    }

    fn fail(&self, ticket: Ticket, error: TaskError) {
        self.arrivals.push(Arrival {
            ticket,
            first: 0,
            attempt: 1,
            part: Part::Failed(usize::MAX, error),
        });
    }

    /// Why a call that has not started should not start.
    fn obstacle(&self) -> Option<TaskError> {
        let interrupt = self.control.interrupted().map(TaskError::interrupted);
        interrupt.or_else(|| self.launcher.refuses_queued().then(TaskError::shutdown))
    }
}

/// One slot of the pool at work on the line: what the pool runs, and what it answers to.
struct Runner<T: Task> {
    line: Arc<Line<T>>,
    /// The flight whose calls it runs, as [`Ticket::to_bits`].
    current: AtomicU64,
}

impl<T: Task> Runner<T> {
    const IDLE: u64 = u64::MAX;

    /// Runs the calls of `piece` and sends their outcomes home.
    fn run_piece(&self, piece: Piece<T>, context: &Context, start: Instant) -> Instant {
        let Piece {
            ticket,
            first,
            values,
        } = piece;
        self.current.store(ticket.to_bits(), Ordering::Release);
        let outcomes = (first..).zip(values).map(|(number, args)| {
            let own = if T::DEFINITION.wants_context {
                &context.nth(number)
            } else {
                context
            };
            match call_typed::<T>(args, own) {
                Run::Ready(outcome) => outcome,
                Run::Pending(future) => celeriac_executor::drive::block_on(future),
            }
        });
        let outcomes = outcomes.collect();
        let now = Instant::now();
        self.line.arrivals.push(Arrival {
            ticket,
            first: 0,
            attempt: 1,
            part: Part::Values(outcomes, now - start),
        });
        self.current.store(Self::IDLE, Ordering::Release);
        now
    }
}

impl<T: Task> SharedCalls for Runner<T> {
    fn run(&self, context: &Context, until: Option<Instant>) -> bool {
        let mut now = Instant::now();
        while until.is_none_or(|until| now < until) {
            let Some(piece) = self.line.next() else {
                if self.line.runners.leave(|| self.line.queue.is_empty()) {
                    return false;
                }
                continue;
            };
            match self.line.obstacle() {
                Some(error) => self.line.fail(piece.ticket, error),
                None => now = self.run_piece(piece, context, now),
            }
        }
        true
    }
}

impl<T: Task> Reply for Runner<T> {
    /// Outcomes of encoded calls, of which a line has none.
    fn outcomes(&self, _: OutcomeChunk) {}

    /// The pool runs nothing more: what this runner has begun is lost, and what waits too.
    fn failed(&self, error: TaskError) {
        let current = self.current.load(Ordering::Acquire);
        if current != Self::IDLE {
            self.line.fail(Ticket::from_bits(current), error.clone());
        }
        self.line.closed.get_or_init(|| error);
        self.line.runners.close();
        self.line.refuse();
    }
}

impl<T: Task> fmt::Debug for Line<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Line")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}
