//! Turns deliveries into invocations, and outcomes into settlements.
//!
//! The dispatcher is one coroutine and the only owner of the deliveries a worker holds. Brokers
//! and executors never meet; both talk to it.
//!
//! # Invariants
//!
//! - A delivery is in `held` from its admission until its outcome is decided, then with the
//!   settler until that is carried out. What is in neither was settled, or is given back when the
//!   consumer is closed.
//! - Nothing here waits but the one `select!` in [`Dispatcher::run`].

mod deliveries;
mod ending;
pub(crate) mod operations;
mod outcomes;
mod runtime;
mod watchdog;

use std::collections::{HashMap, VecDeque};
use std::future::pending;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use celeriac_core::{
    BoxFuture, Broker, BrokerError, Consumer, Delivery, Executor, QueueName, Registry, TaskId,
};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use self::ending::Ending;
pub(crate) use self::operations::{HeldCall, Operator, Overrides, Question};
use self::runtime::Desk;
use self::watchdog::Watchdog;
use crate::backoff::RetryTimer;
use crate::control::revoked::Revoked;
use crate::events::News;
use crate::held::Held;
use crate::metrics::{Meter, Metrics};
use crate::observer::Observer;
use crate::pace::Pace;
use crate::prefetch::{Credit, Load};
use crate::reply::{Event, Events};
use crate::report::Counters;
use crate::router::Router;
use crate::settings::WorkerSettings;
use crate::settle::Settler;
use crate::shutdown::Shutdown;
use crate::tracer::{Span, Tracer};
use crate::trouble::Trouble;
use crate::watcher::NotReady;
use crate::worker::Worker;

/// The most events handled before the dispatcher looks up again.
const BULK: usize = 1024;

type Waiting<T> = Option<BoxFuture<'static, Result<T, BrokerError>>>;

/// See the module.
pub(crate) struct Dispatcher {
    broker: Arc<dyn Broker>,
    consumer: Arc<dyn Consumer>,
    executor: Arc<dyn Executor>,
    /// What there is to know of a runtime, if that is what runs the calls.
    desk: Option<Desk>,
    registry: Registry,
    router: Router,
    settings: WorkerSettings,
    observer: Option<Arc<dyn Observer>>,
    tracer: Option<Arc<dyn Tracer>>,
    /// Spans of runs of which the end is being decided, or told by a runtime.
    spans: HashMap<i64, Arc<dyn Span>>,
    counters: Arc<Counters>,

    news: News,
    overrides: Overrides,
    revoked: Revoked,
    /// Calls that ran and that the driver told us to interrupt, the newest last.
    interrupted: VecDeque<TaskId>,
    /// How many calls of each task were begun here and have ended.
    totals: HashMap<&'static str, u64>,
    meter: Meter,

    held: HashMap<i64, Held>,
    paced: usize,
    pace: Pace,
    credit: Credit,
    settler: Settler,
    events: Events,
    inbox: mpsc::UnboundedReceiver<Event>,
    progressed: Vec<i64>,
    store_progress_at: Option<Instant>,

    receiving: Waiting<Vec<Delivery>>,
    receive_retry: RetryTimer,
    watchdog: Watchdog,
    revocations: Waiting<Vec<TaskId>>,
    revocations_retry: RetryTimer,
    /// Whether the driver tells of revocations at all.
    hears_revocations: bool,
    looking: Waiting<bool>,
    idle_since: Instant,

    trouble: Trouble,
    ending: Option<Ending>,
    fatal: Option<BrokerError>,
}

