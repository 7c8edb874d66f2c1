//! A lock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::handle::handle;
use super::monitor::after;
use super::segment::{Kind, Plan, Segment};
use super::word::{self, Turn};
use crate::SyncError;

const PLAN: Plan = Plan {
    kind: Kind::Lock,
    shape: 0,
    words: 1,
    more: 0,
    recover: |words, seat| word::recover(&words[0], seat),
};

/// Held by one at a time, of all processes that have it, and by nobody twice.
///
/// ```
/// use celeriac_sync::process::Lock;
///
/// let till = Lock::new()?;
/// let held = till.lock()?;
/// assert!(till.try_lock().is_err());
/// drop(held);
/// assert!(till.try_lock().is_ok());
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Lock(Arc<Segment>);

impl Lock {
    /// A lock that nobody holds.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory).
    pub fn new() -> Result<Self, SyncError> {
        Segment::create(PLAN).map(Self)
    }

    /// Takes it, and gives it back when the guard is dropped, by whatever thread.
    ///
    /// Whoever takes it twice waits for itself, for ever: see [`RLock`](super::RLock).
    ///
    /// # Errors
    ///
    /// None.
    pub fn lock(&self) -> Result<LockGuard<'_>, SyncError> {
        self.until(None)
    }

    /// [`lock`](Self::lock), but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout).
    pub fn lock_for(&self, timeout: Duration) -> Result<LockGuard<'_>, SyncError> {
        self.until(after(timeout))
    }

    /// [`lock`](Self::lock), but without waiting.
    ///
    /// # Errors
    ///
    /// [`Busy`](SyncError::Busy) if it is held.
    pub fn try_lock(&self) -> Result<LockGuard<'_>, SyncError> {
        let taken = word::take(&self.0.body()[0], self.0.seat());
        let recovered = taken.ok_or(SyncError::Busy)?;
        Ok(self.guard(recovered))
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
    pub async fn lock_async(&self) -> Result<LockGuard<'_>, SyncError> {
        if let Ok(guard) = self.try_lock() {
            return Ok(guard);
        }
        let turn = Turn::come(self.0.clone()).await?;
        Ok(self.guard(turn.keep()))
    }

    /// Whether somebody held it a moment ago.
    pub fn is_locked(&self) -> bool {
        word::is_taken(&self.0.body()[0])
    }

    fn until(&self, deadline: Option<Instant>) -> Result<LockGuard<'_>, SyncError> {
        let quick = word::take(&self.0.body()[0], self.0.seat());
        let recovered = match quick {
            Some(recovered) => recovered,
            None => word::wait(&self.0, 0, deadline)?,
        };
        Ok(self.guard(recovered))
    }

    fn guard(&self, recovered: bool) -> LockGuard<'_> {
        LockGuard {
            lock: self,
            recovered,
        }
    }

    fn from_inner(segment: Arc<Segment>) -> Self {
        Self(segment)
    }

    fn release(&self) {
        word::release(&self.0.body()[0], std::thread::panicking());
    }
}

handle!(Lock[], PLAN, Segment);

/// Holds a [`Lock`] until it is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back at once if nobody keeps the guard"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    recovered: bool,
}

impl<'a> LockGuard<'a> {
    /// Whether the holder before died or panicked, so that what the lock protects may be half done.
    pub fn recovered(&self) -> bool {
        self.recovered
    }

    pub(super) fn lock(&self) -> &'a Lock {
        self.lock
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        self.lock.release();
    }
}
