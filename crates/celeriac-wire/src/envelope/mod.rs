//! What kombu puts into a Redis list or channel for one message: JSON with the body in base64.

mod direct;

use std::borrow::Cow;
use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize, Serializer};
use serde_json::{Map, Value};

use crate::base64;
use crate::message::{Properties, WireMessage};

pub use direct::{Incoming, IncomingError, Route, write};

/// A message with what a transport without headers has to carry beside it.
///
/// ```
/// # use celeriac_core::{CallOptions, ContentType, Message, TaskOptions, task::encode_body};
/// # use celeriac_wire::{Envelope, WireMessage};
/// # use jiff::Timestamp;
/// # let body = encode_body(ContentType::Json, &(2, 3)).unwrap();
/// # let now = Timestamp::UNIX_EPOCH;
/// # let message = Message::new("a", body, &CallOptions::default(), &TaskOptions::DEFAULT, now);
/// let envelope = Envelope::to_queue("celery", "a unique tag", WireMessage::encode(&message, now));
/// let read = Envelope::decode(&envelope.encode())?;
/// assert_eq!(read, envelope);
/// # Ok::<(), celeriac_wire::EnvelopeError>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Envelope {
    /// The message.
    pub message: WireMessage,
    /// The exchange it was sent to; empty for a queue named by the routing key.
    pub exchange: String,
    /// The key it was sent with.
    pub routing_key: String,
    /// What it is acknowledged by; made by the sender, unlike any other in the database.
    pub delivery_tag: String,
    /// Whether it was given back or restored after a delivery.
    pub redelivered: bool,
    /// Properties that are not known here, as they came.
    pub extra: Map<String, Value>,
}

/// Why bytes are no envelope.
///
/// None of these repeats the bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EnvelopeError {
    /// They are no JSON object of an envelope's shape.
    #[error("it is no envelope: {0}")]
    Json(String),
    /// The body is in an encoding nobody here knows.
    #[error("body encoding `{0}` is not known")]
    BodyEncoding(String),
    /// The body is said to be base64 and is not.
    #[error("its body is no base64")]
    Base64,
}

impl Envelope {
    /// An envelope for the queue of this name, sent without an exchange.
    pub fn to_queue(
        queue: impl Into<String>,
        delivery_tag: impl Into<String>,
        message: WireMessage,
    ) -> Self {
        Self {
            message,
            exchange: String::new(),
            routing_key: queue.into(),
            delivery_tag: delivery_tag.into(),
            redelivered: false,
            extra: Map::new(),
        }
    }

    /// The JSON that kombu reads. The body is base64.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(1024 + self.message.body.len() * 4 / 3);
        out.extend_from_slice(b"{\"body\": \"");
        base64::append(&self.message.body, &mut out);
        out.extend_from_slice(b"\", ");
        let properties = &self.message.properties;
        let rest = Rest {
            content_encoding: &properties.content_encoding,
            content_type: &properties.content_type,
            headers: WithFlag(&self.message.headers, self.redelivered),
            properties: Written {
                correlation_id: properties.correlation_id.as_deref(),
                reply_to: properties.reply_to.as_deref(),
                delivery_mode: properties.delivery_mode,
                expiration: properties.expiration.as_deref(),
                delivery_info: WrittenInfo {
                    exchange: &self.exchange,
                    routing_key: &self.routing_key,
                    redelivered: self.redelivered.then_some(true),
                },
                priority: properties.priority.unwrap_or(0),
                body_encoding: "base64",
                delivery_tag: &self.delivery_tag,
                extra: &self.extra,
            },
        };
        let opening = out.len();
        serde_json::to_writer(&mut out, &rest)
            .expect("all keys are text, so it has a form in JSON");
        out.remove(opening);
        out
    }

    /// Reads what kombu or [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    ///
    /// [`EnvelopeError`]. A missing delivery tag, exchange or routing key is one: such a message
    /// could be neither settled nor given back.
    pub fn decode(bytes: &[u8]) -> Result<Self, EnvelopeError> {
        let raw: Raw<'_> = serde_json::from_slice(bytes)
            .map_err(|error| EnvelopeError::Json(without_content(&error)))?;
        let mut headers = raw.headers.unwrap_or_default();
        let properties = raw.properties;
        let info = properties.delivery_info;
        let flagged = headers
            .remove("redelivered")
            .is_some_and(|flag| flag == true);
        let body = body(raw.body, properties.body_encoding.as_deref())?;
        Ok(Self {
            message: WireMessage {
                headers,
                properties: Properties {
                    correlation_id: properties.correlation_id,
                    reply_to: properties.reply_to,
                    delivery_mode: properties.delivery_mode.unwrap_or(2),
                    priority: Some(properties.priority.unwrap_or_default()),
                    content_type: raw.content_type.unwrap_or_default().into_owned(),
                    content_encoding: raw.content_encoding.unwrap_or_default().into_owned(),
                    expiration: properties.expiration,
                },
                body: Bytes::from(body),
            },
            exchange: info.exchange.into_owned(),
            routing_key: info.routing_key.into_owned(),
            delivery_tag: properties.delivery_tag,
            redelivered: flagged || info.redelivered == Some(true),
            extra: properties.extra,
        })
    }
}

