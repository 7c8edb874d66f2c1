//! The connection on which a broker's handle publishes and declares.
//!
//! It is made when it is needed and made anew when it was lost. Consumers have connections of their
//! own: a server that is short of memory stops reading from those that publish.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use celeriac_core::{BrokerError, Destination, ExchangeKey, QueueName, TaskId};
use tokio::time::{Instant, timeout};

use super::declaring::Misfits;
use super::names::Entity;
use super::settings::Settings;
use super::transport::{Channel, Connection, LinkError, Outgoing, Properties, Refusal, code};
use super::{control, failure};

/// The most messages that wait for their confirmations together.
const TOGETHER: usize = 1000;

/// The most bytes of bodies that do.
const TOGETHER_BYTES: usize = 8 * 1024 * 1024;

/// A message on its way to a queue.
#[derive(Debug, Clone)]
pub(crate) struct Letter {
    pub(crate) to: Entity,
    pub(crate) properties: Properties,
    pub(crate) body: Bytes,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Hub {
    pub(crate) settings: Settings,
    line: tokio::sync::Mutex<Option<Arc<Line>>>,
    /// The server that answered last.
    target: AtomicUsize,
    /// The task queues this handle has to do with.
    known: Mutex<HashSet<QueueName>>,
    pub(super) misfits: Mutex<Misfits>,
}

/// A connection with the channel on which we publish.
#[derive(Debug)]
pub(crate) struct Line {
    connection: Connection,
    publishing: Channel,
    /// What is declared, and when that was done.
    declared: Mutex<HashMap<Entity, Instant>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hub {
    pub(crate) fn new(settings: Settings) -> Self {
        Self {
            settings,
            line: tokio::sync::Mutex::default(),
            target: AtomicUsize::new(0),
            known: Mutex::default(),
            misfits: Mutex::default(),
        }
    }

    pub(crate) fn address(&self) -> String {
        self.settings.address()
    }

    fn failed(&self, error: LinkError) -> BrokerError {
        failure::on_the_way(&self.address(), error)
    }

    /// A new connection to the first server that takes us, the one that did last first.
    pub(crate) async fn connect(&self, name: &str) -> Result<Connection, BrokerError> {
        let targets = &self.settings.targets;
        let first = self.target.load(Ordering::Relaxed);
        let mut failed = None;
        for step in 0..targets.len() {
            let index = (first + step) % targets.len();
            let target = &targets[index];
            match Connection::open(target, self.settings.heartbeat_s, name).await {
                Ok(connection) => {
                    self.target.store(index, Ordering::Relaxed);
                    return Ok(connection);
                }
                Err(error) => {
                    failed.get_or_insert(failure::at_login(target, error));
                }
            }
        }
        Err(failed
            .unwrap_or_else(|| self.failed(LinkError::Lost("the URL names no server".into()))))
    }

    /// The connection, made if there is none.
    pub(crate) async fn line(&self) -> Result<Arc<Line>, BrokerError> {
        let mut line = self.line.lock().await;
        if let Some(line) = &*line
            && line.is_open()
        {
            return Ok(line.clone());
        }
        let connection = self.connect("celeriac").await?;
        let publishing = connection.confirming().await;
        let new = Arc::new(Line {
            publishing: publishing.map_err(|error| self.failed(error))?,
            connection,
            declared: Mutex::default(),
        });
        *line = Some(new.clone());
        Ok(new)
    }

    /// Gives up a connection that does not answer, unless there is another one already.
    async fn forget(&self, dead: &Arc<Line>) {
        let mut line = self.line.lock().await;
        if line.as_ref().is_some_and(|line| Arc::ptr_eq(line, dead)) {
            *line = None;
        }
    }

    /// A channel for questions, which may end with the first one that is refused.
    pub(crate) async fn channel(&self) -> Result<Channel, BrokerError> {
        let line = self.line().await?;
        let opened = line.connection.channel().await;
        opened.map_err(|error| self.failed(error))
    }

    /// Takes note of task queues that are published to or consumed.
    pub(crate) fn know(&self, queues: impl IntoIterator<Item = QueueName>) {
        lock(&self.known).extend(queues);
    }

    /// The task queues this handle has to do with.
    pub(crate) fn known(&self) -> Vec<QueueName> {
        lock(&self.known).iter().cloned().collect()
    }

    /// Declares what is not yet known to be declared.
    pub(crate) async fn declare(&self, line: &Line, entity: &Entity) -> Result<(), BrokerError> {
        let interval = self.settings.declare_interval;
        if line.has_declared(entity, interval) {
            return Ok(());
        }
        let entity = entity.declared();
        if line.has_declared(&entity, interval) {
            return Ok(());
        }
        let declared = self.declare_on(&line.connection, &entity).await;
        declared.map_err(|error| match &entity {
            Entity::Exchange(_) if error.is_code(code::NOT_FOUND) => self.unroutable(&entity),
            _ => self.failed(error),
        })?;
        lock(&line.declared).insert(entity, Instant::now());
        Ok(())
    }

    fn unroutable(&self, entity: &Entity) -> BrokerError {
        let (exchange, routing_key) = entity.address(&self.settings);
        let to = Box::new(ExchangeKey {
            exchange,
            routing_key,
        });
        BrokerError::Unroutable {
            address: self.address(),
            destination: Destination::Exchange(to),
        }
    }

    /// Tells all workers, in whatever language, that these calls are revoked.
    pub(crate) async fn broadcast_revocation(&self, ids: &[TaskId]) -> Result<(), BrokerError> {
        let line = self.line().await?;
        let pidbox = self.settings.pidbox();
        let telling = async {
            line.connection
                .channel()
                .await?
                .declare_exchange(&pidbox, "fanout", false)
                .await?;
            let message = control::revoke(&pidbox, ids);
            line.publishing.publish(message.into_iter().collect()).await
        };
        telling
            .await
            .map(|_| ())
            .map_err(|error| self.failed(error))
    }

    /// Publishes letters in their order, and resolves when the server has confirmed them all.
    ///
    /// Those that no queue took are sent once more after declaring it again.
    pub(crate) async fn send(&self, letters: Vec<Letter>) -> Result<(), BrokerError> {
        let line = self.line().await?;
        let sent = self.send_on(&line, letters).await;
        if sent.as_ref().is_err_and(BrokerError::is_transient) && !line.is_open() {
            self.forget(&line).await;
        }
        sent
    }

    async fn send_on(&self, line: &Arc<Line>, letters: Vec<Letter>) -> Result<(), BrokerError> {
        let entities: HashSet<&Entity> = letters.iter().map(|letter| &letter.to).collect();
        for entity in entities {
            self.declare(line, entity).await?;
        }
        let mut rest = letters.as_slice();
        while !rest.is_empty() {
            let (batch, after) = rest.split_at(batch_len(rest));
            let unrouted = self.publish(line, batch).await?;
            if !unrouted.is_empty() {
                self.publish_again(line, &unrouted).await?;
            }
            rest = after;
        }
        Ok(())
    }

    /// Publishes what no queue took, after declaring again where it goes: somebody has deleted that, or
    /// what leads there.
    async fn publish_again(
        &self,
        line: &Arc<Line>,
        unrouted: &[Letter],
    ) -> Result<(), BrokerError> {
        let places: HashSet<Entity> = unrouted.iter().map(|it| it.to.declared()).collect();
        for place in &places {
            lock(&line.declared).remove(place);
            self.declare(line, place).await?;
        }
        if let Some(lost) = self.publish(line, unrouted).await?.first() {
            if matches!(lost.to, Entity::Exchange(_)) {
                return Err(self.unroutable(&lost.to));
            }
            let queue = lost.to.name(&self.settings);
            let reason = format!("no queue `{queue}` takes a message");
            return Err(self.failed(LinkError::NotTaken(reason)));
        }
        for place in &places {
            tracing::warn!(
                place = place.name(&self.settings),
                help = "find out who deletes queues or bindings; what others publish meanwhile is lost",
                "no queue took a message, what is defined was declared and bound again"
            );
        }
        Ok(())
    }

    /// Publishes a batch and gives back those that no queue took.
    async fn publish(
        &self,
        line: &Arc<Line>,
        batch: &[Letter],
    ) -> Result<Vec<Letter>, BrokerError> {
        let wait = self.settings.publish_timeout;
        if timeout(wait, line.connection.unblocked()).await.is_err() {
            return Err(BrokerError::Full {
                address: self.address(),
                reason: "the server takes no messages, it is short of memory or disk".to_owned(),
            });
        }
        let outgoing = batch.iter().map(|letter| {
            let (exchange, routing_key) = letter.to.address(&self.settings);
            Outgoing {
                exchange,
                routing_key,
                mandatory: letter.to.must_arrive(&self.settings),
                properties: letter.properties.clone(),
                body: letter.body.clone(),
            }
        });
        let publishing = line.publishing.publish(outgoing.collect());
        let refusals = match timeout(wait, publishing).await {
            Ok(Ok(refusals)) => refusals,
            Ok(Err(error)) => return Err(self.failed(error)),
            Err(_) => {
                // What is queued in the client must not be sent after we said that it failed.
                self.forget(line).await;
                return Err(self.failed(LinkError::TimedOut("basic.publish")));
            }
        };
        let mut unrouted = Vec::new();
        for refusal in refusals {
            match refusal {
                Refusal::Unrouted(index) => unrouted.extend(batch.get(index).cloned()),
                Refusal::Nacked(text) => return Err(self.failed(LinkError::NotTaken(text))),
            }
        }
        Ok(unrouted)
    }
}

/// How many of `letters` go together: at least one.
fn batch_len(letters: &[Letter]) -> usize {
    let mut size_bytes = 0;
    let fitting = letters.iter().take(TOGETHER).take_while(|letter| {
        size_bytes += letter.body.len();
        size_bytes <= TOGETHER_BYTES
    });
    fitting.count().max(1)
}

impl Line {
    /// Whether that was declared and is taken to be as it was. Of a queue that is gone we hear, but not
    /// of one binding of several, so those of an exchange are made anew after `interval`.
    fn has_declared(&self, entity: &Entity, interval: Duration) -> bool {
        let declared = lock(&self.declared);
        let at = declared.get(entity);
        at.is_some_and(|at| !matches!(entity, Entity::Exchange(_)) || at.elapsed() < interval)
    }

    fn is_open(&self) -> bool {
        self.connection.is_open() && self.publishing.is_open()
    }
}
