//! A consumer: reads what was fetched, settles, and gives back.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::Arc;

use celeriac_core::broker::Subscription;
use celeriac_core::{
    BoxFuture, Brief, BrokerError, Consumer, DeadReason, Delivery, Queue, QueueName, Settled,
    Settlement, TaskId, Verdict,
};
use celeriac_wire::compression::DEFAULT_INFLATED_LIMIT_BYTES;
use jiff::Timestamp;
use tokio::sync::{Mutex, oneshot};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{debug, warn};
use uuid::Uuid;

use super::broadcast::{Broadcasts, hears};
use super::claim::Claimed;
use super::endings::{exhausted, given_back};
use super::failure::Failure;
use super::fetch::{Desk, Fetched, fetch};
use super::keeper::{self, Keeper};
use super::link::{Call, detached, runtime};
use super::reading::{Read, ReadError, read};
use super::scripts;
use super::store::Inner;
use crate::inflating::{AT_ONCE_BYTES, Inflating};

/// How many messages are claimed at once, at most, where all that come are to wait for their time.
const FARTHEST: usize = 500;

/// A message that takes long to inflate.
#[derive(Debug)]
struct Bulky {
    number: i64,
    claimed: Arc<Claimed>,
    /// The server's time when it was claimed.
    now_ms: i64,
}

/// A consumer of some queues of one store.
pub(super) struct RedisConsumer {
    pub(super) inner: Arc<Inner>,
    pub(super) desk: Arc<Desk>,
    broadcasts: Broadcasts,
    receiving: Mutex<Receiving>,
    revoking: Mutex<()>,
}

/// What the one waiting call to `receive` needs. All of it outlives a call that is dropped.
#[derive(Default)]
struct Receiving {
    asked: Option<oneshot::Receiver<Result<Fetched, Failure>>>,
    ready: VecDeque<Delivery>,
    inflating: Inflating<Bulky, Read>,
    /// What is to be settled before anything is delivered.
    unfit: Vec<Settlement>,
    /// What is to wait for its time.
    early: Vec<Delivery>,
    /// How many are claimed at least, as what came last was all early; 0 if it was not.
    reach: usize,
}

impl RedisConsumer {
    /// Registers a consumer.
    pub(super) async fn register(
        inner: Arc<Inner>,
        mut subscription: Subscription,
    ) -> Result<Self, BrokerError> {
        let owner: Arc<str> = Uuid::new_v4().simple().to_string().into();
        let mut broadcasts = Broadcasts::of(&inner, &mut subscription, &owner)?;
        let registered_at = Instant::now();
        let registered = keeper::register(&inner, &subscription, &owner).await;
        let last_revoked = inner.told(registered)?;
        inner.told(broadcasts.open(&inner).await)?;
        inner.add_node(&subscription.consumer);
        // Opened before anything can be published that it would have to hear.
        inner.ears();
        let desk = Arc::new(Desk::new(subscription, owner, registered_at, last_revoked));
        runtime().spawn(Keeper::new(&inner, desk.clone()).run());
        Ok(Self {
            inner,
            desk,
            broadcasts,
            receiving: Mutex::default(),
            revoking: Mutex::default(),
        })
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.desk.is_closed() {
            return Err(BrokerError::Closed {
                address: self.inner.address.clone(),
            });
        }
        Ok(())
    }

    fn ask(&self, credit: usize) -> oneshot::Receiver<Result<Fetched, Failure>> {
        let (reply, asked) = oneshot::channel();
        let fetching = fetch(self.inner.clone(), self.desk.clone(), credit);
        runtime().spawn(async move {
            // Whoever asked has gone away, and so has the consumer: it gives back what it holds.
            let _ = reply.send(fetching.await);
        });
        asked
    }

