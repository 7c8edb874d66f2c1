//! The calls that an app has sent, where results go to nobody but the sender.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, PoisonError};

use celeriac_core::TaskId;

/// So many are remembered: as many as a driver remembers results of.
const MOST: usize = 100_000;

/// The ids of the newest calls.
#[derive(Debug, Default)]
pub(crate) struct SentCalls(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    known: HashSet<TaskId>,
    order: VecDeque<TaskId>,
}

impl SentCalls {
    pub(crate) fn remember(&self, id: &TaskId) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !state.known.insert(id.clone()) {
            return;
        }
        state.order.push_back(id.clone());
        if state.order.len() > MOST
            && let Some(oldest) = state.order.pop_front()
        {
            state.known.remove(&oldest);
        }
    }

    pub(crate) fn contains(&self, id: &TaskId) -> bool {
        let state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.known.contains(id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let calls = SentCalls::default();
        let first = TaskId::from("first");
        calls.remember(&first);
        calls.remember(&first);
        for n in 1..MOST {
            calls.remember(&first.nth(n));
        }
        assert!(calls.contains(&first));
        calls.remember(&"last".into());
        assert!(!calls.contains(&first));
        assert!(calls.contains(&first.nth(1)) && calls.contains(&"last".into()));
    }
}
