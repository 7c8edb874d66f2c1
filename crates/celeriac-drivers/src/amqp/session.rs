//! A consumer on one connection: subscribes, sorts what arrives, hears what is broadcast.
//!
//! The worker pulls and the server pushes. Between them stands the shelf, which is bounded by the
//! windows of the subscriptions: as wide as what the worker holds and could take, and no wider, so
//! that other workers find what this one cannot run.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::BrokerError;
use futures_util::stream::{BoxStream, SelectAll};
use futures_util::{FutureExt as _, StreamExt as _, future, stream};
use jiff::Timestamp;
use serde_json::Map;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::arrivals::{Aside, Bulky};
use super::control::{self, Heard};
use super::hub::Letter;
use super::intake::{Intake, Order, lock};
use super::names::{Entity, broadcast_of};
use super::settings::QueueType;
use super::sort::Sorted;
use super::transport::{Channel, Connection, Consume, Incoming, LinkError, QueueFlags, Stream};
use super::{codec, failure, keeping, native, upkeep};
use crate::inflating::Inflating;

/// The most deliveries that are taken up together.
const BULK: usize = 1000;

/// How many messages are given back together.
const GIVEN_BACK_TOGETHER: usize = 200;

/// Where a delivery came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// A queue of the subscription, and how often it had been subscribed to.
    Queue(usize, u64),
    /// The queue of what runs for long here, from this queue of the subscription.
    Kept(usize),
}

/// How a session ended.
pub(crate) enum End {
    /// It was to be closed, and everything was given back; or nobody needs it any more.
    Closed,
    /// The connection or a channel is gone.
    Lost(LinkError),
}

type Arrival = (Source, Option<Result<Incoming, LinkError>>);

/// See the module.
pub(crate) struct Session {
    pub(super) intake: Arc<Intake>,
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    telling: Channel,
    broadcasts: Stream,
    _presence: Stream,
    /// Ends with the session.
    _upkeep: JoinSet<()>,
    pub(super) streams: SelectAll<BoxStream<'static, Arrival>>,
    demand: watch::Receiver<usize>,
    declared: HashSet<usize>,
    subscriptions: Vec<u64>,
    pub(super) inflating: Inflating<Bulky, Sorted>,
    pub(super) asides: Vec<Aside>,
    pub(super) again: Option<Instant>,
    /// Whether what is aside could not be published when that was last tried.
    pub(super) is_stuck: bool,
    pub(super) kept: HashSet<usize>,
    pub(super) keep_at: Instant,
}

impl Session {
    /// Connects, and listens to what is broadcast. Nothing is consumed before somebody asks.
    pub(crate) async fn open(intake: Arc<Intake>) -> Result<Self, BrokerError> {
        let name = format!("celeriac:{}", intake.subscription.consumer);
        let connection = intake.hub.connect(&name).await?;
        Self::begin(intake.clone(), connection)
            .await
            .map_err(|error| failure::at(&intake.hub.address(), error))
    }

