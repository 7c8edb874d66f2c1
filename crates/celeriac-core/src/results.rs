//! The port of what keeps results.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::broker::BrokerError;
use crate::chord::ChordStore;
use crate::context::Progress;
use crate::id::TaskId;
use crate::outcome::{Outcome, TaskError};
use crate::payload::Payload;
use crate::runtime::EncodedResult;
use crate::{BoxFuture, Coroutine};

/// How far a call has come, as its result backend knows it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ResultState {
    /// A worker runs it.
    Started,
    /// It runs, and said how far it is.
    Progress(Progress),
    /// It failed and waits for another attempt.
    Retry,
    /// It returned.
    Success,
    /// It failed for good.
    Failure,
    /// It was cancelled, or expired.
    Revoked,
    /// A state its task or another program named, such as `RECEIVED`; what was said with it is the
    /// stored value.
    Custom(String),
}

impl ResultState {
    /// Whether no other state can follow.
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Success | Self::Failure | Self::Revoked)
    }

    /// The word for it in tables and JSON, as Celery has it.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Started => "STARTED",
            Self::Progress(_) => "PROGRESS",
            Self::Retry => "RETRY",
            Self::Success => "SUCCESS",
            Self::Failure => "FAILURE",
            Self::Revoked => "REVOKED",
            Self::Custom(name) => name,
        }
    }
}

/// Where a call stands among others, and what its result says beyond outcome and state.
///
/// Celery's result backends keep it; ours may.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Trail {
    /// The group it is part of.
    pub group: Option<String>,
    /// The call that sent it.
    pub parent: Option<TaskId>,
    /// The calls sent while it ran, each as `[[id, parent], children]`, the form that Celery has for
    /// a result and its children.
    pub children: Vec<Value>,
    /// Where its sender waits for it, on a broker that sends results as messages.
    pub reply_to: Option<String>,
    /// Further fields, such as the arguments and the worker.
    pub extra: Map<String, Value>,
}

/// What a result backend holds of one call.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredResult {
    /// The call.
    pub id: TaskId,
    /// The name of its task.
    pub task: String,
    /// How far it has come.
    pub state: ResultState,
    /// Its value, if it succeeded; in a state that is not final, what was said with the state.
    pub value: Option<Payload>,
    /// Its error, if it failed, was revoked or waits for a retry.
    pub error: Option<TaskError>,
    /// The attempt this state is of, counted from 1.
    pub attempt: u32,
    /// When it was stored.
    pub stored_at: Timestamp,
    /// When it will be forgotten.
    pub expires_at: Timestamp,
    /// Its place among other calls.
    pub trail: Trail,
}

impl StoredResult {
    /// The outcome, if the call has come to its end.
    pub fn outcome(&self) -> Option<Outcome<Payload>> {
        match (&self.state, &self.value, &self.error) {
            (ResultState::Success, Some(value), _) => Some(Ok(value.clone())),
            (state, _, Some(error)) if state.is_final() => Some(Err(error.clone())),
            (state, _, _) if state.is_final() => Some(Err(TaskError::lost(
                "its stored result holds neither value nor error",
            ))),
            _ => None,
        }
    }

    /// The stack that its error was raised from, if it failed in a language that says so.
    pub fn traceback(&self) -> Option<&str> {
        self.error.as_ref()?.as_raised()?.traceback.as_deref()
    }

    /// The ids of the calls that it sent while it ran, the parts of a group one by one, as far as its
    /// worker told: those in Python do.
    pub fn children(&self) -> Vec<TaskId> {
        let mut ids = Vec::new();
        self.trail
            .children
            .iter()
            .for_each(|child| add_ids(child, &mut ids));
        ids
    }
}

/// Adds the id of a call, or those of the parts of a group: `[[id, parent], parts]`.
fn add_ids(result: &Value, ids: &mut Vec<TaskId>) {
    match (
        result.get(1).and_then(Value::as_array),
        result.pointer("/0/0"),
    ) {
        (Some(parts), _) => parts.iter().for_each(|part| add_ids(part, ids)),
        (None, Some(Value::String(id))) => ids.push(id.as_str().into()),
        (None, _) => {}
    }
}

