//! Calls whose tasks belong to another program's runtime.
//!
//! The runtime says what its calls leave behind, to the letter; here it is stored, and the delivery
//! settled as Celery's rules say. An end that no task came to, such as a revocation or a lost child, is
//! told by the runtime too, because only it knows the words and who else wants to hear of it. If it
//! cannot, we tell it in words of our own.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{
    Aftermath, Brief, CeleryAcks, Conclusion, Delivery, End, ErrorKind, Runtime, Standing,
    TaskError, TaskId, TaskOptions, Verdict,
};
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Dispatcher;
use super::outcomes::plain;
use crate::held::{Stage, call_of};
use crate::metrics::{Count, Series};
use crate::observer::{Finish, Reason};
use crate::reply::{DeliveryReply, Start};
use crate::report::count;
use crate::tracer::SpanEnd;

/// The runtime, and the calls of which it is telling the end.
#[derive(Debug)]
pub(super) struct Desk {
    runtime: Arc<dyn Runtime>,
    telling: HashMap<i64, Telling>,
}

/// A call of which the runtime is telling the end.
#[derive(Debug)]
struct Telling {
    delivery: Arc<Delivery>,
    error: TaskError,
    /// How the delivery is settled then.
    verdict: Verdict,
    /// Whether it was acknowledged when it started, so that there is nothing to settle.
    acked: bool,
    /// Whether it had begun to run.
    ran: bool,
    /// Where it is counted.
    series: Series,
}

impl Desk {
    pub(super) fn new(runtime: Arc<dyn Runtime>) -> Self {
        Self {
            runtime,
            telling: HashMap::new(),
        }
    }

    /// How many ends are being told.
    pub(super) fn len(&self) -> usize {
        self.telling.len()
    }

    /// Ends a call by a signal.
    pub(super) fn terminate(&self, id: &TaskId, signal: i32) {
        self.runtime.terminate(id, signal);
    }

    /// Tells that a delivery may run.
    pub(super) fn received(&self, delivery: &Arc<Delivery>) {
        self.runtime.received(delivery);
    }

    /// Takes note that a delivery came again whose end is being told, if it is one.
    pub(super) fn come_back(&mut self, delivery: &Arc<Delivery>) -> bool {
        let telling = self.telling.get_mut(&delivery.tag);
        telling.is_some_and(|telling| {
            telling.delivery = delivery.clone();
            telling.acked = false;
            true
        })
    }
}

impl Dispatcher {
    /// The runtime said how a call ended: one that it ran, or one whose end it was asked to tell.
    pub(super) fn on_concluded(&mut self, tag: i64, conclusion: Conclusion) {
        self.idle_since = Instant::now();
        if let Some(telling) = self.telling(tag) {
            return self.on_told(telling, conclusion);
        }
        let Some(held) = self.held.remove(&tag) else {
            return;
        };
        self.count_begun(&held);
        self.meter.ended(&held, conclusion.busy);
        if let Some(busy) = conclusion.busy {
            self.credit.measure(busy);
        }
        if held.stage == Stage::Disowned {
            return;
        }
        self.spans.extend(held.span.get().map(|span| (tag, span)));
        let acks = CeleryAcks::from(held.task.options.ack);
        let unsettled = (!held.acked).then_some(tag);
        let standing = self.standing(&held.delivery, held.acked);
        let told = conclusion.told.text.as_deref();
        match acks.after_end(conclusion.end, told, standing, Timestamp::now()) {
            Aftermath::Settle(verdict) => {
                self.tell_conclusion(held.series, &held.delivery, &conclusion);
                self.settler.store_encoded(conclusion.results, unsettled);
                self.settle(held.delivery.tag, held.acked, verdict);
            }
            Aftermath::Conclude(error, verdict) => {
                self.settler.store_encoded(conclusion.results, unsettled);
                let (series, acked) = (held.series, held.acked);
                self.have_told(series, &held.delivery, error, verdict, acked, true);
            }
        }
    }

    /// A call ended without a word of the runtime, or was not to start at all.
    pub(super) fn on_error(
        &mut self,
        series: Series,
        delivery: &Arc<Delivery>,
        error: &TaskError,
        acked: bool,
        ran: bool,
    ) {
        let task = self.registry.get(&delivery.message.headers.task).ok();
        let options = task.map_or(&TaskOptions::DEFAULT, |task| &task.options);
        let acks = CeleryAcks::from(options.ack);
        let standing = self.standing(delivery, acked);
        match acks.after_error(error.clone(), standing, Timestamp::now()) {
            Aftermath::Settle(verdict) => {
                self.tell(series, delivery, Some(error), &verdict, false, None);
                self.settle(delivery.tag, acked, verdict);
            }
            Aftermath::Conclude(error, verdict) => {
                self.have_told(series, delivery, error, verdict, acked, ran);
            }
        }
    }

    /// The runtime cannot tell the end of a call.
    pub(super) fn on_untold(&mut self, tag: i64, why: &TaskError) -> bool {
        let Some(telling) = self.telling(tag) else {
            return false;
        };
        if why.kind() == ErrorKind::Shutdown && !telling.acked {
            // Another worker will.
            self.give_back(&telling.delivery, None);
        } else {
            self.tell_in_own_words(telling);
        }
        true
    }

    /// The last moment of a worker: what was acknowledged gets the end that its sender waits for, and
    /// the rest is given back when the consumer is closed.
    pub(super) fn end_telling(&mut self) -> usize {
        let Some(desk) = &mut self.desk else { return 0 };
        let left = std::mem::take(&mut desk.telling).into_values();
        let (acked, given_back): (Vec<_>, Vec<_>) = left.partition(|telling| telling.acked);
        for telling in acked {
            self.tell_in_own_words(telling);
        }
        given_back.len()
    }

