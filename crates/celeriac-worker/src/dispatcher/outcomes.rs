//! Outcomes on their way out: decided, counted, handed to the settler.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::canvas::Replacement;
use celeriac_core::chord::KEEP_CHORD;
use celeriac_core::decide::{final_state, interim};
use celeriac_core::message::later;
use celeriac_core::payload::DEFAULT_BODY_LIMIT_BYTES;
use celeriac_core::{
    Brief, DeadReason, Delivery, ErrorKind, Outcome, Payload, ResultState, Settlement,
    StoredResult, TaskError, TaskOptions, Trail, Verdict, decide,
};
use celeriac_wire::canvas;
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::Dispatcher;
use crate::backoff::random;
use crate::held::{Held, Stage, call_of};
use crate::metrics::{Count, Series};
use crate::observer::{Finish, Reason};
use crate::reply::Event;
use crate::report::{add, count};
use crate::settle::Carried;
use crate::shutdown::Shutdown;
use crate::tracer::{Span, SpanEnd};

/// Progress reports are stored no more often than this.
const PROGRESS: Duration = Duration::from_millis(100);

impl Dispatcher {
    pub(super) fn on_event(&mut self, event: Event) {
        match event {
            Event::Started(tag) => self.on_started(tag),
            Event::Progressed(tag) => {
                self.progressed.push(tag);
                self.store_progress_at
                    .get_or_insert_with(|| Instant::now() + PROGRESS);
            }
            Event::Ended(tag, outcome, busy) => self.on_ended(tag, outcome, busy),
            Event::Concluded(tag, conclusion) => self.on_concluded(tag, *conclusion),
            Event::Stored(result) => self.settler.store_encoded([*result], None),
            Event::Asked(question) => question(self),
        }
    }

    pub(super) fn on_started(&mut self, tag: i64) {
        let Some(held) = self.held.get_mut(&tag) else {
            return;
        };
        self.news.started(&held.delivery);
        if let Some(observer) = &self.observer {
            observer.started(call_of(&held.delivery));
        }
        let options = &held.task.options;
        if self.settings.track_started
            && self.desk.is_none()
            && let Some(result) = interim(
                &held.delivery,
                options,
                Timestamp::now(),
                ResultState::Started,
            )
        {
            self.settler.store(result);
        }
        if options.ack.is_early() && !held.acked {
            held.acked = true;
            self.settler.settle(plain(tag, Verdict::Ack));
        }
    }

    pub(super) fn store_progress(&mut self) {
        let now = Timestamp::now();
        for tag in std::mem::take(&mut self.progressed) {
            if let Some(held) = self.held.get(&tag)
                && let Some(progress) = held.progress.take()
                && let Some(result) = interim(
                    &held.delivery,
                    &held.task.options,
                    now,
                    ResultState::Progress(progress),
                )
            {
                self.settler.store(result);
            }
        }
    }

    pub(super) fn on_ended(&mut self, tag: i64, outcome: Outcome<Payload>, busy: Option<Duration>) {
        self.idle_since = Instant::now();
        if let Err(error) = &outcome
            && self.on_untold(tag, error)
        {
            return;
        }
        let Some(held) = self.held.remove(&tag) else {
            return;
        };
        self.count_begun(&held);
        self.meter.ended(&held, busy);
        if let Some(busy) = busy {
            self.credit.measure(busy);
        }
        if held.stage == Stage::Disowned {
            return;
        }
        self.spans.extend(held.span.get().map(|span| (tag, span)));
        let outcome = outcome.and_then(check_size);
        let outcome = match &self.ending {
            Some(ending) => ending.excuse(outcome),
            None => outcome,
        };
        let lost = |error: &TaskError| error.kind() == ErrorKind::Lost;
        if outcome.as_ref().is_err_and(lost) {
            self.meter.count(held.series, Count::Lost);
        }
        match outcome {
            Err(error) if self.desk.is_some() => {
                let ran = held.start.at_s().is_some();
                self.on_error(held.series, &held.delivery, &error, held.acked, ran);
            }
            outcome if held.acked => self.conclude_acked(&held, outcome, busy),
            outcome => self.conclude(held.series, &held.delivery, outcome, busy),
        }
    }

