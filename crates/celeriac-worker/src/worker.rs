//! A worker, before it starts and while it runs.

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use celeriac_core::{Broker, BrokerError, Coroutine, Executor, Registry, Runtime};
use celeriac_wire::Clock;
use futures_util::FutureExt as _;
use tokio::sync::{oneshot, watch};
use tracing::info;

use crate::attendants::Attendants;
use crate::control::Identity;
use crate::dispatcher::Dispatcher;
use crate::dispatcher::operations::Operator;
use crate::error::WorkerError;
use crate::events::News;
use crate::observer::{Both, Observer};
use crate::report::{Counters, WorkerReport};
use crate::settings::WorkerSettings;
use crate::shutdown::Shutdown;
use crate::tracer::Tracer;
use crate::watcher::Watcher;

/// Takes deliveries from a broker, has them run and settles them.
#[derive(Debug)]
pub struct Worker {
    pub(crate) broker: Arc<dyn Broker>,
    pub(crate) executor: Arc<dyn Executor>,
    /// The executor, if it says itself what follows from its calls.
    pub(crate) runtime: Option<Arc<dyn Runtime>>,
    pub(crate) registry: Registry,
    pub(crate) settings: WorkerSettings,
    pub(crate) observer: Option<Arc<dyn Observer>>,
    pub(crate) tracer: Option<Arc<dyn Tracer>>,
}

impl Worker {
    /// A worker that has not started. It shuts `executor` down when it stops, so the executor
    /// should be its own.
    pub fn new(
        broker: Arc<dyn Broker>,
        executor: Arc<dyn Executor>,
        registry: Registry,
        settings: WorkerSettings,
    ) -> Self {
        Self {
            broker,
            executor,
            runtime: None,
            registry,
            settings,
            observer: None,
            tracer: None,
        }
    }

    /// A worker for the tasks of another program's runtime, of which `registry` has the names and the
    /// rules. Their functions are never called.
    ///
    /// How deliveries are acknowledged is [`AckProfile::Celery`](celeriac_core::AckProfile)'s to say;
    /// retries and what follows a call are the runtime's own.
    pub fn for_runtime(
        broker: Arc<dyn Broker>,
        runtime: Arc<dyn Runtime>,
        registry: Registry,
        settings: WorkerSettings,
    ) -> Self {
        Self {
            runtime: Some(runtime.clone()),
            ..Self::new(broker, runtime, registry, settings)
        }
    }

    /// Tells `observer` of each step of each call, after those that were named before.
    #[must_use]
    pub fn observer(mut self, observer: Arc<dyn Observer>) -> Self {
        self.observer = Some(match self.observer.take() {
            Some(before) => Arc::new(Both(before, observer)),
            None => observer,
        });
        self
    }

    /// Has a span made of each run.
    #[must_use]
    pub fn tracer(mut self, tracer: Arc<dyn Tracer>) -> Self {
        self.tracer = Some(tracer);
        self
    }

    /// Registers as a consumer and begins to take deliveries. Needs a tokio runtime with time.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] if the broker refuses the consumer or is not there.
    ///
    /// # Cancel safety
    ///
    /// Safe: a dropped call has taken nothing.
    pub async fn start(self) -> Result<RunningWorker, BrokerError> {
        let subscription = self.settings.subscription(self.executor.slots());
        let consumer = self.broker.consume(subscription).await?;
        let (settings, slots) = (self.settings.clone(), self.executor.slots());
        let counters = Arc::new(Counters::default());
        let (stopper, orders) = Stopper::new();
        let (broker, blocks) = (self.broker.clone(), self.executor.blocks());
        let clock = Arc::<Clock>::default();
        let news = News::new(clock.clone(), self.settings.control.task_events);
        let identity = Identity {
            node: self.settings.name.clone(),
            queues: self
                .settings
                .queues
                .iter()
                .map(ToString::to_string)
                .collect(),
            consumer: consumer.clone(),
            registry: self.registry.clone(),
            settings: self.settings.control.clone(),
        };
        let dispatcher = Dispatcher::new(self, consumer, counters.clone(), news.clone());
        let operator = dispatcher.operator();
        let watcher = Watcher {
            operator: operator.clone(),
            counters: counters.clone(),
            orders: orders.clone(),
            broker: broker.clone(),
            asked: Arc::default(),
        };
        let revocations = Revocations(operator.clone());
        let (tell, ended) = oneshot::channel();
        let (leave, left) = oneshot::channel();
        let dispatching: Coroutine = Box::pin(async move {
            let ended = AssertUnwindSafe(dispatcher.run(orders)).catch_unwind();
            let ended = ended.await;
            // The attendants say that this worker ends.
            drop(leave);
            // Nobody waits for the end of a worker that was dropped.
            let _ = tell.send(ended);
        });
        let elsewhere = if blocks {
            Err(dispatching)
        } else {
            broker.host(dispatching)
        };
        if let Err(dispatching) = elsewhere {
            tokio::spawn(dispatching);
        }
        let attendants = match broker.bus() {
            None => None,
            Some(bus) => {
                let stopper = stopper.clone();
                let attending =
                    Attendants::start(identity, bus, operator, clock, news, stopper, left);
                Some(attending.await)
            }
        };
        // Who waits for this line may ask it something, and be answered.
        let (name, queues) = (settings.name, settings.queues);
        info!(worker = name, slots, ?queues, "worker is ready");
        Ok(RunningWorker {
            name,
            stopper,
            counters,
            watcher,
            revocations,
            ended,
            attendants,
        })
    }
}

