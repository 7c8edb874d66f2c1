//! A task run on many inputs: a stream of outcomes that takes inputs only as it goes.
//!
//! Plain functions on a pool in this process stand in a [`line`] as values; all other calls go out in
//! invocations of their own ([`sent`]). What comes back waits among the [`arrivals`] until the map is
//! polled, and is put in its place in the [`window`].
//!
//! # Invariants
//!
//! - At most a window of calls is under way or waits to be taken, whatever the inputs' number.
//! - Each input gives one outcome: in input order, or as they complete.
//! - Dropping the map cancels what has not started.

use std::fmt;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use celeriac_core::{ContentType, Outcome, Task, TaskError, TaskId};
use futures_util::Stream;

use crate::app::App;
use crate::call::random_fraction;
use crate::chunker::Chunker;
use crate::decode::decode_shared;
use crate::launcher::Launcher;

mod arrivals;
mod inputs;
mod line;
mod runners;
mod sent;
mod sync;
mod window;

pub(crate) use inputs::Inputs;

use arrivals::{Arrival, Arrivals, Part};
use line::{Line, Values};
use window::{Ticket, Window};

/// Calls published together when the place is a broker.
const PUBLISHED_TOGETHER: NonZeroUsize = NonZeroUsize::new(256).expect("it is not zero");

/// A task run on many inputs: a stream of outcomes.
///
/// Take them one by one with [`next`](Self::next) or as a [`Stream`], or all with
/// [`collect`](Self::collect). Calls are made only while the map is polled.
///
/// Inputs are taken only as outcomes are: for each slot of the place, four chunks may be under way or
/// wait to be taken, or 2 ms of calls too short to fill them, but of those no more than 256.
pub struct Map<'a, T: Task> {
    inputs: Inputs<'a, T::Input>,
    launcher: Arc<Launcher>,
    way: Way<T>,
    /// The id of the first call; the others count on from it.
    id: TaskId,
    /// How many inputs were taken.
    taken: usize,
    body_limit_bytes: usize,
    chunker: Chunker,
    window: Window<T::Output>,
    arrivals: Arc<Arrivals<T::Output>>,
    /// Memory for the arrivals that are looked at.
    arrived: Vec<Arrival<T::Output>>,
}

/// How calls get to where they run.
enum Way<T: Task> {
    /// As values, through the line.
    Line(Arc<Line<T>>),
    /// As a value, each by itself.
    Alone,
    /// Encoded, and kept if failed calls are run again from here, rather than by a worker.
    Encoded {
        content_type: ContentType,
        keep_for_retry: bool,
    },
}

impl<'a, T: Task> Map<'a, T> {
    pub(crate) fn new(app: &App, inputs: Inputs<'a, T::Input>, ordered: bool) -> Self {
        let options = &T::DEFINITION.options;
        let executor = &app.launcher.executor;
        let retries = options.retry.retries > 0 && !app.is_broker();
        let encoding = executor
            .content_type()
            .or_else(|| retries.then_some(ContentType::Msgpack));
        // Limits hold for an invocation as a whole, and coroutines of one chunk run one by one.
        let alone = executor.content_type().is_none() && options.limits.any()
            || T::DEFINITION.is_async
            || options.rate_limit.is_some();
        let chunker = match (app.is_broker(), alone) {
            (true, _) => Chunker::fixed(PUBLISHED_TOGETHER),
            (_, true) => Chunker::fixed(NonZeroUsize::MIN),
            _ => Chunker::automatic(),
        };
        let arrivals = Arc::new(Arrivals::new());
        let id = TaskId::new();
        let way = match (encoding, alone) {
            (Some(content_type), _) => Way::Encoded {
                content_type,
                keep_for_retry: retries,
            },
            (None, true) => Way::Alone,
            (None, false) => Way::Line(Line::new(
                id.clone(),
                app.launcher.clone(),
                arrivals.clone(),
            )),
        };
        Self {
            inputs,
            launcher: app.launcher.clone(),
            way,
            id,
            taken: 0,
            body_limit_bytes: app.body_limit_bytes(),
            chunker,
            window: Window::new(ordered),
            arrivals,
            arrived: Vec::new(),
        }
    }

