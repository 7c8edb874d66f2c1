//! Shared data: a value, an array.

use std::marker::PhantomData;

use super::codec::{Shareable, decode, encode};
use super::guarded::{Content as _, One, guarded};
use super::handle::handle;
use super::items::items;
use super::place::Cluster;
use super::session::Shared;
use super::state::{Ask, Op};
use crate::SyncError;

/// A value under a lock, for all machines that know it.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, Value};
///
/// let shop = Cluster::connect("memory:shop")?;
/// let total = Value::new_in(&shop, 1)?;
/// *total.lock()? += 1;
/// total.update(|total| *total *= 10)?;
/// assert_eq!(total.get()?, 20);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Value<T> {
    pub(super) shared: Shared,
    place: Cluster,
    items: PhantomData<fn(T) -> T>,
}

handle!(Value[T], Value);
guarded!(Value, ValueGuard [T: Shareable] One<T> => T, |one| &one.0, |one| &mut one.0);

impl<T: Shareable> Value<T> {
    /// A value that nobody holds, at the place that the variable `CELERIAC_CLUSTER` names.
    ///
    /// # Errors
    ///
    /// As [`new_in`](Self::new_in).
    pub fn new(value: T) -> Result<Self, SyncError> {
        Self::new_in(&Cluster::of_program()?, value)
    }

    /// A value that nobody holds, at this place.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable), and [`Encoding`](SyncError::Encoding).
    pub fn new_in(place: &Cluster, value: T) -> Result<Self, SyncError> {
        Self::make(place, None, 1)?.begin(value)
    }

    /// The value of this name at this place, which is `value` if nobody has made it before.
    ///
    /// # Errors
    ///
    /// [`OtherType`](SyncError::OtherType) if something else has this name, and as there.
    pub fn named(place: &Cluster, name: &str, value: T) -> Result<Self, SyncError> {
        Self::make(place, Some(name), 1)?.begin(value)
    }

    fn begin(self, value: T) -> Result<Self, SyncError> {
        let data = One(value).encode()?;
        self.shared.ask_now(Op::Use(Ask::Begin(data)))?;
        Ok(self)
    }

    /// A copy of it.
    ///
    /// # Errors
    ///
    /// As [`lock`](Self::lock).
    pub fn get(&self) -> Result<T, SyncError> {
        let bytes = self.shared.use_data(Ask::At(0))?.bytes()?;
        decode(&bytes.ok_or(SyncError::Gone)?)
    }

    /// Puts `value` in its place, and gives the one before.
    ///
    /// # Errors
    ///
    /// [`Encoding`](SyncError::Encoding), and as [`lock`](Self::lock).
    #[expect(clippy::needless_pass_by_value, reason = "as in the other scopes")]
    pub fn set(&self, value: T) -> Result<T, SyncError> {
        let bytes = self
            .shared
            .use_data(Ask::Put(0, encode(&value)?))?
            .bytes()?;
        decode(&bytes.ok_or(SyncError::Gone)?)
    }

    /// Changes it while nobody else sees it, and gives what `change` does.
    ///
    /// # Errors
    ///
    /// [`Lost`](SyncError::Lost) if that took longer than the lease while the place could not be reached:
    /// nothing is changed then. As [`lock`](Self::lock) otherwise.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, SyncError> {
        let mut held = self.lock()?;
        let result = change(&mut held);
        held.release()?;
        Ok(result)
    }
}

/// So many items of one kind under one lock, for all machines that know it.
///
/// ```
/// use celeriac_sync::cluster::{Array, Cluster};
///
/// let shop = Cluster::connect("memory:shop")?;
/// let scores = Array::new_in(&shop, [0; 3])?;
/// scores.set(1, 7)?;
/// scores.lock()?.sort();
/// assert_eq!(*scores.lock()?, [0, 0, 7]);
/// assert!(scores.get(3).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Array<T> {
    pub(super) shared: Shared,
    place: Cluster,
    items: PhantomData<fn(T) -> T>,
}

handle!(Array[T], Array);
guarded!(Array, ArrayGuard [T: Shareable] Vec<T> => [T], |items| items, |items| items);

impl<T: Shareable> Array<T> {
    /// An array of these items, at the place that the variable `CELERIAC_CLUSTER` names.
    ///
    /// # Errors
    ///
    /// As [`new_in`](Self::new_in).
    pub fn new(items: impl Into<Box<[T]>>) -> Result<Self, SyncError> {
        Self::new_in(&Cluster::of_program()?, items)
    }

    /// An array of these items, at this place.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable), and [`Encoding`](SyncError::Encoding).
    pub fn new_in(place: &Cluster, items: impl Into<Box<[T]>>) -> Result<Self, SyncError> {
        Self::begin(place, None, items.into())
    }

    /// The array of this name at this place, which has these items if nobody has made it before.
    ///
    /// # Errors
    ///
    /// [`OtherType`](SyncError::OtherType) if something else has this name, or another number of items,
    /// and as there.
    pub fn named(
        place: &Cluster,
        name: &str,
        items: impl Into<Box<[T]>>,
    ) -> Result<Self, SyncError> {
        Self::begin(place, Some(name), items.into())
    }

    fn begin(place: &Cluster, name: Option<&str>, items: Box<[T]>) -> Result<Self, SyncError> {
        let made = Self::make(place, name, items.len())?;
        let data = items.into_vec().encode()?;
        made.shared.ask_now(Op::Use(Ask::Begin(data)))?;
        Ok(made)
    }

    items!(T);
}
