//! What a session has under way: calls to be sent, calls that wait for an answer, holds to be renewed.
//!
//! # Invariants
//!
//! - A call is in the list to be sent, or at the place, or answered; it is sent again only after a failure,
//!   or when the place has said that it does not know it any more.
//! - Calls on one object are sent in the order in which they were made.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::memory::millis;
use super::slot::{Hold, Slot};
use super::state::{Answer, Batch, Call, Op, Outcome, Plan, Reply, Session, Ticket};
use crate::SyncError;

/// How soon a place that did not answer is asked again.
const PATIENCE: Duration = Duration::from_millis(50);

/// How late a lease of another is looked after.
const LATE: Duration = Duration::from_millis(2);

/// See the module.
#[derive(Debug)]
pub(super) struct Desk {
    id: Session,
    lease: Duration,
    tickets: Ticket,
    shares: HashMap<Arc<str>, Share>,
    /// The objects with something to send.
    ready: Vec<Arc<str>>,
    failing: Option<Failing>,
    /// When the keeper looks after all this next.
    planned: Option<Instant>,
}

/// What the session has to do with one object.
#[derive(Debug)]
struct Share {
    plan: Arc<Plan>,
    users: usize,
    calls: Vec<Call>,
    seen: HashSet<Ticket>,
    waits: HashMap<Ticket, Wait>,
    holds: HashMap<Ticket, Arc<Hold>>,
    /// Whether it had something there after the last answer.
    member: bool,
    is_ready: bool,
    /// Whether it was told that there are answers.
    told: bool,
    /// When the lease is renewed, or that of another looked after.
    due: Option<Instant>,
}

#[derive(Debug)]
struct Wait {
    call: Call,
    slot: Arc<Slot>,
}

/// The place does not answer.
#[derive(Debug)]
struct Failing {
    since: Instant,
    next: Instant,
}

impl Share {
    fn has_stakes(&self) -> bool {
        !self.holds.is_empty() || !self.waits.is_empty()
    }

    fn is_of_use(&self) -> bool {
        self.users > 0 || self.has_stakes() || !self.calls.is_empty()
    }
}

impl Desk {
    pub(super) fn new(id: Session, lease: Duration) -> Self {
        Self {
            id,
            lease,
            tickets: 0,
            shares: HashMap::new(),
            ready: Vec::new(),
            failing: None,
            planned: None,
        }
    }

    pub(super) fn id(&self) -> Session {
        self.id
    }

    /// Has one more user of an object.
    pub(super) fn open(&mut self, name: &Arc<str>, plan: &Arc<Plan>) {
        let share = || Share {
            plan: plan.clone(),
            users: 0,
            calls: Vec::new(),
            seen: HashSet::new(),
            waits: HashMap::new(),
            holds: HashMap::new(),
            member: false,
            is_ready: false,
            told: false,
            due: None,
        };
        let share = self.shares.entry(name.clone()).or_insert_with(share);
        share.users += 1;
    }

    /// Has one user less.
    pub(super) fn close(&mut self, name: &Arc<str>) {
        if let Some(share) = self.shares.get_mut(name) {
            share.users = share.users.saturating_sub(1);
            if !share.is_of_use() {
                self.shares.remove(name);
            }
        }
    }

    /// Whether there is another user of it who takes it for something else.
    pub(super) fn is_other(&self, name: &str, plan: &Plan) -> bool {
        self.shares
            .get(name)
            .is_some_and(|share| *share.plan != *plan)
    }

    /// Makes a call; without a slot, nobody wants its answer.
    pub(super) fn call(
        &mut self,
        name: &Arc<str>,
        op: Op,
        waits: bool,
        slot: Option<&Arc<Slot>>,
    ) -> Ticket {
        self.tickets += 1;
        let ticket = self.tickets;
        let Some(share) = self.shares.get_mut(name) else {
            return ticket;
        };
        let call = Call {
            ticket,
            op,
            waits,
            quiet: slot.is_none(),
        };
        if let Some(slot) = slot {
            let (call, slot) = (call.clone(), slot.clone());
            share.waits.insert(ticket, Wait { call, slot });
        }
        share.calls.push(call);
        self.is_ready(name);
        ticket
    }

    fn is_ready(&mut self, name: &Arc<str>) {
        if let Some(share) = self.shares.get_mut(name)
            && !share.is_ready
        {
            share.is_ready = true;
            self.ready.push(name.clone());
        }
    }