/// The bytes of a body that is base64 or plain text.
fn body(text: Cow<'_, str>, encoding: Option<&str>) -> Result<Vec<u8>, EnvelopeError> {
    match encoding {
        Some("base64") => base64::decode(&text).ok_or(EnvelopeError::Base64),
        None | Some("utf-8" | "utf8" | "") => Ok(text.into_owned().into_bytes()),
        Some(other) => Err(EnvelopeError::BodyEncoding(
            other.chars().take(80).collect(),
        )),
    }
}

#[derive(Serialize)]
struct Rest<'a> {
    #[serde(rename = "content-encoding")]
    content_encoding: &'a str,
    #[serde(rename = "content-type")]
    content_type: &'a str,
    headers: WithFlag<'a>,
    properties: Written<'a>,
}

/// Headers, and the mark of a message that was delivered before.
struct WithFlag<'a>(&'a Map<String, Value>, bool);

impl Serialize for WithFlag<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let flag = self.1.then_some(("redelivered", &Value::Bool(true)));
        let headers = self.0.iter().map(|(name, value)| (name.as_str(), value));
        serializer.collect_map(headers.chain(flag))
    }
}

#[derive(Serialize)]
struct Written<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reply_to: Option<&'a str>,
    delivery_mode: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    expiration: Option<&'a str>,
    delivery_info: WrittenInfo<'a>,
    priority: u8,
    body_encoding: &'static str,
    delivery_tag: &'a str,
    #[serde(flatten)]
    extra: &'a Map<String, Value>,
}

#[derive(Serialize)]
struct WrittenInfo<'a> {
    exchange: &'a str,
    routing_key: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    redelivered: Option<bool>,
}

#[derive(Deserialize)]
struct Raw<'a> {
    #[serde(borrow)]
    body: Cow<'a, str>,
    #[serde(borrow, rename = "content-encoding")]
    content_encoding: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "content-type")]
    content_type: Option<Cow<'a, str>>,
    headers: Option<Map<String, Value>>,
    #[serde(borrow)]
    properties: RawProperties<'a>,
}

#[derive(Deserialize)]
struct RawProperties<'a> {
    correlation_id: Option<String>,
    reply_to: Option<String>,
    #[serde(default, deserialize_with = "delivery_mode")]
    delivery_mode: Option<u8>,
    #[serde(default, deserialize_with = "digits")]
    expiration: Option<String>,
    #[serde(borrow)]
    delivery_info: RawInfo<'a>,
    #[serde(default, deserialize_with = "priority")]
    priority: Option<u8>,
    #[serde(borrow)]
    body_encoding: Option<Cow<'a, str>>,
    delivery_tag: String,
    #[serde(flatten)]
    extra: Map<String, Value>,
}

#[derive(Deserialize)]
struct RawInfo<'a> {
    #[serde(borrow)]
    exchange: Cow<'a, str>,
    #[serde(borrow)]
    routing_key: Cow<'a, str>,
    redelivered: Option<bool>,
}

/// A text, or a number as its digits.
fn digits<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Ok(match Option::<Value>::deserialize(deserializer)? {
        Some(Value::String(text)) => Some(text),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => None,
    })
}

