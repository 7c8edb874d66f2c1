//! A barrier.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::gate::{Attempt, Gate, at_once};
use crate::SyncError;

/// Where so many wait until all are there.
///
/// One that gives up waiting in time breaks it for all, and so does one that panics while it waits: the
/// others would wait for ever.
///
/// ```
/// use celeriac_sync::thread::Barrier;
/// use std::thread;
///
/// let start = Barrier::new(3);
/// thread::scope(|scope| {
///     let places: Vec<_> = (0..3).map(|_| scope.spawn(|| start.wait().unwrap())).collect();
///     let mut places: Vec<usize> = places.into_iter().map(|it| it.join().unwrap()).collect();
///     places.sort();
///     assert_eq!(places, [0, 1, 2]);
/// });
/// ```
#[derive(Debug, Clone)]
pub struct Barrier(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parties: usize,
    state: Mutex<State>,
    gate: Gate,
}

#[derive(Debug, Default)]
struct State {
    /// How often all were there.
    round: u64,
    /// How often it was reset.
    resets: u64,
    waiting: usize,
    broken: bool,
}

/// One that waits. Dropped before its time, it leaves.
struct Party<'a> {
    inner: &'a Inner,
    round: u64,
    resets: u64,
    place: usize,
    /// Whether its leaving breaks the barrier.
    breaks: bool,
}

impl Barrier {
    /// A barrier for so many. One for none or for one lets everybody pass.
    pub fn new(parties: usize) -> Self {
        Self(Arc::new(Inner {
            parties: parties.max(1),
            state: Mutex::default(),
            gate: Gate::new(),
        }))
    }

    /// Waits until all are there, and gives each a place of its own: 0 for who came first.
    ///
    /// # Errors
    ///
    /// [`Broken`](SyncError::Broken) if somebody has left, or the barrier was aborted or reset
    /// meanwhile.
    pub fn wait(&self) -> Result<usize, SyncError> {
        let mut party = self.0.enter(true)?;
        self.0.gate.wait(|| party.look())
    }

    /// The same, no longer than `timeout`: who gives up breaks the barrier.
    ///
    /// # Errors
    ///
    /// [`Timeout`](SyncError::Timeout), and as there.
    pub fn wait_for(&self, timeout: Duration) -> Result<usize, SyncError> {
        let mut party = self.0.enter(true)?;
        self.0.gate.wait_for(timeout, || party.look())
    }

    /// Passes if only this one was missing.
    ///
    /// # Errors
    ///
    /// [`Busy`](SyncError::Busy) if others are missing too: nobody has noticed then. As there
    /// otherwise.
    pub fn try_wait(&self) -> Result<usize, SyncError> {
        {
            let state = self.0.state();
            if !state.broken && state.waiting + 1 < self.0.parties {
                return Err(SyncError::Busy);
            }
        }
        let mut party = self.0.enter(false)?;
        at_once(party.look())
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
        let mut party = self.0.enter(false)?;
        self.0.gate.wait_async(|| party.look()).await
    }

    /// Breaks it: all who wait and who come get [`Broken`](SyncError::Broken), until it is reset.
    pub fn abort(&self) {
        self.0.state().broken = true;
        self.0.gate.open();
    }

    /// Makes it whole and empty; those who wait get [`Broken`](SyncError::Broken).
    pub fn reset(&self) {
        {
            let mut state = self.0.state();
            state.resets += 1;
            state.waiting = 0;
            state.broken = false;
        }
        self.0.gate.open();
    }

    /// How many it is for.
    pub fn parties(&self) -> usize {
        self.0.parties
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.0.state().waiting
    }

    /// Whether it is broken.
    pub fn is_broken(&self) -> bool {
        self.0.state().broken
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, breaks: bool) -> Result<Party<'_>, SyncError> {
        let mut state = self.state();
        if state.broken {
            return Err(SyncError::Broken);
        }
        let party = Party {
            inner: self,
            round: state.round,
            resets: state.resets,
            place: state.waiting,
            breaks,
        };
        state.waiting += 1;
        if state.waiting == self.parties {
            state.round += 1;
            state.waiting = 0;
            drop(state);
            self.gate.open();
        }
        Ok(party)
    }
}

impl Party<'_> {
    fn look(&mut self) -> Attempt<usize> {
        let state = self.inner.state();
        if state.round != self.round {
            return Some(Ok(self.place));
        }
        (state.broken || state.resets != self.resets).then_some(Err(SyncError::Broken))
    }
}

impl Drop for Party<'_> {
    fn drop(&mut self) {
        let mut state = self.inner.state();
        if state.round != self.round || state.resets != self.resets || state.broken {
            return;
        }
        state.waiting -= 1;
        if self.breaks {
            state.broken = true;
            drop(state);
            self.inner.gate.open();
        }
    }
}
