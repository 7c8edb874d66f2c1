//! The place where one outcome appears, for a waiter on either side of `async`.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use celeriac_core::{ErrorKind, Outcome, TaskError};

/// Holds one outcome for one waiter. The first to fill it wins.
pub(crate) struct Slot<V> {
    state: Mutex<State<V>>,
    filled: Condvar,
}

enum State<V> {
    Empty(Option<Waker>),
    Filled(Outcome<V>),
    Taken,
}

impl<V> Slot<V> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State::Empty(None)),
            filled: Condvar::new(),
        }
    }

    /// Fills the slot, and says whether this was the first outcome.
    pub(crate) fn fill(&self, outcome: Outcome<V>) -> bool {
        let mut state = self.lock();
        let State::Empty(waker) = &mut *state else {
            return false;
        };
        let waker = waker.take();
        *state = State::Filled(outcome);
        drop(state);
        self.filled.notify_one();
        if let Some(waker) = waker {
            waker.wake();
        }
        true
    }

    pub(crate) fn is_filled(&self) -> bool {
        !matches!(*self.lock(), State::Empty(_))
    }

    /// Takes the outcome, or leaves the waker to be called when it is there.
    pub(crate) fn poll_take(&self, context: &Context<'_>) -> Poll<Outcome<V>> {
        let mut state = self.lock();
        match &mut *state {
            State::Empty(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(take(&mut state)),
        }
    }

    /// Waits until the outcome is there, and leaves it.
    pub(crate) async fn finished(&self) {
        std::future::poll_fn(|context| match &mut *self.lock() {
            State::Empty(waker) => {
                *waker = Some(context.waker().clone());
                Poll::Pending
            }
            _ => Poll::Ready(()),
        })
        .await;
    }

    /// Waits for the outcome on this thread, at most for `timeout`.
    pub(crate) fn wait_take(&self, timeout: Option<Duration>) -> Option<Outcome<V>> {
        let end = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        let mut state = self.lock();
        while matches!(*state, State::Empty(_)) {
            state = match end.map(|end| end.saturating_duration_since(Instant::now())) {
                Some(Duration::ZERO) => return None,
                Some(left) => {
                    self.filled
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
                None => self
                    .filled
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
            };
        }
        Some(take(&mut state))
    }

    fn lock(&self) -> MutexGuard<'_, State<V>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take<V>(state: &mut State<V>) -> Outcome<V> {
    match std::mem::replace(state, State::Taken) {
        State::Filled(outcome) => outcome,
        _ => Err(TaskError::new(
            ErrorKind::NoResult,
            "its outcome was already taken",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_outcome_wins_and_is_taken_once() {
        let slot = Slot::new();
        assert!(slot.fill(Ok(1)));
        assert!(!slot.fill(Ok(2)));
        assert_eq!(slot.wait_take(None), Some(Ok(1)));
        assert_eq!(
            slot.wait_take(None).unwrap().unwrap_err().kind(),
            ErrorKind::NoResult
        );
    }

    #[test]
    fn waiting_ends_at_its_timeout() {
        assert!(
            Slot::<u8>::new()
                .wait_take(Some(Duration::from_millis(5)))
                .is_none()
        );
    }
}
