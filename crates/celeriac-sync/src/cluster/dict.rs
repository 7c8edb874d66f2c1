//! A dictionary.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::hash::Hash;
use std::marker::PhantomData;

use serde::Serialize;

use super::codec::{Shareable, decode, encode};
use super::guarded::guarded;
use super::handle::{handle, makers};
use super::place::Cluster;
use super::session::Shared;
use super::stake::Stake;
use super::state::{Ask, Data, Op};
use crate::SyncError;

/// A key of a dictionary.
pub trait Key: Shareable + Eq + Hash {}

impl<K: Shareable + Eq + Hash> Key for K {}

/// It takes entries and gives them, and contains none.
type Entry<K, V> = fn(K, V) -> (K, V);

/// Values by keys, under one lock, for all machines that know it.
///
/// Keys are the same if they are encoded alike.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, Dict};
///
/// let shop = Cluster::connect("memory:shop")?;
/// let ages = Dict::new_in(&shop)?;
/// ages.set("Ada".to_owned(), 36)?;
/// ages.update("Ada".to_owned(), |age| *age.get_or_insert(0) += 1)?;
/// assert_eq!(ages.get("Ada")?, Some(37));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Dict<K, V> {
    shared: Shared,
    place: Cluster,
    items: PhantomData<Entry<K, V>>,
}

handle!(Dict[K, V], Dict);
guarded!(Dict, DictGuard [K: Key, V: Shareable] HashMap<K, V> => HashMap<K, V>, |entries| entries, |entries| entries);

impl<K: Key, V: Shareable> Dict<K, V> {
    makers!("A dictionary without entries", "The dictionary", 0);

    /// How many entries it has.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn len(&self) -> Result<usize, SyncError> {
        self.shared.use_data(Ask::Len)?.number()
    }

    /// Whether it has no entry.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn is_empty(&self) -> Result<bool, SyncError> {
        Ok(self.len()? == 0)
    }

    /// Removes all entries.
    ///
    /// # Errors
    ///
    /// As [`len`](Self::len).
    pub fn clear(&self) -> Result<(), SyncError> {
        self.shared.use_data(Ask::Clear).map(drop)
    }

    /// A copy of the value of a key, if it has one.
    ///
    /// # Errors
    ///
    /// [`Encoding`](SyncError::Encoding), and as [`lock`](Self::lock).
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, SyncError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.entry(Ask::Get(encode(key)?))
    }

    /// Gives a key a value, and gives the one it had.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    #[expect(clippy::needless_pass_by_value, reason = "as in the other scopes")]
    pub fn set(&self, key: K, value: V) -> Result<Option<V>, SyncError> {
        self.entry(Ask::Set(encode(&key)?, Some(encode(&value)?)))
    }

    /// Removes a key, and gives the value it had.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, SyncError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        self.entry(Ask::Set(encode(key)?, None))
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool, SyncError>
    where
        K: Borrow<Q>,
        Q: Serialize + ?Sized,
    {
        let bytes = self.shared.use_data(Ask::Get(encode(key)?))?.bytes()?;
        Ok(bytes.is_some())
    }

    /// Changes the value of a key while nobody else sees it; `None` means that it has none.
    ///
    /// # Errors
    ///
    /// [`Lost`](SyncError::Lost) if that took longer than the lease while the place could not be reached:
    /// nothing is changed then. As [`get`](Self::get) otherwise.
    #[expect(clippy::needless_pass_by_value, reason = "as in the other scopes")]
    pub fn update<R>(
        &self,
        key: K,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R, SyncError> {
        let key = encode(&key)?;
        let ask = Some(Ask::Get(key.clone()));
        let answered = self.shared.ask(Op::Acquire { ask }, None)?;
        let (mut stake, reply) = Stake::of(&self.shared, answered)?;
        let mut value = reply.bytes()?.as_ref().map(decode).transpose()?;
        let result = change(&mut value);
        let value = value.as_ref().map(encode).transpose()?;
        let op = stake.release(Some(Ask::Set(key, value)));
        stake.finish(op)?;
        Ok(result)
    }

    /// Copies of all entries as they were at one moment, in no order.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn items(&self) -> Result<Vec<(K, V)>, SyncError> {
        match self.shared.use_data(Ask::All)?.data()? {
            Data::Entries(entries) => {
                let entry = |(key, value)| Ok((decode(key)?, decode(value)?));
                entries.iter().map(entry).collect()
            }
            Data::Items(_) => Err(SyncError::OtherType),
        }
    }

    fn entry(&self, ask: Ask) -> Result<Option<V>, SyncError> {
        let bytes = self.shared.use_data(ask)?.bytes()?;
        bytes.as_ref().map(decode).transpose()
    }
}
