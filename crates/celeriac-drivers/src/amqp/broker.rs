//! A server, opened: the ports' verbs.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{
    BoxFuture, Broker, BrokerError, BrokerUrl, Bus, Consumer, ConsumerInfo, Coroutine, DeadMessage,
    Destination, Message, QueueInfo, QueueName, ResultBackend, TaskId, Topology,
};
use futures_util::StreamExt as _;
use jiff::Timestamp;
use serde_json::Map;

use super::answers::{AmqpResults, Answers};
use super::bus::AmqpBus;
use super::consumer::{AmqpConsumer, far, waiting_place};
use super::control::{self, Report};
use super::dead::{self, Pick, browse};
use super::hub::{Hub, Letter};
use super::intake::{Intake, lock};
use super::names::Entity;
use super::settings::Settings;
use super::transport::{Consume, Counts, LinkError, QueueFlags, code};
use super::{codec, delay, failure, runtime};
use crate::definitions::Definitions;
use crate::{DriverOptions, refusal};

/// How long consumers have to say what they hold.
const ANSWER: Duration = Duration::from_secs(1);

/// In a queue of more delayed messages than this a revoked one is not looked for.
const MOST_SEARCHED: u64 = 10_000;

/// A RabbitMQ server, as Celery uses it. Clones share its connections, which are closed when the
/// last of them is dropped.
#[derive(Clone)]
pub struct AmqpBroker {
    hub: Arc<Hub>,
    answers: Arc<Answers>,
    body_limit_bytes: usize,
    here: Arc<Mutex<Vec<Weak<Intake>>>>,
    bus: AmqpBus,
}

/// Connects to the server at `url`.
///
/// # Errors
///
/// [`BrokerError::Unusable`] if the URL is none, or the server refuses its user or virtual host;
/// [`BrokerError::Unavailable`] if no server answers.
pub async fn open(url: &BrokerUrl, options: &DriverOptions) -> Result<AmqpBroker, BrokerError> {
    let mut settings = Settings::read(url)?;
    settings.topology = Definitions::new(options.topology.clone());
    let hub = Arc::new(Hub::new(settings));
    let broker = AmqpBroker {
        answers: Arc::new(Answers::new(hub.clone())),
        bus: AmqpBus::new(hub.clone()),
        hub: hub.clone(),
        body_limit_bytes: options.body_limit_bytes,
        here: Arc::default(),
    };
    runtime::run(async move { hub.line().await.map(|_| ()) }).await?;
    Ok(broker)
}

impl AmqpBroker {
    /// The names of the consumers that were opened by this handle and live.
    pub fn consumers_here(&self) -> Vec<String> {
        let here = lock(&self.here);
        let living = here.iter().filter_map(Weak::upgrade);
        living.map(|it| it.subscription.consumer.clone()).collect()
    }

