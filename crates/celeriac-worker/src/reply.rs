//! Brings an executor's answers to the dispatcher.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use celeriac_core::chunk::OutcomeChunk;
use celeriac_core::{
    Conclusion, Delivery, EncodedResult, Outcome, Payload, Progress, Reply, Scope, TaskError,
};
use tokio::sync::mpsc::UnboundedSender;

use crate::dispatcher::Question;
use crate::tracer::{Span, Tracer};

/// Where events are sent.
pub(crate) type Events = UnboundedSender<Event>;

/// What an executor or a task said of one delivery.
///
/// For each delivery there is at most one of each on its way, but for results that its task stores
/// itself, so the channel holds no more than a few times what the worker holds.
pub(crate) enum Event {
    /// It is about to run.
    Started(i64),
    /// It said how far it is; the slot has the newest.
    Progressed(i64),
    /// It has ended, after so long if it ran.
    Ended(i64, Outcome<Payload>, Option<Duration>),
    /// Its runtime said how it ended.
    Concluded(i64, Box<Conclusion>),
    /// Its runtime wants this stored.
    Stored(Box<EncodedResult>),
    /// An operator asks something.
    Asked(Question),
}

/// The [`Reply`] of one delivery.
pub(crate) struct DeliveryReply {
    tag: i64,
    /// Whether anybody wants to know that it started.
    tell_start: bool,
    start: Start,
    trace: Option<Trace>,
    answered: AtomicBool,
    events: Events,
}

/// Where the span of one delivery is begun, and kept.
struct Trace {
    tracer: Arc<dyn Tracer>,
    delivery: Arc<Delivery>,
    slot: SpanSlot,
}

impl DeliveryReply {
    pub(crate) fn new(tag: i64, tell_start: bool, start: Start, events: Events) -> Self {
        Self {
            tag,
            tell_start,
            start,
            trace: None,
            answered: AtomicBool::new(false),
            events,
        }
    }

    /// Has a span begun in `slot` when the delivery begins to run.
    #[must_use]
    pub(crate) fn traced(
        mut self,
        tracer: Arc<dyn Tracer>,
        delivery: Arc<Delivery>,
        slot: SpanSlot,
    ) -> Self {
        self.trace = Some(Trace {
            tracer,
            delivery,
            slot,
        });
        self
    }

    fn end(&self, outcome: Outcome<Payload>, busy: Option<Duration>) {
        if self.is_first_answer() {
            // A closed channel means that the worker is gone and has given everything back.
            let _ = self.events.send(Event::Ended(self.tag, outcome, busy));
        }
    }

    fn is_first_answer(&self) -> bool {
        !self.answered.swap(true, Ordering::AcqRel)
    }
}

impl Reply for DeliveryReply {
    fn started(&self) {
        self.start.mark();
        if let Some(trace) = &self.trace {
            trace
                .slot
                .0
                .get_or_init(|| trace.tracer.begin(&trace.delivery));
        }
        if self.tell_start {
            let _ = self.events.send(Event::Started(self.tag));
        }
    }

    fn scope(&self) -> Option<Arc<dyn Scope>> {
        let span = self.trace.as_ref()?.slot.get()?;
        Some(span)
    }

    fn outcomes(&self, outcomes: OutcomeChunk) {
        if let Some(outcome) = outcomes.payloads().next() {
            self.end(outcome, Some(outcomes.busy));
        }
    }

    fn failed(&self, error: TaskError) {
        self.end(Err(error), None);
    }

    fn concluded(&self, conclusion: Conclusion) {
        if self.is_first_answer() {
            let event = Event::Concluded(self.tag, Box::new(conclusion));
            let _ = self.events.send(event);
        }
    }

    fn stored(&self, result: EncodedResult) {
        let _ = self.events.send(Event::Stored(Box::new(result)));
    }
}

impl Drop for DeliveryReply {
    /// An executor that drops an invocation unanswered has lost it.
    fn drop(&mut self) {
        self.end(Err(TaskError::lost("the executor dropped it")), None);
    }
}

/// When one delivery began to run, in Unix time in microseconds; 0 before.
#[derive(Debug, Clone, Default)]
pub(crate) struct Start(Arc<AtomicU64>);

impl Start {
    fn mark(&self) {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let micros = since.map_or(1, |since| u64::try_from(since.as_micros()).unwrap_or(1));
        self.0.store(micros, Ordering::Relaxed);
    }

    /// In Unix time in seconds; nothing if it has not begun.
    pub(crate) fn at_s(&self) -> Option<f64> {
        let at = self.at_us();
        at.map(|micros| Duration::from_micros(micros).as_secs_f64())
    }

    /// The same in microseconds.
    pub(crate) fn at_us(&self) -> Option<u64> {
        let micros = self.0.load(Ordering::Relaxed);
        (micros > 0).then_some(micros)
    }
}

/// The span of one delivery, once it has begun to run.
#[derive(Clone, Default)]
pub(crate) struct SpanSlot(Arc<OnceLock<Arc<dyn Span>>>);

impl SpanSlot {
    pub(crate) fn get(&self) -> Option<Arc<dyn Span>> {
        self.0.get().cloned()
    }
}

impl fmt::Debug for SpanSlot {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_begun = self.0.get().is_some();
        formatter.debug_tuple("SpanSlot").field(&has_begun).finish()
    }
}

/// The newest progress of one delivery that nobody has stored yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct ProgressSlot(Arc<Mutex<Option<Progress>>>);

impl ProgressSlot {
    /// Keeps `progress`, and says whether the slot was empty.
    pub(crate) fn put(&self, progress: &Progress) -> bool {
        let mut slot = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        slot.replace(progress.clone()).is_none()
    }

    pub(crate) fn take(&self) -> Option<Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
