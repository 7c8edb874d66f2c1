//! Where those wait, in whatever process, whose turn has not come.
//!
//! ```text
//!  word   bit 0   somebody may be asleep
//!         above   how often the gate was opened for somebody asleep
//! ```
//!
//! # Invariants
//!
//! - Who opens says so after what it opens for, and who sleeps looks after it has said that it does: one of
//!   them sees the other.
//! - Whoever was asleep says again that somebody may be, before it tries: others may be asleep beside it. If
//!   it leaves something for them it opens the gate for the next one.
//! - Nobody is woken a second time before it has run: the opening that woke it has cleared the bit.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering, fence};
use std::time::{Duration, Instant};

use super::futex;
use super::segment::Segment;
use crate::SyncError;

/// How long one sleeps before it looks whether somebody has died.
const SLICE: Duration = Duration::from_millis(50);

/// What one try gave: nothing yet, or the end of waiting.
pub(super) type Attempt<T> = Option<Result<T, SyncError>>;

const ASLEEP: u32 = 1;
const OPENED: u32 = 2;

/// All who wait.
pub(super) const ALL: u32 = u32::MAX >> 1;

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
        is_awaited(self.word())
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
            let seen = self.announce();
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
            let seen = self.announce();
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
                    gate.announce();
                    gate.open(1);
                }
            })
            .await;
        }
    }

    /// Says that somebody may be asleep soon: what to sleep on.
    fn announce(self) -> u32 {
        let word = self.word();
        let seen = word.load(Ordering::Relaxed);
        let seen = if seen & ASLEEP == 0 {
            word.fetch_or(ASLEEP, Ordering::SeqCst) | ASLEEP
        } else {
            seen
        };
        fence(Ordering::SeqCst);
        seen
    }

    /// Sleeps until the gate is opened, but not longer than `most`; looks then whether somebody has died.
    fn sleep(self, seen: u32, most: Duration) {
        futex::wait(self.word(), seen, most);
        if self.word().load(Ordering::Relaxed) == seen {
            self.segment.sweep();
        }
    }
}

/// The same for those who have no more than the word.
pub(super) fn open(word: &AtomicU32, count: u32) {
    fence(Ordering::SeqCst);
    let opened = |seen: u32| {
        let next = (seen & !ASLEEP).wrapping_add(OPENED);
        (seen & ASLEEP != 0).then_some(next)
    };
    if !is_awaited(word) {
        return;
    }
    if word
        .fetch_update(Ordering::SeqCst, Ordering::Relaxed, opened)
        .is_ok()
    {
        futex::wake(word, count);
    }
}

fn is_awaited(word: &AtomicU32) -> bool {
    word.load(Ordering::Relaxed) & ASLEEP != 0
}
