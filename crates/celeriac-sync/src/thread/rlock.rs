//! A lock that its holder may take again.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use super::gate::{Attempt, forms};
use super::lock::Word;

/// Held by one thread at a time, which may take it as often as it likes.
///
/// A coroutine that holds it stays on its thread until it has given it back: its guard cannot be sent.
///
/// ```
/// use celeriac_sync::thread::RLock;
///
/// fn depth(lock: &RLock, left: u32) -> u32 {
///     let _held = lock.lock().unwrap();
///     if left == 0 { 0 } else { 1 + depth(lock, left - 1) }
/// }
/// assert_eq!(depth(&RLock::new(), 5), 5);
/// ```
#[derive(Debug, Clone, Default)]
pub struct RLock(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    word: Word,
    /// The thread that holds it; 0 if none does.
    owner: AtomicU64,
    /// How often it holds it. Only that thread reads or writes it.
    depth: AtomicUsize,
}

/// A number of this thread that no other thread has.
fn me() -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    thread_local!(static ME: u64 = LAST.fetch_add(1, Ordering::Relaxed) + 1);
    ME.with(|me| *me)
}

impl RLock {
    /// A lock that nobody holds.
    pub fn new() -> Self {
        Self::default()
    }

    fn attempt(&self) -> Attempt<RLockGuard<'_>> {
        let me = me();
        // Nobody but this thread writes its own number, so this is true only if it holds the lock.
        let recovered = if self.0.owner.load(Ordering::Relaxed) == me {
            false
        } else {
            let recovered = self.0.word.take()?;
            self.0.owner.store(me, Ordering::Relaxed);
            recovered
        };
        self.0.depth.fetch_add(1, Ordering::Relaxed);
        Some(Ok(RLockGuard {
            lock: self,
            recovered,
            stays: PhantomData,
        }))
    }

    forms! {
        /// Takes it, and gives it back when as many guards are dropped as were taken.
        ///
        /// # Errors
        ///
        /// None in this scope.
        lock, lock_for, try_lock, lock_async(self) -> RLockGuard<'_>,
        self.0.word.gate() => self.attempt()
    }

    /// How often this thread holds it.
    pub fn depth(&self) -> usize {
        if self.0.owner.load(Ordering::Relaxed) == me() {
            self.0.depth.load(Ordering::Relaxed)
        } else {
            0
        }
    }
}

/// Holds an [`RLock`] until it is dropped, on the thread that took it.
#[derive(Debug)]
#[must_use = "the lock is given back at once if nobody keeps the guard"]
pub struct RLockGuard<'a> {
    lock: &'a RLock,
    recovered: bool,
    stays: PhantomData<*const ()>,
}

impl RLockGuard<'_> {
    /// Whether the holder before panicked, so that what the lock protects may be half done.
    pub fn recovered(&self) -> bool {
        self.recovered
    }
}

impl Drop for RLockGuard<'_> {
    fn drop(&mut self) {
        let inner = &self.lock.0;
        if inner.depth.fetch_sub(1, Ordering::Relaxed) == 1 {
            inner.owner.store(0, Ordering::Relaxed);
            inner.word.release();
        }
    }
}
