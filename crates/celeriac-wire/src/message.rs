//! One task message as every transport carries it: headers, properties, body.

use bytes::Bytes;
use celeriac_core::{Compression, ContentType, Headers, Message, Payload, TaskId, moment};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

use crate::compression::{self, CompressionError, DEFAULT_INFLATED_LIMIT_BYTES};
use crate::protocol1;

/// A task message before a transport wraps it.
///
/// ```
/// use celeriac_core::{CallOptions, ContentType, Message, TaskOptions, task::encode_body};
/// use celeriac_wire::WireMessage;
/// # use jiff::Timestamp;
///
/// let body = encode_body(ContentType::Json, &(2, 3))?;
/// let now = Timestamp::UNIX_EPOCH;
/// let options = CallOptions::default();
/// let message = Message::new("shop.add", body, &options, &TaskOptions::DEFAULT, now);
///
/// let wire = WireMessage::encode(&message, now);
/// assert_eq!(wire.headers["task"], "shop.add");
/// assert_eq!(wire.headers["timelimit"], serde_json::json!([null, null]));
/// assert_eq!(wire.decode()?.body, message.body);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct WireMessage {
    /// Who is called, when, and by whom: what may be read without decoding the body.
    pub headers: Map<String, Value>,
    /// What the transport itself may act on.
    pub properties: Properties,
    /// The encoded and perhaps compressed arguments.
    pub body: Bytes,
}

/// The properties of a message, under AMQP's names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties {
    /// What the sender knows the answer by: the task id.
    pub correlation_id: Option<String>,
    /// The queue in which the sender waits for the answer.
    pub reply_to: Option<String>,
    /// 2 if the message is to survive its server, else 1.
    pub delivery_mode: u8,
    /// 0 to 9; which end comes first is the transport's rule.
    pub priority: Option<u8>,
    /// The MIME type of the body, before compression.
    pub content_type: String,
    /// The character set of the body, or `binary`.
    pub content_encoding: String,
    /// How long after sending the message is worth delivering, in milliseconds.
    pub expiration: Option<String>,
}

/// Why a message is no task call.
///
/// None of these repeats the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Neither the headers nor the body say which task is called.
    #[error("neither its headers nor its body name a task")]
    NoTask,
    /// A header is missing or has a value that is none.
    #[error("headers: {0}")]
    Headers(String),
    /// The body is in a serialization nobody here knows.
    #[error("content type `{0}` is not known")]
    ContentType(String),
    /// The body is in a character set nobody here knows.
    #[error("content encoding `{0}` is not known")]
    ContentEncoding(String),
    /// The body cannot be inflated.
    #[error("compressed body: {0}")]
    Compression(#[from] CompressionError),
    /// The body, which has to be read to know the task, cannot be.
    #[error("body: {0}")]
    Body(String),
}

impl DecodeError {
    /// Whether its body inflates to more than was allowed: with a larger limit it may be a call.
    pub fn is_over_inflated_limit(&self) -> bool {
        matches!(self, Self::Compression(CompressionError::TooLarge { .. }))
    }
}

impl WireMessage {
    /// What a transport sends of `message` at `now`.
    ///
    /// All headers of protocol 2 are written, null where there is nothing to say, and those we do
    /// not know as they are. A message that expires gets its remaining time as `expiration`.
    ///
    /// A header `compression` names what the body is compressed with: the name that a setting has
    /// for it, or the MIME type. If this build cannot, the body goes out as it is.
    pub fn encode(message: &Message, now: Timestamp) -> Self {
        let content_type = message.body.content_type;
        let mut headers = headers(&message.headers);
        let body = match compressed(&mut headers, &message.body.bytes) {
            Some(body) => body.into(),
            None => message.body.bytes.clone(),
        };
        Self {
            headers,
            properties: Properties {
                correlation_id: Some(correlation_id(message)),
                reply_to: message.reply_to.clone(),
                delivery_mode: 2,
                priority: Some(message.priority),
                content_type: content_type.as_str().to_owned(),
                content_encoding: content_encoding(content_type).to_owned(),
                expiration: message.headers.expires.map(|at| expiration(at, now)),
            },
            body,
        }
    }

    /// The call this message makes, of protocol 2 or 1, with its body inflated.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is no task call, or its body inflates to more than
    /// [`DEFAULT_INFLATED_LIMIT_BYTES`].
    pub fn decode(self) -> Result<Message, DecodeError> {
        self.decode_within(DEFAULT_INFLATED_LIMIT_BYTES)
    }

    /// The same with another limit on the inflated body.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if it is no task call, or its body inflates to more than `limit_bytes`.
    pub fn decode_within(self, limit_bytes: usize) -> Result<Message, DecodeError> {
        let compression = self.headers.get("compression").cloned();
        let properties = self.properties;
        let body = properties.payload(self.body, compression.as_ref(), limit_bytes)?;
        let (headers, body) = if self.headers.contains_key("task") {
            let headers = Headers::deserialize(Value::Object(self.headers))
                .map_err(|error| DecodeError::Headers(error.to_string()))?;
            (headers, body)
        } else {
            protocol1::decode(self.headers, &body)?
        };
        Ok(properties.message(headers, body))
    }
}

