//! What was decided and is not done yet, in the order in which it is done.
//!
//! # Invariants
//!
//! - A delivery is settled after all else that follows from its outcome.
//! - What is done is taken out, so a batch that failed goes on where it was.

use std::sync::Arc;

use celeriac_core::{
    Broker, BrokerError, ChordStore, Consumer, Joined, Message, QueueName, Registry, ResultBackend,
    Routes, Settled, Settlement, StoredResult,
};
use celeriac_wire::canvas::{self, Follow, Part};
use jiff::Timestamp;
use tracing::{error, warn};

/// The most settlements in one batch.
const MOST: usize = 1000;

/// Chords to open, results to store, parts to count, messages to publish, deliveries to settle.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    pub(crate) opened: Vec<(String, u64)>,
    pub(crate) results: Vec<StoredResult>,
    pub(crate) parts: Vec<Part>,
    /// Chords that are complete, and what follows.
    joined: Vec<(String, Follow)>,
    pub(crate) messages: Vec<(QueueName, Message)>,
    pub(crate) settlements: Vec<Settlement>,
}

/// Where a batch is carried out.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    broker: Arc<dyn Broker>,
    consumer: Arc<dyn Consumer>,
    results: Option<Arc<dyn ResultBackend>>,
    chords: Option<Arc<dyn ChordStore>>,
    router: Router,
    /// Under which complete chords are claimed.
    claimant: Arc<str>,
}

impl Batch {
    pub(crate) fn len(&self) -> usize {
        let recorded = self.opened.len() + self.results.len() + self.parts.len();
        recorded + self.joined.len() + self.messages.len() + self.settlements.len()
    }

    /// Adds what follows from an outcome, but for its messages.
    pub(crate) fn follow(&mut self, follow: Follow) {
        self.opened.extend(follow.opened);
        self.results.extend(follow.results);
        self.parts.extend(follow.parts);
    }

    /// At most [`MOST`] settlements from the front, and everything that may precede them.
    pub(crate) fn split(&mut self) -> Self {
        let rest = self.settlements.split_off(self.settlements.len().min(MOST));
        std::mem::replace(
            self,
            Self {
                settlements: rest,
                ..Self::default()
            },
        )
    }

    /// A batch for each item, to find the one that the store refuses.
    pub(crate) fn singles(self) -> impl Iterator<Item = Self> {
        let mut singles = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut single = Self::default();
            change(&mut single);
            singles.push(single);
        };
        for it in &self.opened {
            add(&|single| single.opened.push(it.clone()));
        }
        for it in &self.results {
            add(&|single| single.results.push(it.clone()));
        }
        for it in &self.parts {
            add(&|single| single.parts.push(it.clone()));
        }
        for it in &self.messages {
            add(&|single| single.messages.push(it.clone()));
        }
        for it in &self.settlements {
            add(&|single| single.settlements.push(it.clone()));
        }
        let joined = self.joined.into_iter().map(|joined| Self {
            joined: vec![joined],
            ..Self::default()
        });
        joined.collect::<Vec<_>>().into_iter().chain(singles)
    }
}

impl Store {
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        consumer: Arc<dyn Consumer>,
        router: Router,
    ) -> Self {
        let results = broker.results();
        Self {
            chords: results.as_ref().and_then(|results| results.chords()),
            claimant: celeriac_core::TaskId::new().to_string().into(),
            broker,
            consumer,
            results,
            router,
        }
    }

    /// Carries out `batch`; what is done is taken out of it even if a later step fails.
    pub(crate) async fn carry_out(&self, batch: &mut Batch) -> Result<Vec<Settled>, BrokerError> {
        if let Some(chords) = &self.chords {
            while let Some((group, size)) = batch.opened.last() {
                chords.open(group, *size).await?;
                batch.opened.pop();
            }
            if !batch.parts.is_empty() {
                self.count(&**chords, batch).await?;
            }
            self.join(&**chords, batch).await?;
        } else if !(batch.parts.is_empty() && batch.opened.is_empty()) {
            error!("a chord will never be complete: this result backend counts no parts");
            batch.parts.clear();
            batch.opened.clear();
        }
        if !batch.results.is_empty() {
            self.store_results(batch.results.clone()).await?;
            batch.results.clear();
        }
        if !batch.messages.is_empty() {
            self.broker.publish(batch.messages.clone()).await?;
            batch.messages.clear();
        }
        if batch.settlements.is_empty() {
            return Ok(Vec::new());
        }
        self.consumer.settle(batch.settlements.clone()).await
    }

    async fn store_results(&self, results: Vec<StoredResult>) -> Result<(), BrokerError> {
        match &self.results {
            Some(backend) if !results.is_empty() => backend.store(results).await,
            _ => Ok(()),
        }
    }

    /// Counts parts of chords, and decides what follows from those that are complete.
    async fn count(&self, chords: &dyn ChordStore, batch: &mut Batch) -> Result<(), BrokerError> {
        let parts = batch.parts.iter().map(|part| part.counted.clone());
        let complete = chords.count(&self.claimant, parts.collect()).await?;
        let parts = std::mem::take(&mut batch.parts);
        for joined in complete {
            if let Some(follow) = self.follow(&parts, &joined) {
                batch.joined.push((joined.group, follow));
            }
        }
        Ok(())
    }

    /// What follows from a complete chord: as its last part says, which is among `parts`.
    fn follow(&self, parts: &[Part], joined: &Joined) -> Option<Follow> {
        let last = parts
            .iter()
            .rev()
            .find(|part| part.counted.group == joined.group)?;
        let now = Timestamp::now();
        let route = |task: &str| self.router.queue(task);
        match canvas::join(last, joined, &route, now) {
            Ok(follow) => Some(follow),
            Err(error) => {
                let error: &dyn std::error::Error = &error;
                warn!(error, group = joined.group, "a chord's body cannot be sent");
                None
            }
        }
    }

    /// Carries out what follows from complete chords.
    async fn join(&self, chords: &dyn ChordStore, batch: &mut Batch) -> Result<(), BrokerError> {
        while let Some((group, follow)) = batch.joined.last() {
            for (group, size) in &follow.opened {
                chords.open(group, *size).await?;
            }
            self.store_results(follow.results.clone()).await?;
            if !follow.messages.is_empty() {
                self.broker.publish(follow.messages.clone()).await?;
            }
            chords.close(group).await?;
            if let Some((_, follow)) = batch.joined.pop()
                && !follow.parts.is_empty()
            {
                // The chord was itself a part of another one.
                batch.parts.extend(follow.parts);
                Box::pin(self.count(chords, batch)).await?;
            }
        }
        Ok(())
    }
}

/// Where the steps of workflows are sent that name no queue.
#[derive(Debug, Clone)]
pub(crate) struct Router {
    pub(crate) registry: Registry,
    pub(crate) routes: Routes,
}

impl Router {
    /// The queue of a task: its own, or where the routes send it.
    pub(crate) fn queue(&self, task: &str) -> QueueName {
        let own = self.registry.get(task).ok();
        // The attribute checked the name.
        own.and_then(|task| QueueName::new(task.options.queue?).ok())
            .unwrap_or_else(|| self.routes.queue(task))
    }
}
