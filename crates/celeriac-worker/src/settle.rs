//! Carries out what was decided, in batches, until it is done.
//!
//! One batch is under way at a time and the next one gathers meanwhile, so a store that commits
//! slowly gets large ones. What a transient error stopped is kept and tried again.

use std::collections::VecDeque;
use std::error::Error;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{
    BoxFuture, Broker, BrokerError, Consumer, Destination, EncodedResult, Message, Settled,
    Settlement, StoredResult,
};
use celeriac_wire::canvas::Follow;
use tokio::time::Instant;
use tracing::error;

use crate::backoff::RetryTimer;
use crate::batch::{Batch, Told};
use crate::router::Router;
use crate::store::Store;

type Carrying = BoxFuture<'static, (Batch, Result<Vec<Settled>, BrokerError>)>;

/// Carries out what was decided.
pub(crate) struct Settler {
    store: Store,
    gathering: Batch,
    /// Batches that failed, to be tried again before anything new.
    again: VecDeque<Batch>,
    carrying: Option<Carrying>,
    carrying_since: Instant,
    carrying_len: usize,
    retry: RetryTimer,
}

/// What came of one batch.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// How long it took, if it was done.
    pub(crate) took: Option<Duration>,
    /// The deliveries that were not ours any more.
    pub(crate) lost: Vec<i64>,
    /// The error after which it will be tried again.
    pub(crate) stopped: Option<BrokerError>,
    /// How many items the store refuses for good.
    pub(crate) refused: usize,
    /// The error after which the broker cannot be used at all.
    pub(crate) fatal: Option<BrokerError>,
}

impl Settler {
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        consumer: Arc<dyn Consumer>,
        router: Router,
    ) -> Self {
        Self {
            store: Store::new(broker, consumer, router),
            gathering: Batch::default(),
            again: VecDeque::new(),
            carrying: None,
            carrying_since: Instant::now(),
            carrying_len: 0,
            retry: RetryTimer::default(),
        }
    }

    /// Settles by another consumer from now on. Nothing may be under way.
    pub(crate) fn change_consumer(&mut self, consumer: Arc<dyn Consumer>) {
        self.store.consumer = consumer;
    }

    /// Settles a delivery.
    pub(crate) fn settle(&mut self, settlement: Settlement) {
        self.gathering.settlements.push(settlement);
    }

    /// Stores a result apart from any settlement.
    pub(crate) fn store(&mut self, result: StoredResult) {
        self.gathering.results.push(result);
    }

    /// Stores results of a runtime before whatever is settled from now on; those that end a delivery which is
    /// not settled yet only if it is still ours.
    pub(crate) fn store_encoded(
        &mut self,
        results: impl IntoIterator<Item = EncodedResult>,
        unsettled: Option<i64>,
    ) {
        let told = results.into_iter().map(|result| Told { result, unsettled });
        self.gathering.encoded.extend(told);
    }

    /// Publishes messages apart from any settlement.
    pub(crate) fn publish(&mut self, messages: impl IntoIterator<Item = (Destination, Message)>) {
        self.gathering.messages.extend(messages);
    }

    /// Records what follows from an outcome, but for its messages.
    pub(crate) fn follow(&mut self, follow: Follow) {
        self.gathering.follow(follow);
    }

    /// How much is not done yet.
    pub(crate) fn len(&self) -> usize {
        let again: usize = self.again.iter().map(Batch::len).sum();
        self.gathering.len() + again + self.carrying_len
    }

    /// Whether the last try failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.retry.is_failing()
    }

    /// When [`start`](Self::start) will have something to do.
    pub(crate) fn retry_at(&self) -> Option<Instant> {
        self.retry.at().filter(|_| self.carrying.is_none())
    }

    /// Starts the next batch unless one is under way, or it is too soon after a failure.
    pub(crate) fn start(&mut self, now: Instant) {
        if self.carrying.is_some() || self.len() == 0 || !self.retry.is_due(now) {
            return;
        }
        let mut batch = self
            .again
            .pop_front()
            .unwrap_or_else(|| self.gathering.split());
        let store = self.store.clone();
        self.carrying_len = batch.len();
        self.carrying_since = now;
        self.carrying = Some(Box::pin(async move {
            let settled = store.carry_out(&mut batch).await;
            (batch, settled)
        }));
    }

    /// Waits for the batch under way, for ever if there is none. Cancel safe.
    pub(crate) async fn next(&mut self) -> Carried {
        let Some(carrying) = &mut self.carrying else {
            return pending().await;
        };
        let (batch, settled) = carrying.await;
        self.carrying = None;
        self.carrying_len = 0;
        match settled {
            Ok(settled) => {
                let tags = batch.settlements.iter().map(|settlement| settlement.tag);
                let lost = tags
                    .zip(settled)
                    .filter(|(_, how)| *how == Settled::LeaseLost);
                self.retry.succeeded();
                Carried {
                    took: Some(self.carrying_since.elapsed().max(self.store.turn())),
                    lost: lost.map(|(tag, _)| tag).collect(),
                    ..Carried::default()
                }
            }
            Err(error) => self.failed(batch, error),
        }
    }

    fn failed(&mut self, batch: Batch, error: BrokerError) -> Carried {
        let mut carried = Carried::default();
        if error.is_transient() {
            self.retry.failed(Instant::now());
            self.again.push_front(batch);
            carried.stopped = Some(error);
        } else if matches!(
            error,
            BrokerError::Closed { .. } | BrokerError::Unusable { .. }
        ) {
            self.again.push_front(batch);
            carried.fatal = Some(error);
        } else if batch.len() == 1 {
            let failure = batch.without_value(&error.to_string());
            let error = &error as &dyn Error;
            if let Some(failure) = failure {
                // Whoever waits for it is told that, rather than nothing.
                error!(error, "a value cannot be stored, its call has failed");
                self.again.push_back(failure);
            } else {
                error!(error, "cannot settle, the message will come again");
                carried.refused = 1;
            }
        } else {
            self.again.extend(batch.singles());
        }
        carried
    }
}
