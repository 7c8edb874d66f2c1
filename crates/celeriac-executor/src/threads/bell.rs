//! Wakes sleeping threads when there is work, and takes no lock while none sleeps.
//!
//! # Invariants
//!
//! - Work that was made visible before [`Bell::ring`] is found by a thread that is awake, or a
//!   sleeping one is woken.

// The parent decides whose primitives these are, so that a model checker can put its own in place.
use super::sync::{AtomicUsize, Condvar, Mutex, MutexGuard, Ordering, fence};

pub(crate) struct Bell {
    closed: Mutex<bool>,
    wake: Condvar,
    sleepers: AtomicUsize,
}

impl Bell {
    pub(crate) fn new() -> Self {
        Self {
            closed: Mutex::new(false),
            wake: Condvar::new(),
            sleepers: AtomicUsize::new(0),
        }
    }

    /// Says that there is more work.
    pub(crate) fn ring(&self) {
        // Pairs with the fence in `wait_for`: either the sleeper sees the work or we see the sleeper.
        fence(Ordering::SeqCst);
        if self.sleepers.load(Ordering::Relaxed) > 0 {
            // Locked and let go: the sleeper is before its last look, or waits. It wakes to a free lock.
            drop(self.lock());
            self.wake.notify_one();
        }
    }

    /// Says that there will be no more work.
    pub(crate) fn close(&self) {
        *self.lock() = true;
        self.wake.notify_all();
    }

    /// Sleeps until `find` finds something; `None` if it does not and the bell was closed.
    pub(crate) fn wait_for<T>(&self, mut find: impl FnMut() -> Option<T>) -> Option<T> {
        let mut closed = self.lock();
        self.sleepers.fetch_add(1, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let found = loop {
            let found = find();
            if found.is_some() || *closed {
                break found;
            }
            closed = self
                .wake
                .wait(closed)
                .unwrap_or_else(std::sync::PoisonError::into_inner);
        };
        self.sleepers.fetch_sub(1, Ordering::Relaxed);
        found
    }

    fn lock(&self) -> MutexGuard<'_, bool> {
        self.closed
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
