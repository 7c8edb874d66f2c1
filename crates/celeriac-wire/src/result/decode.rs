//! What a stored result says.

use std::borrow::Cow;

use bytes::Bytes;
use celeriac_core::results::Trail;
use celeriac_core::{ContentType, Payload, Progress, ResultState, StoredResult, Tree, moment};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::format::{inflated, read, sort};
use super::{ResultError, exception};
use crate::envelope::without_content;
use crate::fields::Fields;

/// Reads what a Celery worker, [`encode`](super::encode()) or a [`ResultFormat`](super::ResultFormat) stored,
/// compressed or not.
///
/// `now` stands in for the time of a result that does not say when it was stored. How long it is
/// kept is not in it: `expires_at` is the end of time, for the caller to replace. The task's name
/// and the attempt are known only if the writer stores extended results.
///
/// # Errors
///
/// [`ResultError`] if the bytes are no result.
pub fn decode(bytes: &[u8], now: Timestamp) -> Result<StoredResult, ResultError> {
    let plain = inflated(bytes)?;
    if sort(&plain) != ContentType::Json {
        return understand_tree(read(&plain)?, now, wrong_shape);
    }
    match serde_json::from_slice::<Read<'_>>(&plain) {
        Ok(read) => {
            let result = read.result.map_or("null", RawValue::get);
            understand(read, result, now)
        }
        // A value that only Python takes for JSON has to be read the slow way.
        Err(error) => {
            let refused = || ResultError::Json(without_content(&error));
            let tree = read(&plain).map_err(|_| refused())?;
            understand_tree(tree, now, refused)
        }
    }
}

fn wrong_shape() -> ResultError {
    ResultError::Json("it is no map of a result's fields".to_owned())
}

fn understand_tree(
    tree: Tree,
    now: Timestamp,
    refused: impl Fn() -> ResultError,
) -> Result<StoredResult, ResultError> {
    let Tree::Map(fields) = tree else {
        return Err(refused());
    };
    let mut fields = Fields(fields);
    let result = fields.remove("result").unwrap_or(Tree::Null).to_json();
    let rest = Tree::from(fields).to_json();
    let read: Read<'_> = serde_json::from_str(&rest).map_err(|_| refused())?;
    understand(read, &result, now)
}

fn understand(read: Read<'_>, result: &str, now: Timestamp) -> Result<StoredResult, ResultError> {
    let traceback = read.traceback;
    let mut stored = StoredResult {
        id: read.task_id.as_ref().into(),
        task: text(&read.extra, "name").unwrap_or_default().to_owned(),
        state: ResultState::Success,
        value: None,
        error: None,
        attempt: attempt(&read.extra),
        stored_at: done_at(read.date_done.as_deref())?.unwrap_or(now),
        expires_at: Timestamp::MAX,
        trail: Trail {
            group: read.group_id,
            parent: read.parent_id.map(Into::into),
            children: read.children.unwrap_or_default(),
            reply_to: None,
            extra: read.extra,
        },
    };
    stored.state = match read.status.as_ref() {
        "SUCCESS" => ResultState::Success,
        "FAILURE" => ResultState::Failure,
        "REVOKED" => ResultState::Revoked,
        "RETRY" => ResultState::Retry,
        "STARTED" => ResultState::Started,
        "PROGRESS" => match our_progress(result) {
            Some(progress) => ResultState::Progress(progress),
            None => ResultState::Custom("PROGRESS".to_owned()),
        },
        custom => ResultState::Custom(custom.to_owned()),
    };
    match stored.state {
        ResultState::Retry if result == "null" => {}
        ResultState::Failure | ResultState::Revoked | ResultState::Retry => {
            let exception = serde_json::from_str(result)
                .map_err(|error| ResultError::Json(without_content(&error)))?;
            stored.error = Some(exception::decode(exception, traceback)?);
        }
        ResultState::Progress(_) => {}
        _ if result == "null" && stored.state != ResultState::Success => {}
        _ => {
            stored.value = Some(Payload {
                content_type: ContentType::Json,
                bytes: Bytes::copy_from_slice(result.as_bytes()),
            });
        }
    }
    Ok(stored)
}

/// The progress, if it has the fields of ours and no others.
fn our_progress(meta: &str) -> Option<Progress> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Ours {
        done: u64,
        total: u64,
        #[serde(default)]
        message: String,
    }
    let ours: Ours = serde_json::from_str(meta).ok()?;
    Some(Progress {
        done: ours.done,
        total: ours.total,
        message: ours.message,
    })
}

fn text<'a>(extra: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    extra.get(name)?.as_str()
}

fn attempt(extra: &Map<String, Value>) -> u32 {
    let retries = extra.get("retries").and_then(Value::as_u64).unwrap_or(0);
    u32::try_from(retries).unwrap_or(u32::MAX).saturating_add(1)
}

fn done_at(text: Option<&str>) -> Result<Option<Timestamp>, ResultError> {
    text.map(moment::read)
        .transpose()
        .map_err(|_| ResultError::Field("date_done"))
}

#[derive(Deserialize)]
struct Read<'a> {
    #[serde(borrow)]
    status: Cow<'a, str>,
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    traceback: Option<String>,
    children: Option<Vec<Value>>,
    #[serde(borrow)]
    date_done: Option<Cow<'a, str>>,
    group_id: Option<String>,
    parent_id: Option<String>,
    #[serde(borrow)]
    task_id: Cow<'a, str>,
    #[serde(flatten)]
    extra: Map<String, Value>,
}
