//! What our queues and exchanges are called, and how each is declared.
//!
//! # Sources
//!
//! Task queues, their exchanges and the control exchange have the flags and arguments of Celery's
//! own declarations, since RabbitMQ refuses the second party otherwise.

use std::time::Duration;

use celeriac_core::{ExchangeKey, ExchangeKind, Queue, QueueName};
use serde_json::{Map, Value, json};

use super::delay;
use super::settings::{QueueType, Settings};
use super::transport::QueueFlags;

/// A queue a message can be sent to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Entity {
    /// Calls that wait for a worker.
    Tasks(QueueName),
    /// Calls of a queue that wait for their time: on this level of delay.
    Delayed(QueueName, usize),
    /// Calls of a queue that run for long on the consumer with this name.
    Kept(QueueName, String),
    /// Dead messages of all queues.
    Dead,
    /// Somebody's own queue, which is declared by its owner.
    Private(String),
    /// Whatever queues an exchange of tasks has for a routing key.
    Exchange(Box<ExchangeKey>),
}

/// What leads to a task queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Lead {
    /// The name of the exchange on the server.
    pub(crate) exchange: String,
    pub(crate) kind: ExchangeKind,
    pub(crate) routing_key: String,
    /// Whether it is the exchange that Celery gives each queue: we publish past it, so one of another
    /// kind is no obstacle.
    pub(crate) is_own: bool,
}

const DURABLE: QueueFlags = QueueFlags {
    durable: true,
    exclusive: false,
    auto_delete: false,
};

/// How long the queue of a consumer's long calls outlives it, empty.
const KEPT_EXPIRES: Duration = Duration::from_secs(60 * 60);

/// How long a consumer's own queue for what is broadcast outlives its last subscription: through a
/// lost connection, but not for ever.
const OWN_EXPIRES: Duration = Duration::from_secs(60 * 60);

/// What the queue of one consumer for what is broadcast begins with; kombu calls its own so too.
const BROADCAST: &str = "bcast.";

/// A message that was kept for longer goes back as soon as its keeper has died. It must be long
/// enough for a keeper that lives to take it.
const MOST_KEPT_TTL: Duration = Duration::from_secs(60);

impl Entity {
    /// Its name on the server.
    pub(crate) fn name(&self, settings: &Settings) -> String {
        let prefix = &settings.prefix;
        match self {
            Self::Tasks(queue) => format!("{prefix}{queue}"),
            Self::Delayed(queue, level) => {
                let milliseconds = delay::level_ms(*level);
                within_limit(&format!("{prefix}celeriac.delayed.{milliseconds}."), queue)
            }
            Self::Kept(queue, consumer) => {
                within_limit(&format!("{prefix}celeriac.kept.{consumer}."), queue)
            }
            Self::Dead => format!("{prefix}celeriac.dead"),
            Self::Private(name) => name.clone(),
            Self::Exchange(to) => format!("{prefix}{}", to.exchange),
        }
    }

    /// The exchange and the routing key by which a message gets there.
    pub(crate) fn address(&self, settings: &Settings) -> (String, String) {
        match self {
            Self::Exchange(to) => (self.name(settings), to.routing_key.clone()),
            queue => (String::new(), queue.name(settings)),
        }
    }

    /// It as far as it is declared: an exchange, whatever the routing key.
    pub(crate) fn declared(&self) -> Self {
        match self {
            Self::Exchange(to) => Self::Exchange(Box::new(ExchangeKey {
                exchange: to.exchange.clone(),
                routing_key: String::new(),
            })),
            queue => queue.clone(),
        }
    }

    /// Whether the server is to say so if nobody gets a message.
    pub(crate) fn must_arrive(&self, settings: &Settings) -> bool {
        match self {
            Self::Private(_) => false,
            Self::Exchange(to) => {
                settings.topology.now().kind(&to.exchange) != Some(ExchangeKind::Fanout)
            }
            _ => true,
        }
    }

