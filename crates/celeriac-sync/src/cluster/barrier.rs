//! A barrier.

use std::marker::PhantomData;
use std::time::Duration;

use super::forms::after;
use super::handle::handle;
use super::place::Cluster;
use super::session::{Answered, Shared};
use super::state::{Op, Reply};
use crate::SyncError;

/// Where so many wait until all are there, of all machines that know it.
///
/// One that gives up waiting in time breaks it for all, and so does one that dies while it waits, when its
/// lease runs out: the others would wait for ever.
///
/// ```
/// use celeriac_sync::cluster::{Barrier, Cluster};
/// use std::thread;
///
/// let shop = Cluster::connect("memory:shop")?;
/// let start = Barrier::new_in(&shop, 3)?;
/// thread::scope(|scope| {
///     let places: Vec<_> = (0..3).map(|_| scope.spawn(|| start.wait().unwrap())).collect();
///     let mut places: Vec<usize> = places.into_iter().map(|it| it.join().unwrap()).collect();
///     places.sort();
///     assert_eq!(places, [0, 1, 2]);
/// });
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Barrier {
    shared: Shared,
    place: Cluster,
    items: PhantomData<()>,
}

handle!(Barrier[], Barrier);

impl Barrier {
    /// A barrier for so many, at the place that the variable `CELERIAC_CLUSTER` names. One for none or for
    /// one lets everybody pass.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable) if it names none that can be connected.
    pub fn new(parties: usize) -> Result<Self, SyncError> {
        Self::new_in(&Cluster::of_program()?, parties)
    }

    /// A barrier for so many, at this place.
    ///
    /// # Errors
    ///
    /// None.
    pub fn new_in(place: &Cluster, parties: usize) -> Result<Self, SyncError> {
        Self::make(place, None, parties.max(1))
    }

    /// The barrier of this name at this place, for so many; whoever names it so has the same one.
    ///
    /// # Errors
    ///
    /// [`OtherType`](SyncError::OtherType) if something else has this name, or it is for another number,
    /// and [`Unreachable`](SyncError::Unreachable).
    pub fn named(place: &Cluster, name: &str, parties: usize) -> Result<Self, SyncError> {
        Self::make(place, Some(name), parties.max(1))
    }

    /// Waits until all are there, and gives each a place of its own: 0 for who came first.
    ///
    /// # Errors
    ///
    /// [`Broken`](SyncError::Broken) if somebody has left or died, or the barrier was aborted or reset
    /// meanwhile, and [`Unreachable`](SyncError::Unreachable).
    pub fn wait(&self) -> Result<usize, SyncError> {
        place_of(&self.shared.ask(Op::Arrive { breaks: true }, None)?)
    }

    /// The same, no longer than `timeout`: who gives up breaks the barrier.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout), and as there.
    pub fn wait_for(&self, timeout: Duration) -> Result<usize, SyncError> {
        place_of(
            &self
                .shared
                .ask(Op::Arrive { breaks: true }, after(timeout))?,
        )
    }

    /// Passes if only this one was missing.
    ///
    /// # Errors
    ///
    /// [`Busy`](SyncError::Busy) if others are missing too: nobody has noticed then. As there otherwise.
    pub fn try_wait(&self) -> Result<usize, SyncError> {
        place_of(&self.shared.ask_now(Op::Arrive { breaks: false })?)
    }

    /// [`wait`](Self::wait) as a coroutine.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call is not waited for any more, and another may take its place.
    pub async fn wait_async(&self) -> Result<usize, SyncError> {
        place_of(&self.shared.ask_async(Op::Arrive { breaks: false }).await?)
    }

    /// Breaks it: all who wait and who come get [`Broken`](SyncError::Broken), until it is reset.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn abort(&self) -> Result<(), SyncError> {
        self.shared.ask_now(Op::Abort).map(drop)
    }

    /// Makes it whole and empty; those who wait get [`Broken`](SyncError::Broken).
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn reset(&self) -> Result<(), SyncError> {
        self.shared.ask_now(Op::Reset).map(drop)
    }

    /// How many it is for.
    pub fn parties(&self) -> usize {
        usize::try_from(self.shared.plan().size).unwrap_or(usize::MAX)
    }

    /// How many wait.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn waiting(&self) -> Result<usize, SyncError> {
        self.shared.count()
    }

    /// Whether it is broken.
    ///
    /// # Errors
    ///
    /// [`Unreachable`](SyncError::Unreachable).
    pub fn is_broken(&self) -> Result<bool, SyncError> {
        let answered = self.shared.ask_now(Op::IsBroken)?;
        Ok(matches!(answered.reply, Reply::Flag(true)))
    }
}

fn place_of(answered: &Answered) -> Result<usize, SyncError> {
    answered.reply.number()
}
