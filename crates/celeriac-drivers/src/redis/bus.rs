//! Remote control and events over Redis: channels to all, and a list for each asker.
//!
//! # Sources
//!
//! kombu's fanout over channels; the lists and the table of bindings through which its pidbox answers.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Address, Backoff, BoxFuture, BrokerError, Bus, Listener, Notice, Topic};
use celeriac_wire::{Envelope, Properties, WireMessage, event};
use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use serde_json::Map;
use tokio::sync::mpsc;
use tracing::debug;
use uuid::Uuid;

use super::control;
use super::failure::Failure;
use super::keys::Keys;
use super::link::{Call, Dialer, Link, detached, runtime};
use super::scripts;
use crate::inbox::{Inbox, Outlet, inbox};

/// The exchange of answers.
const ANSWERS: &str = "reply.celery.pidbox";

/// How long an answer waits for an asker that may be gone.
const KEEP_S: u32 = 60;

/// How long kombu keeps the table of an exchange that only passing queues are bound to.
const TABLE_MS: i64 = 3_600_000;

/// How often the connection is tried when nothing is heard on it.
const PING: Duration = Duration::from_secs(4);

/// How long one look for an answer takes.
const LOOK_S: u32 = 1;

/// From 0.1 s, doubled up to 5 s.
const AGAIN: Backoff = Backoff::Exponential(Duration::from_millis(100), Duration::from_secs(5));

/// See the module. Clones share it.
#[derive(Debug, Clone)]
pub(super) struct RedisBus {
    address: String,
    keys: Keys,
    dialer: Arc<Dialer>,
    /// Not that of the tasks: what is told must not stand before what is settled.
    link: Link,
}

impl RedisBus {
    pub(super) fn new(address: &str, keys: &Keys, dialer: Arc<Dialer>) -> Self {
        Self {
            address: address.to_owned(),
            keys: keys.clone(),
            link: Link::new(dialer.clone()),
            dialer,
        }
    }

    fn told<T>(&self, outcome: Result<T, Failure>) -> Result<T, BrokerError> {
        outcome.map_err(|failure| failure.at(&self.address))
    }

    /// Tells all workers, and says how many hear it.
    async fn command(&self, notice: Notice) -> Result<usize, Failure> {
        let mut command = Call::new(&scripts::COMMAND, [""; 0]);
        command
            .arg(self.keys.channel(control::EXCHANGE, ""))
            .arg(enveloped(control::EXCHANGE, "", notice));
        self.link.run(command).await
    }

    async fn publish(&self, key: &str, notice: Notice) -> Result<(), Failure> {
        let mut publish = redis::cmd("PUBLISH");
        publish
            .arg(self.keys.channel(event::EXCHANGE, key))
            .arg(enveloped(event::EXCHANGE, key, notice));
        self.link.command(publish).await
    }

    /// Puts an answer where its asker is said to look for it.
    async fn answer(&self, key: &str, notice: Notice) -> Result<(), Failure> {
        let mut ask = redis::cmd("SMEMBERS");
        ask.arg(&self.keys.bindings(ANSWERS)[0]);
        let bindings: Vec<String> = self.link.command(ask).await?;
        let queues = bindings.iter().filter_map(|binding| {
            let [bound, _, queue] = self.keys.read_binding(binding)?;
            (bound == key && queue.ends_with(ANSWERS)).then_some(queue)
        });
        let text = enveloped(ANSWERS, key, notice);
        let mut push = redis::pipe();
        for queue in queues {
            let list = self.keys.list(queue, 0);
            push.cmd("LPUSH").arg(&list).arg(&text).ignore();
            push.cmd("EXPIRE").arg(list).arg(KEEP_S).ignore();
        }
        if push.is_empty() {
            debug!("nobody waits for an answer any more");
            return Ok(());
        }
        self.link.pipeline(push).await
    }

