//! The table of a list: where the entry of each place is.
//!
//! ```text
//!  wide words   0  for how many it has room
//!               1  how many there are
//!               2  where each is
//! ```

use std::sync::atomic::AtomicU64;

use super::entry::Entry;
use super::store::{Store, set_word, word};
use crate::SyncError;

const LEN: usize = 1;
const FIRST: usize = 2;

/// How many a table is for at least.
const LEAST: usize = 14;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rows<'a> {
    store: &'a Store,
    unit: u32,
    place: &'a [AtomicU64],
}

impl<'a> Rows<'a> {
    /// Those that count now; none before the first item.
    pub(super) fn of(store: &'a Store) -> Option<Self> {
        Some(Self::at(store, store.root()?))
    }

    fn at(store: &'a Store, unit: u32) -> Self {
        let place = store.arena().place(unit);
        Self { store, unit, place }
    }

    /// A table of these entries, with room for more, which does not count yet.
    pub(super) fn build(
        store: &'a Store,
        entries: impl ExactSizeIterator<Item = Entry<'a>>,
    ) -> Result<Self, SyncError> {
        let len = entries.len();
        let room = (len + len / 2).max(LEAST);
        let unit = store.take_words(FIRST + room)?;
        let made = Self::at(store, unit);
        set_word(made.place, 0, room as u64);
        set_word(made.place, LEN, len as u64);
        for (index, entry) in entries.enumerate() {
            made.set(index, entry);
        }
        Ok(made)
    }

    /// Makes it the one that counts. The entries of the one before are left to the caller.
    pub(super) fn replace(self) {
        let before = Self::of(self.store);
        self.store.set_root(Some(self.unit));
        if let Some(before) = before {
            before.free();
        }
    }

    /// Gives its room back, but not that of its entries.
    pub(super) fn free(self) {
        self.store.arena().free(self.unit, self.size());
    }

    fn size(self) -> usize {
        (FIRST + self.room()) * 8
    }

    fn room(self) -> usize {
        let most = self.place.len().saturating_sub(FIRST);
        usize::try_from(word(self.place, 0)).map_or(0, |room| room.min(most))
    }

    pub(super) fn len(self) -> usize {
        let room = self.room();
        usize::try_from(word(self.place, LEN)).map_or(0, |len| len.min(room))
    }

    /// The entry of a place that is there.
    pub(super) fn get(self, index: usize) -> Entry<'a> {
        let unit = word(self.place, FIRST + index);
        Entry::at(self.store, u32::try_from(unit).unwrap_or(u32::MAX))
    }

    /// Hangs an entry in a place that is there.
    pub(super) fn set(self, index: usize, entry: Entry<'_>) {
        set_word(self.place, FIRST + index, entry.unit.into());
    }

    /// Hangs an entry at the end: whether there was room.
    pub(super) fn push(self, entry: Entry<'_>) -> bool {
        let len = self.len();
        let fits = len < self.room();
        if fits {
            self.set(len, entry);
            set_word(self.place, LEN, len as u64 + 1);
        }
        fits
    }

    /// Takes the last entry off.
    pub(super) fn pop(self) -> Option<Entry<'a>> {
        let last = self.len().checked_sub(1)?;
        let entry = self.get(last);
        set_word(self.place, LEN, last as u64);
        Some(entry)
    }

    pub(super) fn entries(self) -> impl ExactSizeIterator<Item = Entry<'a>> {
        (0..self.len()).map(move |index| self.get(index))
    }
}

/// Marks what is in use.
pub(super) fn walk(store: &Store) {
    if let Some(rows) = Rows::of(store) {
        store.arena().mark(rows.unit, rows.size());
        rows.entries().for_each(Entry::mark);
    }
}