    async fn begin(intake: Arc<Intake>, connection: Connection) -> Result<Self, LinkError> {
        let channel = connection.channel().await?;
        let telling = connection.channel().await?;
        let settings = &intake.hub.settings;
        upkeep::declare_queues(&intake, &connection).await?;
        if settings.queue_type == QueueType::Quorum {
            let mut queues = intake.shelf().lanes.names();
            queues.retain(|queue| broadcast_of(queue).is_none());
            let leads = queues.iter().flat_map(|queue| {
                let name = Entity::Tasks(queue.clone()).name(settings);
                let leads = settings.leads_to(queue).into_iter();
                leads.map(move |lead| (lead, name.clone()))
            });
            let (queues, kind) = (leads.collect(), settings.delayed_queue_type);
            // It takes a second the first time, and nothing of ours waits for it.
            let declaring = native::declare(connection.clone(), kind, queues);
            tokio::spawn(async move {
                if let Err(error) = declaring.await {
                    tracing::warn!(%error, "Celery's delayed delivery cannot be declared");
                }
            });
        }
        let own = settings.own_control(&intake.id);
        let flags = QueueFlags {
            exclusive: true,
            auto_delete: true,
            ..QueueFlags::default()
        };
        telling.declare_queue(&own, flags, &Map::new()).await?;
        upkeep::bind_control(&intake, &telling).await?;
        let no_ack = Consume {
            no_ack: true,
            ..Consume::default()
        };
        let broadcasts = telling
            .consume(&own, "control", 0, no_ack, &Map::new())
            .await?;
        let presence = settings.presence();
        telling
            .declare_queue(&presence, QueueFlags::default(), &presence_arguments())
            .await?;
        // Last: who counts us here may expect an answer.
        let present = telling
            .consume(&presence, "presence", 1, Consume::default(), &Map::new())
            .await?;
        intake.set_channel(Some(channel.clone()));
        let mut upkeep = JoinSet::new();
        upkeep.spawn(upkeep::run(intake.clone(), connection.clone()));
        let subscriptions = vec![0; intake.shelf().lanes.len()];
        let keep_at = Instant::now() + keeping::interval(&intake.hub.settings);
        let mut demand = intake.demand.subscribe();
        demand.mark_changed();
        Ok(Self {
            demand,
            intake,
            connection,
            channel,
            telling,
            broadcasts,
            _presence: present,
            _upkeep: upkeep,
            streams: SelectAll::new(),
            declared: HashSet::new(),
            subscriptions,
            inflating: Inflating::default(),
            asides: Vec::new(),
            again: None,
            is_stuck: false,
            kept: HashSet::new(),
            keep_at,
        })
    }

    /// Works until the connection is lost or the consumer is closed.
    pub(crate) async fn run(mut self, orders: &mut mpsc::Receiver<Order>) -> End {
        loop {
            let timer = self.next_timer();
            let step = tokio::select! {
                Some(arrival) = self.streams.next(), if !self.streams.is_empty() => {
                    self.take_up(arrival).await
                }
                (bulky, sorted) = self.inflating.next(Bulky::start) => {
                    self.inflated(bulky, sorted).await
                }
                broadcast = self.broadcasts.next() => self.hear(broadcast),
                Ok(()) = self.demand.changed() => self.adjust().await,
                () = tokio::time::sleep_until(timer) => self.on_timer().await,
                order = orders.recv() => match order {
                    Some(Order::Change(done)) => {
                        let changed = self.change().await;
                        let _ = done.send(());
                        changed
                    }
                    Some(Order::Close(done)) => {
                        self.give_back().await;
                        self.delete_broadcasts().await;
                        self.connection.close().await;
                        let _ = done.send(());
                        return End::Closed;
                    }
                    // Dropped without being closed: what is held counts as delivered.
                    None => {
                        self.connection.close().await;
                        return End::Closed;
                    }
                },
            };
            if let Err(error) = step {
                return End::Lost(error);
            }
        }
    }

    fn next_timer(&self) -> Instant {
        let now = Timestamp::now();
        let due = self.intake.shelf().next_due();
        let due = due.map(|due| {
            let wait = if due > now {
                due.duration_since(now).unsigned_abs()
            } else {
                Duration::ZERO
            };
            // Rounded up: the timer counts whole milliseconds.
            Instant::now() + wait + Duration::from_millis(1)
        });
        let times = [due, self.again, Some(self.keep_at)];
        times.into_iter().flatten().min().unwrap_or(self.keep_at)
    }

    async fn on_timer(&mut self) -> Result<(), LinkError> {
        self.intake.shelf().promote(Timestamp::now());
        self.intake.news.send_replace(());
        if self.again.is_some_and(|at| at <= Instant::now()) {
            self.set_aside().await;
        }
        if self.keep_at <= Instant::now() {
            self.keep_at = Instant::now() + keeping::interval(&self.intake.hub.settings);
            self.keep_what_is_long().await?;
        }
        Ok(())
    }