    /// Reads what was fetched, and sorts it.
    fn arrived(&self, receiving: &mut Receiving, fetched: Fetched, credit: usize) {
        let claimed = fetched.messages.len();
        self.sort(receiving, fetched);
        let reached = std::mem::take(&mut receiving.reach) > 0;
        if claimed > 0 && receiving.early.len() == claimed {
            // What waits takes no slot of the worker, so its credit is no measure for them.
            receiving.reach = FARTHEST.min(claimed * 4);
        }
        while reached && receiving.ready.len() > credit {
            // The last goes to the front of its queue first.
            let surplus = receiving.ready.pop_back();
            receiving.unfit.extend(surplus.map(|it| given_back(it.tag)));
        }
    }

    fn sort(&self, receiving: &mut Receiving, fetched: Fetched) {
        for (number, claimed) in fetched.messages {
            match read(&claimed, self.inner.options.body_limit_bytes, AT_ONCE_BYTES) {
                Err(ReadError::Bulky) => receiving.inflating.add(Bulky {
                    number,
                    claimed: claimed.into(),
                    now_ms: fetched.now_ms,
                }),
                read => self.was_read(receiving, number, &claimed, read, fetched.now_ms),
            }
        }
    }

    /// Has another thread read a message.
    fn start_reading(&self, bulky: &Bulky) -> JoinHandle<Read> {
        let (claimed, limit_bytes) = (bulky.claimed.clone(), self.inner.options.body_limit_bytes);
        runtime().spawn_blocking(move || read(&claimed, limit_bytes, DEFAULT_INFLATED_LIMIT_BYTES))
    }

    fn was_read(
        &self,
        receiving: &mut Receiving,
        number: i64,
        claimed: &Claimed,
        read: Read,
        now_ms: i64,
    ) {
        let limit = self.desk.subscription.most_deliveries().get();
        if claimed.deliveries > limit {
            receiving.unfit.push(exhausted(number, limit, read.ok()));
            return;
        }
        if !self.desk.queues.has(&claimed.queue) {
            // It was cancelled meanwhile.
            receiving.unfit.push(given_back(number));
            return;
        }
        let message = match read {
            Ok(message) => message,
            Err(reason) => {
                let reason = reason.to_string();
                warn!(
                    queue = %claimed.queue,
                    reason = DeadReason::Malformed.as_str(),
                    detail = %Brief(&reason),
                    "a message is dead"
                );
                receiving.unfit.push(Settlement {
                    tag: number,
                    verdict: Verdict::Dead(DeadReason::Malformed, reason),
                    result: None,
                    follow_ups: Vec::new(),
                });
                return;
            }
        };
        let id = &message.headers.id;
        self.desk.hold().name(number, id.clone());
        let delivery = Delivery {
            tag: number,
            queue: claimed.queue.clone(),
            deliveries: claimed.deliveries,
            revoked: self.desk.revocations.contains(id),
            message,
        };
        let eta = delivery.message.headers.eta;
        let waits = eta.is_some_and(|eta| eta.as_millisecond() > now_ms);
        if waits && !delivery.revoked {
            receiving.early.push(delivery);
        } else {
            receiving.ready.push_back(delivery);
        }
    }

    /// Lets those wait that came too early.
    async fn park(&self, early: &mut Vec<Delivery>) -> Result<Vec<Delivery>, BrokerError> {
        let mut call = Call::new(&scripts::PARK, self.inner.keys.script());
        for delivery in early.iter() {
            let held = self.desk.hold().get(delivery.tag).cloned();
            // Let go of only by a settlement, and nobody has it yet.
            let held = held.ok_or_else(|| self.closed())?;
            let headers = &delivery.message.headers;
            let due_ms = headers.eta.map_or(0, due_ms);
            call.arg(&*held.owner)
                .arg(&*held.tag)
                .arg(due_ms)
                .arg(headers.id.to_string());
        }
        let how: Vec<u8> = self.inner.run(call).await?;
        self.desk.has_parked();
        let mut revoked = Vec::new();
        for (mut delivery, how) in early.drain(..).zip(how) {
            if how == 2 {
                delivery.revoked = true;
                revoked.push(delivery);
            } else {
                self.desk.hold().let_go(delivery.tag);
            }
        }
        Ok(revoked)
    }

