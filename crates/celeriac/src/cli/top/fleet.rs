//! What is known of workers, queues, tasks and calls: a plain value that hears news.

use std::collections::{BTreeMap, VecDeque};
use std::time::{Duration, Instant};

use celeriac_core::{ConsumerInfo, DeadMessage, QueueInfo};
use celeriac_wire::control::Reply;
use serde_json::{Map, Value};

/// The most calls that are remembered, the newest.
const CALLS: usize = 500;
/// The most workers and tasks that are shown: names come from outside.
const NAMES: usize = 1000;
/// A worker that has not answered for this long is gone.
const SILENT: Duration = Duration::from_secs(15);

/// What is told.
#[derive(Debug)]
pub(super) enum News {
    /// An event of a worker or a client.
    Event(Map<String, Value>),
    /// So many events were not heard.
    Missed(u64),
    Stats(Vec<Reply>),
    Active(Vec<Reply>),
    ActiveQueues(Vec<Reply>),
    Queues(Vec<QueueInfo>),
    Consumers(Vec<ConsumerInfo>),
    Dead(Vec<DeadMessage>),
    /// What came of what was asked for, or what is wrong.
    Said(String),
}

/// A worker.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Worker {
    pub(super) slots: u64,
    pub(super) active: u64,
    pub(super) total: u64,
    /// Calls a second, since it was asked last.
    pub(super) rate: f64,
    pub(super) queues: Vec<String>,
    asked: Option<Instant>,
    heard: Instant,
}

/// A task, over all workers.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Task {
    pub(super) total: u64,
    pub(super) rate: f64,
    /// What events told since this was started.
    pub(super) succeeded: u64,
    pub(super) failed: u64,
    pub(super) retried: u64,
    /// How many seconds those that succeeded ran.
    pub(super) runtime_s: f64,
}

/// A call.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) task: String,
    pub(super) worker: String,
    pub(super) state: String,
    pub(super) runtime_s: Option<f64>,
    /// Its result or its exception.
    pub(super) note: String,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Fleet {
    pub(super) shown: String,
    pub(super) workers: BTreeMap<String, Worker>,
    pub(super) queues: Vec<QueueInfo>,
    pub(super) tasks: BTreeMap<String, Task>,
    /// The newest first.
    pub(super) calls: VecDeque<Call>,
    pub(super) dead: Vec<DeadMessage>,
    pub(super) missed: u64,
    pub(super) said: String,
    tasks_asked: Option<Instant>,
}

impl Fleet {
    pub(super) fn new(shown: String) -> Self {
        Self {
            shown,
            workers: BTreeMap::new(),
            queues: Vec::new(),
            tasks: BTreeMap::new(),
            calls: VecDeque::new(),
            dead: Vec::new(),
            missed: 0,
            said: String::new(),
            tasks_asked: None,
        }
    }

    /// Calls a second, of all workers.
    pub(super) fn rate(&self) -> f64 {
        self.workers.values().map(|worker| worker.rate).sum()
    }

    /// Takes news in.
    pub(super) fn hear(&mut self, news: News, now: Instant) {
        match news {
            News::Event(event) => self.on_event(&event, now),
            News::Missed(count) => self.missed = count,
            News::Stats(replies) => self.on_stats(&replies, now),
            News::Active(replies) => self.on_active(&replies, now),
            News::ActiveQueues(replies) => {
                for reply in replies {
                    let queues = reply.value.as_array().into_iter().flatten();
                    let queues = queues.map(|queue| text(queue, "name")).collect();
                    if let Some(worker) = self.worker(&reply.node, now) {
                        worker.queues = queues;
                    }
                }
            }
            News::Queues(queues) => self.queues = queues,
            News::Consumers(consumers) => {
                for consumer in consumers {
                    let queues = consumer.queues.iter().map(ToString::to_string);
                    let queues = queues.collect();
                    if let Some(worker) = self.worker(&consumer.name, now) {
                        worker.queues = queues;
                        worker.active = consumer.held;
                    }
                }
            }
            News::Dead(dead) => self.dead = dead,
            News::Said(said) => self.said = plain(&said),
        }
        self.workers
            .retain(|_, worker| now.saturating_duration_since(worker.heard) < SILENT);
    }

    /// The worker of this name, which has just been heard of; none if there are too many.
    fn worker(&mut self, name: &str, now: Instant) -> Option<&mut Worker> {
        let name = plain(name);
        if !self.workers.contains_key(&name) && self.workers.len() >= NAMES {
            return None;
        }
        let worker = self.workers.entry(name).or_insert(Worker {
            slots: 0,
            active: 0,
            total: 0,
            rate: 0.0,
            queues: Vec::new(),
            asked: None,
            heard: now,
        });
        worker.heard = now;
        Some(worker)
    }

