//! The control channel that Python workers and clients share: revocations go out and come in.
//!
//! # Sources
//!
//! Celery's remote control: the request of `app.control.revoke`, and which nodes it is for.

use celeriac_core::TaskId;
use celeriac_wire::{Envelope, Properties, WireMessage};
use serde::Deserialize;
use serde_json::{Map, json};
use uuid::Uuid;

use super::failure::Failure;
use super::keys::Keys;
use super::link::{Call, Link};
use super::revocations::{AGE_US, MOST};
use super::scripts;

/// The exchange of control requests.
pub(super) const EXCHANGE: &str = "celery.pidbox";

/// Whether a revoked call that runs is interrupted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Running {
    /// It is.
    Interrupt,
    /// It goes on: only those that have not started are ended.
    GoesOn,
}

/// Remembers revoked calls for all consumers of ours.
pub(super) async fn remember(
    link: &Link,
    keys: &Keys,
    ids: &[String],
    running: Running,
) -> Result<(), Failure> {
    let mut call = Call::new(&scripts::REVOKE, keys.script());
    let flag = match running {
        Running::Interrupt => "!",
        Running::GoesOn => "-",
    };
    call.arg(flag).arg(MOST).arg(AGE_US).arg(ids);
    link.run::<u64>(call).await?;
    Ok(())
}

/// Tells Python workers of revoked calls.
pub(super) async fn broadcast(link: &Link, keys: &Keys, ids: &[TaskId]) -> Result<(), Failure> {
    let mut publish = redis::cmd("PUBLISH");
    publish.arg(keys.channel(EXCHANGE, "")).arg(request(ids));
    link.command(publish).await
}

fn request(ids: &[TaskId]) -> Vec<u8> {
    let ids: Vec<String> = ids.iter().map(TaskId::to_string).collect();
    let body = json!({
        "method": "revoke",
        "arguments": {"task_id": ids, "terminate": true, "signal": "SIGTERM"},
        "destination": null,
        "pattern": null,
        "matcher": null,
    });
    let headers: Map<_, _> = [
        ("clock".to_owned(), json!(1)),
        ("expires".to_owned(), json!(0)),
    ]
    .into_iter()
    .collect();
    let envelope = Envelope {
        message: WireMessage {
            headers,
            properties: Properties {
                delivery_mode: 2,
                priority: Some(0),
                content_type: "application/json".to_owned(),
                content_encoding: "utf-8".to_owned(),
                ..Properties::default()
            },
            body: body.to_string().into_bytes().into(),
        },
        exchange: EXCHANGE.to_owned(),
        routing_key: String::new(),
        delivery_tag: Uuid::new_v4().to_string(),
        redelivered: false,
        extra: Map::new(),
    };
    envelope.encode()
}

/// The calls that a request revokes, if it does and is for one of `nodes`.
pub(super) fn revoked_by(request: &[u8], nodes: &[String]) -> Option<(Vec<String>, Running)> {
    let envelope = Envelope::decode(request).ok()?;
    let request: Request = serde_json::from_slice(&envelope.message.body).ok()?;
    if !matches!(request.method.as_str(), "revoke" | "terminate") || !request.is_for(nodes) {
        return None;
    }
    let arguments = request.arguments;
    let terminate = arguments.terminate == Some(true) || request.method == "terminate";
    let ids = match arguments.task_id {
        Ids::One(id) => vec![id],
        Ids::Many(ids) => ids,
    };
    let running = if terminate {
        Running::Interrupt
    } else {
        Running::GoesOn
    };
    Some((ids, running))
}

#[derive(Deserialize)]
struct Request {
    method: String,
    arguments: Arguments,
    destination: Option<Vec<String>>,
    pattern: Option<String>,
    matcher: Option<String>,
}

#[derive(Deserialize)]
struct Arguments {
    task_id: Ids,
    terminate: Option<bool>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Ids {
    One(String),
    Many(Vec<String>),
}

impl Request {
    fn is_for(&self, nodes: &[String]) -> bool {
        if let Some(named) = &self.destination {
            return named.iter().any(|node| nodes.contains(node));
        }
        match (&self.pattern, self.matcher.as_deref()) {
            (Some(pattern), Some("glob")) => nodes.iter().any(|node| glob(pattern, node)),
            // A regular expression of Python's: what it means here nobody can say, so it is heeded.
            _ => true,
        }
    }
}

/// Whether a pattern with `*` and `?` matches the whole of `text`.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => {
                let Some((at, from)) = star else { return false };
                star = Some((at, from + 1));
                p = at + 1;
                t = from + 1;
            }
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nodes() -> Vec<String> {
        vec!["celeriac@here".to_owned()]
    }

    #[test]
    fn our_own_request_is_understood() {
        let sent = request(&["a".into(), "b".into()]);
        let ids = vec!["a".to_owned(), "b".to_owned()];
        assert_eq!(revoked_by(&sent, &nodes()), Some((ids, Running::Interrupt)));
    }

    fn python(rest: &str) -> Vec<u8> {
        let body = format!(
            r#"{{"method": "revoke", "arguments": {{"task_id": "x", "terminate": false, "signal": null}}, {rest}}}"#
        );
        let mut envelope = Envelope::decode(&request(&[])).unwrap();
        envelope.message.body = body.into_bytes().into();
        envelope.encode()
    }

    #[test]
    fn a_request_is_for_those_it_names() {
        let heeded = |rest: &str| revoked_by(&python(rest), &nodes()).is_some();
        assert!(heeded(r#""destination": null"#));
        assert!(heeded(r#""destination": ["a@b", "celeriac@here"]"#));
        assert!(!heeded(r#""destination": ["celery@there"]"#));
        assert!(heeded(
            r#""destination": null, "pattern": "cel*@h?re", "matcher": "glob""#
        ));
        assert!(!heeded(
            r#""destination": null, "pattern": "*@there", "matcher": "glob""#
        ));
    }

    #[test]
    fn what_is_no_request_is_ignored() {
        for bad in [&b"{}"[..], b"", b"\xff", b"[1]"] {
            assert_eq!(revoked_by(bad, &nodes()), None);
        }
    }
}
