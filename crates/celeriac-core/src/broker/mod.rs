//! The port of what holds queues.

mod error;

use std::fmt;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use crate::bus::Bus;
use crate::destination::Destination;
use crate::id::TaskId;
use crate::message::Message;
use crate::queue::QueueName;
use crate::results::{ResultBackend, StoredResult};
use crate::topology::Queue;
use crate::{BoxFuture, Coroutine};

pub use error::{BrokerError, Cause};

/// Holds queues of messages between clients and workers.
///
/// Delivery is at least once. Order is kept within one queue and priority, but for messages that
/// were delayed, given back or retried.
pub trait Broker: fmt::Debug + Send + Sync {
    /// Stores each message in the queues of its destination and resolves once they are durable: all or
    /// none, where the store can.
    ///
    /// A message whose `eta` is in the future is not delivered before. Publishing the same task id
    /// twice stores it twice.
    ///
    /// # Errors
    ///
    /// [`BrokerError::TooLarge`] if a body is over the limit, [`BrokerError::Full`] if there is no
    /// room, [`BrokerError::Unroutable`] if an exchange has no queue for one, and
    /// [`BrokerError::Unavailable`] if no answer came: they are then stored or not.
    /// [`BrokerError::Partly`] if the store takes messages one by one and confirmed some before any of
    /// these happened.
    ///
    /// # Cancel safety
    ///
    /// None. A dropped future leaves the messages stored or not stored.
    fn publish(
        &self,
        messages: Vec<(Destination, Message)>,
    ) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// Registers a consumer.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn consume(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Arc<dyn Consumer>, BrokerError>>;

    /// Marks calls as revoked: they are not started any more, and those that run are interrupted.
    ///
    /// One that is delayed is delivered at once, marked as revoked, so that whoever waits for it
    /// hears of it before its time.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn revoke<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// The result backend in the same store, if it has one.
    fn results(&self) -> Option<Arc<dyn ResultBackend>>;

    /// What is broadcast beside the tasks, if this broker has remote control and events at all.
    fn bus(&self) -> Option<Arc<dyn Bus>> {
        None
    }

    /// Where results are sent for this handle to read them, if they are sent to somebody at all and
    /// not kept for everybody.
    ///
    /// A message without it gets it from the handle that publishes it. What others will publish later,
    /// such as the steps of a chain, has to carry it.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn reply_to(&self) -> BoxFuture<'_, Result<Option<String>, BrokerError>> {
        Box::pin(std::future::ready(Ok(None)))
    }

    /// Runs a coroutine beside the driver's own, on a tokio runtime with time and on the thread on
    /// which the server's answers arrive: whoever waits for many of them need not be woken for each.
    ///
    /// It must not block, for nothing is heard on that thread meanwhile and no lease is renewed.
    ///
    /// # Errors
    ///
    /// Gives it back if the driver has no such thread.
    fn host(&self, coroutine: Coroutine) -> Result<(), Coroutine> {
        Err(coroutine)
    }

    /// The queues there are, by name.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, BrokerError>>;

    /// The consumers whose lease has not lapsed.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerInfo>, BrokerError>>;

    /// Drops every message of `queue` that no consumer holds, delayed ones too, and says how many.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, BrokerError>>;

    /// Dead messages, newest first, at most `limit`.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn dead(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadMessage>, BrokerError>>;

    /// Puts dead messages back in their queues with their counts at zero, and says how many of
    /// `numbers` there were. A quarantined message cannot be retried and stays.
    ///
    /// If the broker is the result backend too, the failures they left are forgotten, so that whoever
    /// asks meets the new run.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn retry_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>>;

    /// Deletes dead messages for good, and says how many of `numbers` there were.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn drop_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>>;
}

/// How often a message past its delivery limit is delivered all the same, for its end to be decided.
const BURIALS: u32 = 3;

/// What a consumer asks for.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The queues it takes from, in turn.
    pub queues: Vec<QueueName>,
    /// Its name, for people: `celeriac@host`.
    pub consumer: String,
    /// A message delivered this often without being settled is not run any more. It is delivered
    /// once more, for its end to be decided and settled as [`Verdict::Dead`].
    pub delivery_limit: NonZeroU32,
    /// How many messages that were delivered before, and never settled, it holds at most at once:
    /// as many as it runs at once.
    ///
    /// A worker that dies cannot say which of what it held had started. Held ahead in numbers,
    /// messages that never ran would be counted to death with the one that kills.
    pub suspects: NonZeroUsize,
    /// A consumer that has not been heard of for this long has lost what it holds.
    pub lease: Duration,
}

