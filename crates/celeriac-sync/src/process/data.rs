//! Shared data: a value, an array.
//!
//! A guard holds a copy, and puts it back when it is dropped: a process that dies while it changes the copy
//! has changed nothing.

use std::fmt;
use std::marker::PhantomData;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use bytemuck::Pod;

use super::handle::handle;
use super::monitor::after;
use super::segment::{Kind, Plan, Segment, shape};
use super::word::{self, Turn};
use crate::SyncError;

/// Where the data begins, after the word of the lock.
const DATA: usize = 1;

fn plan<T: Pod>(kind: Kind, count: usize) -> Plan {
    Plan {
        kind,
        shape: shape::<T>(),
        words: DATA + words_of::<T>() * count,
        more: 0,
        recover: |words, seat| word::recover(&words[0], seat),
    }
}

/// How many words an item takes.
fn words_of<T>() -> usize {
    size_of::<T>().div_ceil(4)
}

fn load<T: Pod>(words: &[AtomicU32]) -> T {
    let mut item = T::zeroed();
    let bytes = bytemuck::bytes_of_mut(&mut item);
    for (part, word) in bytes.chunks_mut(4).zip(words) {
        let word = word.load(Ordering::Relaxed).to_ne_bytes();
        part.copy_from_slice(&word[..part.len()]);
    }
    item
}

fn store<T: Pod>(words: &[AtomicU32], item: &T) {
    for (part, word) in bytemuck::bytes_of(item).chunks(4).zip(words) {
        let mut bytes = [0; 4];
        bytes[..part.len()].copy_from_slice(part);
        word.store(u32::from_ne_bytes(bytes), Ordering::Relaxed);
    }
}

/// Writes a type whose data is under a lock, and its guard.
macro_rules! shared {
    ($name:ident, $guard:ident, $data:ty, $slice:ty, $open:expr) => {
        impl<T: Pod> $name<T> {
            /// Takes the lock, and with it a copy of the data, which is put back when the guard is dropped.
            ///
            /// # Errors
            ///
            /// None.
            pub fn lock(&self) -> Result<$guard<'_, T>, SyncError> {
                self.until(None)
            }

            /// [`lock`](Self::lock), but no longer than `timeout`.
            ///
            /// # Errors
            ///
            /// [`Timeout`](SyncError::Timeout).
            pub fn lock_for(&self, timeout: Duration) -> Result<$guard<'_, T>, SyncError> {
                self.until(after(timeout))
            }

            /// [`lock`](Self::lock), but without waiting.
            ///
            /// # Errors
            ///
            /// [`Busy`](SyncError::Busy) if it is held.
            pub fn try_lock(&self) -> Result<$guard<'_, T>, SyncError> {
                let taken = word::take(&self.0.body()[0], self.0.seat());
                Ok(self.guard(taken.ok_or(SyncError::Busy)?))
            }

            /// [`lock`](Self::lock), as a coroutine, for which a thread waits.
            ///
            /// # Errors
            ///
            /// None.
            ///
            /// # Cancel safety
            ///
            /// Safe: what a dropped call still gets it gives back at once.
            pub async fn lock_async(&self) -> Result<$guard<'_, T>, SyncError> {
                if let Ok(guard) = self.try_lock() {
                    return Ok(guard);
                }
                let turn = Turn::come(self.0.clone()).await?;
                Ok(self.guard(turn.keep()))
            }

            fn until(&self, deadline: Option<Instant>) -> Result<$guard<'_, T>, SyncError> {
                let quick = word::take(&self.0.body()[0], self.0.seat());
                let recovered = match quick {
                    Some(recovered) => recovered,
                    None => word::wait(&self.0, 0, deadline)?,
                };
                Ok(self.guard(recovered))
            }

            fn data(&self) -> &[AtomicU32] {
                &self.0.body()[DATA..]
            }

            fn guard(&self, recovered: bool) -> $guard<'_, T> {
                $guard {
                    shared: self,
                    data: self.load(),
                    changed: false,
                    recovered,
                }
            }

            fn from_inner(segment: Arc<Segment>) -> Self {
                Self(segment, PhantomData)
            }
        }

        impl<T> Clone for $name<T> {
            fn clone(&self) -> Self {
                Self(self.0.clone(), PhantomData)
            }
        }

        handle!($name[T: Pod], $open, Segment);

        #[doc = concat!("Holds a [`", stringify!($name), "`] until it is dropped.")]
        #[must_use = "the data is given back at once if nobody keeps the guard"]
        pub struct $guard<'a, T: Pod> {
            shared: &'a $name<T>,
            data: $data,
            changed: bool,
            recovered: bool,
        }

        impl<'a, T: Pod> $guard<'a, T> {
            /// Whether the holder before died or panicked, so that the data may be half changed.
            pub fn recovered(&self) -> bool {
                self.recovered
            }

            pub(super) fn lock(&self) -> &'a $name<T> {
                self.shared
            }
        }

        impl<T: Pod> Deref for $guard<'_, T> {
            type Target = $slice;

            fn deref(&self) -> &$slice {
                &self.data
            }
        }

        impl<T: Pod> DerefMut for $guard<'_, T> {
            fn deref_mut(&mut self) -> &mut $slice {
                self.changed = true;
                &mut self.data
            }
        }

        impl<T: Pod> Drop for $guard<'_, T> {
            fn drop(&mut self) {
                if self.changed {
                    self.shared.store(&self.data);
                }
                word::release(&self.shared.0.body()[0], std::thread::panicking());
            }
        }

        impl<T: Pod + fmt::Debug> fmt::Debug for $guard<'_, T> {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                let name = stringify!($guard);
                formatter.debug_tuple(name).field(&self.data).finish()
            }
        }
    };
}

