//! A consumer: takes from the shelf what the worker asks for, and settles.

use std::collections::HashSet;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{
    BoxFuture, BrokerError, Consumer, Delivery, Destination, Queue, QueueName, Settled, Settlement,
    TaskId, Verdict, moment,
};
use jiff::Timestamp;
use serde_json::Map;
use tokio::sync::{Mutex, mpsc, oneshot, watch};

use super::answers;
use super::dead::Burial;
use super::hub::{Hub, Letter};
use super::intake::{Intake, Order, lock, supervise};
use super::names::{self, Entity};
use super::session::Session;
use super::shelf::{Handed, Raw};
use super::transport::Channel;
use super::{codec, delay, runtime};
use crate::refusal;

/// A consumer of some queues of one server.
pub(crate) struct AmqpConsumer {
    intake: Arc<Intake>,
    orders: mpsc::Sender<Order>,
    news: Mutex<watch::Receiver<()>>,
    revoked_news: Mutex<watch::Receiver<()>>,
}

impl AmqpConsumer {
    /// Connects. Nothing is taken from the queues before the first call to `receive`.
    pub(crate) async fn start(
        hub: Arc<Hub>,
        mut subscription: Subscription,
        body_limit_bytes: usize,
    ) -> Result<Self, BrokerError> {
        own_broadcasts(&hub, &mut subscription)?;
        let shared = subscription.queues.iter();
        hub.know(
            shared
                .filter(|it| names::broadcast_of(it).is_none())
                .cloned(),
        );
        let intake = Arc::new(Intake::new(hub, subscription, body_limit_bytes));
        let session = Session::open(intake.clone()).await?;
        let (orders, inbox) = mpsc::channel(1);
        runtime::spawn(supervise(intake.clone(), session, inbox));
        Ok(Self {
            news: Mutex::new(intake.news.subscribe()),
            revoked_news: Mutex::new(intake.revoked_news.subscribe()),
            intake,
            orders,
        })
    }

    /// What its parts share.
    pub(crate) fn intake(&self) -> &Arc<Intake> {
        &self.intake
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.intake.is_closed() {
            return Err(BrokerError::Closed {
                address: self.intake.hub.address(),
            });
        }
        Ok(())
    }

    /// Has the session take from what the shelf says. If there is none, the next one will.
    async fn change(&self) {
        let (done, changed) = oneshot::channel();
        if self.orders.send(Order::Change(done)).await.is_ok() {
            let _ = changed.await;
        }
        self.intake.news.send_replace(());
    }

    fn cannot(&self, what: &str) -> BrokerError {
        BrokerError::Unsupported {
            address: self.intake.hub.address(),
            what: what.to_owned(),
        }
    }

    /// Takes what is there, and asks for more if that is less than there is room for.
    fn take(&self, credit: usize) -> Vec<Delivery> {
        let mut shelf = self.intake.shelf();
        shelf.promote(Timestamp::now());
        // Before every queue was looked into, what is there may not be the most urgent.
        let taken = if shelf.lanes.are_subscribed() {
            shelf.take(credit)
        } else {
            Vec::new()
        };
        let misfit = taken.is_empty() && !shelf.misfits(credit).is_empty();
        drop(shelf);
        if misfit {
            self.intake.demand.send_replace(credit);
        }
        taken
    }
}

