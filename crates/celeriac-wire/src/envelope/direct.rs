//! From an envelope to a message of core and back without what lies between: the way of every
//! message through Redis.
//!
//! # Invariants
//!
//! - It reads and writes what [`Envelope`] and [`WireMessage`](crate::WireMessage) do together, but
//!   for properties that are not known or not needed here, which it drops unread.

use std::borrow::Cow;
use std::io::Write as _;

use bytes::Bytes;
use celeriac_core::{ExchangeKey, Headers, Message, Payload, TaskId, moment};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Envelope, EnvelopeError, RawInfo, priority};
use crate::base64;
use crate::compression::{self, DEFAULT_INFLATED_LIMIT_BYTES};
use crate::message::{
    self, DecodeError, check_encoding, compression_of, expiration, inflated, known_content_type,
    seconds,
};

/// A message out of a Redis list, with what it is settled by.
#[derive(Debug, Clone, PartialEq)]
pub struct Incoming {
    /// The message.
    pub message: Message,
    /// Where it was sent, and what it is acknowledged by.
    pub route: Route<String>,
}

/// Where a message is sent, and what it is acknowledged by.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Route<T> {
    /// The exchange; empty for a queue named by the routing key.
    pub exchange: T,
    /// The routing key.
    pub routing_key: T,
    /// What it is acknowledged by, unlike any other in the database.
    pub delivery_tag: T,
    /// Whether it was given back or restored after a delivery.
    pub redelivered: bool,
}

/// Why bytes are no task call in an envelope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum IncomingError {
    /// They are no envelope.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The message in it is no call.
    #[error(transparent)]
    Message(#[from] DecodeError),
}

impl IncomingError {
    /// Whether its body inflates to more than was allowed: with a larger limit it may be a call.
    pub fn is_over_inflated_limit(&self) -> bool {
        matches!(self, Self::Message(error) if error.is_over_inflated_limit())
    }
}

impl Incoming {
    /// Reads an element of a list.
    ///
    /// # Errors
    ///
    /// [`IncomingError`].
    pub fn read(bytes: &[u8]) -> Result<Self, IncomingError> {
        Self::read_within(bytes, DEFAULT_INFLATED_LIMIT_BYTES)
    }

    /// The same with another limit on the inflated body.
    ///
    /// # Errors
    ///
    /// [`IncomingError`]; see [`IncomingError::is_over_inflated_limit`].
    pub fn read_within(bytes: &[u8], limit_bytes: usize) -> Result<Self, IncomingError> {
        let mut incoming = match serde_json::from_slice::<Direct<'_>>(bytes) {
            Ok(direct) => direct.into_incoming(limit_bytes)?,
            // Protocol 1, or what is malformed: the way through all steps says which.
            Err(_) => Self::read_by_steps(bytes, limit_bytes)?,
        };
        let route = &incoming.route;
        if !route.exchange.is_empty() {
            incoming.message.exchange = Some(Box::new(ExchangeKey {
                exchange: route.exchange.clone(),
                routing_key: route.routing_key.clone(),
            }));
        }
        Ok(incoming)
    }

    fn read_by_steps(bytes: &[u8], limit_bytes: usize) -> Result<Self, IncomingError> {
        let envelope = Envelope::decode(bytes)?;
        let route = Route {
            exchange: envelope.exchange,
            routing_key: envelope.routing_key,
            delivery_tag: envelope.delivery_tag,
            redelivered: envelope.redelivered,
        };
        let message = envelope.message.decode_within(limit_bytes)?;
        Ok(Self { message, route })
    }
}

