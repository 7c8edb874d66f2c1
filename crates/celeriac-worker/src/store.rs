//! Where batches are carried out: broker, consumer, results and chords of one worker.
//!
//! # Invariants
//!
//! - A delivery is settled after all else that follows from its outcome.
//! - What is done is taken out of a batch, so one that failed goes on where it was.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{
    Broker, BrokerError, ChordStore, Consumer, Destination, EncodedResult, Joined, Message,
    ResultBackend, Settled, StoredResult, TaskId,
};
use celeriac_wire::canvas::{self, Follow, Part};
use jiff::Timestamp;
use tracing::{error, warn};

use crate::batch::{Batch, Complete, Told};
use crate::router::Router;

/// Why a chord fails where it cannot be counted.
const UNCOUNTED: &str = "no parts are counted where this worker keeps results; keep them in Redis";

/// Where a batch is carried out.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    broker: Arc<dyn Broker>,
    pub(crate) consumer: Arc<dyn Consumer>,
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

    /// How long the broker takes to answer, where what was carried out does not tell.
    pub(crate) fn turn(&self) -> Duration {
        self.consumer.turn()
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
        } else {
            self.do_without_chords(batch);
        }
        if !batch.results.is_empty() {
            self.store_results(batch.results.clone()).await?;
            batch.results.clear();
        }
        if !batch.encoded.is_empty() {
            if let Some(backend) = &self.results {
                let ours = self.ours(&batch.encoded).await?;
                backend.store_encoded(ours).await?;
            }
            batch.encoded.clear();
        }
        if !batch.messages.is_empty() {
            self.publish(&mut batch.messages).await?;
        }
        if batch.settlements.is_empty() {
            return Ok(Vec::new());
        }
        self.consumer.settle(batch.settlements.clone()).await
    }

    /// Publishes messages, and leaves those that the broker has not confirmed.
    async fn publish(&self, messages: &mut Vec<(Destination, Message)>) -> Result<(), BrokerError> {
        let published = self.broker.publish(messages.clone()).await;
        let all = std::mem::take(messages);
        published.map_err(|error| {
            (_, *messages) = error.part(all);
            error.into_reason()
        })
    }

    async fn store_results(&self, results: Vec<StoredResult>) -> Result<(), BrokerError> {
        match &self.results {
            Some(backend) if !results.is_empty() => backend.store(results).await,
            _ => Ok(()),
        }
    }

    /// What a runtime told of deliveries that no other worker has by now.
    async fn ours(&self, told: &[Told]) -> Result<Vec<EncodedResult>, BrokerError> {
        let tags: Vec<_> = told.iter().filter_map(|told| told.unsettled).collect();
        let held = match &tags[..] {
            [] => Vec::new(),
            tags => self.consumer.holds(tags).await?,
        };
        let mut held = held.into_iter();
        let is_ours = |told: &&Told| told.unsettled.is_none() || held.next().unwrap_or(true);
        let ours = told.iter().filter(is_ours);
        Ok(ours.map(|told| told.result.clone()).collect())
    }

    /// Counts parts of chords, and decides what follows from those that are complete.
    async fn count(&self, chords: &dyn ChordStore, batch: &mut Batch) -> Result<(), BrokerError> {
        let parts = batch.parts.iter().map(|part| part.counted.clone());
        let complete = chords.count(&self.claimant, parts.collect()).await?;
        let parts = std::mem::take(&mut batch.parts);
        for joined in complete {
            // As its last part says, which is among those just counted.
            let mut counted = parts.iter().rev();
            if let Some(last) = counted.find(|part| part.counted.group == joined.group) {
                batch.joined.push(self.complete(last.clone(), &joined));
            }
        }
        Ok(())
    }

    /// What follows from a complete chord: its body, or why there is none.
    fn complete(&self, last: Part, joined: &Joined) -> Complete {
        let route = |named, task: &str| self.router.route(named, task);
        match canvas::join(&last, joined, &route, Timestamp::now()) {
            Ok(follow) => Complete {
                last,
                follow,
                abandoned: false,
            },
            Err(error) => self.abandon(last, &error.to_string()),
        }
    }

    /// The end of a chord whose body can never be sent.
    fn abandon(&self, last: Part, reason: &str) -> Complete {
        let group = last.counted.group.as_str();
        warn!(reason, group, "the body of a chord cannot be sent");
        let route = |named, task: &str| self.router.route(named, task);
        let follow = canvas::abandon(&last, reason, &route, Timestamp::now());
        let follow = follow.unwrap_or_else(|error| {
            let error = &error as &dyn Error;
            warn!(error, group, "nobody can be told that a chord failed");
            Follow::default()
        });
        Complete {
            last,
            follow,
            abandoned: true,
        }
    }

    /// Carries out what follows from complete chords.
    async fn join(&self, chords: &dyn ChordStore, batch: &mut Batch) -> Result<(), BrokerError> {
        while let Some(mut complete) = batch.joined.pop() {
            if let Err(error) = self.carry_out_complete(chords, &mut complete).await {
                if !is_refusal(&error) {
                    batch.joined.push(complete);
                    return Err(error);
                }
                if !complete.abandoned {
                    complete = self.abandon(complete.last, &error.to_string());
                    batch.joined.push(complete);
                    continue;
                }
                if !complete.follow.messages.is_empty() {
                    // Those who would be told cannot be. What is known is stored all the same.
                    complete.follow.messages.clear();
                    batch.joined.push(complete);
                    continue;
                }
                let group = complete.last.counted.group.as_str();
                let error = &error as &dyn Error;
                error!(error, group, "the end of a chord cannot be stored");
            }
            if !complete.follow.parts.is_empty() {
                // The chord was itself a part of another one.
                batch.parts.extend(complete.follow.parts);
                Box::pin(self.count(chords, batch)).await?;
            }
        }
        Ok(())
    }

    async fn carry_out_complete(
        &self,
        chords: &dyn ChordStore,
        complete: &mut Complete,
    ) -> Result<(), BrokerError> {
        let follow = &mut complete.follow;
        for (group, size) in &follow.opened {
            chords.open(group, *size).await?;
        }
        self.store_results(follow.results.clone()).await?;
        if !follow.messages.is_empty() {
            self.publish(&mut follow.messages).await?;
        }
        chords.close(&complete.last.counted.group).await
    }

    /// Where nothing counts parts no chord is ever complete, so each fails at once: by its first
    /// part, because one has to say so and the others cannot know whether it has.
    fn do_without_chords(&self, batch: &mut Batch) {
        batch.opened.clear();
        while let Some(part) = batch.parts.pop() {
            if part.counted.index.unwrap_or(0) == 0 {
                let end = self.abandon(part, UNCOUNTED).follow;
                batch.results.extend(end.results);
                batch.messages.extend(end.messages);
                batch.parts.extend(end.parts);
            }
        }
    }
}

/// Whether the store is there, and will never do this.
fn is_refusal(error: &BrokerError) -> bool {
    let gone = matches!(
        error,
        BrokerError::Closed { .. } | BrokerError::Unusable { .. }
    );
    !(gone || error.is_transient())
}
