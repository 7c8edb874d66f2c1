//! Broadcasts: what a fanout exchange sends to all is heard here, and stands in a queue of the
//! consumer's own until it is run.
//!
//! A channel keeps nothing: what is published while nobody of a name listens, or between two
//! connections of ours, is not heard. What was heard is as safe as any message.
//!
//! # Sources
//!
//! kombu's fanout: its channels, and the queues of `Broadcast`. Celery's clients take the exchange of
//! a `Broadcast` for a direct one unless they have declared it, and so push to the queues that are
//! bound; that is why ours are.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{Backoff, BrokerError, ExchangeKind, Queue, QueueName};
use celeriac_wire::envelope::Incoming;
use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tracing::{debug, warn};

use super::depth;
use super::exchange::members;
use super::failure::Failure;
use super::keeper::Particulars;
use super::keys::{self, is_private};
use super::link::runtime;
use super::store::Inner;

/// From 0.1 s, doubled up to 5 s.
const AGAIN: Backoff = Backoff::Exponential(Duration::from_millis(100), Duration::from_secs(5));

/// How often the connection is tried when nothing is heard on it.
const PING: Duration = Duration::from_secs(4);

/// How often our queues are bound anew, long before the tables are forgotten.
const BIND_AGAIN: Duration = Duration::from_secs(20 * 60);

/// How long kombu keeps the table of an exchange that only passing queues are bound to.
const TABLE_MS: i64 = 3_600_000;

/// The broadcasts that one consumer listens to. They end when it is dropped.
#[derive(Debug)]
pub(super) struct Broadcasts {
    /// What they are called; here each has a queue of another name.
    names: Vec<QueueName>,
    rooms: Arc<[Room]>,
    listening: Option<tokio::task::AbortHandle>,
}

/// One exchange, and the queue in which its messages stand here.
#[derive(Debug)]
struct Room {
    exchange: String,
    queue: QueueName,
    /// What stands for the queue in the exchange's table.
    member: String,
}

type Ear = (MultiplexedConnection, mpsc::UnboundedReceiver<PushInfo>);

impl Broadcasts {
    /// Puts queues of the consumer's own in the place of those that are broadcasts.
    pub(super) fn of(
        inner: &Inner,
        subscription: &mut Subscription,
        owner: &str,
    ) -> Result<Self, BrokerError> {
        let topology = inner.definitions.now();
        let (mut names, mut rooms) = (Vec::new(), Vec::new());
        for (number, name) in subscription.queues.iter_mut().enumerate() {
            let Some(queue) = topology.queue(name).filter(|it| hears(it)) else {
                continue;
            };
            let fanout = |kind| kind == ExchangeKind::Fanout;
            if !queue.bindings().iter().all(|it| fanout(it.exchange.kind)) {
                return Err(BrokerError::Unsupported {
                    address: inner.address.clone(),
                    what: format!("bind `{name}` to a fanout and to another kind of exchange"),
                });
            }
            names.push(name.clone());
            *name = QueueName::new(&keys::private(owner, number)).expect("it is short and plain");
            let members = members(inner, name, queue).into_iter();
            rooms.extend(members.map(|(exchange, member)| Room {
                exchange,
                queue: name.clone(),
                member,
            }));
        }
        Ok(Self {
            names,
            rooms: rooms.into(),
            listening: None,
        })
    }

    /// Whether this is one of them.
    pub(super) fn has(&self, name: &QueueName) -> bool {
        self.names.contains(name)
    }

    /// Begins to listen: what is published from now on is heard.
    pub(super) async fn open(&mut self, inner: &Arc<Inner>) -> Result<(), Failure> {
        if self.rooms.is_empty() {
            return Ok(());
        }
        for room in &*self.rooms {
            forget_the_dead(inner, &room.exchange).await?;
            bind(inner, room).await?;
        }
        let (listening_inner, rooms) = (inner.clone(), self.rooms.clone());
        let ear = super::link::detached(async move {
            let ear = subscribe(&listening_inner, &rooms).await?;
            Ok::<_, Failure>((ear, listening_inner, rooms))
        });
        let (ear, inner, rooms) = ear.await??;
        self.listening = Some(runtime().spawn(listen(inner, rooms, ear)).abort_handle());
        Ok(())
    }

    /// Ends it, and drops what was not run.
    pub(super) async fn close(&self, inner: &Inner) -> Result<(), Failure> {
        self.listening
            .iter()
            .for_each(tokio::task::AbortHandle::abort);
        for room in &*self.rooms {
            leave(inner, &room.exchange, &room.member, &room.queue).await?;
        }
        Ok(())
    }
}

impl Drop for Broadcasts {
    fn drop(&mut self) {
        self.listening
            .iter()
            .for_each(tokio::task::AbortHandle::abort);
    }
}

/// Whether a queue is fed by a channel: no list is shared by those who take from it.
pub(super) fn hears(queue: &Queue) -> bool {
    let mut bindings = queue.bindings().iter();
    bindings.any(|it| it.exchange.kind == ExchangeKind::Fanout)
}