impl Subscription {
    /// A consumer of these queues, with a delivery limit of 5, one suspect at a time and a
    /// lease of 10 s.
    pub fn new(consumer: impl Into<String>, queues: Vec<QueueName>) -> Self {
        Self {
            queues,
            consumer: consumer.into(),
            delivery_limit: NonZeroU32::new(5).expect("5 is not zero"),
            suspects: NonZeroUsize::MIN,
            lease: Duration::from_secs(10),
        }
    }

    /// After how many deliveries a driver makes a message dead by itself: its consumers did not live
    /// to decide its end, and whatever should have followed from it does not.
    pub fn most_deliveries(&self) -> NonZeroU32 {
        self.delivery_limit.saturating_add(BURIALS)
    }
}

/// Takes messages from queues and settles them.
///
/// It renews its lease by itself while it lives. A dropped consumer gives back what it holds, now
/// if it can and at the end of its lease if not.
pub trait Consumer: fmt::Debug + Send + Sync {
    /// Waits until a message is ready and claims at most `credit` of them, larger priorities
    /// first, queues in turn.
    ///
    /// Of messages that were delivered before it claims no more than the subscription's suspects
    /// allow, and what stands behind them waits.
    ///
    /// A message past the delivery limit is delivered too: see [`Delivery::is_exhausted`]. One past
    /// [`Subscription::most_deliveries`] is made dead instead, and one whose headers do not decode is
    /// quarantined: neither is delivered. One waiting call at a time.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; the consumer is still good after a transient one.
    ///
    /// # Cancel safety
    ///
    /// Safe: what was claimed for a dropped call comes with the next.
    fn receive(&self, credit: NonZeroUsize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>>;

    /// Carries out `settlements`, each whole or not at all, and says how each went.
    ///
    /// A store that is broker and result backend in one does result, follow-ups and verdict in one
    /// transaction.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; each is then carried out or not, and may be tried again: the second time
    /// gives [`Settled::LeaseLost`].
    fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> BoxFuture<'_, Result<Vec<Settled>, BrokerError>>;

    /// How long a question and its answer take, where a settlement may be done without an answer and its own
    /// time tells nothing. Zero where it tells.
    fn turn(&self) -> Duration {
        Duration::ZERO
    }

    /// Waits for calls that were revoked since the last time.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; the consumer is still good after a transient one.
    ///
    /// # Cancel safety
    ///
    /// Safe: news of a dropped call comes with the next.
    fn revoked(&self) -> BoxFuture<'_, Result<Vec<TaskId>, BrokerError>>;

    /// Takes from `queue` too from now on. It is defined so unless this handle of the broker has another
    /// definition already; a queue that it takes from changes nothing.
    ///
    /// # Errors
    ///
    /// [`BrokerError::Unsupported`] if the queue cannot be defined so here, or another one if the store
    /// cannot be asked; the consumer then takes from what it took from before.
    ///
    /// # Cancel safety
    ///
    /// None: the consumer then takes from the queue or does not. The call may be made again.
    fn add_queue(&self, queue: Queue) -> BoxFuture<'_, Result<(), BrokerError>>;

    /// Takes nothing more from `queue`, and gives back what was claimed from it and not delivered, as if
    /// it had not been claimed. What was delivered is settled as ever.
    ///
    /// A consumer without a queue waits for one. A queue that it does not take from changes nothing.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; nothing of the queue is delivered any more even so.
    ///
    /// # Cancel safety
    ///
    /// None: what was claimed and not delivered may be held until the consumer is closed. The call may be
    /// made again.
    fn cancel_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), BrokerError>>;

    /// Whether it is connected to the server as far as it knows, so that what comes now would be
    /// delivered. Asks nobody.
    fn is_connected(&self) -> bool {
        true
    }

    /// Which of these deliveries are still this consumer's, as far as it knows; the server is asked if
    /// there is doubt, as after this process stood still. For what is to be stored elsewhere before they
    /// are settled.
    ///
    /// # Errors
    ///
    /// [`BrokerError`].
    fn holds<'a>(&'a self, tags: &'a [i64]) -> BoxFuture<'a, Result<Vec<bool>, BrokerError>> {
        Box::pin(std::future::ready(Ok(vec![true; tags.len()])))
    }

