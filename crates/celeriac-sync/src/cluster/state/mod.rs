//! What every object of this scope is: a state, and calls that change it one after another.
//!
//! A store keeps states and does not know what they mean. [`Object::apply`] is a pure function of the
//! state, what is asked, and the time; so each store has all types with the same meaning, and a new store
//! has them as soon as it can replace one value if nobody else has.
//!
//! # Invariants
//!
//! - A call is carried out once, however often it is sent: its answer is kept until who asked has seen it.
//! - Who waits is answered in the order of coming.
//! - What a member has is its own as long as its lease runs. The first call after that, whoever makes it,
//!   takes it all back.
//!
//! # Clocks that jump
//!
//! The time is that of the place. If its clock is set back, every lease runs on for no longer than a whole one
//! from the first call after that: nobody has what another still holds, and what the dead hold comes back
//! in time. If it is set forwards, leases run out before their time, as if all members had been silent for as
//! long: two may believe then to hold the same, until the first of them renews its lease and is told. Only
//! the fencing numbers, which grow in any case, tell what came from whom. If it is more than a minute, a call
//! that was under way may be carried out twice.

mod ask;
mod holds;
mod meeting;
mod members;
#[cfg(test)]
mod model;
mod plan;
mod shelf;

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

pub(super) use self::ask::{
    Answer, Ask, Batch, Call, Class, Op, Outcome, Reply, Session, Ticket, Who,
};
pub(super) use self::holds::Data;
use self::holds::Holds;
use self::meeting::{Meeting, Notices};
use self::members::Members;
pub(super) use self::plan::{Kind, Plan};
use self::shelf::Shelf;
use crate::SyncError;

