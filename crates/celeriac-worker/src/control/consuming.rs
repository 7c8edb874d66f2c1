//! Commands that change which queues are taken from.

use celeriac_core::{BrokerError, Exchange, Queue, QueueName};
use serde_json::Value;

use super::Control;
use super::arguments::{Arguments, Refusal, ok};

impl Control {
    /// Takes from one queue more. What it is told of the queue counts if nobody has defined it.
    pub(super) async fn add_consumer(&mut self, arguments: &Arguments) -> Result<Value, Refusal> {
        let (name, queue) = (arguments.text("queue")?, wanted(arguments)?);
        let known = QueueName::new(name);
        let known = known.map_err(|error| Refusal::exception("ValueError", &error.to_string()))?;
        let added = self.consumer.add_queue(queue.clone()).await;
        added.map_err(|error| refused(&error))?;
        let about = &mut self.settings.about;
        if about.topology.queue(&known).is_none()
            && let Ok(more) = about.topology.with(queue)
        {
            about.topology = more.into();
        }
        if !self.queues.iter().any(|it| it == name) {
            self.queues.push(name.to_owned());
        }
        self.operator
            .ask(|dispatcher| dispatcher.add_queue(known))
            .await;
        Ok(ok(format!("add consumer {name}")))
    }

    /// Takes nothing more from a queue. What runs goes on, and so does what is about to.
    pub(super) async fn cancel_consumer(
        &mut self,
        arguments: &Arguments,
    ) -> Result<Value, Refusal> {
        let name = arguments.text("queue")?;
        if let Ok(known) = QueueName::new(name) {
            let cancelled = self.consumer.cancel_queue(&known).await;
            cancelled.map_err(|error| refused(&error))?;
            self.queues.retain(|it| it != name);
            self.operator
                .ask(move |dispatcher| dispatcher.cancel_queue(&known))
                .await;
        }
        Ok(ok(format!("no longer consuming from {name}")))
    }
}

/// The queue as the options of Celery's `add_consumer` define it.
fn wanted(arguments: &Arguments) -> Result<Queue, Refusal> {
    let name = arguments.text("queue")?;
    let text = |option, default| match arguments.get(option) {
        None => Ok(default),
        Some(_) => arguments.text(option),
    };
    let (exchange, routing_key) = (text("exchange", name)?, text("routing_key", name)?);
    let kind = text("exchange_type", "direct")?;
    let bound_to = match kind {
        "direct" => Exchange::direct(exchange),
        "topic" => Exchange::topic(exchange),
        "fanout" => Exchange::fanout(exchange),
        other => {
            let reason = format!("there are no exchanges of the type {other} here");
            return Err(Refusal::exception("ValueError", &reason));
        }
    };
    let mut queue = Queue::new(name);
    // By itself a queue is bound so.
    if (exchange, routing_key, kind) != (name, name, "direct") {
        queue = queue.bind(bound_to, routing_key);
    }
    if let Some(Value::Object(given)) = arguments.get("queue_arguments") {
        for (option, value) in given {
            queue = queue.argument(option, value.clone());
        }
    }
    if let Some(most) = arguments.get("max_priority") {
        queue = queue.argument("x-max-priority", most.clone());
    }
    Ok(queue)
}

fn refused(error: &BrokerError) -> Refusal {
    let class = match error {
        BrokerError::Unsupported { .. } => "ValueError",
        _ => "OperationalError",
    };
    Refusal::exception(class, &error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use celeriac_core::ExchangeKind;
    use serde_json::json;

    fn read(given: &Value) -> Result<Queue, Refusal> {
        let given = given.as_object().cloned().unwrap_or_default();
        wanted(&Arguments::new("add_consumer", given))
    }

    #[test]
    fn a_queue_is_defined_as_celery_defines_it() {
        let own = Queue::new("q");
        for plain in [
            json!({"queue": "q"}),
            json!({"queue": "q", "exchange": null, "exchange_type": "direct", "routing_key": null}),
            json!({"queue": "q", "exchange": "q", "durable": true}),
        ] {
            assert_eq!(read(&plain), Ok(own.clone()), "{plain}");
        }
        let keyed = read(&json!({"queue": "q", "routing_key": "k", "max_priority": 5})).unwrap();
        assert_eq!(keyed.bindings()[0].exchange, Exchange::direct("q"));
        assert_eq!(keyed.bindings()[0].routing_key, "k");
        assert_eq!(keyed.arguments()["x-max-priority"], 5);
        let topic =
            read(&json!({"queue": "q", "exchange": "x", "exchange_type": "topic"})).unwrap();
        assert_eq!(topic.bindings()[0].exchange.kind, ExchangeKind::Topic);
        assert_eq!(topic.bindings()[0].routing_key, "q");
    }

    #[test]
    fn what_defines_no_queue_is_refused() {
        for bad in [
            json!({}),
            json!({"queue": 7}),
            json!({"queue": "q", "exchange": ["x"]}),
            json!({"queue": "q", "exchange_type": "headers"}),
        ] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
