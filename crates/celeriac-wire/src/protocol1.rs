//! Task protocol 1, which some old clients still send: everything in one map, the body.

use bytes::Bytes;
use celeriac_core::{ContentType, Headers, Payload};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::message::DecodeError;

/// The fields of the body that are headers in protocol 2, under the same names.
const HEADERS: [&str; 8] = [
    "task",
    "id",
    "group",
    "group_index",
    "retries",
    "eta",
    "expires",
    "timelimit",
];

/// The headers and the body that a message of protocol 1 would have in protocol 2.
///
/// `kept` are the headers it came with.
pub(crate) fn decode(
    kept: Map<String, Value>,
    body: &Payload,
) -> Result<(Headers, Payload), DecodeError> {
    if matches!(body.content_type, ContentType::Data | ContentType::Text) {
        return Err(DecodeError::NoTask);
    }
    let decoded = body
        .decode()
        .map_err(|error| DecodeError::Body(error.to_string()))?;
    let Value::Object(mut fields) = decoded else {
        return Err(DecodeError::NoTask);
    };
    if !fields.get("task").is_some_and(Value::is_string) {
        return Err(DecodeError::NoTask);
    }
    let mut headers = kept;
    for name in HEADERS {
        if let Some(value) = fields.remove(name) {
            headers.insert(name.to_owned(), value);
        }
    }
    // `taskset` is the older name, and wins.
    if let Some(group @ Value::String(_)) = fields.remove("taskset") {
        headers.insert("group".to_owned(), group);
    }
    let mut take = |name: &str, otherwise: Value| match fields.remove(name) {
        None | Some(Value::Null) => otherwise,
        Some(value) => value,
    };
    let body = json!([
        take("args", json!([])),
        take("kwargs", json!({})),
        {
            "callbacks": take("callbacks", Value::Null),
            "errbacks": take("errbacks", Value::Null),
            "chain": null,
            "chord": take("chord", Value::Null),
        }
    ]);
    let headers = Headers::deserialize(Value::Object(headers))
        .map_err(|error| DecodeError::Headers(error.to_string()))?;
    let bytes = serde_json::to_vec(&body).expect("a tree of JSON has a form in JSON");
    Ok((
        headers,
        Payload {
            content_type: ContentType::Json,
            bytes: Bytes::from(bytes),
        },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &Value) -> Result<(Headers, Value), DecodeError> {
        let payload = Payload::encode(ContentType::Json, body).unwrap();
        decode(Map::new(), &payload).map(|(headers, body)| (headers, body.decode().unwrap()))
    }

    #[test]
    fn the_older_name_of_a_group_wins() {
        let body = json!({"task": "add", "id": "x", "args": [1], "taskset": "t", "group": "g"});
        let (headers, body) = read(&body).unwrap();
        assert_eq!(headers.group.as_deref(), Some("t"));
        assert_eq!(body[0], json!([1]));
        assert_eq!(body[1], json!({}));
    }

    #[test]
    fn a_body_that_names_no_task_is_none() {
        for body in [
            json!([[], {}, {}]),
            json!({"id": "x"}),
            json!({"task": 1, "id": "x"}),
        ] {
            assert_eq!(read(&body), Err(DecodeError::NoTask), "{body}");
        }
        assert!(matches!(
            read(&json!({"task": "x"})),
            Err(DecodeError::Headers(_))
        ));
    }
}