impl Dispatcher {
    pub(crate) fn new(
        mut worker: Worker,
        consumer: Arc<dyn Consumer>,
        counters: Arc<Counters>,
        news: News,
    ) -> Self {
        let revoked = std::mem::take(&mut worker.settings.revoked);
        let (events, inbox) = mpsc::unbounded_channel();
        let router = Router {
            registry: worker.registry.clone(),
            routes: worker.settings.routes.clone(),
        };
        counters.ready.store(true, Ordering::Relaxed);
        Self {
            credit: Credit::new(worker.settings.prefetch, worker.executor.slots().get()),
            settler: Settler::new(worker.broker.clone(), consumer.clone(), router.clone()),
            broker: worker.broker,
            consumer,
            executor: worker.executor,
            desk: worker.runtime.map(Desk::new),
            registry: worker.registry,
            router,
            settings: worker.settings,
            observer: worker.observer,
            tracer: worker.tracer,
            spans: HashMap::new(),
            counters,
            news,
            overrides: Overrides::default(),
            revoked: Revoked::of(revoked, Instant::now()),
            interrupted: VecDeque::new(),
            totals: HashMap::new(),
            meter: Meter::default(),
            held: HashMap::new(),
            paced: 0,
            pace: Pace::default(),
            events,
            inbox,
            progressed: Vec::new(),
            store_progress_at: None,
            receiving: None,
            receive_retry: RetryTimer::default(),
            watchdog: Watchdog::default(),
            revocations: None,
            revocations_retry: RetryTimer::default(),
            hears_revocations: true,
            looking: None,
            idle_since: Instant::now(),
            trouble: Trouble::default(),
            ending: None,
            fatal: None,
        }
    }

    /// What asks it from outside.
    pub(crate) fn operator(&self) -> Operator {
        Operator::new(self.events.clone())
    }

    /// Works until it is asked to stop, or the broker cannot be used any more.
    pub(crate) async fn run(
        mut self,
        mut orders: watch::Receiver<Option<Shutdown>>,
    ) -> Result<(), BrokerError> {
        let mut events = Vec::with_capacity(BULK);
        while !self.has_ended() {
            let now = Instant::now();
            self.start_what_may_start(now);
            let timer = self.next_timer(now);
            tokio::select! {
                _ = self.inbox.recv_many(&mut events, BULK) => {
                    for event in events.drain(..) {
                        self.on_event(event);
                    }
                }
                carried = self.settler.next() => self.on_carried(carried),
                received = ready(&mut self.receiving) => self.on_received(received),
                revoked = ready(&mut self.revocations) => self.on_revoked(revoked),
                waiting = ready(&mut self.watchdog.looking) => self.on_watched(waiting),
                renewed = ready(&mut self.watchdog.renewing) => self.on_renewed(renewed),
                empty = ready(&mut self.looking) => self.on_looked(empty),
                mode = next_order(&mut orders) => self.stop(mode),
                () = at(timer) => self.on_timer(),
            }
        }
        self.end().await
    }

    /// Starts whatever the state now allows: settling, fetching, listening, looking for the end.
    fn start_what_may_start(&mut self, now: Instant) {
        if self.fatal.is_none() {
            self.settler.start(now);
        }
        let ready = self.trouble_with_broker().is_none();
        self.counters.ready.store(ready, Ordering::Relaxed);
        self.counters
            .held
            .store(self.held.len() as u64, Ordering::Relaxed);

        self.credit.set_slots(self.executor.slots().get());
        if self.receiving.is_none()
            && self.ending.is_none()
            && !self.settler.is_failing()
            && self.receive_retry.is_due(now)
            && let Some(credit) = NonZeroUsize::new(self.credit.wanted(self.load()))
        {
            let consumer = self.consumer.clone();
            self.receiving = Some(Box::pin(async move { consumer.receive(credit).await }));
            self.watchdog.began(self.watch_after(), now);
        }
        if self.revocations.is_none()
            && self.hears_revocations
            && self.revocations_retry.is_due(now)
        {
            let consumer = self.consumer.clone();
            self.revocations = Some(Box::pin(async move { consumer.revoked().await }));
        }
        if self.looking.is_none() && self.idle_until().is_some_and(|until| until <= now) {
            self.looking = Some(Box::pin(are_empty(
                self.broker.clone(),
                self.settings.queues.clone(),
            )));
        }
    }

