//! News of results, by the channels on which Celery's backends tell them.
//!
//! Each watch has a connection of its own. It subscribes first and reads then, at the beginning
//! and whenever the connection had to be made anew, so that nothing falls between.
//!
//! Nothing can be held of a call that is only being sent, unless it is done before its channel is
//! subscribed to: that is looked up a little later, and not at all if its result was heard by then.
//!
//! What the server refuses is tried again for ever, but nobody waits for it for ever: those who wait are
//! told once it has lasted, and who comes later is told anew.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::results::ResultWatch;
use celeriac_core::{Backoff, BoxFuture, BrokerError, StoredResult, TaskId};
use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tracing::warn;

use super::failure::Failure;
use super::keys::Keys;
use super::link::{Dialer, runtime};
use super::results;
use super::store::Inner;
use crate::patience::Patience;

/// From 0.1 s, doubled up to 5 s.
const RECONNECT: Backoff = Backoff::Exponential(Duration::from_millis(100), Duration::from_secs(5));

/// How often the connection is tried when nothing is heard on it.
const PING: Duration = Duration::from_secs(4);

/// How many channels one command subscribes or leaves.
const AT_ONCE: usize = 1000;

/// How many channels of ended calls there are before they are left: a few cost the server nothing.
const LEFT_AT_ONCE: usize = 500;

/// How much later it is looked whether a call was done before it was watched.
const LATER: Duration = Duration::from_millis(10);

type News = Result<StoredResult, Failure>;

/// What a watcher is told.
enum Order {
    Add(Vec<TaskId>),
    /// Calls that are only being sent.
    Expect(Vec<TaskId>),
    Leave(Vec<TaskId>),
    /// Nobody waits any more for what was added so far.
    Forget,
}

/// Watches the results of some calls.
pub(super) struct RedisWatch {
    address: String,
    orders: mpsc::UnboundedSender<Order>,
    news: mpsc::UnboundedReceiver<News>,
    /// What the server has refused since calls were added last, and for long.
    refusal: watch::Sender<Option<Failure>>,
    refused: watch::Receiver<Option<Failure>>,
}

impl RedisWatch {
    /// A watch of no call yet.
    pub(super) fn start(inner: &Arc<Inner>) -> Self {
        let (orders, ordered) = mpsc::unbounded_channel();
        let (tell, news) = mpsc::unbounded_channel();
        let (refusal, refused) = watch::channel(None);
        let watcher = Watcher {
            dialer: inner.dialer.clone(),
            keys: inner.keys.clone(),
            watched: HashMap::new(),
            done: HashSet::new(),
            unread: VecDeque::new(),
            tell,
            refusal: refusal.clone(),
        };
        runtime().spawn(watcher.run(ordered));
        Self {
            address: inner.address.clone(),
            orders,
            news,
            refusal,
            refused,
        }
    }
}

impl RedisWatch {
    fn order(&self, more: Order) {
        // It may be mended by now: the next try says so, or that it is not.
        self.refusal.send_replace(None);
        // The watcher lives as long as we do.
        let _ = self.orders.send(more);
    }
}

impl ResultWatch for RedisWatch {
    fn add(&mut self, ids: &[TaskId]) {
        self.order(Order::Add(ids.to_vec()));
    }

    fn expect(&mut self, ids: &[TaskId]) {
        self.order(Order::Expect(ids.to_vec()));
    }

    fn remove(&mut self, ids: &[TaskId]) {
        let _ = self.orders.send(Order::Leave(ids.to_vec()));
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Vec<StoredResult>, BrokerError>> {
        Box::pin(async move {
            let closed = || BrokerError::Closed {
                address: self.address.clone(),
            };
            let first = tokio::select! {
                biased;
                first = self.news.recv() => first.ok_or_else(closed)?,
                refused = self.refused.wait_for(Option::is_some) => {
                    let refused = refused.map_err(|_| closed())?.clone();
                    let _ = self.orders.send(Order::Forget);
                    return Err(refused.map_or_else(closed, |it| it.at_opening(&self.address)));
                }
            };
            let mut told = vec![first.map_err(|failure| failure.at(&self.address))?];
            while let Ok(Ok(more)) = self.news.try_recv() {
                told.push(more);
            }
            Ok(told)
        })
    }
}

impl fmt::Debug for RedisWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "RedisWatch({})", self.address)
    }
}