    /// Declares a queue, as publishing to it or consuming from it would.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    pub async fn declare(&self, queue: &QueueName) -> Result<(), BrokerError> {
        let (hub, queue) = (self.hub.clone(), queue.clone());
        runtime::run(async move {
            hub.know([queue.clone()]);
            let line = hub.line().await?;
            hub.declare(&line, &Entity::Tasks(queue)).await
        })
        .await
    }

    /// Deletes every queue that `other` has to do with, with all messages, and the exchanges.
    ///
    /// For those who clean up after tests.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; some may be deleted then.
    pub async fn delete_what_it_knows(&self, other: &Self) -> Result<(), BrokerError> {
        let (broker, queues) = (self.clone(), other.hub.known());
        let theirs = other.hub.settings.topology.now();
        runtime::run(async move { broker.delete(queues, &theirs).await }).await
    }

    async fn delete(&self, queues: Vec<QueueName>, topology: &Topology) -> Result<(), BrokerError> {
        let settings = &self.hub.settings;
        let refused = |error| failure::at(&self.hub.address(), error);
        let mut entities = vec![Entity::Dead, Entity::Private(settings.presence())];
        let mut exchanges = vec![settings.control(), settings.pidbox(), self.bus.answers()];
        for queue in topology.names().filter_map(|name| topology.queue(name)) {
            let bound = queue.bindings().iter().map(|it| &it.exchange.name);
            exchanges.extend(bound.map(|name| format!("{}{name}", settings.prefix)));
        }
        entities.extend(topology.names().cloned().map(Entity::Tasks));
        for queue in queues {
            entities.extend((0..delay::LEVELS).map(|level| Entity::Delayed(queue.clone(), level)));
            exchanges.push(Entity::Tasks(queue.clone()).name(settings));
            entities.push(Entity::Tasks(queue));
        }
        let channel = self.hub.channel().await?;
        for entity in entities {
            channel
                .delete_queue(&entity.name(settings))
                .await
                .map_err(refused)?;
        }
        for exchange in exchanges {
            channel.delete_exchange(&exchange).await.map_err(refused)?;
        }
        Ok(())
    }

    async fn publish_all(&self, messages: Vec<(Destination, Message)>) -> Result<(), BrokerError> {
        let now = Timestamp::now();
        let mut letters: Vec<Letter> = Vec::with_capacity(messages.len());
        for (_, message) in &messages {
            refusal::check_size(message, self.body_limit_bytes)?;
        }
        for (destination, mut message) in messages {
            if message.reply_to.is_none() && message.headers.ignore_result != Some(true) {
                message.reply_to = Some(self.answers.queue().await?.to_owned());
            }
            let to = match destination {
                Destination::Queue(queue) => {
                    self.hub.know([queue.clone()]);
                    waiting_place(queue, far(message.headers.eta), now)
                }
                // Until its time it waits behind the exchange, at each of its queues.
                Destination::Exchange(to) => Entity::Exchange(to),
            };
            if let Entity::Delayed(queue, _) = &to {
                // It goes there by itself, so that must be there.
                let line = self.hub.line().await?;
                let queue = Entity::Tasks(queue.clone());
                self.hub.declare(&line, &queue).await?;
            }
            let encoded = codec::encode(to, &message);
            letters.push(encoded.map_err(|reason| {
                failure::at(&self.hub.address(), LinkError::Unsayable(reason))
            })?);
        }
        self.hub.post(&letters).await
    }

    /// What the server tells of a queue; nothing if there is none.
    async fn look_at(&self, name: &str) -> Result<Option<Counts>, BrokerError> {
        let channel = self.hub.channel().await?;
        match channel.look_at(name).await {
            Ok(counts) => Ok(Some(counts)),
            Err(error) if error.is_code(code::NOT_FOUND) => Ok(None),
            // A queue of somebody's connection is nothing we could use.
            Err(error) if error.is_code(code::RESOURCE_LOCKED) => Ok(None),
            Err(error) => Err(failure::at(&self.hub.address(), error)),
        }
    }

    /// The levels on which messages of a queue wait, and how many on each.
    async fn delayed(&self, queue: &QueueName) -> Result<Vec<(Entity, u64)>, BrokerError> {
        let mut found = Vec::new();
        for level in 0..delay::LEVELS {
            let entity = Entity::Delayed(queue.clone(), level);
            let name = entity.name(&self.hub.settings);
            if let Some(counts) = self.look_at(&name).await? {
                found.push((entity, counts.ready));
            }
        }
        Ok(found)
    }

    /// Asks all consumers what they hold.
    async fn reports(&self) -> Result<Vec<Report>, BrokerError> {
        let asked = self.ask().await;
        asked.map_err(|error| failure::at(&self.hub.address(), error))
    }

    async fn ask(&self) -> Result<Vec<Report>, LinkError> {
        let settings = &self.hub.settings;
        let line = |error: BrokerError| LinkError::Lost(error.to_string());
        let presence = match self.look_at(&settings.presence()).await {
            Ok(None) => return Ok(Vec::new()),
            Ok(Some(counts)) => counts.consumers,
            Err(error) => return Err(line(error)),
        };
        if presence == 0 {
            return Ok(Vec::new());
        }
        let channel = self.hub.channel().await.map_err(line)?;
        let answers = format!(
            "{}celeriac.{}.answers",
            settings.prefix,
            uuid::Uuid::new_v4()
        );
        let flags = QueueFlags {
            exclusive: true,
            auto_delete: true,
            ..QueueFlags::default()
        };
        channel.declare_queue(&answers, flags, &Map::new()).await?;
        let no_ack = Consume {
            no_ack: true,
            ..Consume::default()
        };
        let mut stream = channel
            .consume(&answers, "answers", 0, no_ack, &Map::new())
            .await?;
        if let Some(question) = control::question(&settings.control(), &answers) {
            channel.tell(&question)?;
        }
        let mut reports = Vec::new();
        let all = async {
            while (reports.len() as u64) < presence
                && let Some(answer) = stream.next().await
            {
                let report = serde_json::from_slice(&answer?.body);
                reports.extend(report.ok());
            }
            Ok::<_, LinkError>(())
        };
        if let Ok(asked) = tokio::time::timeout(ANSWER, all).await {
            asked?;
        } else {
            tracing::debug!(presence, "not every consumer said what it holds");
        }
        channel.delete_queue(&answers).await?;
        Ok(reports)
    }

    async fn list_queues(&self) -> Result<Vec<QueueInfo>, BrokerError> {
        let reports = self.reports().await?;
        let mut dead = dead::count(&self.hub).await?;
        let mut held: HashMap<QueueName, [u64; 3]> = HashMap::new();
        for lane in reports.into_iter().flat_map(|report| report.queues) {
            let sums = held.entry(lane.name).or_default();
            for (sum, count) in sums.iter_mut().zip([lane.ready, lane.later, lane.held]) {
                *sum += count;
            }
        }
        // A queue that was consumed from is one still when nobody does: it may be paused.
        self.hub.know(held.keys().cloned());
        let mut names: HashSet<QueueName> = self.hub.known().into_iter().collect();
        names.extend(dead.keys().cloned());
        let mut names: Vec<_> = names.into_iter().collect();
        names.sort();
        let mut infos = Vec::new();
        for name in names {
            let full = Entity::Tasks(name.clone()).name(&self.hub.settings);
            let Some(counts) = self.look_at(&full).await? else {
                continue;
            };
            let waiting = self.delayed(&name).await?;
            let [ready, later, handed] = held.remove(&name).unwrap_or_default();
            infos.push(QueueInfo {
                ready: counts.ready + ready,
                delayed: waiting.iter().map(|(_, count)| count).sum::<u64>() + later,
                held: handed,
                dead: dead.remove(&name).unwrap_or_default(),
                name,
            });
        }
        Ok(infos)
    }

    async fn purge_one(&self, queue: &QueueName) -> Result<u64, BrokerError> {
        let settings = &self.hub.settings;
        let mut purged = 0;
        let tasks = Entity::Tasks(queue.clone());
        let mut entities: Vec<_> = self.delayed(queue).await?;
        entities.push((tasks, 0));
        for (entity, _) in entities {
            let channel = self.hub.channel().await?;
            match channel.purge(&entity.name(settings)).await {
                Ok(count) => purged += count,
                Err(error) if error.is_code(code::NOT_FOUND) => {}
                Err(error) => return Err(failure::at(&self.hub.address(), error)),
            }
        }
        Ok(purged)
    }

    /// Tells all workers, and then lets go what waits for its time.
    async fn revoke_all(&self, ids: &[TaskId]) -> Result<(), BrokerError> {
        self.hub.broadcast_revocation(ids).await?;
        let revoked: HashSet<String> = ids.iter().map(ToString::to_string).collect();
        // Whoever revokes by an id alone may know none of the queues.
        let served = self.reports().await?.into_iter().flat_map(|it| it.queues);
        let mut queues: HashSet<QueueName> = served.map(|lane| lane.name).collect();
        queues.extend(self.hub.known());
        for queue in queues {
            for (entity, count) in self.delayed(&queue).await? {
                if count == 0 || count > MOST_SEARCHED {
                    continue;
                }
                let wanted = |properties: &super::transport::Properties| {
                    let (headers, _) = properties.headers();
                    let id = headers.get("id").and_then(serde_json::Value::as_str);
                    id.is_some_and(|id| revoked.contains(id))
                };
                let released = browse(&self.hub, &entity, |incoming| {
                    if !wanted(&incoming.properties) {
                        return Pick::Leave;
                    }
                    match codec::mark_revoked(&incoming.properties) {
                        Ok(properties) => Pick::to(Letter {
                            to: Entity::Tasks(queue.clone()),
                            properties,
                            body: incoming.body.clone(),
                        }),
                        Err(_) => Pick::Leave,
                    }
                });
                released.await?;
            }
        }
        Ok(())
    }
}

