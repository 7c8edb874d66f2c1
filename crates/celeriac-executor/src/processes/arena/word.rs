//! Memory of words, shared by processes, or by the threads of a model.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::os::SharedWords;

/// Where the words stand.
pub(in crate::processes) trait Memory {
    /// What they are.
    type Word: Word;

    /// Word number `index`.
    fn word(&self, index: usize) -> &Self::Word;
}

impl Memory for SharedWords {
    type Word = AtomicU64;

    fn word(&self, index: usize) -> &AtomicU64 {
        &self.words()[index]
    }
}

/// An atomic number; the methods are those of [`AtomicU64`].
pub(in crate::processes) trait Word {
    fn load(&self, order: Ordering) -> u64;
    fn store(&self, value: u64, order: Ordering);
    fn swap(&self, value: u64, order: Ordering) -> u64;
    fn fetch_or(&self, bits: u64, order: Ordering) -> u64;
    fn compare_exchange(
        &self,
        current: u64,
        new: u64,
        success: Ordering,
        failure: Ordering,
    ) -> Result<u64, u64>;
}

/// Has a type stand in for the words by its own methods.
macro_rules! word {
    ($atomic:ty) => {
        impl Word for $atomic {
            fn load(&self, order: Ordering) -> u64 {
                self.load(order)
            }

            fn store(&self, value: u64, order: Ordering) {
                self.store(value, order);
            }

            fn swap(&self, value: u64, order: Ordering) -> u64 {
                self.swap(value, order)
            }

            fn fetch_or(&self, bits: u64, order: Ordering) -> u64 {
                self.fetch_or(bits, order)
            }

            fn compare_exchange(
                &self,
                current: u64,
                new: u64,
                success: Ordering,
                failure: Ordering,
            ) -> Result<u64, u64> {
                self.compare_exchange(current, new, success, failure)
            }
        }
    };
}

word!(AtomicU64);
#[cfg(test)]
word!(loom::sync::atomic::AtomicU64);
