//! Calls whose results are watched where each result has a number that grows when it changes.

use std::collections::HashMap;

use celeriac_core::{StoredResult, TaskId};

/// The number of what was told last of each call; 0 if nothing was.
#[derive(Debug, Default)]
pub(crate) struct Watched(HashMap<TaskId, i64>);

impl Watched {
    /// Watches these too, and tells what is held of them.
    pub(crate) fn add(&mut self, ids: &[TaskId]) {
        self.0.extend(ids.iter().map(|id| (id.clone(), 0)));
    }

    /// Watches these no more.
    pub(crate) fn remove(&mut self, ids: &[TaskId]) {
        for id in ids {
            self.0.remove(id);
        }
    }

    /// Watches nothing more; whether it did.
    #[cfg(feature = "amqp")]
    pub(crate) fn clear(&mut self) -> bool {
        let any = !self.0.is_empty();
        self.0.clear();
        any
    }

    /// What was not told yet of what is `held`. A call whose state is final is watched no more.
    pub(crate) fn news<'a>(
        &mut self,
        held: impl Fn(&TaskId) -> Option<&'a (i64, StoredResult)>,
    ) -> Vec<StoredResult> {
        let mut told = Vec::new();
        self.0.retain(|id, seen| {
            let Some((number, result)) = held(id) else {
                return true;
            };
            if number != seen {
                *seen = *number;
                told.push(result.clone());
            }
            !result.state.is_final()
        });
        told
    }
}