    /// Gives back what is not settled, without counting it as delivered, and unregisters.
    ///
    /// # Errors
    ///
    /// [`BrokerError`]; the lease then lapses by itself.
    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>>;
}

/// One handing-over of a message to one consumer.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// What the consumer settles it by.
    pub tag: i64,
    /// The queue it came from.
    pub queue: QueueName,
    /// How often it was delivered, this time included.
    pub deliveries: u32,
    /// Whether the call was revoked meanwhile.
    pub revoked: bool,
    /// The message.
    pub message: Message,
}

impl Delivery {
    /// Whether it was delivered as often as `limit` allows before, and is not to be run any more:
    /// only its end is to be decided.
    pub fn is_exhausted(&self, limit: NonZeroU32) -> bool {
        self.deliveries > limit.get()
    }
}

/// How a delivery ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is done with.
    Ack,
    /// It goes back to its queue, to be delivered no sooner than the time if there is one.
    Requeue {
        /// When it may be delivered again.
        eta: Option<Timestamp>,
        /// Whether this delivery counts towards the limit; not if it never started.
        counted: bool,
    },
    /// It goes to the dead messages.
    Dead(DeadReason, String),
}

/// Everything that follows from one outcome, decided before any of it is done.
#[derive(Debug, Clone)]
pub struct Settlement {
    /// The delivery.
    pub tag: i64,
    /// How it ends.
    pub verdict: Verdict,
    /// The result to store first.
    pub result: Option<StoredResult>,
    /// The messages to publish next.
    pub follow_ups: Vec<(Destination, Message)>,
}

/// How a settlement went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Settled {
    /// It was carried out.
    Done,
    /// The delivery is not ours any more, and nothing was done.
    LeaseLost,
}

/// Why a message is dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeadReason {
    /// It was delivered too often without being settled.
    DeliveryLimit,
    /// Its headers do not decode; the bytes are kept.
    Malformed,
    /// Nobody has registered its task.
    Unregistered,
    /// Its arguments do not fit its task.
    BadArguments,
    /// Its retries are used up.
    RetriesExhausted,
    /// Its task, or the rules of its task, do not want it.
    Rejected,
}

impl DeadReason {
    /// All reasons.
    pub const ALL: [Self; 6] = [
        Self::DeliveryLimit,
        Self::Malformed,
        Self::Unregistered,
        Self::BadArguments,
        Self::RetriesExhausted,
        Self::Rejected,
    ];

    /// The word stored and shown for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DeliveryLimit => "delivery_limit",
            Self::Malformed => "malformed",
            Self::Unregistered => "unregistered",
            Self::BadArguments => "bad_arguments",
            Self::RetriesExhausted => "retries_exhausted",
            Self::Rejected => "rejected",
        }
    }
}

/// A message that will not be delivered any more, with its bytes.
#[derive(Debug, Clone)]
pub struct DeadMessage {
    /// What it is called by.
    pub number: i64,
    /// The queue it came from.
    pub queue: QueueName,
    /// Why it is dead.
    pub reason: DeadReason,
    /// The particulars, for people.
    pub detail: String,
    /// When it died.
    pub died_at: Timestamp,
    /// How often it was delivered.
    pub deliveries: u32,
    /// Its headers as they were stored.
    pub headers: Vec<u8>,
    /// What its body is encoded in, a MIME type.
    pub content_type: String,
    /// Its body as it was stored.
    pub body: Vec<u8>,
}

/// How full a queue is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueInfo {
    /// Its name.
    pub name: QueueName,
    /// Messages that could be delivered now.
    pub ready: u64,
    /// Messages that wait for their time.
    pub delayed: u64,
    /// Messages some consumer holds.
    pub held: u64,
    /// Dead messages that came from it.
    pub dead: u64,
}

/// A living consumer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumerInfo {
    /// Its name.
    pub name: String,
    /// Its process.
    pub pid: u32,
    /// The queues it takes from.
    pub queues: Vec<QueueName>,
    /// Messages it holds.
    pub held: u64,
    /// When it started.
    pub started_at: Timestamp,
    /// How long ago it was last heard of.
    pub silent_for: Duration,
}
