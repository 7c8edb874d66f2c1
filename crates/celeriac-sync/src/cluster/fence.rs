//! What a resource refuses late holders with.

use std::sync::atomic::{AtomicU64, Ordering};

/// A holder's number is smaller than one that was seen before: another has held the lock since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the holder {number} is late, {greatest} has been here")]
pub struct Late {
    /// Its number.
    pub number: u64,
    /// The greatest that was seen.
    pub greatest: u64,
}

/// Stands before what a lock of this scope protects, and refuses who holds it no more.
///
/// A holder that was stopped for longer than its lease goes on without knowing that another has the lock.
/// Each holder has a greater [fencing number](super::LockGuard::fence) than those before it, so whatever is
/// protected can tell: it has to see the number with each change.
///
/// ```
/// use celeriac_sync::cluster::Fence;
///
/// let ledger = Fence::new();
/// ledger.admit(33)?;
/// ledger.admit(34)?;
/// assert!(ledger.admit(33).is_err());
/// # Ok::<(), celeriac_sync::cluster::Late>(())
/// ```
#[derive(Debug, Default)]
pub struct Fence(AtomicU64);

impl Fence {
    /// A fence that has seen nobody.
    pub fn new() -> Self {
        Self::default()
    }

    /// A fence that has seen `number`, as the resource has stored it.
    pub fn seen(number: u64) -> Self {
        Self(AtomicU64::new(number))
    }

    /// Lets a holder pass, unless a later one has passed.
    ///
    /// # Errors
    ///
    /// [`Late`].
    pub fn admit(&self, number: u64) -> Result<(), Late> {
        let greatest = self.0.fetch_max(number, Ordering::AcqRel);
        if number < greatest {
            return Err(Late { number, greatest });
        }
        Ok(())
    }

    /// The greatest number that was seen.
    pub fn greatest(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}
