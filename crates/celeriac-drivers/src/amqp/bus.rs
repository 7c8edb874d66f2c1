//! Remote control and events over RabbitMQ: exchanges, and a passing queue for each listener.
//!
//! # Sources
//!
//! The flags and arguments of exchanges and queues are those of kombu's pidbox and Celery's events,
//! because the server refuses the second party otherwise.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Address, BoxFuture, BrokerError, Bus, Listener, Notice, Topic};
use celeriac_wire::event;
use futures_util::{FutureExt as _, StreamExt as _};
use serde_json::{Map, json};
use tokio::time::timeout;
use tracing::{debug, warn};

use super::hub::Hub;
use super::intake::jittered;
use super::transport::{
    Channel, Connection, Consume, Description, Incoming, LinkError, Outgoing, Properties,
    QueueFlags, Stream, code,
};
use super::{failure, runtime};
use crate::inbox::{Inbox, inbox};

/// How long a notice may take on its way to the server.
const SEND: Duration = Duration::from_secs(5);

/// How many notices the server sends ahead.
const AHEAD: u16 = 200;

/// The wait before a new connection: the first, and the longest.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// See the module. Clones share it.
#[derive(Clone)]
pub(crate) struct AmqpBus {
    hub: Arc<Hub>,
    /// Not that of the tasks: what is told must not stand before what is published.
    line: Arc<tokio::sync::Mutex<Option<Line>>>,
}

/// A connection on which notices are sent.
#[derive(Clone)]
struct Line {
    connection: Connection,
    channel: Channel,
}

/// What a topic is on the server.
struct Place {
    exchange: Exchange,
    queue: String,
    routing_key: String,
    expires_ms: u32,
    ttl_ms: u32,
}

