//! A queue in the words of `active_queues`: kombu's.

use celeriac_core::{Queue, QueueName, Topology};
use serde_json::{Value, json};

/// A queue with its exchange, as kombu describes it.
pub(super) fn described(name: &str, topology: &Topology) -> Value {
    let definition = QueueName::new(name).ok();
    let definition = definition.and_then(|name| topology.queue(&name));
    let bindings = definition.map_or(&[][..], Queue::bindings);
    let arguments = definition.map(Queue::arguments);
    let arguments = arguments.filter(|arguments| !arguments.is_empty());
    let (exchange, kind, routing_key) = match bindings.first() {
        None => (name, "direct", name),
        Some(binding) => (
            &*binding.exchange.name,
            binding.exchange.kind.as_str(),
            &*binding.routing_key,
        ),
    };
    let is_broadcast = definition.is_some_and(Queue::is_broadcast);
    json!({
        "name": name,
        "exchange": exchange_of(exchange, kind),
        "routing_key": routing_key,
        "queue_arguments": arguments,
        "binding_arguments": null,
        "consumer_arguments": null,
        "durable": true,
        "exclusive": false,
        "auto_delete": is_broadcast,
        "no_ack": false,
        "alias": null,
        "bindings": bindings.iter().skip(1).map(|binding| json!({
            "exchange": exchange_of(&binding.exchange.name, binding.exchange.kind.as_str()),
            "routing_key": binding.routing_key,
            "arguments": null,
            "unbind_arguments": null,
        })).collect::<Vec<_>>(),
        "no_declare": null,
        "expires": null,
        "message_ttl": null,
        "max_length": null,
        "max_length_bytes": null,
        "max_priority": null,
    })
}

fn exchange_of(name: &str, kind: &str) -> Value {
    json!({
        "name": name,
        "type": kind,
        "arguments": null,
        "durable": true,
        "passive": false,
        "auto_delete": false,
        "delivery_mode": null,
        "no_declare": false,
    })
}
