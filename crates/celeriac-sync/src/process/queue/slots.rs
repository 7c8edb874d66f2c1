//! The slots of a queue: what is in it, for as long as it is not finished.
//!
//! ```text
//!  words   0  what becomes of it just now, and whose it is
//!          1  its number, by which items come in their order; two words
//!          3  how many bytes it has
//!          4  where those are in the arena, plus 1; 0 if they are with the slot
//! ```
//!
//! # Invariants
//!
//! - A slot says all about its item. Everything else in the segment is derived from the slots.
//! - A slot that names a seat is changed by that process only, or after its death by who sweeps.
//! - What becomes of it is written last, in one word: a process may die at any moment.

use std::sync::atomic::{AtomicU32, Ordering};

use super::layout::{KNOWN, MOST, SIZE, SLOT, SLOTS};

const STATE: usize = 0;
const NUMBER: usize = 1;
const LEN: usize = 3;
const PLACE: usize = 4;

/// What becomes of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Nothing is in it.
    Free,
    /// A process writes what is put.
    Written(u32),
    /// Somebody may get it.
    Ready,
    /// A process has got it, and not finished.
    Got(u32),
    /// Who had got it has died, and it is not in the line again yet.
    Returned,
}

const FREE: u32 = 0;
const WRITTEN: u32 = 1 << 16;
const READY: u32 = 2 << 16;
const GOT: u32 = 3 << 16;
const RETURNED: u32 = 4 << 16;
const SEAT: u32 = 0xffff;

impl State {
    fn word(self) -> u32 {
        match self {
            Self::Free => FREE,
            Self::Written(seat) => WRITTEN | seat,
            Self::Ready => READY,
            Self::Got(seat) => GOT | seat,
            Self::Returned => RETURNED,
        }
    }

    fn of(word: u32) -> Self {
        match word & !SEAT {
            WRITTEN => Self::Written(word & SEAT),
            READY => Self::Ready,
            GOT => Self::Got(word & SEAT),
            RETURNED => Self::Returned,
            _ => Self::Free,
        }
    }
}

/// One slot, as words.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slot<'a>(&'a [AtomicU32]);

impl<'a> Slot<'a> {
    /// One of a segment. A number that is none of a slot, which only a process could have written that
    /// keeps no rule, is taken for another.
    pub(super) fn of(words: &'a [AtomicU32], index: u32) -> Self {
        let start = SLOTS + index as usize % MOST * SLOT;
        Self(&words[start..start + SLOT])
    }

    pub(super) fn state(self) -> State {
        State::of(self.0[STATE].load(Ordering::Acquire))
    }

    pub(super) fn set_state(self, state: State) {
        self.0[STATE].store(state.word(), Ordering::Release);
    }

    pub(super) fn number(self) -> u64 {
        number(&self.0[NUMBER..])
    }

    pub(super) fn set_number(self, value: u64) {
        set_number(&self.0[NUMBER..], value);
    }

    /// How many bytes its item has.
    pub(super) fn len(self) -> usize {
        self.0[LEN].load(Ordering::Relaxed) as usize
    }

    /// Where those are in the arena.
    pub(super) fn place(self) -> Option<u32> {
        self.0[PLACE].load(Ordering::Relaxed).checked_sub(1)
    }

    pub(super) fn set_bytes(self, len: usize, place: Option<u32>) {
        #[expect(clippy::cast_possible_truncation, reason = "an item has 2³⁰ at most")]
        self.0[LEN].store(len as u32, Ordering::Relaxed);
        self.0[PLACE].store(place.map_or(0, |place| place + 1), Ordering::Relaxed);
    }
}

/// A number in two words.
pub(super) fn number(words: &[AtomicU32]) -> u64 {
    let [low, high] = [0, 1].map(|half| u64::from(words[half].load(Ordering::Relaxed)));
    high << 32 | low
}

pub(super) fn set_number(words: &[AtomicU32], value: u64) {
    #[expect(clippy::cast_possible_truncation, reason = "one half and the other")]
    for (half, value) in [value as u32, (value >> 32) as u32].into_iter().enumerate() {
        words[half].store(value, Ordering::Relaxed);
    }
}

/// All slots that were ever used.
pub(super) fn known(words: &[AtomicU32]) -> impl Iterator<Item = (u32, Slot<'_>)> {
    let known = words[KNOWN].load(Ordering::Acquire);
    // Others may have spoilt these numbers.
    let most = words[SIZE].load(Ordering::Acquire) as usize;
    #[expect(clippy::cast_possible_truncation, reason = "there are 2²²")]
    let known = known.min(most.min(MOST) as u32);
    (0..known).map(|index| (index, Slot::of(words, index)))
}

/// Lets go of what the process in a seat had: whether anything has to come back into the line.
pub(super) fn leave(words: &[AtomicU32], seat: u32) -> bool {
    let mut returned = false;
    for (_, slot) in known(words) {
        match slot.state() {
            State::Got(holder) if holder == seat => slot.set_state(State::Returned),
            State::Written(holder) if holder == seat => slot.set_state(State::Free),
            // Somebody who did this before has died as well.
            State::Returned => {}
            _ => continue,
        }
        returned = true;
    }
    returned
}
