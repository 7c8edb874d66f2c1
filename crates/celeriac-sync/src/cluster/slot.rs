//! Where an answer is waited for, and what was given with it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use event_listener::{Event, Listener as _, listener};

use super::state::Reply;
use crate::SyncError;
use std::sync::Arc;

/// An answer, and the hold that came with it.
pub(super) type Got = Result<(Reply, Option<Arc<Hold>>), SyncError>;

/// Where one call is answered.
#[derive(Debug, Default)]
pub(super) struct Slot {
    got: Mutex<Option<Got>>,
    filled: Event,
}

impl Slot {
    pub(super) fn fill(&self, got: Got) {
        *self.got() = Some(got);
        self.filled.notify(usize::MAX);
    }

    fn got(&self) -> MutexGuard<'_, Option<Got>> {
        self.got.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_filled(&self) -> bool {
        self.got().is_some()
    }

    pub(super) fn take(&self) -> Option<Got> {
        self.got().take()
    }

    /// Waits for the answer; `None` if it does not come in time.
    pub(super) fn wait(&self, deadline: Option<Instant>) -> Option<Got> {
        loop {
            listener!(self.filled => listener);
            if let Some(got) = self.take() {
                return Some(got);
            }
            match deadline {
                None => listener.wait(),
                Some(deadline) => {
                    if listener.wait_deadline(deadline).is_none() {
                        return self.take();
                    }
                }
            }
        }
    }

    pub(super) async fn wait_async(&self) -> Got {
        loop {
            listener!(self.filled => listener);
            if let Some(got) = self.take() {
                return got;
            }
            listener.await;
        }
    }
}

/// What a session knows of something that it holds.
#[derive(Debug)]
pub(super) struct Hold {
    /// Until when nobody else has it, whatever happens.
    until: Mutex<Instant>,
    lost: AtomicBool,
    gone: Event,
}

impl Hold {
    pub(super) fn new(until: Instant) -> Arc<Self> {
        Arc::new(Self {
            until: Mutex::new(until),
            lost: AtomicBool::new(false),
            gone: Event::new(),
        })
    }

    pub(super) fn until(&self) -> Instant {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn renew(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = until;
    }

    pub(super) fn lose(&self) {
        self.lost.store(true, Ordering::Release);
        self.gone.notify(usize::MAX);
    }

    pub(super) fn is_held(&self) -> bool {
        !self.lost.load(Ordering::Acquire) && Instant::now() < self.until()
    }

    /// Waits until it is not held any more.
    pub(super) async fn lost(&self) {
        loop {
            listener!(self.gone => listener);
            if self.lost.load(Ordering::Acquire) {
                return;
            }
            listener.await;
        }
    }
}
