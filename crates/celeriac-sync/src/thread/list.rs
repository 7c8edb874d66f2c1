//! A list.

use super::Value;
use super::data::ValueGuard;
use super::gate::forms;
use super::items::{items, outside};
use crate::SyncError;

/// Items in an order, under one lock.
///
/// ```
/// use celeriac_sync::thread::List;
///
/// let names = List::new();
/// names.push("Ada")?;
/// names.push("Grace")?;
/// assert_eq!(names.get(1)?, "Grace");
/// assert_eq!(names.pop()?, Some("Grace"));
/// assert_eq!(names.items()?, ["Ada"]);
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug)]
pub struct List<T>(Value<Vec<T>>);

impl<T> Clone for List<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for List<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> List<T> {
    /// A list without items.
    pub fn new() -> Self {
        Self(Value::new(Vec::new()))
    }

    forms! {
        /// Takes the lock, and with it all items.
        ///
        /// # Errors
        ///
        /// None in this scope.
        lock, lock_for, try_lock, lock_async(self) -> ValueGuard<'_, Vec<T>>,
        self.0.gate() => self.0.attempt()
    }

    /// Adds an item at the end.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn push(&self, item: T) -> Result<(), SyncError> {
        self.lock()?.push(item);
        Ok(())
    }

    /// Removes the last item.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn pop(&self) -> Result<Option<T>, SyncError> {
        Ok(self.lock()?.pop())
    }

    items!(T);

    /// Puts `item` before the one at `index`, or at the end if that is the length.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](SyncError::OutOfRange).
    pub fn insert(&self, index: usize, item: T) -> Result<(), SyncError> {
        let mut items = self.lock()?;
        if index > items.len() {
            return Err(outside(index, &items));
        }
        items.insert(index, item);
        Ok(())
    }

    /// Takes one item out.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](SyncError::OutOfRange).
    pub fn remove(&self, index: usize) -> Result<T, SyncError> {
        let mut items = self.lock()?;
        if index >= items.len() {
            return Err(outside(index, &items));
        }
        Ok(items.remove(index))
    }

    /// Copies of all items as they were at one moment.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn items(&self) -> Result<Vec<T>, SyncError>
    where
        T: Clone,
    {
        Ok(self.lock()?.clone())
    }
}
