//! The queues of an app, as the worker declares them.

use celeriac_core::{Exchange, Queue};
use celeriac_python::{BindingReport, ExchangeReport, QueueReport};

use super::failure::Failure;

/// The definition of a queue. On a broker that is `strict` what we cannot declare is refused, because
/// the server refuses a queue that is declared in two ways.
pub(crate) fn queue(report: &QueueReport, strict: bool) -> Result<Queue, Failure> {
    let exchange = &report.exchange;
    let is_fanout = exchange.kind.as_deref() == Some("fanout");
    if is_fanout && report.auto_delete == Some(true) {
        // kombu's `Broadcast`: each worker has a queue of its own, which goes with it.
        let name = exchange.name.as_deref().unwrap_or(&report.name);
        let key = report.routing_key.clone().unwrap_or_default();
        return Ok(Queue::broadcast_by(name, key));
    }
    let odd = [
        (report.durable == Some(false), "not durable"),
        (report.auto_delete == Some(true), "deleted when unused"),
        (report.exclusive == Some(true), "exclusive"),
        (
            exchange.durable == Some(false),
            "bound to an exchange that is not durable",
        ),
    ];
    if let Some((_, what)) = odd.iter().find(|(is, _)| *is && strict) {
        let message = format!(
            "the queue `{}` is {what}, which this worker cannot declare",
            report.name
        );
        return Err(Failure::usage(message)
            .help("leave it to another worker with `-X`, or declare it as durable"));
    }
    let mut queue = Queue::new(&report.name);
    let own = BindingReport {
        routing_key: report.routing_key.clone(),
        exchange: exchange.clone(),
    };
    for binding in std::iter::once(&own).chain(&report.bindings) {
        if let Some(exchange) = of(&binding.exchange, &report.name)? {
            let key = binding.routing_key.clone().unwrap_or_default();
            queue = queue.bind(exchange, key);
        }
    }
    for (name, value) in report.queue_arguments.iter().flatten() {
        queue = queue.argument(name, value.clone());
    }
    let millis = |seconds: f64| (seconds * 1000.0).round();
    let arguments = [
        ("x-expires", report.expires.map(millis)),
        ("x-message-ttl", report.message_ttl.map(millis)),
        ("x-max-length", report.max_length.map(float)),
        ("x-max-length-bytes", report.max_length_bytes.map(float)),
        ("x-max-priority", report.max_priority.map(float)),
    ];
    for (name, value) in arguments {
        if let Some(value) = value {
            // Whole numbers stay whole: a server tells 10 from 10.0.
            #[allow(
                clippy::cast_possible_truncation,
                reason = "it was rounded, and is a size"
            )]
            let value = value as i64;
            queue = queue.argument(name, value);
        }
    }
    Ok(queue)
}

#[allow(
    clippy::cast_precision_loss,
    reason = "no queue has a length that needs more than 52 bits"
)]
fn float(number: u64) -> f64 {
    number as f64
}

/// The exchange; nothing for that which every queue has under its own name.
fn of(report: &ExchangeReport, queue: &str) -> Result<Option<Exchange>, Failure> {
    let name = match report.name.as_deref() {
        None | Some("") => return Ok(None),
        Some(name) => name,
    };
    Ok(Some(match report.kind.as_deref().unwrap_or("direct") {
        "direct" => Exchange::direct(name),
        "topic" => Exchange::topic(name),
        "fanout" => Exchange::fanout(name),
        other => {
            let message = format!(
                "the queue `{queue}` is bound to `{name}`, an exchange of the type `{other}`, which \
                 this worker cannot declare"
            );
            return Err(Failure::usage(message).help("leave it to another worker with `-X`"));
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn report(report: serde_json::Value) -> QueueReport {
        serde_json::from_value(report).unwrap()
    }

    #[test]
    fn a_queue_keeps_its_bindings_and_arguments() {
        let found = queue(
            &report(json!({
                "name": "news", "routing_key": "news.#", "exchange": {"name": "world", "type": "topic"},
                "queue_arguments": {"x-queue-type": "quorum"}, "max_priority": 10, "expires": 1.5,
                "bindings": [{"routing_key": "all", "exchange": {"name": "", "type": "direct"}}],
            })),
            true,
        )
        .unwrap();
        let wanted = Queue::new("news")
            .bind(Exchange::topic("world"), "news.#")
            .argument("x-queue-type", "quorum")
            .argument("x-expires", 1500)
            .argument("x-max-priority", 10);
        assert_eq!(found, wanted);
    }

    #[test]
    fn a_broadcast_is_one() {
        let all = json!({"name": "all", "type": "fanout"});
        let mut broadcast = json!({"name": "bcast.1234", "auto_delete": true, "exchange": all});
        let found = queue(&report(broadcast.clone()), true);
        assert_eq!(found.unwrap(), Queue::broadcast("all"));
        broadcast["routing_key"] = "jobs".into();
        let found = queue(&report(broadcast), true);
        assert_eq!(found.unwrap(), Queue::broadcast_by("all", "jobs"));
    }

    #[test]
    fn what_cannot_be_declared_is_refused_where_it_matters() {
        let odd = report(json!({"name": "q", "durable": false}));
        assert!(queue(&odd, true).is_err());
        assert!(queue(&odd, false).is_ok());
        let headers = report(json!({"name": "q", "exchange": {"name": "x", "type": "headers"}}));
        assert!(queue(&headers, false).is_err());
    }
}
