//! What a broker in memory holds: plain maps, under one lock.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::broker::Subscription;
use celeriac_core::{
    ConsumerInfo, DeadMessage, DeadReason, Delivery, QueueInfo, QueueName, Settled, StoredResult,
    TaskError, TaskId, Verdict,
};
use jiff::Timestamp;

use super::chords::Chords;
use crate::{headers, refusal};

/// A message as it is stored.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) queue: QueueName,
    /// 9 less the priority.
    pub(super) rank: u8,
    pub(super) task_id: Option<TaskId>,
    pub(super) headers: Vec<u8>,
    pub(super) content_type: String,
    pub(super) body: Bytes,
    pub(super) deliveries: u32,
}

#[derive(Debug)]
struct Dead {
    entry: Entry,
    reason: DeadReason,
    detail: String,
    died_at: Timestamp,
}

#[derive(Debug)]
struct Holder {
    subscription: Subscription,
    started_at: Timestamp,
    turn: usize,
}

/// A settlement with its follow-ups encoded.
#[derive(Debug)]
pub(super) struct Ending {
    pub(super) tag: i64,
    pub(super) verdict: Verdict,
    pub(super) result: Option<StoredResult>,
    pub(super) follow_ups: Vec<(Entry, Option<Timestamp>)>,
}

/// Everything a broker in memory holds.
#[derive(Debug, Default)]
pub(super) struct State {
    sequence: i64,
    queues: BTreeSet<QueueName>,
    entries: HashMap<i64, Entry>,
    ready: BTreeSet<(QueueName, u8, i64)>,
    delayed: BTreeSet<(Timestamp, i64)>,
    held: HashMap<i64, i64>,
    holders: BTreeMap<i64, Holder>,
    dead: BTreeMap<i64, Dead>,
    results: HashMap<TaskId, (i64, StoredResult)>,
    pub(super) chords: Chords,
    revoked: HashSet<TaskId>,
    /// Revocations in their order.
    revocations: Vec<TaskId>,
}

impl State {
    fn next(&mut self) -> i64 {
        self.sequence += 1;
        self.sequence
    }

    /// Stores a message.
    pub(super) fn publish(&mut self, entry: Entry, eta: Option<Timestamp>, now: Timestamp) {
        self.queues.insert(entry.queue.clone());
        let number = self.next();
        self.entries.insert(number, entry);
        self.enqueue(number, eta, now);
    }

    fn enqueue(&mut self, number: i64, eta: Option<Timestamp>, now: Timestamp) {
        let Some(entry) = self.entries.get(&number) else {
            return;
        };
        match eta.filter(|eta| *eta > now) {
            Some(eta) => self.delayed.insert((eta, number)),
            None => self.ready.insert((entry.queue.clone(), entry.rank, number)),
        };
    }

    /// Registers a consumer.
    pub(super) fn register(&mut self, subscription: Subscription) -> i64 {
        self.queues.extend(subscription.queues.iter().cloned());
        let number = self.next();
        let holder = Holder {
            subscription,
            started_at: Timestamp::now(),
            turn: 0,
        };
        self.holders.insert(number, holder);
        number
    }

    /// Has a consumer take from these queues from now on.
    pub(super) fn take_from(&mut self, holder: i64, queues: Vec<QueueName>) {
        self.queues.extend(queues.iter().cloned());
        if let Some(holder) = self.holders.get_mut(&holder) {
            holder.subscription.queues = queues;
        }
    }

    /// Whether a consumer is registered.
    pub(super) fn is_registered(&self, holder: i64) -> bool {
        self.holders.contains_key(&holder)
    }

    /// Ends a consumer and gives back what it holds.
    pub(super) fn unregister(&mut self, holder: i64, counted: bool) {
        self.holders.remove(&holder);
        let held: Vec<i64> = self
            .held
            .iter()
            .filter_map(|(number, by)| (*by == holder).then_some(*number))
            .collect();
        for number in held {
            self.held.remove(&number);
            if let Some(entry) = self.entries.get_mut(&number)
                && !counted
            {
                entry.deliveries = entry.deliveries.saturating_sub(1);
            }
            self.enqueue(number, None, Timestamp::MIN);
        }
    }

    /// Ends the consumers of a name as if they had died.
    pub(super) fn expire(&mut self, consumer: &str) {
        let dead: Vec<i64> = self
            .holders
            .iter()
            .filter_map(|(number, it)| (it.subscription.consumer == consumer).then_some(*number))
            .collect();
        for holder in dead {
            self.unregister(holder, true);
        }
    }

