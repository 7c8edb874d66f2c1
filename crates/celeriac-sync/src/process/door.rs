//! The word of a gate, on which those sleep whose turn has not come.
//!
//! ```text
//!  bit 0   somebody may be asleep
//!  above   how often the gate was opened for somebody asleep
//! ```
//!
//! # Invariants
//!
//! - Who opens says so after what it opens for, and who sleeps looks after it has said that it does: one of
//!   them sees the other.
//! - Nobody is woken a second time before it has run: the opening that woke it has cleared the bit.

// The parent decides whose primitives these are, so that a model checker can put its own in place.
use super::futex;
use super::sync::{AtomicU32, Ordering, fence};

const ASLEEP: u32 = 1;
const OPENED: u32 = 2;

/// All who wait.
pub(super) const ALL: u32 = u32::MAX >> 1;

/// Says that somebody may be asleep soon: what to sleep on, after one more look.
pub(super) fn announce(word: &AtomicU32) -> u32 {
    let seen = word.load(Ordering::Relaxed);
    let seen = if seen & ASLEEP == 0 {
        word.fetch_or(ASLEEP, Ordering::SeqCst) | ASLEEP
    } else {
        seen
    };
    fence(Ordering::SeqCst);
    seen
}

/// Lets so many try again that sleep.
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

/// Whether somebody may be asleep that has not been woken yet.
pub(super) fn is_awaited(word: &AtomicU32) -> bool {
    word.load(Ordering::Relaxed) & ASLEEP != 0
}