/// Appends the envelope of `message`, sent at `now`, to `out`.
///
/// ```
/// # use celeriac_core::{CallOptions, ContentType, Message, TaskOptions, task::encode_body};
/// # use celeriac_wire::envelope::{self, Incoming, Route};
/// # use jiff::Timestamp;
/// # let body = encode_body(ContentType::Json, &(2, 3)).unwrap();
/// # let now = Timestamp::UNIX_EPOCH;
/// # let message = Message::new("a", body, &CallOptions::default(), &TaskOptions::DEFAULT, now);
/// let route = Route {
///     routing_key: "celery",
///     delivery_tag: "a unique tag",
///     ..Route::default()
/// };
/// let mut out = Vec::new();
/// envelope::write(&message, &route, now, &mut out);
/// assert_eq!(Incoming::read(&out)?.message.body, message.body);
/// # Ok::<(), envelope::IncomingError>(())
/// ```
pub fn write(message: &Message, route: &Route<&str>, now: Timestamp, out: &mut Vec<u8>) {
    let content_type = message.body.content_type;
    let headers = &message.headers;
    let compressed = compression_of(&headers.extra).and_then(|compression| {
        let body = compression::deflate(compression, &message.body.bytes).ok()?;
        Some((compression, body))
    });
    let (compression, body) = match &compressed {
        Some((compression, body)) => (Some(compression.as_str()), &body[..]),
        None => (None, &message.body.bytes[..]),
    };
    out.reserve(1024 + body.len() * 4 / 3);
    out.extend_from_slice(b"{\"body\": \"");
    base64::append(body, out);
    put(
        out,
        "\", \"content-encoding\": ",
        message::content_encoding(content_type),
    );
    put(out, ", \"content-type\": ", content_type.as_str());
    out.extend_from_slice(b", \"headers\": ");
    write_headers(headers, compression, route.redelivered, out);
    out.extend_from_slice(b", \"properties\": {\"correlation_id\": ");
    match &message.correlation_id {
        Some(id) => put(out, "", id),
        None => put_id(out, "", &headers.id),
    }
    if let Some(reply_to) = &message.reply_to {
        put(out, ", \"reply_to\": ", reply_to);
    }
    out.extend_from_slice(b", \"delivery_mode\": 2");
    if let Some(expires) = headers.expires {
        put(out, ", \"expiration\": ", &expiration(expires, now));
    }
    put(out, ", \"delivery_info\": {\"exchange\": ", route.exchange);
    put(out, ", \"routing_key\": ", route.routing_key);
    if route.redelivered {
        out.extend_from_slice(b", \"redelivered\": true");
    }
    put(out, "}, \"priority\": ", &message.priority);
    put(
        out,
        ", \"body_encoding\": \"base64\", \"delivery_tag\": ",
        route.delivery_tag,
    );
    out.extend_from_slice(b"}}");
}

/// Appends `text`, and `value` in JSON.
fn put(out: &mut Vec<u8>, text: &str, value: &(impl Serialize + ?Sized)) {
    out.extend_from_slice(text.as_bytes());
    serde_json::to_writer(out, value).expect("all keys are text, so it has a form in JSON");
}

/// Appends `text`, and an id in quotes. Most need no look for what has to be escaped.
fn put_id(out: &mut Vec<u8>, text: &str, id: &TaskId) {
    if id.is_uuid() {
        write!(out, "{text}\"{id}\"").expect("a buffer takes all it is given");
    } else {
        put(out, text, id);
    }
}

