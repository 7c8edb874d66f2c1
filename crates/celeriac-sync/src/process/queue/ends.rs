//! Who has an end of a pipe: for each seat how many that send and how many that receive.

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::gate::{ALL, open};
use super::super::segment::MOST;
use super::layout::{CLOSED, EMPTIED, ENDS, FILLED};

/// What is done at one end of one direction of a pipe.
#[derive(Debug, Clone, Copy)]
pub(super) enum End {
    /// Items are put there.
    Sends = 0,
    /// Items are got there.
    Receives = 16,
}

/// One end more in a seat.
pub(super) fn join(words: &[AtomicU32], seat: u32, end: End) {
    words[ENDS + seat as usize - 1].fetch_add(1 << end as u32, Ordering::AcqRel);
}

/// One end less in a seat: whether it was the last one.
pub(super) fn leave(words: &[AtomicU32], seat: u32, end: End) -> bool {
    words[ENDS + seat as usize - 1].fetch_sub(1 << end as u32, Ordering::AcqRel);
    !has(words, end)
}

/// What a process has that has died. The last end of a kind closes the direction.
pub(super) fn leave_all(words: &[AtomicU32], seat: u32) {
    let ends = &words[ENDS + seat as usize - 1];
    if ends.load(Ordering::Acquire) == 0 {
        return;
    }
    let others = |end| {
        let mine = ends.load(Ordering::Acquire) >> (end as u32) & 0xffff;
        count(words, end) > mine
    };
    // First it is closed, then the seat is empty: who does this after another has died does it all.
    if !others(End::Sends) || !others(End::Receives) {
        words[CLOSED].store(1, Ordering::Release);
        open(&words[FILLED], ALL);
        open(&words[EMPTIED], ALL);
    }
    ends.store(0, Ordering::Release);
}

fn has(words: &[AtomicU32], end: End) -> bool {
    count(words, end) > 0
}

fn count(words: &[AtomicU32], end: End) -> u32 {
    let seats = words[ENDS..ENDS + MOST].iter();
    seats
        .map(|seat| seat.load(Ordering::Acquire) >> (end as u32) & 0xffff)
        .fold(0, u32::saturating_add)
}