    fn task(&mut self, name: &str) -> Option<&mut Task> {
        let known = self.tasks.contains_key(name);
        (known || self.tasks.len() < NAMES).then(|| self.tasks.entry(name.to_owned()).or_default())
    }

    fn on_stats(&mut self, replies: &[Reply], now: Instant) {
        let mut totals = BTreeMap::<String, u64>::new();
        for reply in replies {
            let all = reply.value.get("total").and_then(Value::as_object);
            let mut total = 0;
            for (name, count) in all.into_iter().flatten() {
                let count = count.as_u64().unwrap_or_default();
                total += count;
                *totals.entry(plain(name)).or_default() += count;
            }
            let slots = reply.value.pointer("/pool/max-concurrency");
            let slots = slots.and_then(Value::as_u64).unwrap_or_default();
            if let Some(worker) = self.worker(&reply.node, now) {
                worker.rate = rate(worker.asked, worker.total, total, now);
                (worker.slots, worker.total, worker.asked) = (slots, total, Some(now));
            }
        }
        let asked = self.tasks_asked.replace(now);
        for (name, total) in totals {
            if let Some(task) = self.task(&name) {
                task.rate = rate(asked, task.total, total, now);
                task.total = total;
            }
        }
    }

    fn on_active(&mut self, replies: &[Reply], now: Instant) {
        for reply in replies {
            let calls = reply.value.as_array().map_or(&[][..], Vec::as_slice);
            if let Some(worker) = self.worker(&reply.node, now) {
                worker.active = calls.len() as u64;
            }
            for call in calls {
                let id = text(call, "id");
                if self.calls.iter().all(|known| known.id != id) {
                    self.remember(Call {
                        id,
                        task: text(call, "name"),
                        worker: plain(&reply.node),
                        state: "started".to_owned(),
                        ..Call::default()
                    });
                }
            }
        }
    }

    fn remember(&mut self, call: Call) {
        self.calls.push_front(call);
        self.calls.truncate(CALLS);
    }

    fn on_event(&mut self, event: &Map<String, Value>, now: Instant) {
        let field = |name: &str| event.get(name).and_then(Value::as_str).map(plain);
        let kind = field("type").unwrap_or_default();
        let node = field("hostname").unwrap_or_default();
        if kind == "worker-offline" {
            self.workers.remove(&node);
            return;
        }
        if kind.starts_with("worker-") {
            let active = event.get("active").and_then(Value::as_u64);
            if let (Some(worker), Some(active)) = (self.worker(&node, now), active) {
                worker.active = active;
            }
            return;
        }
        let Some((state, id)) = kind.strip_prefix("task-").zip(field("uuid")) else {
            return;
        };
        let place = self.calls.iter().position(|call| call.id == id);
        let known = place.and_then(|place| self.calls.remove(place));
        let mut call = known.unwrap_or_else(|| Call {
            id,
            ..Call::default()
        });
        state.clone_into(&mut call.state);
        if let Some(task) = field("name") {
            call.task = task;
        }
        if state != "sent" {
            call.worker = node;
        }
        if let Some(runtime) = event.get("runtime").and_then(Value::as_f64) {
            call.runtime_s = Some(runtime);
        }
        if let Some(note) = field("exception").or_else(|| field("result")) {
            call.note = note;
        }
        if !call.task.is_empty()
            && let Some(task) = self.task(&call.task)
        {
            match state {
                "succeeded" => {
                    task.succeeded += 1;
                    task.runtime_s += call.runtime_s.unwrap_or_default();
                }
                "failed" => task.failed += 1,
                "retried" => task.retried += 1,
                _ => {}
            }
        }
        self.remember(call);
    }
}

/// How many a second.
fn rate(asked: Option<Instant>, before: u64, after: u64, now: Instant) -> f64 {
    let Some(asked) = asked else { return 0.0 };
    let seconds = now.saturating_duration_since(asked).as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "it is shown to a tenth")]
    let more = after.saturating_sub(before) as f64;
    if seconds > 0.0 { more / seconds } else { 0.0 }
}

fn text(value: &Value, name: &str) -> String {
    value
        .get(name)
        .and_then(Value::as_str)
        .map_or_else(String::new, plain)
}

