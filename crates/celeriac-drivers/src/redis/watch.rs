//! News of results, by the channels on which Celery's backends tell them.
//!
//! Each watch has a connection of its own. It subscribes first and reads then, at the beginning
//! and whenever the connection had to be made anew, so that nothing falls between.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::results::ResultWatch;
use celeriac_core::{Backoff, BoxFuture, BrokerError, StoredResult, TaskId};
use jiff::Timestamp;
use redis::aio::MultiplexedConnection;
use redis::{PushInfo, PushKind, Value};
use tokio::sync::mpsc;

use super::failure::Failure;
use super::keys::Keys;
use super::link::{Dialer, runtime};
use super::results;
use super::store::Inner;

/// From 0.1 s, doubled up to 5 s.
const RECONNECT: Backoff = Backoff::Exponential(Duration::from_millis(100), Duration::from_secs(5));

/// How often the connection is tried when nothing is heard on it.
const PING: Duration = Duration::from_secs(4);

/// How many channels one command subscribes or leaves.
const AT_ONCE: usize = 1000;

/// How many channels of ended calls there are before they are left: a few cost the server nothing.
const LEFT_AT_ONCE: usize = 500;

type News = Result<StoredResult, Failure>;

/// Watches the results of some calls.
pub(super) struct RedisWatch {
    address: String,
    add: mpsc::UnboundedSender<Vec<TaskId>>,
    news: mpsc::UnboundedReceiver<News>,
}

impl RedisWatch {
    /// A watch of no call yet.
    pub(super) fn start(inner: &Arc<Inner>) -> Self {
        let (add, added) = mpsc::unbounded_channel();
        let (tell, news) = mpsc::unbounded_channel();
        let watcher = Watcher {
            dialer: inner.dialer.clone(),
            keys: inner.keys.clone(),
            watched: HashMap::new(),
            done: HashSet::new(),
            tell,
        };
        runtime().spawn(watcher.run(added));
        Self {
            address: inner.address.clone(),
            add,
            news,
        }
    }
}

impl ResultWatch for RedisWatch {
    fn add(&mut self, ids: &[TaskId]) {
        // The watcher lives as long as we do.
        let _ = self.add.send(ids.to_vec());
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Vec<StoredResult>, BrokerError>> {
        Box::pin(async move {
            let closed = || BrokerError::Closed {
                address: self.address.clone(),
            };
            let first = self.news.recv().await.ok_or_else(closed)?;
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

/// Does the work of one watch.
struct Watcher {
    dialer: Arc<Dialer>,
    keys: Keys,
    /// The calls that are watched, by their channels.
    watched: HashMap<String, TaskId>,
    /// Channels to leave, of calls that have ended.
    done: HashSet<String>,
    tell: mpsc::UnboundedSender<News>,
}

/// Why a watcher stopped to listen.
enum End {
    /// Nobody wants to know any more.
    Unwanted,
    /// The connection is lost.
    Lost(Failure),
}

impl Watcher {
    async fn run(mut self, mut added: mpsc::UnboundedReceiver<Vec<TaskId>>) {
        let mut failures = 0;
        loop {
            match self.listen(&mut added, &mut failures).await {
                End::Unwanted => return,
                End::Lost(failure) => {
                    failures += 1;
                    if self.tell.send(Err(failure)).is_err() {
                        return;
                    }
                    tokio::time::sleep(super::full_jitter(RECONNECT.delay(failures))).await;
                }
            }
        }
    }

    async fn listen(
        &mut self,
        added: &mut mpsc::UnboundedReceiver<Vec<TaskId>>,
        failures: &mut u32,
    ) -> End {
        let (mut connection, mut pushes) = match self.dialer.dial().await {
            Ok(dialled) => dialled,
            Err(failure) => return End::Lost(failure),
        };
        self.done.clear();
        let all: Vec<TaskId> = self.watched.values().cloned().collect();
        if let Err(failure) = self.look(&mut connection, all).await {
            return End::Lost(failure);
        }
        *failures = 0;
        loop {
            let outcome = tokio::select! {
                ids = added.recv() => match ids {
                    None => return End::Unwanted,
                    Some(mut ids) => {
                        while let Ok(more) = added.try_recv() {
                            ids.extend(more);
                        }
                        self.look(&mut connection, ids).await
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
            };
            if let Err(failure) = outcome {
                return End::Lost(failure);
            }
        }
    }

    /// Watches these too, and tells what is held of them.
    async fn look(
        &mut self,
        connection: &mut MultiplexedConnection,
        ids: Vec<TaskId>,
    ) -> Result<(), Failure> {
        for ids in ids.chunks(AT_ONCE) {
            let channels: Vec<String> = results::keys_of(&self.keys, ids).collect();
            for (channel, id) in channels.iter().zip(ids) {
                self.watched.insert(channel.clone(), id.clone());
                // One that is added again must not be left right after.
                self.done.remove(channel);
            }
            let mut read = redis::cmd("MGET");
            read.arg(&channels);
            let mut other = connection.clone();
            let subscribing = connection.subscribe(&channels);
            // In this order on one connection, and without a wait between.
            let (subscribed, held) = tokio::join!(subscribing, read.query_async(&mut other));
            subscribed?;
            let held: Vec<Option<Vec<u8>>> = held?;
            for (channel, payload) in channels.iter().zip(held) {
                if let Some(payload) = payload {
                    self.on_payload(channel, &payload);
                }
            }
        }
        Ok(())
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

async fn ping(connection: &mut MultiplexedConnection) -> Result<(), Failure> {
    let ping = redis::cmd("PING");
    Ok(ping.query_async(connection).await?)
}

fn lost() -> Failure {
    let error = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    redis::RedisError::from(error).into()
}
