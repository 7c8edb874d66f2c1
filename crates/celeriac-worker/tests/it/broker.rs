//! A broker that shows the test everything, and fails when told to.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::results::ResultWatch;
use celeriac_core::{
    BoxFuture, Broker, BrokerError, Consumer, ConsumerInfo, Coroutine, DeadMessage, Delivery,
    Destination, EncodedResult, Message, Queue, QueueInfo, QueueName, ResultBackend, Settled,
    Settlement, StoredResult, TaskId, Verdict,
};
use tokio::sync::watch;
use tokio::time::timeout;

/// One store and, by its number, one of its consumers. Time may be paused: a wait that never ends fails
/// the test.
#[derive(Debug, Clone)]
pub(crate) struct FakeBroker(Arc<Shared>, usize);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
}

/// What the broker knows and did.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) ready: VecDeque<Delivery>,
    pub(crate) held: BTreeMap<i64, Delivery>,
    /// Given back, to come later.
    pub(crate) delayed: Vec<Delivery>,
    /// What was carried out, in order.
    pub(crate) settled: Vec<Settlement>,
    /// How many settlements each call brought.
    pub(crate) batches: Vec<usize>,
    pub(crate) results: Vec<StoredResult>,
    /// Results of a runtime, and how many settlements had been carried out before each.
    pub(crate) encoded: Vec<(EncodedResult, usize)>,
    pub(crate) published: Vec<Message>,
    /// The credit of each fetch.
    pub(crate) credits: Vec<usize>,
    pub(crate) revoked: Vec<TaskId>,
    /// Tags that belong to somebody else by now.
    pub(crate) lost: HashSet<i64>,
    pub(crate) failure: Option<Failure>,
    /// How often it was asked in vain.
    pub(crate) failed: usize,
    pub(crate) closed: bool,
    /// How many consumers there were, and the last to which nothing is delivered.
    pub(crate) consumers: usize,
    pub(crate) stuck: Option<usize>,
    /// Whether it takes coroutines in, and how many it took.
    pub(crate) hosts: bool,
    pub(crate) hosted: usize,
    last_tag: i64,
}

/// How the broker fails at whatever it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    Away,
    /// It does not answer at all.
    Silent,
    Corrupt,
    /// It refuses any result of this task, and nothing else.
    Refuses(&'static str),
    /// It refuses any value, and nothing else.
    RefusesValues,
    /// Of what is published it stores every second message, and the connection is lost.
    Halves,
}

impl FakeBroker {
    pub(crate) fn new() -> Self {
        let shared = Shared {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
        };
        Self(Arc::new(shared), 0)
    }

    /// Looks at the state, or changes it, and wakes whoever waits for it.
    pub(crate) fn with<R>(&self, change: impl FnOnce(&mut State) -> R) -> R {
        let result = change(&mut self.0.state.lock().unwrap());
        self.0.changed.send_replace(());
        result
    }

    /// Waits until `ready` gives something.
    pub(crate) async fn until<R>(&self, mut ready: impl FnMut(&mut State) -> Option<R>) -> R {
        let mut changed = self.0.changed.subscribe();
        let waited = timeout(Duration::from_secs(600), async {
            loop {
                if let Some(result) = ready(&mut self.0.state.lock().unwrap()) {
                    return result;
                }
                changed.changed().await.unwrap();
            }
        });
        waited.await.unwrap_or_else(|_| {
            panic!("waited in vain: {:#?}", self.0.state.lock().unwrap());
        })
    }

    /// Puts a delivery in the queue and returns its tag.
    pub(crate) fn push(&self, message: Message) -> i64 {
        self.with(|state| {
            state.last_tag += 1;
            let tag = state.last_tag;
            state.ready.push_back(Delivery {
                tag,
                queue: QueueName::default(),
                deliveries: 1,
                revoked: false,
                message,
            });
            tag
        })
    }

    /// Waits until the delivery `tag` is settled.
    pub(crate) async fn settled(&self, tag: i64) -> Settlement {
        self.until(|state| state.settled.iter().find(|s| s.tag == tag).cloned())
            .await
    }

