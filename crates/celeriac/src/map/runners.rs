//! How many take calls from a line, counted so that no call is left behind.
//!
//! # Invariants
//!
//! - After a call was queued, a runner that was counted will look for it, or the one who queued it is
//!   told to start another or that the line is closed.

// The parent decides whose primitives these are, so that a model checker can put its own in place.
use super::sync::{AtomicBool, AtomicUsize, Ordering, fence};

/// What to do after a call was queued.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Advice {
    /// Enough runners are at work.
    Nothing,
    /// Start one, which is counted already.
    Start,
    /// Answer what is queued: nobody will run it.
    Refuse,
}

pub(super) struct Runners {
    count: AtomicUsize,
    closed: AtomicBool,
}

impl Runners {
    pub(super) fn new() -> Self {
        Self {
            count: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// Says what to do after a call was queued, if no more than `most` may run. One thread asks.
    pub(super) fn advise(&self, most: usize) -> Advice {
        // Pairs with the fences below: either they see the call, or we see what they have done.
        fence(Ordering::SeqCst);
        if self.closed.load(Ordering::Relaxed) {
            return Advice::Refuse;
        }
        if self.count.load(Ordering::Relaxed) >= most {
            return Advice::Nothing;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        Advice::Start
    }

    /// Counts a runner off that found nothing; `false` if it has to look again.
    pub(super) fn leave(&self, is_empty: impl Fn() -> bool) -> bool {
        self.count.fetch_sub(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if is_empty() {
            return true;
        }
        self.count.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// From now on calls are refused; those that are queued must be answered after this.
    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
    }
}
