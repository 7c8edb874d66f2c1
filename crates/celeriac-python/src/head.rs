//! The heads of RUN and CALL: what a process is told of a message besides its body.

use std::collections::BTreeMap;

use celeriac_core::outcome::TaskError;
use celeriac_core::{Delivery, ErrorKind, Headers, TaskId};
use celeriac_wire::message::content_encoding;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

/// The head of a call.
#[derive(Debug, Serialize)]
pub(crate) struct RunHead<'a> {
    task: &'a str,
    id: &'a TaskId,
    headers: Inflated<'a>,
    properties: Properties<'a>,
    delivery_info: DeliveryInfo<'a>,
    content_type: &'static str,
    content_encoding: &'static str,
}

#[derive(Debug, Serialize)]
struct Properties<'a> {
    reply_to: Option<&'a str>,
    correlation_id: Correlation<'a>,
    priority: u8,
}

/// What the sender knows the answer by.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Correlation<'a> {
    Other(&'a str),
    Id(&'a TaskId),
}

#[derive(Debug, Serialize)]
struct DeliveryInfo<'a> {
    exchange: &'a str,
    routing_key: &'a str,
    priority: u8,
    redelivered: bool,
}

impl<'a> RunHead<'a> {
    pub(crate) fn of(delivery: &'a Delivery) -> Self {
        let message = &delivery.message;
        let headers = &message.headers;
        let (exchange, routing_key) = match &message.exchange {
            Some(by) => (&*by.exchange, &*by.routing_key),
            None => ("", delivery.queue.as_str()),
        };
        Self {
            task: &headers.task,
            id: &headers.id,
            headers: Inflated(headers),
            properties: Properties {
                reply_to: message.reply_to.as_deref(),
                correlation_id: message
                    .correlation_id
                    .as_deref()
                    .map_or(Correlation::Id(&headers.id), Correlation::Other),
                priority: message.priority,
            },
            delivery_info: DeliveryInfo {
                exchange,
                routing_key,
                priority: message.priority,
                redelivered: delivery.deliveries > 1,
            },
            content_type: message.body.content_type.as_str(),
            content_encoding: content_encoding(message.body.content_type),
        }
    }
}

/// The headers of a message of which the body is not compressed any more.
#[derive(Debug)]
struct Inflated<'a>(&'a Headers);

impl Serialize for Inflated<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if !self.0.extra.contains_key("compression") {
            return self.0.serialize(serializer);
        }
        let mut headers = self.0.clone();
        headers.extra.remove("compression");
        headers.serialize(serializer)
    }
}

/// What the service is asked, with what its method needs to know.
#[derive(Debug, Clone)]
pub(crate) struct CallHead {
    method: &'static str,
    fields: Map<String, Value>,
}

impl CallHead {
    pub(crate) fn new(method: &'static str, fields: Map<String, Value>) -> Self {
        Self { method, fields }
    }

    /// How the end of a call is told that its task did not come to by itself, and that is delivered
    /// again if it `comes_again`.
    pub(crate) fn ending(error: &TaskError, comes_again: bool) -> Self {
        let argument = || {
            error
                .as_raised()
                .and_then(|raised| raised.arguments.first())
        };
        let (method, fields) = match error.kind() {
            ErrorKind::Unregistered => ("unknown", json!({})),
            ErrorKind::Cancelled => match argument() {
                Some(signal) => ("revoked", json!({"reason": "terminated", "signal": signal})),
                None => ("revoked", json!({"reason": "revoked", "signal": null})),
            },
            ErrorKind::Expired => ("revoked", json!({"reason": "expired", "signal": null})),
            ErrorKind::TimeLimit => ("timeout", json!({"limit": argument()})),
            _ => (
                "lost",
                json!({"reason": error.message(), "comes_again": comes_again}),
            ),
        };
        match fields {
            Value::Object(fields) => Self::new(method, fields),
            _ => Self::new(method, Map::new()),
        }
    }

