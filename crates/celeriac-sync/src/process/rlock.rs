//! A lock that its holder may take again.
//!
//! ```text
//!  words  0  the lock
//!         1  the thread that holds it, by a number of its process
//!         2  how often that thread holds it
//! ```

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::handle::handle;
use super::monitor::after;
use super::segment::{Kind, Plan, Segment};
use super::word::{self, Turn};
use crate::SyncError;

const OWNER: usize = 1;
const DEPTH: usize = 2;

const PLAN: Plan = Plan {
    kind: Kind::RLock,
    shape: 0,
    words: 3,
    more: 0,
    recover: |words, seat| {
        // Nobody else writes here while the dead one's word stands.
        if word::is_of(&words[0], seat) {
            words[OWNER].store(0, Ordering::Relaxed);
            words[DEPTH].store(0, Ordering::Relaxed);
        }
        word::recover(&words[0], seat);
    },
};

/// A number of this thread that no other of this process has.
fn me() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    thread_local!(static ME: u32 = LAST.fetch_add(1, Ordering::Relaxed) + 1);
    ME.with(|me| *me)
}

/// Held by one thread at a time, of all processes that have it, which may take it as often as it likes.
///
/// ```
/// use celeriac_sync::process::RLock;
///
/// fn depth(lock: &RLock, left: u32) -> u32 {
///     let _held = lock.lock().unwrap();
///     if left == 0 { 0 } else { 1 + depth(lock, left - 1) }
/// }
/// assert_eq!(depth(&RLock::new()?, 5), 5);
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug, Clone)]
pub struct RLock(Arc<Segment>);

impl RLock {
    /// A lock that nobody holds.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory).
    pub fn new() -> Result<Self, SyncError> {
        Segment::create(PLAN).map(Self)
    }

    /// Takes it, and gives it back when as many guards are dropped as were taken.
    ///
    /// # Errors
    ///
    /// None.
    pub fn lock(&self) -> Result<RLockGuard<'_>, SyncError> {
        self.until(|| word::wait(&self.0, 0, None))
    }

    /// [`lock`](Self::lock), but no longer than `timeout`.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout).
    pub fn lock_for(&self, timeout: Duration) -> Result<RLockGuard<'_>, SyncError> {
        self.until(|| word::wait(&self.0, 0, after(timeout)))
    }

    /// [`lock`](Self::lock), but without waiting.
    ///
    /// # Errors
    ///
    /// [`Busy`](SyncError::Busy) if another holds it.
    pub fn try_lock(&self) -> Result<RLockGuard<'_>, SyncError> {
        self.until(|| Err(SyncError::Busy))
    }

    /// [`lock`](Self::lock), as a coroutine that stays on its thread while it holds it.
    ///
    /// # Errors
    ///
    /// None.
    ///
    /// # Cancel safety
    ///
    /// Safe: what a dropped call still gets is given back at once.
    pub async fn lock_async(&self) -> Result<RLockGuard<'_>, SyncError> {
        if let Ok(guard) = self.try_lock() {
            return Ok(guard);
        }
        let turn = Turn::come(self.0.clone()).await?;
        Ok(self.hold(turn.keep()))
    }

    /// How often this thread holds it.
    pub fn depth(&self) -> usize {
        let words = self.0.body();
        if self.is_mine() {
            words[DEPTH].load(Ordering::Relaxed) as usize
        } else {
            0
        }
    }

    /// Nobody but this thread writes its number there, and only while its process holds the lock.
    fn is_mine(&self) -> bool {
        let words = self.0.body();
        word::is_of(&words[0], self.0.seat()) && words[OWNER].load(Ordering::Relaxed) == me()
    }

    fn until(
        &self,
        wait: impl FnOnce() -> Result<bool, SyncError>,
    ) -> Result<RLockGuard<'_>, SyncError> {
        if self.is_mine() {
            return Ok(self.hold(false));
        }
        let recovered = match word::take(&self.0.body()[0], self.0.seat()) {
            Some(recovered) => recovered,
            None => wait()?,
        };
        Ok(self.hold(recovered))
    }

    fn hold(&self, recovered: bool) -> RLockGuard<'_> {
        let words = self.0.body();
        words[OWNER].store(me(), Ordering::Relaxed);
        words[DEPTH].fetch_add(1, Ordering::Relaxed);
        RLockGuard {
            lock: self,
            recovered,
            stays: PhantomData,
        }
    }

    fn from_inner(segment: Arc<Segment>) -> Self {
        Self(segment)
    }
}

handle!(RLock[], PLAN, Segment);

/// Holds an [`RLock`] until it is dropped, on the thread that took it.
#[derive(Debug)]
#[must_use = "the lock is given back at once if nobody keeps the guard"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    recovered: bool,
    stays: PhantomData<*const ()>,
}

impl RLockGuard<'_> {
    /// Whether the holder before died or panicked, so that what the lock protects may be half done.
    pub fn recovered(&self) -> bool {
        self.recovered
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        let words = self.lock.0.body();
        if words[DEPTH].fetch_sub(1, Ordering::Relaxed) == 1 {
            words[OWNER].store(0, Ordering::Relaxed);
            word::release(&words[0], std::thread::panicking());
        }
    }
}
