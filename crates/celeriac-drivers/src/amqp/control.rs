//! What is broadcast to workers, and what they answer.
//!
//! Revocations travel as Celery's remote control has them, so that workers in Python obey ours and
//! we obey theirs. Questions of ours have an exchange of their own, which only our consumers hear.
//!
//! # Sources
//!
//! Celery's pidbox: a fanout exchange, a map with `method`, `arguments` and `destination`.

use std::time::Duration;

use celeriac_core::{ConsumerInfo, QueueName, TaskId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::shelf::Load;
use super::transport::{Description, Outgoing, Properties};

/// Something that was broadcast.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// These calls are revoked, and those that run are ended too if so said.
    Revoked(Vec<TaskId>, bool),
    /// Somebody asks what we hold, and wants the answer in this queue.
    Asked(String),
    /// It is not for us.
    Nothing,
}

/// What a consumer says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) name: String,
    pub(crate) pid: u32,
    pub(crate) started_ms: i64,
    pub(crate) queues: Vec<Lane>,
}

/// What a consumer holds of one queue.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lane {
    pub(crate) name: QueueName,
    pub(crate) ready: u64,
    pub(crate) later: u64,
    pub(crate) held: u64,
}

impl Lane {
    pub(crate) fn new(name: QueueName, load: Load) -> Self {
        Self {
            name,
            ready: load.ready as u64,
            later: load.later as u64,
            held: load.handed as u64,
        }
    }
}

impl Report {
    /// The same, for those who list consumers.
    pub(crate) fn into_info(self) -> ConsumerInfo {
        ConsumerInfo {
            held: self.queues.iter().map(|lane| lane.held).sum(),
            queues: self.queues.into_iter().map(|lane| lane.name).collect(),
            name: self.name,
            pid: self.pid,
            started_at: Timestamp::from_millisecond(self.started_ms).unwrap_or_default(),
            silent_for: Duration::ZERO,
        }
    }
}

fn message(
    exchange: &str,
    routing_key: &str,
    body: &Value,
    headers: &Map<String, Value>,
) -> Option<Outgoing> {
    let description = Description {
        content_type: "application/json",
        content_encoding: "utf-8",
        persistent: false,
        ..Description::default()
    };
    Some(Outgoing {
        exchange: exchange.to_owned(),
        routing_key: routing_key.to_owned(),
        mandatory: false,
        properties: Properties::new(&description, headers).ok()?,
        body: body.to_string().into(),
    })
}

/// The broadcast that revokes `ids`.
pub(crate) fn revoke(pidbox: &str, ids: &[TaskId]) -> Option<Outgoing> {
    let body = json!({
        "method": "revoke",
        "arguments": {"task_id": ids, "terminate": true, "signal": "SIGTERM"},
        "destination": null,
        "pattern": null,
        "matcher": null,
    });
    let headers = Map::from_iter([
        ("clock".to_owned(), json!(1)),
        ("expires".to_owned(), json!(0)),
    ]);
    message(pidbox, "", &body, &headers)
}

/// The question what everybody holds.
pub(crate) fn question(control: &str, answers: &str) -> Option<Outgoing> {
    message(
        control,
        "",
        &json!({"celeriac": "report", "answers": answers}),
        &Map::new(),
    )
}

/// The answer to it.
pub(crate) fn answer(answers: &str, report: &Report) -> Option<Outgoing> {
    let body = serde_json::to_value(report).ok()?;
    message("", answers, &body, &Map::new())
}

#[derive(Deserialize)]
struct Broadcast {
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    arguments: Option<Map<String, Value>>,
    #[serde(default)]
    destination: Option<Vec<String>>,
    #[serde(default)]
    pattern: Option<String>,
    #[serde(default)]
    celeriac: Option<String>,
    #[serde(default)]
    answers: Option<String>,
}

/// What a broadcast means to the worker called `name`.
pub(crate) fn hear(body: &[u8], name: &str) -> Heard {
    let Ok(broadcast) = serde_json::from_slice::<Broadcast>(body) else {
        return Heard::Nothing;
    };
    if let (Some("report"), Some(answers)) = (broadcast.celeriac.as_deref(), broadcast.answers) {
        return Heard::Asked(answers);
    }
    let for_us = match &broadcast.destination {
        Some(nodes) => nodes.iter().any(|node| node == name),
        None => broadcast.pattern.is_none(),
    };
    if !for_us || broadcast.method.as_deref() != Some("revoke") {
        return Heard::Nothing;
    }
    let arguments = broadcast.arguments.unwrap_or_default();
    let ids = match arguments.get("task_id") {
        Some(Value::String(id)) => vec![id.as_str().into()],
        Some(Value::Array(ids)) => ids
            .iter()
            .filter_map(Value::as_str)
            .map(TaskId::from)
            .collect(),
        _ => return Heard::Nothing,
    };
    let terminate = arguments.get("terminate").and_then(Value::as_bool);
    Heard::Revoked(ids, terminate.unwrap_or(false))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn our_own_revocation_is_heard() {
        let ids = ["a".into(), "b".into()];
        let sent = revoke("celery.pidbox", &ids).unwrap();
        assert_eq!(
            hear(&sent.body, "me@here"),
            Heard::Revoked(ids.into(), true)
        );
    }

    #[test]
    fn a_revocation_of_celerys_client_is_heard_by_those_it_names() {
        let body = br#"{"method":"revoke","arguments":{"task_id":"x","terminate":false,
            "signal":"SIGTERM"},"destination":["me@here"],"pattern":null,"matcher":null}"#;
        assert_eq!(
            hear(body, "me@here"),
            Heard::Revoked(vec!["x".into()], false)
        );
        assert_eq!(hear(body, "you@there"), Heard::Nothing);
    }

    #[test]
    fn a_question_is_told_from_a_command() {
        let sent = question("control", "answers").unwrap();
        assert_eq!(hear(&sent.body, "me"), Heard::Asked("answers".to_owned()));
    }

    proptest! {
        #[test]
        fn no_broadcast_panics(body in prop::collection::vec(any::<u8>(), 0..60)) {
            hear(&body, "me");
        }
    }
}