    /// Writes it, with the head of the call that it concerns.
    pub(crate) fn write(&self, run: Option<&Delivery>, out: &mut Vec<u8>) {
        struct Both<'a>(&'a CallHead, Option<RunHead<'a>>);
        impl Serialize for Both<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let fields: BTreeMap<_, _> = self.0.fields.iter().collect();
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("method", self.0.method)?;
                for (name, value) in fields {
                    map.serialize_entry(name, value)?;
                }
                if let Some(run) = &self.1 {
                    map.serialize_entry("run", run)?;
                }
                map.end()
            }
        }
        serde_json::to_writer(out, &Both(self, run.map(RunHead::of)))
            .expect("its keys are texts, and a Vec takes every byte");
    }
}

/// Writes the head of a call.
pub(crate) fn write_run(delivery: &Delivery, out: &mut Vec<u8>) {
    serde_json::to_writer(out, &RunHead::of(delivery))
        .expect("its keys are texts, and a Vec takes every byte");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    use celeriac_core::task::encode_body;
    use celeriac_core::{CallOptions, ContentType, ExchangeKey, Message, QueueName, TaskOptions};
    use jiff::Timestamp;

    fn delivery() -> Delivery {
        let body = encode_body(ContentType::Json, &(2, 3)).unwrap();
        let options = CallOptions {
            id: Some("an-id".into()),
            priority: Some(3),
            ..CallOptions::default()
        };
        let now = Timestamp::UNIX_EPOCH;
        let mut message = Message::new("shop.add", body, &options, &TaskOptions::DEFAULT, now);
        message
            .headers
            .extra
            .insert("compression".into(), "application/x-gzip".into());
        message.headers.extra.insert("mine".into(), 7.into());
        Delivery {
            tag: 1,
            queue: QueueName::default(),
            deliveries: 2,
            revoked: false,
            message,
        }
    }

    fn read(write: impl FnOnce(&mut Vec<u8>)) -> Value {
        let mut out = Vec::new();
        write(&mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn a_head_has_what_celery_makes_a_request_of() {
        let head = read(|out| write_run(&delivery(), out));
        assert_eq!(head["task"], "shop.add");
        assert_eq!(head["headers"]["id"], "an-id");
        assert_eq!(head["headers"]["mine"], 7);
        assert_eq!(head["headers"].get("compression"), None);
        assert_eq!(head["properties"]["correlation_id"], "an-id");
        assert_eq!(head["delivery_info"]["redelivered"], true);
        assert_eq!(head["delivery_info"]["exchange"], "");
        assert_eq!(head["delivery_info"]["routing_key"], "celery");
        let mut by_exchange = delivery();
        by_exchange.message.exchange = Some(Box::new(ExchangeKey {
            exchange: "world".to_owned(),
            routing_key: "news.sports".to_owned(),
        }));
        let info = &read(|out| write_run(&by_exchange, out))["delivery_info"];
        assert_eq!(info["exchange"], "world");
        assert_eq!(info["routing_key"], "news.sports");
        assert_eq!(head["delivery_info"]["priority"], 3);
        assert_eq!(head["content_type"], "application/json");
        assert_eq!(head["content_encoding"], "utf-8");
    }

    #[test]
    fn each_end_has_its_method() {
        let terminated = crate::pool::terminated("SIGTERM");
        for (error, method, field, value) in [
            (
                TaskError::new(ErrorKind::Unregistered, "x"),
                "unknown",
                "signal",
                Value::Null,
            ),
            (
                TaskError::cancelled(),
                "revoked",
                "reason",
                json!("revoked"),
            ),
            (terminated, "revoked", "signal", json!("SIGTERM")),
            (
                TaskError::new(ErrorKind::Expired, "x"),
                "revoked",
                "reason",
                json!("expired"),
            ),
            (
                TaskError::time_limit(Duration::from_secs(2)),
                "timeout",
                "limit",
                json!(2),
            ),
            (
                TaskError::lost("signal 9"),
                "lost",
                "reason",
                json!("signal 9"),
            ),
        ] {
            let delivery = delivery();
            let head = read(|out| CallHead::ending(&error, false).write(Some(&delivery), out));
            assert_eq!(head["method"], method);
            assert_eq!(head[field], value, "{head}");
            assert_eq!(head["run"]["id"], "an-id");
        }
    }
}
