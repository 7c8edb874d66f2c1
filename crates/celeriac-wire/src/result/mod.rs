//! Results as Celery's backends store them: fields under `status`, `result`, `task_id` and more.

mod decode;
mod encode;
mod exception;
mod format;
mod part;

use celeriac_core::{PayloadError, TaskError};
use serde_json::Value;

use crate::compression::CompressionError;

pub use decode::decode;
pub use encode::encode;
pub use format::ResultFormat;
pub use part::decode_part;

/// Why bytes are no stored result, or a stored result has no bytes.
///
/// None of these repeats a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResultError {
    /// They are no JSON object of a result's shape.
    #[error("it is no result: {0}")]
    Json(String),
    /// They are in no content type that is read here.
    #[error("it is no result: {0}")]
    Unread(PayloadError),
    /// Whoever stored it pickled it.
    #[error("it is pickled, which is never read here: set `result_serializer` to json or msgpack")]
    Pickled,
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

/// The exception that stands for `error` of a call of `task`: its type, message and module.
pub(crate) fn exception_of(error: &TaskError, task: &str) -> Value {
    exception::encode(Some(error), task)
}

/// Where it was raised, or what caused it.
pub fn traceback(error: &TaskError) -> Option<String> {
    exception::traceback(error).map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compression::deflate;
    use celeriac_core::results::Trail;
    use celeriac_core::{
        Compression, ContentType, ErrorKind, Payload, Progress, ResultState, StoredResult,
        TaskError,
    };
    use jiff::Timestamp;
    use serde_json::{Value, json};
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
    fn a_result_is_read_in_whatever_format_it_was_stored() {
        let mut result = stored(ResultState::Success);
        let values =
            json!({"seven": vec![7; 1000], "text": "馬: \" \n", "half": 0.5, "none": null});
        result.value = Some(Payload::encode(ContentType::Json, &values).unwrap());
        let serializers = [ContentType::Json, ContentType::Msgpack, ContentType::Yaml];
        for serializer in serializers {
            if serializer.encode_into(&(), &mut Vec::new()).is_err() {
                continue; // This build has none.
            }
            let plain = ResultFormat {
                serializer,
                compression: None,
            };
            let bytes = plain.encode(&result).unwrap();
            let part = plain.encode_part(&result).unwrap();
            let read = decode(&bytes, NOW).unwrap().value.unwrap();
            assert_eq!(read.decode::<Value>().unwrap(), values, "{serializer:?}");
            let read = decode_part(&part, NOW).unwrap().value.unwrap();
            assert_eq!(read.decode::<Value>().unwrap(), values, "{serializer:?}");
            for compression in Compression::ALL {
                if deflate(compression, b"").is_err() {
                    continue; // Nor this one.
                }
                let compressed = ResultFormat {
                    serializer,
                    compression: Some(compression),
                };
                let small = compressed.encode(&result).unwrap();
                let name = compression.as_str().as_bytes();
                assert!(small.starts_with(&[b"\0celery-compressed\0", name, b"\0"].concat()));
                assert!(small.len() < bytes.len() / 2);
                assert_eq!(decode(&small, NOW).unwrap(), decode(&bytes, NOW).unwrap());
                let small = compressed.encode_part(&result).unwrap();
                assert!(small.len() < part.len() / 2);
                assert_eq!(
                    decode_part(&small, NOW).unwrap(),
                    decode_part(&part, NOW).unwrap()
                );
                // What would not become smaller stays as it is.
                let started = stored(ResultState::Started);
                assert_eq!(
                    compressed.encode(&started).unwrap(),
                    plain.encode(&started).unwrap()
                );
            }
        }
        assert_eq!(decode(b"\x80\x04}.", NOW), Err(ResultError::Pickled));
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
