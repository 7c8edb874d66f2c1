//! Where those wait, in whatever process, whose turn has not come.
//!
//! # Invariants
//!
//! - Whoever was asleep says again that somebody may be, before it tries: others may be asleep beside it. If
//!   it leaves something for them it opens the gate for the next one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::door;
pub(super) use super::door::{ALL, open};
use super::futex;
use super::segment::Segment;
use crate::SyncError;

/// How long one sleeps before it looks whether somebody has died.
const SLICE: Duration = Duration::from_millis(50);

/// What one try gave: nothing yet, or the end of waiting.
pub(super) type Attempt<T> = Option<Result<T, SyncError>>;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gate<'a> {
    segment: &'a Arc<Segment>,
    at: usize,
}

impl<'a> Gate<'a> {
    /// The gate whose word is at a place of a segment.
    pub(super) fn at(segment: &'a Arc<Segment>, at: usize) -> Self {
        Self { segment, at }
    }

    fn word(self) -> &'a AtomicU32 {
        &self.segment.body()[self.at]
    }

    /// Whether somebody may be asleep that has not been woken yet.
    pub(super) fn is_awaited(self) -> bool {
        door::is_awaited(self.word())
    }

    /// Lets so many try again that sleep.
    pub(super) fn open(self, count: u32) {
        open(self.word(), count);
    }

    /// Tries until it is done, or the deadline has come.
    pub(super) fn wait<T>(
        self,
        deadline: Option<Instant>,
        mut attempt: impl FnMut() -> Attempt<T>,
    ) -> Result<T, SyncError> {
        if let Some(done) = attempt() {
            return done;
        }
        loop {
            let seen = door::announce(self.word());
            if let Some(done) = attempt() {
                return done;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(SyncError::Timeout);
            }
            self.sleep(seen, left.map_or(SLICE, |left| left.min(SLICE)));
        }
    }

    /// The same as a coroutine. Cancel safe if an attempt that gives nothing leaves nothing behind.
    pub(super) async fn wait_async<T>(
        self,
        mut attempt: impl FnMut() -> Attempt<T>,
    ) -> Result<T, SyncError> {
        if let Some(done) = attempt() {
            return done;
        }
        let waits = Arc::new(());
        loop {
            let seen = door::announce(self.word());
            if let Some(done) = attempt() {
                return done;
            }
            let (segment, at) = (self.segment.clone(), self.at);
            let wanted = Arc::downgrade(&waits);
            blocking::unblock(move || {
                let gate = Gate::at(&segment, at);
                while gate.word().load(Ordering::Acquire) == seen && wanted.strong_count() > 0 {
                    gate.sleep(seen, SLICE);
                }
                if wanted.strong_count() == 0 {
                    // It may have been woken in the place of another.
                    door::announce(gate.word());
                    gate.open(1);
                }
            })
            .await;
        }
    }

    /// Sleeps until the gate is opened, but not longer than `most`; looks then whether somebody has died.
    fn sleep(self, seen: u32, most: Duration) {
        futex::wait(self.word(), seen, most);
        if self.word().load(Ordering::Relaxed) == seen {
            self.segment.sweep();
        }
    }
}
