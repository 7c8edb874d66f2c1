//! How a worker is, for whoever looks after it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use celeriac_core::{Broker, BrokerError, QueueInfo, QueueName};
use tokio::sync::{Mutex, oneshot, watch};
use tokio::time::{Instant, timeout};

use crate::dispatcher::{Dispatcher, Operator};
use crate::metrics::Metrics;
use crate::report::{Counters, WorkerReport};
use crate::shutdown::Shutdown;

/// How long the dispatcher may take to answer. It never waits for anything, so this is very long.
const ANSWER: Duration = Duration::from_secs(5);
/// The same while it runs a call itself.
const IN_CALL: Duration = Duration::from_millis(100);

/// Looks at a worker from beside it, in the same process. Clones look at the same one.
#[derive(Debug, Clone)]
pub struct Watcher {
    pub(crate) operator: Operator,
    pub(crate) counters: Arc<Counters>,
    pub(crate) orders: watch::Receiver<Option<Shutdown>>,
    pub(crate) broker: Arc<dyn Broker>,
    /// What was asked, when, and not answered in time: whoever looks next waits for the same answer, lest
    /// questions heap up before a dispatcher that does not answer, and no longer than the first.
    pub(crate) asked: Arc<Mutex<Option<Asked>>>,
}

/// A question that waits for its answer.
#[derive(Debug)]
pub(crate) struct Asked {
    since: Instant,
    answer: oneshot::Receiver<Look>,
}

/// How a worker was at one moment.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Look {
    /// Whether it takes deliveries, or why not.
    pub readiness: Result<(), NotReady>,
    /// What it has counted.
    pub metrics: Metrics,
}

/// Why a worker takes no deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotReady {
    /// It was told to stop.
    #[error("the worker is stopping")]
    Stopping,
    /// It cannot fetch.
    #[error("the broker gives no deliveries, the worker tries again")]
    CannotFetch,
    /// It cannot settle, and fetches nothing until it can.
    #[error("the broker or the result backend takes no settlements, the worker tries again")]
    CannotSettle,
    /// Messages wait, and none is delivered.
    #[error("messages are waiting and none is delivered, the worker consumes anew")]
    Stalled,
    /// No call can begin.
    #[error("no call can begin, the log says why; the worker tries again")]
    Hindered,
    /// Its dispatcher does not answer.
    #[error("the dispatcher does not answer")]
    Stuck,
}

/// Whether a worker is alive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Life {
    /// Its dispatcher answers; or it is in the middle of a call, in a pool that runs calls in the
    /// dispatcher's place; or it was told to stop, and has.
    Live,
    /// Its dispatcher does not answer.
    Stuck,
}

impl Watcher {
    /// Looks. Nothing if the dispatcher does not answer within 5 s, or has ended; or at once, if it is in
    /// the middle of a call, in a pool that runs calls in the dispatcher's place.
    ///
    /// # Cancel safety
    ///
    /// Safe.
    pub async fn look(&self) -> Option<Look> {
        let patience = if self.is_in_call() { IN_CALL } else { ANSWER };
        let mut asked = self.asked.lock().await;
        if asked.is_none() {
            let answer = self.operator.put(Dispatcher::look);
            let since = Instant::now();
            *asked = answer.map(|answer| Asked { since, answer });
        }
        let Asked { since, answer } = asked.as_mut()?;
        let left = patience.saturating_sub(since.elapsed());
        let looked = timeout(left, answer).await.ok()?;
        *asked = None;
        looked.ok()
    }

    /// Whether the worker is alive, which has nothing to do with the broker.
    pub async fn life(&self) -> Life {
        let excused = || self.is_in_call() || (self.has_ended() && self.orders.borrow().is_some());
        if self.look().await.is_some() || excused() {
            Life::Live
        } else {
            Life::Stuck
        }
    }

    /// Whether the worker takes deliveries.
    ///
    /// # Errors
    ///
    /// [`NotReady`], which says why not.
    pub async fn readiness(&self) -> Result<(), NotReady> {
        match self.look().await {
            Some(look) => look.readiness,
            None if self.has_ended() => Err(NotReady::Stopping),
            None if !self.is_in_call() => Err(NotReady::Stuck),
            None if self.report().ready => Ok(()),
            None => Err(NotReady::CannotFetch),
        }
    }

    fn has_ended(&self) -> bool {
        self.operator.has_ended()
    }

    fn is_in_call(&self) -> bool {
        self.counters.in_call.load(Ordering::Relaxed)
    }

    /// What the worker has done so far. Asks nobody.
    pub fn report(&self) -> WorkerReport {
        self.counters.report()
    }

    /// What the worker had counted when it ended; nothing before. Asks nobody.
    pub fn last(&self) -> Option<Metrics> {
        self.counters.last.get().cloned()
    }

    /// How full these queues are, as far as there are such.
    ///
    /// # Errors
    ///
    /// [`BrokerError`] if the broker does not say.
    pub async fn depths(&self, queues: &[QueueName]) -> Result<Vec<QueueInfo>, BrokerError> {
        let mut all = self.broker.queues().await?;
        all.retain(|queue| queues.contains(&queue.name));
        Ok(all)
    }

    /// Waits until the worker is told to stop. Cancel safe.
    pub async fn stopping(&mut self) {
        // An error means that the worker is gone.
        let _ = self.orders.wait_for(Option::is_some).await;
    }
}

impl Dispatcher {
    fn look(&mut self) -> Look {
        self.watch_connection();
        Look {
            readiness: self.readiness(),
            metrics: self.metrics(),
        }
    }
}
