//! Stopping, mode by mode.
//!
//! Warm: nothing more is fetched, what has not started goes back, what runs has the grace period.
//! Soft: what runs is told to stop. Cold: what runs is killed, and the consumer gives back what is
//! still held when it is closed.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{
    BrokerError, Consumer, ErrorKind, Interrupt, Outcome, Payload, QueueName, ShutdownMode,
    TaskError,
};
use futures_util::future::join;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::{debug, error, info, warn};

use super::Dispatcher;
use crate::report::add;
use crate::shutdown::Shutdown;

/// A fetch under way when the order comes may bring what it has claimed already: it is given back
/// at once rather than when the consumer is closed.
const LINGER: Duration = Duration::from_millis(100);
/// How long killed tasks have to answer, before the consumer gives them back unasked.
const KILLED: Duration = Duration::from_millis(400);
/// How long the last settlements may take.
const FLUSH: Duration = Duration::from_millis(200);
/// How long closing the consumer may take; its lease lapses by itself.
const CLOSE: Duration = Duration::from_millis(500);
/// How long the executor may take to end its threads and children.
const DRAIN: Duration = Duration::from_millis(900);

/// How far a worker's end has come.
#[derive(Debug)]
pub(super) struct Ending {
    mode: Shutdown,
    /// Until when a fetch that is under way is waited for.
    linger: Instant,
    /// When the next harder mode begins; in cold mode, when waiting ends.
    deadline: Instant,
    /// The executor's own end.
    draining: JoinHandle<()>,
    /// What the consumer has claimed ahead goes back while calls still run.
    leaving: JoinHandle<()>,
}

impl Ending {
    pub(super) fn mode(&self) -> Shutdown {
        self.mode
    }

    pub(super) fn next_timer(&self, now: Instant) -> Instant {
        if self.linger > now {
            self.linger.min(self.deadline)
        } else {
            self.deadline
        }
    }

    /// What we killed ourselves did not fail.
    pub(super) fn excuse(&self, outcome: Outcome<Payload>) -> Outcome<Payload> {
        outcome.map_err(|error| {
            if self.mode == Shutdown::Cold && error.kind() == ErrorKind::Lost {
                TaskError::shutdown()
            } else {
                error
            }
        })
    }
}

impl Dispatcher {
    /// Begins to end, or ends harder than before.
    pub(super) fn stop(&mut self, mode: Shutdown) {
        if self
            .ending
            .as_ref()
            .is_some_and(|ending| ending.mode >= mode)
        {
            return;
        }
        info!(?mode, held = self.held.len(), "worker is shutting down");
        let now = Instant::now();
        let (linger, deadline) = match &self.ending {
            Some(ending) => (ending.linger, ending.deadline),
            None => (now + LINGER, now + self.settings.grace),
        };
        let (deadline, how) = match mode {
            Shutdown::Cold => (now + KILLED, ShutdownMode::Kill),
            Shutdown::Warm | Shutdown::Soft => (deadline, ShutdownMode::CancelQueued),
        };
        let executor = self.executor.clone();
        let leaving = match self.ending.take() {
            Some(ending) => ending.leaving,
            None => tokio::spawn(leave(self.consumer.clone(), self.settings.queues.clone())),
        };
        self.ending = Some(Ending {
            mode,
            linger,
            deadline,
            draining: tokio::spawn(async move { executor.shutdown(how).await }),
            leaving,
        });
        self.give_back_paced();
        if mode >= Shutdown::Soft {
            for held in self.held.values() {
                held.control.interrupt(Interrupt::Shutdown);
            }
        }
    }

    fn give_back_paced(&mut self) {
        for tag in self.pace.clear() {
            if let Some(held) = self.take_paced(tag) {
                self.give_back(&held.delivery, None);
            }
        }
    }

