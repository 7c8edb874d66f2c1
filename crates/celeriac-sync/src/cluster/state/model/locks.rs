//! Locks and semaphores beside a list of those who hold and a line of those who wait.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use proptest::prelude::*;
use proptest::sample::Index;

use super::{Place, Time, session, time};
use crate::SyncError;
use crate::cluster::state::{Answer, Kind, Op, Reply, Session, Ticket, Who};

#[derive(Debug, Clone)]
enum Step {
    Acquire {
        waits: bool,
    },
    /// Gives back one of all that were ever asked for.
    Release(Index),
    Cancel(Index),
    Renew,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => any::<bool>().prop_map(|waits| Step::Acquire { waits }),
        3 => any::<Index>().prop_map(Step::Release),
        1 => any::<Index>().prop_map(Step::Cancel),
        2 => Just(Step::Renew),
    ]
}

/// Who holds with which number, and who waits.
struct Model {
    permits: usize,
    held: BTreeMap<Who, u64>,
    line: VecDeque<Who>,
    /// What was given and is not seen yet: the number, and whether a holder had died.
    given: BTreeMap<Who, (u64, bool)>,
    /// The greatest number that was given.
    last: u64,
    dirty: bool,
    /// Who has seen that it holds, and has not been told otherwise.
    believers: BTreeSet<Who>,
}

impl Model {
    fn bury(&mut self, sessions: &[Session]) {
        let before = self.held.len();
        let lives = |who: &Who| !sessions.contains(&who.session);
        self.held.retain(|who, _| lives(who));
        self.line.retain(lives);
        self.given.retain(|who, _| lives(who));
        self.dirty |= self.held.len() < before;
        self.serve();
    }

    fn serve(&mut self) {
        while self.held.len() < self.permits
            && let Some(who) = self.line.pop_front()
        {
            self.last += 1;
            self.held.insert(who, self.last);
            let given = (self.last, std::mem::take(&mut self.dirty));
            self.given.insert(who, given);
        }
    }

    /// What is answered to a call; nothing to one that asks for a permit, unless it does not get it.
    fn ask(&mut self, who: Who, op: &Op, waits: bool) -> Option<Answer> {
        let other = |ticket: Ticket| Who { ticket, ..who };
        match op {
            Op::Acquire { .. } => {
                self.line.push_back(who);
                self.serve();
                let busy = !waits && self.line.back() == Some(&who);
                busy.then(|| {
                    self.line.pop_back();
                    Err(SyncError::Busy)
                })
            }
            Op::Release { of, .. } => {
                self.believers.remove(&other(*of));
                let released = self.held.remove(&other(*of));
                self.serve();
                Some(released.map(|_| Reply::Done).ok_or(SyncError::Lost))
            }
            Op::Cancel { of, .. } => {
                let before = self.line.len();
                self.line.retain(|waits| *waits != other(*of));
                Some(Ok(Reply::Flag(self.line.len() < before)))
            }
            _ => {
                let free = self.permits - self.held.len();
                Some(Ok(Reply::Number(free as u64)))
            }
        }
    }

    /// What a session finds given to it.
    fn take_given(&mut self, session: Session) -> BTreeMap<Ticket, Answer> {
        let given = std::mem::take(&mut self.given).into_iter();
        let (mine, others) = given.partition(|(who, _)| who.session == session);
        self.given = others;
        let mine: BTreeMap<Who, (u64, bool)> = mine;
        let held = mine.keys().filter(|who| self.held.contains_key(who));
        self.believers.extend(held.copied());
        let answer = |(who, (fence, recovered)): (Who, _)| {
            let reply = None;
            let held = Reply::Held {
                fence,
                recovered,
                reply,
            };
            (who.ticket, Ok(held))
        };
        mine.into_iter().map(answer).collect()
    }
}

fn does_what_its_model_does(
    kind: Kind,
    permits: usize,
    steps: Vec<(Session, Time, Step)>,
) -> Result<(), TestCaseError> {
    let mut place = Place::new(kind, permits as u64);
    let mut model = Model {
        permits,
        held: BTreeMap::new(),
        line: VecDeque::new(),
        given: BTreeMap::new(),
        last: place.object.fence,
        dirty: false,
        believers: BTreeSet::new(),
    };
    let mut asked: Vec<Who> = Vec::new();
    for (session, time, step) in steps {
        model.bury(&place.move_time(time));
        let mine: Vec<_> = asked.iter().filter(|who| who.session == session).collect();
        let pick = |index: Index| (!mine.is_empty()).then(|| index.get(&mine).ticket);
        let (op, waits) = match step {
            Step::Acquire { waits } => (Op::Acquire { ask: None }, waits),
            Step::Release(index) => (pick(index).map_or(Op::Count, release), false),
            Step::Cancel(index) => {
                let cancel = |of| Op::Cancel { of, undo: false };
                (pick(index).map_or(Op::Count, cancel), false)
            }
            Step::Renew => (Op::Count, false),
        };
        let call = place.call(op.clone(), waits);
        let who = Who {
            session,
            ticket: call.ticket,
        };
        if matches!(op, Op::Acquire { .. }) {
            asked.push(who);
        }
        if place.has_lapsed(session) {
            model.believers.retain(|who| who.session != session);
        }
        let answer = model.ask(who, &op, waits);
        let answer = answer.map(|answer| (who.ticket, answer));
        let mut expected = model.take_given(session);
        expected.extend(answer);
        // The numbers of what is given grow from one to the next.
        prop_assert_eq!(place.make(session, vec![call])?, expected);
        let believe = model.believers.iter();
        let believe = believe.filter(|who| place.believes(who.session)).count();
        prop_assert!(
            believe <= permits,
            "{believe} believe to hold one of {permits}"
        );
    }
    // Whatever happened, all permits come back.
    for _ in 0..2 {
        model.bury(&place.move_time(Time::Passes(2 * super::LEASE)));
        prop_assert_eq!(
            place.ask(9, Op::Count)?,
            Ok(Reply::Number((permits - model.held.len()) as u64))
        );
    }
    prop_assert!(model.held.is_empty() && model.line.is_empty());
    Ok(())
}

fn release(of: Ticket) -> Op {
    Op::Release {
        of,
        dirty: false,
        ask: None,
    }
}

proptest! {
    #[test]
    fn a_lock_has_one_holder_whatever_the_clock_does(
        steps in prop::collection::vec((session(), time(), step()), 0..60),
    ) {
        does_what_its_model_does(Kind::Lock, 1, steps)?;
    }

    #[test]
    fn permits_are_as_many_as_before_whatever_the_clock_does(
        permits in 1_usize..4,
        bounded in any::<bool>(),
        steps in prop::collection::vec((session(), time(), step()), 0..60),
    ) {
        let kind = if bounded { Kind::BoundedSemaphore } else { Kind::Semaphore };
        does_what_its_model_does(kind, permits, steps)?;
    }
}
