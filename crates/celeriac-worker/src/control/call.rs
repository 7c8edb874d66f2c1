//! A call in the words of `inspect`.

use celeriac_core::{Message, Tree};
use celeriac_wire::{Body, repr};
use serde_json::{Value, json};

use crate::dispatcher::HeldCall;

/// The most bytes of a body that are answered as values.
const MOST_BYTES: usize = 64 * 1024;

impl HeldCall {
    /// It as Celery describes it: with the values of its arguments, or if `safe` as Python shows them.
    pub(super) fn info(&self, node: &str, safe: bool) -> Value {
        let message = &self.delivery.message;
        let headers = &message.headers;
        let values = if safe { None } else { values(message) };
        let (args, kwargs) = values.unwrap_or_else(|| {
            (
                shown(message, "argsrepr", "()"),
                shown(message, "kwargsrepr", "{}"),
            )
        });
        json!({
            "id": headers.id,
            "name": headers.task,
            "args": args,
            "kwargs": kwargs,
            "type": headers.task,
            "hostname": node,
            "time_start": self.started_s,
            "acknowledged": self.acked,
            "delivery_info": {
                "exchange": "",
                "routing_key": self.delivery.queue.as_str(),
                "priority": message.priority,
                "redelivered": self.delivery.deliveries > 1,
            },
            "worker_pid": self.started_s.map(|_| std::process::id()),
        })
    }
}

/// The arguments, if they can be read without running anything.
fn values(message: &Message) -> Option<(Value, Value)> {
    if message.body.bytes.len() > MOST_BYTES {
        return None;
    }
    let body = Body::decode(&message.body).ok()?;
    let value = |bytes| {
        let tree = Tree::decode(body.content_type, bytes).ok()?;
        serde_json::from_str(&tree.to_json()).ok()
    };
    Some((value(&body.args)?, value(&body.kwargs)?))
}

/// The arguments as their sender showed them, or as we can.
fn shown(message: &Message, header: &str, nothing: &str) -> Value {
    if let Some(Value::String(text)) = message.headers.extra.get(header) {
        return Value::from(text.as_str());
    }
    let text = values(message).map(|(args, kwargs)| {
        if header == "argsrepr" {
            repr::arguments(&args)
        } else {
            repr::value(&kwargs)
        }
    });
    text.map_or_else(|| nothing.into(), Value::from)
}
