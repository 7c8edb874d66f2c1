//! What Celery sends is understood, and what we send of it is the same.

use celeriac_core::moment;
use celeriac_wire::{DecodeError, Envelope, WireMessage};
use jiff::Timestamp;
use serde_json::Value;

use crate::captures;

/// When `message` was sent, as far as what it says of its expiry depends on it.
fn sent_at(message: &WireMessage) -> Timestamp {
    let expires = message.headers.get("expires").and_then(Value::as_str);
    let left = message.properties.expiration.as_deref();
    match (expires, left) {
        (Some(expires), Some(left)) => {
            let ms = moment::read(expires).unwrap().as_millisecond() - left.parse::<i64>().unwrap();
            Timestamp::from_millisecond(ms).unwrap()
        }
        _ => Timestamp::UNIX_EPOCH,
    }
}

/// Makes what may differ equal, if it says the same.
///
/// There are three such things. A time is written in UTC: the header then names the same instant in
/// another way. A priority that is not there is 0, and is written. And a compressed body depends on
/// the version of the compressor, so what it inflates to is compared.
fn level(message: &mut WireMessage) {
    for name in ["eta", "expires"] {
        if let Some(Value::String(text)) = message.headers.get_mut(name) {
            *text = moment::show(moment::read(text).unwrap()).to_string();
        }
    }
    message.properties.priority.get_or_insert(0);
    if message.headers.contains_key("compression") {
        message.body = message.clone().decode().unwrap().body.bytes;
    }
}

fn check(file: &str, message: &WireMessage) {
    let decoded = message
        .clone()
        .decode()
        .unwrap_or_else(|e| panic!("{file}: {e}"));
    let mut written = WireMessage::encode(&decoded, sent_at(message));
    let mut read = message.clone();
    level(&mut written);
    level(&mut read);
    assert_eq!(written, read, "{file}");
}

#[test]
fn every_captured_task_message_is_written_as_it_was_read() {
    let mut count = 0;
    for (file, found) in captures::all() {
        let enveloped = found
            .envelopes
            .iter()
            .map(|e| Envelope::decode(e).unwrap().message);
        for message in enveloped.chain(found.amqp) {
            if message.headers.contains_key("task") {
                check(&file, &message);
                count += 1;
            }
        }
    }
    assert!(count > 130, "{count} messages");
}

#[test]
fn events_and_control_messages_are_no_calls() {
    let mut count = 0;
    for (file, found) in captures::all() {
        let enveloped = found
            .envelopes
            .iter()
            .map(|e| Envelope::decode(e).unwrap().message);
        for message in enveloped.chain(found.amqp) {
            let of_tasks = message.headers.contains_key("task") || file.contains("protocol1");
            if !of_tasks {
                assert_eq!(message.decode(), Err(DecodeError::NoTask), "{file}");
                count += 1;
            }
        }
    }
    assert!(count > 10, "{count} messages");
}

#[test]
fn a_captured_message_of_protocol_1_is_the_call_it_makes() {
    let found = &captures::all()["tasks-redis/protocol1.json"];
    let wire = Envelope::decode(&found.envelopes[0]).unwrap().message;
    let reply_to = wire.properties.reply_to.clone();
    let message = wire.decode().unwrap();
    assert_eq!(message.headers.task, "wire.add");
    assert_eq!(
        message.headers.id.to_string(),
        "b9a54799-246e-45f7-9a99-67131defac9d"
    );
    let eta = message.headers.eta.unwrap();
    assert_eq!(
        moment::show(eta).to_string(),
        "2026-11-20T19:28:55.934714+00:00"
    );
    assert_eq!(message.reply_to, reply_to);
    let body: Value = message.body.decode().unwrap();
    assert_eq!(body[0], serde_json::json!([2, 3]));
    assert_eq!(body[2]["callbacks"][0]["task"], "wire.mul");
    assert_eq!(body[2]["chord"], Value::Null);
}