    /// When the next delayed message falls due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.delayed.first().map(|(due, _)| *due)
    }

    fn promote(&mut self, now: Timestamp) {
        while let Some((due, number)) = self.delayed.first().copied() {
            if due > now {
                return;
            }
            self.delayed.remove(&(due, number));
            self.enqueue(number, None, now);
        }
    }

    /// The last number given to anything: another one after a claim means a message died.
    pub(super) fn last_number(&self) -> i64 {
        self.sequence
    }

    /// Claims for a consumer: larger priorities first, queues in turn.
    pub(super) fn claim(&mut self, holder: i64, credit: usize, now: Timestamp) -> Vec<Delivery> {
        self.promote(now);
        let mut deliveries = Vec::new();
        while deliveries.len() < credit {
            let Some((number, limit)) = self.take_next(holder) else {
                break;
            };
            let Some(entry) = self.entries.get(&number) else {
                continue;
            };
            if entry.deliveries >= limit {
                self.die_of_deliveries(number, now);
                continue;
            }
            if entry.deliveries > 0 && self.has_its_suspects(holder) {
                self.enqueue(number, None, now);
                break;
            }
            let Some(entry) = self.entries.get_mut(&number) else {
                continue;
            };
            entry.deliveries += 1;
            let decoded = headers::decode(
                &entry.headers,
                &entry.content_type,
                entry.body.to_vec(),
                9 - entry.rank.min(9),
            );
            match decoded {
                Err(reason) => self.bury(number, DeadReason::Malformed, reason, now),
                Ok(message) => {
                    self.held.insert(number, holder);
                    deliveries.push(Delivery {
                        tag: number,
                        queue: entry.queue.clone(),
                        deliveries: entry.deliveries,
                        revoked: self.revoked.contains(&message.headers.id),
                        message,
                    });
                }
            }
        }
        deliveries
    }

    /// Whether a consumer holds as many messages that were delivered before as it may.
    fn has_its_suspects(&self, holder: i64) -> bool {
        let held = self.held.iter().filter(|(number, by)| {
            let entry = self.entries.get(number);
            **by == holder && entry.is_some_and(|entry| entry.deliveries > 1)
        });
        let limit = self
            .holders
            .get(&holder)
            .map(|it| it.subscription.suspects.get());
        limit.is_some_and(|limit| held.count() >= limit)
    }

    /// Takes the next ready message of a consumer's queues, and how often it is delivered at most.
    fn take_next(&mut self, holder: i64) -> Option<(i64, u32)> {
        let holder = self.holders.get_mut(&holder)?;
        let queues = &holder.subscription.queues;
        let mut best = None;
        for step in 0..queues.len() {
            let index = (holder.turn + step) % queues.len();
            let queue = &queues[index];
            let first = (queue.clone(), 0, i64::MIN);
            let head = self.ready.range(first..).next();
            if let Some((_, rank, _)) = head.filter(|(of, _, _)| of == queue) {
                let found = (*rank, step, head.cloned(), index);
                best = best.into_iter().chain([found]).min();
            }
        }
        let (_, _, key, index) = best?;
        holder.turn = index + 1;
        let limit = holder.subscription.most_deliveries().get();
        let key = key?;
        self.ready.remove(&key);
        Some((key.2, limit))
    }

    fn die_of_deliveries(&mut self, number: i64, now: Timestamp) {
        let Some(entry) = self.entries.get(&number) else {
            return;
        };
        let error = TaskError::delivery_limit(entry.deliveries);
        let text = error.message().to_owned();
        let failure = serde_json::from_slice(&entry.headers)
            .ok()
            .and_then(|headers| refusal::failure(&headers, error));
        if let Some(result) = failure {
            self.store_result(result, false);
        }
        self.bury(number, DeadReason::DeliveryLimit, text, now);
    }

    fn bury(&mut self, number: i64, reason: DeadReason, detail: String, now: Timestamp) {
        if let Some(entry) = self.entries.remove(&number) {
            let dead = Dead {
                entry,
                reason,
                detail,
                died_at: now,
            };
            self.dead.insert(number, dead);
        }
    }

    /// Carries out a settlement, if the delivery is still `holder`'s.
    pub(super) fn settle(&mut self, holder: i64, ending: Ending, now: Timestamp) -> Settled {
        let tag = ending.tag;
        if self.held.get(&tag) != Some(&holder) {
            return Settled::LeaseLost;
        }
        self.held.remove(&tag);
        if let Some(result) = ending.result {
            self.store_result(result, true);
        }
        for (entry, eta) in ending.follow_ups {
            self.publish(entry, eta, now);
        }
        match ending.verdict {
            Verdict::Requeue { eta, counted } => {
                if let Some(entry) = self.entries.get_mut(&tag)
                    && !counted
                {
                    entry.deliveries = entry.deliveries.saturating_sub(1);
                }
                self.enqueue(tag, eta, now);
            }
            Verdict::Dead(reason, detail) => self.bury(tag, reason, detail, now),
            _ => {
                self.entries.remove(&tag);
            }
        }
        Settled::Done
    }

    /// Stores a result; a final one is replaced by final ones only, and by none if not `any`.
    pub(super) fn store_result(&mut self, result: StoredResult, any: bool) {
        let number = self.next();
        let keep = self
            .results
            .get(&result.id)
            .is_some_and(|(_, old)| old.state.is_final() && !(any && result.state.is_final()));
        if !keep {
            self.results.insert(result.id.clone(), (number, result));
        }
    }

    /// What is held of a call, unless it has expired.
    pub(super) fn result(&self, id: &TaskId, now: Timestamp) -> Option<StoredResult> {
        self.numbered_result(id, now)
            .map(|(_, result)| result.clone())
    }

    /// The same, with a number that changes when it does.
    pub(super) fn numbered_result(
        &self,
        id: &TaskId,
        now: Timestamp,
    ) -> Option<&(i64, StoredResult)> {
        self.results.get(id).filter(|(_, it)| it.expires_at > now)
    }

    /// Forgets a result.
    pub(super) fn forget(&mut self, id: &TaskId) {
        self.results.remove(id);
    }

    /// Marks calls as revoked.
    pub(super) fn revoke(&mut self, ids: &[TaskId]) {
        self.revoked.extend(ids.iter().cloned());
        self.revocations.extend(ids.iter().cloned());
        let is_revoked = |number: &i64| {
            let id = self
                .entries
                .get(number)
                .and_then(|entry| entry.task_id.as_ref());
            id.is_some_and(|id| ids.contains(id))
        };
        let hastened: Vec<_> = self
            .delayed
            .iter()
            .filter(|(_, number)| is_revoked(number))
            .copied()
            .collect();
        for (due, number) in hastened {
            self.delayed.remove(&(due, number));
            self.enqueue(number, None, due);
        }
    }

    /// Revocations after the first `seen`.
    pub(super) fn revocations(&self, seen: usize) -> Vec<TaskId> {
        self.revocations[seen.min(self.revocations.len())..].to_vec()
    }

    /// Drops what waits in a queue.
    pub(super) fn purge(&mut self, queue: &QueueName) -> u64 {
        let before = self.entries.len();
        let (entries, held) = (&mut self.entries, &self.held);
        entries.retain(|number, entry| entry.queue != *queue || held.contains_key(number));
        let entries = &self.entries;
        self.ready
            .retain(|(_, _, number)| entries.contains_key(number));
        self.delayed
            .retain(|(_, number)| entries.contains_key(number));
        (before - self.entries.len()) as u64
    }

    /// Dead messages, newest first.
    pub(super) fn dead(&self, limit: usize) -> Vec<DeadMessage> {
        let mut dead: Vec<_> = self.dead.iter().collect();
        dead.sort_by_key(|(number, dead)| std::cmp::Reverse((dead.died_at, **number)));
        dead.into_iter()
            .take(limit)
            .map(|(number, dead)| DeadMessage {
                number: *number,
                queue: dead.entry.queue.clone(),
                reason: dead.reason,
                detail: dead.detail.clone(),
                died_at: dead.died_at,
                deliveries: dead.entry.deliveries,
                headers: dead.entry.headers.clone(),
                content_type: dead.entry.content_type.clone(),
                body: dead.entry.body.to_vec(),
            })
            .collect()
    }

    /// Puts dead messages back.
    pub(super) fn retry_dead(&mut self, numbers: &[i64]) -> u64 {
        let mut revived = 0;
        for number in numbers {
            let found = self.dead.get(number);
            if found.is_none_or(|dead| dead.reason == DeadReason::Malformed) {
                continue;
            }
            if let Some(mut dead) = self.dead.remove(number) {
                dead.entry.deliveries = 0;
                if let Some(id) = &dead.entry.task_id {
                    self.results.remove(id);
                }
                self.publish(dead.entry, None, Timestamp::now());
                revived += 1;
            }
        }
        revived
    }

    /// Deletes dead messages.
    pub(super) fn drop_dead(&mut self, numbers: &[i64]) -> u64 {
        let gone = numbers.iter().filter(|it| self.dead.remove(it).is_some());
        gone.count() as u64
    }

    /// How full the queues are.
    pub(super) fn queues(&self, now: Timestamp) -> Vec<QueueInfo> {
        let of = |number: &i64, name: &QueueName| {
            self.entries.get(number).is_some_and(|it| it.queue == *name)
        };
        let count_delayed = |name: &QueueName, due_now: bool| {
            let of_queue = self.delayed.iter().filter(|(_, number)| of(number, name));
            of_queue.filter(|(due, _)| (*due <= now) == due_now).count() as u64
        };
        let info = |name: &QueueName| QueueInfo {
            name: name.clone(),
            ready: self
                .ready
                .iter()
                .filter(|(queue, _, _)| queue == name)
                .count() as u64
                + count_delayed(name, true),
            delayed: count_delayed(name, false),
            held: self.held.keys().filter(|number| of(number, name)).count() as u64,
            dead: self
                .dead
                .values()
                .filter(|it| it.entry.queue == *name)
                .count() as u64,
        };
        self.queues.iter().map(info).collect()
    }

    /// The consumers.
    pub(super) fn consumers(&self) -> Vec<ConsumerInfo> {
        let info = |(number, holder): (&i64, &Holder)| ConsumerInfo {
            name: holder.subscription.consumer.clone(),
            pid: std::process::id(),
            queues: holder.subscription.queues.clone(),
            held: self.held.values().filter(|by| *by == number).count() as u64,
            started_at: holder.started_at,
            silent_for: Duration::ZERO,
        };
        self.holders.iter().map(info).collect()
    }
}
