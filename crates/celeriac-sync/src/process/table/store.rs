//! What dictionaries and lists have in common: a lock, a root, and room for what hangs there.
//!
//! ```text
//!  words   0  the lock
//!          1  the root: where the table is, plus 1; 0 if there is none
//!          2  how many entries a dictionary has
//!          3  how many buckets of it are not empty
//!          4  the seed of its hashes; two words
//!         16  the arena: its numbers, its map, and in wide words its room
//! ```
//!
//! # Invariants
//!
//! - What hangs at the root is whole at any moment: each change is prepared where nobody sees it, and made
//!   by one word.
//! - Everything else, the arena and the numbers, is derived: it is made anew by whoever takes the lock after
//!   a holder that has died or panicked.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use super::super::arena::{self, Arena};
use super::super::segment::{Address, Kind, Plan, Segment};
use super::super::word::{self, Held};
use crate::SyncError;

pub(super) const LOCK: usize = 0;
const ROOT: usize = 1;
pub(super) const LEN: usize = 2;
pub(super) const FILLED: usize = 3;
const SEED: usize = 4;
const NUMBERS: usize = 16;
const MAP: usize = NUMBERS + arena::NUMBERS;
const ROOM: usize = MAP + arena::MAP;
const WORDS: usize = ROOM + arena::ROOM;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) segment: Arc<Segment>,
    /// Marks what hangs at the root, and counts it.
    walk: fn(&Store),
}

pub(super) fn plan(kind: Kind, shape: u32) -> Plan {
    Plan {
        kind,
        shape,
        words: MAP,
        more: WORDS - MAP,
        recover: |words, seat| word::recover(&words[LOCK], seat),
    }
}

impl Store {
    pub(super) fn create(plan: Plan, walk: fn(&Self)) -> Result<Self, SyncError> {
        let segment = Segment::create(plan)?;
        let store = Self { segment, walk };
        let seed = RandomState::new().hash_one(NUMBERS);
        #[expect(clippy::cast_possible_truncation, reason = "one half and the other")]
        for (half, seed) in [seed as u32, (seed >> 32) as u32].into_iter().enumerate() {
            store.number(SEED + half).store(seed, Ordering::Relaxed);
        }
        Ok(store)
    }

    pub(super) fn open(address: Address, plan: Plan, walk: fn(&Self)) -> Result<Self, SyncError> {
        let segment = Segment::open(address, plan)?;
        Ok(Self { segment, walk })
    }

    /// Takes the lock.
    pub(super) fn hold(&self) -> Held<'_> {
        let (held, recovered) = word::hold(&self.segment, LOCK);
        if recovered {
            self.recover();
        }
        held
    }

    /// Makes anew all that is derived, for who has the lock.
    pub(super) fn recover(&self) {
        self.arena().clear();
        (self.walk)(self);
    }

    pub(super) fn arena(&self) -> Arena<'_> {
        Arena {
            segment: &self.segment,
            numbers: NUMBERS,
            map: MAP,
            room: ROOM,
        }
    }

    pub(super) fn number(&self, which: usize) -> &AtomicU32 {
        &self.segment.body()[which]
    }

    pub(super) fn get(&self, which: usize) -> usize {
        self.number(which).load(Ordering::Relaxed) as usize
    }

    pub(super) fn set(&self, which: usize, value: usize) {
        #[expect(clippy::cast_possible_truncation, reason = "there are 2²⁶ units")]
        self.number(which).store(value as u32, Ordering::Relaxed);
    }

    /// Where the table is.
    pub(super) fn root(&self) -> Option<u32> {
        self.number(ROOT).load(Ordering::Acquire).checked_sub(1)
    }

    /// Makes a table the one that counts.
    pub(super) fn set_root(&self, root: Option<u32>) {
        let word = root.map_or(0, |root| root + 1);
        self.number(ROOT).store(word, Ordering::Release);
    }

    pub(super) fn seed(&self) -> u64 {
        (self.get(SEED + 1) as u64) << 32 | self.get(SEED) as u64
    }

    /// Takes room for so many words, all of them zero.
    pub(super) fn take_words(&self, words: usize) -> Result<u32, SyncError> {
        let unit = self.arena().take(words * 8)?;
        for word in self.arena().place(unit).iter().take(words) {
            word.store(0, Ordering::Relaxed);
        }
        Ok(unit)
    }
}

/// One word of a place; 0 if it is not there.
pub(super) fn word(place: &[AtomicU64], index: usize) -> u64 {
    place
        .get(index)
        .map_or(0, |word| word.load(Ordering::Acquire))
}

pub(super) fn set_word(place: &[AtomicU64], index: usize, value: u64) {
    if let Some(word) = place.get(index) {
        word.store(value, Ordering::Release);
    }
}
