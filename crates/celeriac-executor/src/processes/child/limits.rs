//! Which calls in a child's hands are over their time, and when to look again.
//!
//! A child says in the arena when each call with limits began, so that looking costs no traffic, and a
//! child that is stuck is found out all the same.

use std::collections::HashMap;
use std::time::Duration;

use celeriac_core::Limits;

use super::super::arena::Running;
use super::super::clock;
use super::super::death::Doom;
use super::super::job::stopped;
use super::flight::Flight;

/// Looks are at least so far apart; limits that pass in between are found together.
const PAUSE_NS: u64 = 250_000;

/// What a look was taken at.
#[derive(Debug, Clone, Copy)]
pub(super) struct Look {
    pub(super) now: u64,
    /// How much later than the child itself the parent keeps hard limits.
    pub(super) backstop: u64,
    /// When the child was last heard of.
    pub(super) last_news: u64,
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The calls that are past their soft limit, told or not.
    pub(super) overdue: Vec<Running>,
    /// Why the child has to be killed.
    pub(super) doom: Option<Doom>,
    /// When to look again.
    pub(super) next: Option<u64>,
}

impl Look {
    /// Looks at `flights`, in the order they were sent, and at what the child's lanes run.
    pub(super) fn at<'a>(
        self,
        flights: impl Iterator<Item = &'a Flight>,
        lanes: impl Iterator<Item = Running>,
    ) -> Findings {
        let mut begun: HashMap<u32, Vec<Running>> = HashMap::new();
        for running in lanes {
            begun.entry(running.call.serial).or_default().push(running);
        }
        let mut findings = Findings::default();
        for (place, flight) in flights.enumerate() {
            self.cancelled(flight, &mut findings);
            if !flight.job.request.limits.any() {
                continue;
            }
            let running: Vec<Running> = begun
                .remove(&flight.serial)
                .into_iter()
                .flatten()
                .filter(|running| !flight.answered.contains(running.call.index as usize))
                .collect();
            for running in &running {
                self.soft(flight, *running, &mut findings);
                self.hard(flight, *running, &mut findings);
            }
            if flight.answered.len() + running.len() < flight.job.chunk.len() {
                self.not_begun(flight, place == 0 && running.is_empty(), &mut findings);
            }
        }
        findings
    }

    /// A call that was asked to end has until its grace is over.
    fn cancelled(self, flight: &Flight, findings: &mut Findings) {
        let Some(kill_at) = flight.kill_at else {
            return;
        };
        let request = &flight.job.request;
        if kill_at > self.now {
            findings.look_at(kill_at);
        } else if let Some(error) = stopped(request.control.interrupted()) {
            findings.doom = Some(Doom::Cancelled {
                request: request.number,
                error,
            });
        }
    }

    fn soft(self, flight: &Flight, running: Running, findings: &mut Findings) {
        let Some(limit) = soft(flight.job.request.limits) else {
            return;
        };
        let due = running.since.saturating_add(limit);
        if due <= self.now {
            findings.overdue.push(running);
        } else {
            findings.look_at(due.max(self.now + PAUSE_NS));
        }
    }

    fn hard(self, flight: &Flight, running: Running, findings: &mut Findings) {
        let request = &flight.job.request;
        let Some(limit) = request.limits.hard else {
            return;
        };
        let due = running.since.saturating_add(self.patience(limit));
        if due <= self.now {
            findings.doom = Some(Doom::HardLimit {
                request: request.number,
                call: flight.job.first + running.call.index as usize,
                limit,
            });
        } else {
            findings.look_at(due.max(self.now + PAUSE_NS));
        }
    }

    /// Some of its calls are not begun: each begins now or later, or never if the child is `idle`.
    fn not_begun(self, flight: &Flight, idle: bool, findings: &mut Findings) {
        let limits = flight.job.request.limits;
        if let Some(limit) = soft(limits) {
            findings.look_at(self.now.saturating_add(limit.max(PAUSE_NS)));
        }
        let Some(limit) = limits.hard else {
            return;
        };
        let patience = self.patience(limit);
        let given_up = flight.sent_at.max(self.last_news).saturating_add(patience);
        if !idle {
            findings.look_at(self.now.saturating_add(patience.max(PAUSE_NS)));
        } else if given_up <= self.now {
            findings.doom = Some(Doom::Stuck("it did not begin what it was given".to_owned()));
        } else {
            findings.look_at(given_up);
        }
    }

    fn patience(self, limit: Duration) -> u64 {
        clock::nanos(limit) + self.backstop
    }
}

impl Findings {
    fn look_at(&mut self, at: u64) {
        self.next = Some(self.next.map_or(at, |known| known.min(at)));
    }
}

/// How long a call that begins now has before anybody needs to look at it.
pub(super) fn first(limits: Limits, backstop: u64) -> Option<u64> {
    let hard = limits.hard.map(|limit| clock::nanos(limit) + backstop);
    soft(limits).into_iter().chain(hard).min()
}

