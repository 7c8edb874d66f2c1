//! Makes all that is derived anew from the slots of a queue, after a process has died in the midst of a
//! change, or has left items that it had got, or when the tables have grown.

use std::sync::atomic::Ordering;

use super::layout::{DONE_BEGIN, DONE_END, FINISHED, NEXT, PUT, RESERVED, SPARE, SPARES};
use super::line::Order;
use super::shelf::Shelf;
use super::slots::{self, State};

/// Mends a shelf at both sides of which nobody else is.
pub(super) fn mend(shelf: &Shelf) {
    let words = shelf.words();
    let (mut ready, mut spare, mut reserved, mut open) = (Vec::new(), 0, 0, 0);
    shelf.arena().clear();
    let mut next = slots::number(&words[NEXT..]);
    for (index, slot) in slots::known(words) {
        let state = slot.state();
        match state {
            State::Free => {
                slot.set_bytes(0, None);
                words[SPARES + spare as usize].store(index, Ordering::Relaxed);
                spare += 1;
            }
            State::Written(_) => reserved += 1,
            State::Got(_) => open += 1,
            State::Ready => ready.push((slot.number(), index)),
            State::Returned => {
                // Of a stack it is the next one to be got.
                if matches!(shelf.order(), Order::Last) {
                    slot.set_number(next);
                    next = next.wrapping_add(1);
                }
                ready.push((slot.number(), index));
            }
        }
        if let (Some(unit), true) = (slot.place(), state != State::Free) {
            shelf.arena().mark(unit, slot.len());
        }
    }
    ready.sort_unstable();
    // Its number may have been written, but not counted.
    let last = ready.last().map_or(0, |(number, _)| number.wrapping_add(1));
    slots::set_number(&words[NEXT..], next.max(last));
    for (_, index) in &ready {
        shelf.slot(*index).set_state(State::Ready);
    }
    #[expect(clippy::cast_possible_truncation, reason = "there are 2²² slots")]
    shelf.set(PUT, open + ready.len() as u32);
    for which in [FINISHED, DONE_BEGIN, DONE_END] {
        shelf.set(which, 0);
    }
    shelf.set(SPARE, spare);
    shelf.set(RESERVED, reserved);
    shelf.line().fill(ready.into_iter().map(|(_, index)| index));
}
