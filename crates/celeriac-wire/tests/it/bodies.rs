//! What a captured message carries for its task and for what follows is taken apart and put
//! together again.

use celeriac_core::{ContentType, Tree};
use celeriac_wire::{Body, BodyError, Composite, Envelope};
use jiff::Timestamp;

use crate::captures;

/// The bodies of all captured calls.
fn payloads() -> Vec<(String, celeriac_core::Payload)> {
    let mut payloads = Vec::new();
    for (file, found) in captures::all() {
        let enveloped = found
            .envelopes
            .iter()
            .map(|e| Envelope::decode(e).unwrap().message);
        for message in enveloped.chain(found.amqp) {
            if let Ok(message) = message.decode() {
                payloads.push((file.clone(), message.body));
            }
        }
    }
    payloads
}

/// What a body says, whatever the order of its fields. That nothing follows is said by null and by
/// an empty list.
fn said(payload: &celeriac_core::Payload) -> serde_json::Value {
    let tree = Tree::decode(payload.content_type, &payload.bytes).unwrap();
    let mut said: serde_json::Value = serde_json::from_str(&tree.to_json()).unwrap();
    for follows in said[2].as_object_mut().unwrap().values_mut() {
        if follows == &serde_json::json!([]) {
            *follows = serde_json::Value::Null;
        }
    }
    said
}

#[test]
fn every_captured_body_is_put_together_as_it_was() {
    let mut count = 0;
    for (file, payload) in payloads() {
        let decoded = Body::decode(&payload);
        if payload.content_type == ContentType::Pickle {
            assert!(matches!(decoded, Err(BodyError::Opaque(_))), "{file}");
            continue;
        }
        let body = decoded.unwrap_or_else(|e| panic!("{file}: {e}"));
        let again = body.encode();
        assert_eq!(again.content_type, payload.content_type);
        assert_eq!(said(&again), said(&payload), "{file}");
        count += 1;
    }
    assert!(count > 130, "{count} bodies");
}

#[test]
fn every_captured_signature_is_a_call_or_comes_apart() {
    let mut calls = 0;
    let mut chords = 0;
    for (file, payload) in payloads() {
        let Ok(body) = Body::decode(&payload) else {
            continue;
        };
        let embed = body.embed;
        let follows = [
            embed.callbacks,
            embed.errbacks,
            embed.chain,
            embed.chord.into_iter().collect(),
        ];
        for signature in follows.into_iter().flatten() {
            match signature
                .composite()
                .unwrap_or_else(|e| panic!("{file}: {e}"))
            {
                None => {
                    let sent = signature.to_message(Timestamp::UNIX_EPOCH);
                    let message = sent.unwrap_or_else(|e| panic!("{file}: {e}")).message;
                    assert_eq!(message.headers.task, signature.task);
                    if let Some(id) = signature.id() {
                        assert_eq!(message.headers.id, id.into());
                    }
                    calls += 1;
                }
                Some(Composite::Chord { header, body }) => {
                    assert!(!header.is_empty() && body.is_some(), "{file}");
                    chords += 1;
                }
                Some(_) => {}
            }
        }
    }
    assert!(calls > 20, "{calls} calls");
    assert!(chords > 0, "{chords} chords");
}
