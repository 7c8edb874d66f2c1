//! What a driver refuses to store, and what it says of a call that it gives up by itself.

use std::time::Duration;

use celeriac_core::message::later;
use celeriac_core::{BrokerError, Headers, Message, ResultState, StoredResult, TaskError, Trail};
use jiff::Timestamp;

/// Refuses a message whose body is over `limit_bytes`.
pub(crate) fn check_size(message: &Message, limit_bytes: usize) -> Result<(), BrokerError> {
    message
        .body
        .check_size(limit_bytes)
        .map_err(|_| BrokerError::TooLarge {
            task: message.headers.task.clone(),
            size_bytes: message.body.bytes.len(),
            limit_bytes,
        })
}

/// How long the failure of a call is kept whose end no worker decided.
const KEEP_FAILURE: Duration = Duration::from_secs(24 * 60 * 60);

/// The end of a call whose message `error` made dead before any worker could say so; none if its
/// sender wants no result.
pub(crate) fn failure(headers: &Headers, error: TaskError) -> Option<StoredResult> {
    if headers.ignore_result == Some(true) {
        return None;
    }
    let now = Timestamp::now();
    Some(StoredResult {
        id: headers.id.clone(),
        task: headers.task.clone(),
        state: ResultState::Failure,
        value: None,
        error: Some(error),
        attempt: headers.retries.saturating_add(1),
        stored_at: now,
        expires_at: later(now, KEEP_FAILURE),
        trail: Trail::default(),
    })
}

/// The end of a call whose result cannot be read, because of `error`: nobody waits for another one.
#[cfg(any(feature = "amqp", feature = "redis"))]
pub(crate) fn unreadable(
    id: celeriac_core::TaskId,
    error: &celeriac_wire::result::ResultError,
    now: Timestamp,
) -> StoredResult {
    let reason = format!("what is stored for it cannot be read: {error}");
    StoredResult {
        id,
        task: String::new(),
        state: ResultState::Failure,
        value: None,
        error: Some(TaskError::new(celeriac_core::ErrorKind::BadResult, reason)),
        attempt: 1,
        stored_at: now,
        expires_at: later(now, KEEP_FAILURE),
        trail: Trail::default(),
    }
}
