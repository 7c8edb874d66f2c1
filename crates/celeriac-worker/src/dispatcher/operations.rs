//! What an operator asks of the dispatcher, and has it do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use celeriac_core::{
    Delivery, Executor, Interrupt, Limits, QueueName, RateLimit, TaskError, TaskId,
};
use serde_json::Value;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::Dispatcher;
use crate::control::revoked::carries;
use crate::events::Vitals;
use crate::held::{Held, Stage};
use crate::reply::{Event, Events};

/// What is asked: it is done between two deliveries.
pub(crate) type Question = Box<dyn FnOnce(&mut Dispatcher) + Send>;

/// Asks the dispatcher from outside.
#[derive(Debug, Clone)]
pub(crate) struct Operator(Events);

impl Operator {
    pub(crate) fn new(events: Events) -> Self {
        Self(events)
    }

    /// The answer; nothing if the worker has ended.
    pub(crate) async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Dispatcher) -> T + Send + 'static,
    ) -> Option<T> {
        self.put(question)?.await.ok()
    }

    /// Asks, and gives where the answer will come; nothing if the worker has ended.
    pub(crate) fn put<T: Send + 'static>(
        &self,
        question: impl FnOnce(&mut Dispatcher) -> T + Send + 'static,
    ) -> Option<oneshot::Receiver<T>> {
        let (answer, answered) = oneshot::channel();
        let question = Box::new(move |dispatcher: &mut Dispatcher| {
            // Whoever asked may have left.
            let _ = answer.send(question(dispatcher));
        });
        self.0.send(Event::Asked(question)).ok()?;
        Some(answered)
    }

    /// Whether the worker has ended.
    pub(crate) fn has_ended(&self) -> bool {
        self.0.is_closed()
    }
}

/// A call that the worker holds.
#[derive(Debug, Clone)]
pub(crate) struct HeldCall {
    pub(crate) delivery: Arc<Delivery>,
    /// When it began to run, in Unix time in seconds.
    pub(crate) started_s: Option<f64>,
    pub(crate) acked: bool,
}

/// What is asked for in numbers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures {
    /// How many calls of each task were begun.
    pub(crate) totals: HashMap<&'static str, u64>,
    pub(crate) slots: usize,
    pub(crate) prefetch: usize,
}

/// What the operator has changed about tasks.
#[derive(Debug, Default)]
pub(crate) struct Overrides {
    rates: HashMap<&'static str, Option<RateLimit>>,
    limits: HashMap<&'static str, Limits>,
}

impl Overrides {
    /// The rate limit of a task, which has `own` by itself.
    pub(crate) fn rate(&self, task: &str, own: Option<RateLimit>) -> Option<RateLimit> {
        if self.rates.is_empty() {
            return own;
        }
        self.rates.get(task).copied().unwrap_or(own)
    }

    /// The time limits of a task, which has `own` by itself.
    pub(crate) fn limits(&self, task: &str, own: Limits) -> Limits {
        if self.limits.is_empty() {
            return own;
        }
        self.limits.get(task).copied().unwrap_or(own)
    }
}

impl Dispatcher {
    /// The calls it holds, those that came first first.
    pub(crate) fn held_calls(&self) -> Vec<HeldCall> {
        let mut held: Vec<_> = self.held.iter().collect();
        held.sort_unstable_by_key(|(tag, _)| **tag);
        let call = |(_, held): (&i64, &Held)| HeldCall {
            delivery: held.delivery.clone(),
            started_s: held.start.at_s(),
            acked: held.acked,
        };
        held.into_iter().map(call).collect()
    }

    /// Counts a call that has ended, if it was begun.
    pub(super) fn count_begun(&mut self, held: &Held) {
        if held.start.at_s().is_some() {
            *self.totals.entry(held.task.name).or_default() += 1;
        }
    }

    fn running(&self) -> impl Iterator<Item = &Held> {
        let held = self.held.values();
        held.filter(|held| held.start.at_s().is_some())
    }

    /// What a heartbeat says of the calls.
    pub(crate) fn vitals(&self) -> Vitals {
        let active = self.running().count() as u64;
        Vitals {
            active,
            processed: self.totals.values().sum::<u64>() + active,
        }
    }

    /// What runs the calls.
    pub(crate) fn pool(&self) -> &dyn Executor {
        &*self.executor
    }

