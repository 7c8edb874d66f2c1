//! The states of a lock in shared memory, and the steps from one to another.
//!
//! ```text
//!  bit 31   somebody may be waiting
//!  bit 30   the last holder died, or panicked; only while nobody holds it
//!  below    the seat of the process that holds it; 0 if none does
//! ```
//!
//! # Invariants
//!
//! - A word that names a seat is given up by a thread of that process, or by whoever sweeps after its
//!   death.
//! - Whoever sleeps on a word has said so in it. Who gives it up wakes one of them, and that one says for the
//!   others that they may be waiting.

// The parent decides whose primitives these are, so that a model checker can put its own in place.
use super::futex;
use super::sync::{AtomicU32, Ordering};

const FREE: u32 = 0;
const WAITED: u32 = 1 << 31;
const ABANDONED: u32 = 1 << 30;

/// Where a state has the seat of who holds it.
pub(super) const SEAT: u32 = ABANDONED - 1;

/// Takes it if nobody has it: whether its last holder left it unduly.
pub(super) fn take(word: &AtomicU32, seat: u32) -> Option<bool> {
    let quick = word.compare_exchange(FREE, seat, Ordering::Acquire, Ordering::Relaxed);
    match quick {
        Ok(_) => Some(false),
        Err(state) if state & SEAT == 0 => take_as(word, state, seat),
        Err(_) => None,
    }
}

/// Takes it in the `state` in which it was seen, which names no holder.
fn take_as(word: &AtomicU32, state: u32, holder: u32) -> Option<bool> {
    let holder = holder | (state & WAITED);
    let taken = word.compare_exchange(state, holder, Ordering::Acquire, Ordering::Relaxed);
    taken.is_ok().then_some(state & ABANDONED != 0)
}

/// Takes it, and has `sleep` called with the state in which to sleep as long as another has it; until that
/// says why not to wait any longer.
pub(super) fn wait<E>(
    word: &AtomicU32,
    seat: u32,
    mut sleep: impl FnMut(u32) -> Result<(), E>,
) -> Result<bool, E> {
    loop {
        let state = word.load(Ordering::Relaxed);
        if state & SEAT == 0 {
            // Others may be waiting too, which nobody could tell if this one took it as if not.
            if let Some(recovered) = take_as(word, state, seat | WAITED) {
                return Ok(recovered);
            }
            continue;
        }
        let waited = state | WAITED;
        let marked = word.compare_exchange(state, waited, Ordering::Relaxed, Ordering::Relaxed);
        if marked.is_ok() {
            sleep(waited)?;
        }
    }
}

/// Gives it up.
pub(super) fn release(word: &AtomicU32, abandoned: bool) {
    let free = if abandoned { ABANDONED } else { FREE };
    if word.swap(free, Ordering::Release) & WAITED != 0 {
        futex::wake(word, 1);
    }
}

/// Gives it up for a process that has died, if that held it.
pub(super) fn recover(word: &AtomicU32, seat: u32) {
    let abandon = |state: u32| (state & SEAT == seat).then_some(ABANDONED);
    if word
        .fetch_update(Ordering::AcqRel, Ordering::Relaxed, abandon)
        .is_ok()
    {
        futex::wake(word, 1);
    }
}
