//! A side of a shelf, and what those do there who put.

use std::sync::atomic::Ordering;

use super::super::word::Held;
use super::layout::{DONE, DONE_BEGIN, DONE_END, KNOWN, NEXT, PUT, RESERVED, SPARE, SPARES};
use super::shelf::Shelf;
use super::slots::State;
use crate::SyncError;

/// A side of a shelf while nobody else is there.
pub(super) struct Side<'a> {
    shelf: &'a Shelf,
    _held: Held<'a>,
}

impl<'a> Side<'a> {
    /// A side whose lock is held.
    pub(super) fn new(shelf: &'a Shelf, held: Held<'a>) -> Self {
        Self { shelf, _held: held }
    }

    /// Takes a slot in which nothing is.
    pub(super) fn spare(&self) -> Option<u32> {
        let shelf = self.shelf;
        if shelf.get(SPARE) == 0 {
            self.harvest();
        }
        if let Some(count) = shelf.get(SPARE).checked_sub(1) {
            shelf.set(SPARE, count);
            return Some(shelf.entry(SPARES, count).load(Ordering::Relaxed));
        }
        let known = shelf.get(KNOWN);
        (known < shelf.size()).then(|| {
            shelf.set(KNOWN, known.saturating_add(1));
            known
        })
    }

    /// Takes back the slots of what was finished, and the room of that.
    pub(super) fn harvest(&self) {
        let shelf = self.shelf;
        let end = shelf.words()[DONE_END].load(Ordering::Acquire);
        let begin = shelf.get(DONE_BEGIN);
        // They are no more than the table is for.
        for step in 0..end.wrapping_sub(begin).min(shelf.size()) {
            let entry = shelf.entry(DONE, begin.wrapping_add(step));
            self.put_by(entry.load(Ordering::Relaxed));
        }
        shelf.set(DONE_BEGIN, end);
    }

    /// Makes a slot a spare one.
    fn put_by(&self, slot: u32) {
        let known = self.shelf.slot(slot);
        if let Some(unit) = known.place() {
            self.shelf.arena().free(unit, known.len());
        }
        known.set_bytes(0, None);
        let count = self.shelf.get(SPARE);
        let entry = self.shelf.entry(SPARES, count);
        entry.store(slot, Ordering::Relaxed);
        self.shelf.set(SPARE, count.saturating_add(1));
    }

    /// Takes room for an item that is written before it is put.
    pub(super) fn reserve(&self, slot: u32, bytes: usize) -> Result<Reserved<'a>, SyncError> {
        let shelf = self.shelf;
        let unit = match shelf.arena().take(bytes) {
            Ok(unit) => unit,
            Err(why) => {
                self.put_by(slot);
                return Err(why);
            }
        };
        let known = shelf.slot(slot);
        known.set_bytes(bytes, Some(unit));
        known.set_state(State::Written(shelf.seat()));
        shelf.set(RESERVED, shelf.get(RESERVED).saturating_add(1));
        Ok(Reserved { shelf, slot })
    }

    /// Has the item in a slot put.
    pub(super) fn publish(&self, slot: u32) {
        let shelf = self.shelf;
        let known = shelf.slot(slot);
        known.set_number(shelf.count(NEXT, 1));
        known.set_state(State::Ready);
        shelf.set(PUT, shelf.get(PUT).wrapping_add(1));
        shelf.line().push(slot);
    }
}

/// A slot that is being written to; a spare one again if that is not ended.
pub(super) struct Reserved<'a> {
    shelf: &'a Shelf,
    slot: u32,
}

impl Reserved<'_> {
    /// Leaves it to who puts the item.
    pub(super) fn keep(self, side: &Side<'_>) {
        let shelf = side.shelf;
        shelf.set(RESERVED, shelf.get(RESERVED).saturating_sub(1));
        let _kept = std::mem::ManuallyDrop::new(self);
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        let side = self.shelf.putting();
        let reserved = self.shelf.get(RESERVED);
        self.shelf.set(RESERVED, reserved.saturating_sub(1));
        self.shelf.slot(self.slot).set_state(State::Free);
        side.put_by(self.slot);
    }
}
