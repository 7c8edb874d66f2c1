//! State that is changed by one at a time, and waited for.
//!
//! ```text
//!  words   0  the lock of the state
//!          1  how often something changed that others wait for
//!          2  how many may be waiting
//!          3  the state
//! ```
//!
//! # Invariants
//!
//! - A state is whole before and after each of its stores, so that a process may die between any two: what
//!   counts is written last, in one word.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::futex;
use super::segment::{Address, Plan, Segment};
use super::word;
use crate::SyncError;

const CHANGES: usize = 1;
const WAITING: usize = 2;

/// Where the state begins.
pub(super) const STATE: usize = 3;

/// How long one sleeps before it looks whether somebody has died.
const SLICE: Duration = Duration::from_millis(50);

/// What one try gave: nothing yet, or the end of waiting.
pub(super) type Attempt<T> = Option<Result<T, SyncError>>;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Monitor(Arc<Segment>);

impl Monitor {
    pub(super) fn create(plan: Plan) -> Result<Self, SyncError> {
        Segment::create(plan).map(Self)
    }

    pub(super) fn open(address: Address, plan: Plan) -> Result<Self, SyncError> {
        Segment::open(address, plan).map(Self)
    }

    pub(super) fn address(&self) -> Address {
        self.0.address()
    }

    /// The seat of this process.
    pub(super) fn seat(&self) -> u32 {
        self.0.seat()
    }

    /// The state, for those who read single words of it.
    pub(super) fn state(&self) -> &[AtomicU32] {
        &self.0.body()[STATE..]
    }

    /// Looks at or changes the state while nobody else does.
    pub(super) fn with<R>(&self, act: impl FnOnce(&[AtomicU32]) -> R) -> R {
        let lock = &self.0.body()[0];
        if word::take(lock, self.seat()).is_none() {
            // Without a deadline it ends when it is taken. One that died has left the state whole.
            let _ = word::wait(&self.0, 0, None);
        }
        let result = act(self.state());
        word::release(lock, false);
        result
    }

    /// Lets so many try again who wait.
    pub(super) fn open_for(&self, count: u32) {
        open_for(self.0.body(), count);
    }

    /// How often something has changed.
    pub(super) fn changes(&self) -> u32 {
        self.0.body()[CHANGES].load(Ordering::Acquire)
    }

    /// Waits while nothing has changed since `seen`: whether something has, before the deadline.
    pub(super) fn sleep(&self, seen: u32, deadline: Option<Instant>) -> bool {
        let words = self.0.body();
        words[WAITING].fetch_add(1, Ordering::SeqCst);
        let mut left = Some(SLICE);
        while self.changes() == seen {
            left = left_of(deadline);
            let Some(slice) = left else {
                break;
            };
            futex::wait(&words[CHANGES], seen, slice);
            if self.changes() == seen {
                self.0.sweep();
            }
        }
        words[WAITING].fetch_sub(1, Ordering::SeqCst);
        left.is_some()
    }

    /// Tries until it is done, or the deadline has come.
    pub(super) fn wait<T>(
        &self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut(&[AtomicU32]) -> Attempt<T>,
    ) -> Result<T, SyncError> {
        loop {
            let seen = self.changes();
            if let Some(done) = self.with(&mut attempt) {
                return done;
            }
            if !self.sleep(seen, deadline) {
                return self.with(&mut attempt).unwrap_or(Err(SyncError::Timeout));
            }
        }
    }
}

/// The same for those who have no more than the words.
pub(super) fn open_for(words: &[AtomicU32], count: u32) {
    words[CHANGES].fetch_add(1, Ordering::SeqCst);
    if words[WAITING].load(Ordering::SeqCst) > 0 {
        futex::wake(&words[CHANGES], count);
    }
}

/// Gives up the lock of the state for a process that has died, if that held it.
pub(super) fn recover(words: &[AtomicU32], seat: u32) {
    word::recover(&words[0], seat);
}

/// How long to sleep now; `None` when the deadline has come.
fn left_of(deadline: Option<Instant>) -> Option<Duration> {
    let Some(deadline) = deadline else {
        return Some(SLICE);
    };
    let left = deadline.saturating_duration_since(Instant::now());
    (!left.is_zero()).then(|| left.min(SLICE))
}

/// The moment that is so far away; none if that cannot be told, which never comes.
pub(super) fn after(timeout: Duration) -> Option<Instant> {
    Instant::now().checked_add(timeout)
}
