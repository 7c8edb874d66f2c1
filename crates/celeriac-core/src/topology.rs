//! The queues a program defines: the exchanges they are bound to, and how they are declared.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::destination::{Destination, DestinationError};
use crate::queue::QueueName;

/// How an exchange finds the queues of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExchangeKind {
    /// Those bound with its routing key.
    Direct,
    /// Those bound with a pattern for it: words between dots, `*` for one, `#` for any. On Redis a `#`
    /// keeps its dots, as in kombu: `news.#` fits `news.x` and not `news`.
    Topic,
    /// All of them. On Redis those who listen now: it is kept for nobody.
    Fanout,
}

impl ExchangeKind {
    /// The word that AMQP has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Topic => "topic",
            Self::Fanout => "fanout",
        }
    }
}

/// An exchange that queues are bound to; durable, as Celery declares its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it finds queues.
    pub kind: ExchangeKind,
}

impl Exchange {
    /// One that compares routing keys.
    pub fn direct(name: impl Into<String>) -> Self {
        Self::of(name, ExchangeKind::Direct)
    }

    /// One that compares routing keys with patterns.
    pub fn topic(name: impl Into<String>) -> Self {
        Self::of(name, ExchangeKind::Topic)
    }

    /// One that sends everything to everybody.
    pub fn fanout(name: impl Into<String>) -> Self {
        Self::of(name, ExchangeKind::Fanout)
    }

    fn of(name: impl Into<String>, kind: ExchangeKind) -> Self {
        Self {
            name: name.into(),
            kind,
        }
    }
}

/// What leads messages of an exchange to a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binding {
    /// The exchange.
    pub exchange: Exchange,
    /// The routing key, or the pattern for it.
    pub routing_key: String,
}

/// The definition of a queue, as an entry of Celery's `task_queues`.
///
/// A queue needs none if it is sent to by its name and declared without arguments.
///
/// ```
/// # use celeriac_core::{Exchange, Queue};
/// let world = Exchange::topic("world");
/// let news = Queue::new("news").bind(world.clone(), "news.#").bind(world, "sports.*");
/// let urgent = Queue::new("urgent").argument("x-max-priority", 10);
/// let reload = Queue::broadcast("reload");
/// # let _ = (news, urgent, reload);
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queue {
    name: String,
    bindings: Vec<Binding>,
    arguments: Map<String, Value>,
    broadcast: bool,
}

impl Queue {
    /// The queue of this name, bound to nothing.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            bindings: Vec::new(),
            arguments: Map::new(),
            broadcast: false,
        }
    }

    /// A broadcast: every worker that takes from `name` gets each message, in a queue of its own that
    /// goes with it. The fanout exchange has the same name, as that of kombu's `Broadcast`.
    ///
    /// A call that was broadcast is as good as acknowledged early, whatever its task says: no other
    /// worker takes the part of one that ends or dies before it has run it, and a worker that starts
    /// again has a new queue. On RabbitMQ that of the old one is deleted after an hour, so that a worker
    /// misses nothing while its connection is lost. On Redis it hears nothing in that time.
    ///
    /// Each worker stores a result under the same id. Send with
    /// `ignore_result`, unless any of them will do.
    pub fn broadcast(name: impl Into<String>) -> Self {
        Self::broadcast_by(name, "")
    }

    /// The same with a routing key as that of the queues of an app of Celery's has: on Redis its clients
    /// push to what is bound by it. An empty one stands for `celery`.
    pub fn broadcast_by(name: impl Into<String>, routing_key: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            broadcast: true,
            ..Self::new(name.clone()).bind(Exchange::fanout(name), routing_key)
        }
    }

    /// Has `exchange` lead messages to it whose routing key fits.
    ///
    /// An empty key stands for `celery`, as for a queue of Celery's that says none; a fanout compares
    /// no keys, but on Redis the name of its channel holds it.
    #[must_use]
    pub fn bind(mut self, exchange: Exchange, routing_key: impl Into<String>) -> Self {
        let mut routing_key = routing_key.into();
        if routing_key.is_empty() {
            QueueName::DEFAULT.clone_into(&mut routing_key);
        }
        self.bindings.push(Binding {
            exchange,
            routing_key,
        });
        self
    }

    /// Declares it with an argument such as `x-max-priority`, where the broker knows such.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.arguments.insert(name.into(), value.into());
        self
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What leads to it.
    pub fn bindings(&self) -> &[Binding] {
        &self.bindings
    }

    /// What it is declared with.
    pub fn arguments(&self) -> &Map<String, Value> {
        &self.arguments
    }

    /// Whether each worker has one of its own.
    pub fn is_broadcast(&self) -> bool {
        self.broadcast
    }

    /// The binding by which messages for it are sent: its first, unless its exchange is a direct one,
    /// since then its name suffices.
    fn way(&self) -> Option<&Binding> {
        let first = self.bindings.first();
        first.filter(|first| first.exchange.kind != ExchangeKind::Direct)
    }
}

/// The queues that a program defines, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Topology(BTreeMap<QueueName, Queue>);

/// Why queues cannot be defined so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopologyError {
    /// A name or a key is none.
    #[error(transparent)]
    Name(#[from] DestinationError),
    /// One queue is defined in two ways.
    #[error("the queue `{0}` is defined twice")]
    Twice(QueueName),
    /// One exchange is of two kinds.
    #[error("the exchange `{exchange}` cannot be {} and {} at once", kinds[0].as_str(), kinds[1].as_str())]
    Kinds {
        /// The exchange.
        exchange: String,
        /// The kinds.
        kinds: [ExchangeKind; 2],
    },
}

