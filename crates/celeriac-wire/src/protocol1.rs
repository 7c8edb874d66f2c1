//! Task protocol 1, which some old clients still send: everything in one map, the body.

use bytes::Bytes;
use celeriac_core::{ContentType, Headers, Payload, Tree};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::fields::Fields;
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
    let decoded = Tree::decode(body.content_type, &body.bytes)
        .map_err(|error| DecodeError::Body(error.to_string()))?;
    let Tree::Map(fields) = decoded else {
        return Err(DecodeError::NoTask);
    };
    let mut fields = Fields(fields);
    if fields.text("task").is_none() {
        return Err(DecodeError::NoTask);
    }
    let mut headers = kept;
    for name in HEADERS {
        if let Some(tree) = fields.remove(name) {
            headers.insert(name.to_owned(), json!(tree));
        }
    }
    // `taskset` is the older name, and wins.
    if let Some(Tree::Text(group)) = fields.remove("taskset") {
        headers.insert("group".to_owned(), group.into());
    }
    let mut take = |name: &str, otherwise: Tree| match fields.remove(name) {
        None | Some(Tree::Null) => otherwise,
        Some(value) => value,
    };
    let body = Tree::List(vec![
        take("args", Tree::List(Vec::new())),
        take("kwargs", Tree::Map(Vec::new())),
        Tree::Map(vec![
            ("callbacks".to_owned(), take("callbacks", Tree::Null)),
            ("errbacks".to_owned(), take("errbacks", Tree::Null)),
            ("chain".to_owned(), Tree::Null),
            ("chord".to_owned(), take("chord", Tree::Null)),
        ]),
    ]);
    let headers = Headers::deserialize(Value::Object(headers))
        .map_err(|error| DecodeError::Headers(error.to_string()))?;
    let body = Payload {
        content_type: ContentType::Json,
        bytes: Bytes::from(body.to_json()),
    };
    Ok((headers, body))
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
    fn arguments_are_passed_on_exactly() {
        let text =
            r#"{"task":"a","id":"x","args":[123456789012345678901234567890,NaN],"retries":2}"#;
        let payload = Payload {
            content_type: ContentType::Json,
            bytes: text.into(),
        };
        let (headers, body) = decode(Map::new(), &payload).unwrap();
        assert_eq!(headers.retries, 2);
        assert!(
            body.bytes
                .starts_with(b"[[123456789012345678901234567890,NaN],{},")
        );
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