/// A delivery mode; what is none counts as absent.
fn delivery_mode<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u8>, D::Error> {
    let mode = Value::deserialize(deserializer)?.as_u64();
    Ok(mode.and_then(|mode| u8::try_from(mode).ok()))
}

/// A priority, held to what a byte can be.
pub(crate) fn priority<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<u8>, D::Error> {
    let number = Option::<f64>::deserialize(deserializer)?;
    #[allow(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it is held to what a byte can be"
    )]
    Ok(number.map(|number| number.clamp(0.0, 255.0) as u8))
}

/// What is wrong with some JSON, and where, without the text that is wrong.
pub(crate) fn without_content(error: &serde_json::Error) -> String {
    struct Place<'a>(&'a serde_json::Error);
    impl fmt::Display for Place<'_> {
        fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(
                formatter,
                " at line {} column {}",
                self.0.line(),
                self.0.column()
            )
        }
    }
    match error.classify() {
        serde_json::error::Category::Eof => "the JSON ends too soon".to_owned(),
        serde_json::error::Category::Syntax => format!("no JSON{}", Place(error)),
        _ => {
            let text = error.to_string();
            match text.strip_prefix("missing field ") {
                Some(_) => text,
                None => format!("a field has the wrong type{}", Place(error)),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn envelope() -> Value {
        json!({
            "body": "W10=",
            "content-encoding": "utf-8",
            "content-type": "application/json",
            "headers": {"task": "a", "id": "x"},
            "properties": {
                "correlation_id": "x",
                "reply_to": "r",
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "celery"},
                "priority": 5,
                "body_encoding": "base64",
                "delivery_tag": "t",
                "mine": [1],
            }
        })
    }

    fn decode(envelope: &Value) -> Result<Envelope, EnvelopeError> {
        Envelope::decode(&serde_json::to_vec(envelope).unwrap())
    }

    #[test]
    fn an_envelope_comes_back_as_it_came() {
        let read = decode(&envelope()).unwrap();
        assert_eq!(&read.message.body[..], b"[]");
        assert_eq!(read.message.properties.priority, Some(5));
        let written: Value = serde_json::from_slice(&read.encode()).unwrap();
        assert_eq!(written, envelope());
    }

    #[test]
    fn a_redelivery_is_marked_in_both_places() {
        let mut sent = decode(&envelope()).unwrap();
        sent.redelivered = true;
        let written: Value = serde_json::from_slice(&sent.encode()).unwrap();
        assert_eq!(written["headers"]["redelivered"], true);
        assert_eq!(written["properties"]["delivery_info"]["redelivered"], true);
        assert_eq!(decode(&written).unwrap(), sent);
    }

    #[test]
    fn a_plain_body_is_read_as_it_is() {
        let mut plain = envelope();
        plain["body"] = json!("[\"ä\"]");
        for encoding in [Value::Null, json!("utf-8")] {
            plain["properties"]["body_encoding"] = encoding;
            assert_eq!(
                &decode(&plain).unwrap().message.body[..],
                "[\"ä\"]".as_bytes()
            );
        }
    }

    #[test]
    fn what_could_not_be_settled_is_refused() {
        for path in [
            "/properties/delivery_tag",
            "/properties/delivery_info/exchange",
        ] {
            let mut bad = envelope();
            *bad.pointer_mut(path).unwrap() = Value::Null;
            assert!(decode(&bad).is_err(), "{path}");
        }
        let mut bad = envelope();
        bad["properties"]
            .as_object_mut()
            .unwrap()
            .remove("delivery_info");
        let error = decode(&bad).unwrap_err().to_string();
        assert!(error.contains("missing field `delivery_info`"), "{error}");
    }

    #[test]
    fn bytes_that_are_no_envelope_are_not_repeated() {
        let mut no_base64 = envelope();
        no_base64["body"] = json!("secret!");
        assert_eq!(decode(&no_base64), Err(EnvelopeError::Base64));
        for bytes in [
            &b"secret"[..],
            b"{\"body\": \"secret\"",
            b"[\"secret\"]",
            b"\xff\xfe",
            b"",
        ] {
            let error = Envelope::decode(bytes).unwrap_err().to_string();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