/// An exchange with its kind, and whether it survives the server.
struct Exchange(String, &'static str, bool);

impl AmqpBus {
    pub(crate) fn new(hub: Arc<Hub>) -> Self {
        Self {
            hub,
            line: Arc::default(),
        }
    }

    fn exchange(&self, topic: &Topic) -> Exchange {
        match topic {
            Topic::Events => Exchange(event::EXCHANGE.to_owned(), "topic", true),
            Topic::Answers(_) => Exchange(self.answers(), "direct", false),
            _ => Exchange(self.hub.settings.pidbox(), "fanout", false),
        }
    }

    fn place(&self, topic: &Topic) -> Place {
        let exchange = self.exchange(topic);
        let of_control = |name: &str, routing_key: &str| Place {
            queue: format!("{name}.{}", exchange.0),
            routing_key: routing_key.to_owned(),
            expires_ms: 10_000,
            ttl_ms: 300_000,
            exchange: Exchange(exchange.0.clone(), exchange.1, exchange.2),
        };
        match topic {
            Topic::Answers(key) => of_control(key, key),
            Topic::Commands(node) => of_control(node, ""),
            _ => Place {
                queue: format!("celeryev.{}", uuid::Uuid::new_v4()),
                routing_key: "#".to_owned(),
                expires_ms: 60_000,
                ttl_ms: 5_000,
                exchange,
            },
        }
    }

    /// The connection on which is sent, with the exchanges declared; made if there is none.
    async fn line(&self) -> Result<Line, BrokerError> {
        let mut line = self.line.lock().await;
        if let Some(line) = &*line
            && line.connection.is_open()
            && line.channel.is_open()
        {
            return Ok(line.clone());
        }
        let connection = match line.take().filter(|line| line.connection.is_open()) {
            Some(line) => line.connection,
            None => self.hub.connect("celeriac:told").await?,
        };
        let begun = self.begin(connection).await;
        let begun = begun.map_err(|error| failure::at(&self.hub.address(), error))?;
        Ok(line.insert(begun).clone())
    }

    async fn begin(&self, connection: Connection) -> Result<Line, LinkError> {
        let topics = [
            Topic::Events,
            Topic::Answers(String::new()),
            Topic::Commands(String::new()),
        ];
        let channel = connection.channel().await?;
        for topic in &topics {
            let Exchange(name, kind, durable) = self.exchange(topic);
            channel.declare_exchange(&name, kind, durable).await?;
        }
        Ok(Line {
            connection,
            channel,
        })
    }

    async fn tell(&self, to: Address, notice: Notice) -> Result<(), BrokerError> {
        let (exchange, routing_key, asked) = match to {
            Address::Workers => (self.hub.settings.pidbox(), String::new(), true),
            Address::Monitors(key) => (event::EXCHANGE.to_owned(), key, false),
            Address::Asker {
                exchange,
                routing_key,
            } if exchange == self.answers() => (exchange, routing_key, false),
            _ => {
                let own = self.answers();
                return Err(BrokerError::Unsupported {
                    address: self.hub.address(),
                    what: format!("answer elsewhere than through the exchange `{own}`"),
                });
            }
        };
        let failed = |error| failure::at(&self.hub.address(), error);
        let description = Description {
            content_type: &notice.content_type,
            content_encoding: "utf-8",
            priority: Some(0),
            // As Celery has it: what is asked is said to last, and what is told is not.
            persistent: asked,
            ..Description::default()
        };
        let properties = Properties::new(&description, &notice.headers);
        let outgoing = Outgoing {
            exchange,
            routing_key,
            mandatory: false,
            properties: properties.map_err(|reason| failed(LinkError::Unsayable(reason)))?,
            body: notice.body,
        };
        let line = self.line().await?;
        if line.connection.unblocked().now_or_never().is_none() {
            return Err(BrokerError::Full {
                address: self.hub.address(),
                reason: "the server takes no messages, it is short of memory or disk".to_owned(),
            });
        }
        line.channel.tell(&outgoing).map_err(failed)?;
        // Who tells more than the line takes waits for it.
        if timeout(SEND, line.channel.sent()).await.is_err() {
            *self.line.lock().await = None;
            return Err(failed(LinkError::TimedOut("basic.publish")));
        }
        Ok(())
    }

    /// Declares the queue of a topic, and consumes from it.
    async fn open(&self, topic: &Topic) -> Result<Ear, BrokerError> {
        let connection = self.hub.connect("celeriac:hears").await?;
        let opened = self.open_on(connection, topic).await;
        opened.map_err(|error| failure::at(&self.hub.address(), error))
    }

    async fn open_on(&self, connection: Connection, topic: &Topic) -> Result<Ear, LinkError> {
        let place = self.place(topic);
        let Exchange(exchange, kind, durable) = &place.exchange;
        let mut channel = connection.channel().await?;
        channel.declare_exchange(exchange, kind, *durable).await?;
        let flags = QueueFlags {
            exclusive: true,
            auto_delete: true,
            ..QueueFlags::default()
        };
        let arguments = Map::from_iter([
            ("x-expires".to_owned(), json!(place.expires_ms)),
            ("x-message-ttl".to_owned(), json!(place.ttl_ms)),
        ]);
        let mut queue = place.queue;
        match channel.declare_queue(&queue, flags, &arguments).await {
            Err(error) if error.is_code(code::RESOURCE_LOCKED) => {
                // A worker of this name that lives, or has died just now: both are to hear.
                warn!(queue, "another worker has this name");
                channel = connection.channel().await?;
                queue = format!("{}.{queue}", uuid::Uuid::new_v4().simple());
                channel.declare_queue(&queue, flags, &arguments).await?;
            }
            declared => {
                declared?;
            }
        }
        let key = &place.routing_key;
        channel.bind_queue(&queue, exchange, key).await?;
        let stream = channel
            .consume(&queue, "told", AHEAD, Consume::default(), &Map::new())
            .await?;
        Ok(Ear {
            connection,
            channel,
            stream,
        })
    }

    /// Hears on one connection after another, until nobody listens any more.
    async fn hear(self, topic: Topic, first: Ear, inbox: Inbox) {
        let mut ear = Some(first);
        let mut pause = PAUSE.0;
        loop {
            if let Some(mut open) = ear.take() {
                tokio::select! {
                    lost = open.run(&inbox) => debug!(error = &lost as &dyn Error, "cannot listen"),
                    () = inbox.closed() => return open.connection.close().await,
                }
                pause = PAUSE.0;
            }
            tokio::select! {
                () = tokio::time::sleep(jittered(pause)) => {}
                () = inbox.closed() => return,
            }
            match self.open(&topic).await {
                Ok(open) => ear = Some(open),
                Err(error) => {
                    debug!(
                        error = &error as &dyn Error,
                        "cannot listen, will try again"
                    );
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }
}

/// What is heard on one connection.
struct Ear {
    connection: Connection,
    channel: Channel,
    stream: Stream,
}

impl Ear {
    /// Takes in what comes, until the connection is lost.
    async fn run(&mut self, inbox: &Inbox) -> LinkError {
        loop {
            let Some(arrival) = self.stream.next().await else {
                return LinkError::Lost("the server ended the subscription".to_owned());
            };
            let taken = arrival.and_then(|incoming| {
                let tag = incoming.tag;
                put(inbox, incoming);
                self.channel.acknowledge(&[(tag, false)])
            });
            if let Err(error) = taken {
                return error;
            }
        }
    }
}

fn put(inbox: &Inbox, incoming: Incoming) {
    let (headers, _) = incoming.properties.headers();
    inbox.put(Notice {
        content_type: incoming.properties.content_type().to_owned(),
        headers,
        body: incoming.body,
    });
}

impl Bus for AmqpBus {
    fn send(
        &self,
        to: Address,
        notice: Notice,
    ) -> BoxFuture<'_, Result<Option<usize>, BrokerError>> {
        let bus = self.clone();
        let telling = async move { bus.tell(to, notice).await.map(|()| None) };
        Box::pin(runtime::run(telling))
    }

    fn answers(&self) -> String {
        format!("reply.{}", self.hub.settings.pidbox())
    }

    fn listen(&self, topic: Topic) -> BoxFuture<'_, Result<Box<dyn Listener>, BrokerError>> {
        let bus = self.clone();
        Box::pin(runtime::run(async move {
            let (inbox, outlet) = inbox(bus.hub.address());
            let ear = bus.open(&topic).await?;
            runtime::spawn(bus.hear(topic, ear, inbox));
            Ok(Box::new(outlet) as Box<dyn Listener>)
        }))
    }
}

impl fmt::Debug for AmqpBus {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AmqpBus({})", self.hub.address())
    }
}
