//! What follows a call is what Celery's workers sent after it.

mod chords;
mod replaced;
mod steps;

use std::fs;
use std::path::Path;

use celeriac_core::{
    ContentType, Destination, Message, Payload, ResultState, StoredResult, TaskError, Trail,
};
use celeriac_wire::Envelope;
use celeriac_wire::canvas::{Follow, follow};
use jiff::Timestamp;
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp::UNIX_EPOCH;

fn celery(named: Option<Destination>, _: &str) -> Destination {
    named.unwrap_or_default()
}

fn capture(name: &str) -> Value {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/celery/followups-redis");
    serde_json::from_slice(&fs::read(folder.join(name)).unwrap()).unwrap()
}

fn message(captured: &Value) -> Message {
    let raw = captured["raw"].as_str().unwrap();
    Envelope::decode(raw.as_bytes())
        .unwrap()
        .message
        .decode()
        .unwrap()
}

fn end(message: &Message, outcome: Result<Value, TaskError>) -> StoredResult {
    let (state, value, error) = match outcome {
        Ok(value) => (ResultState::Success, Some(value), None),
        Err(error) => (ResultState::Failure, None, Some(error)),
    };
    StoredResult {
        id: message.headers.id.clone(),
        task: message.headers.task.clone(),
        state,
        value: value.map(|value| Payload::encode(ContentType::Json, &value).unwrap()),
        error,
        attempt: 1,
        stored_at: NOW,
        expires_at: NOW,
        trail: Trail::default(),
    }
}

/// What of a message is the same in each run, with the ids that `fixed` names.
fn comparable(message: &Message, fixed: &str) -> Value {
    let headers = &message.headers;
    let known = |id: &str| fixed.contains(id).then(|| id.to_owned());
    let mut body: Value = message.body.decode().unwrap();
    for name in ["callbacks", "errbacks", "chain"] {
        if body[2][name] == json!([]) {
            body[2][name] = Value::Null;
        }
    }
    let or = |name: &str, unset: Value| headers.extra.get(name).cloned().unwrap_or(unset);
    json!({
        "task": headers.task,
        "id": known(&headers.id.to_string()),
        "group": headers.group.as_deref().map(|group| known(group).is_some()),
        "group_index": or("group_index", Value::Null),
        "root_id": headers.root_id,
        "parent_id": headers.parent_id,
        "retries": headers.retries,
        "stamps": or("stamps", json!({})),
        "stamped_headers": or("stamped_headers", Value::Null),
        "body": body,
    })
}

/// Follows the call of a capture to `outcome`, and compares with what Celery sent.
fn follows(name: &str, outcome: Result<Value, TaskError>) {
    let captured = capture(name);
    let received = message(&captured["received"][0]);
    let follow = follow(&received, &end(&received, outcome), &celery, NOW).unwrap();
    let fixed =
        captured["received"].to_string() + std::str::from_utf8(&received.body.bytes).unwrap();
    let ours: Vec<_> = follow
        .messages
        .iter()
        .map(|(_, m)| comparable(m, &fixed))
        .collect();
    let sent = captured["sent_by_worker"].as_array().unwrap();
    let theirs: Vec<_> = sent
        .iter()
        .map(|it| comparable(&message(it), &fixed))
        .collect();
    assert_eq!(ours, theirs, "{name}");
    assert!(!ours.is_empty());
}

/// A message whose body ends with this workflow.
fn with_embed(embed: &Value) -> Message {
    let captured = capture("chain-next.json");
    let mut message = message(&captured["received"][0]);
    message.body = Payload::encode(ContentType::Json, &json!([[1], {}, embed])).unwrap();
    message
}

fn after(embed: &Value, value: &Value) -> Follow {
    let message = with_embed(embed);
    follow(&message, &end(&message, Ok(value.clone())), &celery, NOW).unwrap()
}

/// A call of `a` that `embed` follows, from a sender who waits at `answers`.
fn carrying(embed: &Value) -> Message {
    let captured = capture("chain-next.json");
    let mut message = message(&captured["received"][0]);
    message.body = Payload::encode(ContentType::Json, &json!([[], {}, embed])).unwrap();
    message.reply_to = Some("answers".to_owned());
    message
}
