//! A task run on many inputs: a stream of outcomes that takes inputs only as it goes.
//!
//! # Invariants
//!
//! - At most a window of calls is under way or waits to be taken, whatever the inputs' number.
//! - Each input gives one outcome: in input order, or as they complete.
//! - Dropping the map cancels what has not started.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use celeriac_core::chunk::ChunkBuilder;
use celeriac_core::task::{call_typed, push_body};
use celeriac_core::{
    Chunk, ContentType, Control, ErrorKind, Interrupt, Invocation, Outcome, OutcomeChunk,
    PayloadError, Reply, Run, Task, TaskError, TaskId, Work,
};
use futures_util::Stream;

use crate::app::App;
use crate::call::random_fraction;
use crate::chunker::{Chunker, MOST_BYTES};
use crate::decode::decode_shared;
use crate::launcher::Launcher;

/// Calls published together when the place is a broker.
const PUBLISHED_TOGETHER: NonZeroUsize = NonZeroUsize::new(256).expect("it is not zero");

/// Where a map takes its inputs from.
pub(crate) enum Inputs<'a, I> {
    Iterator(Box<dyn Iterator<Item = I> + Send + 'a>),
    Stream(Pin<Box<dyn Stream<Item = I> + Send + 'a>>),
    Ended,
}

impl<I> Inputs<'_, I> {
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<I>> {
        let next = match self {
            Self::Iterator(iterator) => Poll::Ready(iterator.next()),
            Self::Stream(stream) => stream.as_mut().poll_next(context),
            Self::Ended => Poll::Ready(None),
        };
        if matches!(next, Poll::Ready(None)) {
            *self = Self::Ended;
        }
        next
    }

    /// How many inputs are left, if that is known.
    fn left(&self) -> Option<usize> {
        match self {
            Self::Iterator(iterator) => iterator.size_hint().1,
            Self::Stream(stream) => stream.size_hint().1,
            Self::Ended => Some(0),
        }
    }
}

/// A task run on many inputs: a stream of outcomes.
///
/// Take them one by one with [`next`](Self::next) or as a [`Stream`], or all with
/// [`collect`](Self::collect). Calls are made only while the map is polled.
///
/// Inputs are taken only as outcomes are: for each slot of the place, four chunks may be under way or
/// wait to be taken, or 2 ms of calls too short to fill them, but of those no more than 48.
pub struct Map<'a, T: Task> {
    inputs: Inputs<'a, T::Input>,
    launcher: Arc<Launcher>,
    /// What calls are encoded in; `None` if they are passed as values.
    encoding: Option<ContentType>,
    /// Whether failed calls are run again from here, rather than by a worker.
    retries: bool,
    body_limit_bytes: usize,
    ordered: bool,
    chunker: Chunker,
    arrivals: Arc<Arrivals<T::Output>>,
    flights: BTreeMap<u64, Flight<T::Output>>,
    next_flight: u64,
    ready: VecDeque<Outcome<T::Output>>,
    /// Calls taken from the inputs whose outcome was not yet taken from here.
    under_way: usize,
}

/// One chunk under way.
struct Flight<V> {
    id: TaskId,
    /// The calls not yet passed on in order; if order does not matter, all of them.
    places: VecDeque<Place<V>>,
    /// How many outcomes were popped.
    passed: usize,
    missing: usize,
    controls: Vec<Arc<Control>>,
    /// The arguments, kept if calls may be run again.
    chunk: Option<Chunk>,
    /// The attempt under way of calls that are run again.
    attempts: HashMap<usize, u32>,
}

/// What is known of one call.
enum Place<V> {
    Missing,
    Here(Outcome<V>),
    /// Its outcome was passed on as it came.
    Passed,
}

/// What came back for one chunk.
struct Arrival<V> {
    flight: u64,
    first: usize,
    attempt: u32,
    part: Part<V>,
}

enum Part<V> {
    Values(Vec<Outcome<V>>, Duration),
    Encoded(OutcomeChunk),
    /// So many calls failed alike.
    Failed(usize, TaskError),
}

/// What came back and was not yet looked at.
struct Arrivals<V>(Mutex<(Vec<Arrival<V>>, Option<Waker>)>);

