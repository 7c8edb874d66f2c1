//! Sees that what a worker waits for does come.
//!
//! A fetch that failed and then waits, on a consumer that is connected, has recovered: on an empty queue
//! no delivery would ever say so. And a fetch that waits while messages do too is stuck, whatever its
//! connection says of itself: the worker is not ready then, and takes part anew as another consumer as
//! soon as it holds nothing.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Broker, BrokerError, Consumer, QueueName};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::{Dispatcher, Waiting};
use crate::report::count;

/// How long a fetch waits without an error before it is believed to have recovered: longer than between two
/// renewals of a lease, of which the next one fails where a server answers and takes no writes.
const RECOVERED: Duration = Duration::from_secs(5);
/// After how long messages that wait are looked for once more, before that is called a stall: one that
/// was just on its way has arrived by then.
const CONFIRM: Duration = Duration::from_secs(5);
/// How long the broker may take to say how full its queues are.
const LOOK: Duration = Duration::from_secs(10);
/// How long the consumer that is given up may take to leave.
const LEAVE: Duration = Duration::from_secs(5);

/// How the fetch under way fares.
#[derive(Default)]
pub(super) struct Watchdog {
    /// When to look at it next.
    at: Option<Instant>,
    pub(super) looking: Waiting<bool>,
    /// Messages were waiting at the last look.
    suspicious: bool,
    stalled: bool,
    /// The consumer was seen to have no connection, and it is not known whether it has one again.
    cut_off: bool,
    pub(super) renewing: Waiting<Arc<dyn Consumer>>,
}

impl Watchdog {
    /// A fetch began.
    pub(super) fn began(&mut self, after: Option<Duration>, now: Instant) {
        self.suspicious = false;
        self.looking = None;
        self.at = after.map(|after| now + after);
    }

    /// Something was delivered.
    pub(super) fn delivered(&mut self) {
        *self = Self::default();
    }

    /// Whether messages wait and none is delivered.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled
    }

    /// When to look next, if not at something that is awaited already.
    pub(super) fn at(&self) -> Option<Instant> {
        self.at
            .filter(|_| self.looking.is_none() && self.renewing.is_none())
    }
}

impl Dispatcher {
    /// After how long a fetch that has just begun is looked at.
    pub(super) fn watch_after(&self) -> Option<Duration> {
        if self.receive_retry.is_failing() {
            Some(RECOVERED)
        } else {
            self.settings.stall_after
        }
    }

    pub(super) fn on_watch_timer(&mut self, now: Instant) {
        if self.watchdog.at().is_none_or(|at| at > now) {
            return;
        }
        self.watchdog.at = None;
        if self.receiving.is_none() || self.ending.is_some() {
            return;
        }
        if self.receive_retry.is_failing() {
            if self.consumer.is_connected() {
                self.recovered();
            }
            self.watchdog.at = self.watch_after().map(|after| now + after);
            return;
        }
        // What was delivered before and never settled may rightly be kept back: see `Subscription`.
        let mut held = self.held.values();
        if held.any(|held| held.delivery.deliveries > 1) {
            self.watchdog.at = self.watch_after().map(|after| now + after);
            return;
        }
        let (broker, queues) = (self.broker.clone(), self.settings.queues.clone());
        self.watchdog.looking = Some(Box::pin(has_waiting(broker, queues)));
    }

    /// Takes note of whether the consumer is connected: most drivers connect again by themselves.
    pub(crate) fn watch_connection(&mut self) {
        if !self.consumer.is_connected() {
            self.watchdog.cut_off = true;
        } else if self.watchdog.cut_off && !self.receive_retry.is_failing() {
            self.recovered();
        }
    }

    /// Fetching works again.
    pub(super) fn recovered(&mut self) {
        let was_cut_off = std::mem::take(&mut self.watchdog.cut_off);
        if self.receive_retry.is_failing() || was_cut_off {
            count(&self.counters.reconnects);
            info!("fetching from the broker works again");
        }
        self.receive_retry.succeeded();
        self.trouble.over();
    }

    /// Whether messages wait is known; nothing was delivered meanwhile.
    pub(super) fn on_watched(&mut self, waiting: Result<bool, BrokerError>) {
        let now = Instant::now();
        // A broker that cannot say it is in trouble of another kind, which the fetch will meet.
        let waiting = waiting.unwrap_or_default();
        let confirmed = waiting && self.watchdog.suspicious;
        self.watchdog.suspicious = waiting;
        if !waiting {
            self.watchdog.stalled = false;
        }
        if confirmed && !self.watchdog.stalled {
            self.watchdog.stalled = true;
            warn!("messages are waiting and none is delivered, will consume anew");
        }
        self.watchdog.at = match self.settings.stall_after {
            Some(after) if waiting => Some(now + CONFIRM.min(after)),
            after => after.map(|after| now + after),
        };
        if self.watchdog.stalled && self.is_idle() && self.ending.is_none() {
            let subscription = self.settings.subscription(self.executor.slots());
            let broker = self.broker.clone();
            self.watchdog.renewing =
                Some(Box::pin(async move { broker.consume(subscription).await }));
        }
    }

    /// Another consumer takes the place of the one that is stuck.
    pub(super) fn on_renewed(&mut self, renewed: Result<Arc<dyn Consumer>, BrokerError>) {
        let consumer = match renewed {
            Ok(consumer) => consumer,
            Err(error) => {
                return self
                    .trouble
                    .tell("cannot consume anew, will try again", &error);
            }
        };
        if !self.is_idle() || self.ending.is_some() {
            // It was not stuck after all: the new one has taken nothing, and leaves.
            return leave(consumer);
        }
        self.receiving = None;
        self.revocations = None;
        count(&self.counters.reconnects);
        self.settler.change_consumer(consumer.clone());
        leave(std::mem::replace(&mut self.consumer, consumer));
    }
}

/// Gives back what a consumer may hold, and does not wait for it.
fn leave(consumer: Arc<dyn Consumer>) {
    tokio::spawn(async move {
        // If it cannot, its lease lapses.
        let _ = timeout(LEAVE, consumer.close()).await;
    });
}

/// Whether a message could be delivered from any of these queues.
async fn has_waiting(broker: Arc<dyn Broker>, queues: Vec<QueueName>) -> Result<bool, BrokerError> {
    let Ok(all) = timeout(LOOK, broker.queues()).await else {
        return Ok(false);
    };
    let all = all?;
    let mut ours = all.iter().filter(|queue| queues.contains(&queue.name));
    Ok(ours.any(|queue| queue.ready > 0))
}