    /// Sends `size` calls together, instead of as many as fit their duration. They run one after
    /// another, and inputs are taken as said at [`Map`].
    ///
    /// Calls that go alone in any case, because their task is `async` or has a time or rate limit in
    /// a place that runs them in this process, do so still.
    #[must_use]
    pub fn chunk_size(mut self, size: usize) -> Self {
        if !matches!(self.way, Way::Alone) {
            self.chunker = Chunker::fixed(NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN));
        }
        self
    }

    /// Waits for the next outcome; `None` after the last. Cancel safe.
    pub async fn next(&mut self) -> Option<Outcome<T::Output>> {
        std::future::poll_fn(|context| self.poll_outcome(context)).await
    }

    /// Waits for all outcomes and collects the values.
    ///
    /// # Errors
    ///
    /// The first error; what has not started is then cancelled.
    pub async fn collect<C: Default + Extend<T::Output>>(mut self) -> Result<C, TaskError> {
        let mut values = C::default();
        while let Some(outcome) = self.next().await {
            values.extend([outcome?]);
        }
        Ok(values)
    }

    /// An outcome that is here already.
    pub(crate) fn take_ready(&mut self) -> Option<Outcome<T::Output>> {
        self.window.take_ready()
    }

    fn poll_outcome(&mut self, context: &mut Context<'_>) -> Poll<Option<Outcome<T::Output>>> {
        loop {
            if let Some(outcome) = self.take_ready() {
                return Poll::Ready(Some(outcome));
            }
            self.send(context);
            if self.window.is_ready() {
                continue;
            }
            let mut arrived = std::mem::take(&mut self.arrived);
            self.arrivals.take(&mut arrived, context);
            if arrived.is_empty() {
                self.arrived = arrived;
                let ended = self.window.has_landed() && self.inputs.have_ended();
                return if ended {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            }
            for arrival in arrived.drain(..) {
                self.accept(arrival);
            }
            self.arrived = arrived;
            // Keep the slots busy before the consumer looks at what came.
            self.send(context);
        }
    }

    /// Sends chunks while the window has room and there are inputs.
    fn send(&mut self, context: &mut Context<'_>) {
        let slots = self.launcher.executor.slots().get();
        let window = slots.saturating_mul(self.chunker.window()).max(2);
        while self.window.under_way() < window {
            let wanted = self.chunker.next(self.inputs.left(), slots);
            let sent = match &self.way {
                Way::Encoded {
                    content_type,
                    keep_for_retry,
                } => self.send_encoded(*content_type, *keep_for_retry, wanted, context),
                Way::Line(line) => {
                    let line = line.clone();
                    self.send_in_line(&line, wanted, context)
                }
                Way::Alone => self.send_alone(context),
            };
            if sent < wanted {
                return;
            }
        }
    }

    /// Takes at most `wanted` inputs and puts them in the line, and says how many there were.
    fn send_in_line(
        &mut self,
        line: &Arc<Line<T>>,
        wanted: usize,
        context: &mut Context<'_>,
    ) -> usize {
        let mut values = Values::<T>::new();
        while values.len() < wanted
            && let Poll::Ready(Some(input)) = self.inputs.poll_next(context)
        {
            values.push(T::args(input));
        }
        let count = values.len();
        if count > 0 {
            let ticket = self.window.open(count, None);
            let first = self.count(count);
            line.push(ticket, first, values);
        }
        count
    }

    /// Counts inputs that were taken, and says how many were taken before.
    fn count(&mut self, taken: usize) -> usize {
        let first = self.taken;
        self.taken = first.wrapping_add(taken);
        first
    }

    /// Takes what came back for one flight.
    fn accept(&mut self, arrival: Arrival<T::Output>) {
        let Arrival {
            ticket,
            first,
            attempt,
            part,
        } = arrival;
        match part {
            Part::Values(outcomes, busy) => {
                self.chunker.learn(outcomes.len(), busy);
                self.land(ticket, first, attempt, outcomes.into_iter());
            }
            Part::Encoded(chunk) => {
                self.chunker.learn(chunk.len(), chunk.busy);
                let outcomes = chunk.iter().map(|outcome| {
                    outcome.and_then(|value| decode_shared::<T::Output>(&chunk, value))
                });
                self.land(ticket, first + chunk.first, attempt, outcomes);
            }
            Part::Failed(count, error) => {
                let outcomes = std::iter::repeat_with(|| Err(error.clone())).take(count);
                self.land(ticket, first, attempt, outcomes);
            }
        }
    }

    /// Puts outcomes in their places and runs again what may be.
    fn land(
        &mut self,
        ticket: Ticket,
        first: usize,
        attempt: u32,
        outcomes: impl Iterator<Item = Outcome<T::Output>>,
    ) {
        let retry = |error: &TaskError| {
            let policy = &T::DEFINITION.options.retry;
            policy.next_attempt(attempt, error, random_fraction())
        };
        for again in self.window.land(ticket, first, attempt, outcomes, retry) {
            self.send_again(ticket, &again);
        }
    }
}

impl<T: Task> Stream for Map<'_, T> {
    type Item = Outcome<T::Output>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_outcome(context)
    }
}

impl<T: Task> Unpin for Map<'_, T> {}

impl<T: Task> Drop for Map<'_, T> {
    fn drop(&mut self) {
        if let Way::Line(line) = &self.way {
            line.cancel();
        }
        self.window.cancel();
    }
}

impl<T: Task> fmt::Debug for Map<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Map")
            .field("task", &T::DEFINITION.name)
            .field("under_way", &self.window.under_way())
            .finish_non_exhaustive()
    }
}
