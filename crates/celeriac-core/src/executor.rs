//! The port of what runs invocations: threads, coroutines, child processes.

use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::BoxFuture;
use crate::broker::Delivery;
use crate::chunk::{Chunk, OutcomeChunk};
use crate::context::{Context, Control};
use crate::id::TaskId;
use crate::outcome::TaskError;
use crate::payload::ContentType;
use crate::runtime::{Conclusion, EncodedResult};
use crate::task::{Run, TaskDefinition};

/// How long one attempt of one call may run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// After this long its context is interrupted.
    pub soft: Option<Duration>,
    /// After this long its outcome is a time-out, and what runs it is killed where that is
    /// possible.
    pub hard: Option<Duration>,
}

impl Limits {
    /// No limits.
    pub const NONE: Self = Self {
        soft: None,
        hard: None,
    };

    /// Whether there is any.
    pub fn any(self) -> bool {
        self.soft.is_some() || self.hard.is_some()
    }

    /// How long the task has in its own eyes: until the soft limit, or else the hard one.
    pub fn first(self) -> Option<Duration> {
        self.soft.or(self.hard)
    }
}

/// A call whose arguments and result stay in this process.
///
/// It runs the call, or several, and hands the outcomes over itself. For an `async` task it returns
/// the future that will.
pub type LocalCall = Box<dyn FnOnce(&Context) -> Run<()> + Send>;

/// What an invocation runs.
pub enum Work {
    /// A closure over typed values; only for executors in this process.
    Local(LocalCall),
    /// Calls shared with other invocations, over values; only for executors in this process.
    Shared(Arc<dyn SharedCalls>),
    /// Encoded calls; every executor takes them but a [`Runtime`](crate::Runtime).
    Encoded(Chunk),
    /// A message as it was delivered; only for a [`Runtime`](crate::Runtime).
    Message(Arc<Delivery>),
}

/// Calls of a plain function that several invocations share: each takes the next until none is left.
///
/// They hand their outcomes over themselves.
pub trait SharedCalls: Send + Sync {
    /// Runs calls on this thread until none is left or it is `until`, looked at between calls.
    ///
    /// Returns `false` if none was left: the invocation is then over. If some may be left, it must
    /// be called again, or the invocation's reply told that it failed.
    fn run(&self, context: &Context, until: Option<Instant>) -> bool;
}

impl fmt::Debug for Work {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(_) => formatter.write_str("Local"),
            Self::Shared(_) => formatter.write_str("Shared"),
            Self::Encoded(chunk) => chunk.fmt(formatter),
            Self::Message(delivery) => write!(formatter, "Message({})", delivery.tag),
        }
    }
}

/// What a run stands in wherever it goes on, such as the trace that it belongs to.
pub trait Scope: Send + Sync {
    /// Runs `step`, which is all of a call or one poll of it, within.
    fn within(&self, step: &mut dyn FnMut());
}

/// Takes the outcomes of one invocation.
///
/// Each call is answered once; what comes for a call that has its outcome is dropped. Methods may
/// be called from any thread and must not block.
pub trait Reply: Send + Sync {
    /// The first call is about to run, or has been handed to the child that will run it next.
    fn started(&self) {}

    /// What the calls are to run in, once they have [`started`](Self::started), if they run in this process.
    fn scope(&self) -> Option<Arc<dyn Scope>> {
        None
    }

    /// Outcomes of encoded calls.
    fn outcomes(&self, outcomes: OutcomeChunk);

    /// The outcome of every call that has none yet.
    fn failed(&self, error: TaskError);

    /// What a [`Runtime`](crate::Runtime) says of its call, in the place of an outcome.
    fn concluded(&self, _: Conclusion) {}

    /// A result that a [`Runtime`](crate::Runtime) wants stored while its call goes on.
    fn stored(&self, _: EncodedResult) {}
}

/// One call to run, or several of the same task sent together.
pub struct Invocation {
    /// The id of the first call; the others count on from it by [`TaskId::nth`].
    pub id: TaskId,
    /// The task.
    pub task: &'static TaskDefinition,
    /// Which attempt this is, counted from 1.
    pub attempt: u32,
    /// The time limits of each call.
    pub limits: Limits,
    /// The line to whoever waits.
    pub control: Arc<Control>,
    /// What to run.
    pub work: Work,
    /// Where the outcomes go.
    pub reply: Arc<dyn Reply>,
}