    pub(super) fn on_ending_timer(&mut self, now: Instant) {
        let Some(ending) = &self.ending else {
            return;
        };
        if ending.linger <= now {
            self.receiving = None;
        }
        if ending.deadline <= now && ending.mode < Shutdown::Cold {
            warn!(held = self.held.len(), "the grace period is over");
            self.stop(Shutdown::Cold);
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        let Some(ending) = &self.ending else {
            return false;
        };
        let settled = self.unsettled() == 0 || self.fatal.is_some();
        let done = self.held.is_empty() && settled && self.receiving.is_none();
        done || (ending.mode == Shutdown::Cold && ending.deadline <= Instant::now())
    }

    /// Settles what is left, gives the rest back and closes.
    pub(super) async fn end(mut self) -> Result<(), BrokerError> {
        let acked = |tag: &i64| self.held.get(tag).is_some_and(|held| held.acked);
        for tag in self.held.keys().copied().filter(acked).collect::<Vec<_>>() {
            self.on_ended(tag, Err(TaskError::shutdown()), None);
        }
        let untold = self.end_telling();
        // A timeout here is no loss: what is not settled comes again.
        let _ = timeout(FLUSH, self.flush()).await;
        add(&self.counters.unsettled, self.settler.len());
        add(&self.counters.given_back, self.held.len() + untold);
        let consumer = self.consumer.clone();
        if let Some(ending) = self.ending.take() {
            // Side by side: a broker that is out of reach and tasks that go on cost their time once.
            let closing = closed(&*consumer, Some(ending.leaving));
            join(closing, drained(ending.draining)).await;
        } else {
            closed(&*consumer, None).await;
        }
        // It has only one end.
        let _ = self.counters.last.set(self.metrics());
        info!(report = ?self.counters.report(), "worker has stopped");
        self.fatal.map_or(Ok(()), Err)
    }

    async fn flush(&mut self) {
        while self.settler.len() > 0 && self.fatal.is_none() && !self.settler.is_failing() {
            self.settler.start(Instant::now());
            let carried = self.settler.next().await;
            self.on_carried(carried);
        }
    }

    pub(super) fn on_looked(&mut self, empty: Result<bool, BrokerError>) {
        match empty {
            Ok(true) if self.is_idle() => self.stop(Shutdown::Warm),
            Ok(_) => self.idle_since = Instant::now(),
            Err(error) => {
                warn!(
                    error = &error as &dyn Error,
                    "cannot see whether the queues are empty"
                );
                self.idle_since = Instant::now();
            }
        }
    }

    /// The broker cannot be used any more; what is held comes back when the lease ends.
    pub(super) fn give_up(&mut self, error: BrokerError) {
        error!(
            error = &error as &dyn Error,
            "the broker cannot be used any more"
        );
        self.fatal.get_or_insert(error);
        self.stop(Shutdown::Cold);
    }
}

/// Closes a consumer once it has left its queues.
async fn closed(consumer: &dyn Consumer, leaving: Option<JoinHandle<()>>) {
    if let Some(mut leaving) = leaving
        && timeout(FLUSH, &mut leaving).await.is_err()
    {
        leaving.abort();
    }
    match timeout(CLOSE, consumer.close()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            warn!(
                error = &error as &dyn Error,
                "cannot close, the lease will lapse"
            );
        }
        Err(_) => warn!("the broker does not answer, the lease will lapse"),
    }
}

/// Waits until the executor has ended its threads and children.
async fn drained(draining: JoinHandle<()>) {
    if timeout(DRAIN, draining).await.is_err() {
        warn!("what runs cannot be ended from outside and is left behind");
    }
}

/// Takes nothing more from the queues, so that others have what was claimed ahead.
async fn leave(consumer: Arc<dyn Consumer>, queues: Vec<QueueName>) {
    for queue in &queues {
        // A broadcast, for one, cannot be left; closing the consumer sees to the rest.
        if let Err(error) = consumer.cancel_queue(queue).await {
            debug!(error = &error as &dyn Error, %queue, "a queue was not left");
        }
    }
}