/// Keeps the results of calls for those who wait for them.
///
/// A final state is never replaced by one that is not.
pub trait ResultBackend: fmt::Debug + Send + Sync {
    /// Stores `results`, all or none, and resolves when they are durable.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; after [`BrokerError::Unavailable`] they are stored or not.
    fn store(&self, results: Vec<StoredResult>) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// Stores results as they are encoded, in their order, and resolves when they are durable.
    ///
    /// Unlike those of [`store`](Self::store) they are of calls whose own runtime knows how their
    /// readers want them.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unsupported`] if this store keeps results in another form, otherwise as `store`.
    fn store_encoded(&self, results: Vec<EncodedResult>) -> BoxFuture<'_, Result<(), BrokerError>> {
        let _ = results;
        Box::pin(std::future::ready(Err(BrokerError::Unsupported {
            address: "the result backend".to_owned(),
            what: "store results of another program's runtime".to_owned(),
        })))
    }

    /// What is held of each of `ids`, in their order.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn fetch<'a>(
        &'a self,
        ids: &'a [TaskId],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredResult>>, BrokerError>>;

    /// Waits for news of any call watched with [`watch`](Self::watch), and returns what came:
    /// each change of state at least once, newest state only if several came together.
    ///
    /// # Cancel safety
    ///
    /// Safe: news of a dropped call comes with the next.
    fn watch(&self) -> BoxFuture<'_, Result<Box<dyn ResultWatch>, BrokerError>>;

    /// Runs a coroutine where news arrives, as [`Broker::host`](crate::Broker::host) does.
    ///
    /// # Errors
    ///
    /// Gives it back if the driver has no such thread.
    fn host(&self, coroutine: Coroutine) -> Result<(), Coroutine> {
        Err(coroutine)
    }

    /// What counts the parts of chords in the same store, if anything does.
    fn chords(&self) -> Option<Arc<dyn ChordStore>> {
        None
    }

    /// Whether each result goes to the handle that sent its call, and nobody else can read it.
    fn goes_to_sender(&self) -> bool {
        false
    }

    /// Forgets the results of `ids`.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn forget<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>>;
}

/// News of the results of some calls.
pub trait ResultWatch: fmt::Debug + Send {
    /// Watches these calls too; what is already held of them is news.
    fn add(&mut self, ids: &[TaskId]);

    /// The same for calls that are only being sent. Nothing is held of them yet, so to look may wait
    /// while news of them may come.
    fn expect(&mut self, ids: &[TaskId]) {
        self.add(ids);
    }

    /// Watches these calls no more. News of them that is under way may still come.
    fn remove(&mut self, ids: &[TaskId]);

    /// Waits for news of a watched call. A call whose state is final is watched no more.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]. After a transient one all are watched as before. After another one the calls that
    /// were added so far are watched no more, and the watch is good for others.
    ///
    /// # Cancel safety
    ///
    /// Safe: news of a dropped call comes with the next.
    fn next(&mut self) -> BoxFuture<'_, Result<Vec<StoredResult>, BrokerError>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn children_are_calls_and_the_parts_of_groups() {
        let children = json!([
            [["one", null], null],
            [
                ["group", null],
                [[["two", ["root", null]], null], [["three", null], null]]
            ],
            "nonsense",
            [[7, null], null],
        ]);
        let result = StoredResult {
            id: "root".into(),
            task: String::new(),
            state: ResultState::Success,
            value: None,
            error: None,
            attempt: 1,
            stored_at: Timestamp::UNIX_EPOCH,
            expires_at: Timestamp::MAX,
            trail: Trail {
                children: children.as_array().unwrap().clone(),
                ..Trail::default()
            },
        };
        let ids: Vec<TaskId> = ["one", "two", "three"].map(TaskId::from).to_vec();
        assert_eq!(result.children(), ids);
    }
}
