//! A barrier.
//!
//! ```text
//!  state  0  for how many it is
//!         1  the round, which ends when all are there, and when it is reset
//!         2  the round that was broken, plus 1; 0 if none was
//!         3  the last rounds' ends: bit n is set if the nth round before this one ended with all there
//!         4  for each seat, how many wait (low half) in which round (high half)
//! ```

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::handle::handle;
use super::monitor::{self, Attempt, Monitor, STATE, after};
use super::segment::{Kind, MOST, Plan};
use crate::SyncError;

const PARTIES: usize = 0;
const ROUND: usize = 1;
const BROKEN: usize = 2;
const ENDS: usize = 3;
const WAITING: usize = 4;

const PLAN: Plan = Plan {
    kind: Kind::Barrier,
    shape: 0,
    words: STATE + WAITING + MOST,
    more: 0,
    recover: |words, seat| {
        let state = &words[STATE..];
        if waiting_in(state, seat) > 0 {
            break_it(state);
            monitor::open_for(words, u32::MAX >> 1);
        }
        monitor::recover(words, seat);
    },
};

fn round(state: &[AtomicU32]) -> u32 {
    state[ROUND].load(Ordering::Acquire)
}

fn is_broken(state: &[AtomicU32]) -> bool {
    state[BROKEN].load(Ordering::Acquire) == round(state).wrapping_add(1)
}

fn break_it(state: &[AtomicU32]) {
    state[BROKEN].store(round(state).wrapping_add(1), Ordering::Release);
}

/// How many of a seat wait in this round.
fn waiting_in(state: &[AtomicU32], seat: u32) -> u32 {
    let word = state[WAITING + seat as usize - 1].load(Ordering::Relaxed);
    if word >> 16 == round(state) & 0xffff {
        word & 0xffff
    } else {
        0
    }
}

fn set_waiting(state: &[AtomicU32], seat: u32, count: u32) {
    let word = (round(state) << 16) | count;
    state[WAITING + seat as usize - 1].store(word, Ordering::Relaxed);
}

fn waiting(state: &[AtomicU32]) -> u32 {
    (1..).take(MOST).map(|seat| waiting_in(state, seat)).sum()
}

/// Ends the round; `whole` if all were there.
fn end_round(state: &[AtomicU32], whole: bool) {
    let ends = state[ENDS].load(Ordering::Relaxed) << 1;
    state[ENDS].store(ends | u32::from(whole), Ordering::Relaxed);
    state[ROUND].store(round(state).wrapping_add(1), Ordering::Release);
}

/// Where so many wait until all are there, of all processes that have it.
///
/// One that gives up waiting in time breaks it for all, and so does a process that dies while it waits: the
/// others would wait for ever.
///
/// ```
/// use celeriac_sync::process::Barrier;
/// use std::thread;
///
/// let start = Barrier::new(3)?;
/// thread::scope(|scope| {
///     let places: Vec<_> = (0..3).map(|_| scope.spawn(|| start.wait().unwrap())).collect();
///     let mut places: Vec<usize> = places.into_iter().map(|it| it.join().unwrap()).collect();
///     places.sort();
///     assert_eq!(places, [0, 1, 2]);
/// });
/// # Ok::<(), celeriac_sync::SyncError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Barrier(Monitor);

impl Barrier {
    /// A barrier for so many. One for none or for one lets everybody pass.
    ///
    /// # Errors
    ///
    /// [`NoMemory`](SyncError::NoMemory), and [`TooMany`](SyncError::TooMany) if they are more than 65,535.
    pub fn new(parties: usize) -> Result<Self, SyncError> {
        let most = usize::from(u16::MAX);
        let parties = u16::try_from(parties.max(1)).map_err(|_| SyncError::TooMany { most })?;
        let monitor = Monitor::create(PLAN)?;
        monitor.state()[PARTIES].store(parties.into(), Ordering::Release);
        Ok(Self(monitor))
    }

    /// Waits until all are there, and gives each a place of its own: 0 for who came first.
    ///
    /// # Errors
    ///
    /// [`Broken`](SyncError::Broken) if somebody has left or died, or the barrier was aborted or reset
    /// meanwhile.
    pub fn wait(&self) -> Result<usize, SyncError> {
        self.until(None)
    }

    /// The same, no longer than `timeout`: who gives up breaks the barrier.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout), and as there.
    pub fn wait_for(&self, timeout: Duration) -> Result<usize, SyncError> {
        self.until(after(timeout))
    }

