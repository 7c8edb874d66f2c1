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
use tokio::time::Instant;

use super::declaring::Misfits;
use super::names::Entity;
use super::settings::Settings;
use super::transport::{Channel, Connection, LinkError, Properties, code};
use super::{control, failure};

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
    pub(super) connection: Connection,
    pub(super) publishing: Channel,
    /// What is declared, and when that was done.
    pub(super) declared: Mutex<HashMap<Entity, Instant>>,
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
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

    pub(super) fn failed(&self, error: LinkError) -> BrokerError {
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
    pub(super) async fn forget(&self, dead: &Arc<Line>) {
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

    pub(super) fn unroutable(&self, entity: &Entity) -> BrokerError {
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
            let outgoing = message.into_iter().collect();
            let told = line
                .publishing
                .publish(outgoing, self.settings.publish_timeout);
            told.await.map_err(|unpublished| unpublished.error)
        };
        telling
            .await
            .map(|_| ())
            .map_err(|error| self.failed(error))
    }
}

impl Line {
    /// Whether that was declared and is taken to be as it was. Of a queue that is gone we hear, but not
    /// of one binding of several, so those of an exchange are made anew after `interval`.
    fn has_declared(&self, entity: &Entity, interval: Duration) -> bool {
        let declared = lock(&self.declared);
        let at = declared.get(entity);
        at.is_some_and(|at| !matches!(entity, Entity::Exchange(_)) || at.elapsed() < interval)
    }

    pub(super) fn is_open(&self) -> bool {
        self.connection.is_open() && self.publishing.is_open()
    }
}