/// The soft limit, if it comes before the hard one.
fn soft(limits: Limits) -> Option<u64> {
    limits
        .soft
        .filter(|soft| limits.hard.is_none_or(|hard| *soft < hard))
        .map(clock::nanos)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use celeriac_core::chunk::ChunkBuilder;
    use celeriac_core::outcome::TaskError;
    use celeriac_core::payload::ContentType;
    use celeriac_core::task::{Run, TaskDefinition, TaskOptions};
    use celeriac_core::{Control, Invocation, OutcomeChunk, Reply, TaskId, Work};

    use super::super::super::arena::CallName;
    use super::super::super::job::{Answered, Request};
    use super::*;

    const MS: u64 = 1_000_000;

    static TASK: TaskDefinition = TaskDefinition {
        name: "task",
        signature: "task()",
        parameters: &[],
        is_async: false,
        wants_context: false,
        options: TaskOptions::DEFAULT,
        call: |_, _, _| Run::Ready(Ok(Vec::new())),
    };

    struct Nobody;

    impl Reply for Nobody {
        fn outcomes(&self, _: OutcomeChunk) {}
        fn failed(&self, _: TaskError) {}
    }

    /// A chunk of two calls with limits in milliseconds, sent at 0 under number `serial`.
    fn flight(serial: u32, soft: Option<u64>, hard: Option<u64>) -> Flight {
        let mut chunk = ChunkBuilder::new(ContentType::Msgpack);
        chunk.push(&()).unwrap();
        chunk.push(&()).unwrap();
        let invocation = Invocation {
            id: TaskId::new(),
            task: &TASK,
            attempt: 1,
            limits: Limits {
                soft: soft.map(Duration::from_millis),
                hard: hard.map(Duration::from_millis),
            },
            control: Control::new(),
            work: Work::Encoded(chunk.finish()),
            reply: Arc::new(Nobody),
        };
        Flight {
            job: Request::accept(invocation, 7, 0, false).unwrap(),
            serial,
            nonce: 0,
            answered: Answered::default(),
            sent_at: 0,
            cost_ns: 0.0,
            alone: true,
            kill_at: None,
        }
    }

    fn running(serial: u32, index: u32, since: u64) -> Running {
        let call = CallName { serial, index };
        Running {
            lane: 0,
            call,
            since,
        }
    }

    fn look(now_ms: u64, flights: &[Flight], lanes: &[Running]) -> Findings {
        let look = Look {
            now: now_ms * MS,
            backstop: 0,
            last_news: 0,
        };
        look.at(flights.iter(), lanes.iter().copied())
    }

    #[test]
    fn a_call_is_looked_at_again_when_its_limit_passes() {
        let flights = [flight(1, Some(10), Some(30))];
        let findings = look(5, &flights, &[running(1, 0, 2 * MS)]);
        assert!(findings.overdue.is_empty() && findings.doom.is_none());
        assert_eq!(findings.next, Some(12 * MS));
    }

    #[test]
    fn a_call_over_its_soft_limit_is_named_and_the_next_one_has_its_full_time() {
        let mut flights = [flight(1, Some(10), None)];
        let first = running(1, 0, 2 * MS);
        let findings = look(12, &flights, &[first]);
        assert_eq!(findings.overdue, [first]);
        assert_eq!(
            findings.next,
            Some(22 * MS),
            "should the next one begin now"
        );
        flights[0].answered.note(0, 1);
        let last = running(1, 1, 2 * MS);
        let findings = look(12, &flights, &[last]);
        assert_eq!((findings.overdue, findings.next), (vec![last], None));
    }

    #[test]
    fn a_call_that_has_its_outcome_is_over_no_limit() {
        let mut flights = [flight(1, Some(10), Some(20))];
        flights[0].answered.note(0, 1);
        let findings = look(50, &flights, &[running(1, 0, 0), running(9, 0, 0)]);
        assert!(findings.overdue.is_empty());
        assert!(matches!(findings.doom, Some(Doom::Stuck(_))), "nor begun");
    }

    #[test]
    fn a_hard_limit_names_the_call() {
        let findings = look(30, &[flight(1, None, Some(20))], &[running(1, 1, 10 * MS)]);
        let Some(Doom::HardLimit { request, call, .. }) = findings.doom else {
            panic!("{findings:?}");
        };
        assert_eq!((request, call), (7, 1));
    }

    #[test]
    fn what_waits_behind_a_long_call_is_looked_at_when_its_limit_could_pass() {
        let flights = [flight(1, None, None), flight(2, None, Some(20))];
        let findings = look(500, &flights, &[running(1, 0, 0)]);
        assert!(findings.doom.is_none());
        assert_eq!(findings.next, Some(520 * MS));
    }

    #[test]
    fn a_soft_limit_behind_the_hard_one_is_none() {
        let findings = look(
            25,
            &[flight(1, Some(20), Some(20))],
            &[running(1, 0, 4 * MS)],
        );
        assert!(findings.overdue.is_empty());
        assert!(findings.doom.is_some());
    }
}