    async fn hear(&self, topic: Topic) -> Result<Outlet, Failure> {
        let (inbox, outlet) = inbox(self.address.clone());
        let bus = self.clone();
        let beginning = detached(async move {
            match topic {
                Topic::Answers(key) => {
                    let asker = Asker { bus, key };
                    let connection = asker.begin().await?;
                    runtime().spawn(asker.run(connection, inbox));
                }
                topic => {
                    let room = Room {
                        patterns: bus.patterns(&topic),
                        bus,
                    };
                    let ear = room.subscribe().await?;
                    runtime().spawn(room.run(ear, inbox));
                }
            }
            Ok::<_, Failure>(())
        });
        beginning.await??;
        Ok(outlet)
    }

    fn patterns(&self, topic: &Topic) -> Vec<String> {
        let exchange = match topic {
            Topic::Events => event::EXCHANGE,
            _ => control::EXCHANGE,
        };
        self.keys.channels(exchange).to_vec()
    }
}

impl Bus for RedisBus {
    fn send(
        &self,
        to: Address,
        notice: Notice,
    ) -> BoxFuture<'_, Result<Option<usize>, BrokerError>> {
        Box::pin(async move {
            let sent = match to {
                Address::Workers => self.command(notice).await.map(Some),
                Address::Monitors(key) => self.publish(&key, notice).await.map(|()| None),
                Address::Asker {
                    exchange,
                    routing_key,
                } if exchange == ANSWERS => self.answer(&routing_key, notice).await.map(|()| None),
                _ => {
                    return Err(BrokerError::Unsupported {
                        address: self.address.clone(),
                        what: format!("answer elsewhere than through the exchange `{ANSWERS}`"),
                    });
                }
            };
            self.told(sent)
        })
    }

    fn answers(&self) -> String {
        ANSWERS.to_owned()
    }

    fn listen(&self, topic: Topic) -> BoxFuture<'_, Result<Box<dyn Listener>, BrokerError>> {
        Box::pin(async move {
            let outlet = self.told(self.hear(topic).await)?;
            Ok(Box::new(outlet) as Box<dyn Listener>)
        })
    }
}

fn enveloped(exchange: &str, key: &str, notice: Notice) -> Vec<u8> {
    let envelope = Envelope {
        message: WireMessage {
            headers: notice.headers,
            properties: Properties {
                // As Celery has it: what is asked is said to last, and what is told is not.
                delivery_mode: if exchange == control::EXCHANGE { 2 } else { 1 },
                priority: Some(0),
                content_type: notice.content_type,
                content_encoding: "utf-8".to_owned(),
                ..Properties::default()
            },
            body: notice.body,
        },
        exchange: exchange.to_owned(),
        routing_key: key.to_owned(),
        delivery_tag: Uuid::new_v4().to_string(),
        redelivered: false,
        extra: Map::new(),
    };
    envelope.encode()
}

/// What an envelope holds, if it is one and not too large.
fn put(inbox: &Inbox, envelope: &[u8]) {
    if inbox.refuses(envelope.len() / 4 * 3) {
        return;
    }
    match Envelope::decode(envelope) {
        Ok(envelope) => inbox.put(Notice {
            content_type: envelope.message.properties.content_type,
            headers: envelope.message.headers,
            body: envelope.message.body,
        }),
        Err(error) => {
            inbox.miss();
            debug!(
                error = &error as &dyn Error,
                "what was broadcast is no message"
            );
        }
    }
}

/// Waits before the `failures`-th attempt, and says whether anybody still listens.
async fn wait(inbox: &Inbox, failures: u32) -> bool {
    tokio::select! {
        () = tokio::time::sleep(super::full_jitter(AGAIN.delay(failures))) => true,
        () = inbox.closed() => false,
    }
}

type Ear = (MultiplexedConnection, mpsc::UnboundedReceiver<PushInfo>);

/// Channels that are listened to, on one connection after another.
struct Room {
    bus: RedisBus,
    patterns: Vec<String>,
}

impl Room {
    async fn subscribe(&self) -> Result<Ear, Failure> {
        let (mut connection, pushes) = self.bus.dialer.dial().await?;
        for pattern in &self.patterns {
            connection.psubscribe(pattern).await?;
        }
        Ok((connection, pushes))
    }