impl<V> Arrivals<V> {
    fn push(&self, arrival: Arrival<V>) {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0.push(arrival);
        let waker = inner.1.take();
        drop(inner);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Takes what came, or leaves the waker to be called when something comes.
    fn take(&self, context: &Context<'_>) -> Vec<Arrival<V>> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if inner.0.is_empty() {
            inner.1 = Some(context.waker().clone());
        }
        std::mem::take(&mut inner.0)
    }
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
        Self {
            inputs,
            launcher: app.launcher.clone(),
            encoding,
            retries,
            body_limit_bytes: app.body_limit_bytes(),
            ordered,
            chunker,
            arrivals: Arc::new(Arrivals(Mutex::new((Vec::new(), None)))),
            flights: BTreeMap::new(),
            next_flight: 0,
            ready: VecDeque::new(),
            under_way: 0,
        }
    }

    /// Sends `size` calls together, instead of as many as fit their duration. They run one after
    /// another, and inputs are taken as said at [`Map`].
    #[must_use]
    pub fn chunk_size(mut self, size: usize) -> Self {
        self.chunker = Chunker::fixed(NonZeroUsize::new(size).unwrap_or(NonZeroUsize::MIN));
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
        let outcome = self.ready.pop_front()?;
        self.under_way -= 1;
        Some(outcome)
    }

    fn poll_outcome(&mut self, context: &mut Context<'_>) -> Poll<Option<Outcome<T::Output>>> {
        loop {
            if let Some(outcome) = self.take_ready() {
                return Poll::Ready(Some(outcome));
            }
            self.send(context);
            if !self.ready.is_empty() {
                continue;
            }
            let arrivals = self.arrivals.take(context);
            if arrivals.is_empty() {
                let ended = self.flights.is_empty() && matches!(self.inputs, Inputs::Ended);
                return if ended {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            }
            for arrival in arrivals {
                self.accept(arrival);
            }
            // Keep the slots busy before the consumer looks at what came.
            self.send(context);
        }
    }

    /// Sends chunks while the window has room and there are inputs.
    fn send(&mut self, context: &mut Context<'_>) {
        let slots = self.launcher.executor.slots().get();
        let window = slots.saturating_mul(self.chunker.window());
        while self.under_way < window.max(2) {
            let wanted = self.chunker.next(self.inputs.left(), slots);
            if self.send_chunk(wanted, context) < wanted {
                return;
            }
        }
    }

    /// Sends one chunk of at most `wanted` calls, and says how many it took.
    fn send_chunk(&mut self, wanted: usize, context: &mut Context<'_>) -> usize {
        let mut values = Vec::new();
        let mut builder = self.encoding.map(ChunkBuilder::new);
        let mut taken = 0;
        let mut refused = Vec::new();
        while taken < wanted
            && builder
                .as_ref()
                .is_none_or(|chunk| chunk.size_bytes() < MOST_BYTES)
        {
            let Poll::Ready(Some(input)) = self.inputs.poll_next(context) else {
                break;
            };
            let args = T::args(input);
            match &mut builder {
                None => values.push(args),
                Some(chunk) => {
                    if let Err(error) = push_checked(chunk, &args, self.body_limit_bytes) {
                        refused.push((taken, error));
                    }
                }
            }
            taken += 1;
        }
        if taken == 0 {
            return 0;
        }
        self.under_way += taken;
        let flight = self.next_flight;
        self.next_flight += 1;
        let chunk = builder.map(ChunkBuilder::finish);
        let id = TaskId::new();
        self.flights.insert(
            flight,
            Flight {
                id: id.clone(),
                places: (0..taken).map(|_| Place::Missing).collect(),
                passed: 0,
                missing: taken,
                controls: Vec::new(),
                chunk: if self.retries { chunk.clone() } else { None },
                attempts: HashMap::new(),
            },
        );
        if refused.is_empty() {
            let work = match chunk {
                Some(chunk) => Work::Encoded(chunk),
                None => self.local(flight, values),
            };
            self.launch(flight, id, 0, taken, 1, work, Duration::ZERO);
        } else {
            self.send_around(flight, &id, chunk.as_ref(), taken, refused);
        }
        taken
    }

    /// Sends the calls of a chunk some of whose arguments could not be encoded: those get their
    /// error, the others go one by one.
    fn send_around(
        &mut self,
        flight: u64,
        id: &TaskId,
        chunk: Option<&Chunk>,
        taken: usize,
        refused: Vec<(usize, PayloadError)>,
    ) {
        // Retries find their arguments by number, which no longer fits.
        if let Some(flight) = self.flights.get_mut(&flight) {
            flight.chunk = None;
        }
        let mut refused = refused.into_iter().peekable();
        let mut encoded = 0;
        for index in 0..taken {
            if let Some((_, error)) = refused.next_if(|(refused, _)| *refused == index) {
                let reason = format!(
                    "the arguments of `{}` cannot be sent: {error}",
                    T::DEFINITION.name
                );
                let error = TaskError::new(ErrorKind::BadArguments, reason);
                self.arrivals.push(Arrival {
                    flight,
                    first: index,
                    attempt: 1,
                    part: Part::Failed(1, error),
                });
            } else if let Some(chunk) = chunk {
                let work = Work::Encoded(chunk.nth(encoded));
                encoded += 1;
                self.launch(flight, id.nth(index), index, 1, 1, work, Duration::ZERO);
            }
        }
    }

    /// A closure that runs the calls on values, here in this process.
    fn local(&self, flight: u64, values: Vec<T::Args>) -> Work {
        let arrivals = self.arrivals.clone();
        let arrive = move |outcomes, busy| {
            let part = Part::Values(outcomes, busy);
            arrivals.push(Arrival {
                flight,
                first: 0,
                attempt: 1,
                part,
            });
        };
        Work::Local(Box::new(move |context| {
            let start = Instant::now();
            if T::DEFINITION.is_async {
                let context = context.clone();
                return Run::Pending(Box::pin(async move {
                    let mut outcomes = Vec::with_capacity(values.len());
                    for (index, args) in values.into_iter().enumerate() {
                        outcomes.push(match call_typed::<T>(args, &context.nth(index)) {
                            Run::Ready(outcome) => outcome,
                            Run::Pending(future) => future.await,
                        });
                    }
                    arrive(outcomes, start.elapsed());
                }));
            }
            let outcomes = values.into_iter().enumerate().map(|(index, args)| {
                let own = if T::DEFINITION.wants_context {
                    &context.nth(index)
                } else {
                    context
                };
                match call_typed::<T>(args, own) {
                    Run::Ready(outcome) => outcome,
                    Run::Pending(future) => celeriac_executor::drive::block_on(future),
                }
            });
            let outcomes = outcomes.collect();
            arrive(outcomes, start.elapsed());
            Run::Ready(())
        }))
    }

    #[allow(
        clippy::too_many_arguments,
        reason = "they are the parts of an invocation"
    )]
    fn launch(
        &mut self,
        flight: u64,
        id: TaskId,
        first: usize,
        count: usize,
        attempt: u32,
        work: Work,
        delay: Duration,
    ) {
        let control = Control::new();
        if let Some(flight) = self.flights.get_mut(&flight) {
            flight.controls.push(control.clone());
        }
        let reply = Arc::new(FlightReply {
            arrivals: self.arrivals.clone(),
            flight,
            first,
            count,
            attempt,
        });
        let limits = T::DEFINITION.options.limits;
        let invocation = Invocation {
            id,
            task: T::DEFINITION,
            attempt,
            limits,
            control,
            work,
            reply,
        };
        self.launcher.launch(invocation, delay);
    }

    /// Takes what came back for one chunk.
    fn accept(&mut self, arrival: Arrival<T::Output>) {
        let Arrival {
            flight,
            first,
            attempt,
            part,
        } = arrival;
        match part {
            Part::Values(outcomes, busy) => {
                self.chunker.learn(outcomes.len(), busy);
                self.land(flight, first, attempt, outcomes.into_iter());
            }
            Part::Encoded(chunk) => {
                self.chunker.learn(chunk.len(), chunk.busy);
                let outcomes = chunk
                    .iter()
                    .map(|outcome| outcome.and_then(|value| decode_shared::<T>(&chunk, value)));
                self.land(flight, first + chunk.first, attempt, outcomes);
            }
            Part::Failed(count, error) => {
                let outcomes = std::iter::repeat_with(|| Err(error.clone())).take(count);
                self.land(flight, first, attempt, outcomes);
            }
        }
    }

    /// Puts outcomes in their places, runs again what may be, and passes on what can be.
    fn land(
        &mut self,
        number: u64,
        first: usize,
        attempt: u32,
        outcomes: impl Iterator<Item = Outcome<T::Output>>,
    ) {
        let Some(flight) = self.flights.get_mut(&number) else {
            return;
        };
        let mut again = Vec::new();
        for (index, outcome) in (first..).zip(outcomes) {
            let Some(place) = index.checked_sub(flight.passed) else {
                continue;
            };
            let Some(place @ Place::Missing) = flight.places.get_mut(place) else {
                continue;
            };
            if flight
                .attempts
                .get(&index)
                .is_some_and(|&current| current > attempt)
            {
                // An attempt that was given up still spoke.
                continue;
            }
            if let (Err(error), Some(chunk)) = (&outcome, &flight.chunk)
                && let Some(delay) =
                    T::DEFINITION
                        .options
                        .retry
                        .next_attempt(attempt, error, random_fraction())
            {
                flight.attempts.insert(index, attempt + 1);
                again.push((index, chunk.nth(index), delay));
                continue;
            }
            flight.missing -= 1;
            if self.ordered {
                *place = Place::Here(outcome);
            } else {
                *place = Place::Passed;
                self.ready.push_back(outcome);
            }
        }
        let id = flight.id.clone();
        if flight.missing == 0 && !self.ordered {
            self.flights.remove(&number);
        }
        for (index, chunk, delay) in again {
            let work = Work::Encoded(chunk);
            self.launch(number, id.nth(index), index, 1, attempt + 1, work, delay);
        }
        self.pass_in_order();
    }

    /// Moves the outcomes that are next in order to where they are taken from.
    fn pass_in_order(&mut self) {
        if !self.ordered {
            return;
        }
        while let Some(mut first) = self.flights.first_entry() {
            let flight = first.get_mut();
            while let Some(place) = flight.places.pop_front() {
                let Place::Here(outcome) = place else {
                    flight.places.push_front(place);
                    return;
                };
                self.ready.push_back(outcome);
                flight.passed += 1;
            }
            first.remove();
        }
    }
}

