//! A dictionary.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;

use super::Value;
use super::data::ValueGuard;
use super::gate::forms;
use crate::SyncError;

/// Values by keys, under one lock.
///
/// ```
/// use celeriac_sync::thread::Dict;
///
/// let ages = Dict::new();
/// ages.set("Ada", 36)?;
/// ages.update("Ada", |age| *age.get_or_insert(0) += 1)?;
/// assert_eq!(ages.get("Ada")?, Some(37));
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug)]
pub struct Dict<K, V>(Value<HashMap<K, V>>);

impl<K, V> Clone for Dict<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Default for Dict<K, V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K, V> Dict<K, V> {
    /// A dictionary without entries.
    pub fn new() -> Self {
        Self(Value::new(HashMap::new()))
    }

    forms! {
        /// Takes the lock, and with it all entries.
        ///
        /// # Errors
        ///
        /// None in this scope.
        lock, lock_for, try_lock, lock_async(self) -> ValueGuard<'_, HashMap<K, V>>,
        self.0.gate() => self.0.attempt()
    }

    /// How many entries it has.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn len(&self) -> Result<usize, SyncError> {
        Ok(self.lock()?.len())
    }

    /// Whether it has no entry.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn is_empty(&self) -> Result<bool, SyncError> {
        Ok(self.len()? == 0)
    }

    /// Removes all entries.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn clear(&self) -> Result<(), SyncError> {
        self.lock()?.clear();
        Ok(())
    }
}

impl<K: Eq + Hash, V> Dict<K, V> {
    /// A copy of the value of a key, if it has one.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, SyncError>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
        V: Clone,
    {
        Ok(self.lock()?.get(key).cloned())
    }

    /// Gives a key a value, and gives the one it had.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn set(&self, key: K, value: V) -> Result<Option<V>, SyncError> {
        Ok(self.lock()?.insert(key, value))
    }

    /// Removes a key, and gives the value it had.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, SyncError>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        Ok(self.lock()?.remove(key))
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool, SyncError>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + ?Sized,
    {
        Ok(self.lock()?.contains_key(key))
    }

    /// Changes the value of a key while nobody else sees it; `None` means that it has none.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn update<R>(
        &self,
        key: K,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R, SyncError> {
        let mut entries = self.lock()?;
        let mut value = entries.remove(&key);
        let result = change(&mut value);
        if let Some(value) = value {
            entries.insert(key, value);
        }
        Ok(result)
    }

    /// Copies of all entries as they were at one moment, in no order.
    ///
    /// # Errors
    ///
    /// None in this scope.
    pub fn items(&self) -> Result<Vec<(K, V)>, SyncError>
    where
        K: Clone,
        V: Clone,
    {
        let entries = self.lock()?;
        Ok(entries
            .iter()
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect())
    }
}