async fn bind(inner: &Inner, room: &Room) -> Result<(), Failure> {
    let [table, _] = inner.keys.bindings(&room.exchange);
    let deadline_ms = Timestamp::now().as_millisecond() + TABLE_MS;
    let mut bind = redis::pipe();
    bind.atomic();
    bind.cmd("SADD").arg(table).arg(&room.member).ignore();
    bind.cmd("ZADD")
        .arg(inner.keys.binding_deadlines())
        .arg("GT")
        .arg(deadline_ms)
        .arg(&room.exchange)
        .ignore();
    inner.link.pipeline(bind).await
}

async fn leave(
    inner: &Inner,
    exchange: &str,
    member: &str,
    queue: &QueueName,
) -> Result<(), Failure> {
    let [table, _] = inner.keys.bindings(exchange);
    let mut unbind = redis::cmd("SREM");
    unbind.arg(table).arg(member);
    inner.link.command::<()>(unbind).await?;
    depth::purge(inner, queue).await?;
    Ok(())
}

/// Drops the queues of consumers of ours that died, so that they do not fill for ever.
async fn forget_the_dead(inner: &Inner, exchange: &str) -> Result<(), Failure> {
    let [table, _] = inner.keys.bindings(exchange);
    let mut ask = redis::pipe();
    ask.cmd("SMEMBERS").arg(table);
    ask.cmd("HVALS").arg(inner.keys.own("consumer"));
    let (members, consumers): (Vec<String>, Vec<String>) = inner.link.pipeline(ask).await?;
    let living = consumers
        .iter()
        .filter_map(|it| serde_json::from_str(it).ok());
    let living: HashSet<QueueName> = living.flat_map(|it: Particulars| it.queues).collect();
    for member in &members {
        let queue = inner.keys.read_binding(member).map(|[_, _, queue]| queue);
        let queue = queue.filter(|queue| is_private(queue));
        let Some(queue) = queue.and_then(|queue| QueueName::new(queue).ok()) else {
            continue;
        };
        if !living.contains(&queue) {
            leave(inner, exchange, member, &queue).await?;
        }
    }
    Ok(())
}

/// A connection on which the channels are heard.
async fn subscribe(inner: &Inner, rooms: &[Room]) -> Result<Ear, Failure> {
    let (mut connection, pushes) = inner.dialer.dial().await?;
    for room in rooms {
        for pattern in inner.keys.channels(&room.exchange) {
            connection.psubscribe(pattern).await?;
        }
    }
    Ok((connection, pushes))
}

/// Puts what is heard in its queue, on one connection after another.
async fn listen(inner: Arc<Inner>, rooms: Arc<[Room]>, mut ear: Ear) {
    loop {
        let lost = hear(&inner, &rooms, ear).await;
        debug!(
            error = &lost as &dyn std::error::Error,
            "broadcasts cannot be heard"
        );
        let mut failures = 0;
        ear = loop {
            failures += 1;
            tokio::time::sleep(super::full_jitter(AGAIN.delay(failures))).await;
            match subscribe(&inner, &rooms).await {
                Ok(ear) => break ear,
                Err(error) => warn!(
                    error = &error as &dyn std::error::Error,
                    "broadcasts cannot be heard, will try again"
                ),
            }
        };
    }
}

/// Puts what is heard in its queue, until the connection is lost.
async fn hear(inner: &Inner, rooms: &[Room], (mut connection, mut pushes): Ear) -> Failure {
    let mut bound_at = Instant::now();
    loop {
        if bound_at.elapsed() > BIND_AGAIN {
            bound_at = Instant::now();
            for room in rooms {
                if let Err(error) = bind(inner, room).await {
                    return error;
                }
            }
        }
        match tokio::time::timeout(PING, pushes.recv()).await {
            Ok(Some(push)) if push.kind == PushKind::PMessage => {
                keep(inner, rooms, &push.data).await;
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

/// Puts a message that was heard in the queues of its exchange, however long that takes.
async fn keep(inner: &Inner, rooms: &[Room], heard: &[Value]) {
    let [_, Value::BulkString(channel), Value::BulkString(text)] = heard else {
        return;
    };
    let fits = |room: &&Room| {
        let own = inner.keys.channel(&room.exchange, "");
        let rest = channel.strip_prefix(own.as_bytes());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    // What is no message is set aside where it is claimed.
    let priority = Incoming::read(text).map_or(0, |incoming| incoming.message.priority);
    for room in rooms.iter().filter(fits) {
        let mut failures = 0;
        loop {
            let mut push = redis::cmd("LPUSH");
            push.arg(inner.keys.list(room.queue.as_str(), priority))
                .arg(text);
            let Err(error) = inner.link.command::<()>(push).await else {
                break;
            };
            failures += 1;
            warn!(
                error = &error as &dyn std::error::Error,
                "what was broadcast cannot be kept, will try again"
            );
            tokio::time::sleep(super::full_jitter(AGAIN.delay(failures))).await;
        }
    }
}
