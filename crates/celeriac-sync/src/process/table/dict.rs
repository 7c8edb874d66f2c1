//! A dictionary.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::super::encoding::Encoded;
use super::super::monitor::after;
use super::super::named::{Handle, Shared};
use super::super::segment::{Address, Kind, Plan, shape};
use super::super::word::Turn;
use super::buckets::{Buckets, Key, entries, walk};
use super::entry::Entry;
use super::guard::guard;
use super::store::{LEN, Store, plan};
use crate::SyncError;

/// How many bytes a key takes at most.
const MOST_KEY: usize = 32 * 1024;

/// Values by keys, under one lock, in all processes that have it.
///
/// It grows up to 4 GiB. Keys are the same if they are encoded to the same bytes, which take 32 KiB at most. A
/// change is whole or not there, whenever its process dies.
///
/// ```
/// use celeriac_sync::process::Dict;
///
/// let ages = Dict::<String, u32>::new()?;
/// ages.set("Ada".to_owned(), 36)?;
/// ages.update("Ada".to_owned(), |age| *age.get_or_insert(0) += 1)?;
/// assert_eq!(ages.get("Ada")?, Some(37));
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug)]
pub struct Dict<K, V>(Store, PhantomData<Kept<K, V>>);

/// Keys and values are given and taken, and none is here.
type Kept<K, V> = fn(K, V) -> (K, V);

/// A key as bytes.
fn encoded<K: Serialize>(key: K) -> Result<Encoded<K>, SyncError> {
    let key = Encoded::of(key)?;
    let fits = key.len() <= MOST_KEY;
    fits.then_some(key)
        .ok_or(SyncError::TooLarge { most: MOST_KEY })
}

/// The bytes of a key, which has no large piece unless it is too large.
fn bytes<K: Serialize>(key: &Encoded<K>) -> Result<&[u8], SyncError> {
    key.bytes().ok_or(SyncError::TooLarge { most: MOST_KEY })
}