    /// What it is declared with; nothing if somebody else does it.
    pub(crate) fn declaration(
        &self,
        settings: &Settings,
    ) -> Option<(QueueFlags, Map<String, Value>)> {
        let mut arguments = Map::new();
        match self {
            Self::Private(_) | Self::Exchange(_) => return None,
            Self::Tasks(queue) if broadcast_of(queue).is_some() => {
                arguments = classic();
                expire(&mut arguments, Some(OWN_EXPIRES));
            }
            Self::Tasks(queue) => {
                if let Some(most) = settings.max_priority {
                    arguments.insert("x-max-priority".to_owned(), most.into());
                }
                if settings.queue_type == QueueType::Quorum {
                    arguments.insert("x-queue-type".to_owned(), "quorum".into());
                }
                expire(&mut arguments, settings.queue_expires);
                let topology = settings.topology.now();
                let definition = topology.queue(queue);
                let own = definition.map(|definition| definition.arguments().clone());
                arguments.extend(own.unwrap_or_default());
            }
            Self::Dead => {
                arguments = classic();
                expire(&mut arguments, settings.queue_expires);
            }
            Self::Delayed(queue, level) => {
                arguments = back_to(queue, settings, delay::level_ms(*level));
                arguments.extend(match settings.delayed_queue_type {
                    QueueType::Quorum => never_lost(),
                    QueueType::Classic => classic(),
                });
            }
            Self::Kept(queue, _) => {
                let kept_ttl = MOST_KEPT_TTL.min(settings.consumer_timeout / 4);
                arguments = back_to(queue, settings, milliseconds(kept_ttl));
                arguments.extend(classic());
                expire(&mut arguments, Some(KEPT_EXPIRES));
            }
        }
        Some((DURABLE, arguments))
    }
}

/// A queue of one consumer's own, for what is broadcast as `queue`; `None` if that is too long.
pub(crate) fn own_queue(queue: &QueueName) -> Option<QueueName> {
    let id = uuid::Uuid::new_v4().simple();
    QueueName::new(&format!("{BROADCAST}{id}.{queue}")).ok()
}

/// What is broadcast as, if it is one consumer's own queue.
pub(crate) fn broadcast_of(queue: &QueueName) -> Option<&str> {
    let rest = queue.as_str().strip_prefix(BROADCAST)?;
    let (id, name) = rest.split_once('.')?;
    (id.len() == 32 && !id.contains('-')).then_some(name)
}

/// The arguments of a queue whose messages go to `queue` after a while.
fn back_to(queue: &QueueName, settings: &Settings, after_ms: u64) -> Map<String, Value> {
    let target = Entity::Tasks(queue.clone()).name(settings);
    Map::from_iter([
        ("x-message-ttl".to_owned(), after_ms.into()),
        ("x-dead-letter-exchange".to_owned(), "".into()),
        ("x-dead-letter-routing-key".to_owned(), target.into()),
    ])
}

/// The arguments with which a message leaves its queue only when the next one has it.
fn never_lost() -> Map<String, Value> {
    Map::from_iter([
        ("x-queue-type".to_owned(), json!("quorum")),
        ("x-overflow".to_owned(), json!("reject-publish")),
        ("x-dead-letter-strategy".to_owned(), json!("at-least-once")),
    ])
}

/// The argument of queues that nobody but us declares, and that must not be what a virtual host may have
/// for its default: a quorum queue drops what was looked at 20 times, from RabbitMQ 4.0 on.
pub(crate) fn classic() -> Map<String, Value> {
    Map::from_iter([("x-queue-type".to_owned(), json!("classic"))])
}

fn expire(arguments: &mut Map<String, Value>, after: Option<Duration>) {
    if let Some(after) = after {
        arguments.insert("x-expires".to_owned(), milliseconds(after).into());
    }
}