    /// Decides what follows from `outcome` and has it carried out.
    fn conclude(
        &mut self,
        series: Series,
        delivery: &Delivery,
        outcome: Outcome<Payload>,
        busy: Option<Duration>,
    ) {
        let limit = self.settings.delivery_limit;
        let settlement = self.decide(series, delivery, outcome, limit, busy);
        self.settler.settle(settlement);
    }

    /// Settles a delivery that is not to start.
    pub(super) fn refuse(&mut self, delivery: &Arc<Delivery>, error: TaskError) {
        let series = self.series_of(delivery);
        if self.desk.is_some() {
            self.on_error(series, delivery, &error, false, false);
        } else {
            let message = &delivery.message;
            let unknown = error.kind() == ErrorKind::Unregistered;
            let sent = (unknown && !message.is_expired(Timestamp::now()))
                .then(|| canvas::send_workflow(message))
                .flatten();
            self.conclude(series, delivery, sent.unwrap_or(Err(error)), None);
        }
    }

    /// Decides what follows from `outcome`, and records what is not part of the settlement.
    pub(super) fn decide(
        &mut self,
        series: Series,
        delivery: &Delivery,
        mut outcome: Outcome<Payload>,
        limit: NonZeroU32,
        busy: Option<Duration>,
    ) -> Settlement {
        if let Err(error) = &outcome
            && let Some(replacement) = error.replacement()
        {
            match self.replace(series, delivery, replacement, busy) {
                Ok(settlement) => return settlement,
                Err(error) => outcome = Err(error),
            }
        }
        let task = self.registry.get(&delivery.message.headers.task).ok();
        let options = task.map_or(&TaskOptions::DEFAULT, |task| &task.options);
        let now = Timestamp::now();
        let end = end_of(delivery, &outcome, now);
        let span = self.spans.get(&delivery.tag).cloned();
        let value = outcome.as_ref().ok().filter(|_| self.news.is_on()).cloned();
        let error = outcome.as_ref().err().cloned();
        let mut settlement = decide(delivery, outcome, options, limit, now, random());
        let retried = !settlement.follow_ups.is_empty();
        let how = &settlement.verdict;
        self.tell(series, delivery, error.as_ref(), how, retried, busy);
        self.tell_monitors(delivery, &settlement, value.as_ref(), error.as_ref(), busy);
        let is_over = !matches!(settlement.verdict, Verdict::Requeue { .. })
            && settlement.follow_ups.is_empty();
        if is_over && let Some(end) = end {
            self.follow(delivery, &end, &mut settlement);
        }
        if let Some(span) = span {
            mark(&*span, &mut settlement);
        }
        settlement
    }

    /// Sends what a call is replaced with. It leaves no result: what takes its place will.
    fn replace(
        &mut self,
        series: Series,
        delivery: &Delivery,
        replacement: &Replacement,
        busy: Option<Duration>,
    ) -> Result<Settlement, TaskError> {
        let route = |named, task: &str| self.router.route(named, task);
        let replaced = canvas::replace(&delivery.message, replacement, &route, Timestamp::now());
        let mut follow = replaced.map_err(|error| {
            let reason = format!("what it was replaced with cannot be sent: {error}");
            TaskError::new(ErrorKind::BadResult, reason)
        })?;
        let mut settlement = plain(delivery.tag, Verdict::Ack);
        settlement.follow_ups.append(&mut follow.messages);
        if let Some(span) = self.spans.get(&delivery.tag) {
            mark(&**span, &mut settlement);
        }
        self.tell(series, delivery, None, &settlement.verdict, false, busy);
        self.settler.follow(follow);
        Ok(settlement)
    }