impl Properties {
    /// The call of protocol 2 with these headers, its body inflated to at most `limit_bytes`.
    ///
    /// # Errors
    ///
    /// [`DecodeError`] if the body is of no kind that is known, or inflates to more.
    pub fn call(
        self,
        headers: Headers,
        body: Bytes,
        limit_bytes: usize,
    ) -> Result<Message, DecodeError> {
        let compression = headers.extra.get("compression");
        let body = self.payload(body, compression, limit_bytes)?;
        Ok(self.message(headers, body))
    }

    fn payload(
        &self,
        body: Bytes,
        compression: Option<&Value>,
        limit_bytes: usize,
    ) -> Result<Payload, DecodeError> {
        let content_type = known_content_type(&self.content_type)?;
        check_encoding(&self.content_encoding)?;
        let bytes = match compression {
            None | Some(Value::Null) => body,
            Some(name) => inflated(name, &body, limit_bytes)?.into(),
        };
        Ok(Payload {
            content_type,
            bytes,
        })
    }

    fn message(self, headers: Headers, body: Payload) -> Message {
        let is_other = |id: &String| TaskId::from(id.as_str()) != headers.id;
        Message {
            correlation_id: self.correlation_id.filter(is_other),
            headers,
            priority: self.priority.unwrap_or(0),
            reply_to: self.reply_to,
            exchange: None,
            body,
        }
    }
}

/// The compressed body, if the headers ask for it; they then name it as Celery does.
fn compressed(headers: &mut Map<String, Value>, body: &[u8]) -> Option<Vec<u8>> {
    let compression = compression_of(headers);
    headers.remove("compression");
    let body = compression::deflate(compression?, body).ok()?;
    headers.insert("compression".to_owned(), compression?.as_str().into());
    Some(body)
}

/// The compression that the headers ask for, if it is known.
pub(crate) fn compression_of(headers: &Map<String, Value>) -> Option<Compression> {
    Compression::from_name(headers.get("compression")?.as_str()?)
}

pub(crate) fn inflated(
    name: &Value,
    body: &[u8],
    limit_bytes: usize,
) -> Result<Vec<u8>, CompressionError> {
    let Some(name) = name.as_str() else {
        return Err(CompressionError::Unknown("no text".to_owned()));
    };
    compression::inflate(compression::named(name)?, body, limit_bytes)
}

/// The headers of protocol 2, in the order in which Celery writes them.
pub(crate) const HEADERS: [&str; 19] = [
    "lang",
    "task",
    "id",
    "shadow",
    "eta",
    "expires",
    "group",
    "group_index",
    "retries",
    "timelimit",
    "root_id",
    "parent_id",
    "argsrepr",
    "kwargsrepr",
    "origin",
    "ignore_result",
    "replaced_task_nesting",
    "stamped_headers",
    "stamps",
];

/// The headers of protocol 2 that [`Headers`] has no field for, and what they are when unused.
fn unused() -> [(&'static str, Value); 7] {
    [
        ("shadow", Value::Null),
        ("group_index", Value::Null),
        ("argsrepr", json!("()")),
        ("kwargsrepr", json!("{}")),
        ("replaced_task_nesting", json!(0)),
        ("stamped_headers", Value::Null),
        ("stamps", json!({})),
    ]
}

fn headers(headers: &Headers) -> Map<String, Value> {
    let time = |at: Option<Timestamp>| at.map(|at| moment::show(at).to_string());
    let id = headers.id.to_string();
    let (hard, soft) = headers.timelimit.unwrap_or_default();
    let mut map = Map::new();
    for (name, value) in unused() {
        map.insert(name.to_owned(), value);
    }
    for (name, value) in &headers.extra {
        map.insert(name.clone(), value.clone());
    }
    let known = [
        ("lang", json!(headers.lang)),
        ("task", json!(headers.task)),
        ("eta", json!(time(headers.eta))),
        ("expires", json!(time(headers.expires))),
        ("group", json!(headers.group)),
        ("retries", json!(headers.retries)),
        ("timelimit", json!([seconds(hard), seconds(soft)])),
        (
            "root_id",
            json!(headers.root_id.as_ref().unwrap_or(&headers.id)),
        ),
        ("parent_id", json!(headers.parent_id)),
        ("origin", json!(headers.origin)),
        ("ignore_result", json!(headers.ignore_result)),
        ("id", json!(id)),
    ];
    for (name, value) in known {
        map.insert(name.to_owned(), value);
    }
    map
}

/// A time limit as people write it: a whole number where it is one.
pub(crate) fn seconds(limit: Option<f64>) -> Value {
    match limit {
        #[allow(
            clippy::cast_possible_truncation,
            reason = "it is whole, and limits beyond 2^53 s are none"
        )]
        Some(whole) if whole.fract() == 0.0 && whole.abs() < 9e15 => json!(whole as i64),
        limit => json!(limit),
    }
}

fn correlation_id(message: &Message) -> String {
    let id = || message.headers.id.to_string();
    message.correlation_id.clone().unwrap_or_else(id)
}