pub(crate) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `front` and the name of the queue, or a number in its place if both are too long together.
fn within_limit(front: &str, queue: &QueueName) -> String {
    let whole = format!("{front}{queue}");
    if whole.len() <= celeriac_core::queue::MAX_NAME_BYTES {
        return whole;
    }
    // Two queues with one number would be declared differently, and so be refused, never mixed up.
    format!("{front}#{:016x}", fnv(queue.as_str().as_bytes()))
}

fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

impl Settings {
    /// What leads to a task queue.
    pub(crate) fn leads_to(&self, queue: &QueueName) -> Vec<Lead> {
        let broadcast = broadcast_of(queue).and_then(|name| QueueName::new(name).ok());
        let topology = self.topology.now();
        let definition = topology.queue(broadcast.as_ref().unwrap_or(queue));
        let prefix = &self.prefix;
        let leads = definition.into_iter().flat_map(Queue::bindings);
        let mut leads: Vec<Lead> = leads
            .map(|binding| Lead {
                exchange: format!("{prefix}{}", binding.exchange.name),
                kind: binding.exchange.kind,
                routing_key: binding.routing_key.clone(),
                is_own: false,
            })
            .collect();
        if leads.is_empty() {
            let name = format!("{prefix}{queue}");
            leads.push(Lead {
                exchange: name.clone(),
                kind: match self.queue_type {
                    QueueType::Classic => ExchangeKind::Direct,
                    // Celery's delayed delivery, which goes with these, needs it.
                    QueueType::Quorum => ExchangeKind::Topic,
                },
                routing_key: name,
                is_own: true,
            });
        }
        leads
    }

    /// The exchange by which Celery's remote control reaches all workers.
    pub(crate) fn pidbox(&self) -> String {
        format!("{}.pidbox", self.control_exchange)
    }

    /// The exchange by which clients ask consumers of ours.
    pub(crate) fn control(&self) -> String {
        format!("{}celeriac.control", self.prefix)
    }

    /// The queue by which the consumer with this name of its own hears what is broadcast to all.
    pub(crate) fn own_control(&self, consumer: &str) -> String {
        format!("{}celeriac.{consumer}.control", self.prefix)
    }

    /// The queue that all our consumers consume and nobody sends to: the server counts them there.
    pub(crate) fn presence(&self) -> String {
        format!("{}celeriac.workers", self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue() -> QueueName {
        QueueName::default()
    }

    #[test]
    fn a_task_queue_is_declared_as_celery_declares_it() {
        let settings = Settings::default();
        let (flags, arguments) = Entity::Tasks(queue()).declaration(&settings).unwrap();
        assert!(flags.durable && !flags.exclusive && !flags.auto_delete);
        assert!(arguments.is_empty());
        let settings = Settings {
            queue_type: QueueType::Quorum,
            max_priority: Some(9),
            ..settings
        };
        let (_, arguments) = Entity::Tasks(queue()).declaration(&settings).unwrap();
        let expected = json!({"x-max-priority": 9, "x-queue-type": "quorum"});
        assert_eq!(Value::Object(arguments), expected);
    }

    #[test]
    fn a_delayed_message_goes_back_to_its_queue() {
        let settings = Settings::default();
        let (_, arguments) = Entity::Delayed(queue(), 1).declaration(&settings).unwrap();
        assert_eq!(arguments["x-message-ttl"], 1000);
        assert_eq!(arguments["x-dead-letter-exchange"], "");
        assert_eq!(arguments["x-dead-letter-routing-key"], "celery");
    }

    #[test]
    fn every_name_is_short_enough_and_its_own() {
        let settings = Settings::default();
        let names: Vec<_> = ["x", "y"]
            .map(|letter| QueueName::new(&letter.repeat(255)).unwrap())
            .into_iter()
            .map(|queue| Entity::Delayed(queue, 3).name(&settings))
            .collect();
        assert!(names.iter().all(|name| name.len() <= 255));
        assert_ne!(names[0], names[1]);
    }
}
