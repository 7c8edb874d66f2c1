//! A result as JSON that Celery's readers expect.

use std::borrow::Cow;

use celeriac_core::{ContentType, Payload, ResultState, StoredResult, Tree, moment};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{ResultError, exception};

/// The JSON that Celery's readers expect for `stored`.
///
/// Its value is passed on as it is if it is JSON, and put into JSON if not. Its error becomes an
/// exception: of the class that Python uses for the same case, or of the error's own name, which a
/// Python reader raises as a class it makes up.
///
/// ```
/// # use celeriac_core::{ContentType, Payload, ResultState, StoredResult, TaskId, Trail};
/// # use celeriac_wire::result;
/// # use jiff::Timestamp;
/// let stored = StoredResult {
///     id: "an-id".into(),
///     task: "shop.add".to_owned(),
///     state: ResultState::Success,
///     value: Some(Payload::encode(ContentType::Json, &5)?),
///     error: None,
///     attempt: 1,
///     stored_at: Timestamp::UNIX_EPOCH,
///     expires_at: Timestamp::MAX,
///     trail: Trail::default(),
/// };
/// let bytes = result::encode(&stored)?;
/// let read = result::decode(&bytes, Timestamp::UNIX_EPOCH)?;
/// assert_eq!(read.value, stored.value);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// # Errors
///
/// [`ResultError::Value`] if the value has no form in JSON.
pub fn encode(stored: &StoredResult) -> Result<Vec<u8>, ResultError> {
    let outcome = outcome(stored)?;
    let error = stored.error.as_ref();
    let rest = Written {
        traceback: error.and_then(exception::traceback),
        children: &stored.trail.children,
        date_done: stored
            .state
            .is_final()
            .then(|| moment::show(stored.stored_at).to_string()),
        group_id: stored.trail.group.as_deref(),
        parent_id: stored.trail.parent.as_ref().map(ToString::to_string),
        extra: &stored.trail.extra,
        task_id: stored.id.to_string(),
    };
    // The value is passed on as it is, be it JSON or what only Python takes for JSON.
    let mut out = Vec::with_capacity(256 + outcome.len());
    out.extend_from_slice(b"{\"status\":");
    out.extend_from_slice(json(stored.state.as_str()).as_bytes());
    out.extend_from_slice(b",\"result\":");
    out.extend_from_slice(outcome.as_bytes());
    out.push(b',');
    out.extend_from_slice(&json(&rest).as_bytes()[1..]);
    Ok(out)
}

/// What stands under `result`.
fn outcome(stored: &StoredResult) -> Result<Cow<'_, str>, ResultError> {
    match (&stored.state, &stored.error) {
        // A task of Python's may ask for another attempt without an error.
        (ResultState::Retry, None) => Ok("null".into()),
        (ResultState::Failure | ResultState::Revoked | ResultState::Retry, error) => {
            Ok(json(&exception::encode(error.as_ref(), &stored.task)).into())
        }
        (ResultState::Progress(progress), _) => Ok(json(progress).into()),
        _ => stored.value.as_ref().map_or(Ok("null".into()), value),
    }
}

/// The JSON text of what always has one.
fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).expect("all its keys are text, so it has a form in JSON")
}

/// The JSON text of a value.
fn value(value: &Payload) -> Result<Cow<'_, str>, ResultError> {
    if value.content_type == ContentType::Json
        && let Ok(plain) = serde_json::from_slice::<&RawValue>(&value.bytes)
    {
        return Ok(plain.get().into());
    }
    Ok(Tree::decode(value.content_type, &value.bytes)?
        .to_json()
        .into())
}

#[derive(Serialize)]
struct Written<'a> {
    traceback: Option<Cow<'a, str>>,
    children: &'a [Value],
    date_done: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    group_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    parent_id: Option<String>,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
    task_id: String,
}
