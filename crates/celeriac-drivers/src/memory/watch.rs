//! News of results in memory.

use celeriac_core::results::ResultWatch;
use celeriac_core::{BoxFuture, BrokerError, StoredResult, TaskId};
use jiff::Timestamp;
use tokio::sync::watch;

use super::MemoryBroker;
use crate::watched::Watched;

/// Compares what is held of each watched call with what was told of it.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    broker: MemoryBroker,
    news: watch::Receiver<()>,
    watched: Watched,
}

impl MemoryWatch {
    /// A watch of no call yet.
    pub(super) fn new(broker: MemoryBroker) -> Self {
        let news = broker.shared.news.subscribe();
        Self {
            broker,
            news,
            watched: Watched::default(),
        }
    }

    fn look(&mut self) -> Vec<StoredResult> {
        let state = self.broker.shared.lock();
        let now = Timestamp::now();
        self.watched.news(|id| state.numbered_result(id, now))
    }
}

impl ResultWatch for MemoryWatch {
    fn add(&mut self, ids: &[TaskId]) {
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
                // The sender lives in the broker, which the watch keeps.
                let _ = self.news.changed().await;
            }
        })
    }
}