    /// Takes up a delivery and all that came with it.
    async fn take_up(&mut self, first: Arrival) -> Result<(), LinkError> {
        let mut arrivals = vec![first];
        while arrivals.len() < BULK
            && let Some(Some(arrival)) = self.streams.next().now_or_never()
        {
            arrivals.push(arrival);
        }
        let mut cancelled = false;
        for (source, arrival) in arrivals {
            match (source, arrival) {
                (Source::Queue(queue, _), Some(incoming)) => self.sort(queue, incoming?),
                (Source::Kept(_), Some(incoming)) => self.kept_again(&incoming?),
                (Source::Queue(queue, subscription), None) => {
                    if self.subscriptions[queue] == subscription {
                        // The server ended it: the queue was deleted, or moved.
                        let queue_name = self.intake.shelf().queue(queue).clone();
                        tracing::warn!(queue = %queue_name, "the server cancelled the subscription");
                        self.intake.shelf().subscribed(queue, 0);
                        self.declared.remove(&queue);
                        cancelled = true;
                    }
                }
                (Source::Kept(queue), None) => {
                    self.kept.remove(&queue);
                }
            }
        }
        self.give_back_cancelled();
        self.intake.news.send_replace(());
        if self.again.is_none() {
            self.set_aside().await;
        }
        if cancelled {
            self.adjust().await?;
        }
        Ok(())
    }

    /// Ends the subscriptions of queues that are not taken from any more, and begins those of new ones.
    async fn change(&mut self) -> Result<(), LinkError> {
        let unwanted = self.intake.shelf().lanes.to_unsubscribe();
        for queue in unwanted {
            let subscription = self.subscriptions[queue];
            // The number is another one from now on, so its end is no news.
            self.subscriptions[queue] += 1;
            self.channel.cancel(&tag(queue, subscription)).await?;
            self.intake.shelf().subscribed(queue, 0);
            self.settle_down(&[queue]).await?;
        }
        self.set_aside().await;
        self.adjust().await
    }

    /// Fits the subscriptions to what the worker could take.
    async fn adjust(&mut self) -> Result<(), LinkError> {
        let credit = *self.demand.borrow_and_update();
        if credit == 0 {
            return Ok(());
        }
        let (count, misfits) = {
            let shelf = self.intake.shelf();
            (shelf.lanes.len(), shelf.misfits(credit))
        };
        // Queues may have been added.
        self.subscriptions.resize(count, 0);
        for (queue, window) in &misfits {
            self.subscribe(*queue, *window).await?;
        }
        let changed: Vec<_> = misfits.into_iter().map(|(queue, _)| queue).collect();
        self.settle_down(&changed).await
    }

    /// Takes up what has been delivered of queues whose subscriptions have changed.
    async fn settle_down(&mut self, changed: &[usize]) -> Result<(), LinkError> {
        for queue in changed {
            let name = self.intake.shelf().queue(*queue).clone();
            // The server answers after what it has delivered already, so that has arrived then.
            let name = Entity::Tasks(name).name(&self.intake.hub.settings);
            self.channel.look_at(&name).await?;
        }
        self.drain().await?;
        if !changed.is_empty() {
            // Quorum queues may deliver to a subscription after they have ended it.
            let astray = self.intake.shelf().gone_astray();
            for tag in astray {
                self.channel.give_back(tag)?;
            }
        }
        Ok(())
    }

    /// Takes up what has arrived.
    async fn drain(&mut self) -> Result<(), LinkError> {
        while let Some(Some(arrival)) = self.streams.next().now_or_never() {
            Box::pin(self.take_up(arrival)).await?;
        }
        self.intake.news.send_replace(());
        Ok(())
    }

    /// Subscribes to a queue anew. What is held of it stays held.
    async fn subscribe(&mut self, queue: usize, window: usize) -> Result<(), LinkError> {
        let before = self.subscriptions[queue];
        self.subscriptions[queue] += 1;
        if before > 0 {
            self.channel.cancel(&tag(queue, before)).await?;
            // What the old one delivered comes before what the new one will.
            self.drain().await?;
        }
        let settings = &self.intake.hub.settings;
        let entity = Entity::Tasks(self.intake.shelf().queue(queue).clone());
        if !self.declared.contains(&queue) {
            self.intake
                .hub
                .declare_on(&self.connection, &entity)
                .await?;
            self.declared.insert(queue);
        }
        self.intake.shelf().subscribed(queue, window);
        let subscription = self.subscriptions[queue];
        let prefetch = u16::try_from(window).unwrap_or(u16::MAX);
        let stream = self
            .channel
            .consume(
                &entity.name(settings),
                &tag(queue, subscription),
                prefetch,
                Consume::default(),
                &keeping::consumer_arguments(),
            )
            .await?;
        self.listen(Source::Queue(queue, subscription), stream);
        Ok(())
    }

