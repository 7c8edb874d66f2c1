//! No interleaving of threads leaves a call of a map in its line with nobody to run it.
//!
//! The source of the count is compiled here once more, on the primitives of a model checker, which
//! tries every order in which memory may show the threads each other's steps.

use loom::sync::Arc;
use loom::thread;

#[path = "../../src/map/runners.rs"]
mod source;

/// What the source takes its primitives from.
mod sync {
    pub(super) use loom::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
}

use source::{Advice, Runners};
use sync::{AtomicUsize, Ordering};

/// A line of calls whose queue promises no order to those who look at it.
struct Line {
    runners: Runners,
    queued: AtomicUsize,
    answered: AtomicUsize,
}

impl Line {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            runners: Runners::new(),
            queued: AtomicUsize::new(0),
            answered: AtomicUsize::new(0),
        })
    }

    fn push(&self) -> Advice {
        self.queued.fetch_add(1, Ordering::Relaxed);
        self.runners.advise(1)
    }

    /// Answers what is queued, by running or by refusing it.
    fn drain(&self) {
        let decrement = |queued: usize| queued.checked_sub(1);
        while self
            .queued
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, decrement)
            .is_ok()
        {
            self.answered.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn run(&self) {
        loop {
            self.drain();
            let is_empty = || self.queued.load(Ordering::Relaxed) == 0;
            if self.runners.leave(is_empty) {
                return;
            }
        }
    }
}

#[test]
fn a_call_queued_while_the_runner_leaves_is_run() {
    loom::model(|| {
        let line = Line::new();
        assert_eq!(line.push(), Advice::Start);
        let runner = {
            let line = line.clone();
            thread::spawn(move || line.run())
        };
        if line.push() == Advice::Start {
            line.run();
        }
        runner.join().unwrap();
        assert_eq!(line.answered.load(Ordering::Relaxed), 2);
    });
}

#[test]
fn a_call_queued_while_the_line_closes_is_answered() {
    loom::model(|| {
        let line = Line::new();
        assert_eq!(line.push(), Advice::Start);
        let closing = {
            let line = line.clone();
            thread::spawn(move || {
                line.runners.close();
                line.drain();
            })
        };
        if line.push() == Advice::Refuse {
            line.drain();
        }
        closing.join().unwrap();
        assert_eq!(line.answered.load(Ordering::Relaxed), 2);
    });
}
