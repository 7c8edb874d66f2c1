//! The word of a lock in shared memory.
//!
//! Its states are those of a [mutex](super::mutex).
//!
//! # Invariants
//!
//! - Who waits watches the process that holds the lock. Should it watch one that has given it to another
//!   meanwhile, it looks again after [`SLICE`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::futex;
use super::mutex::{self, SEAT};
pub(super) use super::mutex::{recover, release, take};
use super::segment::Segment;
use super::watch::Watch;
use crate::SyncError;

/// How long one sleeps before it looks whom it waits for now.
const SLICE: Duration = Duration::from_millis(100);

/// How often one looks before it sleeps.
const SPINS: u32 = 100;

/// The first word of a segment, taken for whoever keeps this: a guard, or a coroutine for which a thread
/// has waited, which may have gone meanwhile.
#[derive(Debug)]
pub(super) struct Turn {
    segment: Option<Arc<Segment>>,
    recovered: bool,
    abandoned: bool,
}

impl Turn {
    fn new(segment: Arc<Segment>, recovered: bool) -> Self {
        Self {
            segment: Some(segment),
            recovered,
            abandoned: false,
        }
    }

    /// Takes it if nobody has it.
    pub(super) fn take(segment: &Arc<Segment>) -> Option<Self> {
        let recovered = take(&segment.body()[0], segment.seat())?;
        Some(Self::new(segment.clone(), recovered))
    }

    /// Takes it, and waits until `deadline` if another has it.
    pub(super) fn wait(
        segment: &Arc<Segment>,
        deadline: Option<Instant>,
    ) -> Result<Self, SyncError> {
        match Self::take(segment) {
            Some(turn) => Ok(turn),
            None => Ok(Self::new(segment.clone(), wait(segment, 0, deadline)?)),
        }
    }

    /// Waits for it on a thread.
    pub(super) async fn come(segment: Arc<Segment>) -> Result<Self, SyncError> {
        blocking::unblock(move || Self::wait(&segment, None)).await
    }

    /// Whether the holder before left it unduly.
    pub(super) fn recovered(&self) -> bool {
        self.recovered
    }

    /// Has the next holder told that this one leaves it unduly.
    pub(super) fn abandon(&mut self) {
        self.abandoned = true;
    }

    /// Leaves it to another to give the word up: whether the holder before left it unduly.
    pub(super) fn keep(mut self) -> bool {
        self.segment = None;
        self.recovered
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        if let Some(segment) = &self.segment {
            let abandoned = self.abandoned || std::thread::panicking();
            release(&segment.body()[0], abandoned);
        }
    }
}

/// A word that this thread holds, until this is dropped.
#[derive(Debug)]
pub(super) struct Held<'a>(&'a AtomicU32);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        release(self.0, std::thread::panicking());
    }
}

/// Takes the word at `index` of a segment, however long that takes: also whether the holder before left it
/// unduly.
pub(super) fn hold(segment: &Arc<Segment>, index: usize) -> (Held<'_>, bool) {
    let word = &segment.body()[index];
    let quick = take(word, segment.seat());
    // Without a deadline it ends when it is taken.
    let recovered = quick.unwrap_or_else(|| wait(segment, index, None).unwrap_or(true));
    (Held(word), recovered)
}

/// Takes the word at `index` of a segment, and waits until `deadline` if another has it.
pub(super) fn wait(
    segment: &Arc<Segment>,
    index: usize,
    deadline: Option<Instant>,
) -> Result<bool, SyncError> {
    let word = &segment.body()[index];
    let seat = segment.seat();
    for _ in 0..SPINS {
        if let Some(recovered) = take(word, seat) {
            return Ok(recovered);
        }
        std::hint::spin_loop();
    }
    mutex::wait(word, seat, |state| {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Err(SyncError::Timeout);
        }
        let most = left.map_or(SLICE, |left| left.min(SLICE));
        sleep(segment, word, state, most);
        Ok(())
    })
}

/// Sleeps while the word stays as it is, but not longer than its holder lives.
fn sleep(segment: &Arc<Segment>, word: &AtomicU32, state: u32, most: Duration) {
    let holder = segment.member(state & SEAT);
    let watch = match holder {
        // A thread of this process, which cannot die alone.
        Some(_) if state & SEAT == segment.seat() => None,
        Some(holder) => {
            let watch = Watch::over(holder, segment);
            if watch.is_none() {
                segment.sweep();
            }
            watch
        }
        None => None,
    };
    futex::wait(word, state, most);
    drop(watch);
}

/// Whether somebody held it a moment ago.
pub(super) fn is_taken(word: &AtomicU32) -> bool {
    word.load(Ordering::Relaxed) & SEAT != 0
}

/// Whether a seat holds it.
pub(super) fn is_of(word: &AtomicU32, seat: u32) -> bool {
    word.load(Ordering::Relaxed) & SEAT == seat
}
