//! News of results that came as messages, for who waits.

use std::sync::Arc;

use celeriac_core::results::ResultWatch;
use celeriac_core::{BoxFuture, BrokerError, Cause, StoredResult, TaskId};
use jiff::Timestamp;
use tokio::sync::watch;

use super::answers::Answers;
use super::intake::lock;
use crate::watched::Watched;

/// Compares what is held of each watched call with what was told of it.
#[derive(Debug)]
pub(super) struct AmqpWatch {
    answers: Arc<Answers>,
    news: watch::Receiver<()>,
    watched: Watched,
}

impl AmqpWatch {
    pub(super) fn new(answers: Arc<Answers>) -> Self {
        Self {
            news: answers.news.subscribe(),
            answers,
            watched: Watched::default(),
        }
    }

    fn look(&mut self) -> Vec<StoredResult> {
        let held = lock(&self.answers.held);
        let now = Timestamp::now();
        self.watched.news(|id| held.get(id, now))
    }
}

impl ResultWatch for AmqpWatch {
    fn add(&mut self, ids: &[TaskId]) {
        // It may be mended by now: the next try says so, or that it is not.
        lock(&self.answers.held).refusal = None;
        self.watched.add(ids);
    }

    fn remove(&mut self, ids: &[TaskId]) {
        self.watched.remove(ids);
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Vec<StoredResult>, BrokerError>> {
        Box::pin(async move {
            loop {
                self.news.mark_unchanged();
                let told = self.look();
                if !told.is_empty() {
                    return Ok(told);
                }
                let refused = lock(&self.answers.held).refusal.clone();
                if let Some(Cause { reason, help }) = refused
                    && self.watched.clear()
                {
                    return Err(BrokerError::Unusable {
                        address: self.answers.hub.address(),
                        reason,
                        help,
                    });
                }
                // The sender lives in the answers, which the watch keeps.
                let _ = self.news.changed().await;
            }
        })
    }
}
