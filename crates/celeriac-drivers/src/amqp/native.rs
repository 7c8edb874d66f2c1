//! Celery's own delayed delivery, for clients in Python that send to quorum queues.
//!
//! A message's delay is written in binary into its routing key, and each of 28 topic exchanges looks
//! at one digit: 1 takes it through a queue in which it waits for that power of two in seconds, 0 on
//! to the next exchange. At the end the rest of the key leads to its queue. Our own delayed messages
//! take another way; this is declared so that those of Celery's clients arrive.
//!
//! # Sources
//!
//! Names, arguments and bindings are those that Celery's workers declare.

use celeriac_core::ExchangeKind;
use serde_json::{Map, Value, json};

use super::names::Lead;
use super::settings::QueueType;
use super::transport::{Connection, LinkError, QueueFlags};

/// The digits of a delay, less one.
const HIGHEST: usize = 27;

/// The exchange that all delayed messages reach in the end.
const DELIVERY: &str = "celery_delayed_delivery";

fn level_name(level: usize) -> String {
    format!("celery_delayed_{level}")
}

/// What the keys look like whose digit for `level` is this.
fn pattern(level: usize, digit: char) -> String {
    format!("{}{digit}.#", "*.".repeat(HIGHEST - level))
}

/// Where a message goes after this level.
fn next(level: usize) -> String {
    match level.checked_sub(1) {
        Some(next) => level_name(next),
        None => DELIVERY.to_owned(),
    }
}

fn arguments(level: usize, kind: QueueType) -> Map<String, Value> {
    let mut arguments = Map::from_iter([
        ("x-overflow".to_owned(), json!("reject-publish")),
        ("x-message-ttl".to_owned(), json!((1_u64 << level) * 1000)),
        ("x-dead-letter-exchange".to_owned(), json!(next(level))),
    ]);
    let kind = match kind {
        QueueType::Classic => "classic",
        QueueType::Quorum => {
            let strategy = json!("at-least-once");
            arguments.insert("x-dead-letter-strategy".to_owned(), strategy);
            "quorum"
        }
    };
    arguments.insert("x-queue-type".to_owned(), json!(kind));
    arguments
}

/// Declares all of it, and leads to queues through exchanges of theirs; past the direct ones, which
/// cannot take part in it.
pub(crate) async fn declare(
    connection: Connection,
    kind: QueueType,
    queues: Vec<(Lead, String)>,
) -> Result<(), LinkError> {
    let channel = connection.channel().await?;
    let durable = QueueFlags {
        durable: true,
        ..QueueFlags::default()
    };
    channel.declare_exchange(DELIVERY, "topic", true).await?;
    for level in (0..=HIGHEST).rev() {
        let name = level_name(level);
        channel.declare_exchange(&name, "topic", true).await?;
        channel
            .declare_queue(&name, durable, &arguments(level, kind))
            .await?;
        channel
            .bind_queue(&name, &name, &pattern(level, '1'))
            .await?;
    }
    for level in (0..=HIGHEST).rev() {
        let (to, from) = (next(level), level_name(level));
        channel
            .bind_exchange(&to, &from, &pattern(level, '0'))
            .await?;
    }
    for (lead, queue) in queues {
        if lead.kind == ExchangeKind::Direct {
            continue;
        }
        let (exchange, key) = (&lead.exchange, format!("#.{}", lead.routing_key));
        // Each on a channel of its own: an exchange of another kind ends it.
        let channel = connection.channel().await?;
        let led = async {
            channel.bind_exchange(exchange, DELIVERY, &key).await?;
            channel.bind_queue(&queue, exchange, &key).await
        };
        if let Err(error) = led.await {
            tracing::warn!(queue, %error, "what Python delays does not reach this queue");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exchange_looks_at_one_digit() {
        assert_eq!(pattern(27, '1'), "1.#");
        assert_eq!(pattern(25, '0'), "*.*.0.#");
        assert_eq!(pattern(0, '0').len(), 27 * 2 + 3);
    }

    #[test]
    fn the_last_level_leads_out() {
        assert_eq!(next(5), "celery_delayed_4");
        assert_eq!(next(0), "celery_delayed_delivery");
        let last = arguments(0, QueueType::Quorum);
        assert_eq!(last["x-message-ttl"], 1000);
        assert_eq!(last["x-dead-letter-exchange"], DELIVERY);
        let first = arguments(27, QueueType::Classic);
        assert_eq!(first["x-message-ttl"], 134_217_728_000_u64);
    }
}