/// See the module.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Object {
    plan: Plan,
    state: State,
    /// The greatest number that was given with a hold.
    fence: u64,
    members: Members,
    waiters: VecDeque<Waiter>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Waiter {
    who: Who,
    op: Op,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum State {
    Holds(Holds),
    Shelf(Shelf),
    Event(bool),
    Notices(Notices),
    Meeting(Meeting),
}

impl Object {
    pub(super) fn new(plan: Plan, now: u64) -> Self {
        let state = match plan.kind {
            Kind::Queue | Kind::LifoQueue | Kind::PriorityQueue | Kind::Pipe => {
                State::Shelf(Shelf::new(&plan))
            }
            Kind::Event => State::Event(false),
            Kind::Condition => State::Notices(Notices::default()),
            Kind::Barrier => State::Meeting(Meeting::new(plan.size)),
            _ => State::Holds(Holds::new(&plan)),
        };
        Self {
            plan,
            state,
            // Greater than any number of an object of this name that was removed before.
            fence: now.saturating_mul(1000),
            members: Members::default(),
            waiters: VecDeque::new(),
        }
    }

    /// Whether nobody has anything here at `now`.
    pub(super) fn is_idle(&self, now: u64) -> bool {
        self.members.are_idle(now)
    }

    /// The answers for who only looks, if there is nothing to change for that.
    pub(super) fn glance(&self, batch: &Batch, now: u64) -> Option<Outcome> {
        let fresh = batch.looks && self.members.are_fresh(batch, now);
        fresh.then(|| self.outcome(batch, now))
    }

    /// Carries a batch out, and gives the other sessions that have answers now.
    pub(super) fn apply(&mut self, batch: &Batch, now: u64) -> (Outcome, BTreeSet<Session>) {
        let mut told = BTreeSet::new();
        if batch.plan != self.plan {
            let refuse = |call: &Call| (call.ticket, Err(SyncError::OtherType));
            let answers = batch.calls.iter().map(refuse).collect();
            return (Outcome::of(answers), told);
        }
        self.sweep(now, &mut told);
        let (lapsed, forgotten) = self.members.renew(batch, now);
        for call in &batch.calls {
            self.carry_out(batch.session, call, &mut told);
        }
        told.remove(&batch.session);
        let outcome = Outcome {
            lapsed,
            forgotten,
            ..self.outcome(batch, now)
        };
        (outcome, told)
    }

    fn outcome(&self, batch: &Batch, now: u64) -> Outcome {
        let answers = self.members.get(batch.session).map(|member| {
            let answers = member.answers.iter();
            answers.map(|(ticket, answer)| (*ticket, answer.clone()))
        });
        Outcome {
            answers: answers.into_iter().flatten().collect(),
            lapsed: false,
            forgotten: false,
            next_ms: self.members.next(batch.session, now),
        }
    }

    fn carry_out(&mut self, session: Session, call: &Call, told: &mut BTreeSet<Session>) {
        let who = Who {
            session,
            ticket: call.ticket,
        };
        if self.is_known(who) {
            return;
        }
        if let State::Meeting(meeting) = &mut self.state {
            meeting.see(self.waiters.len());
        }
        let answer = match &call.op {
            Op::Cancel { of, undo } => {
                let ticket = *of;
                Some(Ok(self.cancel(Who { session, ticket }, *undo)))
            }
            op if self.waiters.is_empty() && op.class() != Class::Arrive => {
                self.state.attempt(who, op, &mut self.fence)
            }
            op if op.class() == Class::Never => self.state.attempt(who, op, &mut self.fence),
            _ => None,
        };
        if let Some(answer) = answer {
            self.answer(who, answer, call.quiet, told);
            self.settle(told);
            return;
        }
        let op = call.op.clone();
        self.waiters.push_back(Waiter { who, op });
        self.settle(told);
        if !call.waits && self.remove_waiter(who).is_some() {
            self.answer(who, Err(SyncError::Busy), call.quiet, told);
        }
    }

    fn is_known(&self, who: Who) -> bool {
        let member = self.members.get(who.session);
        member.is_some_and(|member| member.answers.contains_key(&who.ticket))
            || self.waiters.iter().any(|waiter| waiter.who == who)
    }

    fn answer(&mut self, who: Who, answer: Answer, quiet: bool, told: &mut BTreeSet<Session>) {
        if quiet {
            return;
        }
        if let Some(member) = self.members.get_mut(who.session) {
            member.answers.insert(who.ticket, answer);
            told.insert(who.session);
        }
    }

    /// Answers all who wait and need not any more, in their order.
    fn settle(&mut self, told: &mut BTreeSet<Session>) {
        while !self.waiters.is_empty() {
            if let State::Meeting(meeting) = &mut self.state {
                meeting.see(self.waiters.len());
                meeting.begin();
            }
            let answered = self.pass(told);
            if answered == 0 {
                break;
            }
        }
        match &mut self.state {
            State::Notices(notices) => notices.end(),
            State::Meeting(meeting) => meeting.end(),
            State::Holds(_) | State::Shelf(_) | State::Event(_) => {}
        }
    }

    /// One pass over those who wait; gives how many were answered. Where one of a class must go on waiting,
    /// so must those of that class who came later.
    fn pass(&mut self, told: &mut BTreeSet<Session>) -> usize {
        let (mut answered, mut place, mut stuck) = (0, 0, BTreeSet::new());
        while let Some(waiter) = self.waiters.get(place) {
            let class = waiter.op.class();
            let answer = if stuck.contains(&class) {
                None
            } else {
                self.state.attempt(waiter.who, &waiter.op, &mut self.fence)
            };
            let Some(answer) = answer else {
                stuck.insert(class);
                place += 1;
                continue;
            };
            if let Some(waiter) = self.waiters.remove(place) {
                self.answer(waiter.who, answer, false, told);
            }
            answered += 1;
        }
        answered
    }

    fn remove_waiter(&mut self, who: Who) -> Option<Waiter> {
        let place = self.waiters.iter().position(|waiter| waiter.who == who)?;
        self.waiters.remove(place)
    }

    /// Ends the waiting of one. Whether it was waiting still; if not, and it is to be undone, it is.
    fn cancel(&mut self, who: Who, undo: bool) -> Reply {
        let Some(waiter) = self.remove_waiter(who) else {
            if undo {
                self.state.undo(who);
            }
            return Reply::Flag(false);
        };
        if let (State::Meeting(meeting), Op::Arrive { breaks: true }) =
            (&mut self.state, &waiter.op)
        {
            meeting.abort();
        }
        Reply::Flag(true)
    }

    /// Takes back what those have whose lease has run out, and forgets them later.
    fn sweep(&mut self, now: u64, told: &mut BTreeSet<Session>) {
        let lapsed = self.members.lapse(now);
        self.members.forget(now);
        // All of them go before anything is given on, so that none of them is the next.
        for session in &lapsed {
            let before = self.waiters.len();
            self.waiters.retain(|waiter| waiter.who.session != *session);
            self.state.bury(*session, before != self.waiters.len());
        }
        if !lapsed.is_empty() {
            self.settle(told);
        }
    }
}

impl State {
    /// The answer, if there is no need to wait for it.
    fn attempt(&mut self, who: Who, op: &Op, fence: &mut u64) -> Option<Answer> {
        match self {
            _ if matches!(op, Op::Hello) => Some(Ok(Reply::Done)),
            Self::Holds(holds) => holds.attempt(who, op, fence),
            Self::Shelf(shelf) => shelf.attempt(who, op, fence),
            Self::Event(set) => meeting::event(set, op),
            Self::Notices(notices) => notices.attempt(op),
            Self::Meeting(meeting) => meeting.attempt(op),
        }
    }

    /// Takes back what a call was given that nobody waits for any more.
    fn undo(&mut self, who: Who) {
        match self {
            Self::Holds(holds) => holds.undo(who),
            Self::Shelf(shelf) => shelf.undo(who),
            Self::Event(_) | Self::Notices(_) | Self::Meeting(_) => {}
        }
    }

    /// Takes back what a session has, which was waiting or not.
    fn bury(&mut self, session: Session, was_waiting: bool) {
        match self {
            Self::Holds(holds) => holds.bury(session),
            Self::Shelf(shelf) => shelf.bury(session),
            Self::Meeting(meeting) if was_waiting => meeting.abort(),
            Self::Event(_) | Self::Notices(_) | Self::Meeting(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const LEASE: u64 = 1000;

    fn plan(kind: Kind) -> Plan {
        Plan {
            kind,
            size: 2,
            shape: String::new(),
            named: false,
        }
    }

    fn batch(kind: Kind, session: Session, calls: &[(Ticket, Op)]) -> Batch {
        let call = |(ticket, op): &(Ticket, Op)| Call {
            ticket: *ticket,
            op: op.clone(),
            waits: true,
            quiet: false,
        };
        Batch {
            object: "it".to_owned(),
            plan: plan(kind),
            session,
            lease_ms: LEASE,
            member: false,
            looks: false,
            seen: Vec::new(),
            calls: calls.iter().map(call).collect(),
        }
    }

    fn put(byte: u8) -> Op {
        Op::Put {
            item: Bytes::from(vec![byte]),
            rank: Bytes::new(),
        }
    }

    fn fence_of(outcome: &Outcome) -> (u64, bool) {
        match outcome.answers[0].1 {
            Ok(Reply::Held {
                fence, recovered, ..
            }) => (fence, recovered),
            ref other => panic!("{other:?}"),
        }
    }

    const TAKE: Op = Op::Acquire { ask: None };

    #[test]
    fn a_call_that_is_sent_again_is_carried_out_once() {
        let mut queue = Object::new(plan(Kind::Queue), 0);
        let sent = batch(Kind::Queue, 1, &[(1, put(1)), (2, put(2)), (3, put(3))]);
        let (first, _) = queue.apply(&sent, 0);
        let (again, _) = queue.apply(&sent, 10);
        assert_eq!((first.answers.len(), again.answers.len()), (2, 2));
        let (count, _) = queue.apply(&batch(Kind::Queue, 2, &[(1, Op::Count)]), 20);
        assert_eq!(count.answers[0].1.as_ref().unwrap().number(), Ok(2));
    }

    #[test]
    fn the_next_holder_after_a_lease_is_told_and_has_a_greater_number() {
        let mut lock = Object::new(plan(Kind::Lock), 0);
        let (first, _) = lock.apply(&batch(Kind::Lock, 1, &[(1, TAKE)]), 0);
        let (fence, recovered) = fence_of(&first);
        assert!(!recovered);
        let waits = batch(Kind::Lock, 2, &[(1, TAKE)]);
        let (nothing, _) = lock.apply(&waits, 900);
        assert_eq!((nothing.answers.len(), nothing.next_ms), (0, Some(100)));
        let (second, _) = lock.apply(&batch(Kind::Lock, 2, &[]), 1001);
        let (greater, recovered) = fence_of(&second);
        assert!(recovered && greater > fence);
        let late = batch(
            Kind::Lock,
            1,
            &[(
                2,
                Op::Release {
                    of: 1,
                    dirty: false,
                    ask: None,
                },
            )],
        );
        let late = Batch {
            member: true,
            ..late
        };
        let (told, _) = lock.apply(&late, 1100);
        assert!(told.lapsed);
        assert!(matches!(told.answers[0].1, Err(SyncError::Lost)));
    }

    #[test]
    fn who_waits_is_told_in_the_order_of_coming() {
        let mut lock = Object::new(plan(Kind::Lock), 0);
        for session in 1..=3 {
            lock.apply(&batch(Kind::Lock, session, &[(1, TAKE)]), session);
        }
        for session in 1..=2 {
            let release = Op::Release {
                of: 1,
                dirty: false,
                ask: None,
            };
            let (_, told) = lock.apply(&batch(Kind::Lock, session, &[(2, release)]), 10);
            assert_eq!(told.into_iter().collect::<Vec<_>>(), [session + 1]);
        }
    }

    #[test]
    fn an_answer_is_kept_for_who_comes_late_and_what_was_put_is_not_put_again() {
        let mut queue = Object::new(plan(Kind::Queue), 0);
        queue.apply(
            &batch(Kind::Queue, 1, &[(1, put(1)), (2, put(2)), (3, put(3))]),
            0,
        );
        queue.apply(&batch(Kind::Queue, 2, &[(1, Op::Get)]), 10);
        // The third was put by now, and its session stands still for longer than its lease.
        queue.apply(&batch(Kind::Queue, 2, &[]), 5000);
        let again = Batch {
            member: true,
            ..batch(Kind::Queue, 1, &[(3, put(3))])
        };
        let (late, _) = queue.apply(&again, 5010);
        assert!(late.lapsed && !late.forgotten);
        assert_eq!(late.answers.len(), 3);
        let (count, _) = queue.apply(&batch(Kind::Queue, 3, &[(1, Op::Count)]), 5020);
        // The one that was got has come back, as its session stood still as well.
        assert_eq!(count.answers[0].1.as_ref().unwrap().number(), Ok(3));
    }

    #[test]
    fn another_type_is_refused_and_changes_nothing() {
        let mut lock = Object::new(plan(Kind::Lock), 0);
        let (refused, _) = lock.apply(&batch(Kind::Queue, 1, &[(1, put(1))]), 0);
        assert!(matches!(refused.answers[0].1, Err(SyncError::OtherType)));
        assert!(lock.is_idle(0));
    }
}
