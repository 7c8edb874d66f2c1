//! Errors as the exceptions that Python stores, and back.
//!
//! A Python reader looks the class up by module and name among what it has imported, and makes one
//! up if it is not there. So an error of ours is given the class Python uses in the same case, or
//! else its own name in a module `celeriac` that nobody has. What the class does not say stands in a
//! field of its own, which Python does not read.

use std::borrow::Cow;

use celeriac_core::outcome::Raised;
use celeriac_core::{ErrorKind, TaskError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::ResultError;

/// The module of our own errors.
const OURS: &str = "celeriac";

/// What an exception of ours says beyond what Python's form has room for.
#[derive(Debug, Serialize, Deserialize)]
struct Beyond {
    kind: ErrorKind,
    #[serde(default, rename = "type", skip_serializing_if = "String::is_empty")]
    type_name: String,
    message: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
}

/// The exception under `result` that stands for `error` of a call of `task`.
pub(super) fn encode(error: Option<&TaskError>, task: &str) -> Value {
    let Some(error) = error else {
        return json!({"exc_type": "RuntimeError", "exc_message": [], "exc_module": "builtins"});
    };
    // It came from another language and goes back as it came.
    if let Some(raised) = error.as_raised()
        && !error.type_name().is_empty()
    {
        return json!({
            "exc_type": error.type_name(),
            "exc_message": raised.arguments,
            "exc_module": raised.module,
        });
    }
    let (class, module, arguments) = class(error, task);
    let mut exception = json!({
        "exc_type": class,
        "exc_message": arguments,
        "exc_module": module,
    });
    let plain = error.kind() == ErrorKind::Failed && error.causes().is_empty();
    if !plain {
        exception[OURS] = json!(Beyond {
            kind: error.kind(),
            type_name: error.type_name().to_owned(),
            message: error.message().to_owned(),
            causes: error.causes().to_vec(),
        });
    }
    exception
}

/// Class, module and arguments of the exception that Python uses in the same case.
fn class<'a>(error: &'a TaskError, task: &str) -> (&'a str, &'static str, Value) {
    let message = json!([error.message()]);
    match error.kind() {
        ErrorKind::Cancelled => ("TaskRevokedError", "celery.exceptions", json!(["revoked"])),
        ErrorKind::Expired => ("TaskRevokedError", "celery.exceptions", json!(["expired"])),
        ErrorKind::TimeLimit => match error.as_raised() {
            Some(raised) => {
                let limit = json!(raised.arguments);
                ("TimeLimitExceeded", "billiard.exceptions", limit)
            }
            None => ("SoftTimeLimitExceeded", "billiard.exceptions", json!([])),
        },
        ErrorKind::Lost | ErrorKind::DeliveryLimit => {
            ("WorkerLostError", "billiard.exceptions", message)
        }
        ErrorKind::Unregistered => ("NotRegistered", "celery.exceptions", json!([task])),
        ErrorKind::BadArguments => ("TypeError", "builtins", message),
        ErrorKind::BadResult => ("EncodeError", "kombu.exceptions", message),
        ErrorKind::Panicked => ("Panic", OURS, message),
        _ if error.type_name().is_empty() => ("TaskError", OURS, message),
        _ => (error.type_name(), OURS, message),
    }
}

/// What stands under `traceback`: Python's own, or the sources of an error of ours.
pub(super) fn traceback(error: &TaskError) -> Option<Cow<'_, str>> {
    if let Some(raised) = error.as_raised() {
        return raised.traceback.as_deref().map(Cow::Borrowed);
    }
    if error.causes().is_empty() {
        return None;
    }
    let mut text = error.to_string();
    for cause in error.causes() {
        text.push_str("\ncaused by: ");
        text.push_str(cause);
    }
    text.push('\n');
    Some(Cow::Owned(text))
}

