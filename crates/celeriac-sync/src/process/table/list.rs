//! A list.

use std::fmt;
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
use super::entry::Entry;
use super::guard::guard;
use super::rows::{Rows, walk};
use super::store::{Store, plan};
use crate::SyncError;

/// Items in an order, under one lock, in all processes that have it.
///
/// It grows up to 4 GiB. A change is whole or not there, whenever its process dies.
///
/// ```
/// use celeriac_sync::process::List;
///
/// let names = List::new()?;
/// names.push("Ada".to_owned())?;
/// names.push("Grace".to_owned())?;
/// assert_eq!(names.get(1)?, "Grace");
/// assert_eq!(names.pop()?.as_deref(), Some("Grace"));
/// assert_eq!(names.items()?, ["Ada"]);
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug)]
pub struct List<T>(Store, PhantomData<fn(T) -> T>);

impl<T> List<T> {
    fn plan() -> Plan {
        plan(Kind::List, shape::<T>())
    }

    /// A list without items.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory).
    pub fn new() -> Result<Self, SyncError> {
        Ok(Self(Store::create(Self::plan(), walk)?, PhantomData))
    }

    /// How many items it has.
    ///
    /// # Errors
    ///
    /// None.
    pub fn len(&self) -> Result<usize, SyncError> {
        let _held = self.0.hold();
        Ok(self.count())
    }

    /// Whether it has no item.
    ///
    /// # Errors
    ///
    /// None.
    pub fn is_empty(&self) -> Result<bool, SyncError> {
        Ok(self.len()? == 0)
    }

    fn count(&self) -> usize {
        Rows::of(&self.0).map_or(0, Rows::len)
    }

    /// The table and the entry of a place, for who has the lock.
    fn place(&self, index: usize) -> Result<(Rows<'_>, Entry<'_>), SyncError> {
        let len = self.count();
        let rows = Rows::of(&self.0).filter(|_| index < len);
        let rows = rows.ok_or(SyncError::OutOfRange { index, len })?;
        Ok((rows, rows.get(index)))
    }

    fn entries(&self) -> Vec<Entry<'_>> {
        let rows = Rows::of(&self.0).into_iter();
        rows.flat_map(Rows::entries).collect()
    }

    /// Hangs these entries in the place of all there are.
    fn hang(&self, entries: Vec<Entry<'_>>) -> Result<(), SyncError> {
        Rows::build(&self.0, entries.into_iter())?.replace();
        Ok(())
    }
}

impl<T: Serialize + DeserializeOwned> List<T> {
    /// Adds an item at the end.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory), [`TooLarge`](SyncError::TooLarge) if it takes more than 1 GiB, and
    /// [`Encoding`](SyncError::Encoding) if it cannot be encoded. Nothing has changed then.
    pub fn push(&self, item: T) -> Result<(), SyncError> {
        let item = Encoded::of(item)?;
        let _held = self.0.hold();
        let entry = Entry::write(&self.0, &[], &item)?;
        if Rows::of(&self.0).is_some_and(|rows| rows.push(entry)) {
            return Ok(());
        }
        let mut entries = self.entries();
        entries.push(entry);
        self.hang(entries).inspect_err(|_| entry.free())
    }

    /// Removes the last item.
    ///
    /// # Errors
    ///
    /// [`Encoding`](SyncError::Encoding) if it was no such item, which is gone then.
    pub fn pop(&self) -> Result<Option<T>, SyncError> {
        let _held = self.0.hold();
        let Some(entry) = Rows::of(&self.0).and_then(Rows::pop) else {
            return Ok(None);
        };
        let item = entry.value();
        entry.free();
        item.map(Some)
    }

    /// A copy of one item.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](SyncError::OutOfRange), and [`Encoding`](SyncError::Encoding) if it is no such item.
    pub fn get(&self, index: usize) -> Result<T, SyncError> {
        let _held = self.0.hold();
        self.place(index)?.1.value()
    }

    /// Puts `item` in a place, and gives the one before.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](SyncError::OutOfRange), and as [`push`](Self::push).
    pub fn set(&self, index: usize, item: T) -> Result<T, SyncError> {
        let item = Encoded::of(item)?;
        let _held = self.0.hold();
        let (rows, before) = self.place(index)?;
        rows.set(index, Entry::write(&self.0, &[], &item)?);
        let item = before.value();
        before.free();
        item
    }

    /// Puts `item` before the one at `index`, or at the end if that is the length.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](SyncError::OutOfRange), and as [`push`](Self::push).
    pub fn insert(&self, index: usize, item: T) -> Result<(), SyncError> {
        let item = Encoded::of(item)?;
        let _held = self.0.hold();
        let mut entries = self.entries();
        let len = entries.len();
        if index > len {
            return Err(SyncError::OutOfRange { index, len });
        }
        let entry = Entry::write(&self.0, &[], &item)?;
        entries.insert(index, entry);
        self.hang(entries).inspect_err(|_| entry.free())
    }

    /// Takes one item out.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](SyncError::OutOfRange), [`NoMemory`](SyncError::NoMemory), and
    /// [`Encoding`](SyncError::Encoding) if it was no such item, which is gone then.
    pub fn remove(&self, index: usize) -> Result<T, SyncError> {
        let _held = self.0.hold();
        let (_, entry) = self.place(index)?;
        let mut entries = self.entries();
        entries.remove(index);
        self.hang(entries)?;
        let item = entry.value();
        entry.free();
        item
    }

    /// Copies of all items as they were at one moment.
    ///
    /// # Errors
    ///
    /// [`Encoding`](SyncError::Encoding).
    pub fn items(&self) -> Result<Vec<T>, SyncError> {
        let _held = self.0.hold();
        self.load()
    }

    fn load(&self) -> Result<Vec<T>, SyncError> {
        self.entries().into_iter().map(Entry::value).collect()
    }

    /// Puts these items in the place of all there are, for who has the lock.
    fn store(&self, all: &[T]) -> Result<(), SyncError> {
        let (before, mut new) = (self.entries(), Vec::with_capacity(all.len()));
        let write = |item| Entry::write(&self.0, &[], &Encoded::of(item)?);
        let written = all
            .iter()
            .try_for_each(|item| write(item).map(|entry| new.push(entry)));
        match written.and_then(|()| self.hang(new.clone())) {
            Ok(()) => before.into_iter().for_each(Entry::free),
            Err(why) => {
                new.into_iter().for_each(Entry::free);
                return Err(why);
            }
        }
        Ok(())
    }
}

guard!(List<T: [Sized]>, ListGuard, Vec<T>, Vec<T>);
