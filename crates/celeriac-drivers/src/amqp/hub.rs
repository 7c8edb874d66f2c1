//! The connection on which a broker's handle publishes and declares.
//!
//! It is made when it is needed and made anew when it was lost. Consumers have connections of their
//! own: a server that is short of memory stops reading from those that publish.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use celeriac_core::{BrokerError, Destination, ExchangeKey, QueueName, TaskId};
use tokio::time::timeout;

use super::names::{Entity, Lead};
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
    /// The queues of which it was told that they are not as they should be.
    misfits: Mutex<HashSet<String>>,
}

/// A connection with the channel on which we publish.
#[derive(Debug)]
pub(crate) struct Line {
    connection: Connection,
    publishing: Channel,
    declared: Mutex<HashSet<Entity>>,
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
        failure::at(&self.address(), error)
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
        if lock(&line.declared).contains(entity) {
            return Ok(());
        }
        let entity = entity.declared();
        if lock(&line.declared).contains(&entity) {
            return Ok(());
        }
        let declared = self.declare_on(&line.connection, &entity).await;
        declared.map_err(|error| match &entity {
            Entity::Exchange(_) if error.is_code(code::NOT_FOUND) => self.unroutable(&entity),
            _ => self.failed(error),
        })?;
        lock(&line.declared).insert(entity);
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

    /// Declares a queue as it must be, or an exchange with all its queues that are defined. A queue
    /// that is there with other arguments is used as it is.
    pub(crate) async fn declare_on(
        &self,
        connection: &Connection,
        entity: &Entity,
    ) -> Result<(), LinkError> {
        if let Entity::Exchange(to) = entity {
            return self.declare_exchange(connection, &to.exchange).await;
        }
        if let Some(reason) = declare(connection, &self.settings, entity).await? {
            let queue = entity.name(&self.settings);
            if lock(&self.misfits).insert(queue.clone()) {
                tracing::warn!(
                    queue,
                    reason,
                    help = "declare it alike everywhere, or delete it when it is empty",
                    "the queue was declared with other arguments, it is used as it is"
                );
            }
        }
        Ok(())
    }

    /// Declares an exchange of tasks with the queues that are defined for it; one of somebody else's
    /// must be there.
    async fn declare_exchange(
        &self,
        connection: &Connection,
        exchange: &str,
    ) -> Result<(), LinkError> {
        let topology = &self.settings.topology;
        let name = format!("{}{exchange}", self.settings.prefix);
        let channel = connection.channel().await?;
        let Some(kind) = topology.kind(exchange) else {
            return channel.look_at_exchange(&name).await;
        };
        channel.declare_exchange(&name, kind.as_str(), true).await?;
        let bound: HashSet<_> = topology.bound_to(exchange).map(|it| it.0).collect();
        for queue in bound {
            let definition = topology.queue(queue);
            if definition.is_some_and(|definition| !definition.is_broadcast()) {
                let queue = Entity::Tasks(queue.clone());
                Box::pin(self.declare_on(connection, &queue)).await?;
            }
        }
        Ok(())
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
                for letter in &unrouted {
                    lock(&line.declared).remove(&letter.to.declared());
                    self.declare(line, &letter.to).await?;
                }
                if let Some(lost) = self.publish(line, &unrouted).await?.first() {
                    if matches!(lost.to, Entity::Exchange(_)) {
                        return Err(self.unroutable(&lost.to));
                    }
                    let queue = lost.to.name(&self.settings);
                    let reason = format!("no queue `{queue}` takes a message");
                    return Err(self.failed(LinkError::NotTaken(reason)));
                }
            }
            rest = after;
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
    fn is_open(&self) -> bool {
        self.connection.is_open() && self.publishing.is_open()
    }
}

/// Declares a queue. If it is there with other arguments, what the server says of that is returned.
async fn declare(
    connection: &Connection,
    settings: &Settings,
    entity: &Entity,
) -> Result<Option<String>, LinkError> {
    let Some((flags, arguments)) = entity.declaration(settings) else {
        return Ok(None);
    };
    let name = entity.name(settings);
    let leads = match entity {
        Entity::Tasks(queue) => declare_leads(connection, settings.leads_to(queue)).await?,
        _ => Vec::new(),
    };
    // A refusal ends the channel, so each question has its own.
    let mut channel = connection.channel().await?;
    let mut misfit = None;
    match channel.declare_queue(&name, flags, &arguments).await {
        Err(LinkError::Refused { code, text }) if code == code::PRECONDITION_FAILED => {
            channel = connection.channel().await?;
            channel.look_at(&name).await?;
            misfit = Some(text);
        }
        declared => {
            declared?;
        }
    }
    for lead in leads {
        channel
            .bind_queue(&name, &lead.exchange, &lead.routing_key)
            .await?;
    }
    Ok(misfit)
}

/// Declares the exchanges that lead to a queue, and gives those that are ours to bind to.
async fn declare_leads(connection: &Connection, leads: Vec<Lead>) -> Result<Vec<Lead>, LinkError> {
    let mut ours = Vec::with_capacity(leads.len());
    for lead in leads {
        let channel = connection.channel().await?;
        let kind = lead.kind.as_str();
        match channel.declare_exchange(&lead.exchange, kind, true).await {
            Ok(()) => ours.push(lead),
            Err(error @ LinkError::Refused { .. }) if lead.is_own => {
                let exchange = &lead.exchange;
                tracing::debug!(exchange, %error, "the queue's exchange is somebody else's");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(ours)
}
