//! An event.

use std::marker::PhantomData;

use super::forms::forms;
use super::handle::{handle, makers};
use super::place::Cluster;
use super::session::{Answered, Shared};
use super::state::Op;
use crate::SyncError;

/// A word that many wait for, on all machines that know it: set, or not.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, Event};
/// use std::thread;
///
/// let shop = Cluster::connect("memory:shop")?;
/// let go = Event::new_in(&shop)?;
/// thread::scope(|scope| {
///     scope.spawn(|| go.wait());
///     go.set()
/// })?;
/// assert!(go.is_set()?);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Event {
    shared: Shared,
    place: Cluster,
    items: PhantomData<()>,
}

handle!(Event[], Event);

impl Event {
    makers!("An event that is not set", "The event", 0);

    /// Whether it is set.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn is_set(&self) -> Result<bool, SyncError> {
        Ok(self.shared.count()? != 0)
    }

    /// Sets it, and lets all go on who wait.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn set(&self) -> Result<(), SyncError> {
        self.shared.ask_now(Op::Set).map(drop)
    }

    /// Takes the word back. Who waited when it was set goes on all the same.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn clear(&self) -> Result<(), SyncError> {
        self.shared.ask_now(Op::Clear).map(drop)
    }

    forms! {
        /// Waits until it is set.
        ///
        /// # Errors
        ///
        /// [`Unreachable`](crate::SyncError::Unreachable).
        wait, wait_for, try_wait, wait_async -> (),
        Op::WaitSet => nothing
    }

    #[expect(
        clippy::unused_self,
        clippy::unnecessary_wraps,
        reason = "the forms want it so"
    )]
    fn nothing(&self, _: Answered) -> Result<(), SyncError> {
        Ok(())
    }
}