    async fn check(&self) -> Result<(), BrokerError> {
        let failure = self.with(|state| {
            let failure = state.failure;
            state.failed += usize::from(failure.is_some());
            failure
        });
        let address = "fake".to_owned();
        match failure {
            None | Some(Failure::Refuses(_) | Failure::RefusesValues | Failure::Halves) => Ok(()),
            Some(Failure::Silent) => std::future::pending().await,
            Some(Failure::Away) => Err(BrokerError::Unavailable {
                address,
                source: "unplugged".into(),
            }),
            Some(Failure::Corrupt) => Err(BrokerError::Unusable {
                address,
                reason: "a page is torn".to_owned(),
                help: "restore it".to_owned(),
            }),
        }
    }
}

impl State {
    fn publish(&mut self, messages: impl Iterator<Item = Message>) -> Result<(), BrokerError> {
        let halves = self.failure == Some(Failure::Halves);
        let mut unconfirmed = Vec::new();
        for (place, message) in messages.enumerate() {
            if halves && place % 2 == 0 {
                unconfirmed.push(place);
            } else {
                self.published.push(message);
            }
        }
        if !halves {
            return Ok(());
        }
        let address = || "fake".to_owned();
        Err(BrokerError::Partly {
            address: address(),
            unconfirmed,
            source: Box::new(BrokerError::Unavailable {
                address: address(),
                source: "unplugged".into(),
            }),
        })
    }

    fn carry_out(&mut self, settlement: Settlement) -> Settled {
        let owned = !self.lost.contains(&settlement.tag);
        let Some(delivery) = self.held.remove(&settlement.tag).filter(|_| owned) else {
            return Settled::LeaseLost;
        };
        self.results.extend(settlement.result.clone());
        for (_, message) in &settlement.follow_ups {
            self.published.push(message.clone());
        }
        match settlement.verdict {
            Verdict::Requeue { eta: None, .. } => self.ready.push_back(delivery),
            Verdict::Requeue { eta: Some(_), .. } => self.delayed.push(delivery),
            _ => {}
        }
        self.settled.push(settlement);
        Settled::Done
    }
}

impl Broker for FakeBroker {
    fn host(&self, coroutine: Coroutine) -> Result<(), Coroutine> {
        self.with(|state| {
            if !state.hosts {
                return Err(coroutine);
            }
            state.hosted += 1;
            tokio::spawn(coroutine);
            Ok(())
        })
    }

    fn publish(
        &self,
        messages: Vec<(Destination, Message)>,
    ) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check().await?;
            self.with(|state| state.publish(messages.into_iter().map(|(_, message)| message)))
        })
    }

    fn consume(&self, _: Subscription) -> BoxFuture<'_, Result<Arc<dyn Consumer>, BrokerError>> {
        Box::pin(async move {
            self.check().await?;
            let number = self.with(|state| {
                state.consumers += 1;
                state.consumers
            });
            Ok(Arc::new(Self(self.0.clone(), number)) as Arc<dyn Consumer>)
        })
    }

    fn revoke<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.with(|state| state.revoked.extend_from_slice(ids));
        Box::pin(async { Ok(()) })
    }

    fn results(&self) -> Option<Arc<dyn ResultBackend>> {
        Some(Arc::new(self.clone()))
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, BrokerError>> {
        Box::pin(async move {
            self.check().await?;
            let info = self.with(|state| QueueInfo {
                name: QueueName::default(),
                ready: state.ready.len() as u64,
                delayed: state.delayed.len() as u64,
                held: state.held.len() as u64,
                dead: 0,
            });
            Ok(vec![info])
        })
    }

    fn consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerInfo>, BrokerError>> {
        unimplemented!("a worker does not ask")
    }

    fn purge<'a>(&'a self, _: &'a QueueName) -> BoxFuture<'a, Result<u64, BrokerError>> {
        unimplemented!("a worker does not ask")
    }

    fn dead(&self, _: usize) -> BoxFuture<'_, Result<Vec<DeadMessage>, BrokerError>> {
        unimplemented!("a worker does not ask")
    }

    fn retry_dead<'a>(&'a self, _: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        unimplemented!("a worker does not ask")
    }

    fn drop_dead<'a>(&'a self, _: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        unimplemented!("a worker does not ask")
    }
}