    /// Tells others which queues it takes from now, and binds them.
    async fn list_queues(&self) -> Result<(), BrokerError> {
        let (inner, desk) = (self.inner.clone(), self.desk.clone());
        let listing = detached(async move {
            let owner = desk.owner();
            keeper::register(&inner, &desk.wanted(), &owner).await
        });
        let listed = self.inner.told(listing.await)?;
        self.inner.told(listed).map(|_| ())
    }

    fn closed(&self) -> BrokerError {
        BrokerError::Closed {
            address: self.inner.address.clone(),
        }
    }
}

fn cannot(inner: &Inner, what: &str) -> BrokerError {
    BrokerError::Unsupported {
        address: inner.address.clone(),
        what: what.to_owned(),
    }
}

/// The first whole millisecond that is not before `eta`.
fn due_ms(eta: Timestamp) -> i64 {
    let whole = eta.as_millisecond();
    whole + i64::from(eta.subsec_nanosecond() % 1_000_000 > 0)
}

impl Consumer for RedisConsumer {
    fn receive(&self, credit: NonZeroUsize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            let credit = credit.get();
            let mut receiving = self.receiving.lock().await;
            let receiving = &mut *receiving;
            loop {
                self.check_open()?;
                if !receiving.unfit.is_empty() {
                    self.carry_out(receiving.unfit.clone()).await?;
                    receiving.unfit.clear();
                }
                if !receiving.early.is_empty() {
                    let revoked = self.park(&mut receiving.early).await?;
                    receiving.ready.extend(revoked);
                }
                if !receiving.ready.is_empty() {
                    let count = credit.min(receiving.ready.len());
                    return Ok(receiving.ready.drain(..count).collect());
                }
                let most = credit.max(receiving.reach);
                let asked = receiving.asked.get_or_insert_with(|| self.ask(most));
                let fetched = tokio::select! {
                    fetched = asked => fetched,
                    (it, read) = receiving.inflating.next(|it| self.start_reading(it)) => {
                        let read = read.unwrap_or_else(|panic| Err(ReadError::Panicked(panic)));
                        self.was_read(receiving, it.number, &it.claimed, read, it.now_ms);
                        continue;
                    }
                };
                receiving.asked = None;
                let fetched = fetched
                    .unwrap_or_else(|_| Err(Failure::misfit("its task panicked", "report it")));
                let fetched = fetched.map_err(|it| it.at(&self.inner.address))?;
                self.arrived(receiving, fetched, credit);
            }
        })
    }

    fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> BoxFuture<'_, Result<Vec<Settled>, BrokerError>> {
        Box::pin(async move {
            self.check_open()?;
            self.carry_out(settlements).await
        })
    }

    fn revoked(&self) -> BoxFuture<'_, Result<Vec<TaskId>, BrokerError>> {
        Box::pin(async move {
            let _one = self.revoking.lock().await;
            loop {
                // Subscribed and asked for before looking: what comes between is told.
                let mut heard = self.inner.ears().heard().revocations.subscribe();
                let mut bell = self.desk.bell.subscribe();
                self.check_open()?;
                let inner = self.inner.clone();
                let asked = async move { inner.ears().prick_for_revocations().await };
                // If that cannot be asked for, it is looked for now and then.
                let _ = detached(asked).await;
                let revocations = &self.desk.revocations;
                let caught_up = revocations.catch_up(&self.inner.link, &self.inner.keys);
                self.inner.told(caught_up.await)?;
                let told = revocations.tell();
                if !told.is_empty() {
                    return Ok(told);
                }
                let patience = self.inner.ears().patience();
                let waiting = detached(async move {
                    tokio::select! {
                        _ = heard.changed() => {}
                        _ = bell.changed() => {}
                        () = tokio::time::sleep(patience) => {}
                    }
                });
                self.inner.told(waiting.await)?;
            }
        })
    }

    fn add_queue(&self, queue: Queue) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check_open()?;
            let definitions = &self.inner.definitions;
            let name = definitions.add(&queue, || self.inner.address.clone())?;
            if definitions.now().queue(&name).is_some_and(hears) && !self.broadcasts.has(&name) {
                return Err(cannot(
                    &self.inner,
                    "hear a fanout that it did not start with",
                ));
            }
            if self.desk.queues.has(&name) || self.broadcasts.has(&name) {
                return Ok(());
            }
            self.desk.queues.add(name.clone());
            let listed = self.list_queues().await;
            if listed.is_err() {
                self.desk.queues.cancel(&name);
            }
            self.desk.has_other_queues();
            listed
        })
    }

    fn cancel_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if self.broadcasts.has(queue) {
                return Err(cannot(&self.inner, "leave a broadcast before it stops"));
            }
            if !self.desk.queues.cancel(queue) {
                return Ok(());
            }
            self.desk.has_other_queues();
            // Whoever receives just now has nothing in hand, and sorts out what comes.
            if let Ok(mut receiving) = self.receiving.try_lock() {
                let receiving = &mut *receiving;
                let (gone, stay) = std::mem::take(&mut receiving.ready)
                    .into_iter()
                    .partition(|it| it.queue == *queue);
                receiving.ready = stay;
                let gone: VecDeque<Delivery> = gone;
                receiving
                    .unfit
                    .extend(gone.iter().map(|it| given_back(it.tag)));
                self.carry_out(receiving.unfit.clone()).await?;
                receiving.unfit.clear();
            }
            self.list_queues().await
        })
    }

    fn holds<'a>(&'a self, tags: &'a [i64]) -> BoxFuture<'a, Result<Vec<bool>, BrokerError>> {
        Box::pin(async move {
            if !self.desk.is_sure_of_its_lease() {
                let (inner, desk) = (self.inner.clone(), self.desk.clone());
                let renewed = detached(async move { keeper::renew(&inner, &desk).await });
                self.inner.told(self.inner.told(renewed.await)?)?;
            }
            let (owner, hold) = (self.desk.owner(), self.desk.hold());
            let is_ours = |tag: &i64| hold.get(*tag).is_some_and(|held| held.owner == owner);
            Ok(tags.iter().map(is_ours).collect())
        })
    }

    fn is_connected(&self) -> bool {
        !self.desk.is_closed() && self.inner.ears().is_connected()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            if self.desk.close() {
                return Ok(());
            }
            self.inner.remove_node(&self.desk.subscription.consumer);
            // What a call under way claims is given back too.
            let mut receiving = self.receiving.lock().await;
            if let Some(asked) = receiving.asked.take() {
                let _ = asked.await;
            }
            self.inner.told(self.leave().await)?;
            self.inner.told(self.broadcasts.close(&self.inner).await)
        })
    }
}

impl Drop for RedisConsumer {
    fn drop(&mut self) {
        if self.desk.close() {
            return;
        }
        self.inner.remove_node(&self.desk.subscription.consumer);
        let (link, keys) = (self.inner.link.clone(), self.inner.keys.clone());
        let owner = self.desk.owner();
        // Nobody says what was started and what was not, so all of it counts. If the server is away
        // the lease lapses.
        runtime().spawn(async move {
            let given_up = keeper::Ending::GivenUp(&owner);
            if let Err(failure) = keeper::take_back_from_the_dead(&link, &keys, given_up).await {
                debug!(
                    error = &failure as &dyn std::error::Error,
                    "cannot give back now"
                );
            }
        });
    }
}

impl fmt::Debug for RedisConsumer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "RedisConsumer({} of {})",
            self.desk.subscription.consumer, self.inner.address
        )
    }
}