impl Consumer for AmqpConsumer {
    fn receive(&self, credit: NonZeroUsize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            let mut news = self.news.lock().await;
            loop {
                news.mark_unchanged();
                self.check_open()?;
                // Taken and handed over without an await between: nothing can be dropped.
                let taken = self.take(credit.get());
                if !taken.is_empty() {
                    return Ok(taken);
                }
                if let Some(error) = self.intake.take_trouble() {
                    return Err(error);
                }
                // The sender lives in the intake, which we keep.
                let _ = news.changed().await;
            }
        })
    }

    /// Results, follow-ups and what goes back or to the dead are published first, and when the
    /// server has confirmed them the deliveries are acknowledged.
    fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> BoxFuture<'_, Result<Vec<Settled>, BrokerError>> {
        Box::pin(async move {
            self.check_open()?;
            runtime::run(settle(self.intake.clone(), settlements)).await
        })
    }

    /// Acknowledgements are not answered.
    fn turn(&self) -> Duration {
        let channel = self.intake.channel();
        channel.map_or(Duration::ZERO, |channel| channel.turn())
    }

    fn revoked(&self) -> BoxFuture<'_, Result<Vec<TaskId>, BrokerError>> {
        Box::pin(async move {
            let mut news = self.revoked_news.lock().await;
            loop {
                news.mark_unchanged();
                self.check_open()?;
                let told = std::mem::take(&mut *lock(&self.intake.revoked));
                if !told.is_empty() {
                    return Ok(told);
                }
                let _ = news.changed().await;
            }
        })
    }

    fn add_queue(&self, queue: Queue) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check_open()?;
            let hub = &self.intake.hub;
            let topology = &hub.settings.topology;
            let name = topology.add(&queue, || hub.address())?;
            if topology.now().queue(&name).is_some_and(Queue::is_broadcast) {
                return Err(self.cannot("hear a broadcast that it did not start with"));
            }
            let (declaring, entity) = (hub.clone(), Entity::Tasks(name.clone()));
            runtime::run(async move {
                let line = declaring.line().await?;
                declaring.declare(&line, &entity).await
            })
            .await?;
            hub.know([name.clone()]);
            if self.intake.shelf().lanes.add(name) {
                self.change().await;
            }
            Ok(())
        })
    }

    fn cancel_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let own = |it: &QueueName| names::broadcast_of(it) == Some(queue.as_str());
            if self.intake.shelf().lanes.names().iter().any(own) {
                return Err(self.cannot("leave a broadcast before it stops"));
            }
            if self.intake.shelf().lanes.cancel(queue) {
                self.change().await;
            }
            Ok(())
        })
    }

    fn is_connected(&self) -> bool {
        let channel = self.intake.channel();
        channel.is_some_and(|channel| channel.is_trusted())
    }

    fn holds<'a>(&'a self, tags: &'a [i64]) -> BoxFuture<'a, Result<Vec<bool>, BrokerError>> {
        let (intake, tags) = (self.intake.clone(), tags.to_vec());
        Box::pin(runtime::run(async move {
            let stands = stands(&intake).await?;
            let shelf = intake.shelf();
            let holds = |tag: i64| stands && shelf.handed(tag).is_some();
            Ok(tags.into_iter().map(holds).collect())
        }))
    }

    /// What is given back goes to the end of its queue.
    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            if self.intake.mark_closed() {
                return Ok(());
            }
            let (done, closed) = oneshot::channel();
            if self.orders.send(Order::Close(done)).await.is_ok() {
                // If the session ends otherwise, the server gives back what is held.
                let _ = closed.await;
            }
            Ok(())
        })
    }
}

impl Drop for AmqpConsumer {
    fn drop(&mut self) {
        // The session sees that nobody can give it orders any more, and ends.
        self.intake.mark_closed();
    }
}

impl fmt::Debug for AmqpConsumer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "AmqpConsumer({} of {})",
            self.intake.subscription.consumer,
            self.intake.hub.address()
        )
    }
}

/// Whether the channel stands that brought what is held; the server is asked if there is doubt.
async fn stands(intake: &Intake) -> Result<bool, BrokerError> {
    let Some(channel) = intake.channel().filter(Channel::is_open) else {
        return Ok(false);
    };
    let sure = channel.make_sure().await;
    sure.map_err(|error| super::failure::at(&intake.hub.address(), error))?;
    Ok(true)
}

/// Carries out settlements of what is still ours.
async fn settle(
    intake: Arc<Intake>,
    settlements: Vec<Settlement>,
) -> Result<Vec<Settled>, BrokerError> {
    let mut letters = Vec::new();
    let tags: Vec<i64> = settlements.iter().map(|it| it.tag).collect();
    let connected = stands(&intake).await?;
    let mut seen = HashSet::new();
    for settlement in settlements.into_iter().filter(has_consequences) {
        let ours = intake.shelf().handed(settlement.tag).cloned();
        if let Some(handed) = ours.filter(|_| connected && seen.insert(settlement.tag)) {
            letters.extend(letters_of(&intake, settlement, &handed)?);
        }
    }
    if !connected {
        // What the lost channel delivered is somebody else's by now.
        intake.finish(&tags);
        return Ok(vec![Settled::LeaseLost; tags.len()]);
    }
    if !letters.is_empty() {
        intake.hub.send(letters).await?;
    }
    let ours = intake.finish(&tags);
    if let Some(channel) = intake.channel() {
        channel.sent().await;
    }
    // One suspect less may let another one through.
    intake.news.send_replace(());
    let how = |ours| {
        if ours {
            Settled::Done
        } else {
            Settled::LeaseLost
        }
    };
    Ok(ours.into_iter().map(how).collect())
}

