//! The table of a dictionary: where the entry of a key is.
//!
//! ```text
//!  wide words   0  how many buckets it has, a power of two
//!               1  buckets: 0 if nobody was ever there, 1 if nobody is any more; else the hash
//!                  in the upper half, and where the entry is, plus 2
//! ```
//!
//! A key is looked for from the bucket of its hash on, until one where nobody ever was.
//!
//! # Invariants
//!
//! - At most three buckets of four are not empty, so each search ends.

use std::sync::atomic::AtomicU64;

use super::entry::Entry;
use super::store::{FILLED, LEN, Store, set_word, word};
use crate::SyncError;

const EMPTY: u64 = 0;
const GONE: u64 = 1;
const FIRST: usize = 16;

/// See the module.
#[derive(Debug, Clone, Copy)]
pub(super) struct Buckets<'a> {
    store: &'a Store,
    place: &'a [AtomicU64],
    count: usize,
}

/// A key as bytes, and its hash.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) hash: u32,
}

impl<'a> Key<'a> {
    pub(super) fn new(store: &Store, bytes: &'a [u8]) -> Self {
        let hash = hash(store.seed(), bytes);
        Self { bytes, hash }
    }
}

/// A number for bytes, which nobody can foresee who does not know the seed.
fn hash(seed: u64, bytes: &[u8]) -> u32 {
    const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
    let fold = |one: u64, other: u64| {
        let product = u128::from(one) * u128::from(other);
        #[expect(clippy::cast_possible_truncation, reason = "one half and the other")]
        let halves = (product as u64, (product >> 64) as u64);
        halves.0 ^ halves.1
    };
    let mut hash = fold(seed ^ bytes.len() as u64, SPREAD);
    for part in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..part.len()].copy_from_slice(part);
        hash = fold(hash ^ u64::from_le_bytes(word), seed | 1) ^ hash.rotate_left(23);
    }
    (fold(hash ^ seed, SPREAD) >> 32) as u32
}

impl<'a> Buckets<'a> {
    /// Those that count now; none before the first entry.
    pub(super) fn of(store: &'a Store) -> Option<Self> {
        Some(Self::at(store, store.root()?))
    }

    fn at(store: &'a Store, unit: u32) -> Self {
        let place = store.arena().place(unit);
        // A number that another process could have spoilt must not lead outside.
        let most = place.len().saturating_sub(1);
        let count = usize::try_from(word(place, 0)).unwrap_or(0).min(most);
        let count = if count.is_power_of_two() { count } else { 0 };
        Self {
            store,
            place: place.get(1..).unwrap_or_default(),
            count,
        }
    }

    /// Makes room for one entry more.
    pub(super) fn with_room(store: &'a Store) -> Result<Self, SyncError> {
        if let Some(buckets) = Self::of(store)
            && (store.get(FILLED) + 1) * 4 <= buckets.count * 3
        {
            return Ok(buckets);
        }
        let wanted = (store.get(LEN) + 1) * 2;
        let made = Self::build(store, wanted, entries(store))?;
        made.replace();
        Ok(made.buckets)
    }

    /// Buckets for these entries, which do not count yet.
    pub(super) fn build(
        store: &'a Store,
        wanted: usize,
        entries: impl IntoIterator<Item = (u32, Entry<'a>)>,
    ) -> Result<Built<'a>, SyncError> {
        let count = wanted.next_power_of_two().max(FIRST);
        let unit = store.take_words(1 + count)?;
        set_word(store.arena().place(unit), 0, count as u64);
        let buckets = Self::at(store, unit);
        let mut len = 0;
        for (hash, entry) in entries {
            buckets.add(hash, entry);
            len += 1;
        }
        Ok(Built { buckets, unit, len })
    }