/// Appends the body of one call, unless it is over the limit.
fn push_checked<A: serde::Serialize>(
    chunk: &mut ChunkBuilder,
    args: &A,
    limit_bytes: usize,
) -> Result<(), PayloadError> {
    let before = chunk.size_bytes();
    push_body(chunk, args)?;
    let size_bytes = chunk.size_bytes() - before;
    if size_bytes > limit_bytes {
        chunk.pop(before);
        return Err(PayloadError::TooLarge {
            size_bytes,
            limit_bytes,
        });
    }
    Ok(())
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
        for control in self.flights.values().flat_map(|flight| &flight.controls) {
            control.interrupt(Interrupt::Cancelled);
        }
    }
}

impl<T: Task> fmt::Debug for Map<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Map")
            .field("task", &T::DEFINITION.name)
            .field("ordered", &self.ordered)
            .field("under_way", &self.under_way)
            .finish_non_exhaustive()
    }
}

/// Brings the outcomes of one invocation back to its map.
struct FlightReply<V> {
    arrivals: Arc<Arrivals<V>>,
    flight: u64,
    first: usize,
    count: usize,
    attempt: u32,
}

impl<V: Send> Reply for FlightReply<V> {
    fn outcomes(&self, outcomes: OutcomeChunk) {
        self.arrivals.push(Arrival {
            flight: self.flight,
            first: self.first,
            attempt: self.attempt,
            part: Part::Encoded(outcomes),
        });
    }

    fn failed(&self, error: TaskError) {
        self.arrivals.push(Arrival {
            flight: self.flight,
            first: self.first,
            attempt: self.attempt,
            part: Part::Failed(self.count, error),
        });
    }
}