/// Whether more follows than that the delivery is acknowledged.
fn has_consequences(settlement: &Settlement) -> bool {
    !matches!(settlement.verdict, Verdict::Ack)
        || settlement.result.is_some()
        || !settlement.follow_ups.is_empty()
}

/// Puts queues of the consumer's own in the place of those that are broadcasts.
fn own_broadcasts(hub: &Hub, subscription: &mut Subscription) -> Result<(), BrokerError> {
    let topology = hub.settings.topology.now();
    for name in &mut subscription.queues {
        let definition = topology.queue(name);
        if definition.is_some_and(celeriac_core::Queue::is_broadcast) {
            let own = names::own_queue(name).ok_or_else(|| BrokerError::Unusable {
                address: hub.address(),
                reason: format!("the name of the broadcast `{name}` is too long"),
                help: "give it one of at most 200 bytes".to_owned(),
            });
            *name = own?;
        }
    }
    Ok(())
}

/// What is published before a delivery is acknowledged, in its order.
fn letters_of(
    intake: &Intake,
    settlement: Settlement,
    handed: &Handed,
) -> Result<Vec<Letter>, BrokerError> {
    let raw = &handed.raw;
    let reply_to = raw.properties.reply_to();
    let mut letters = Vec::new();
    if let (Some(result), Some(to)) = (&settlement.result, reply_to) {
        letters.extend(answers::letter(result, to));
    }
    for (destination, message) in settlement.follow_ups {
        letters.push(letter_to(intake, destination, &message)?);
    }
    let queue = intake.shelf().queue(handed.queue).clone();
    let verdict = match settlement.verdict {
        Verdict::Requeue { eta, counted } => {
            let count = if counted {
                handed.deliveries
            } else {
                handed.deliveries.saturating_sub(1)
            };
            Some(again(queue, raw, count, eta))
        }
        Verdict::Dead(reason, detail) => {
            Some(Ok(
                Burial::new(queue, reason, detail, handed.deliveries).letter(raw)
            ))
        }
        _ => None,
    };
    if let Some(letter) = verdict {
        letters.push(letter.map_err(|reason| unsayable(intake, reason))?);
    }
    Ok(letters)
}

/// The letter that carries a new message to where it waits.
pub(crate) fn letter_to(
    intake: &Intake,
    destination: Destination,
    message: &celeriac_core::Message,
) -> Result<Letter, BrokerError> {
    refusal::check_size(message, intake.body_limit_bytes)?;
    let to = match destination {
        Destination::Queue(queue) => {
            waiting_place(queue, far(message.headers.eta), Timestamp::now())
        }
        // Until its time it waits behind the exchange, at each of its queues.
        Destination::Exchange(to) => Entity::Exchange(to),
    };
    codec::encode(to, message).map_err(|reason| unsayable(intake, reason))
}

fn unsayable(intake: &Intake, reason: String) -> BrokerError {
    super::failure::at(
        &intake.hub.address(),
        super::transport::LinkError::Unsayable(reason),
    )
}

/// The time of a new message, if that is worth a wait in front of its queue.
pub(crate) fn far(eta: Option<Timestamp>) -> Option<Timestamp> {
    eta.filter(|eta| *eta > Timestamp::now() + delay::NEAR)
}

/// Where a message waits that is due at `eta`: in its queue, or in front of it.
pub(crate) fn waiting_place(
    queue: celeriac_core::QueueName,
    eta: Option<Timestamp>,
    now: Timestamp,
) -> Entity {
    match eta.and_then(|eta| delay::level(now, eta)) {
        // What is broadcast waits on its consumer, as the queues of delays outlive it.
        Some(level) if names::broadcast_of(&queue).is_none() => Entity::Delayed(queue, level),
        _ => Entity::Tasks(queue),
    }
}

/// The letter that gives a message back, delivered `count` times so far.
fn again(
    queue: celeriac_core::QueueName,
    raw: &Raw,
    count: u32,
    eta: Option<Timestamp>,
) -> Result<Letter, String> {
    let mut properties = codec::with_count(&raw.properties, count)?;
    if let Some(eta) = eta {
        let text = moment::show(eta).to_string();
        properties.set_headers(&Map::from_iter([("eta".to_owned(), text.into())]))?;
    }
    Ok(Letter {
        to: waiting_place(queue, eta, Timestamp::now()),
        properties,
        body: raw.body.clone(),
    })
}
