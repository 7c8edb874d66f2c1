//! Messages on their way out: the text of each, and the list or channel it goes to.

use celeriac_core::{BrokerError, Destination, ExchangeKey, ExchangeKind, Message, QueueName};
use celeriac_wire::envelope::{self, Route};
use jiff::Timestamp;
use uuid::Uuid;

use super::exchange;
use super::store::Inner;
use crate::refusal;

/// A message as it is sent.
#[derive(Debug)]
pub(super) struct Outgoing {
    /// Its queue; a broadcast has none.
    pub(super) queue: Option<QueueName>,
    /// The key of the list, or the channel.
    pub(super) key: String,
    pub(super) text: Vec<u8>,
}

impl Outgoing {
    /// What sends it to its key.
    pub(super) fn command(&self) -> &'static str {
        if self.queue.is_some() {
            "LPUSH"
        } else {
            "PUBLISH"
        }
    }
}

/// The messages as they are sent, a copy for each queue of an exchange; unless one is too large, or
/// an exchange has no queue for it.
pub(super) async fn encode_all(
    inner: &Inner,
    messages: Vec<(Destination, Message)>,
) -> Result<Vec<Outgoing>, BrokerError> {
    let now = Timestamp::now();
    let mut outgoing = Vec::with_capacity(messages.len());
    for (destination, message) in messages {
        refusal::check_size(&message, inner.options.body_limit_bytes)?;
        match destination {
            Destination::Queue(queue) => {
                let text = encode(&message, "", queue.as_str(), now);
                outgoing.push(to_queue(inner, queue, &message, text));
            }
            Destination::Exchange(to) => spread(inner, &to, &message, now, &mut outgoing).await?,
        }
    }
    Ok(outgoing)
}

/// Adds what goes out when a message goes to an exchange.
async fn spread(
    inner: &Inner,
    to: &ExchangeKey,
    message: &Message,
    now: Timestamp,
    outgoing: &mut Vec<Outgoing>,
) -> Result<(), BrokerError> {
    let ExchangeKey {
        exchange,
        routing_key,
    } = to;
    let text = || encode(message, exchange, routing_key, now);
    if inner.definitions.now().kind(exchange) == Some(ExchangeKind::Fanout) {
        outgoing.push(Outgoing {
            queue: None,
            key: inner.keys.channel(exchange, routing_key),
            text: text(),
        });
        return Ok(());
    }
    let names = inner.told(exchange::queues_of(inner, exchange, routing_key).await)?;
    let queues: Vec<_> = names
        .iter()
        .filter_map(|it| QueueName::new(it).ok())
        .collect();
    if queues.is_empty() {
        return Err(BrokerError::Unroutable {
            address: inner.address.clone(),
            destination: Destination::Exchange(Box::new(to.clone())),
        });
    }
    let copies = queues.into_iter();
    outgoing.extend(copies.map(|queue| to_queue(inner, queue, message, text())));
    Ok(())
}

fn to_queue(inner: &Inner, queue: QueueName, message: &Message, text: Vec<u8>) -> Outgoing {
    Outgoing {
        key: inner.keys.list(queue.as_str(), message.priority),
        queue: Some(queue),
        text,
    }
}

/// The envelope of a message, under a tag of its own.
fn encode(message: &Message, exchange: &str, routing_key: &str, now: Timestamp) -> Vec<u8> {
    let mut tag = Uuid::encode_buffer();
    let route = Route {
        exchange,
        routing_key,
        delivery_tag: &*Uuid::new_v4().hyphenated().encode_lower(&mut tag),
        ..Route::default()
    };
    let mut text = Vec::new();
    envelope::write(message, &route, now, &mut text);
    text
}