    /// Adds what the workflow of a call says that follows its end.
    fn follow(&mut self, delivery: &Delivery, end: &StoredResult, settlement: &mut Settlement) {
        let route = |named, task: &str| self.router.route(named, task);
        match canvas::follow(&delivery.message, end, &route, end.stored_at) {
            Ok(mut follow) => {
                if let Some(result) = &mut settlement.result {
                    result.trail.children = follow.children();
                }
                settlement.follow_ups.append(&mut follow.messages);
                self.settler.follow(follow);
            }
            Err(error) => {
                warn!(
                    task.id = %Brief(&end.id),
                    error = %Brief(&error),
                    "what follows this task cannot be sent"
                );
                // Its bytes hold what should have followed.
                let reason = format!("what follows it cannot be sent: {error}");
                settlement.verdict = Verdict::Dead(DeadReason::Malformed, reason);
            }
        }
    }

    /// The same for a delivery that was acknowledged when it started: there is only a result left
    /// to store, and a retry to send.
    pub(super) fn conclude_acked(
        &mut self,
        held: &Held,
        outcome: Outcome<Payload>,
        busy: Option<Duration>,
    ) {
        let delivery = &held.delivery;
        let shut_down = |error: &TaskError| error.kind() == ErrorKind::Shutdown;
        if outcome.as_ref().is_err_and(shut_down) && held.control.interrupted().is_none() {
            let ending = self.ending.as_ref();
            if ending.is_some_and(|ending| ending.mode() == Shutdown::Warm) {
                // It was taken back before it ran, only its child had been told of it.
                let again = (delivery.queue.clone().into(), delivery.message.clone());
                return self.settler.publish([again]);
            }
        }
        let outcome = outcome.map_err(|error| {
            if shut_down(&error) {
                TaskError::lost("the worker was shut down, and it was acknowledged at its start")
            } else {
                error
            }
        });
        // The broker has forgotten the message, so it cannot be delivered again.
        let settlement = self.decide(held.series, delivery, outcome, NonZeroU32::MIN, busy);
        if let Some(result) = settlement.result {
            self.settler.store(result);
        }
        self.settler.publish(settlement.follow_ups);
    }

    /// Gives a delivery back uncounted, to come again no sooner than after `delay`.
    pub(super) fn give_back(&mut self, delivery: &Delivery, delay: Option<Duration>) {
        let eta = delay.map(|delay| later(Timestamp::now(), delay));
        let settlement = plain(
            delivery.tag,
            Verdict::Requeue {
                eta,
                counted: false,
            },
        );
        if delay.is_none() {
            let series = self.series_of(delivery);
            self.tell(series, delivery, None, &settlement.verdict, false, None);
        }
        self.settler.settle(settlement);
    }

    /// Counts, logs and tells the observer what was decided.
    pub(super) fn tell(
        &mut self,
        series: Series,
        delivery: &Delivery,
        error: Option<&TaskError>,
        verdict: &Verdict,
        retried: bool,
        runtime: Option<Duration>,
    ) {
        let call = call_of(delivery);
        let kind = error.map(TaskError::kind);
        let how = match (verdict, kind) {
            (Verdict::Requeue { .. }, _) => Finish::GivenBack,
            (_, Some(kind)) => Finish::Failed(kind),
            (_, None) => Finish::Succeeded,
        };
        let counters = &self.counters;
        let (counter, counted) = match (how, kind) {
            _ if retried => (&counters.retried, Count::Retried),
            (Finish::GivenBack, _) => (&counters.given_back, Count::GivenBack),
            (Finish::Succeeded, _) => (&counters.succeeded, Count::Succeeded),
            (_, Some(ErrorKind::Cancelled | ErrorKind::Expired)) => {
                (&counters.revoked, Count::Revoked)
            }
            _ => (&counters.failed, Count::Failed),
        };
        count(counter);
        self.meter.count(series, counted);
        if let Some(span) = self.spans.remove(&delivery.tag) {
            span.end(span_end(how, error, retried), runtime);
        }
        let (id, task, attempt) = (call.id, call.task, call.attempt);
        match error {
            None => {
                debug!(task.id = %Brief(id), task.name = %Brief(task), ?runtime, ?how, "task ended");
            }
            Some(error) => warn!(
                task.id = %Brief(id),
                task.name = %Brief(task),
                task.attempt = attempt,
                error = %Brief(error),
                retried,
                ?how,
                "task failed"
            ),
        }
        match (&self.observer, kind) {
            (Some(observer), Some(kind)) if retried => observer.retried(call, kind),
            (Some(observer), _) => {
                let revoked = |kind| matches!(kind, ErrorKind::Cancelled | ErrorKind::Expired);
                if let (Finish::Failed(kind), Some(error)) = (how, error)
                    && !revoked(kind)
                {
                    observer.failed(call, error.into());
                }
                observer.finished(call, how, runtime);
            }
            (None, _) => {}
        }
    }