/// Headers in Celery's order, null where there is nothing to say.
fn write_headers(
    headers: &Headers,
    compression: Option<&str>,
    redelivered: bool,
    out: &mut Vec<u8>,
) {
    let extra = |name: &str| headers.extra.get(name);
    let time = |at: Option<Timestamp>| at.map(|at| moment::show(at).to_string());
    put(out, "{\"lang\": ", &headers.lang);
    put(out, ", \"task\": ", &headers.task);
    put_id(out, ", \"id\": ", &headers.id);
    put(out, ", \"shadow\": ", &extra("shadow"));
    put(out, ", \"eta\": ", &time(headers.eta));
    put(out, ", \"expires\": ", &time(headers.expires));
    put(out, ", \"group\": ", &headers.group);
    put(out, ", \"group_index\": ", &extra("group_index"));
    put(out, ", \"retries\": ", &headers.retries);
    let (hard, soft) = headers.timelimit.unwrap_or_default();
    put(out, ", \"timelimit\": ", &[seconds(hard), seconds(soft)]);
    put_id(
        out,
        ", \"root_id\": ",
        headers.root_id.as_ref().unwrap_or(&headers.id),
    );
    put(out, ", \"parent_id\": ", &headers.parent_id);
    put(
        out,
        ", \"argsrepr\": ",
        extra("argsrepr").unwrap_or(&Value::from("()")),
    );
    put(
        out,
        ", \"kwargsrepr\": ",
        extra("kwargsrepr").unwrap_or(&Value::from("{}")),
    );
    put(out, ", \"origin\": ", &headers.origin);
    put(out, ", \"ignore_result\": ", &headers.ignore_result);
    let nesting = extra("replaced_task_nesting");
    put(
        out,
        ", \"replaced_task_nesting\": ",
        nesting.unwrap_or(&Value::from(0)),
    );
    put(out, ", \"stamped_headers\": ", &extra("stamped_headers"));
    match extra("stamps") {
        Some(stamps) => put(out, ", \"stamps\": ", stamps),
        None => out.extend_from_slice(b", \"stamps\": {}"),
    }
    if let Some(compression) = compression {
        put(out, ", \"compression\": ", compression);
    }
    if redelivered {
        out.extend_from_slice(b", \"redelivered\": true");
    }
    for (name, value) in &headers.extra {
        if !is_written(name) {
            put(out, ", ", name);
            put(out, ": ", value);
        }
    }
    out.push(b'}');
}

/// Whether a header stands in its own place, if somebody put it among the further ones.
fn is_written(name: &str) -> bool {
    message::HEADERS.contains(&name) || matches!(name, "compression" | "redelivered")
}

/// An envelope of protocol 2 in which all is as it should be.
#[derive(Deserialize)]
struct Direct<'a> {
    #[serde(borrow)]
    body: Cow<'a, str>,
    #[serde(borrow, rename = "content-encoding")]
    content_encoding: Cow<'a, str>,
    #[serde(borrow, rename = "content-type")]
    content_type: Cow<'a, str>,
    headers: Headers,
    #[serde(borrow)]
    properties: DirectProperties<'a>,
}

#[derive(Deserialize)]
struct DirectProperties<'a> {
    #[serde(borrow)]
    correlation_id: Option<Cow<'a, str>>,
    reply_to: Option<String>,
    #[serde(borrow)]
    delivery_info: RawInfo<'a>,
    #[serde(default, deserialize_with = "priority")]
    priority: Option<u8>,
    #[serde(borrow)]
    body_encoding: Option<Cow<'a, str>>,
    delivery_tag: String,
}