    async fn run(self, ear: Ear, inbox: Inbox) {
        let mut ear = Some(ear);
        let mut failures = 0;
        loop {
            let lost = match ear.take() {
                Some(ear) => tokio::select! {
                    lost = hear(&inbox, ear) => lost,
                    () = inbox.closed() => return,
                },
                None => match self.subscribe().await {
                    Ok(new) => {
                        failures = 0;
                        ear = Some(new);
                        continue;
                    }
                    Err(error) => error,
                },
            };
            failures += 1;
            debug!(error = &lost as &dyn Error, "cannot listen, will try again");
            if !wait(&inbox, failures).await {
                return;
            }
        }
    }
}

/// Takes in what is heard, until the connection is lost.
async fn hear(inbox: &Inbox, (mut connection, mut pushes): Ear) -> Failure {
    loop {
        match tokio::time::timeout(PING, pushes.recv()).await {
            Ok(Some(push)) if push.kind == PushKind::PMessage => {
                if let [_, _, Value::BulkString(text)] = push.data.as_slice() {
                    put(inbox, text);
                }
            }
            Ok(Some(push)) if push.kind != PushKind::Disconnection => {}
            Ok(_) => return Failure::timed_out(),
            Err(_) => {
                let alive: Result<(), _> = redis::cmd("PING").query_async(&mut connection).await;
                if let Err(error) = alive {
                    return error.into();
                }
            }
        }
    }
}

/// One who waits for answers in a list of its own.
struct Asker {
    bus: RedisBus,
    key: String,
}

impl Asker {
    fn queue(&self) -> String {
        format!("{}.{ANSWERS}", self.key)
    }

    /// Binds the list, so that answers are put there.
    async fn begin(&self) -> Result<MultiplexedConnection, Failure> {
        let keys = &self.bus.keys;
        let deadline_ms = Timestamp::now().as_millisecond() + TABLE_MS;
        let mut bind = redis::pipe();
        bind.atomic();
        bind.cmd("SADD")
            .arg(&keys.bindings(ANSWERS)[0])
            .arg(keys.binding(&self.key, "", &self.queue()))
            .ignore();
        bind.cmd("ZADD")
            .arg(keys.binding_deadlines())
            .arg("GT")
            .arg(deadline_ms)
            .arg(ANSWERS)
            .ignore();
        self.bus.link.pipeline::<()>(bind).await?;
        let (connection, _) = self.bus.dialer.dial().await?;
        Ok(connection)
    }

    async fn run(self, connection: MultiplexedConnection, inbox: Inbox) {
        let mut connection = Some(connection);
        let mut failures = 0;
        loop {
            let lost = match connection.take() {
                Some(mut open) => tokio::select! {
                    lost = self.look(&mut open, &inbox) => lost,
                    () = inbox.closed() => break,
                },
                None => match self.begin().await {
                    Ok(new) => {
                        failures = 0;
                        connection = Some(new);
                        continue;
                    }
                    Err(error) => error,
                },
            };
            failures += 1;
            debug!(
                error = &lost as &dyn Error,
                "cannot look for answers, will try again"
            );
            if !wait(&inbox, failures).await {
                break;
            }
        }
        if let Err(error) = self.end().await {
            debug!(
                error = &error as &dyn Error,
                "the list of answers will lapse"
            );
        }
    }

    /// Takes in answers, until the connection is lost.
    async fn look(&self, connection: &mut MultiplexedConnection, inbox: &Inbox) -> Failure {
        let list = self.bus.keys.list(&self.queue(), 0);
        loop {
            let mut pop = redis::cmd("BRPOP");
            pop.arg(&list).arg(LOOK_S);
            match pop
                .query_async::<Option<(String, Vec<u8>)>>(connection)
                .await
            {
                Ok(Some((_, text))) => put(inbox, &text),
                Ok(None) => {}
                Err(error) => return error.into(),
            }
        }
    }

    async fn end(&self) -> Result<(), Failure> {
        let keys = &self.bus.keys;
        let mut end = redis::pipe();
        end.atomic();
        end.cmd("SREM")
            .arg(&keys.bindings(ANSWERS)[0])
            .arg(keys.binding(&self.key, "", &self.queue()))
            .ignore();
        end.cmd("DEL").arg(keys.list(&self.queue(), 0)).ignore();
        self.bus.link.pipeline(end).await
    }
}
