//! Shared data: a value, an array.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::gate::{Attempt, Gate, forms};
use super::items::items;
use super::locked::{Held, Locked};
use crate::SyncError;

/// A value under a lock.
///
/// ```
/// use celeriac_sync::thread::Value;
///
/// let total = Value::new(1);
/// *total.lock()? += 1;
/// total.update(|total| *total *= 10)?;
/// assert_eq!(total.get()?, 20);
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug, Default)]
pub struct Value<T>(Arc<Locked<T>>);

impl<T> Clone for Value<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Value<T> {
    /// A value that nobody holds.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Locked::new(value)))
    }

    pub(super) fn gate(&self) -> &Gate {
        self.0.gate()
    }

    pub(super) fn attempt(&self) -> Attempt<ValueGuard<'_, T>> {
        let held = self.0.take()?;
        Some(Ok(ValueGuard { value: self, held }))
    }

    forms! {
        /// Takes the lock, and with it the value.
        ///
        /// # Errors
        ///
        /// None in this scope.
        lock, lock_for, try_lock, lock_async(self) -> ValueGuard<'_, T>,
        self.gate() => self.attempt()
    }

    /// A copy of it.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn get(&self) -> Result<T, SyncError>
    where
        T: Clone,
    {
        Ok(self.lock()?.clone())
    }

    /// Puts `value` in its place, and gives the one before.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn set(&self, value: T) -> Result<T, SyncError> {
        Ok(std::mem::replace(&mut *self.lock()?, value))
    }

    /// Changes it, and gives what `change` does.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, SyncError> {
        Ok(change(&mut *self.lock()?))
    }
}

/// Holds a [`Value`] until it is dropped.
#[must_use = "the value is given back at once if nobody keeps the guard"]
pub struct ValueGuard<'a, T> {
    value: &'a Value<T>,
    held: Held<'a, T>,
}

impl<'a, T> ValueGuard<'a, T> {
    /// Whether the holder before panicked, so that the value may be half changed.
    pub fn recovered(&self) -> bool {
        self.held.recovered()
    }

    pub(super) fn lock(&self) -> &'a Value<T> {
        self.value
    }
}

impl<T> Deref for ValueGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.held
    }
}

impl<T> DerefMut for ValueGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.held
    }
}

impl<T: fmt::Debug> fmt::Debug for ValueGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("ValueGuard").field(&**self).finish()
    }
}

/// So many items of one kind under one lock.
///
/// ```
/// use celeriac_sync::thread::Array;
///
/// let scores = Array::new([0; 3]);
/// scores.set(1, 7)?;
/// scores.lock()?.sort();
/// assert_eq!(*scores.lock()?, [0, 0, 7]);
/// assert!(scores.get(3).is_err());
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug)]
pub struct Array<T>(Arc<Locked<Box<[T]>>>);

impl<T> Clone for Array<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Array<T> {
    /// An array of these items.
    pub fn new(items: impl Into<Box<[T]>>) -> Self {
        Self(Arc::new(Locked::new(items.into())))
    }

    fn attempt(&self) -> Attempt<ArrayGuard<'_, T>> {
        let held = self.0.take()?;
        Some(Ok(ArrayGuard { array: self, held }))
    }

    forms! {
        /// Takes the lock, and with it all items.
        ///
        /// # Errors
        ///
        /// None in this scope.
        lock, lock_for, try_lock, lock_async(self) -> ArrayGuard<'_, T>,
        self.0.gate() => self.attempt()
    }

    items!(T);
}

/// Holds an [`Array`] until it is dropped.
#[must_use = "the items are given back at once if nobody keeps the guard"]
pub struct ArrayGuard<'a, T> {
    array: &'a Array<T>,
    held: Held<'a, Box<[T]>>,
}

impl<'a, T> ArrayGuard<'a, T> {
    /// Whether the holder before panicked, so that the items may be half changed.
    pub fn recovered(&self) -> bool {
        self.held.recovered()
    }

    pub(super) fn lock(&self) -> &'a Array<T> {
        self.array
    }
}

impl<T> Deref for ArrayGuard<'_, T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.held
    }
}

impl<T> DerefMut for ArrayGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.held
    }
}

impl<T: fmt::Debug> fmt::Debug for ArrayGuard<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_list().entries(self.iter()).finish()
    }
}
