//! Semaphores.

use std::marker::PhantomData;

use super::forms::forms;
use super::handle::handle;
use super::place::Cluster;
use super::session::{Answered, Shared};
use super::stake::{Stake, held};
use super::state::Op;
use crate::SyncError;

/// Held by so many at a time, of all machines that know it.
///
/// The permits of a holder that dies come back when its lease runs out.
///
/// ```
/// use celeriac_sync::cluster::{Cluster, Semaphore};
///
/// let shop = Cluster::connect("memory:shop")?;
/// let tables = Semaphore::new_in(&shop, 2)?;
/// let (one, two) = (tables.acquire()?, tables.acquire()?);
/// assert!(tables.try_acquire().is_err());
/// drop(one);
/// assert!(tables.try_acquire().is_ok());
/// # drop(two);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Semaphore {
    shared: Shared,
    place: Cluster,
    items: PhantomData<()>,
}

/// A semaphore that never has more permits than it began with.
///
/// ```
/// use celeriac_sync::{SyncError, cluster::{BoundedSemaphore, Cluster}};
///
/// let shop = Cluster::connect("memory:shop")?;
/// let tables = BoundedSemaphore::new_in(&shop, 2)?;
/// assert_eq!(tables.release(), Err(SyncError::NotTaken));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct BoundedSemaphore {
    shared: Shared,
    place: Cluster,
    items: PhantomData<()>,
}

/// Writes the two kinds, which differ in how many permits there may be.
macro_rules! semaphore {
    ($name:ident, $release:literal) => {
        handle!($name[], $name);

        impl $name {
            /// A semaphore with so many permits, at the place that the variable `CELERIAC_CLUSTER` names.
            ///
            /// # Errors
            ///
            /// [`Unreachable`](SyncError::Unreachable) if it names none that can be connected.
            pub fn new(permits: usize) -> Result<Self, SyncError> {
                Self::new_in(&Cluster::of_program()?, permits)
            }

            /// A semaphore with so many permits, at this place.
            ///
            /// # Errors
            ///
            /// None.
            pub fn new_in(place: &Cluster, permits: usize) -> Result<Self, SyncError> {
                Self::make(place, None, permits)
            }

            /// The semaphore of this name at this place, which begins with so many permits; whoever names
            /// it so has the same one.
            ///
            /// # Errors
            ///
            /// [`OtherType`](SyncError::OtherType) if something else has this name, or it was made with
            /// another number, and [`Unreachable`](SyncError::Unreachable).
            pub fn named(place: &Cluster, name: &str, permits: usize) -> Result<Self, SyncError> {
                Self::make(place, Some(name), permits)
            }

            forms! {
                /// Takes a permit, which comes back when it is dropped, or when its lease runs out.
                ///
                /// # Errors
                ///
                /// [`Unreachable`](crate::SyncError::Unreachable).
                acquire, acquire_for, try_acquire, acquire_async -> Permit,
                Op::Acquire { ask: None } => permit
            }

            #[doc = $release]
            ///
            /// # Errors
            ///
            /// [`NotTaken`](SyncError::NotTaken) if all are there, and
            /// [`Unreachable`](SyncError::Unreachable).
            pub fn release(&self) -> Result<(), SyncError> {
                self.shared.ask_now(Op::Permit).map(drop)
            }

            /// How many permits are free.
            ///
            /// # Errors
            ///
            /// [`Unreachable`](SyncError::Unreachable).
            pub fn value(&self) -> Result<usize, SyncError> {
                self.shared.count()
            }

            fn permit(&self, answered: Answered) -> Result<Permit, SyncError> {
                let (stake, _) = Stake::of(&self.shared, answered)?;
                Ok(Permit { stake })
            }
        }
    };
}

semaphore!(
    Semaphore,
    "Adds a permit: one that was [forgotten](Permit::forget), or one more than there were."
);
semaphore!(
    BoundedSemaphore,
    "Gives back a permit that was [forgotten](Permit::forget)."
);

/// One of the permits of a semaphore, until it is dropped, or its lease runs out.
#[must_use = "the permit comes back at once if nobody keeps it"]
pub struct Permit {
    stake: Stake,
}

impl Permit {
    held!();

    /// Keeps it taken, also when this process ends, until somebody releases it by hand.
    pub fn forget(mut self) {
        let of = self.stake.ticket();
        self.stake.give_back(Op::Forget { of });
    }
}

impl std::fmt::Debug for Permit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Permit")
            .field("fence", &self.fence())
            .finish_non_exhaustive()
    }
}
