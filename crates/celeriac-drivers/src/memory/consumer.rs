//! A consumer of a broker in memory.

use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{
    BoxFuture, BrokerError, Consumer, Delivery, Queue, QueueName, Settled, Settlement, TaskId,
};
use jiff::Timestamp;
use tokio::sync::{Mutex, watch};

use super::state::{Ending, State};
use super::{MemoryBroker, ready};
use crate::destination::plain;
use crate::queues::Queues;

/// Takes messages from queues in memory.
#[derive(Debug)]
pub(super) struct MemoryConsumer {
    broker: MemoryBroker,
    subscription: Subscription,
    queues: Queues,
    holder: AtomicI64,
    closed: AtomicBool,
    news: Mutex<watch::Receiver<()>>,
    /// The same for revocations, and how many of them were told.
    revocations: Mutex<(watch::Receiver<()>, usize)>,
}

impl MemoryConsumer {
    /// Registers a consumer.
    pub(super) fn register(broker: MemoryBroker, subscription: Subscription) -> Self {
        let news = broker.shared.news.subscribe();
        let mut state = broker.shared.lock();
        let holder = state.register(subscription.clone());
        let seen = state.revocations(0).len();
        drop(state);
        Self {
            broker,
            queues: Queues::new(subscription.queues.clone()),
            subscription,
            holder: AtomicI64::new(holder),
            closed: AtomicBool::new(false),
            news: Mutex::new(news.clone()),
            revocations: Mutex::new((news, seen)),
        }
    }

    fn check_open(&self) -> Result<(), BrokerError> {
        if self.closed.load(Ordering::SeqCst) {
            return Err(BrokerError::Closed {
                address: self.broker.address(),
            });
        }
        Ok(())
    }

    /// The number it is registered by; a new one if the old one was taken away.
    fn ensure(&self, state: &mut State) -> i64 {
        let holder = self.holder.load(Ordering::SeqCst);
        if state.is_registered(holder) {
            return holder;
        }
        let new = state.register(Subscription {
            queues: self.queues.all(),
            ..self.subscription.clone()
        });
        self.holder.store(new, Ordering::SeqCst);
        new
    }

    /// Has the state know which queues it takes from now.
    fn take_from_these(&self) {
        let holder = self.holder.load(Ordering::SeqCst);
        self.broker
            .shared
            .change(|state| state.take_from(holder, self.queues.all()));
    }

    fn end(&self, counted: bool) {
        if !self.closed.swap(true, Ordering::SeqCst) {
            let holder = self.holder.load(Ordering::SeqCst);
            self.broker
                .shared
                .change(|state| state.unregister(holder, counted));
        }
    }
}

/// Waits for news, or until `due`.
async fn news_or_due(news: &mut watch::Receiver<()>, due: Option<Timestamp>) {
    let Some(due) = due else {
        // The sender lives in the broker, which the consumer keeps.
        let _ = news.changed().await;
        return;
    };
    let wait = due.duration_since(Timestamp::now()).unsigned_abs();
    // Rounded up: the timer counts whole milliseconds.
    let wait = wait + Duration::from_millis(1);
    let _ = tokio::time::timeout(wait, news.changed()).await;
}

impl Consumer for MemoryConsumer {
    fn receive(&self, credit: NonZeroUsize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            let mut news = self.news.lock().await;
            loop {
                news.mark_unchanged();
                self.check_open()?;
                // Claimed and handed over without an await between: nothing can be dropped.
                let due = {
                    let mut state = self.broker.shared.lock();
                    let holder = self.ensure(&mut state);
                    let before = state.last_number();
                    let claimed = state.claim(holder, credit.get(), Timestamp::now());
                    if state.last_number() > before {
                        // A message died of its deliveries, and its callers wait.
                        self.broker.shared.news.send_replace(());
                    }
                    if !claimed.is_empty() {
                        return Ok(claimed);
                    }
                    state.next_due()
                };
                news_or_due(&mut news, due).await;
            }
        })
    }

    fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> BoxFuture<'_, Result<Vec<Settled>, BrokerError>> {
        let encode = |it: Settlement| {
            Ok(Ending {
                tag: it.tag,
                verdict: it.verdict,
                result: it.result,
                follow_ups: self.broker.encode(it.follow_ups)?,
            })
        };
        let endings: Result<Vec<Ending>, BrokerError> = self
            .check_open()
            .and_then(|()| settlements.into_iter().map(encode).collect());
        ready(endings.map(|endings| {
            self.broker.shared.change(|state| {
                let holder = self.holder.load(Ordering::SeqCst);
                let now = Timestamp::now();
                endings
                    .into_iter()
                    .map(|ending| state.settle(holder, ending, now))
                    .collect()
            })
        }))
    }

    fn revoked(&self) -> BoxFuture<'_, Result<Vec<TaskId>, BrokerError>> {
        Box::pin(async move {
            let mut revocations = self.revocations.lock().await;
            let (news, seen) = &mut *revocations;
            loop {
                news.mark_unchanged();
                self.check_open()?;
                let told = self.broker.shared.lock().revocations(*seen);
                if !told.is_empty() {
                    *seen += told.len();
                    return Ok(told);
                }
                let _ = news.changed().await;
            }
        })
    }

    fn add_queue(&self, queue: Queue) -> BoxFuture<'_, Result<(), BrokerError>> {
        let name = self
            .check_open()
            .and_then(|()| plain(&queue, || self.broker.address()));
        ready(name.map(|name| {
            self.queues.add(name);
            self.take_from_these();
        }))
    }

    fn cancel_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), BrokerError>> {
        // Nothing is claimed here that is not delivered at once.
        self.queues.cancel(queue);
        self.take_from_these();
        ready(Ok(()))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.end(false);
        ready(Ok(()))
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        // Nobody says what was started and what was not, so all of it counts.
        self.end(true);
    }
}