    /// Tells monitors what was decided of a call that no runtime tells of.
    fn tell_monitors(
        &self,
        delivery: &Delivery,
        settlement: &Settlement,
        value: Option<&Payload>,
        error: Option<&TaskError>,
        runtime: Option<Duration>,
    ) {
        let given_back = matches!(settlement.verdict, Verdict::Requeue { .. });
        match error {
            _ if given_back || self.desk.is_some() => {}
            None => self.news.succeeded(delivery, value, runtime),
            Some(error) => {
                let retried = !settlement.follow_ups.is_empty();
                self.news
                    .failed(delivery, error, retried, runtime.is_some());
            }
        }
    }

    pub(super) fn on_carried(&mut self, carried: Carried) {
        if let Some(took) = carried.took {
            self.credit.measure_store(took);
        }
        for tag in carried.lost {
            count(&self.counters.lease_lost);
            warn!(
                delivery = tag,
                "the lease was lost, another worker has the message"
            );
            // Only one that was acknowledged at its start is still held.
            if let Some(held) = self.held.get_mut(&tag) {
                held.stage = Stage::Disowned;
            }
        }
        match &carried.stopped {
            Some(error) => self.trouble.tell("cannot settle, will try again", error),
            None if carried.fatal.is_none() => self.trouble.over(),
            None => {}
        }
        add(&self.counters.unsettled, carried.refused);
        self.idle_since = Instant::now();
        if let Some(error) = carried.fatal {
            self.give_up(error);
        }
    }
}

/// Makes what follows from a run a child of it.
fn mark(span: &dyn Span, settlement: &mut Settlement) {
    for (_, message) in &mut settlement.follow_ups {
        span.mark(message);
    }
}

/// What a trace is told of a run.
fn span_end(how: Finish, error: Option<&TaskError>, retried: bool) -> SpanEnd<'_> {
    let reason = error.map_or_else(Reason::default, Reason::from);
    match how {
        _ if retried => SpanEnd::Retried(reason),
        Finish::GivenBack => SpanEnd::GivenBack(reason),
        Finish::Succeeded => SpanEnd::Succeeded,
        Finish::Failed(_) | Finish::Rejected => SpanEnd::Failed(reason),
    }
}

/// The final state of a call, as a result that is kept would have it; nothing if no workflow goes on
/// from here, which is cheap to see.
fn end_of(delivery: &Delivery, outcome: &Outcome<Payload>, now: Timestamp) -> Option<StoredResult> {
    let message = &delivery.message;
    canvas::is_workflow(message).then(|| StoredResult {
        id: message.headers.id.clone(),
        task: message.headers.task.clone(),
        state: final_state(outcome),
        value: outcome.as_ref().ok().cloned(),
        error: outcome.as_ref().err().cloned(),
        attempt: message.attempt(),
        stored_at: now,
        expires_at: later(now, KEEP_CHORD),
        trail: Trail::default(),
    })
}

/// A settlement with nothing but its verdict.
pub(super) fn plain(tag: i64, verdict: Verdict) -> Settlement {
    Settlement {
        tag,
        verdict,
        result: None,
        follow_ups: Vec::new(),
    }
}

/// Refuses a result that is too large to store.
fn check_size(value: Payload) -> Outcome<Payload> {
    match value.check_size(DEFAULT_BODY_LIMIT_BYTES) {
        Ok(()) => Ok(value),
        Err(error) => Err(TaskError::new(
            ErrorKind::BadResult,
            format!("its result of {error}"),
        )),
    }
}
