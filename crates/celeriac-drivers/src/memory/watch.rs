//! News of results in memory.

use std::collections::HashMap;

use celeriac_core::results::ResultWatch;
use celeriac_core::{BoxFuture, BrokerError, StoredResult, TaskId};
use jiff::Timestamp;
use tokio::sync::watch;

use super::MemoryBroker;

/// Compares what is held of each watched call with what was told of it.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    broker: MemoryBroker,
    news: watch::Receiver<()>,
    /// The number of what was told last; 0 if nothing was.
    watched: HashMap<TaskId, i64>,
}

impl MemoryWatch {
    /// A watch of no call yet.
    pub(super) fn new(broker: MemoryBroker) -> Self {
        let news = broker.shared.news.subscribe();
        Self {
            broker,
            news,
            watched: HashMap::new(),
        }
    }

    fn look(&mut self) -> Vec<StoredResult> {
        let state = self.broker.shared.lock();
        let now = Timestamp::now();
        let mut told = Vec::new();
        self.watched.retain(|id, seen| {
            let Some((number, result)) = state.numbered_result(id, now) else {
                return true;
            };
            let stays = !result.state.is_final();
            if number != *seen {
                *seen = number;
                told.push(result);
            }
            stays
        });
        told
    }
}

impl ResultWatch for MemoryWatch {
    fn add(&mut self, ids: &[TaskId]) {
        for id in ids {
            self.watched.insert(id.clone(), 0);
        }
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
