//! In which order a queue gives out what is ready.
//!
//! The line is a table of slots. For a queue it is a ring, from where it begins to where it ends. For the
//! other two it begins at 0: a stack, or a heap whose least item is the first.
//!
//! # Invariants
//!
//! - The line is derived: if a change of it was broken off, it is made anew from the slots.
//! - In a ring its begin is written by those who get and its end by those who put; each side keeps what it
//!   has seen of the other one, and looks again only when that does not do.

use std::sync::atomic::{AtomicU32, Ordering};

use super::layout::{BEGIN, BEGIN_SEEN, END, END_SEEN, LINE, MOST};
use super::shelf::Shelf;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) enum Order {
    /// What was put first is got first.
    First,
    /// What was put last is got first.
    Last,
    /// The least item is got first: whether the one in a slot comes before that in another.
    Least(fn(&Shelf, u32, u32) -> bool),
}

/// The line in a segment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    pub(super) shelf: &'a Shelf,
    pub(super) words: &'a [AtomicU32],
}

impl<'a> Line<'a> {
    /// How many are in it.
    pub(super) fn len(self) -> u32 {
        let begin = self.words[BEGIN].load(Ordering::Acquire);
        let end = self.words[END].load(Ordering::Acquire);
        end.wrapping_sub(begin).min(self.shelf.size())
    }

    /// Whether so many are in it, for those who put.
    pub(super) fn has(self, count: u32) -> bool {
        let long = |line: Self| line.get(END).wrapping_sub(line.get(BEGIN_SEEN)) >= count;
        if long(self) {
            let begin = self.words[BEGIN].load(Ordering::Acquire);
            self.set(BEGIN_SEEN, begin);
            return long(self);
        }
        false
    }

    /// Adds a slot where it belongs.
    pub(super) fn push(self, slot: u32) {
        let end = self.get(END);
        self.set_slot(end, slot);
        self.set(END, end.wrapping_add(1));
        if let Order::Least(before) = self.shelf.order() {
            self.rise(end, before);
        }
    }

    /// The slot that comes next, for those who get.
    pub(super) fn first(self) -> Option<u32> {
        let begin = self.get(BEGIN);
        if begin == self.get(END_SEEN) || !matches!(self.shelf.order(), Order::First) {
            let end = self.words[END].load(Ordering::Acquire);
            self.set(END_SEEN, end);
        }
        let end = self.get(END_SEEN);
        if begin == end {
            return None;
        }
        let place = match self.shelf.order() {
            Order::First | Order::Least(_) => begin,
            Order::Last => end.wrapping_sub(1),
        };
        Some(self.slot(place))
    }

    /// Removes the slot that came next.
    pub(super) fn advance(self) {
        match self.shelf.order() {
            Order::First => self.set(BEGIN, self.get(BEGIN).wrapping_add(1)),
            Order::Last => self.set(END, self.get(END).saturating_sub(1)),
            Order::Least(before) => {
                let last = self.get(END).saturating_sub(1);
                self.set_slot(0, self.slot(last));
                self.set(END, last);
                self.sink(0, before);
            }
        }
    }

    /// Adds a slot as the next one, for those who put and get.
    pub(super) fn push_next(self, slot: u32) {
        if matches!(self.shelf.order(), Order::First) {
            let begin = self.get(BEGIN).wrapping_sub(1);
            self.set_slot(begin, slot);
            self.set(BEGIN, begin);
            self.set(BEGIN_SEEN, begin);
        } else {
            self.push(slot);
        }
    }

    /// Makes it of these slots, which are sorted by their numbers.
    pub(super) fn fill(self, slots: impl IntoIterator<Item = u32>) {
        for which in [BEGIN, BEGIN_SEEN, END, END_SEEN] {
            self.set(which, 0);
        }
        for slot in slots {
            self.push(slot);
        }
    }

    /// Moves what is at a place of the heap to where nothing comes before it that is above.
    fn rise(self, mut place: u32, before: fn(&Shelf, u32, u32) -> bool) {
        while place > 0 {
            let above = (place - 1) / 2;
            if !before(self.shelf, self.slot(place), self.slot(above)) {
                return;
            }
            self.swap(place, above);
            place = above;
        }
    }

    /// Moves what is at a place of the heap to where it comes before all that is below.
    fn sink(self, mut place: u32, before: fn(&Shelf, u32, u32) -> bool) {
        let end = self.get(END);
        loop {
            let below = (2 * place + 1..end).take(2);
            let least = below.reduce(|one, other| {
                if before(self.shelf, self.slot(other), self.slot(one)) {
                    other
                } else {
                    one
                }
            });
            let Some(least) = least else {
                return;
            };
            if !before(self.shelf, self.slot(least), self.slot(place)) {
                return;
            }
            self.swap(place, least);
            place = least;
        }
    }

    fn swap(self, one: u32, other: u32) {
        let slot = self.slot(one);
        self.set_slot(one, self.slot(other));
        self.set_slot(other, slot);
    }

    fn place(self, place: u32) -> &'a AtomicU32 {
        let index = place & self.shelf.size().wrapping_sub(1);
        &self.words[LINE + index as usize % MOST]
    }

    fn slot(self, place: u32) -> u32 {
        self.place(place).load(Ordering::Relaxed)
    }

    fn set_slot(self, place: u32, slot: u32) {
        self.place(place).store(slot, Ordering::Relaxed);
    }

    fn get(self, which: usize) -> u32 {
        self.words[which].load(Ordering::Relaxed)
    }

    fn set(self, which: usize, value: u32) {
        self.words[which].store(value, Ordering::Release);
    }
}
