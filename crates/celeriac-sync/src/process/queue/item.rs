//! An item that was got from a queue.

use std::fmt;
use std::ops::Deref;

use super::shelf::Shelf;

/// An item that was got from a queue, and is finished when this is dropped.
///
/// If the thread panics meanwhile, or its process dies, it goes back to its queue, as the next one to be
/// got.
#[must_use = "an item that nobody keeps counts as finished"]
pub struct Item<'a, T> {
    item: T,
    hold: Hold<'a>,
}

/// The slot of an item, until it is finished.
struct Hold<'a> {
    shelf: &'a Shelf,
    slot: u32,
}

impl<'a, T> Item<'a, T> {
    pub(super) fn new(item: T, shelf: &'a Shelf, slot: u32) -> Self {
        let hold = Hold { shelf, slot };
        Self { item, hold }
    }

    /// Says that it is finished. The same as dropping it, for those who like to say so.
    pub fn task_done(self) {}

    /// Takes it out, which finishes it.
    pub fn into_inner(self) -> T {
        self.item
    }

    /// Puts it back, as the next one to be got. Changes of the value here are not put back.
    pub fn give_back(self) {
        let hold = std::mem::ManuallyDrop::new(self.hold);
        hold.shelf.give_back(hold.slot);
    }
}

impl<T> Deref for Item<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.item
    }
}

impl<T: fmt::Debug> fmt::Debug for Item<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Item").field(&self.item).finish()
    }
}

impl Drop for Hold<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.shelf.give_back(self.slot);
        } else {
            self.shelf.finish(self.slot);
        }
    }
}