    pub(crate) fn figures(&self) -> Figures {
        let mut totals = self.totals.clone();
        for held in self.running() {
            *totals.entry(held.task.name).or_default() += 1;
        }
        Figures {
            totals,
            slots: self.executor.slots().get(),
            prefetch: self.credit.target(),
        }
    }

    /// Remembers revoked calls, and ends those that are here: those that have not begun, and with a
    /// signal those that run. Says which of them run.
    pub(crate) fn revoke_calls(&mut self, ids: &[TaskId], signal: Option<i32>) -> Vec<TaskId> {
        let now = Instant::now();
        for id in ids {
            self.revoked.add(id.clone(), now);
        }
        // There may be as many ids as calls here, or far more.
        let ids: HashSet<&TaskId> = ids.iter().collect();
        let mut running = self.end_calls(signal, |delivery| {
            ids.contains(&delivery.message.headers.id)
        });
        if signal.is_some() {
            // The driver may have heard of it before, and they may have ended already.
            self.interrupted.retain(|id| {
                let meant = ids.contains(id);
                if meant && !running.contains(id) {
                    running.push(id.clone());
                }
                !meant
            });
        }
        running
    }

    /// The same for all calls with stamps that have one of these values.
    pub(crate) fn revoke_stamped(
        &mut self,
        stamps: &[(String, Vec<Value>)],
        signal: Option<i32>,
    ) -> Vec<TaskId> {
        for (name, values) in stamps {
            self.revoked.add_stamp(name, values);
        }
        self.end_calls(signal, |delivery| {
            let headers = &delivery.message.headers.extra;
            let mut stamps = stamps.iter();
            stamps.any(|(name, values)| carries(headers, name, values))
        })
    }

    fn end_calls(&mut self, signal: Option<i32>, meant: impl Fn(&Delivery) -> bool) -> Vec<TaskId> {
        let (mut running, mut paced) = (Vec::new(), Vec::new());
        for (tag, held) in &self.held {
            if !meant(&held.delivery) {
                continue;
            }
            let runs = held.start.at_s().is_some();
            if runs {
                running.push(held.delivery.message.headers.id.clone());
            }
            match (signal, &self.desk) {
                (Some(signal), Some(desk)) => {
                    desk.terminate(&held.delivery.message.headers.id, signal);
                }
                (None, _) if runs => {}
                _ => held.control.interrupt(Interrupt::Cancelled),
            }
            if held.stage == Stage::Paced {
                paced.push(*tag);
            }
        }
        for tag in paced {
            if let Some(held) = self.take_paced(tag) {
                self.refuse(&held.delivery, TaskError::cancelled());
            }
        }
        running
    }

    /// The revoked calls that are remembered.
    pub(crate) fn revoked_ids(&self) -> Vec<String> {
        self.revoked.ids()
    }

    /// Takes note that one more queue is taken from.
    pub(crate) fn add_queue(&mut self, queue: QueueName) {
        if !self.settings.queues.contains(&queue) {
            self.settings.queues.push(queue);
        }
    }

    /// Takes note that nothing more is taken from a queue. What waits for its turn goes back to it.
    pub(crate) fn cancel_queue(&mut self, queue: &QueueName) {
        self.settings.queues.retain(|it| it != queue);
        let waits = |held: &Held| held.stage == Stage::Paced && held.delivery.queue == *queue;
        let held = self.held.iter().filter(|(_, held)| waits(held));
        let waiting: Vec<_> = held.map(|(tag, _)| *tag).collect();
        for tag in waiting {
            if let Some(held) = self.take_paced(tag) {
                self.give_back(&held.delivery, None);
            }
        }
    }

    /// The rate limits that were changed.
    pub(crate) fn changed_rates(&self) -> HashMap<&'static str, Option<RateLimit>> {
        self.overrides.rates.clone()
    }

    /// Changes how often a task may start; not if nobody has registered it.
    pub(crate) fn set_rate(&mut self, task: &str, limit: Option<RateLimit>) -> bool {
        let Ok(task) = self.registry.get(task) else {
            return false;
        };
        self.overrides.rates.insert(task.name, limit);
        self.pace.reset(task.name);
        true
    }

    /// Changes the time limits of calls of a task that are delivered from now on and do not carry
    /// their own; not if nobody has registered it.
    pub(crate) fn set_limits(&mut self, task: &str, limits: Limits) -> bool {
        let Ok(task) = self.registry.get(task) else {
            return false;
        };
        self.overrides.limits.insert(task.name, limits);
        true
    }
}