    /// Passes if only this one was missing.
    ///
    /// # Errors
    ///
    /// [`Busy`](SyncError::Busy) if others are missing too: nobody has noticed then. As there
    /// otherwise.
    pub fn try_wait(&self) -> Result<usize, SyncError> {
        let party = self.0.with(|state| {
            let missing = state[PARTIES].load(Ordering::Relaxed) - waiting(state);
            if missing > 1 && !is_broken(state) {
                return Err(SyncError::Busy);
            }
            Party::enter(&self.0, state, false)
        })?;
        party.pass()
    }

    /// [`wait`](Self::wait) as a coroutine, for which a thread waits.
    ///
    /// # Errors
    ///
    /// As there.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call is not waited for any more, and another may take its place.
    pub async fn wait_async(&self) -> Result<usize, SyncError> {
        let party = self.0.with(|state| Party::enter(&self.0, state, false))?;
        let looks = party.seen();
        // The party stays here, so that it leaves as soon as this call is dropped.
        blocking::unblock(move || looks.wait()).await;
        party.pass()
    }

    fn until(&self, deadline: Option<Instant>) -> Result<usize, SyncError> {
        let party = self.0.with(|state| Party::enter(&self.0, state, true))?;
        self.0.wait(deadline, |state| party.look(state))?;
        party.pass()
    }

    /// Breaks it: all who wait and who come get [`Broken`](SyncError::Broken), until it is reset.
    pub fn abort(&self) {
        self.0.with(break_it);
        self.0.open_for(u32::MAX >> 1);
    }

    /// Makes it whole and empty; those who wait get [`Broken`](SyncError::Broken).
    pub fn reset(&self) {
        self.0.with(|state| end_round(state, false));
        self.0.open_for(u32::MAX >> 1);
    }

    /// How many it is for.
    pub fn parties(&self) -> usize {
        self.0.state()[PARTIES].load(Ordering::Acquire) as usize
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.with(waiting) as usize
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.0.with(is_broken)
    }

    fn from_inner(monitor: Monitor) -> Self {
        Self(monitor)
    }
}

handle!(Barrier[], PLAN, Monitor);

/// One that waits. Dropped before its time, it leaves.
struct Party {
    looks: Looks,
    place: usize,
    /// Whether its leaving breaks the barrier.
    breaks: bool,
}

/// What one that waits looks at.
#[derive(Clone)]
struct Looks {
    monitor: Monitor,
    round: u32,
}

impl Looks {
    fn is_over(&self, state: &[AtomicU32]) -> bool {
        round(state) != self.round || is_broken(state)
    }

    fn wait(self) {
        let look = |state: &[AtomicU32]| self.is_over(state).then_some(Ok(()));
        // Without a deadline it ends when there is something to see.
        let _ = self.monitor.wait(None, look);
    }
}

impl Party {
    fn enter(monitor: &Monitor, state: &[AtomicU32], breaks: bool) -> Result<Self, SyncError> {
        if is_broken(state) {
            return Err(SyncError::Broken);
        }
        let place = waiting(state);
        let party = Self {
            looks: Looks {
                monitor: monitor.clone(),
                round: round(state),
            },
            place: place as usize,
            breaks,
        };
        if place + 1 == state[PARTIES].load(Ordering::Relaxed) {
            end_round(state, true);
            monitor.open_for(u32::MAX >> 1);
        } else {
            let seat = monitor.seat();
            set_waiting(state, seat, waiting_in(state, seat) + 1);
        }
        Ok(party)
    }

    fn seen(&self) -> Looks {
        self.looks.clone()
    }

    fn look(&self, state: &[AtomicU32]) -> Attempt<()> {
        self.looks.is_over(state).then_some(Ok(()))
    }

    /// What became of its round, which is over.
    fn pass(self) -> Result<usize, SyncError> {
        let whole = self.looks.monitor.with(|state| {
            let ago = round(state).wrapping_sub(self.looks.round);
            // Who comes back after 32 rounds was not needed for any of them.
            (1..=32).contains(&ago) && state[ENDS].load(Ordering::Relaxed) >> (ago - 1) & 1 == 1
        });
        if whole {
            Ok(self.place)
        } else {
            Err(SyncError::Broken)
        }
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        let monitor = &self.looks.monitor;
        let broke = monitor.with(|state| {
            if self.looks.is_over(state) {
                return false;
            }
            let seat = monitor.seat();
            set_waiting(state, seat, waiting_in(state, seat).saturating_sub(1));
            if self.breaks {
                break_it(state);
            }
            self.breaks
        });
        if broke {
            monitor.open_for(u32::MAX >> 1);
        }
    }
}