/// Gives the room of entries back that hang nowhere.
fn free(entries: Vec<(u32, Entry<'_>)>) {
    for (_, entry) in entries {
        entry.free();
    }
}

impl<K, V> Dict<K, V> {
    fn plan() -> Plan {
        plan(Kind::Dict, shape::<(K, V)>())
    }

    /// A dictionary without entries.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory).
    pub fn new() -> Result<Self, SyncError> {
        Ok(Self(Store::create(Self::plan(), walk)?, PhantomData))
    }

    /// How many entries it has.
    ///
    /// # Errors
    ///
    /// None.
    pub fn len(&self) -> Result<usize, SyncError> {
        let _held = self.0.hold();
        Ok(self.0.get(LEN))
    }

    /// Whether it has no entry.
    ///
    /// # Errors
    ///
    /// None.
    pub fn is_empty(&self) -> Result<bool, SyncError> {
        Ok(self.len()? == 0)
    }

    /// Removes all entries.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory).
    pub fn clear(&self) -> Result<(), SyncError> {
        let _held = self.0.hold();
        self.replace(Vec::new())
    }

    /// Hangs these entries in the place of all there are.
    fn replace(&self, new: Vec<(u32, Entry<'_>)>) -> Result<(), SyncError> {
        let before: Vec<_> = entries(&self.0).map(|(_, entry)| entry).collect();
        let built = Buckets::build(&self.0, new.len() * 2, new.iter().copied());
        match built {
            Ok(built) => {
                built.replace();
                before.into_iter().for_each(Entry::free);
                Ok(())
            }
            Err(why) => {
                free(new);
                Err(why)
            }
        }
    }
}

impl<K, V> Dict<K, V>
where
    K: Eq + Hash + Serialize + DeserializeOwned,
    V: Serialize + DeserializeOwned,
{
    /// A copy of the value of a key, if it has one.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](SyncError::TooLarge) if the key is, [`Encoding`](SyncError::Encoding) if it or the value
    /// cannot be encoded or decoded.
    pub fn get<Q>(&self, key: &Q) -> Result<Option<V>, SyncError>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Serialize + ?Sized,
    {
        self.look(key, |_, _, entry| entry.value())
    }

    /// Gives a key a value, and gives the one it had.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](SyncError::TooLarge) if the key takes more than 32 KiB or the value more than 1 GiB,
    /// [`NoMemory`](SyncError::NoMemory), and as [`get`](Self::get). Nothing has changed then, unless it was
    /// the value before that could not be decoded.
    pub fn set(&self, key: K, value: V) -> Result<Option<V>, SyncError> {
        let (key, value) = (encoded(key)?, Encoded::of(value)?);
        let key = Key::new(&self.0, bytes(&key)?);
        let _held = self.0.hold();
        self.put(key, &value)
    }

    /// Removes a key, and gives the value it had.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn remove<Q>(&self, key: &Q) -> Result<Option<V>, SyncError>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Serialize + ?Sized,
    {
        self.look(key, |buckets, index, entry| {
            let value = entry.value();
            buckets.remove(index);
            entry.free();
            value
        })
    }

    /// Whether a key has a value.
    ///
    /// # Errors
    ///
    /// [`TooLarge`](SyncError::TooLarge) and [`Encoding`](SyncError::Encoding), of the key.
    pub fn contains_key<Q>(&self, key: &Q) -> Result<bool, SyncError>
    where
        K: Borrow<Q>,
        Q: Eq + Hash + Serialize + ?Sized,
    {
        Ok(self.look(key, |_, _, _| Ok(()))?.is_some())
    }

    /// Changes the value of a key while nobody else sees it; `None` means that it has none.
    ///
    /// If `change` panics, nothing has changed. It must not use the dictionary, which it would wait for.
    ///
    /// # Errors
    ///
    /// As [`set`](Self::set).
    pub fn update<R>(
        &self,
        key: K,
        change: impl FnOnce(&mut Option<V>) -> R,
    ) -> Result<R, SyncError> {
        let key = encoded(key)?;
        let key = Key::new(&self.0, bytes(&key)?);
        let _held = self.0.hold();
        let found = Buckets::of(&self.0).and_then(|buckets| Some((buckets, buckets.find(key)?)));
        let mut value = match found {
            Some((_, (_, entry))) => Some(entry.value()?),
            None => None,
        };
        let result = change(&mut value);
        match (value, found) {
            (Some(value), _) => {
                self.put(key, &Encoded::of(value)?)?;
            }
            (None, Some((buckets, (index, entry)))) => {
                buckets.remove(index);
                entry.free();
            }
            (None, None) => {}
        }
        Ok(result)
    }

    /// Copies of all entries as they were at one moment, in no order.
    ///
    /// # Errors
    ///
    /// [`Encoding`](SyncError::Encoding).
    pub fn items(&self) -> Result<Vec<(K, V)>, SyncError> {
        let _held = self.0.hold();
        self.copies().collect()
    }

    /// Does something with what a key has.
    fn look<Q, R>(
        &self,
        key: &Q,
        act: impl FnOnce(Buckets<'_>, usize, Entry<'_>) -> Result<R, SyncError>,
    ) -> Result<Option<R>, SyncError>
    where
        Q: Serialize + ?Sized,
    {
        let key = encoded(key)?;
        let key = Key::new(&self.0, bytes(&key)?);
        let _held = self.0.hold();
        let Some(buckets) = Buckets::of(&self.0) else {
            return Ok(None);
        };
        let found = buckets.find(key);
        found
            .map(|(index, entry)| act(buckets, index, entry))
            .transpose()
    }

    /// Hangs a new entry, for who has the lock: the value before.
    fn put(&self, key: Key<'_>, value: &Encoded<V>) -> Result<Option<V>, SyncError> {
        let entry = Entry::write(&self.0, key.bytes, value)?;
        let found = Buckets::of(&self.0).and_then(|buckets| Some((buckets, buckets.find(key)?)));
        if let Some((buckets, (index, before))) = found {
            buckets.set(index, key, entry);
            let value = before.value();
            before.free();
            return value.map(Some);
        }
        match Buckets::with_room(&self.0) {
            Ok(buckets) => buckets.insert(key, entry),
            Err(why) => {
                entry.free();
                return Err(why);
            }
        }
        Ok(None)
    }

    fn copies(&self) -> impl Iterator<Item = Result<(K, V), SyncError>> {
        entries(&self.0).map(|(_, entry)| Ok((entry.key()?, entry.value()?)))
    }

    fn load(&self) -> Result<HashMap<K, V>, SyncError> {
        self.copies().collect()
    }

    /// Puts these entries in the place of all there are, for who has the lock.
    fn store(&self, all: &HashMap<K, V>) -> Result<(), SyncError> {
        let mut new = Vec::with_capacity(all.len());
        for (key, value) in all {
            match self.entry(key, value) {
                Ok(entry) => new.push(entry),
                Err(why) => {
                    free(new);
                    return Err(why);
                }
            }
        }
        self.replace(new)
    }

    fn entry(&self, key: &K, value: &V) -> Result<(u32, Entry<'_>), SyncError> {
        let (key, value) = (encoded(key)?, Encoded::of(value)?);
        let key = Key::new(&self.0, bytes(&key)?);
        let entry = Entry::write(&self.0, key.bytes, &value)?;
        Ok((key.hash, entry))
    }
}

guard!(
    Dict<K: [Eq, Hash], V: [Sized]>,
    DictGuard,
    HashMap<K, V>,
    HashMap<K, V>
);