/// Channels that are to be listened to from now on.
#[derive(Default)]
struct New {
    sent: Vec<String>,
    /// Of calls that are only being sent.
    ahead: Vec<String>,
}

/// Does the work of one watch.
struct Watcher {
    dialer: Arc<Dialer>,
    keys: Keys,
    /// The calls that are watched, by their channels.
    watched: HashMap<String, TaskId>,
    /// Channels to leave, of calls that have ended.
    done: HashSet<String>,
    /// Channels of calls of which nothing was read yet, and when to read that.
    unread: VecDeque<(Instant, String)>,
    tell: mpsc::UnboundedSender<News>,
    refusal: watch::Sender<Option<Failure>>,
}

/// Why a watcher stopped to listen.
enum End {
    /// Nobody wants to know any more.
    Unwanted,
    /// The connection is lost.
    Lost(Failure),
}

impl Watcher {
    async fn run(mut self, mut orders: mpsc::UnboundedReceiver<Order>) {
        let mut failures = 0;
        let mut patience = Patience::default();
        loop {
            let End::Lost(failure) = self.listen(&mut orders, &mut failures).await else {
                return;
            };
            failures += 1;
            if failure.passes() {
                patience = Patience::default();
                if self.tell.send(Err(failure)).is_err() {
                    return;
                }
            } else {
                if self.tell.is_closed() {
                    return;
                }
                let now = Instant::now();
                if patience.begins(now) {
                    let error = &failure as &dyn std::error::Error;
                    warn!(error, "results are not heard, will try again");
                }
                if patience.is_over(now) {
                    self.refusal.send_replace(Some(failure));
                }
            }
            tokio::time::sleep(super::full_jitter(RECONNECT.delay(failures))).await;
        }
    }

    async fn listen(
        &mut self,
        orders: &mut mpsc::UnboundedReceiver<Order>,
        failures: &mut u32,
    ) -> End {
        let (mut connection, mut pushes) = match self.dialer.dial().await {
            Ok(dialled) => dialled,
            Err(failure) => return End::Lost(failure),
        };
        self.done.clear();
        self.unread.clear();
        self.take(orders, None);
        let all: Vec<_> = self.watched.keys().cloned().collect();
        if let Err(failure) = self.look(&mut connection, &all).await {
            return End::Lost(failure);
        }
        *failures = 0;
        loop {
            let unread_at = self.unread.front().map(|(at, _)| *at);
            let outcome = tokio::select! {
                order = orders.recv() => match order {
                    None => return End::Unwanted,
                    Some(order) => {
                        // Those who send, here too, are quicker done.
                        yield_now().await;
                        let new = self.take(orders, Some(order));
                        self.begin(&mut connection, new).await
                    }
                },
                push = tokio::time::timeout(PING, pushes.recv()) => match push {
                    Err(_) => ping(&mut connection).await,
                    Ok(None) => Err(Failure::timed_out()),
                    Ok(Some(push)) if push.kind == PushKind::Disconnection => Err(lost()),
                    Ok(Some(push)) => {
                        self.on_push(push);
                        self.leave(&mut connection).await
                    }
                },
                () = at(unread_at) => self.read_unread(&mut connection).await,
            };
            if let Err(failure) = outcome {
                return End::Lost(failure);
            }
        }
    }

    /// Takes `first` and all other orders that are there; which channels are new.
    fn take(&mut self, orders: &mut mpsc::UnboundedReceiver<Order>, first: Option<Order>) -> New {
        let mut new = New::default();
        let mut next = first.or_else(|| orders.try_recv().ok());
        while let Some(order) = next {
            match order {
                Order::Add(ids) => new.sent.extend(self.watch(&ids)),
                Order::Expect(ids) => new.ahead.extend(self.watch(&ids)),
                Order::Leave(ids) => {
                    for channel in results::keys_of(&self.keys, &ids) {
                        if self.watched.remove(&channel).is_some() {
                            self.done.insert(channel);
                        }
                    }
                }
                Order::Forget => {
                    let forgotten = self.watched.drain().map(|(channel, _)| channel);
                    self.done.extend(forgotten);
                }
            }
            next = orders.try_recv().ok();
        }
        // Some were added and left again.
        new.sent
            .retain(|channel| self.watched.contains_key(channel));
        new.ahead
            .retain(|channel| self.watched.contains_key(channel));
        new
    }

