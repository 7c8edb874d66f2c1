//! An event.
//!
//! ```text
//!  state  0  whether it is set
//! ```

use std::sync::atomic::{AtomicU32, Ordering};

use super::forms::forms;
use super::handle::handle;
use super::monitor::{self, Attempt, Monitor, STATE};
use super::segment::{Kind, Plan};
use crate::SyncError;

const PLAN: Plan = Plan {
    kind: Kind::Event,
    shape: 0,
    words: STATE + 1,
    more: 0,
    recover: monitor::recover,
};

/// A word that many wait for, in all processes that have it: set, or not.
///
/// ```
/// use celeriac_sync::process::Event;
/// use std::thread;
///
/// let go = Event::new()?;
/// thread::scope(|scope| {
///     scope.spawn(|| go.wait());
///     go.set();
/// });
/// assert!(go.is_set());
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Event(Monitor);

impl Event {
    /// An event that is not set.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory).
    pub fn new() -> Result<Self, SyncError> {
        Monitor::create(PLAN).map(Self)
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.0.state()[0].load(Ordering::Acquire) != 0
    }

    /// Sets it, and lets all go on who wait.
    pub fn set(&self) {
        if self.0.state()[0].swap(1, Ordering::AcqRel) == 0 {
            self.0.open_for(u32::MAX >> 1);
        }
    }

    /// Takes the word back. Who waited when it was set goes on all the same, if it looks in time.
    pub fn clear(&self) {
        self.0.state()[0].store(0, Ordering::Release);
    }

    forms! {
        /// Waits until it is set.
        ///
        /// # Errors
        ///
        /// None.
        wait, wait_for, try_wait, wait_async -> (),
        (): attempt, give
    }

    #[expect(clippy::unused_self, reason = "other types need it there")]
    fn attempt(&self, state: &[AtomicU32]) -> Attempt<()> {
        (state[0].load(Ordering::Acquire) != 0).then_some(Ok(()))
    }

    #[expect(clippy::unused_self, reason = "other types need it there")]
    fn give(&self, (): ()) {}

    fn monitor(&self) -> &Monitor {
        &self.0
    }

    fn from_inner(monitor: Monitor) -> Self {
        Self(monitor)
    }
}

handle!(Event[], PLAN, Monitor);
