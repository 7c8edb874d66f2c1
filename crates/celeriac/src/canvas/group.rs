//! The parts of a group under way.

use std::collections::BTreeMap;
use std::fmt;

use celeriac_core::{TaskError, TaskId};

use crate::error::Result;
use crate::handle::{Handle, Sent};
use crate::together::{AsCompleted, as_completed};

/// The parts of a group under way, each of which returns a `V`.
///
/// Dropping it leaves them running.
pub struct GroupHandle<V: Send + 'static> {
    id: TaskId,
    ids: Vec<TaskId>,
    sent: Vec<Sent<V>>,
    parts: AsCompleted<V>,
    /// What came while all were waited for.
    early: BTreeMap<usize, Result<V, TaskError>>,
}

impl<V: Send + 'static> GroupHandle<V> {
    pub(super) fn new(id: TaskId, parts: Vec<Handle<V>>) -> Self {
        Self {
            id,
            ids: parts.iter().map(|part| part.id().clone()).collect(),
            sent: parts.iter().map(|part| part.sent().clone()).collect(),
            parts: as_completed(parts),
            early: BTreeMap::new(),
        }
    }

    /// The id of the group, which its messages carry.
    pub fn id(&self) -> &TaskId {
        &self.id
    }

    /// The ids of the calls that return the parts' values, in order.
    pub fn ids(&self) -> &[TaskId] {
        &self.ids
    }

    /// How many parts there are.
    pub fn len(&self) -> usize {
        self.ids.len()
    }

    /// Whether there is no part.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// Waits for all parts, and gives their values in order.
    ///
    /// # Errors
    ///
    /// The first error in that order; [`NoResult`](crate::ErrorKind::NoResult) if a part was already
    /// taken.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped wait may be repeated.
    pub async fn get(&mut self) -> Result<Vec<V>, TaskError> {
        while let Some((position, outcome)) = self.parts.next().await {
            self.early.insert(position, outcome);
        }
        let outcomes = std::mem::take(&mut self.early);
        let taken = outcomes.len() < self.ids.len();
        let values = outcomes.into_values().collect::<Result<Vec<_>, _>>()?;
        if taken {
            let reason = "some of its outcomes were already taken";
            return Err(TaskError::new(crate::ErrorKind::NoResult, reason));
        }
        Ok(values)
    }

    /// Waits for the next part to complete, and gives its position and outcome; `None` when there
    /// is none left.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn next(&mut self) -> Option<(usize, Result<V, TaskError>)> {
        match self.early.pop_first() {
            Some(early) => Some(early),
            None => self.parts.next().await,
        }
    }

    /// Waits for all parts on this thread, as [`get`](Self::get) does.
    ///
    /// # Errors
    ///
    /// As [`get`](Self::get).
    pub fn wait(&mut self) -> Result<Vec<V>, TaskError> {
        crate::blocking::block_on(self.get())
    }

    /// Asks all parts to stop, as [`Handle::cancel`] does.
    ///
    /// # Errors
    ///
    /// If they run on workers and the broker cannot be told.
    pub async fn cancel(&self) -> Result<()> {
        for part in &self.sent {
            part.cancel().await?;
        }
        Ok(())
    }
}

impl<V: Send + 'static> fmt::Debug for GroupHandle<V> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("GroupHandle")
            .field("id", &self.id)
            .field("parts", &self.ids.len())
            .finish_non_exhaustive()
    }
}
