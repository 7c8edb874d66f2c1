//! Destinations that a store without exchanges can reach.

use celeriac_core::{BrokerError, Destination, QueueName};

/// The queue, of a store that has nothing else.
pub(crate) fn only_queue(
    destination: Destination,
    address: impl FnOnce() -> String,
) -> Result<QueueName, BrokerError> {
    match destination {
        Destination::Queue(queue) => Ok(queue),
        Destination::Exchange(to) => Err(BrokerError::Unsupported {
            address: address(),
            what: format!("send to the exchange `{}`: it has queues only", to.exchange),
        }),
    }
}
