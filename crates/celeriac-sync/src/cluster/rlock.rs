//! A lock that its holder may take again.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Arc;
use std::thread::{self, ThreadId};
use std::time::Duration;

use super::forms::after;
use super::handle::{handle, makers};
use super::place::Cluster;
use super::session::{Answered, Shared};
use super::slot::Hold;
use super::stake::Stake;
use super::state::Op;
use crate::SyncError;

/// Held by one thread at a time, of all machines that know it, which may take it as often as it likes.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, RLock};
///
/// fn depth(lock: &RLock, left: u32) -> u32 {
///     let _held = lock.lock().unwrap();
///     if left == 0 { 0 } else { 1 + depth(lock, left - 1) }
/// }
/// let shop = Cluster::connect("memory:shop")?;
/// assert_eq!(depth(&RLock::new_in(&shop)?, 5), 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct RLock {
    shared: Shared,
    place: Cluster,
    items: PhantomData<()>,
}

handle!(RLock[], RLock);

/// The threads of this process that hold recursive locks, by the locks' names.
pub(super) type Owners = HashMap<Arc<str>, Owner>;

/// A thread that holds a lock.
pub(super) struct Owner {
    thread: ThreadId,
    depth: usize,
    stake: Stake,
}

impl RLock {
    makers!("A lock that nobody holds", "The lock", 1);

    /// Takes it, and gives it back when as many guards are dropped as were taken.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn lock(&self) -> Result<RLockGuard<'_>, SyncError> {
        self.again()
            .map_or_else(|| self.hold(self.shared.ask(OP, None)?), Ok)
    }

    /// [`lock`](Self::lock), but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout), and as there.
    pub fn lock_for(&self, timeout: Duration) -> Result<RLockGuard<'_>, SyncError> {
        let take = || self.hold(self.shared.ask(OP, after(timeout))?);
        self.again().map_or_else(take, Ok)
    }

    /// [`lock`](Self::lock), but without waiting for others.
    ///
    /// # Errors
    ///
    /// [`Busy`](SyncError::Busy) if another holds it, and as there.
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, SyncError> {
        self.again()
            .map_or_else(|| self.hold(self.shared.ask_now(OP)?), Ok)
    }

    /// [`lock`](Self::lock), as a coroutine that stays on its thread while it holds it.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Safe: what a dropped call still gets is given back at once.
    pub async fn lock_async(&self) -> Result<RLockGuard<'_>, SyncError> {
        match self.again() {
            Some(guard) => Ok(guard),
            None => self.hold(self.shared.ask_async(OP).await?),
        }
    }

    /// How often this thread holds it.
    pub fn depth(&self) -> usize {
        let owners = self.shared.session().owners();
        let own = owners.get(self.shared.name());
        own.map_or(0, |owner| if owner.is_me() { owner.depth } else { 0 })
    }

    /// One guard more, if this thread has one.
    fn again(&self) -> Option<RLockGuard<'_>> {
        let mut owners = self.shared.session().owners();
        let owner = owners
            .get_mut(self.shared.name())
            .filter(|owner| owner.is_me())?;
        owner.depth += 1;
        Some(self.guard(owner, false))
    }

    fn hold(&self, answered: Answered) -> Result<RLockGuard<'_>, SyncError> {
        let (stake, _) = Stake::of(&self.shared, answered)?;
        let owner = Owner {
            thread: thread::current().id(),
            depth: 1,
            stake,
        };
        let guard = self.guard(&owner, owner.stake.recovered);
        let name = self.shared.name().clone();
        // One whose lease ran out may be there still: its guards know that they have nothing.
        let before = self.shared.session().owners().insert(name, owner);
        drop(before);
        Ok(guard)
    }

    fn guard(&self, owner: &Owner, recovered: bool) -> RLockGuard<'_> {
        RLockGuard {
            lock: self,
            fence: owner.stake.fence,
            hold: owner.stake.hold().clone(),
            recovered,
            stays: PhantomData,
        }
    }
}

const OP: Op = Op::Acquire { ask: None };

impl Owner {
    fn is_me(&self) -> bool {
        self.thread == thread::current().id() && self.stake.hold().is_held()
    }
}

/// Holds an [`RLock`] until it is dropped, on the thread that took it, or until its lease runs out.
#[must_use = "the lock is given back at once if nobody keeps the guard"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    fence: u64,
    hold: Arc<Hold>,
    recovered: bool,
    stays: PhantomData<*const ()>,
}

impl RLockGuard<'_> {
    /// Whether the holder before died or panicked, so that what the lock protects may be half done.
    pub fn recovered(&self) -> bool {
        self.recovered
    }

    /// The fencing number: greater than that of any holder before.
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// Whether it is held still: false as soon as the lease was not renewed in time.
    pub fn is_held(&self) -> bool {
        self.hold.is_held()
    }

    /// Waits until it is not held any more because its lease was not renewed in time.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn lost(&self) {
        self.hold.lost().await;
    }
}

impl std::fmt::Debug for RLockGuard<'_> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("RLockGuard")
            .field("fence", &self.fence)
            .finish_non_exhaustive()
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        let shared = &self.lock.shared;
        let mut owners = shared.session().owners();
        let Some(owner) = owners.get_mut(shared.name()) else {
            return;
        };
        if owner.stake.fence != self.fence {
            return;
        }
        owner.depth -= 1;
        if owner.depth == 0 {
            let owner = owners.remove(shared.name());
            drop(owners);
            drop(owner);
        }
    }
}
