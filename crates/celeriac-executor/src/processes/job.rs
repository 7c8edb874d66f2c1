//! Calls that wait for a child, and the line to whoever wants their outcomes.

use std::collections::BTreeSet;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use celeriac_core::outcome::TaskError;
use celeriac_core::{
    Chunk, Control, Interrupt, Invocation, Limits, OutcomeChunk, Reply, TaskId, Work,
};

/// An invocation the pool has accepted; shared by the jobs it falls into.
pub(super) struct Request {
    pub(super) number: u64,
    pub(super) id: TaskId,
    pub(super) task: u32,
    pub(super) attempt: u32,
    pub(super) limits: Limits,
    /// Whether it must not be sent to a child before it is its turn.
    pub(super) early: bool,
    pub(super) control: Arc<Control>,
    reply: Arc<dyn Reply>,
    announced: AtomicBool,
}

impl Request {
    /// Accepts encoded work; there is no job in anything else.
    pub(super) fn accept(
        invocation: Invocation,
        number: u64,
        task: u32,
        early: bool,
    ) -> Option<Job> {
        let Work::Encoded(chunk) = invocation.work else {
            return None;
        };
        Some(Job {
            request: Arc::new(Self {
                number,
                id: invocation.id,
                task,
                attempt: invocation.attempt,
                limits: invocation.limits,
                early,
                control: invocation.control,
                reply: invocation.reply,
                announced: AtomicBool::new(false),
            }),
            first: 0,
            chunk,
            deaths: 0,
        })
    }

    /// Says once that the first call is about to run.
    pub(super) fn announce(&self) {
        if !self.announced.swap(true, Ordering::Relaxed) {
            guarded(|| self.reply.started());
        }
    }

    pub(super) fn answer(&self, outcomes: OutcomeChunk) {
        self.announce();
        guarded(|| self.reply.outcomes(outcomes));
    }
}

/// A reply is foreign code on the reactor's thread: should it panic, that is its own loss.
pub(super) fn guarded(reply: impl FnOnce()) {
    if catch_unwind(AssertUnwindSafe(reply)).is_err() {
        tracing::error!("a reply to the process pool panicked");
    }
}

/// Neighbouring calls of one request that are not begun yet.
pub(super) struct Job {
    pub(super) request: Arc<Request>,
    /// The number of the first of them in the request.
    pub(super) first: usize,
    pub(super) chunk: Chunk,
    /// How many children died without having run any call that had it first.
    pub(super) deaths: u8,
}

impl Job {
    /// Its place in the queue: by submission, then by call.
    pub(super) fn place(&self) -> (u64, usize) {
        (self.request.number, self.first)
    }

    /// The calls of `range`, counted within this job.
    pub(super) fn part(&self, range: Range<usize>) -> Self {
        Self {
            request: self.request.clone(),
            first: self.first + range.start,
            chunk: part(&self.chunk, range),
            deaths: self.deaths,
        }
    }

    /// Gives each call the same error.
    pub(super) fn fail(&self, error: &TaskError) {
        for index in 0..self.chunk.len() {
            self.fail_one(index, error);
        }
    }

    /// Gives call number `index` of this job an error.
    pub(super) fn fail_one(&self, index: usize, error: &TaskError) {
        let mut outcomes = OutcomeChunk::builder(self.chunk.content_type(), self.first + index);
        outcomes.push(&Err(error.clone()));
        let outcomes = outcomes.finish(std::time::Duration::ZERO);
        guarded(|| self.request.reply.outcomes(outcomes));
    }
}

/// The calls of `range` as a chunk of their own.
fn part(chunk: &Chunk, range: Range<usize>) -> Chunk {
    let tail = chunk.tail(range.start);
    let size: usize = tail
        .iter()
        .take(range.len())
        .map(|record| record.len() + 4)
        .sum();
    let bytes = tail.bytes().slice(..size);
    Chunk::from_bytes(chunk.content_type(), bytes).expect("it is cut between records")
}

/// The error of a call that was asked to stop, if the reason leaves no choice.
pub(super) fn stopped(interrupt: Option<Interrupt>) -> Option<TaskError> {
    match interrupt? {
        Interrupt::SoftTimeLimit => None,
        Interrupt::Shutdown => Some(TaskError::shutdown()),
        _ => Some(TaskError::cancelled()),
    }
}

/// Which calls of a job have their outcome.
#[derive(Debug, Default)]
pub(super) struct Answered {
    /// All below this one have.
    next: usize,
    /// And these above it.
    scattered: BTreeSet<usize>,
}

impl Answered {
    /// Notes the outcomes of calls `first..first + count`; false if one of them had its already.
    pub(super) fn note(&mut self, first: usize, count: usize) -> bool {
        if first == self.next {
            self.next += count;
            while self.scattered.remove(&self.next) {
                self.next += 1;
            }
            return self
                .scattered
                .first()
                .is_none_or(|&lowest| lowest > self.next);
        }
        first > self.next && (first..first + count).all(|index| self.scattered.insert(index))
    }

    pub(super) fn contains(&self, index: usize) -> bool {
        index < self.next || self.scattered.contains(&index)
    }

    /// How many calls have their outcome.
    pub(super) fn len(&self) -> usize {
        self.next + self.scattered.len()
    }

    /// The number of the next call, if they come in order.
    pub(super) fn next(&self) -> usize {
        self.next
    }

    /// The runs of calls below `end` that have no outcome.
    pub(super) fn gaps(&self, end: usize) -> Vec<Range<usize>> {
        let mut gaps = Vec::new();
        let mut start = self.next;
        for &index in self.scattered.iter().chain([&end]) {
            if start < index {
                gaps.push(start..index);
            }
            start = index + 1;
        }
        gaps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outcome_counts_once() {
        let mut answered = Answered::default();
        assert!(answered.note(0, 2));
        assert!(answered.note(4, 1));
        assert!(!answered.note(4, 1));
        assert!(!answered.note(1, 1));
        assert_eq!(answered.len(), 3);
        assert!(answered.contains(4) && !answered.contains(3));
    }

    #[test]
    fn gaps_are_what_is_left_to_run() {
        let mut answered = Answered::default();
        assert!(answered.note(0, 2) && answered.note(3, 1) && answered.note(6, 2));
        assert_eq!(answered.gaps(10), [2..3, 4..6, 8..10]);
        assert!(answered.note(2, 1));
        assert_eq!(answered.gaps(10), [4..6, 8..10]);
        assert_eq!(answered.gaps(8), vec![4..6]);
    }
}