    /// What keeps it from consuming that is the broker's doing.
    fn trouble_with_broker(&self) -> Option<NotReady> {
        if self.settler.is_failing() {
            Some(NotReady::CannotSettle)
        } else if self.fatal.is_some()
            || self.receive_retry.is_failing()
            || !self.consumer.is_connected()
        {
            Some(NotReady::CannotFetch)
        } else if self.watchdog.is_stalled() {
            Some(NotReady::Stalled)
        } else {
            None
        }
    }

    /// Whether it consumes, or why not.
    pub(crate) fn readiness(&self) -> Result<(), NotReady> {
        let stopping = self.ending.is_some().then_some(NotReady::Stopping);
        stopping
            .or_else(|| self.trouble_with_broker())
            .or_else(|| self.executor.is_hindered().then_some(NotReady::Hindered))
            .map_or(Ok(()), Err)
    }

    /// What was counted, and how it stands now.
    pub(crate) fn metrics(&self) -> Metrics {
        let running = self
            .held
            .values()
            .filter(|held| held.start.at_us().is_some());
        Metrics {
            tasks: self.meter.tasks(self.held.values()),
            queues: self.settings.queues.clone(),
            slots: self.executor.slots().get(),
            running: running.count(),
            held: self.held.len(),
            prefetch: self.credit.target(),
            settling: self.unsettled(),
        }
    }

    fn load(&self) -> Load {
        Load {
            active: self.held.len() - self.paced,
            paced: self.paced,
            unsettled: self.unsettled(),
        }
    }

    /// How many ends are told or settled, but not done with.
    fn unsettled(&self) -> usize {
        self.desk.as_ref().map_or(0, Desk::len) + self.settler.len()
    }

    fn is_idle(&self) -> bool {
        self.held.is_empty() && self.unsettled() == 0
    }

    /// When it has been idle for long enough to stop, if it should.
    fn idle_until(&self) -> Option<Instant> {
        let after = self.settings.stop_when_idle?;
        (self.ending.is_none() && self.is_idle()).then(|| self.idle_since + after)
    }

    /// When to look up if nothing else happens. What could have been tried again at `now` waits
    /// for something else.
    fn next_timer(&self, now: Instant) -> Option<Instant> {
        let retries = [
            self.receive_retry.at(),
            self.revocations_retry.at(),
            self.settler.retry_at(),
        ];
        let retry = retries.into_iter().flatten().filter(|at| *at > now).min();
        let idle = self.idle_until().filter(|_| self.looking.is_none());
        [
            retry,
            idle,
            self.pace.next(),
            self.store_progress_at,
            self.watchdog.at(),
            self.ending.as_ref().map(|ending| ending.next_timer(now)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    fn on_timer(&mut self) {
        let now = Instant::now();
        while let Some(tag) = self.pace.due(now) {
            self.start_paced(tag);
        }
        if self.store_progress_at.is_some_and(|at| at <= now) {
            self.store_progress_at = None;
            self.store_progress();
        }
        self.on_watch_timer(now);
        self.on_ending_timer(now);
    }
}

/// Waits for what `slot` waits for and empties it; for ever if it is empty. Cancel safe.
async fn ready<T>(slot: &mut Waiting<T>) -> Result<T, BrokerError> {
    let Some(waiting) = slot else {
        return pending().await;
    };
    let result = waiting.await;
    *slot = None;
    result
}

/// Waits until `time`, for ever if there is none.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => pending().await,
    }
}

/// Waits for the next order to stop. Cancel safe.
async fn next_order(orders: &mut watch::Receiver<Option<Shutdown>>) -> Shutdown {
    while orders.changed().await.is_ok() {
        if let Some(mode) = *orders.borrow_and_update() {
            return mode;
        }
    }
    // Nobody is left who could ask; the owner's last word has been heard already.
    pending().await
}

/// Whether nothing is left in `queues`.
async fn are_empty(broker: Arc<dyn Broker>, queues: Vec<QueueName>) -> Result<bool, BrokerError> {
    let all = broker.queues().await?;
    Ok(all
        .iter()
        .filter(|queue| queues.contains(&queue.name))
        .all(|queue| queue.ready + queue.delayed + queue.held == 0))
}