    /// Takes what `stream` brings from now on, and notes its end.
    pub(super) fn listen(&mut self, source: Source, stream: Stream) {
        let arrivals = stream.map(move |arrival| (source, Some(arrival)));
        let end = stream::once(future::ready((source, None)));
        self.streams.push(arrivals.chain(end).boxed());
    }

    /// Does what was broadcast.
    fn hear(&mut self, broadcast: Option<Result<Incoming, LinkError>>) -> Result<(), LinkError> {
        let broadcast =
            broadcast.unwrap_or_else(|| Err(LinkError::Lost("nothing can be heard".into())))?;
        match control::hear(&broadcast.body, &self.intake.subscription.consumer) {
            Heard::Revoked(ids, interrupt) => {
                let mut shelf = self.intake.shelf();
                let now = Instant::now().into_std();
                for id in &ids {
                    shelf.revocations.add(id.clone(), now);
                }
                shelf.hasten_revoked();
                drop(shelf);
                self.intake.news.send_replace(());
                if interrupt {
                    lock(&self.intake.revoked).extend(ids);
                    self.intake.revoked_news.send_replace(());
                }
                Ok(())
            }
            Heard::Asked(answers) => {
                let report = self.intake.report();
                match control::answer(&answers, &report) {
                    Some(answer) => self.telling.tell(&answer),
                    None => Ok(()),
                }
            }
            Heard::Nothing => Ok(()),
        }
    }

    /// Deletes the queues that were this consumer's alone. If it cannot, the server does it later.
    async fn delete_broadcasts(&mut self) {
        let queues = self.intake.shelf().lanes.names();
        for queue in queues.into_iter().filter(|it| broadcast_of(it).is_some()) {
            let name = Entity::Tasks(queue).name(&self.intake.hub.settings);
            if let Err(error) = self.channel.delete_queue(&name).await {
                tracing::debug!(queue = name, %error, "cannot delete the queue of a broadcast");
                return;
            }
        }
    }

    /// Gives back all that is held, as if it had not been delivered.
    ///
    /// It is published again rather than refused: the server would mark it as delivered before.
    async fn give_back(&mut self) {
        for queue in 0..self.subscriptions.len() {
            let subscription = self.subscriptions[queue];
            // The number is another one from now on, so its end is no news.
            self.subscriptions[queue] += 1;
            let tag = tag(queue, subscription);
            if subscription > 0 && self.channel.cancel(&tag).await.is_err() {
                return;
            }
        }
        if self.drain().await.is_err() || !self.asides.is_empty() {
            return;
        }
        let mut held = self.intake.shelf().clear_out();
        held.extend(
            self.inflating
                .clear_out()
                .into_iter()
                .map(Bulky::given_back),
        );
        for batch in held.chunks(GIVEN_BACK_TOGETHER) {
            let letters = batch.iter().filter_map(|(_, queue, deliveries, raw)| {
                let name = self.intake.shelf().queue(*queue).clone();
                let count = deliveries.saturating_sub(1);
                Some(Letter {
                    to: Entity::Tasks(name),
                    properties: codec::with_count(&raw.properties, count).ok()?,
                    body: raw.body.clone(),
                })
            });
            let letters: Vec<_> = letters.collect();
            if letters.len() < batch.len() {
                return;
            }
            if let Err(error) = self.intake.hub.send(letters).await {
                tracing::warn!(%error, "cannot give back uncounted, the server will do it counted");
                return;
            }
            self.intake
                .acknowledge(batch.iter().map(|(tag, ..)| *tag).collect());
        }
    }
}

/// The consumer tag of a subscription.
fn tag(queue: usize, subscription: u64) -> String {
    format!("celeriac-{queue}-{subscription}")
}

fn presence_arguments() -> Map<String, serde_json::Value> {
    Map::from_iter([("x-expires".to_owned(), 600_000.into())])
}
