//! A lock.

use std::marker::PhantomData;

use super::forms::forms;
use super::handle::{handle, makers};
use super::place::Cluster;
use super::session::{Answered, Shared};
use super::stake::{Stake, held};
use super::state::Op;
use crate::SyncError;

/// Held by one at a time, of all machines that know it, and by nobody twice.
///
/// Who has waited longest comes next. A holder that dies, or is stopped for longer than its lease, has it
/// no more: so what it protects should refuse a [fencing number](LockGuard::fence) smaller than one it has
/// seen.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, Lock};
///
/// let shop = Cluster::connect("memory:shop")?;
/// let till = Lock::new_in(&shop)?;
/// let held = till.lock()?;
/// assert!(till.try_lock().is_err());
/// held.release()?;
/// assert!(till.try_lock().is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Lock {
    pub(super) shared: Shared,
    place: Cluster,
    items: PhantomData<()>,
}

handle!(Lock[], Lock);

impl Lock {
    makers!("A lock that nobody holds", "The lock", 1);

    forms! {
        /// Takes it, and gives it back when the guard is dropped, by whatever thread.
        ///
        /// Whoever takes it twice waits for itself, for ever: see [`RLock`](super::RLock).
        ///
        /// # Errors
        ///
        /// [`Unreachable`](crate::SyncError::Unreachable).
        lock, lock_for, try_lock, lock_async -> LockGuard<'_>,
        Op::Acquire { ask: None } => guard
    }

    /// Whether somebody held it a moment ago.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn is_locked(&self) -> Result<bool, SyncError> {
        Ok(self.shared.count()? == 0)
    }

    fn guard(&self, answered: Answered) -> Result<LockGuard<'_>, SyncError> {
        let (stake, _) = Stake::of(&self.shared, answered)?;
        Ok(LockGuard { lock: self, stake })
    }
}

/// Holds a [`Lock`] until it is dropped, or until its lease runs out.
#[must_use = "the lock is given back at once if nobody keeps the guard"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    stake: Stake,
}

impl<'a> LockGuard<'a> {
    held!();

    /// Whether the holder before died or panicked, so that what the lock protects may be half done.
    pub fn recovered(&self) -> bool {
        self.stake.recovered
    }

    /// Gives it back, and tells whether it was held all the time.
    ///
    /// # Errors
    ///
    /// [`Lost`](SyncError::Lost) if the lease ran out, and [`Unreachable`](SyncError::Unreachable).
    pub fn release(mut self) -> Result<(), SyncError> {
        let op = self.stake.release(None);
        self.stake.finish(op).map(drop)
    }

    pub(super) fn lock(&self) -> &'a Lock {
        self.lock
    }
}

impl std::fmt::Debug for LockGuard<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("LockGuard")
            .field("fence", &self.fence())
            .finish_non_exhaustive()
    }
}