    fn standing<'a>(&self, delivery: &'a Delivery, acked: bool) -> Standing<'a> {
        Standing {
            delivery,
            acked,
            delivery_limit: self.settings.delivery_limit,
        }
    }

    fn telling(&mut self, tag: i64) -> Option<Telling> {
        self.desk.as_mut()?.telling.remove(&tag)
    }

    fn have_told(
        &mut self,
        series: Series,
        delivery: &Arc<Delivery>,
        error: TaskError,
        verdict: Verdict,
        acked: bool,
        ran: bool,
    ) {
        let Some(desk) = &mut self.desk else { return };
        let reply = DeliveryReply::new(delivery.tag, false, Start::default(), self.events.clone());
        let telling = Telling {
            delivery: delivery.clone(),
            error: error.clone(),
            verdict,
            acked,
            ran,
            series,
        };
        let comes_again = matches!(telling.verdict, Verdict::Requeue { .. });
        desk.telling.insert(delivery.tag, telling);
        desk.runtime
            .conclude(delivery.clone(), error, comes_again, Arc::new(reply));
    }

    fn on_told(&mut self, telling: Telling, conclusion: Conclusion) {
        let (series, delivery) = (telling.series, &telling.delivery);
        let verdict = if matches!(conclusion.end, End::Succeeded | End::Retried) {
            // It had ended before its child was lost, or was sent again because of that.
            self.tell_conclusion(series, delivery, &conclusion);
            Verdict::Ack
        } else {
            if let Some(observer) = &self.observer {
                observer.concluded(call_of(delivery), &conclusion);
            }
            let error = Some(&telling.error);
            self.tell(series, delivery, error, &telling.verdict, false, None);
            if !matches!(telling.verdict, Verdict::Requeue { .. }) {
                let (error, told) = (&telling.error, &conclusion.told);
                self.news.ended(delivery, error, told, telling.ran);
            }
            telling.verdict
        };
        let unsettled = (!telling.acked).then_some(delivery.tag);
        self.settler.store_encoded(conclusion.results, unsettled);
        self.settle(delivery.tag, telling.acked, verdict);
    }

    fn tell_in_own_words(&mut self, telling: Telling) {
        let (series, delivery) = (telling.series, &telling.delivery);
        let (id, error) = (&delivery.message.headers.id, &telling.error);
        warn!(task.id = %Brief(id), error = %Brief(error), "the runtime cannot tell how this task ended");
        if matches!(telling.verdict, Verdict::Requeue { .. }) {
            self.tell(series, delivery, Some(error), &telling.verdict, false, None);
            return self.settle(delivery.tag, telling.acked, telling.verdict);
        }
        // No limit is left, so this is its end.
        let least = NonZeroU32::MIN;
        let decided = self.decide(series, delivery, Err(telling.error), least, None);
        if let Some(result) = decided.result {
            self.settler.store(result);
        }
        self.settler.publish(decided.follow_ups);
        self.settle(delivery.tag, telling.acked, telling.verdict);
    }

    fn settle(&mut self, tag: i64, acked: bool, verdict: Verdict) {
        if !acked {
            self.settler.settle(plain(tag, verdict));
        }
    }

    /// Counts, logs and tells the observer what the runtime said of a call that it ran.
    fn tell_conclusion(&mut self, series: Series, delivery: &Delivery, conclusion: &Conclusion) {
        let call = call_of(delivery);
        let counters = &self.counters;
        let failed = Finish::Failed(ErrorKind::Failed);
        let (how, counter, counted) = match conclusion.end {
            End::Succeeded | End::Ignored => {
                (Finish::Succeeded, &counters.succeeded, Count::Succeeded)
            }
            End::Failed => (failed, &counters.failed, Count::Failed),
            End::Retried => (failed, &counters.retried, Count::Retried),
            End::Rejected { requeue: false } => (Finish::Rejected, &counters.failed, Count::Failed),
            End::Rejected { requeue: true } => {
                (Finish::GivenBack, &counters.given_back, Count::GivenBack)
            }
        };
        count(counter);
        self.meter.count(series, counted);
        if let Some(span) = self.spans.remove(&delivery.tag) {
            span.end(span_end(conclusion), conclusion.busy);
        }
        self.news.concluded(delivery, conclusion);
        let runtime: Option<Duration> = conclusion.busy;
        debug!(
            task.id = %Brief(call.id),
            task.name = %Brief(call.task),
            ?runtime,
            end = ?conclusion.end,
            "task ended"
        );
        let Some(observer) = &self.observer else {
            return;
        };
        observer.concluded(call, conclusion);
        if conclusion.end == End::Retried {
            observer.retried(call, ErrorKind::Failed);
        } else {
            if matches!(how, Finish::Failed(_) | Finish::Rejected) {
                observer.failed(call, (&conclusion.told).into());
            }
            observer.finished(call, how, runtime);
        }
    }
}

/// What a trace is told of a run.
fn span_end(conclusion: &Conclusion) -> SpanEnd<'_> {
    let reason = Reason::from(&conclusion.told);
    match conclusion.end {
        End::Succeeded | End::Ignored => SpanEnd::Succeeded,
        End::Failed | End::Rejected { requeue: false } => SpanEnd::Failed(reason),
        End::Retried => SpanEnd::Retried(reason),
        End::Rejected { requeue: true } => SpanEnd::GivenBack(reason),
    }
}
