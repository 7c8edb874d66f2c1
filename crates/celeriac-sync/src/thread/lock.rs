//! A lock.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use super::gate::{Attempt, Gate, forms};

/// Held by one at a time, and by nobody twice.
///
/// ```
/// use celeriac_sync::thread::Lock;
///
/// let till = Lock::new();
/// let held = till.lock()?;
/// assert!(till.try_lock().is_err());
/// drop(held);
/// assert!(till.try_lock().is_ok());
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct Lock(Arc<Word>);

/// A lock that guards wait on, and what its last holder left behind.
#[derive(Debug)]
pub(super) struct Word {
    state: AtomicU8,
    /// Whether a holder panicked.
    abandoned: AtomicBool,
    gate: Gate,
}

const FREE: u8 = 0;
const TAKEN: u8 = 1;

impl Default for Word {
    fn default() -> Self {
        Self {
            state: AtomicU8::new(FREE),
            abandoned: AtomicBool::new(false),
            gate: Gate::new(),
        }
    }
}

impl Word {
    pub(super) fn gate(&self) -> &Gate {
        &self.gate
    }

    /// Takes it if nobody has it: whether its last holder panicked.
    pub(super) fn take(&self) -> Option<bool> {
        let taken = self
            .state
            .compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed);
        taken.ok()?;
        // Nearly always nothing is to be written.
        let abandoned = self.abandoned.load(Ordering::Relaxed);
        Some(abandoned && self.abandoned.swap(false, Ordering::Relaxed))
    }

    pub(super) fn release(&self) {
        if std::thread::panicking() {
            self.abandoned.store(true, Ordering::Relaxed);
        }
        self.state.store(FREE, Ordering::Release);
        self.gate.open_for_one();
    }

    pub(super) fn is_taken(&self) -> bool {
        self.state.load(Ordering::Relaxed) == TAKEN
    }
}

impl Lock {
    /// A lock that nobody holds.
    pub fn new() -> Self {
        Self::default()
    }

    fn attempt(&self) -> Attempt<LockGuard<'_>> {
        let recovered = self.0.take()?;
        Some(Ok(LockGuard {
            lock: self,
            recovered,
        }))
    }

    forms! {
        /// Takes it, and gives it back when the guard is dropped, by whatever thread.
        ///
        /// Whoever takes it twice waits for itself, for ever: see [`RLock`](super::RLock).
        ///
        /// # Errors
        ///
        /// None in this scope.
        lock, lock_for, try_lock, lock_async(self) -> LockGuard<'_>,
        self.0.gate() => self.attempt()
    }

    /// Whether somebody held it a moment ago.
    pub fn is_locked(&self) -> bool {
        self.0.is_taken()
    }
}

/// Holds a [`Lock`] until it is dropped.
#[derive(Debug)]
#[must_use = "the lock is given back at once if nobody keeps the guard"]
pub struct LockGuard<'a> {
    lock: &'a Lock,
    recovered: bool,
}

impl<'a> LockGuard<'a> {
    /// Whether the holder before panicked, so that what the lock protects may be half done.
    pub fn recovered(&self) -> bool {
        self.recovered
    }

    pub(super) fn lock(&self) -> &'a Lock {
        self.lock
    }
}

impl Drop for LockGuard<'_> {
    fn drop(&mut self) {
        self.lock.0.release();
    }
}
