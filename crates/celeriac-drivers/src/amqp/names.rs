//! What our queues and exchanges are called, and how each is declared.
//!
//! # Sources
//!
//! Task queues, their exchanges and the control exchange have the flags and arguments of Celery's
//! own declarations, since RabbitMQ refuses the second party otherwise.

use std::time::Duration;

use celeriac_core::QueueName;
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
}

const DURABLE: QueueFlags = QueueFlags {
    durable: true,
    exclusive: false,
    auto_delete: false,
};

/// How long the queue of a consumer's long calls outlives it, empty.
const KEPT_EXPIRES: Duration = Duration::from_secs(60 * 60);

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
        }
    }

    /// What it is declared with; nothing if somebody else does it.
    pub(crate) fn declaration(
        &self,
        settings: &Settings,
    ) -> Option<(QueueFlags, Map<String, Value>)> {
        let mut arguments = Map::new();
        match self {
            Self::Private(_) => return None,
            Self::Tasks(_) => {
                if let Some(most) = settings.max_priority {
                    arguments.insert("x-max-priority".to_owned(), most.into());
                }
                if settings.queue_type == QueueType::Quorum {
                    arguments.insert("x-queue-type".to_owned(), "quorum".into());
                }
                expire(&mut arguments, settings.queue_expires);
            }
            Self::Dead => expire(&mut arguments, settings.queue_expires),
            Self::Delayed(queue, level) => {
                arguments = back_to(queue, settings, delay::level_ms(*level));
                if settings.delayed_queue_type == QueueType::Quorum {
                    arguments.extend(never_lost());
                }
            }
            Self::Kept(queue, _) => {
                let kept_ttl = MOST_KEPT_TTL.min(settings.consumer_timeout / 4);
                arguments = back_to(queue, settings, milliseconds(kept_ttl));
                expire(&mut arguments, Some(KEPT_EXPIRES));
            }
        }
        Some((DURABLE, arguments))
    }
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
    /// The exchange by which Celery's remote control reaches all workers.
    pub(crate) fn pidbox(&self) -> String {
        format!("{}.pidbox", self.control_exchange)
    }

    /// The exchange by which clients ask consumers of ours.
    pub(crate) fn control(&self) -> String {
        format!("{}celeriac.control", self.prefix)
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