/// The time left until `at`, in milliseconds.
pub(crate) fn expiration(at: Timestamp, now: Timestamp) -> String {
    let left_ms = at.as_millisecond().saturating_sub(now.as_millisecond());
    left_ms.max(0).to_string()
}

/// What kombu writes beside a content type: the character set of texts.
pub fn content_encoding(content_type: ContentType) -> &'static str {
    match content_type {
        ContentType::Json | ContentType::Yaml | ContentType::Text => "utf-8",
        _ => "binary",
    }
}

/// The content type of a MIME type, whatever parameters follow it.
pub(crate) fn known_content_type(mime: &str) -> Result<ContentType, DecodeError> {
    let plain = mime.split(';').next().unwrap_or_default().trim();
    let plain = if plain.eq_ignore_ascii_case("text/plain") {
        "application/text"
    } else {
        plain
    };
    ContentType::from_mime(plain)
        .ok_or_else(|| DecodeError::ContentType(mime.chars().take(80).collect()))
}

/// Refuses a character set other than UTF-8 and what is part of it.
pub(crate) fn check_encoding(encoding: &str) -> Result<(), DecodeError> {
    let known = ["utf-8", "binary", "utf8", "us-ascii", "ascii", ""];
    if known.iter().any(|name| name.eq_ignore_ascii_case(encoding)) {
        return Ok(());
    }
    Err(DecodeError::ContentEncoding(
        encoding.chars().take(80).collect(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::task::encode_body;
    use celeriac_core::{CallOptions, TaskOptions};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn message(options: &CallOptions) -> Message {
        let body = encode_body(ContentType::Json, &(2, 3)).unwrap();
        Message::new("shop.add", body, options, &TaskOptions::DEFAULT, NOW)
    }

    #[test]
    fn every_header_of_protocol_2_is_written() {
        let wire = WireMessage::encode(&message(&CallOptions::default()), NOW);
        let mut names: Vec<_> = wire.headers.keys().map(String::as_str).collect();
        names.sort_unstable();
        let mut all = HEADERS;
        all.sort_unstable();
        assert_eq!(names, all);
        assert_eq!(
            wire.properties.correlation_id.as_deref(),
            wire.headers["id"].as_str()
        );
    }

    #[test]
    fn limits_and_expiry_are_written_as_python_does() {
        let wire = WireMessage::encode(
            &message(&CallOptions {
                time_limit: Some(Duration::from_secs(30)),
                soft_time_limit: Some(Duration::from_millis(1500)),
                expires: Some(Duration::from_secs(60)),
                ..CallOptions::default()
            }),
            NOW,
        );
        assert_eq!(wire.headers["timelimit"], json!([30, 1.5]));
        assert_eq!(wire.headers["expires"], "1970-01-01T00:01:00+00:00");
        assert_eq!(wire.properties.expiration.as_deref(), Some("60000"));
    }

    #[test]
    fn a_message_comes_back_as_it_went() {
        let mut sent = message(&CallOptions::default());
        sent.headers
            .extra
            .insert("mine".to_owned(), json!({"a": [1]}));
        sent.reply_to = Some("somewhere".to_owned());
        sent.priority = 7;
        let back = WireMessage::encode(&sent, NOW).decode().unwrap();
        assert_eq!(back.headers.extra["mine"], json!({"a": [1]}));
        assert_eq!(
            WireMessage::encode(&back, NOW),
            WireMessage::encode(&sent, NOW)
        );
    }

    #[test]
    fn a_compressed_message_stays_one() {
        let mut sent = message(&CallOptions::default());
        let plain = sent.body.clone();
        sent.headers
            .extra
            .insert("compression".to_owned(), json!("gzip"));
        let wire = WireMessage::encode(&sent, NOW);
        assert_eq!(wire.headers["compression"], "application/x-gzip");
        assert_ne!(wire.body, plain.bytes);
        let again = WireMessage::encode(&wire.clone().decode().unwrap(), NOW);
        assert_eq!(again, wire);
        assert_eq!(wire.clone().decode().unwrap().body, plain);
        let too_large = wire.decode_within(3).unwrap_err();
        assert!(
            too_large.to_string().contains("limit of 3 bytes"),
            "{too_large}"
        );
    }

    #[test]
    fn what_is_malformed_is_said() {
        let good = WireMessage::encode(&message(&CallOptions::default()), NOW);
        let with = |change: fn(&mut WireMessage)| {
            let mut bad = good.clone();
            change(&mut bad);
            bad.decode().unwrap_err().to_string()
        };
        for (error, part) in [
            (with(|m| drop(m.headers.remove("id"))), "missing field `id`"),
            (
                with(|m| drop(m.headers.insert("eta".into(), json!(1)))),
                "headers:",
            ),
            (with(|m| drop(m.headers.remove("task"))), "name a task"),
            (
                with(|m| m.properties.content_type.clear()),
                "content type ``",
            ),
            (
                with(|m| m.properties.content_encoding = "latin-1".into()),
                "latin-1",
            ),
        ] {
            assert!(error.contains(part), "{error}");
        }
    }
}