impl fmt::Debug for Invocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Invocation")
            .field("id", &self.id)
            .field("task", &self.task.name)
            .field("attempt", &self.attempt)
            .field("work", &self.work)
            .finish_non_exhaustive()
    }
}

/// Between which bounds the size of a pool follows the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The fewest.
    pub fewest: NonZeroUsize,
    /// The most.
    pub most: NonZeroUsize,
}

impl Bounds {
    /// These with what is given changed: at least one, and no more than the most.
    ///
    /// ```
    /// # use std::num::NonZeroUsize;
    /// # use celeriac_core::executor::Bounds;
    /// let bounds = |fewest, most| Bounds {
    ///     fewest: NonZeroUsize::new(fewest).unwrap(),
    ///     most: NonZeroUsize::new(most).unwrap(),
    /// };
    /// assert_eq!(bounds(2, 8).changed(None, NonZeroUsize::new(4)), bounds(2, 4));
    /// assert_eq!(bounds(2, 8).changed(None, NonZeroUsize::new(1)), bounds(1, 1));
    /// assert_eq!(bounds(2, 8).changed(Some(0), None), bounds(1, 8));
    /// assert_eq!(bounds(2, 8).changed(Some(9), None), bounds(9, 9));
    /// ```
    #[must_use]
    pub fn changed(self, fewest: Option<usize>, most: Option<NonZeroUsize>) -> Self {
        let given = fewest.map(|it| NonZeroUsize::new(it).unwrap_or(NonZeroUsize::MIN));
        let fewest = given.unwrap_or(self.fewest);
        match most {
            Some(most) => Self {
                fewest: fewest.min(most),
                most,
            },
            None => Self {
                fewest,
                most: self.most.max(fewest),
            },
        }
    }
}

/// How a pool or worker is shut down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ShutdownMode {
    /// What was submitted runs to its end.
    Wait,
    /// What has not started is answered with a [`Shutdown`](crate::ErrorKind::Shutdown) error;
    /// what runs finishes.
    CancelQueued,
    /// What runs is ended too, as far as the place can.
    Kill,
}

/// Runs invocations.
///
/// Every invocation ends in an outcome for each of its calls: a panic, a time-out and a lost child
/// are outcomes too. Invocations start in the order they were submitted; they may end in any.
pub trait Executor: fmt::Debug + Send + Sync {
    /// How many calls run at once.
    fn slots(&self) -> NonZeroUsize;

    /// What arguments must be encoded in, or `None` if [`Work::Local`] and [`Work::Shared`] are
    /// taken too.
    fn content_type(&self) -> Option<ContentType>;

    /// Queues `invocation`. Never blocks, unless [`blocks`](Self::blocks) says so, and never fails: after a shutdown the outcome is a
    /// [`Shutdown`](crate::ErrorKind::Shutdown) error.
    ///
    /// The queue has no bound of its own; whoever submits keeps count of what is under way.
    fn submit(&self, invocation: Invocation);

    /// Whether [`submit`](Self::submit) runs the call itself, and blocks until it is over.
    fn blocks(&self) -> bool {
        false
    }

    /// Has so many calls run at once from now on, and says whether it can do that. What runs goes on.
    fn resize(&self, _slots: NonZeroUsize) -> bool {
        false
    }

    /// Changes between which bounds the number of calls at once follows the work, and says which they are
    /// now; nothing where it does not follow the work. A bound that is not given stays, unless the other
    /// one passes it. What runs goes on.
    fn autoscale(&self, _fewest: Option<usize>, _most: Option<NonZeroUsize>) -> Option<Bounds> {
        None
    }

    /// Has new children in the place of those there are, each of which ends after what it runs; says
    /// whether there are children that can be replaced.
    fn renew(&self) -> bool {
        false
    }

    /// Whether nothing that is submitted can begin at the moment, whoever waits: as of a pool in which no
    /// child can start. The executor has told why.
    fn is_hindered(&self) -> bool {
        false
    }

    /// Takes nothing more, and resolves when nothing runs and every thread and child is gone.
    ///
    /// A second call with a harder mode overtakes the first.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future does not stop the shutdown.
    fn shutdown(&self, mode: ShutdownMode) -> BoxFuture<'_, ()>;
}