    /// Takes note of calls at once: a connection that is lost while some are looked for must not forget
    /// others.
    fn watch(&mut self, ids: &[TaskId]) -> Vec<String> {
        let channels: Vec<_> = results::keys_of(&self.keys, ids).collect();
        for (channel, id) in channels.iter().zip(ids) {
            // One that is added again must not be left right after.
            self.done.remove(channel);
            self.watched.insert(channel.clone(), id.clone());
        }
        channels
    }

    /// Begins to listen to these.
    async fn begin(
        &mut self,
        connection: &mut MultiplexedConnection,
        new: New,
    ) -> Result<(), Failure> {
        for channels in new.ahead.chunks(AT_ONCE) {
            connection.subscribe(channels).await?;
        }
        let later = Instant::now() + LATER;
        let unread = new.ahead.into_iter().map(|channel| (later, channel));
        self.unread.extend(unread);
        self.look(connection, &new.sent).await
    }

    /// Subscribes to these channels, and tells what is held of their calls.
    async fn look(
        &mut self,
        connection: &mut MultiplexedConnection,
        channels: &[String],
    ) -> Result<(), Failure> {
        for channels in channels.chunks(AT_ONCE) {
            let mut other = connection.clone();
            let subscribing = connection.subscribe(channels);
            // In this order on one connection, and without a wait between.
            let (subscribed, held) = tokio::join!(subscribing, read(&mut other, channels));
            subscribed?;
            self.on_held(channels, held?);
        }
        Ok(())
    }

    /// Tells what is held of calls that were expected, of which nothing was heard so far.
    async fn read_unread(&mut self, connection: &mut MultiplexedConnection) -> Result<(), Failure> {
        let now = Instant::now();
        let due = self.unread.partition_point(|(at, _)| *at <= now);
        let due = self.unread.drain(..due).map(|(_, channel)| channel);
        let unheard: Vec<_> = due
            .filter(|channel| self.watched.contains_key(channel))
            .collect();
        for channels in unheard.chunks(AT_ONCE) {
            let held = read(connection, channels).await?;
            self.on_held(channels, held);
        }
        Ok(())
    }

    fn on_held(&mut self, channels: &[String], held: Vec<Option<Vec<u8>>>) {
        for (channel, payload) in channels.iter().zip(held) {
            if let Some(payload) = payload {
                self.on_payload(channel, &payload);
            }
        }
    }

    fn on_push(&mut self, push: PushInfo) {
        if let (PushKind::Message, [Value::BulkString(channel), Value::BulkString(payload)]) =
            (push.kind, push.data.as_slice())
            && let Ok(channel) = std::str::from_utf8(channel)
        {
            self.on_payload(channel, payload);
        }
    }

    fn on_payload(&mut self, channel: &str, payload: &[u8]) {
        let Some(id) = self.watched.get(channel) else {
            return;
        };
        let stored = results::read(id, payload, Timestamp::now());
        if stored.state.is_final() {
            self.watched.remove(channel);
            self.done.insert(channel.to_owned());
        }
        // Nobody listens only if the watch was dropped, which ends this soon.
        let _ = self.tell.send(Ok(stored));
    }

    /// Leaves the channels of calls that have ended, once there are many.
    async fn leave(&mut self, connection: &mut MultiplexedConnection) -> Result<(), Failure> {
        if self.done.len() < LEFT_AT_ONCE {
            return Ok(());
        }
        let done: Vec<String> = self.done.drain().collect();
        for channels in done.chunks(AT_ONCE) {
            connection.unsubscribe(channels).await?;
        }
        Ok(())
    }
}

/// What the server holds under these names.
async fn read(
    connection: &mut MultiplexedConnection,
    channels: &[String],
) -> Result<Vec<Option<Vec<u8>>>, Failure> {
    Ok(redis::cmd("MGET")
        .arg(channels)
        .query_async(connection)
        .await?)
}

/// Waits until `time`, for ever if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

async fn ping(connection: &mut MultiplexedConnection) -> Result<(), Failure> {
    let ping = redis::cmd("PING");
    Ok(ping.query_async(connection).await?)
}

fn lost() -> Failure {
    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    redis::RedisError::from(error).into()
}