impl Direct<'_> {
    fn into_incoming(self, limit_bytes: usize) -> Result<Incoming, IncomingError> {
        let mut headers = self.headers;
        let properties = self.properties;
        let info = properties.delivery_info;
        let flagged = headers
            .extra
            .remove("redelivered")
            .is_some_and(|flag| flag == true);
        let content_type = known_content_type(&self.content_type)?;
        check_encoding(&self.content_encoding)?;
        let mut body = super::body(self.body, properties.body_encoding.as_deref())?;
        if let Some(name) = headers
            .extra
            .get("compression")
            .filter(|name| !name.is_null())
        {
            body = inflated(name, &body, limit_bytes).map_err(DecodeError::Compression)?;
        }
        let correlation_id = properties.correlation_id;
        Ok(Incoming {
            message: Message {
                correlation_id: correlation_id
                    .filter(|other| TaskId::from(other.as_ref()) != headers.id)
                    .map(Cow::into_owned),
                headers,
                priority: properties.priority.unwrap_or(0),
                reply_to: properties.reply_to,
                exchange: None,
                body: Payload {
                    content_type,
                    bytes: Bytes::from(body),
                },
            },
            route: Route {
                exchange: info.exchange.into_owned(),
                routing_key: info.routing_key.into_owned(),
                delivery_tag: properties.delivery_tag,
                redelivered: flagged || info.redelivered == Some(true),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::WireMessage;
    use celeriac_core::task::encode_body;
    use celeriac_core::{CallOptions, ContentType, TaskOptions};
    use serde_json::json;

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const ROUTE: Route<&str> = Route {
        exchange: "e",
        routing_key: "k",
        delivery_tag: "t",
        redelivered: true,
    };

    fn message() -> Message {
        let options = CallOptions {
            expires: Some(std::time::Duration::from_secs(60)),
            ..CallOptions::default()
        };
        let body = encode_body(ContentType::Json, &("ä", 3)).unwrap();
        let mut message = Message::new("shop.add", body, &options, &TaskOptions::DEFAULT, NOW);
        message.headers.extra = json!({
            "mine": {"a": "\"quoted\""},
            "stamps": {"by": "me"},
            "group_index": 3,
            "compression": "zlib",
            "task": "not this one",
        })
        .as_object()
        .unwrap()
        .clone();
        message.reply_to = Some("r".to_owned());
        message.correlation_id = Some("c".to_owned());
        message
    }

    fn written(message: &Message) -> Vec<u8> {
        let mut out = Vec::new();
        write(message, &ROUTE, NOW, &mut out);
        out
    }

    #[test]
    fn it_writes_what_the_steps_write() {
        for id in ["67e55044-10b1-426f-9247-bb680e5fe0c8", "odd \" id"] {
            let mut message = message();
            message.headers.id = id.into();
            let mut by_steps = Envelope::to_queue("k", "t", WireMessage::encode(&message, NOW));
            by_steps.exchange = "e".to_owned();
            by_steps.redelivered = true;
            let directly: Value = serde_json::from_slice(&written(&message)).unwrap();
            let expected: Value = serde_json::from_slice(&by_steps.encode()).unwrap();
            assert_eq!(directly, expected);
        }
    }

    #[test]
    fn it_reads_what_the_steps_read() {
        let bytes = written(&message());
        let mut directly = Incoming::read(&bytes).unwrap();
        let by = directly.message.exchange.take().unwrap();
        assert_eq!((&*by.exchange, &*by.routing_key), ("e", "k"));
        assert_eq!(
            directly,
            Incoming::read_by_steps(&bytes, usize::MAX).unwrap()
        );
        assert_eq!(directly.message.body, message().body);
        assert!(directly.route.redelivered);
        assert_eq!(directly.message.correlation_id.as_deref(), Some("c"));
    }

    #[test]
    fn what_is_malformed_is_said_as_by_the_steps() {
        let good: Value = serde_json::from_slice(&written(&message())).unwrap();
        for (path, value, reason) in [
            ("/headers/task", json!(null), "headers: "),
            ("/headers/eta", json!(7), "headers: "),
            ("/content-type", json!("no type"), "`no type`"),
            ("/content-encoding", json!("latin-1"), "latin-1"),
            ("/body", json!("secret!"), "no base64"),
            ("/headers/compression", json!("zip"), "compression `zip`"),
            ("/properties/delivery_tag", json!(null), "wrong type"),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap() = value;
            let error = Incoming::read(&serde_json::to_vec(&bad).unwrap()).unwrap_err();
            assert!(error.to_string().contains(reason), "{path}: {error}");
        }
    }
    #[test]
    fn a_body_that_nobody_reads_here_passes_through_under_its_name() {
        let mut sent: Value = serde_json::from_slice(&written(&message())).unwrap();
        for name in ["application/x-mine", "application/X-Mine"] {
            sent["content-type"] = json!(name);
            let read = Incoming::read(&serde_json::to_vec(&sent).unwrap()).unwrap();
            assert_eq!(read.message.body.content_type.as_str(), name);
            let again: Value = serde_json::from_slice(&written(&read.message)).unwrap();
            assert_eq!(again["content-type"], name);
        }
    }
}
