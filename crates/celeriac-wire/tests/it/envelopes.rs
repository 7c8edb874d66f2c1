//! What kombu puts into Redis is read, and written the same.

use celeriac_wire::envelope::{self, Incoming, Route};
use celeriac_wire::{Envelope, WireMessage};
use jiff::Timestamp;
use serde_json::Value;

use crate::captures;

#[test]
fn every_captured_envelope_is_written_as_it_was_read() {
    let mut count = 0;
    for (file, found) in captures::all() {
        for bytes in &found.envelopes {
            let envelope = Envelope::decode(bytes).unwrap_or_else(|e| panic!("{file}: {e}"));
            let written: Value = serde_json::from_slice(&envelope.encode()).unwrap();
            let read: Value = serde_json::from_slice(bytes).unwrap();
            assert_eq!(written, read, "{file}");
            count += 1;
        }
    }
    assert!(count > 100, "{count} envelopes");
}

#[test]
fn the_direct_way_reads_and_writes_what_the_steps_do() {
    let mut count = 0;
    for (file, found) in captures::all() {
        for bytes in &found.envelopes {
            let envelope = Envelope::decode(bytes).unwrap();
            let Ok(message) = envelope.message.clone().decode() else {
                assert!(Incoming::read(bytes).is_err(), "{file}");
                continue;
            };
            let mut incoming = Incoming::read(bytes).unwrap_or_else(|e| panic!("{file}: {e}"));
            let through = incoming.message.exchange.take();
            let through = through.map(|it| (it.exchange.clone(), it.routing_key.clone()));
            let (exchange, key) = (&envelope.exchange, &envelope.routing_key);
            let expected = (!exchange.is_empty()).then(|| (exchange.clone(), key.clone()));
            assert_eq!(through, expected, "{file}");
            assert_eq!(incoming.message, message, "{file}");
            assert_eq!(incoming.route.delivery_tag, envelope.delivery_tag);

            let route = Route {
                exchange: incoming.route.exchange.as_str(),
                routing_key: &incoming.route.routing_key,
                delivery_tag: &incoming.route.delivery_tag,
                redelivered: incoming.route.redelivered,
            };
            let now = Timestamp::UNIX_EPOCH;
            let mut written = Vec::new();
            envelope::write(&message, &route, now, &mut written);
            let mut by_steps = envelope;
            by_steps.message = WireMessage::encode(&message, now);
            by_steps.extra.clear();
            let written: Value = serde_json::from_slice(&written).unwrap();
            let expected: Value = serde_json::from_slice(&by_steps.encode()).unwrap();
            assert_eq!(written, expected, "{file}");
            count += 1;
        }
    }
    assert!(count > 80, "{count} messages");
}
