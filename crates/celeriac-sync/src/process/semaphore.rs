//! Semaphores.
//!
//! ```text
//!  state  0  how many permits there are
//!         1  how many there are at most
//!         2  how many each seat holds
//! ```

use std::sync::atomic::{AtomicU32, Ordering};

use super::forms::forms;
use super::handle::handle;
use super::monitor::{self, Attempt, Monitor, STATE};
use super::segment::{Kind, MOST, Plan};
use crate::SyncError;

const ALL: usize = 0;
const LIMIT: usize = 1;
const HELD: usize = 2;

/// How many permits there can be.
const MOST_PERMITS: u32 = u32::MAX >> 1;

const PLAN: Plan = Plan {
    kind: Kind::Semaphore,
    shape: 0,
    words: STATE + HELD + MOST,
    more: 0,
    recover: |words, seat| {
        words[STATE + HELD + seat as usize - 1].store(0, Ordering::Release);
        monitor::open_for(words, u32::MAX >> 1);
        monitor::recover(words, seat);
    },
};

/// The same, for semaphores that do not grow.
const BOUNDED: Plan = Plan { shape: 1, ..PLAN };

fn create(plan: Plan, permits: usize, limit: fn(u32) -> u32) -> Result<Monitor, SyncError> {
    let most = MOST_PERMITS as usize;
    let fits = u32::try_from(permits).ok().filter(|_| permits <= most);
    let permits = fits.ok_or(SyncError::TooMany { most })?;
    let monitor = Monitor::create(plan)?;
    let state = monitor.state();
    state[LIMIT].store(limit(permits), Ordering::Relaxed);
    state[ALL].store(permits, Ordering::Release);
    Ok(monitor)
}

/// How many are free, as long as nobody changes it.
fn free(state: &[AtomicU32]) -> u32 {
    let held = state[HELD..HELD + MOST].iter();
    let held = held.fold(0_u32, |sum, seat| {
        sum.saturating_add(seat.load(Ordering::Relaxed))
    });
    state[ALL].load(Ordering::Relaxed).saturating_sub(held)
}

fn seat_of(monitor: &Monitor) -> usize {
    HELD + monitor.seat() as usize - 1
}

fn take(monitor: &Monitor, state: &[AtomicU32]) -> Attempt<Permit> {
    (free(state) > 0).then(|| {
        state[seat_of(monitor)].fetch_add(1, Ordering::Relaxed);
        Ok(Permit(Some(monitor.clone())))
    })
}

/// Adds a permit, or gives back one that this process has forgotten.
fn release(monitor: &Monitor) -> Result<(), SyncError> {
    monitor.with(|state| {
        let all = state[ALL].load(Ordering::Relaxed);
        if all >= state[LIMIT].load(Ordering::Relaxed) {
            return Err(SyncError::NotTaken);
        }
        state[ALL].store(all + 1, Ordering::Relaxed);
        Ok(())
    })?;
    monitor.open_for(1);
    Ok(())
}

/// Held by so many at a time, of all processes that have it.
///
/// The permits of a process that dies come back.
///
/// ```
/// use celeriac_sync::process::Semaphore;
///
/// let tables = Semaphore::new(2)?;
/// let (one, two) = (tables.acquire()?, tables.acquire()?);
/// assert!(tables.try_acquire().is_err());
/// drop(one);
/// assert!(tables.try_acquire().is_ok());
/// # drop(two);
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Semaphore(Monitor);

/// A semaphore that never has more permits than it began with.
///
/// ```
/// use celeriac_sync::{SyncError, process::BoundedSemaphore};
///
/// let tables = BoundedSemaphore::new(2)?;
/// assert_eq!(tables.release(), Err(SyncError::NotTaken));
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug, Clone)]
pub struct BoundedSemaphore(Monitor);

/// Writes the two kinds, which differ in how many permits there may be.
macro_rules! semaphore {
    ($name:ident, $plan:expr, $limit:expr, $release:literal) => {
        impl $name {
            /// A semaphore with so many permits.
            ///
            /// # Errors
            ///
            /// [`NoMemory`](SyncError::NoMemory), and [`TooMany`](SyncError::TooMany) if they are more than 2³¹ − 1.
            pub fn new(permits: usize) -> Result<Self, SyncError> {
                let limit: fn(u32) -> u32 = $limit;
                create($plan, permits, limit).map(Self)
            }

            forms! {
                /// Takes a permit, which comes back when it is dropped, or when this process dies.
                ///
                /// # Errors
                ///
                /// None.
                acquire, acquire_for, try_acquire, acquire_async -> Permit,
                Permit: attempt, give
            }

            #[doc = $release]
            ///
            /// # Errors
            ///
            /// [`NotTaken`](SyncError::NotTaken) if all are there.
            pub fn release(&self) -> Result<(), SyncError> {
                release(&self.0)
            }

            /// How many permits are free.
            pub fn value(&self) -> usize {
                self.0.with(free) as usize
            }

            fn attempt(&self, state: &[AtomicU32]) -> Attempt<Permit> {
                take(&self.0, state)
            }

            fn give(&self, permit: Permit) -> Permit {
                permit
            }

            fn monitor(&self) -> &Monitor {
                &self.0
            }

            fn from_inner(monitor: Monitor) -> Self {
                Self(monitor)
            }
        }

        handle!($name [], $plan, Monitor);
    };
}

semaphore!(
    Semaphore,
    PLAN,
    |_| MOST_PERMITS,
    "Adds a permit: one that was [forgotten](Permit::forget), or one more than there were."
);
semaphore!(
    BoundedSemaphore,
    BOUNDED,
    |permits| permits,
    "Gives back a permit that was [forgotten](Permit::forget)."
);

/// One of the permits of a semaphore, until it is dropped.
#[derive(Debug)]
#[must_use = "the permit comes back at once if nobody keeps it"]
pub struct Permit(Option<Monitor>);

impl Permit {
    /// Keeps it taken, also when this process ends, until somebody releases it by hand.
    pub fn forget(mut self) {
        if let Some(monitor) = self.0.take() {
            monitor.with(|state| {
                // Should this process die in between, the permit has come back as any other.
                state[seat_of(&monitor)].fetch_sub(1, Ordering::Relaxed);
                state[ALL].fetch_sub(1, Ordering::Relaxed);
            });
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(monitor) = self.0.take() {
            monitor.with(|state| state[seat_of(&monitor)].fetch_sub(1, Ordering::Relaxed));
            monitor.open_for(1);
        }
    }
}