/// A worker that takes deliveries. Dropping it is a cold shutdown.
#[derive(Debug)]
pub struct RunningWorker {
    name: String,
    stopper: Stopper,
    counters: Arc<Counters>,
    watcher: Watcher,
    revocations: Revocations,
    /// How the dispatcher ended, or what it panicked with.
    ended: oneshot::Receiver<thread::Result<Result<(), BrokerError>>>,
    attendants: Option<Attendants>,
}

impl RunningWorker {
    /// Asks it to stop. A mode no harder than one asked for before changes nothing.
    pub fn shutdown(&self, mode: Shutdown) {
        self.stopper.shutdown(mode);
    }

    /// What can ask it to stop while somebody else waits for its end.
    pub fn stopper(&self) -> Stopper {
        self.stopper.clone()
    }

    /// What can look at it while somebody else waits for its end.
    pub fn watcher(&self) -> Watcher {
        self.watcher.clone()
    }

    /// What can be asked which calls are revoked while somebody else waits for its end.
    pub fn revocations(&self) -> Revocations {
        self.revocations.clone()
    }

    /// What it has done so far.
    pub fn report(&self) -> WorkerReport {
        self.counters.report()
    }

    /// Waits until it has stopped and everything is settled or given back.
    ///
    /// # Errors
    ///
    /// [`WorkerError`] if it stopped by itself.
    pub async fn wait(mut self) -> Result<WorkerReport, WorkerError> {
        let ended = (&mut self.ended).await;
        if let Some(attendants) = self.attendants.take() {
            attendants.leave().await;
        }
        match ended {
            Ok(Ok(ended)) => ended?,
            Ok(Err(panic)) => resume_unwind(panic),
            // Only a runtime that is going away cancels it; the consumer gives back what it holds.
            Err(_) => {}
        }
        if self.stopper.gives_way.load(Ordering::Relaxed) {
            let name = std::mem::take(&mut self.name);
            return Err(WorkerError::NameTaken { name });
        }
        Ok(self.counters.report())
    }
}

impl Drop for RunningWorker {
    fn drop(&mut self) {
        self.shutdown(Shutdown::Cold);
    }
}

/// Asks a worker to stop, from anywhere.
#[derive(Debug, Clone)]
pub struct Stopper {
    order: watch::Sender<Option<Shutdown>>,
    gives_way: Arc<AtomicBool>,
}

impl Stopper {
    /// One for a worker that follows these orders.
    pub(crate) fn new() -> (Self, watch::Receiver<Option<Shutdown>>) {
        let (order, orders) = watch::channel(None);
        let stopper = Self {
            order,
            gives_way: Arc::default(),
        };
        (stopper, orders)
    }

    /// Asks it to stop. A mode no harder than one asked for before changes nothing.
    pub fn shutdown(&self, mode: Shutdown) {
        self.order.send_if_modified(|current| {
            let harder = *current < Some(mode);
            if harder {
                *current = Some(mode);
            }
            harder
        });
    }

    /// Asks it to stop because its name belongs to another worker.
    pub(crate) fn give_way(&self) {
        self.gives_way.store(true, Ordering::Relaxed);
        self.shutdown(Shutdown::Warm);
    }

    /// Whether it was asked to stop.
    pub(crate) fn was_asked(&self) -> bool {
        self.order.borrow().is_some()
    }
}

/// Knows which calls are revoked, from anywhere.
#[derive(Debug, Clone)]
pub struct Revocations(Operator);

impl Revocations {
    /// The ids of all that the worker has heard of and remembers, those that were revoked first first.
    /// Nothing once it has ended. Cancel safe.
    pub async fn known(&self) -> Option<Vec<String>> {
        self.0.ask(|dispatcher| dispatcher.revoked_ids()).await
    }
}
