//! Results as Celery's backends store them: JSON under `status`, `result`, `task_id` and more.

mod exception;

use std::borrow::Cow;

use bytes::Bytes;
use celeriac_core::results::Trail;
use celeriac_core::{
    Compression, ContentType, Payload, PayloadError, Progress, ResultState, StoredResult, Tree,
    moment,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::compression::{self, CompressionError, DEFAULT_INFLATED_LIMIT_BYTES};
use crate::envelope::without_content;
use crate::fields::Fields;

/// What a compressed result begins with, before the MIME type of its compression and a zero.
const COMPRESSED: &[u8] = b"\0celery-compressed\0";

/// Why bytes are no stored result, or a stored result has no bytes.
///
/// None of these repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// They are no JSON object of a result's shape.
    #[error("it is no result: {0}")]
    Json(String),
    /// A field holds what it cannot hold.
    #[error("it is no result: `{0}` has the wrong form")]
    Field(&'static str),
    /// They are compressed and cannot be inflated.
    #[error("compressed result: {0}")]
    Compression(#[from] CompressionError),
    /// The value has no form in JSON.
    #[error("its value {0}")]
    Value(#[from] PayloadError),
}

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

/// Compresses an encoded result as Celery 5.7 and newer read it.
///
/// # Errors
///
/// [`CompressionError::NotBuilt`] if this build cannot.
pub fn compress(encoded: &[u8], compression: Compression) -> Result<Vec<u8>, CompressionError> {
    let body = compression::deflate(compression, encoded)?;
    let name = compression.as_str().as_bytes();
    Ok([COMPRESSED, name, b"\0", &body].concat())
}

/// The bytes behind the name of a compression, inflated.
fn inflated(rest: &[u8]) -> Result<Vec<u8>, CompressionError> {
    let end = rest
        .iter()
        .position(|byte| *byte == 0)
        .unwrap_or(rest.len());
    let name = String::from_utf8_lossy(&rest[..end]);
    let body = rest.get(end + 1..).unwrap_or_default();
    compression::inflate(
        compression::named(&name)?,
        body,
        DEFAULT_INFLATED_LIMIT_BYTES,
    )
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

/// Reads what a Celery worker, [`encode`] or [`compress`] stored.
///
/// `now` stands in for the time of a result that does not say when it was stored. How long it is
/// kept is not in it: `expires_at` is the end of time, for the caller to replace. The task's name
/// and the attempt are known only if the writer stores extended results.
///
/// # Errors
///
/// [`ResultError`] if the bytes are no result.
pub fn decode(bytes: &[u8], now: Timestamp) -> Result<StoredResult, ResultError> {
    if let Some(rest) = bytes.strip_prefix(COMPRESSED) {
        // Once only: a stream that inflates to itself would never end.
        return decode_plain(&inflated(rest)?, now);
    }
    decode_plain(bytes, now)
}

fn decode_plain(bytes: &[u8], now: Timestamp) -> Result<StoredResult, ResultError> {
    let read: Read<'_> = match serde_json::from_slice(bytes) {
        Ok(read) => read,
        Err(error) => return decode_tree(bytes, now, &error),
    };
    let result = read.result.map_or("null", RawValue::get);
    understand(read, result, now)
}

/// The way of a result with a value that only Python takes for JSON.
fn decode_tree(
    bytes: &[u8],
    now: Timestamp,
    error: &serde_json::Error,
) -> Result<StoredResult, ResultError> {
    let refused = || ResultError::Json(without_content(error));
    let Ok(Tree::Map(fields)) = Tree::parse(bytes) else {
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

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::{ErrorKind, TaskError};
    use serde_json::json;
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn stored(state: ResultState) -> StoredResult {
        StoredResult {
            id: "x".into(),
            task: "shop.charge".to_owned(),
            state,
            value: None,
            error: None,
            attempt: 1,
            stored_at: NOW,
            expires_at: Timestamp::MAX,
            trail: Trail::default(),
        }
    }

    fn written(stored: &StoredResult) -> Value {
        serde_json::from_slice(&encode(stored).unwrap()).unwrap()
    }

    fn failed(state: ResultState, error: TaskError) -> Value {
        let mut stored = stored(state);
        stored.error = Some(error);
        written(&stored)
    }

    #[test]
    fn a_value_is_passed_on_to_the_letter() {
        let mut result = stored(ResultState::Success);
        let text = r#"{"big":123456789012345678901234567890,"f":1.50}"#;
        result.value = Some(Payload {
            content_type: ContentType::Json,
            bytes: text.into(),
        });
        let bytes = encode(&result).unwrap();
        assert!(String::from_utf8(bytes.clone()).unwrap().contains(text));
        assert_eq!(
            &decode(&bytes, NOW).unwrap().value.unwrap().bytes[..],
            text.as_bytes()
        );
    }

    #[test]
    fn a_value_that_only_python_takes_for_json_is_passed_on() {
        let text = br#"{"status":"SUCCESS","result":[NaN, 1],"task_id":"x","children":null}"#;
        let read = decode(text, NOW).unwrap();
        assert!(
            read.value
                .clone()
                .unwrap()
                .decode::<(f64, f64)>()
                .unwrap()
                .0
                .is_nan()
        );
        let again = decode(&encode(&read).unwrap(), NOW).unwrap();
        assert_eq!(again, read);
        let mut bytes = stored(ResultState::Success);
        let packed = b"\xc4\x02\xff\xfe";
        bytes.value = Some(Payload {
            content_type: ContentType::Msgpack,
            bytes: packed[..].into(),
        });
        assert_eq!(written(&bytes)["result"]["__type__"], "base64");
    }

    #[test]
    fn a_retry_without_an_error_has_none_and_is_written_as_it_was() {
        let bytes = br#"{"status":"RETRY","result":null,"traceback":null,"task_id":"x"}"#;
        let read = decode(bytes, NOW).unwrap();
        assert_eq!((&read.state, &read.error), (&ResultState::Retry, &None));
        assert_eq!(written(&read)["result"], Value::Null);
    }

    #[test]
    fn a_value_in_messagepack_is_put_into_json() {
        let mut result = stored(ResultState::Success);
        result.value = Some(Payload::encode(ContentType::Msgpack, &json!({"a": [1, 2]})).unwrap());
        assert_eq!(written(&result)["result"], json!({"a": [1, 2]}));
    }

    #[test]
    fn errors_are_the_exceptions_python_uses_for_the_same_case() {
        let limit = failed(
            ResultState::Failure,
            TaskError::time_limit(Duration::from_secs(1)),
        );
        assert_eq!(limit["result"]["exc_type"], "TimeLimitExceeded");
        assert_eq!(limit["result"]["exc_message"], json!([1]));
        assert_eq!(limit["result"]["exc_module"], "billiard.exceptions");
        let revoked = failed(ResultState::Revoked, TaskError::cancelled());
        assert_eq!(revoked["result"]["exc_message"], json!(["revoked"]));
        let unknown = failed(
            ResultState::Failure,
            TaskError::new(ErrorKind::Unregistered, "nobody registered it"),
        );
        assert_eq!(unknown["result"]["exc_type"], "NotRegistered");
        assert_eq!(unknown["result"]["exc_message"], json!(["shop.charge"]));
    }

    #[test]
    fn every_kind_of_error_comes_back_as_it_went() {
        let causes = vec!["card refused".to_owned(), "no money".to_owned()];
        let errors = [
            TaskError::failed("ChargeError", "cannot charge").with_causes(causes),
            TaskError::failed("String", "plain"),
            TaskError::new(ErrorKind::Panicked, "index out of bounds"),
            TaskError::time_limit(Duration::from_millis(1500)),
            TaskError::cancelled(),
            TaskError::new(ErrorKind::Expired, "it expired"),
            TaskError::lost("signal 9"),
            TaskError::new(ErrorKind::BadArguments, "they do not fit"),
            TaskError::new(ErrorKind::BadResult, "no form"),
            TaskError::new(ErrorKind::Unregistered, "nobody registered it"),
            TaskError::new(ErrorKind::DeliveryLimit, "delivered 5 times"),
        ];
        for error in errors {
            let mut failure = stored(ResultState::Failure);
            failure.error = Some(error.clone());
            let back = decode(&encode(&failure).unwrap(), NOW)
                .unwrap()
                .error
                .unwrap();
            assert_eq!(back.kind(), error.kind());
            assert_eq!(back.type_name(), error.type_name());
            assert_eq!(back.message(), error.message());
            assert_eq!(back.causes(), error.causes());
        }
    }

    #[test]
    fn progress_of_ours_is_progress_and_any_other_is_kept() {
        let mut ours = stored(ResultState::Progress(Progress {
            done: 1,
            total: 3,
            message: String::new(),
        }));
        assert_eq!(written(&ours)["result"], json!({"done": 1, "total": 3}));
        ours.stored_at = NOW;
        assert_eq!(
            decode(&encode(&ours).unwrap(), NOW).unwrap().state,
            ours.state
        );
        let other = br#"{"status":"PROGRESS","result":{"at":"50 %"},"task_id":"x"}"#;
        let read = decode(other, NOW).unwrap();
        assert_eq!(read.state, ResultState::Custom("PROGRESS".to_owned()));
        assert_eq!(written(&read)["result"], json!({"at": "50 %"}));
    }

    #[test]
    fn the_least_that_python_accepts_is_accepted() {
        let read = decode(br#"{"status":"SUCCESS","result":null,"task_id":"x"}"#, NOW).unwrap();
        assert_eq!(&read.value.unwrap().bytes[..], b"null");
        let read = decode(
            br#"{"status":"FAILURE","result":{"exc_type":"E"},"task_id":"x"}"#,
            NOW,
        )
        .unwrap();
        assert_eq!(read.error.unwrap().type_name(), "E");
    }

    #[test]
    fn a_compressed_result_is_read_like_any_other() {
        let mut result = stored(ResultState::Success);
        result.value = Some(Payload::encode(ContentType::Json, &vec![7; 1000]).unwrap());
        let bytes = encode(&result).unwrap();
        for compression in Compression::ALL {
            let Ok(small) = compress(&bytes, compression) else {
                continue;
            };
            assert!(small.len() < bytes.len());
            assert_eq!(decode(&small, NOW).unwrap().value, result.value);
        }
        let cut = b"\0celery-compressed\0application/x-gz";
        assert!(matches!(decode(cut, NOW), Err(ResultError::Compression(_))));
    }

    #[test]
    fn what_is_no_result_is_refused_without_repeating_it() {
        for bytes in [
            &br#"{"status":"SUCCESS","result":"secret"}"#[..],
            br#"{"status":"FAILURE","result":"secret","task_id":"x"}"#,
            br#"{"status":"SUCCESS","result":"secret","task_id":"x","date_done":"soon"}"#,
            br#"["secret"]"#,
            b"\"secret",
            b"",
        ] {
            let error = decode(bytes, NOW).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
