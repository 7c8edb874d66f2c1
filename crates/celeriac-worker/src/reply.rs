//! Brings an executor's answers to the dispatcher.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use celeriac_core::chunk::OutcomeChunk;
use celeriac_core::{Conclusion, EncodedResult, Outcome, Payload, Progress, Reply, TaskError};
use tokio::sync::mpsc::UnboundedSender;

/// What an executor or a task said of one delivery.
///
/// For each delivery there is at most one of each on its way, but for results that its task stores
/// itself, so the channel holds no more than a few times what the worker holds.
#[derive(Debug)]
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
}

/// The [`Reply`] of one delivery.
pub(crate) struct DeliveryReply {
    tag: i64,
    /// Whether anybody wants to know that it started.
    tell_start: bool,
    answered: AtomicBool,
    events: UnboundedSender<Event>,
}

impl DeliveryReply {
    pub(crate) fn new(tag: i64, tell_start: bool, events: UnboundedSender<Event>) -> Self {
        Self {
            tag,
            tell_start,
            answered: AtomicBool::new(false),
            events,
        }
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
        if self.tell_start {
            let _ = self.events.send(Event::Started(self.tag));
        }
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
