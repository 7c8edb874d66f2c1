//! Where a message goes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::queue::{MAX_NAME_BYTES, QueueName, QueueNameError};

/// Where a message goes: into a queue, or to an exchange that knows the queues for a routing key.
///
/// A text is read as the name of a queue.
///
/// ```
/// # use celeriac_core::Destination;
/// let fast: Destination = "fast".parse()?;
/// let sports = Destination::exchange("world", "news.sports")?;
/// assert_eq!(fast.to_string(), "fast");
/// assert_eq!(sports.to_string(), "world/news.sports");
/// # Ok::<(), celeriac_core::DestinationError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Destination {
    /// The queue of this name.
    Queue(QueueName),
    /// Whatever queues the exchange has for the key; boxed, because most messages go to a queue.
    Exchange(Box<ExchangeKey>),
}

/// An exchange, and the key by which it finds queues.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ExchangeKey {
    /// The name of the exchange.
    pub exchange: String,
    /// What its bindings are compared with; it may be empty.
    pub routing_key: String,
}

/// Why nothing can be sent there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DestinationError {
    /// It is no name of a queue.
    #[error(transparent)]
    Queue(#[from] QueueNameError),
    /// It is no name of an exchange.
    #[error(
        "an exchange is named by 1 to {MAX_NAME_BYTES} bytes without control characters, not by {0:?}"
    )]
    Exchange(String),
    /// It is no routing key.
    #[error(
        "a routing key has at most {MAX_NAME_BYTES} bytes and no control characters, unlike {0:?}"
    )]
    RoutingKey(String),
}

impl Destination {
    /// The queues that `exchange` has for `routing_key`.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] if a name is too long, the exchange has none, or one holds a control
    /// character.
    pub fn exchange(exchange: &str, routing_key: &str) -> Result<Self, DestinationError> {
        let fits = |text: &str| text.len() <= MAX_NAME_BYTES && !text.contains(char::is_control);
        if exchange.is_empty() || !fits(exchange) {
            return Err(DestinationError::Exchange(exchange.to_owned()));
        }
        if !fits(routing_key) {
            return Err(DestinationError::RoutingKey(routing_key.to_owned()));
        }
        Ok(Self::Exchange(Box::new(ExchangeKey {
            exchange: exchange.to_owned(),
            routing_key: routing_key.to_owned(),
        })))
    }

    /// What the options of a call say, read as Celery reads them: an exchange wins over a queue, and
    /// the exchange without a name leads to the queue that the key names. `None` if they say nothing.
    ///
    /// # Errors
    ///
    /// [`DestinationError`] if a name is none.
    pub fn of(
        queue: Option<&str>,
        exchange: Option<&str>,
        routing_key: Option<&str>,
    ) -> Result<Option<Self>, DestinationError> {
        let to_queue = |name: &str| Ok(Some(Self::Queue(QueueName::new(name)?)));
        match (exchange.filter(|name| !name.is_empty()), routing_key, queue) {
            (Some(exchange), Some(key), _) => Self::exchange(exchange, key).map(Some),
            (_, _, Some(queue)) => to_queue(queue),
            (Some(exchange), None, None) => Self::exchange(exchange, "").map(Some),
            (None, Some(key), None) => to_queue(key),
            (None, None, None) => Ok(None),
        }
    }

    /// The queue, if it is one.
    pub fn queue(&self) -> Option<&QueueName> {
        match self {
            Self::Queue(queue) => Some(queue),
            Self::Exchange(_) => None,
        }
    }
}

impl Default for Destination {
    fn default() -> Self {
        Self::Queue(QueueName::default())
    }
}

impl From<QueueName> for Destination {
    fn from(queue: QueueName) -> Self {
        Self::Queue(queue)
    }
}

impl FromStr for Destination {
    type Err = QueueNameError;

    fn from_str(queue: &str) -> Result<Self, Self::Err> {
        QueueName::new(queue).map(Self::Queue)
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(queue) => queue.fmt(formatter),
            Self::Exchange(to) => write!(formatter, "{}/{}", to.exchange, to.routing_key),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_as_celery_reads_them() {
        let queue = |name: &str| Some(name.parse().unwrap());
        let exchange = |name, key| Some(Destination::exchange(name, key).unwrap());
        for (options, expected) in [
            ((None, None, None), None),
            ((Some("q"), None, None), queue("q")),
            ((Some("q"), None, Some("k")), queue("q")),
            ((Some("q"), Some("x"), None), queue("q")),
            ((Some("q"), Some("x"), Some("k")), exchange("x", "k")),
            ((None, Some("x"), None), exchange("x", "")),
            ((None, Some(""), Some("k")), queue("k")),
        ] {
            let (queue, exchange, key) = options;
            assert_eq!(
                Destination::of(queue, exchange, key),
                Ok(expected),
                "{options:?}"
            );
        }
    }

    #[test]
    fn names_that_no_broker_could_keep_are_refused() {
        let long = "x".repeat(256);
        for (exchange, key) in [
            ("", "k"),
            ("a\n", "k"),
            ("x", "a\u{6}b"),
            ("x", &long),
            (&long, ""),
        ] {
            assert!(Destination::exchange(exchange, key).is_err());
        }
    }

    #[test]
    fn it_takes_no_more_room_than_the_name_of_a_queue() {
        assert_eq!(size_of::<Destination>(), size_of::<QueueName>());
    }
}
