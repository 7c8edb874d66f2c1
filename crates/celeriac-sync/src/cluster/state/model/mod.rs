//! Objects beside models of them, by sessions that come and go while the clock jumps.

mod data;
mod locks;
mod queues;

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::members::REMEMBERED;
use super::{Answer, Batch, Call, Kind, Object, Op, Outcome, Plan, Session, Ticket};

const LEASE: u64 = 1000;

/// When it begins: late enough for clocks that go back.
const START: u64 = 1_000_000_000;

/// What becomes of the time before a step.
#[derive(Debug, Clone, Copy)]
enum Time {
    /// It passes.
    Passes(u64),
    /// The clock is set forwards.
    Forth(u64),
    /// The clock is set back.
    Back(u64),
}

fn time() -> impl Strategy<Value = Time> {
    prop_oneof![
        8 => (0..LEASE / 2).prop_map(Time::Passes),
        2 => (LEASE / 2..2 * LEASE).prop_map(Time::Passes),
        1 => (0..3 * REMEMBERED).prop_map(Time::Passes),
        1 => (0..3 * REMEMBERED).prop_map(Time::Forth),
        1 => (0..3 * REMEMBERED).prop_map(Time::Back),
    ]
}

fn session() -> impl Strategy<Value = Session> {
    1..4_u64
}

/// An object, the time, and the leases as they should be.
struct Place {
    object: Object,
    plan: Plan,
    /// The time that passed.
    passed: u64,
    /// The time that the clock shows.
    clock: u64,
    leases: BTreeMap<Session, Lease>,
    tickets: Ticket,
}

/// What a session should have.
struct Lease {
    until: u64,
    /// Whether it has run out, which the session has not been told yet.
    lapsed: bool,
    /// Until when the session believes in it, in the time that passed; unless it lost faith, as the
    /// clock was set forwards.
    believed: Option<u64>,
}

impl Place {
    fn new(kind: Kind, size: u64) -> Self {
        let plan = Plan {
            kind,
            size,
            shape: String::new(),
            named: true,
        };
        Self {
            object: Object::new(plan.clone(), START),
            plan,
            passed: 0,
            clock: START,
            leases: BTreeMap::new(),
            tickets: 0,
        }
    }

    /// Moves the time, and gives the sessions whose leases run out with the next call, whoever makes it.
    fn move_time(&mut self, time: Time) -> Vec<Session> {
        match time {
            Time::Passes(time) => {
                self.passed += time;
                self.clock += time;
            }
            Time::Forth(time) => {
                self.clock += time;
                for lease in self.leases.values_mut() {
                    lease.believed = None;
                }
            }
            Time::Back(time) => self.clock -= time,
        }
        let now = self.clock;
        let mut lapsed = Vec::new();
        for (session, lease) in &mut self.leases {
            // A clock that was set back lengthens no lease beyond a whole one.
            lease.until = lease.until.min(now + LEASE);
            if !lease.lapsed && lease.until < now {
                lease.lapsed = true;
                lapsed.push(*session);
            }
        }
        lapsed
    }

    /// A new call.
    fn call(&mut self, op: Op, waits: bool) -> Call {
        self.tickets += 1;
        Call {
            ticket: self.tickets,
            op,
            waits,
            quiet: false,
        }
    }

    /// Makes calls, and gives all answers that the session has not seen. It is told rightly whether its
    /// lease had run out.
    fn make(
        &mut self,
        session: Session,
        calls: Vec<Call>,
    ) -> Result<BTreeMap<Ticket, Answer>, TestCaseError> {
        let is_member = self.leases.contains_key(&session);
        let has_lapsed = self.has_lapsed(session);
        let outcome = self.apply(session, calls, Vec::new(), is_member);
        prop_assert_eq!(outcome.lapsed, has_lapsed);
        let seen = outcome.answers.iter().map(|answer| answer.0).collect();
        self.apply(session, Vec::new(), seen, true);
        let lease = Lease {
            until: self.clock + LEASE,
            lapsed: false,
            believed: Some(self.passed + LEASE),
        };
        self.leases.insert(session, lease);
        Ok(outcome.answers.into_iter().collect())
    }

    fn apply(
        &mut self,
        session: Session,
        calls: Vec<Call>,
        seen: Vec<Ticket>,
        member: bool,
    ) -> Outcome {
        let batch = Batch {
            object: "it".to_owned(),
            plan: self.plan.clone(),
            session,
            lease_ms: LEASE,
            member,
            looks: false,
            seen,
            calls,
        };
        self.object.apply(&batch, self.clock).0
    }

    /// Makes one call that does not wait.
    fn ask(&mut self, session: Session, op: Op) -> Result<Answer, TestCaseError> {
        let call = self.call(op, false);
        let ticket = call.ticket;
        let answers = self.make(session, vec![call])?.remove(&ticket);
        answers.ok_or_else(|| TestCaseError::fail("a call that does not wait is answered"))
    }

    /// Whether the lease of a session has run out, of which it is told next.
    fn has_lapsed(&self, session: Session) -> bool {
        self.leases.get(&session).is_some_and(|lease| lease.lapsed)
    }

    /// Whether a session believes that it has what it was given.
    fn believes(&self, session: Session) -> bool {
        let lease = self.leases.get(&session);
        lease.is_some_and(|lease| lease.believed.is_some_and(|until| until >= self.passed))
    }
}