/// What came from outside, on one line of bounded length that a terminal takes for text.
fn plain(text: &str) -> String {
    let text = text
        .chars()
        .take(200)
        .map(|c| if c.is_control() { '·' } else { c });
    text.collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use serde_json::json;

    fn event(event: Value) -> News {
        let Value::Object(event) = event else {
            panic!("an event is a map")
        };
        News::Event(event)
    }

    fn replies(node: &str, value: Value) -> Vec<Reply> {
        vec![Reply {
            node: node.to_owned(),
            value,
        }]
    }

    /// Two workers, of which one has run ten calls within two seconds, and some calls.
    pub(in super::super) fn busy() -> Fleet {
        let mut fleet = Fleet::new("redis://box:6379/0".to_owned());
        let start = Instant::now();
        let stats = |total| json!({"total": {"shop.add": total}, "pool": {"max-concurrency": 4}});
        fleet.hear(News::Stats(replies("a@box", stats(30))), start);
        let now = start + Duration::from_secs(2);
        fleet.hear(News::Stats(replies("a@box", stats(40))), now);
        fleet.hear(
            News::ActiveQueues(replies(
                "a@box",
                json!([{"name": "celery"}, {"name": "slow"}]),
            )),
            now,
        );
        let active = json!([{"id": "c-1", "name": "shop.nap"}]);
        fleet.hear(News::Active(replies("a@box", active)), now);
        for one in [
            json!({"type": "worker-heartbeat", "hostname": "b@box", "active": 2}),
            json!({"type": "task-received", "uuid": "c-2", "name": "shop.add", "hostname": "b@box"}),
            json!({"type": "task-succeeded", "uuid": "c-2", "runtime": 0.25, "result": "3",
                   "hostname": "b@box"}),
            json!({"type": "task-received", "uuid": "c-3", "name": "shop.add", "hostname": "b@box"}),
            json!({"type": "task-failed", "uuid": "c-3", "exception": "ValueError('\u{1b}[2Jno')",
                   "hostname": "b@box"}),
        ] {
            fleet.hear(event(one), now);
        }
        fleet.hear(
            News::Queues(vec![QueueInfo {
                name: celeriac_core::QueueName::default(),
                ready: 12,
                delayed: 3,
                held: 5,
                dead: 1,
            }]),
            now,
        );
        fleet
    }

    #[test]
    fn events_and_answers_come_to_one_picture() {
        let fleet = busy();
        let worker = &fleet.workers["a@box"];
        assert_eq!((worker.slots, worker.active, worker.total), (4, 1, 40));
        assert!((worker.rate - 5.0).abs() < 1e-9 && (fleet.rate() - 5.0).abs() < 1e-9);
        assert_eq!(worker.queues, ["celery", "slow"]);
        assert_eq!(fleet.workers["b@box"].active, 2);
        let task = &fleet.tasks["shop.add"];
        assert_eq!((task.total, task.succeeded, task.failed), (40, 1, 1));
        let states: Vec<_> = fleet.calls.iter().map(|it| (&*it.id, &*it.state)).collect();
        assert_eq!(
            states,
            [("c-3", "failed"), ("c-2", "succeeded"), ("c-1", "started")]
        );
        assert_eq!(fleet.calls[0].note, "ValueError('·[2Jno')");
        assert_eq!(fleet.calls[0].task, "shop.add");
    }

    #[test]
    fn what_others_make_up_does_not_fill_the_memory() {
        let (mut fleet, now) = (Fleet::new(String::new()), Instant::now());
        for n in 0..3000 {
            let name = format!("{n}");
            let one =
                json!({"type": "task-received", "uuid": name, "name": name, "hostname": name});
            fleet.hear(event(one), now);
            fleet.hear(
                event(json!({"type": "worker-online", "hostname": name})),
                now,
            );
        }
        fleet.hear(event(json!({"type": "task-", "hostname": 5})), now);
        let sizes = (fleet.workers.len(), fleet.calls.len());
        assert_eq!(sizes, (NAMES, CALLS));
        assert!(fleet.tasks.len() <= NAMES);
    }

    #[test]
    fn a_worker_that_leaves_or_falls_silent_is_not_shown() {
        let mut fleet = busy();
        let now = Instant::now();
        fleet.hear(
            event(json!({"type": "worker-offline", "hostname": "b@box"})),
            now,
        );
        assert!(!fleet.workers.contains_key("b@box"));
        fleet.hear(News::Missed(1), now + SILENT + Duration::from_secs(3));
        assert!(fleet.workers.is_empty());
    }
}