    /// Nobody waits for this call any more, and nobody will answer it.
    pub(super) fn forget(&mut self, name: &Arc<str>, ticket: Ticket) {
        if let Some(share) = self.shares.get_mut(name) {
            share.waits.remove(&ticket);
            share.calls.retain(|call| call.ticket != ticket);
        }
    }

    /// Nobody waits for this call any more. What it gets, or got, is given back.
    pub(super) fn withdraw(&mut self, name: &Arc<str>, ticket: Ticket) {
        let Some(share) = self.shares.get_mut(name) else {
            return;
        };
        share.waits.remove(&ticket);
        share.holds.remove(&ticket);
        let before = share.calls.len();
        share.calls.retain(|call| call.ticket != ticket);
        if share.calls.len() == before {
            let (of, undo) = (ticket, true);
            self.call(name, Op::Cancel { of, undo }, false, None);
        }
    }

    /// What was got with this call is renewed no more.
    pub(super) fn drop_hold(&mut self, name: &Arc<str>, ticket: Ticket) {
        if let Some(share) = self.shares.get_mut(name) {
            share.holds.remove(&ticket);
        }
    }

    /// Others have answered calls on this object.
    pub(super) fn told(&mut self, name: &str) {
        if let Some((name, share)) = self.shares.get_key_value(name)
            && share.has_stakes()
        {
            let name = name.clone();
            if let Some(share) = self.shares.get_mut(&name) {
                share.told = true;
            }
            self.is_ready(&name);
        }
    }

    /// Something may have been told that nobody heard.
    pub(super) fn told_all(&mut self) {
        let names: Vec<_> = self.shares.keys().cloned().collect();
        for name in names {
            self.told(&name);
        }
    }

    /// Has all sent what is due, and gives when the next is.
    pub(super) fn look_after(&mut self, now: Instant) -> Option<Instant> {
        self.lose_late(now);
        let due = |share: &Share| share.due.is_some_and(|due| due <= now);
        let names: Vec<_> = self
            .shares
            .iter()
            .filter(|(_, share)| due(share))
            .map(|it| it.0.clone())
            .collect();
        for name in names {
            if let Some(share) = self.shares.get_mut(&name) {
                share.due = None;
            }
            self.is_ready(&name);
        }
        let failing = self.failing.as_ref().map(|failing| failing.next);
        let dues = self.shares.values().filter_map(|share| share.due);
        let lapses = self.shares.values().flat_map(|share| share.holds.values());
        let lapses = lapses
            .filter(|hold| hold.is_held())
            .map(|hold| hold.until());
        self.planned = dues.chain(lapses).chain(failing).min();
        self.planned
    }

    /// Tells those who hold something longer than they may be sure to have it.
    fn lose_late(&self, now: Instant) {
        for hold in self.shares.values().flat_map(|share| share.holds.values()) {
            if hold.until() <= now {
                hold.lose();
            }
        }
    }

    /// Whether there is something to send now.
    pub(super) fn has_work(&self, now: Instant) -> bool {
        !self.ready.is_empty()
            && self
                .failing
                .as_ref()
                .is_none_or(|failing| failing.next <= now)
    }

    /// Takes all that is to be sent.
    pub(super) fn take(&mut self, now: Instant) -> Vec<Batch> {
        if !self.has_work(now) {
            return Vec::new();
        }
        let (session, lease_ms) = (self.id, millis(self.lease));
        let mut batches = Vec::with_capacity(self.ready.len());
        for name in std::mem::take(&mut self.ready) {
            let Some(share) = self.shares.get_mut(&name) else {
                continue;
            };
            share.is_ready = false;
            let looks = std::mem::take(&mut share.told) && share.calls.is_empty();
            if share.calls.is_empty() && !share.has_stakes() {
                continue;
            }
            batches.push(Batch {
                object: name.as_ref().to_owned(),
                plan: (*share.plan).clone(),
                session,
                lease_ms,
                member: share.member,
                looks,
                seen: if looks {
                    Vec::new()
                } else {
                    share.seen.drain().collect()
                },
                calls: std::mem::take(&mut share.calls),
            });
        }
        batches
    }