impl Topology {
    /// The queues, if they can be defined beside each other.
    ///
    /// # Errors
    ///
    /// [`TopologyError`] if a name is none, or two definitions disagree.
    pub fn new(queues: impl IntoIterator<Item = Queue>) -> Result<Self, TopologyError> {
        let mut topology = Self::default();
        for queue in queues {
            topology.define(queue)?;
        }
        Ok(topology)
    }

    /// These queues and one more.
    ///
    /// # Errors
    ///
    /// [`TopologyError`], as for [`new`](Self::new).
    pub fn with(&self, queue: Queue) -> Result<Self, TopologyError> {
        let mut topology = self.clone();
        topology.define(queue)?;
        Ok(topology)
    }

    fn define(&mut self, queue: Queue) -> Result<(), TopologyError> {
        let name = QueueName::new(&queue.name).map_err(DestinationError::from)?;
        for Binding {
            exchange,
            routing_key,
        } in &queue.bindings
        {
            Destination::exchange(&exchange.name, routing_key)?;
            let known = self.kind(&exchange.name);
            let own = queue.bindings.iter().map(|own| &own.exchange);
            let own = own.filter(|own| own.name == exchange.name);
            let mut others = known.into_iter().chain(own.map(|own| own.kind));
            if let Some(other) = others.find(|kind| *kind != exchange.kind) {
                return Err(TopologyError::Kinds {
                    exchange: exchange.name.clone(),
                    kinds: [other, exchange.kind],
                });
            }
        }
        if self.0.contains_key(&name) {
            return Err(TopologyError::Twice(name));
        }
        self.0.insert(name, queue);
        Ok(())
    }

    /// The names of the queues.
    pub fn names(&self) -> impl Iterator<Item = &QueueName> {
        self.0.keys()
    }

    /// The definition of a queue.
    pub fn queue(&self, name: &QueueName) -> Option<&Queue> {
        self.0.get(name)
    }

    /// The kind of an exchange that some queue is bound to.
    pub fn kind(&self, exchange: &str) -> Option<ExchangeKind> {
        let (_, binding) = self.bound_to(exchange).next()?;
        Some(binding.exchange.kind)
    }

    /// The queues that are bound to an exchange, once for each binding.
    pub fn bound_to(&self, exchange: &str) -> impl Iterator<Item = (&QueueName, &Binding)> {
        let bindings = self.0.iter().flat_map(|(name, queue)| {
            let bindings = queue.bindings.iter();
            bindings.map(move |binding| (name, binding))
        });
        bindings.filter(move |(_, binding)| binding.exchange.name == exchange)
    }

    /// Where a message is published that is to go there: for a queue that has no direct exchange that
    /// is its own exchange with its own first key, so that all get it who would of Celery.
    ///
    /// A fanout without a routing key gets that of its binding.
    pub fn reach(&self, destination: Destination) -> Destination {
        let way = match &destination {
            Destination::Queue(name) => self.queue(name).and_then(Queue::way),
            Destination::Exchange(to) if to.routing_key.is_empty() => {
                let bound = self.bound_to(&to.exchange).map(|(_, binding)| binding);
                bound
                    .into_iter()
                    .find(|binding| binding.exchange.kind == ExchangeKind::Fanout)
            }
            Destination::Exchange(_) => None,
        };
        // What was defined has been checked.
        way.and_then(|way| Destination::exchange(&way.exchange.name, &way.routing_key).ok())
            .unwrap_or(destination)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let world = Exchange::topic("world");
        Topology::new([
            Queue::new("news")
                .bind(world.clone(), "news.#")
                .bind(world, "a.*"),
            Queue::new("own").bind(Exchange::direct("own"), "key"),
            Queue::broadcast("all"),
        ])
        .unwrap()
    }

    #[test]
    fn a_queue_is_reached_as_celery_reaches_it() {
        let exchange = |name, key| Destination::exchange(name, key).unwrap();
        let queue = |name: &str| name.parse::<Destination>().unwrap();
        for (given, reached) in [
            (queue("news"), exchange("world", "news.#")),
            (queue("own"), queue("own")),
            (queue("all"), exchange("all", "celery")),
            (queue("other"), queue("other")),
            (exchange("all", ""), exchange("all", "celery")),
            (exchange("world", ""), exchange("world", "")),
            (exchange("world", "news.x"), exchange("world", "news.x")),
        ] {
            assert_eq!(topology().reach(given), reached);
        }
    }

    #[test]
    fn definitions_that_disagree_are_refused() {
        let twice = Topology::new([Queue::new("a"), Queue::new("a")]).unwrap_err();
        assert_eq!(twice.to_string(), "the queue `a` is defined twice");
        let topic = Queue::new("a").bind(Exchange::topic("x"), "k");
        for other in [
            vec![topic.clone(), Queue::broadcast("x")],
            vec![topic.bind(Exchange::fanout("x"), "k")],
        ] {
            let kinds = Topology::new(other).unwrap_err().to_string();
            assert!(kinds.starts_with("the exchange `x` cannot be "), "{kinds}");
        }
        assert!(Topology::new([Queue::new("a,b")]).is_err());
        assert!(Topology::new([Queue::new("a").bind(Exchange::direct(""), "k")]).is_err());
    }

    #[test]
    fn an_exchange_knows_its_queues() {
        let topology = topology();
        let keys: Vec<_> = topology
            .bound_to("world")
            .map(|(queue, binding)| (queue.as_str(), &*binding.routing_key))
            .collect();
        assert_eq!(keys, [("news", "news.#"), ("news", "a.*")]);
        assert_eq!(topology.kind("all"), Some(ExchangeKind::Fanout));
        assert_eq!(topology.kind("nobody"), None);
    }
}
