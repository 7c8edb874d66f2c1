//! Answers as Celery's command prints them.

use std::fmt::Write as _;

use celeriac_wire::control::Reply;
use celeriac_wire::repr;
use serde_json::Value;

use super::Sort;

/// The answers, each under the name of its worker.
pub(super) fn replies(replies: &[Reply], sort: Sort) -> String {
    let mut out = String::new();
    for reply in replies {
        let (status, body) = of(&reply.value);
        let _ = writeln!(out, "->  {}: {status}", reply.node);
        for line in body.lines() {
            let _ = writeln!(out, "        {line}");
        }
    }
    if sort == Sort::Inspect && !replies.is_empty() {
        let _ = write!(out, "\n{}", online(replies));
    }
    out.trim_end().to_owned()
}

/// The workers that have answered, and nothing else of what they said.
pub(super) fn nodes(replies: &[Reply]) -> String {
    let mut out = String::new();
    for reply in replies {
        let _ = writeln!(out, "->  {}: {}", reply.node, of(&reply.value).0);
    }
    if !replies.is_empty() {
        let _ = write!(out, "\n{}", online(replies));
    }
    out
}

fn online(replies: &[Reply]) -> String {
    let nodes = if replies.len() == 1 { "node" } else { "nodes" };
    format!("{} {nodes} online.", replies.len())
}

/// How it went, and what was answered.
fn of(value: &Value) -> (&'static str, String) {
    match value {
        Value::Object(fields) if fields.len() == 1 => match fields.iter().next() {
            Some((word, told)) if word == "ok" => ("OK", text(told)),
            Some((word, told)) if word == "error" => ("ERROR", text(told)),
            _ => ("OK", json(value)),
        },
        Value::Array(items) if items.is_empty() => ("OK", "- empty -".to_owned()),
        Value::Array(items) if items.iter().all(Value::is_string) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| format!("* {}", text(item)))
                .collect();
            ("OK", items.join("\n"))
        }
        Value::Array(items) => {
            let items: Vec<_> = items
                .iter()
                .map(|item| format!("* {}", repr::value(item)))
                .collect();
            ("OK", items.join("\n"))
        }
        Value::Null => ("OK", String::new()),
        other => ("OK", json(other)),
    }
}

fn text(value: &Value) -> String {
    value
        .as_str()
        .map_or_else(|| repr::value(value), ToOwned::to_owned)
}

fn json(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn answers_look_as_celery_prints_them() {
        let reply = |value| Reply {
            node: "celery@box".to_owned(),
            value,
        };
        let pong = replies(&[reply(json!({"ok": "pong"}))], Sort::Inspect);
        assert_eq!(pong, "->  celery@box: OK\n        pong\n\n1 node online.");
        let empty = replies(&[reply(json!([])), reply(json!(["a"]))], Sort::Inspect);
        assert!(empty.contains("- empty -") && empty.ends_with("* a\n\n2 nodes online."));
        let refused = replies(&[reply(json!({"error": "unknown task"}))], Sort::Control);
        assert_eq!(refused, "->  celery@box: ERROR\n        unknown task");
    }
}