    /// The bucket of a key and its entry.
    pub(super) fn find(&self, key: Key<'_>) -> Option<(usize, Entry<'a>)> {
        for index in self.from(key.hash) {
            let bucket = word(self.place, index);
            if bucket == EMPTY {
                return None;
            }
            if bucket != GONE && bucket >> 32 == u64::from(key.hash) {
                let entry = self.entry(bucket);
                if entry.has_key(key.bytes) {
                    return Some((index, entry));
                }
            }
        }
        None
    }

    /// Hangs an entry in the place of another.
    pub(super) fn set(&self, index: usize, key: Key<'_>, entry: Entry<'_>) {
        set_word(self.place, index, bucket(key.hash, entry));
    }

    /// Hangs the entry of a key that has none.
    pub(super) fn insert(&self, key: Key<'_>, entry: Entry<'_>) {
        if self.add(key.hash, entry) {
            self.store.set(FILLED, self.store.get(FILLED) + 1);
        }
        self.store.set(LEN, self.store.get(LEN) + 1);
    }

    pub(super) fn remove(&self, index: usize) {
        set_word(self.place, index, GONE);
        self.store.set(LEN, self.store.get(LEN).saturating_sub(1));
    }

    /// Whether nobody ever was where it is now.
    fn add(&self, hash: u32, entry: Entry<'_>) -> bool {
        for index in self.from(hash) {
            let before = word(self.place, index);
            if before == EMPTY || before == GONE {
                set_word(self.place, index, bucket(hash, entry));
                return before == EMPTY;
            }
        }
        false
    }

    fn from(&self, hash: u32) -> impl Iterator<Item = usize> + use<> {
        let start = hash as usize;
        let mask = self.count.wrapping_sub(1);
        (0..self.count).map(move |step| start.wrapping_add(step) & mask)
    }

    fn entry(&self, bucket: u64) -> Entry<'a> {
        #[expect(clippy::cast_possible_truncation, reason = "the lower half")]
        let unit = (bucket as u32).wrapping_sub(2);
        Entry::at(self.store, unit)
    }
}

fn bucket(hash: u32, entry: Entry<'_>) -> u64 {
    u64::from(hash) << 32 | (u64::from(entry.unit) + 2)
}

/// Buckets that do not count yet.
pub(super) struct Built<'a> {
    buckets: Buckets<'a>,
    unit: u32,
    len: usize,
}

impl Built<'_> {
    /// Makes them those that count. The entries of those before are left to the caller.
    pub(super) fn replace(&self) {
        let store = self.buckets.store;
        let before = store.root();
        store.set_root(Some(self.unit));
        store.set(LEN, self.len);
        store.set(FILLED, self.len);
        if let Some(unit) = before {
            store.arena().free(unit, size(store, unit));
        }
    }
}

/// How many bytes the buckets at a unit take.
fn size(store: &Store, unit: u32) -> usize {
    (Buckets::at(store, unit).count + 1) * 8
}

/// All entries, each with the hash of its key.
pub(super) fn entries(store: &Store) -> impl Iterator<Item = (u32, Entry<'_>)> {
    let buckets = Buckets::of(store).into_iter();
    buckets.flat_map(|buckets| {
        let words = (0..buckets.count).map(move |index| word(buckets.place, index));
        let full = words.filter(|bucket| *bucket != EMPTY && *bucket != GONE);
        full.map(move |bucket| ((bucket >> 32) as u32, buckets.entry(bucket)))
    })
}

/// Marks what is in use, and counts it.
pub(super) fn walk(store: &Store) {
    let (mut len, mut filled) = (0, 0);
    if let (Some(unit), Some(buckets)) = (store.root(), Buckets::of(store)) {
        store.arena().mark(unit, size(store, unit));
        let words = (0..buckets.count).map(|index| word(buckets.place, index));
        filled = words.filter(|bucket| *bucket != EMPTY).count();
    }
    for (_, entry) in entries(store) {
        entry.mark();
        len += 1;
    }
    store.set(LEN, len);
    store.set(FILLED, filled);
}
