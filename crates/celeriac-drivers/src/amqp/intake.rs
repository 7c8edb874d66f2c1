//! What a consumer's parts share, and the life of its connection: made, lost, made again.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{BrokerError, Message, TaskId};
use jiff::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::control::{Lane, Report};
use super::failure;
use super::hub::Hub;
use super::session::{End, Session};
use super::shelf::Shelf;
use super::transport::Channel;

/// The shortest and the longest wait before connecting again.
const PAUSE: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What the parts of one consumer share.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) hub: Arc<Hub>,
    /// What it asked for; its queues by now are those of the shelf.
    pub(crate) subscription: Subscription,
    pub(crate) body_limit_bytes: usize,
    /// Its own name, different from every other one.
    pub(crate) id: String,
    pub(crate) started_at: Timestamp,
    shelf: Mutex<Shelf>,
    /// The channel that delivered what is on the shelf.
    channel: Mutex<Option<Channel>>,
    /// Rings when `receive` should look again.
    pub(crate) news: watch::Sender<()>,
    /// How many messages the worker could take.
    pub(crate) demand: watch::Sender<usize>,
    /// Revocations the worker was not told of.
    pub(crate) revoked: Mutex<Vec<TaskId>>,
    /// Rings when there are some.
    pub(crate) revoked_news: watch::Sender<()>,
    trouble: Mutex<Option<BrokerError>>,
    closed: AtomicBool,
}

/// What the consumer asks of its connection.
pub(crate) enum Order {
    /// Give everything back, and end.
    Close(oneshot::Sender<()>),
    /// Take from what the shelf says now.
    Change(oneshot::Sender<()>),
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Intake {
    pub(crate) fn new(hub: Arc<Hub>, subscription: Subscription, body_limit_bytes: usize) -> Self {
        let shelf = Shelf::new(&subscription.queues, subscription.suspects.get());
        Self {
            hub,
            subscription,
            body_limit_bytes,
            id: uuid::Uuid::new_v4().simple().to_string(),
            started_at: Timestamp::now(),
            shelf: Mutex::new(shelf),
            channel: Mutex::default(),
            news: watch::Sender::new(()),
            demand: watch::Sender::new(0),
            revoked: Mutex::default(),
            revoked_news: watch::Sender::new(()),
            trouble: Mutex::default(),
            closed: AtomicBool::new(false),
        }
    }

    pub(crate) fn shelf(&self) -> MutexGuard<'_, Shelf> {
        lock(&self.shelf)
    }

    pub(crate) fn channel(&self) -> Option<Channel> {
        lock(&self.channel).clone()
    }

    pub(crate) fn set_channel(&self, channel: Option<Channel>) {
        *lock(&self.channel) = channel;
    }

    /// Whether the call of a message is known to be revoked.
    pub(crate) fn is_revoked(&self, message: &Message) -> bool {
        self.shelf().revocations.contains(&message.headers.id)
    }

    /// Why there is no connection, if that was not told yet.
    pub(crate) fn take_trouble(&self) -> Option<BrokerError> {
        lock(&self.trouble).take()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::SeqCst)
    }

    /// Marks it closed, and says whether it was before. Those that wait see it.
    pub(crate) fn mark_closed(&self) -> bool {
        let before = self.closed.swap(true, Ordering::SeqCst);
        self.news.send_replace(());
        self.revoked_news.send_replace(());
        before
    }

    /// What it holds.
    pub(crate) fn report(&self) -> Report {
        let loads = self.shelf().loads();
        Report {
            name: self.subscription.consumer.clone(),
            pid: std::process::id(),
            started_ms: self.started_at.as_millisecond(),
            queues: loads
                .into_iter()
                .map(|(name, load)| Lane::new(name, load))
                .collect(),
        }
    }

    /// Acknowledges deliveries, unless the channel that brought them is gone.
    ///
    /// What is acknowledged first is sent first, whoever else does so at the same time.
    pub(crate) fn acknowledge(&self, tags: Vec<u64>) {
        let mut shelf = self.shelf();
        let acks = shelf.acks(tags);
        self.send_acks(&acks);
    }

    /// To be called with the shelf in hand. If the channel fails it is gone, and the session finds
    /// out by itself.
    fn send_acks(&self, acks: &[(u64, bool)]) {
        if let Some(channel) = self.channel()
            && let Err(error) = channel.acknowledge(acks)
        {
            tracing::debug!(%error, "an acknowledgement was not sent");
        }
    }

    /// Ends what the worker holds under these numbers, and says which were still its own.
    pub(crate) fn finish(&self, tags: &[i64]) -> Vec<bool> {
        let mut shelf = self.shelf();
        let handed: Vec<_> = tags.iter().map(|tag| shelf.settled(*tag)).collect();
        for tag in tags {
            shelf.let_go(*tag);
        }
        let acks = shelf.acks(handed.iter().flatten().map(|handed| handed.tag));
        self.send_acks(&acks);
        drop(shelf);
        handed.iter().map(Option::is_some).collect()
    }

    /// Whoever waits goes on waiting: most connections are back in a moment.
    fn connection_lost(&self) {
        self.set_channel(None);
        self.shelf().lose();
        // A worker that is waiting says again what it could take.
        self.demand.send_replace(0);
        self.news.send_replace(());
    }
}

/// Keeps a consumer connected until it is closed or dropped.
pub(crate) async fn supervise(
    intake: Arc<Intake>,
    first: Session,
    mut orders: mpsc::Receiver<Order>,
) {
    let mut session = Some(first);
    let mut pause = PAUSE.0;
    loop {
        match session.take() {
            Some(open) => match open.run(&mut orders).await {
                End::Closed => return,
                End::Lost(error) => {
                    tracing::warn!(%error, consumer = intake.subscription.consumer,
                        "the connection was lost, will connect again");
                    intake.connection_lost();
                    pause = PAUSE.0;
                }
            },
            None => match Session::open(intake.clone()).await {
                Ok(open) => {
                    tracing::info!(consumer = intake.subscription.consumer, "connected again");
                    intake.take_trouble();
                    session = Some(open);
                    continue;
                }
                Err(error) => {
                    // The worker is told, and tells it.
                    tracing::debug!(%error, help = error.help(), "cannot connect, will try again");
                    *lock(&intake.trouble) = Some(transient(error));
                    intake.news.send_replace(());
                    pause = (pause * 2).min(PAUSE.1);
                }
            },
        }
        tokio::select! {
            () = tokio::time::sleep(jittered(pause)) => {}
            order = orders.recv() => match order {
                Some(Order::Close(done)) => {
                    let _ = done.send(());
                    return;
                }
                // The next session begins with what the shelf says.
                Some(Order::Change(done)) => {
                    let _ = done.send(());
                }
                None => return,
            }
        }
    }
}

/// Whatever refuses us now may take us later, once somebody has mended it: the worker goes on.
fn transient(error: BrokerError) -> BrokerError {
    match failure::for_now(error) {
        error if error.is_transient() => error,
        error => BrokerError::Unavailable {
            address: String::new(),
            source: error.into(),
        },
    }
}

/// A wait up to `pause`, so that those that lost a server together do not come back together.
pub(crate) fn jittered(pause: Duration) -> Duration {
    let (random, _) = uuid::Uuid::new_v4().as_u64_pair();
    #[expect(
        clippy::cast_precision_loss,
        reason = "a share of a wait need not be exact"
    )]
    let share = random as f64 / u64::MAX as f64;
    PAUSE.0.mul_f64(0.5) + pause.mul_f64(share)
}
