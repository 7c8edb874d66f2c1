//! Data that only the holder of a word sees: the one place of this scope with unsafe code.
//!
//! # Invariants
//!
//! - There is at most one [`Held`] of a [`Locked`] at any time, because only who took its word makes one,
//!   and only its drop gives the word back.
#![allow(
    unsafe_code,
    reason = "a guard of the standard library's mutex cannot move between threads, as a coroutine does"
)]

use std::cell::UnsafeCell;
use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};

use super::gate::Gate;
use super::lock::Word;

/// See the module.
#[derive(Default)]
pub(super) struct Locked<T> {
    word: Word,
    data: UnsafeCell<T>,
}

// SAFETY: threads come to the data one after another, each by the word, which orders what they do. So
// data that may move between threads may be shared so.
unsafe impl<T: Send> Sync for Locked<T> {}

impl<T> Locked<T> {
    pub(super) fn new(data: T) -> Self {
        Self {
            word: Word::default(),
            data: UnsafeCell::new(data),
        }
    }

    pub(super) fn gate(&self) -> &Gate {
        self.word.gate()
    }

    /// Takes it if nobody has it.
    pub(super) fn take(&self) -> Option<Held<'_, T>> {
        let recovered = self.word.take()?;
        Some(Held {
            locked: self,
            recovered,
            data: PhantomData,
        })
    }
}

impl<T> fmt::Debug for Locked<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Locked")
            .field("word", &self.word)
            .finish_non_exhaustive()
    }
}

/// The data, for as long as nobody else may see it.
pub(super) struct Held<'a, T> {
    locked: &'a Locked<T>,
    recovered: bool,
    /// It is sent and shared as a `&mut T` is.
    data: PhantomData<&'a mut T>,
}

impl<T> Held<'_, T> {
    pub(super) fn recovered(&self) -> bool {
        self.recovered
    }
}

impl<T> Deref for Held<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: this is the only `Held`, and it is borrowed for as long as the reference lives.
        unsafe { &*self.locked.data.get() }
    }
}

impl<T> DerefMut for Held<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as above, and borrowed by nobody else.
        unsafe { &mut *self.locked.data.get() }
    }
}

impl<T> Drop for Held<'_, T> {
    fn drop(&mut self) {
        self.locked.word.release();
    }
}