impl Consumer for FakeBroker {
    fn receive(&self, credit: NonZeroUsize) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        Box::pin(async move {
            self.check().await?;
            self.with(|state| state.credits.push(credit.get()));
            let mut changed = self.0.changed.subscribe();
            loop {
                let taken = {
                    let mut state = self.0.state.lock().unwrap();
                    let stuck = state.stuck >= Some(self.1);
                    let credit = if stuck { 0 } else { credit.get() };
                    let count = state.ready.len().min(credit);
                    let taken: Vec<_> = state.ready.drain(..count).collect();
                    state.held.extend(taken.iter().map(|d| (d.tag, d.clone())));
                    taken
                };
                if !taken.is_empty() {
                    self.0.changed.send_replace(());
                    return Ok(taken);
                }
                changed.changed().await.unwrap();
            }
        })
    }

    fn settle(
        &self,
        settlements: Vec<Settlement>,
    ) -> BoxFuture<'_, Result<Vec<Settled>, BrokerError>> {
        Box::pin(async move {
            self.check().await?;
            self.with(|state| {
                let refused = |settlement: &Settlement| {
                    let Some(result) = &settlement.result else {
                        return false;
                    };
                    match state.failure {
                        Some(Failure::Refuses(name)) => result.task == name,
                        Some(Failure::RefusesValues) => result.value.is_some(),
                        _ => false,
                    }
                };
                if settlements.iter().any(refused) {
                    return Err(BrokerError::TooLarge {
                        task: "it".to_owned(),
                        size_bytes: 2,
                        limit_bytes: 1,
                    });
                }
                state.batches.push(settlements.len());
                Ok(settlements
                    .into_iter()
                    .map(|s| state.carry_out(s))
                    .collect())
            })
        })
    }

    fn revoked(&self) -> BoxFuture<'_, Result<Vec<TaskId>, BrokerError>> {
        Box::pin(async move {
            Ok(self
                .until_forever(|state| {
                    Some(std::mem::take(&mut state.revoked)).filter(|ids| !ids.is_empty())
                })
                .await)
        })
    }

    fn add_queue(&self, queue: Queue) -> BoxFuture<'_, Result<(), BrokerError>> {
        panic!("nobody adds {queue:?} here")
    }

    fn cancel_queue<'a>(&'a self, _: &'a QueueName) -> BoxFuture<'a, Result<(), BrokerError>> {
        // Nothing is claimed ahead here.
        Box::pin(std::future::ready(Ok(())))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check().await?;
            self.with(|state| {
                let held = std::mem::take(&mut state.held);
                state.ready.extend(held.into_values());
                state.closed = true;
            });
            Ok(())
        })
    }
}

impl FakeBroker {
    async fn until_forever<R>(&self, mut ready: impl FnMut(&mut State) -> Option<R>) -> R {
        let mut changed = self.0.changed.subscribe();
        loop {
            if let Some(result) = ready(&mut self.0.state.lock().unwrap()) {
                return result;
            }
            changed.changed().await.unwrap();
        }
    }
}

impl ResultBackend for FakeBroker {
    fn store(&self, results: Vec<StoredResult>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check().await?;
            self.with(|state| state.results.extend(results));
            Ok(())
        })
    }

    fn store_encoded(&self, results: Vec<EncodedResult>) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check().await?;
            self.with(|state| {
                let settled = state.settled.len();
                let results = results.into_iter().map(|result| (result, settled));
                state.encoded.extend(results);
            });
            Ok(())
        })
    }

    fn fetch<'a>(
        &'a self,
        _: &'a [TaskId],
    ) -> BoxFuture<'a, Result<Vec<Option<StoredResult>>, BrokerError>> {
        unimplemented!("a worker does not ask")
    }

    fn watch(&self) -> BoxFuture<'_, Result<Box<dyn ResultWatch>, BrokerError>> {
        unimplemented!("a worker does not ask")
    }

    fn forget<'a>(&'a self, _: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        unimplemented!("a worker does not ask")
    }
}
