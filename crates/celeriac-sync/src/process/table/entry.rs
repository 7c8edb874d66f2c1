//! An entry: a key and its value, or an item without a key, as bytes.
//!
//! ```text
//!  wide words   0  how many bytes the key has, and in the upper half how many the value has
//!               1  the key, then in words of its own the value
//! ```

use std::sync::atomic::AtomicU64;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::super::encoding::{self, Encoded};
use super::store::{Store, set_word, word};
use crate::SyncError;

/// One that is in a store.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    store: &'a Store,
    pub(super) unit: u32,
}

impl<'a> Entry<'a> {
    pub(super) fn at(store: &'a Store, unit: u32) -> Self {
        Self { store, unit }
    }

    /// Writes a new one, which hangs nowhere yet.
    pub(super) fn write<V: Serialize>(
        store: &'a Store,
        key: &[u8],
        value: &Encoded<V>,
    ) -> Result<Self, SyncError> {
        let bytes = size(key.len(), value.len());
        let unit = store.arena().take(bytes)?;
        let place = store.arena().place(unit);
        let (key_len, value_len) = (key.len() as u64, value.len() as u64);
        set_word(place, 0, value_len << 32 | key_len);
        let (keys, values) = place[1..bytes / 8].split_at(key.len().div_ceil(8));
        encoding::store(keys, key);
        if let Err(why) = value.write_to(values) {
            store.arena().free(unit, bytes);
            return Err(why);
        }
        Ok(Self { store, unit })
    }

    /// Gives its room back; nothing may hang on it any more.
    pub(super) fn free(self) {
        self.store.arena().free(self.unit, self.size());
    }

    /// Says that its room is in use.
    pub(super) fn mark(self) {
        self.store.arena().mark(self.unit, self.size());
    }

    pub(super) fn has_key(self, key: &[u8]) -> bool {
        self.key_len() == key.len()
            && encoding::holds(self.place().get(1..).unwrap_or_default(), key)
    }

    pub(super) fn key<K: DeserializeOwned>(self) -> Result<K, SyncError> {
        encoding::read(self.place().get(1..).unwrap_or_default(), self.key_len())
    }

    pub(super) fn value<V: DeserializeOwned>(self) -> Result<V, SyncError> {
        let start = 1 + self.key_len().div_ceil(8);
        let values = self.place().get(start..).unwrap_or_default();
        encoding::read(values, self.value_len())
    }

    fn place(self) -> &'a [AtomicU64] {
        self.store.arena().place(self.unit)
    }

    fn key_len(self) -> usize {
        (word(self.place(), 0) & 0xffff_ffff) as usize
    }

    fn value_len(self) -> usize {
        (word(self.place(), 0) >> 32) as usize
    }

    fn size(self) -> usize {
        size(self.key_len(), self.value_len())
    }
}

fn size(key: usize, value: usize) -> usize {
    8 + key.next_multiple_of(8) + value.next_multiple_of(8)
}
