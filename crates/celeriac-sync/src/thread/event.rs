//! An event.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::gate::{Gate, forms};

/// A word that many wait for: set, or not.
///
/// ```
/// use celeriac_sync::thread::Event;
/// use std::thread;
///
/// let go = Event::new();
/// thread::scope(|scope| {
///     scope.spawn(|| go.wait());
///     go.set();
/// });
/// assert!(go.is_set());
/// ```
#[derive(Debug, Clone)]
pub struct Event(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    set: AtomicBool,
    gate: Gate,
}

impl Default for Event {
    fn default() -> Self {
        Self::new()
    }
}

impl Event {
    /// An event that is not set.
    pub fn new() -> Self {
        Self(Arc::new(Inner {
            set: AtomicBool::new(false),
            gate: Gate::new(),
        }))
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.set.load(Ordering::Acquire)
    }

    /// Sets it, and lets all go on who wait.
    pub fn set(&self) {
        if !self.0.set.swap(true, Ordering::Release) {
            self.0.gate.open();
        }
    }

    /// Takes the word back. Who waited when it was set goes on all the same, if it looks in time.
    pub fn clear(&self) {
        self.0.set.store(false, Ordering::Relaxed);
    }

    forms! {
        /// Waits until it is set.
        ///
        /// # Errors
        ///
        /// None in this scope.
        wait, wait_for, try_wait, wait_async(self) -> (),
        self.0.gate => self.is_set().then_some(Ok(()))
    }
}
