//! Broker and result backend in the memory of this process, shared by name.
//!
//! For tests of roles, and for programs whose queue may die with them. A consumer's lease never
//! lapses by itself, since all consumers live in this process; [`MemoryBroker::expire`] ends one as
//! if its holder had died.

mod chords;
mod consumer;
mod state;
mod watch;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use celeriac_core::broker::Subscription;
use celeriac_core::results::ResultWatch;
use celeriac_core::{
    BoxFuture, Broker, BrokerError, ChordPart, ChordStore, Consumer, ConsumerInfo, DeadMessage,
    Destination, Joined, Message, QueueInfo, QueueName, ResultBackend, StoredResult, TaskId,
};
use jiff::Timestamp;
use tokio::sync::watch as bell;

use crate::destination::only_queue;
use crate::{DriverOptions, headers, refusal};
use consumer::MemoryConsumer;
use state::{Entry, State};
use watch::MemoryWatch;

/// A broker in memory. Clones share it.
#[derive(Debug, Clone)]
pub struct MemoryBroker {
    name: Arc<str>,
    body_limit_bytes: usize,
    shared: Arc<Shared>,
}

/// What everybody who opened one name shares.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Rings when something happened that somebody may wait for.
    news: bell::Sender<()>,
}

impl Shared {
    /// Looks at the state, or changes it, without telling anybody.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the state and wakes those who wait.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let value = change(&mut self.lock());
        self.news.send_replace(());
        value
    }
}

impl MemoryBroker {
    /// The broker called `name`, which lives as long as the process; made if it is new.
    pub fn named(name: &str, options: &DriverOptions) -> Arc<Self> {
        static NAMED: OnceLock<Mutex<HashMap<String, Arc<Shared>>>> = OnceLock::new();
        let mut named = NAMED
            .get_or_init(Mutex::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let shared = named.entry(name.to_owned()).or_insert_with(|| {
            Arc::new(Shared {
                state: Mutex::default(),
                news: bell::Sender::new(()),
            })
        });
        Arc::new(Self {
            name: name.into(),
            body_limit_bytes: options.body_limit_bytes,
            shared: shared.clone(),
        })
    }

    /// Ends the consumers called `consumer` as if their process had died: what they hold goes back
    /// and counts as delivered, and their settlements find the lease lost.
    pub fn expire(&self, consumer: &str) {
        self.shared.change(|state| state.expire(consumer));
    }

    /// Puts a message in `queue` whose headers and content type are taken as they are, as a broken
    /// or hostile producer would.
    pub fn insert_raw(&self, queue: &QueueName, headers: &[u8], content_type: &str, body: &[u8]) {
        let entry = Entry {
            queue: queue.clone(),
            rank: 9,
            task_id: None,
            headers: headers.to_vec(),
            content_type: content_type.to_owned(),
            body: body.to_vec().into(),
            deliveries: 0,
        };
        self.shared
            .change(|state| state.publish(entry, None, Timestamp::now()));
    }

    fn address(&self) -> String {
        format!("memory:{}", self.name)
    }

    /// The messages as they are stored, unless one is too large.
    fn encode(
        &self,
        messages: Vec<(Destination, Message)>,
    ) -> Result<Vec<(Entry, Option<Timestamp>)>, BrokerError> {
        messages
            .into_iter()
            .map(|(destination, message)| {
                let queue = only_queue(destination, || self.address())?;
                refusal::check_size(&message, self.body_limit_bytes)?;
                let mut encoded = Vec::new();
                headers::encode_into(&message.headers, &mut encoded);
                let entry = Entry {
                    queue,
                    rank: 9 - message.priority.min(9),
                    task_id: Some(message.headers.id.clone()),
                    headers: encoded,
                    content_type: message.body.content_type.as_str().to_owned(),
                    body: message.body.bytes,
                    deliveries: 0,
                };
                Ok((entry, message.headers.eta))
            })
            .collect()
    }
}

/// A future that is ready at once.
fn ready<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, T> {
    Box::pin(std::future::ready(value))
}

impl Broker for MemoryBroker {
    fn publish(
        &self,
        messages: Vec<(Destination, Message)>,
    ) -> BoxFuture<'_, Result<(), BrokerError>> {
        ready(self.encode(messages).map(|entries| {
            self.shared.change(|state| {
                let now = Timestamp::now();
                for (entry, eta) in entries {
                    state.publish(entry, eta, now);
                }
            });
        }))
    }

    fn consume(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Arc<dyn Consumer>, BrokerError>> {
        let consumer: Arc<dyn Consumer> =
            Arc::new(MemoryConsumer::register(self.clone(), subscription));
        ready(Ok(consumer))
    }

    fn revoke<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.shared.change(|state| state.revoke(ids));
        ready(Ok(()))
    }

    fn results(&self) -> Option<Arc<dyn ResultBackend>> {
        Some(Arc::new(self.clone()))
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, BrokerError>> {
        ready(Ok(self.shared.lock().queues(Timestamp::now())))
    }

    fn consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerInfo>, BrokerError>> {
        ready(Ok(self.shared.lock().consumers()))
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, BrokerError>> {
        ready(Ok(self.shared.change(|state| state.purge(queue))))
    }

    fn dead(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadMessage>, BrokerError>> {
        ready(Ok(self.shared.lock().dead(limit)))
    }

    fn retry_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        ready(Ok(self.shared.change(|state| state.retry_dead(numbers))))
    }

    fn drop_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        ready(Ok(self.shared.change(|state| state.drop_dead(numbers))))
    }
}

impl ResultBackend for MemoryBroker {
    fn store(&self, results: Vec<StoredResult>) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.shared.change(|state| {
            for result in results {
                state.store_result(result, true);
            }
        });
        ready(Ok(()))
    }

    fn fetch<'a>(
        &'a self,
        ids: &'a [TaskId],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredResult>>, BrokerError>> {
        let state = self.shared.lock();
        let now = Timestamp::now();
        let found = ids.iter().map(|id| state.result(id, now)).collect();
        ready(Ok(found))
    }

    fn watch(&self) -> BoxFuture<'_, Result<Box<dyn ResultWatch>, BrokerError>> {
        let watch: Box<dyn ResultWatch> = Box::new(MemoryWatch::new(self.clone()));
        ready(Ok(watch))
    }

    fn chords(&self) -> Option<Arc<dyn ChordStore>> {
        Some(Arc::new(self.clone()))
    }

    fn forget<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        let mut state = self.shared.lock();
        for id in ids {
            state.forget(id);
        }
        ready(Ok(()))
    }
}

impl ChordStore for MemoryBroker {
    fn open<'a>(&'a self, group: &'a str, size: u64) -> BoxFuture<'a, Result<(), BrokerError>> {
        let mut state = self.shared.lock();
        state.chords.open(group, size, Timestamp::now());
        ready(Ok(()))
    }

    fn count<'a>(
        &'a self,
        claimant: &'a str,
        parts: Vec<ChordPart>,
    ) -> BoxFuture<'a, Result<Vec<Joined>, BrokerError>> {
        let mut state = self.shared.lock();
        let joined = state.chords.count(claimant, parts, Timestamp::now());
        ready(Ok(joined))
    }

    fn close<'a>(&'a self, group: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.shared.lock().chords.close(group, Timestamp::now());
        ready(Ok(()))
    }
}
