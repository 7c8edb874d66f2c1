//! Where batches are carried out: broker, consumer, results and chords of one worker.
//!
//! # Invariants
//!
//! - A delivery is settled after all else that follows from its outcome.
//! - What is done is taken out of a batch, so one that failed goes on where it was.

use std::error::Error;
use std::sync::Arc;

use celeriac_core::{
    Broker, BrokerError, ChordStore, Consumer, Joined, ResultBackend, Settled, StoredResult, TaskId,
};
use celeriac_wire::canvas::{self, Follow, Part};
use jiff::Timestamp;
use tracing::{error, warn};

use crate::batch::Batch;
use crate::router::Router;

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

impl Store {
    pub(crate) fn new(
        broker: Arc<dyn Broker>,
        consumer: Arc<dyn Consumer>,
        router: Router,
    ) -> Self {
        let results = broker.results();
        Self {
            chords: results.as_ref().and_then(|results| results.chords()),
            claimant: TaskId::new().to_string().into(),
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
        let route = |task: &str| self.router.route(task);
        match canvas::join(last, joined, &route, now) {
            Ok(follow) => Some(follow),
            Err(error) => {
                warn!(
                    error = &error as &dyn Error,
                    group = joined.group,
                    "a chord's body cannot be sent"
                );
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