    /// The place did not answer: all is sent again, before what was asked meanwhile. After a lease nothing
    /// holds any more, and the session begins anew under this id; gives whether it did.
    pub(super) fn put_back(&mut self, batches: Vec<Batch>, now: Instant, id: Session) -> bool {
        let since = self.failing.as_ref().map_or(now, |failing| failing.since);
        if now.duration_since(since) >= self.lease {
            self.give_up(id);
            return true;
        }
        let next = now + PATIENCE;
        self.failing = Some(Failing { since, next });
        for mut batch in batches {
            let name: Arc<str> = batch.object.as_str().into();
            if let Some(share) = self.shares.get_mut(&name) {
                batch.calls.append(&mut share.calls);
                share.calls = batch.calls;
                share.seen.extend(batch.seen);
                share.told |= batch.looks;
            }
            self.is_ready(&name);
        }
        false
    }

    fn give_up(&mut self, id: Session) {
        self.id = id;
        self.failing = None;
        self.ready.clear();
        for share in self.shares.values_mut() {
            for (_, hold) in share.holds.drain() {
                hold.lose();
            }
            for (_, wait) in share.waits.drain() {
                wait.slot.fill(Err(SyncError::Unreachable));
            }
            share.calls.clear();
            share.seen.clear();
            share.is_ready = false;
            share.member = false;
            share.due = None;
        }
    }

    /// Hands out what the place has answered to batches that were sent at `start`. Whether something is due
    /// before the keeper looks.
    pub(super) fn settle(
        &mut self,
        batches: Vec<Batch>,
        outcomes: Vec<Outcome>,
        start: Instant,
    ) -> bool {
        self.failing = None;
        let mut earlier = false;
        for (batch, outcome) in batches.into_iter().zip(outcomes) {
            let name: Arc<str> = batch.object.as_str().into();
            let lease = self.lease;
            let Some(share) = self.shares.get_mut(&name) else {
                continue;
            };
            let next = outcome.next_ms.map(Duration::from_millis);
            let again = share.settle(&batch, outcome, start, lease);
            share.member = share.has_stakes();
            share.due = share.has_stakes().then(|| {
                let own = lease / 3;
                let other = next.filter(|_| !share.waits.is_empty());
                start + other.map_or(own, |other| own.min(other + LATE))
            });
            let planned = self.planned;
            earlier |= share
                .due
                .is_some_and(|due| planned.is_none_or(|planned| due < planned));
            let idle = !share.is_of_use();
            if again {
                self.is_ready(&name);
            }
            if idle {
                self.shares.remove(&name);
            }
        }
        earlier
    }
}

impl Share {
    /// Hands out answers; gives whether there is something to send again.
    fn settle(&mut self, batch: &Batch, outcome: Outcome, start: Instant, lease: Duration) -> bool {
        // The others count from when it was asked, by their clocks.
        let until = start + lease.saturating_sub(lease / 8);
        if outcome.lapsed {
            for (_, hold) in self.holds.drain() {
                hold.lose();
            }
        } else if !batch.looks {
            for hold in self.holds.values() {
                hold.renew(until);
            }
        }
        for (ticket, answer) in outcome.answers {
            self.seen.insert(ticket);
            self.answer(ticket, answer, until);
        }
        if outcome.lapsed {
            return self.resume(batch, outcome.forgotten);
        }
        false
    }

    fn answer(&mut self, ticket: Ticket, answer: Answer, until: Instant) {
        let Some(wait) = self.waits.remove(&ticket) else {
            return;
        };
        wait.slot.fill(answer.map(|reply| {
            let gives = matches!(reply, Reply::Held { .. } | Reply::Item { .. });
            let hold = gives.then(|| Hold::new(until));
            if let Some(hold) = &hold {
                self.holds.insert(ticket, hold.clone());
            }
            (reply, hold)
        }));
    }

    /// The place has taken back what was held here. What waits joins the end of the line, unless
    /// it may have been answered.
    fn resume(&mut self, batch: &Batch, forgotten: bool) -> bool {
        let sent: HashSet<_> = batch
            .calls
            .iter()
            .chain(&self.calls)
            .map(|call| call.ticket)
            .collect();
        let mut stale: Vec<_> = self
            .waits
            .keys()
            .filter(|ticket| !sent.contains(ticket))
            .copied()
            .collect();
        stale.sort_unstable();
        for ticket in &stale {
            if forgotten {
                if let Some(wait) = self.waits.remove(ticket) {
                    wait.slot.fill(Err(SyncError::Lost));
                }
            } else if let Some(wait) = self.waits.get(ticket) {
                self.calls.push(wait.call.clone());
            }
        }
        !self.calls.is_empty()
    }
}