/// A value under a lock, of a type that is no more than its bytes.
///
/// ```
/// use celeriac_sync::process::Value;
///
/// let total = Value::new(1_u64)?;
/// *total.lock()? += 1;
/// total.update(|total| *total *= 10)?;
/// assert_eq!(total.get()?, 20);
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
///
/// A struct is such a type if its fields are and there are no gaps between them. That is derived, without
/// unsafe code, and refused by the compiler if it does not hold:
///
/// ```
/// #![forbid(unsafe_code)]
/// use celeriac_sync::bytemuck::{Pod, Zeroable};
/// use celeriac_sync::process::{Array, Value};
///
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// #[bytemuck(crate = "celeriac_sync::bytemuck")]
/// #[repr(C)]
/// struct Point {
///     x: f64,
///     y: f64,
/// }
///
/// # fn main() -> Result<(), celeriac_sync::SyncError> {
/// let here = Value::new(Point { x: 1.0, y: 2.0 })?;
/// here.lock()?.x += 1.0;
/// let path = Array::new([here.get()?; 10])?;
/// assert_eq!(path.get(9)?.x, 2.0);
/// # Ok(())
/// # }
/// ```
///
/// ```compile_fail
/// use celeriac_sync::bytemuck::{Pod, Zeroable};
///
/// #[derive(Clone, Copy, Pod, Zeroable)]
/// #[bytemuck(crate = "celeriac_sync::bytemuck")]
/// #[repr(C)]
/// struct HasAGap {
///     small: u8,
///     large: u64,
/// }
/// ```
#[derive(Debug)]
pub struct Value<T>(Arc<Segment>, PhantomData<fn(T) -> T>);

impl<T: Pod> Value<T> {
    /// A value that nobody holds.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory).
    pub fn new(value: T) -> Result<Self, SyncError> {
        let made = Self::from_inner(Segment::create(plan::<T>(Kind::Value, 1))?);
        made.store(&value);
        Ok(made)
    }

    /// A copy of it.
    ///
    /// # Errors
    ///
    /// None.
    pub fn get(&self) -> Result<T, SyncError> {
        Ok(*self.lock()?)
    }

    /// Puts `value` in its place, and gives the one before.
    ///
    /// # Errors
    ///
    /// None.
    pub fn set(&self, value: T) -> Result<T, SyncError> {
        Ok(std::mem::replace(&mut *self.lock()?, value))
    }

    /// Changes it, and gives what `change` does.
    ///
    /// # Errors
    ///
    /// None.
    pub fn update<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, SyncError> {
        Ok(change(&mut *self.lock()?))
    }

    fn load(&self) -> T {
        load(self.data())
    }

    fn store(&self, value: &T) {
        store(self.data(), value);
    }
}

shared!(Value, ValueGuard, T, T, plan::<T>(Kind::Value, 1));

/// So many items of one kind under one lock, of a type that is no more than its bytes.
///
/// ```
/// use celeriac_sync::process::Array;
///
/// let scores = Array::new([0_i32; 3])?;
/// scores.set(1, 7)?;
/// scores.lock()?.sort();
/// assert_eq!(*scores.lock()?, [0, 0, 7]);
/// assert!(scores.get(3).is_err());
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug)]
pub struct Array<T>(Arc<Segment>, PhantomData<fn(T) -> T>);

impl<T: Pod> Array<T> {
    /// An array of these items.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory).
    pub fn new(items: impl Into<Box<[T]>>) -> Result<Self, SyncError> {
        let items = items.into();
        let made = Self::from_inner(Segment::create(plan::<T>(Kind::Array, items.len()))?);
        made.store(&items);
        Ok(made)
    }

    /// How many items it has.
    ///
    /// # Errors
    ///
    /// None.
    pub fn len(&self) -> Result<usize, SyncError> {
        Ok(self.places().count())
    }

    /// Whether it has no item.
    ///
    /// # Errors
    ///
    /// None.
    pub fn is_empty(&self) -> Result<bool, SyncError> {
        Ok(self.len()? == 0)
    }

    /// A copy of one item.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](SyncError::OutOfRange).
    pub fn get(&self, index: usize) -> Result<T, SyncError> {
        let _held = self.hold()?;
        Ok(load(self.place(index)?))
    }

    /// Puts `item` in a place, and gives the one before.
    ///
    /// # Errors
    ///
    /// [`OutOfRange`](SyncError::OutOfRange).
    pub fn set(&self, index: usize, item: T) -> Result<T, SyncError> {
        let _held = self.hold()?;
        let place = self.place(index)?;
        let before = load(place);
        store(place, &item);
        Ok(before)
    }

    /// The lock without a copy of all items.
    fn hold(&self) -> Result<ArrayGuard<'_, T>, SyncError> {
        if word::take(&self.0.body()[0], self.0.seat()).is_none() {
            word::wait(&self.0, 0, None)?;
        }
        Ok(ArrayGuard {
            shared: self,
            data: Box::default(),
            changed: false,
            recovered: false,
        })
    }

    fn places(&self) -> impl Iterator<Item = &[AtomicU32]> {
        self.data().chunks_exact(words_of::<T>().max(1))
    }

    fn place(&self, index: usize) -> Result<&[AtomicU32], SyncError> {
        let place = self.places().nth(index);
        let len = self.places().count();
        place.ok_or(SyncError::OutOfRange { index, len })
    }

    fn load(&self) -> Box<[T]> {
        self.places().map(load).collect()
    }

    fn store(&self, items: &[T]) {
        for (item, place) in items.iter().zip(self.places()) {
            store(place, item);
        }
    }
}

shared!(Array, ArrayGuard, Box<[T]>, [T], plan::<T>(Kind::Array, 0));
