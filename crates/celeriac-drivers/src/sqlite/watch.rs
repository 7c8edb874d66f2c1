//! News of results, read on from where the watch was.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use celeriac_core::results::ResultWatch;
use celeriac_core::{BoxFuture, BrokerError, StoredResult, TaskId};
use tokio::sync::watch;

use super::results;
use super::store::Inner;
use super::transaction::Pulse;

/// How many rows are looked through at once.
const ROWS_AT_ONCE: u32 = 2000;

/// Tails the results of one database.
pub(super) struct SqliteWatch {
    inner: Arc<Inner>,
    news: watch::Receiver<()>,
    /// Up to here everything was seen.
    cursor: i64,
    watched: Arc<Mutex<HashSet<TaskId>>>,
    /// Calls whose stored state was not looked up yet.
    fresh: Vec<TaskId>,
}

impl SqliteWatch {
    /// A watch of no call yet.
    pub(super) async fn start(inner: Arc<Inner>) -> Result<Self, BrokerError> {
        let news = inner.signals.results.subscribe();
        let pulse = inner.reads.run(Pulse::load).await?;
        Ok(Self {
            inner,
            news,
            cursor: pulse.sequence,
            watched: Arc::default(),
            fresh: Vec::new(),
        })
    }

    fn watched(&self) -> MutexGuard<'_, HashSet<TaskId>> {
        lock(&self.watched)
    }

    /// What is there to tell now. Nothing is forgotten until it is returned.
    async fn look(&mut self) -> Result<Vec<StoredResult>, BrokerError> {
        let (fresh, cursor) = (self.fresh.clone(), self.cursor);
        let watched = self.watched.clone();
        let (held, (news, cursor)) = self
            .inner
            .reads
            .run(move |connection| {
                let held = results::fetch_some(connection, &fresh)?;
                let watched = lock(&watched);
                let news =
                    results::news(connection, cursor, ROWS_AT_ONCE, |id| watched.contains(id))?;
                Ok((held, news))
            })
            .await?;
        self.fresh.clear();
        self.cursor = cursor;
        let mut told = Vec::new();
        for result in held.into_iter().chain(news) {
            let mut watched = self.watched();
            let known = if result.state.is_final() {
                watched.remove(&result.id)
            } else {
                watched.contains(&result.id)
            };
            if known {
                told.push(result);
            }
        }
        Ok(told)
    }
}

impl ResultWatch for SqliteWatch {
    fn add(&mut self, ids: &[TaskId]) {
        self.watched().extend(ids.iter().cloned());
        self.fresh.extend_from_slice(ids);
    }

    fn remove(&mut self, ids: &[TaskId]) {
        let mut watched = self.watched();
        for id in ids {
            watched.remove(id);
        }
    }

    fn next(&mut self) -> BoxFuture<'_, Result<Vec<StoredResult>, BrokerError>> {
        Box::pin(async move {
            loop {
                self.news.mark_unchanged();
                let told = self.look().await?;
                if !told.is_empty() {
                    return Ok(told);
                }
                let changed = self.news.changed().await;
                changed.map_err(|_| BrokerError::Closed {
                    address: self.inner.place.path().display().to_string(),
                })?;
            }
        })
    }
}

fn lock(watched: &Mutex<HashSet<TaskId>>) -> MutexGuard<'_, HashSet<TaskId>> {
    watched.lock().unwrap_or_else(PoisonError::into_inner)
}

impl fmt::Debug for SqliteWatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "SqliteWatch({} calls)", self.watched().len())
    }
}
