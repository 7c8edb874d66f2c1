//! What a store without exchanges cannot do.

use celeriac_core::{BrokerError, BrokerUrl, Destination, ExchangeKind, Queue, QueueName};

use crate::DriverOptions;

/// The queue, of a store that has nothing else.
pub(crate) fn only_queue(
    destination: Destination,
    address: impl FnOnce() -> String,
) -> Result<QueueName, BrokerError> {
    match destination {
        Destination::Queue(queue) => Ok(queue),
        Destination::Exchange(to) => Err(has_none(address(), &to.exchange)),
    }
}

/// Refuses definitions by which a message would go to other queues than the one it names.
pub(crate) fn refuse_exchanges(
    url: &BrokerUrl,
    options: &DriverOptions,
) -> Result<(), BrokerError> {
    let queues = options.topology.names();
    let queues = queues.filter_map(|name| options.topology.queue(name));
    let mut exchanges = queues.flat_map(Queue::bindings).map(|it| &it.exchange);
    match exchanges.find(|it| it.kind != ExchangeKind::Direct) {
        Some(exchange) => Err(has_none(url.to_string(), &exchange.name)),
        None => Ok(()),
    }
}

/// What a queue is called that is defined so, of a store that has nothing else.
pub(crate) fn plain(
    queue: &Queue,
    address: impl FnOnce() -> String,
) -> Result<QueueName, BrokerError> {
    let mut exchanges = queue.bindings().iter().map(|it| &it.exchange);
    if let Some(exchange) = exchanges.find(|it| it.kind != ExchangeKind::Direct) {
        return Err(has_none(address(), &exchange.name));
    }
    QueueName::new(queue.name()).map_err(|error| BrokerError::Unsupported {
        address: address(),
        what: format!("have the queue `{}`: {error}", queue.name()),
    })
}

fn has_none(address: String, exchange: &str) -> BrokerError {
    BrokerError::Unsupported {
        address,
        what: format!(
            "have the exchange `{exchange}`: it has queues only, and Redis and RabbitMQ have exchanges"
        ),
    }
}
