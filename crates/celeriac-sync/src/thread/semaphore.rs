//! Semaphores.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::gate::{Attempt, Gate, forms};
use crate::SyncError;

#[derive(Debug)]
struct Permits {
    free: AtomicUsize,
    gate: Gate,
}

impl Permits {
    fn new(free: usize) -> Arc<Self> {
        Arc::new(Self {
            free: AtomicUsize::new(free),
            gate: Gate::new(),
        })
    }

    fn attempt(&self) -> Attempt<Permit<'_>> {
        let fewer = |free: usize| free.checked_sub(1);
        let taken = self
            .free
            .fetch_update(Ordering::Acquire, Ordering::Relaxed, fewer);
        taken.is_ok().then(|| Ok(Permit(self)))
    }

    /// Adds a permit, unless there are `most` already.
    fn release(&self, most: usize) -> Result<(), SyncError> {
        let more = |free: usize| (free < most).then(|| free + 1);
        let given = self
            .free
            .fetch_update(Ordering::Release, Ordering::Relaxed, more);
        given.map_err(|_| SyncError::NotTaken)?;
        self.gate.open_for_one();
        Ok(())
    }
}

/// Held by so many at a time.
///
/// ```
/// use celeriac_sync::thread::Semaphore;
///
/// let tables = Semaphore::new(2);
/// let (one, two) = (tables.acquire()?, tables.acquire()?);
/// assert!(tables.try_acquire().is_err());
/// drop(one);
/// assert!(tables.try_acquire().is_ok());
/// # drop(two);
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Semaphore(Arc<Permits>);

impl Semaphore {
    /// A semaphore with so many permits.
    pub fn new(permits: usize) -> Self {
        Self(Permits::new(permits))
    }

    forms! {
        /// Takes a permit, which comes back when it is dropped.
        ///
        /// # Errors
        ///
        /// None in this scope.
        acquire, acquire_for, try_acquire, acquire_async(self) -> Permit<'_>,
        self.0.gate => self.0.attempt()
    }

    /// Adds a permit: one that was [forgotten](Permit::forget), or one more than there were.
    ///
    /// # Errors
    ///
    /// [`NotTaken`](SyncError::NotTaken) if there are as many as can be counted.
    pub fn release(&self) -> Result<(), SyncError> {
        self.0.release(usize::MAX)
    }

    /// How many permits are free.
    pub fn value(&self) -> usize {
        self.0.free.load(Ordering::Relaxed)
    }
}

/// A semaphore that never has more permits than it began with.
///
/// ```
/// use celeriac_sync::{SyncError, thread::BoundedSemaphore};
///
/// let tables = BoundedSemaphore::new(2);
/// assert_eq!(tables.release(), Err(SyncError::NotTaken));
/// ```
#[derive(Debug, Clone)]
pub struct BoundedSemaphore {
    permits: Arc<Permits>,
    most: usize,
}

impl BoundedSemaphore {
    /// A semaphore with so many permits.
    pub fn new(permits: usize) -> Self {
        Self {
            permits: Permits::new(permits),
            most: permits,
        }
    }

    forms! {
        /// Takes a permit, which comes back when it is dropped.
        ///
        /// # Errors
        ///
        /// None in this scope.
        acquire, acquire_for, try_acquire, acquire_async(self) -> Permit<'_>,
        self.permits.gate => self.permits.attempt()
    }

    /// Gives back a permit that was [forgotten](Permit::forget).
    ///
    /// # Errors
    ///
    /// [`NotTaken`](SyncError::NotTaken) if all are there.
    pub fn release(&self) -> Result<(), SyncError> {
        self.permits.release(self.most)
    }

    /// How many permits are free.
    pub fn value(&self) -> usize {
        self.permits.free.load(Ordering::Relaxed)
    }
}

/// One of the permits of a semaphore, until it is dropped.
#[derive(Debug)]
#[must_use = "the permit comes back at once if nobody keeps it"]
pub struct Permit<'a>(&'a Permits);

impl Permit<'_> {
    /// Keeps it taken, until somebody releases it by hand.
    pub fn forget(self) {
        // A permit owns nothing, so nothing leaks but the permit.
        let _ = std::mem::ManuallyDrop::new(self);
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        // It was taken, so there is room for it.
        let _ = self.0.release(usize::MAX);
    }
}