impl Broker for AmqpBroker {
    /// Each message is confirmed by the server before this returns. If the connection is lost
    /// half-way, each is stored or not for itself: AMQP has nothing that would bind them together. The
    /// error then says which were confirmed.
    fn publish(
        &self,
        messages: Vec<(Destination, Message)>,
    ) -> BoxFuture<'_, Result<(), BrokerError>> {
        let broker = self.clone();
        Box::pin(runtime::run(
            async move { broker.publish_all(messages).await },
        ))
    }

    fn consume(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Arc<dyn Consumer>, BrokerError>> {
        let broker = self.clone();
        Box::pin(runtime::run(async move {
            let hub = broker.hub.clone();
            let consumer = AmqpConsumer::start(hub, subscription, broker.body_limit_bytes).await?;
            let mut here = lock(&broker.here);
            here.retain(|intake| intake.strong_count() > 0);
            here.push(Arc::downgrade(consumer.intake()));
            let consumer: Arc<dyn Consumer> = Arc::new(consumer);
            Ok(consumer)
        }))
    }

    /// Workers in Python are told too. Who starts to listen later has not heard of it.
    ///
    /// Delayed calls are looked for in the queues that this handle or some consumer has to do with; in
    /// others they meet their revocation when they are due.
    fn revoke<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        let (broker, ids) = (self.clone(), ids.to_vec());
        Box::pin(runtime::run(async move { broker.revoke_all(&ids).await }))
    }

    /// The results of calls that this handle sends, and of those that run on its consumers.
    fn bus(&self) -> Option<Arc<dyn Bus>> {
        Some(Arc::new(self.bus.clone()))
    }

    fn results(&self) -> Option<Arc<dyn ResultBackend>> {
        Some(Arc::new(AmqpResults(self.answers.clone())))
    }

    /// The queue that the results come to of calls that this handle sends.
    fn reply_to(&self) -> BoxFuture<'_, Result<Option<String>, BrokerError>> {
        let answers = self.answers.clone();
        Box::pin(runtime::run(async move {
            Ok(Some(answers.queue().await?.to_owned()))
        }))
    }

    fn host(&self, coroutine: Coroutine) -> Result<(), Coroutine> {
        runtime::spawn(coroutine);
        Ok(())
    }

    /// The queues that this handle, some consumer or some dead message has to do with: AMQP has no
    /// list of all. What workers in Python hold is not counted.
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, BrokerError>> {
        let broker = self.clone();
        Box::pin(runtime::run(async move { broker.list_queues().await }))
    }

    /// Those of ours; workers in Python answer to Celery's remote control.
    fn consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerInfo>, BrokerError>> {
        let broker = self.clone();
        Box::pin(runtime::run(async move {
            let reports = broker.reports().await?;
            Ok(reports.into_iter().map(Report::into_info).collect())
        }))
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, BrokerError>> {
        let (broker, queue) = (self.clone(), queue.clone());
        Box::pin(runtime::run(async move { broker.purge_one(&queue).await }))
    }

    fn dead(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadMessage>, BrokerError>> {
        let hub = self.hub.clone();
        Box::pin(runtime::run(async move { dead::list(&hub, limit).await }))
    }

    fn retry_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        let (broker, numbers) = (self.clone(), numbers.to_vec());
        Box::pin(runtime::run(async move {
            let retried = dead::retry(&broker.hub, &numbers).await?;
            broker.answers.forget(&retried);
            Ok(retried.len() as u64)
        }))
    }

    fn drop_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        let (hub, numbers) = (self.hub.clone(), numbers.to_vec());
        Box::pin(runtime::run(
            async move { dead::drop_all(&hub, &numbers).await },
        ))
    }
}

impl fmt::Debug for AmqpBroker {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "AmqpBroker({})", self.hub.address())
    }
}
