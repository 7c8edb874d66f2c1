//! Deliveries on their way in: admitted, paced, submitted, revoked.

use std::collections::HashSet;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use celeriac_core::{BrokerError, Chunk, Delivery, Interrupt, Invocation, TaskError, TaskId, Work};
use jiff::Timestamp;
use tokio::time::Instant;
use tracing::warn;

use super::Dispatcher;
use crate::admit::{admit, check_expiry};
use crate::held::{Held, Stage, call_of};
use crate::metrics::{Count, Series};
use crate::pace::Turn;
use crate::reply::{DeliveryReply, Event};
use crate::report::add;

/// So many calls are remembered that were interrupted, for whoever asked for that and wants to hear it.
const MOST_INTERRUPTED: usize = 1000;

impl Dispatcher {
    pub(super) fn on_received(&mut self, received: Result<Vec<Delivery>, BrokerError>) {
        let now = Instant::now();
        self.idle_since = now;
        match received {
            Ok(deliveries) => {
                self.recovered();
                self.watchdog.delivered();
                add(&self.counters.received, deliveries.len());
                let wall = Timestamp::now();
                for delivery in deliveries {
                    self.admit(delivery, now, wall);
                }
            }
            Err(error) if error.is_transient() => {
                self.receive_retry.failed(now);
                self.trouble.tell("cannot fetch, will try again", &error);
            }
            Err(error) => self.give_up(error),
        }
    }

    /// Runs a delivery, lets it wait, or settles it at once.
    pub(super) fn admit(&mut self, delivery: Delivery, now: Instant, wall: Timestamp) {
        let delivery = Arc::new(delivery);
        if let Some(held) = self.held.get_mut(&delivery.tag) {
            return held.come_back(delivery);
        }
        if self
            .desk
            .as_mut()
            .is_some_and(|desk| desk.come_back(&delivery))
        {
            return;
        }
        if self.ending.is_some() {
            let series = self.series_of(&delivery);
            self.meter.count(series, Count::Received);
            return self.give_back(&delivery, None);
        }
        if let Some(observer) = &self.observer {
            observer.received(call_of(&delivery));
        }
        let limit = self.settings.delivery_limit;
        let admitted = if self.revoked.has(&delivery.message) {
            Err(TaskError::cancelled())
        } else {
            admit(&delivery, &self.registry, limit, wall, &self.overrides)
        };
        let (task, limits) = match admitted {
            Ok(admitted) => admitted,
            Err(error) => {
                let series = self.series_of(&delivery);
                self.meter.count(series, Count::Received);
                return self.refuse(&delivery, error);
            }
        };
        let series = self.meter.series(task, &delivery.queue);
        self.meter.count(series, Count::Received);
        if let Some(desk) = &self.desk {
            desk.received(&delivery);
        }
        self.news.received(&delivery);
        let rate = self.overrides.rate(task.name, task.options.rate_limit);
        let turn = rate.map_or(Turn::Now, |limit| self.pace.turn(task, limit, now));
        let tag = delivery.tag;
        let received_us = u64::try_from(wall.as_microsecond()).unwrap_or_default();
        match turn {
            Turn::Now => {
                self.submit(Held::new(delivery, task, limits, series, received_us));
            }
            Turn::At(at) => {
                self.pace.wait(at, tag);
                self.paced += 1;
                let stage = Stage::Paced;
                let held = Held {
                    stage,
                    ..Held::new(delivery, task, limits, series, received_us)
                };
                self.held.insert(tag, held);
            }
            Turn::After(delay) => self.give_back(&delivery, Some(delay)),
        }
    }

    /// Where a delivery is counted that does not come to run.
    pub(super) fn series_of(&mut self, delivery: &Delivery) -> Series {
        match self.registry.get(&delivery.message.headers.task) {
            Ok(task) => self.meter.series(task, &delivery.queue),
            Err(_) => Series::OTHER,
        }
    }

    /// Starts a delivery whose turn has come, if it still waits.
    pub(super) fn start_paced(&mut self, tag: i64) {
        let Some(held) = self.take_paced(tag) else {
            return;
        };
        match check_expiry(&held.delivery, Timestamp::now()) {
            Ok(()) => self.submit(Held {
                stage: Stage::Submitted,
                ..held
            }),
            Err(error) => self.refuse(&held.delivery, error),
        }
    }

    /// Takes out a delivery that waits for its rate limit; not one that was revoked meanwhile.
    pub(super) fn take_paced(&mut self, tag: i64) -> Option<Held> {
        self.held
            .get(&tag)
            .filter(|held| held.stage == Stage::Paced)?;
        self.paced -= 1;
        self.held.remove(&tag)
    }

    pub(super) fn submit(&mut self, held: Held) {
        let tag = held.delivery.tag;
        let tell_start = self.settings.track_started
            || self.news.is_on()
            || self.observer.is_some()
            || held.task.options.ack.is_early();
        if held.task.wants_context {
            let (slot, events) = (held.progress.clone(), self.events.clone());
            held.control.on_progress(move |progress| {
                if slot.put(progress) {
                    let _ = events.send(Event::Progressed(tag));
                }
            });
        }
        let mut reply =
            DeliveryReply::new(tag, tell_start, held.start.clone(), self.events.clone());
        if let Some(tracer) = &self.tracer {
            reply = reply.traced(tracer.clone(), held.delivery.clone(), held.span.clone());
        }
        let message = &held.delivery.message;
        let invocation = Invocation {
            id: message.headers.id.clone(),
            task: held.task,
            attempt: message.attempt(),
            limits: held.limits,
            control: held.control.clone(),
            work: match self.desk {
                None => Work::Encoded(Chunk::single(&message.body)),
                Some(_) => Work::Message(held.delivery.clone()),
            },
            reply: Arc::new(reply),
        };
        self.held.insert(tag, held);
        if self.executor.blocks() {
            self.counters.in_call.store(true, Ordering::Relaxed);
            self.executor.submit(invocation);
            self.counters.in_call.store(false, Ordering::Relaxed);
        } else {
            self.executor.submit(invocation);
        }
    }

    pub(super) fn on_revoked(&mut self, revoked: Result<Vec<TaskId>, BrokerError>) {
        match revoked {
            Ok(ids) => {
                self.revocations_retry.succeeded();
                self.revoke(&ids);
            }
            Err(error) if error.is_transient() => {
                self.revocations_retry.failed(Instant::now());
                self.trouble
                    .tell("cannot hear revocations, will try again", &error);
            }
            Err(error) => {
                self.hears_revocations = false;
                warn!(
                    error = &error as &dyn Error,
                    "revocations will not be heard"
                );
            }
        }
    }

    pub(super) fn revoke(&mut self, ids: &[TaskId]) {
        let ids: HashSet<&TaskId> = ids.iter().collect();
        let mut waiting = Vec::new();
        for (tag, held) in &self.held {
            if ids.contains(&held.delivery.message.headers.id) {
                held.control.interrupt(Interrupt::Cancelled);
                waiting.push(*tag);
                if held.start.at_s().is_some() {
                    self.interrupted
                        .push_back(held.delivery.message.headers.id.clone());
                }
            }
        }
        let surplus = self.interrupted.len().saturating_sub(MOST_INTERRUPTED);
        self.interrupted.drain(..surplus);
        for tag in waiting {
            if let Some(held) = self.take_paced(tag) {
                self.refuse(&held.delivery, TaskError::cancelled());
            }
        }
    }
}
