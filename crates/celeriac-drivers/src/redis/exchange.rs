//! Exchanges: which queues a routing key leads to, by kombu's tables of bindings.
//!
//! # Sources
//!
//! kombu's virtual exchanges: direct, topic and fanout, and the form of their bindings.

use celeriac_core::{BrokerError, Message, QueueName};
use celeriac_wire::{Envelope, WireMessage};
use jiff::Timestamp;
use uuid::Uuid;

use super::failure::Failure;
use super::outgoing::Outgoing;
use super::store::{Inner, RedisStore};
use crate::headers;

/// How an exchange finds the queues of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ExchangeKind {
    /// Those bound with its routing key.
    Direct,
    /// Those bound with a pattern for it: words between dots, `*` for one, `#` for any.
    Topic,
    /// All who listen now: it is broadcast, and kept for nobody.
    Fanout,
}

impl RedisStore {
    /// Binds `queue` to an exchange, for Python's clients and ours.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unsupported`] for a fanout exchange, which has no queues, and
    /// [`BrokerError::Unavailable`] and the like.
    pub async fn bind(
        &self,
        queue: &QueueName,
        exchange: &str,
        kind: ExchangeKind,
        routing_key: &str,
    ) -> Result<(), BrokerError> {
        let keys = &self.inner.keys;
        let pattern = match kind {
            ExchangeKind::Direct => String::new(),
            ExchangeKind::Topic => pattern(routing_key),
            ExchangeKind::Fanout => {
                return Err(BrokerError::Unsupported {
                    address: self.inner.address.clone(),
                    what: "bind a queue to a fanout exchange".to_owned(),
                });
            }
        };
        let binding = keys.binding(routing_key, &pattern, queue.as_str());
        let mut bind = redis::pipe();
        bind.atomic();
        for table in keys.bindings(exchange) {
            bind.cmd("SADD").arg(table).arg(&binding).ignore();
        }
        self.inner
            .told(self.inner.link.pipeline::<()>(bind).await)?;
        self.inner.know_queues([queue].into_iter()).await
    }

    /// Publishes one message to an exchange, and says to how many queues it went, or for a fanout
    /// how many heard it. One that nobody is bound for is dropped, as Celery does.
    ///
    /// # Errors
    ///
    /// As [`Broker::publish`](celeriac_core::Broker::publish).
    pub async fn publish_to_exchange(
        &self,
        exchange: &str,
        kind: ExchangeKind,
        routing_key: &str,
        message: &Message,
    ) -> Result<u64, BrokerError> {
        let inner = &self.inner;
        headers::check_size(message, inner.options.body_limit_bytes)?;
        let envelope = || Envelope {
            exchange: exchange.to_owned(),
            ..Envelope::to_queue(
                routing_key,
                Uuid::new_v4().to_string(),
                WireMessage::encode(message, Timestamp::now()),
            )
        };
        if kind == ExchangeKind::Fanout {
            let mut publish = redis::cmd("PUBLISH");
            publish
                .arg(inner.keys.channel(exchange, routing_key))
                .arg(envelope().encode());
            return inner.told(inner.link.command(publish).await);
        }
        let queues = inner.told(queues_of(inner, exchange, routing_key).await)?;
        let outgoing = queues.iter().filter_map(|queue| {
            Some(Outgoing {
                queue: QueueName::new(queue).ok()?,
                list: inner.keys.list(queue, message.priority),
                text: envelope().encode(),
            })
        });
        let outgoing: Vec<Outgoing> = outgoing.collect();
        let count = outgoing.len() as u64;
        inner.told(inner.push(outgoing).await)?;
        Ok(count)
    }
}

/// The queues to which a routing key leads from an exchange; without one, the queue of its name.
pub(super) async fn queues_of(
    inner: &Inner,
    exchange: &str,
    routing_key: &str,
) -> Result<Vec<String>, Failure> {
    if exchange.is_empty() {
        return Ok(vec![routing_key.to_owned()]);
    }
    let [table, _] = inner.keys.bindings(exchange);
    let mut ask = redis::cmd("SMEMBERS");
    ask.arg(table);
    let bindings: Vec<String> = inner.link.command(ask).await?;
    let leads = |binding: &String| {
        let [key, pattern, queue] = inner.keys.read_binding(binding)?;
        let fits = if pattern.is_empty() {
            key == routing_key
        } else {
            topic_fits(key, routing_key)
        };
        fits.then(|| queue.to_owned())
    };
    let mut queues: Vec<String> = bindings.iter().filter_map(leads).collect();
    queues.sort_unstable();
    queues.dedup();
    Ok(queues)
}

/// The regular expression that kombu stores beside a binding's key.
fn pattern(key: &str) -> String {
    let escaped = |word: &str| {
        word.chars()
            .map(|c| {
                if c.is_alphanumeric() {
                    c.to_string()
                } else {
                    format!("\\{c}")
                }
            })
            .collect()
    };
    let word = |word: &str| match word {
        "*" => r"[^\.]+".to_owned(),
        "#" => ".*?".to_owned(),
        word => escaped(word),
    };
    let words: Vec<String> = key.split('.').map(word).collect();
    format!("^{}$", words.join(r"\."))
}

/// Whether a routing key fits the key of a topic binding, as the regular expression says: a word
/// that is `*` stands for some letters without a dot, one that is `#` for any letters.
fn topic_fits(binding: &str, routing_key: &str) -> bool {
    let key = routing_key.as_bytes();
    // Whether what was read of the binding fits the first so many bytes of the key.
    let mut fits = vec![false; key.len() + 1];
    fits[0] = true;
    for (place, word) in binding.split('.').enumerate() {
        if place > 0 {
            fits = after(&fits, |from| {
                key[from..].starts_with(b".").then_some(from + 1)
            });
        }
        match word {
            "#" => {
                let first = fits.iter().position(|fit| *fit).unwrap_or(fits.len());
                fits.iter_mut().skip(first).for_each(|fit| *fit = true);
            }
            "*" => {
                let mut within = false;
                let before = std::mem::replace(&mut fits, vec![false; key.len() + 1]);
                for at in 0..key.len() {
                    within = (within || before[at]) && key[at] != b'.';
                    fits[at + 1] = within;
                }
            }
            word => {
                let word = word.as_bytes();
                fits = after(&fits, |from| {
                    key[from..].starts_with(word).then_some(from + word.len())
                });
            }
        }
    }
    fits[key.len()]
}

/// Where a step leads from each place that was reached.
fn after(fits: &[bool], step: impl Fn(usize) -> Option<usize>) -> Vec<bool> {
    let mut next = vec![false; fits.len()];
    let reached = fits.iter().enumerate().filter(|(_, fit)| **fit);
    for to in reached.filter_map(|(from, _)| step(from)) {
        next[to] = true;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_stored_as_kombu_writes_it() {
        assert_eq!(pattern("a.*.c"), r"^a\.[^\.]+\.c$");
        assert_eq!(pattern("a_b.#"), r"^a\_b\..*?$");
    }

    #[test]
    fn topics_are_matched_word_by_word() {
        for (binding, key, expected) in [
            ("a.*.c", "a.b.c", true),
            ("a.*.c", "a.c", false),
            ("a.#", "a.b.c", true),
            ("a.#", "a", false),
            ("#.c", "a.b.c", true),
            ("#", "", true),
            ("a.b", "a.b.c", false),
            ("*.*", "ab.cd", true),
            ("*", "a.b", false),
            ("*", "", false),
            ("#.#.#.#.#.x", "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a", false),
        ] {
            assert_eq!(topic_fits(binding, key), expected, "{binding} and {key}");
        }
    }
}