/// The error that an exception under `result` stands for.
pub(super) fn decode(
    exception: Value,
    traceback: Option<String>,
) -> Result<TaskError, ResultError> {
    let Value::Object(mut fields) = exception else {
        return Err(ResultError::Field("result"));
    };
    if let Some(beyond) = fields.remove(OURS)
        && let Ok(beyond) = serde_json::from_value::<Beyond>(beyond)
    {
        return Ok(ours(beyond, fields.remove("exc_message")));
    }
    let Some(Value::String(class)) = fields.remove("exc_type") else {
        return Err(ResultError::Field("exc_type"));
    };
    let module = match fields.remove("exc_module") {
        Some(Value::String(module)) => Some(module),
        _ => None,
    };
    let arguments = match fields.remove("exc_message") {
        Some(Value::Array(arguments)) => arguments,
        None | Some(Value::Null) => Vec::new(),
        Some(one) => vec![one],
    };
    let message = message(&arguments);
    if module.as_deref() == Some(OURS) {
        return Ok(TaskError::failed(class, message));
    }
    let kind = kind(&class, module.as_deref(), &arguments);
    let raised = Raised {
        module,
        arguments,
        traceback,
    };
    Ok(TaskError::raised(kind, class, message, raised))
}

/// An error of ours, as it was before it was stored.
fn ours(beyond: Beyond, arguments: Option<Value>) -> TaskError {
    let error = match (beyond.kind, arguments) {
        // Only the hard limit says how long it was.
        (kind @ ErrorKind::TimeLimit, Some(Value::Array(arguments))) if !arguments.is_empty() => {
            let raised = Raised {
                arguments,
                ..Raised::default()
            };
            TaskError::raised(kind, "", beyond.message, raised)
        }
        (kind, _) => TaskError::new(kind, beyond.message),
    };
    error
        .with_type_name(beyond.type_name)
        .with_causes(beyond.causes)
}

/// Which of our kinds a Python exception is.
fn kind(class: &str, module: Option<&str>, arguments: &[Value]) -> ErrorKind {
    let from_celery = module.is_some_and(|module| {
        ["celery.", "billiard.", "kombu."]
            .iter()
            .any(|own| module.starts_with(own))
    });
    match class {
        _ if !from_celery => ErrorKind::Failed,
        "TaskRevokedError" if arguments.first().is_some_and(|why| why == "expired") => {
            ErrorKind::Expired
        }
        "TaskRevokedError" => ErrorKind::Cancelled,
        "TimeLimitExceeded" | "SoftTimeLimitExceeded" => ErrorKind::TimeLimit,
        "WorkerLostError" | "Terminated" => ErrorKind::Lost,
        "NotRegistered" => ErrorKind::Unregistered,
        "EncodeError" => ErrorKind::BadResult,
        _ => ErrorKind::Failed,
    }
}

/// What Python shows for an exception with these arguments.
fn message(arguments: &[Value]) -> String {
    let show = |value: &Value| match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    arguments.iter().map(show).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_exception_goes_back_as_it_came() {
        let exception = json!({
            "exc_type": "ValueError", "exc_message": ["boom", 42], "exc_module": "builtins",
        });
        let error = decode(exception.clone(), Some("Traceback …".to_owned())).unwrap();
        assert_eq!(error.kind(), ErrorKind::Failed);
        assert_eq!(error.to_string(), "boom, 42");
        assert_eq!(encode(Some(&error), "t"), exception);
        assert_eq!(traceback(&error).unwrap(), "Traceback …");
    }

    #[test]
    fn celerys_own_exceptions_have_our_kinds() {
        for (class, module, argument, kind) in [
            (
                "TaskRevokedError",
                "celery.exceptions",
                "expired",
                ErrorKind::Expired,
            ),
            (
                "TaskRevokedError",
                "celery.exceptions",
                "terminated",
                ErrorKind::Cancelled,
            ),
            (
                "WorkerLostError",
                "billiard.exceptions",
                "signal 9",
                ErrorKind::Lost,
            ),
            ("WorkerLostError", "mine", "x", ErrorKind::Failed),
        ] {
            let exception =
                json!({"exc_type": class, "exc_message": [argument], "exc_module": module});
            let error = decode(exception.clone(), None).unwrap();
            assert_eq!(error.kind(), kind, "{class}");
            assert_eq!(encode(Some(&error), "t"), exception);
        }
    }

    #[test]
    fn the_sources_of_an_error_are_its_traceback() {
        let error = TaskError::failed("E", "a").with_causes(vec!["b".to_owned(), "c".to_owned()]);
        assert_eq!(
            traceback(&error).unwrap(),
            "a\ncaused by: b\ncaused by: c\n"
        );
    }

    #[test]
    fn a_message_that_is_no_list_is_one_argument() {
        let error = decode(json!({"exc_type": "E", "exc_message": "only text"}), None).unwrap();
        assert_eq!(error.message(), "only text");
        assert!(decode(json!({"exc_message": []}), None).is_err());
        assert!(decode(json!("text"), None).is_err());
    }
}
