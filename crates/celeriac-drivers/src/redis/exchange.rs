//! Exchanges: which queues a routing key leads to, by kombu's tables of bindings.
//!
//! # Sources
//!
//! kombu's virtual exchanges: direct, topic and fanout, and the form of their bindings.

use celeriac_core::{Binding, ExchangeKind, Queue, QueueName};

use super::failure::Failure;
use super::store::Inner;

/// The queues to which a routing key leads from an exchange; without one, the queue of its name.
///
/// What this program defines is bound first if it is not.
pub(super) async fn queues_of(
    inner: &Inner,
    exchange: &str,
    routing_key: &str,
) -> Result<Vec<String>, Failure> {
    if exchange.is_empty() {
        return Ok(vec![routing_key.to_owned()]);
    }
    let [table, permanent] = inner.keys.bindings(exchange);
    let mut ask = redis::cmd("SMEMBERS");
    ask.arg(&table);
    let mut bindings: Vec<String> = inner.link.command(ask).await?;
    let topology = inner.definitions.now();
    let defined = topology.bound_to(exchange);
    let defined = defined.filter(|(_, binding)| binding.exchange.kind != ExchangeKind::Fanout);
    let defined = defined.map(|(queue, binding)| member(inner, queue, binding));
    let missing: Vec<String> = defined.filter(|it| !bindings.contains(it)).collect();
    if !missing.is_empty() {
        let mut bind = redis::pipe();
        bind.atomic();
        for table in [table, permanent] {
            bind.cmd("SADD").arg(table).arg(&missing).ignore();
        }
        inner.link.pipeline::<()>(bind).await?;
        bindings.extend(missing);
    }
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

/// What binds a queue that is consumed: the exchanges, each with the member of its tables. A queue
/// that is not defined otherwise is bound as Celery binds it, to an exchange of its own.
pub(super) fn bindings_of(inner: &Inner, queue: &QueueName) -> Vec<(String, String)> {
    let topology = inner.definitions.now();
    let definition = topology.queue(queue);
    if let Some(definition) = definition.filter(|it| !it.bindings().is_empty()) {
        return members(inner, queue, definition);
    }
    let name = queue.as_str();
    vec![(name.to_owned(), inner.keys.binding(name, "", name))]
}

/// Binds queues again that are consumed, and says from which exchanges one of them was not bound: there
/// somebody has deleted what binds it, and clients that publish to the exchange lose what they send.
pub(super) async fn bind_again(
    inner: &Inner,
    queues: impl Iterator<Item = &QueueName>,
) -> Result<Vec<String>, Failure> {
    let bindings: Vec<_> = queues.flat_map(|queue| bindings_of(inner, queue)).collect();
    if bindings.is_empty() {
        return Ok(Vec::new());
    }
    let mut bind = redis::pipe();
    for (exchange, member) in &bindings {
        let [table, permanent] = inner.keys.bindings(exchange);
        bind.cmd("SADD").arg(table).arg(member);
        bind.cmd("SADD").arg(permanent).arg(member).ignore();
    }
    let added: Vec<u64> = inner.link.pipeline(bind).await?;
    let exchanges = bindings.into_iter().zip(added);
    let missing = exchanges.filter_map(|((exchange, _), added)| (added > 0).then_some(exchange));
    Ok(missing.collect())
}

/// What binds a queue of this name as `definition` says: the exchanges, each with the member of its
/// tables.
pub(super) fn members(
    inner: &Inner,
    name: &QueueName,
    definition: &Queue,
) -> Vec<(String, String)> {
    let bindings = definition.bindings().iter();
    let members = bindings.map(|it| (it.exchange.name.clone(), member(inner, name, it)));
    members.collect()
}

/// What stands in the tables of an exchange for a binding.
fn member(inner: &Inner, queue: &QueueName, binding: &Binding) -> String {
    let key = &binding.routing_key;
    let pattern = match binding.exchange.kind {
        ExchangeKind::Topic => pattern(key),
        _ => String::new(),
    };
    inner.keys.binding(key, &pattern, queue.as_str())
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
