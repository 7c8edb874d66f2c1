//! Everything in `spec/celery` that Celery wrote, found by its shape.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use base64_simd::STANDARD;
use bytes::Bytes;
use celeriac_wire::{Properties, WireMessage};
use serde_json::{Map, Value};

/// Files that hold no message and no result, and what they hold.
const NOTHING_OF_OURS: [(&str, &str); 9] = [
    (
        "events-amqp.json",
        "events, of which the bodies were kept decoded only",
    ),
    ("results-redis/ignore-result.json", "that nothing is stored"),
    ("traces/amqp-client-publish.json", "AMQP methods"),
    ("traces/amqp-worker-default.json", "AMQP methods"),
    ("traces/amqp-worker-priority.json", "AMQP methods"),
    ("traces/redis-publish.json", "commands, cut short"),
    ("traces/redis-task-roundtrip.json", "commands, cut short"),
    ("traces/redis-worker-start.json", "commands"),
    ("traces/redis-worker-stop.json", "commands"),
];

/// What one file holds.
#[derive(Default)]
pub(crate) struct Captures {
    /// Elements of Redis lists and channels, as bytes.
    pub(crate) envelopes: Vec<Vec<u8>>,
    /// Messages of AMQP.
    pub(crate) amqp: Vec<WireMessage>,
    /// Stored results, as bytes.
    pub(crate) results: Vec<Vec<u8>>,
}

/// The captures of every file, by its name.
pub(crate) fn all() -> BTreeMap<String, Captures> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../spec/celery");
    let mut files = BTreeMap::new();
    read_folder(&folder, "", &mut files);
    assert!(files.len() > 100, "the captures are there");
    for (file, found) in &files {
        let count = found.envelopes.len() + found.amqp.len() + found.results.len();
        let named = NOTHING_OF_OURS.iter().any(|nothing| nothing.0 == file);
        assert_eq!(count == 0, named, "{file} holds {count} captures");
    }
    files
}

fn read_folder(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Captures>) {
    for entry in fs::read_dir(folder).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
        if entry.path().is_dir() {
            read_folder(&entry.path(), &format!("{name}/"), files);
        } else if entry
            .path()
            .extension()
            .is_some_and(|ending| ending == "json")
        {
            let document: Value = serde_json::from_slice(&fs::read(entry.path()).unwrap()).unwrap();
            let mut found = Captures::default();
            collect(&document, &mut found);
            files.insert(name, found);
        }
    }
}

fn collect(value: &Value, found: &mut Captures) {
    match value {
        Value::String(text) => collect_text(text, found),
        Value::Array(items) => items.iter().for_each(|item| collect(item, found)),
        Value::Object(fields) => {
            if let Some(message) = amqp(fields) {
                if fields["body_decoded"].get("status").is_some() {
                    found.results.push(message.body.to_vec());
                } else {
                    found.amqp.push(message);
                }
            } else if let Some(result) = database_row(fields) {
                found.results.push(result);
            } else {
                fields.values().for_each(|field| collect(field, found));
            }
        }
        _ => {}
    }
}

fn collect_text(text: &str, found: &mut Captures) {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) if fields.contains_key("properties") => {
            found.envelopes.push(text.as_bytes().to_vec());
        }
        Ok(Value::Object(fields)) if fields.contains_key("status") => {
            found.results.push(text.as_bytes().to_vec());
        }
        // What is held by a worker: the envelope, its exchange and its routing key.
        Ok(Value::Array(mut items))
            if items.first().is_some_and(|item| item["body"].is_string()) =>
        {
            found
                .envelopes
                .push(serde_json::to_vec(&items.remove(0)).unwrap());
        }
        _ => {}
    }
}

fn amqp(fields: &Map<String, Value>) -> Option<WireMessage> {
    let body = fields.get("body_b64")?.as_str()?;
    let properties = &fields["properties"];
    let text = |name: &str| properties.get(name)?.as_str().map(ToOwned::to_owned);
    let byte = |name: &str| u8::try_from(properties.get(name)?.as_u64()?).ok();
    Some(WireMessage {
        headers: fields["headers"].as_object()?.clone(),
        properties: Properties {
            correlation_id: text("correlation_id"),
            reply_to: text("reply_to"),
            delivery_mode: byte("delivery_mode")?,
            priority: byte("priority"),
            content_type: text("content_type")?,
            content_encoding: text("content_encoding")?,
            expiration: text("expiration"),
        },
        body: Bytes::from(STANDARD.decode_to_vec(body).unwrap()),
    })
}

/// A row of a table of results, put together as the backend itself would.
fn database_row(fields: &Map<String, Value>) -> Option<Vec<u8>> {
    let result: Value = serde_json::from_str(fields.get("result_text")?.as_str()?).unwrap();
    let meta = serde_json::json!({
        "status": fields.get("status")?,
        "result": result,
        "traceback": fields["traceback"],
        "children": [],
        "date_done": fields["date_done"].as_str().map(|at| format!("{}+00:00", at.replace(' ', "T"))),
        "task_id": fields["task_id"],
    });
    Some(serde_json::to_vec(&meta).unwrap())
}
