//! A broker whose results are kept in another store.
//!
//! # Invariants
//!
//! - A result is stored before the delivery it ends is settled, so a crash in between repeats the
//!   call and loses nothing.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{
    BoxFuture, Broker, BrokerError, Bus, Consumer, ConsumerInfo, Coroutine, DeadMessage, Delivery,
    Destination, Message, Queue, QueueInfo, QueueName, ResultBackend, Settled, Settlement, TaskId,
};

/// Pairs `broker` with the results of another store.
///
/// Two stores have no transaction in common: where the broker alone would store nothing for a lease
/// that was lost, here the result is stored all the same. A final state still gives way to no other
/// that is not.
pub fn pair(broker: Arc<dyn Broker>, results: Arc<dyn ResultBackend>) -> Arc<dyn Broker> {
    Arc::new(Paired { broker, results })
}

#[derive(Debug)]
struct Paired {
    broker: Arc<dyn Broker>,
    results: Arc<dyn ResultBackend>,
}

#[derive(Debug)]
struct PairedConsumer {
    consumer: Arc<dyn Consumer>,
    results: Arc<dyn ResultBackend>,
}

impl Broker for Paired {
    fn publish(
        &self,
        messages: Vec<(Destination, Message)>,
    ) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.broker.publish(messages)
    }

    fn consume(
        &self,
        subscription: Subscription,
    ) -> BoxFuture<'_, Result<Arc<dyn Consumer>, BrokerError>> {
        Box::pin(async move {
            let consumer = self.broker.consume(subscription).await?;
            let results = self.results.clone();
            Ok(Arc::new(PairedConsumer { consumer, results }) as Arc<dyn Consumer>)
        })
    }

    fn revoke<'a>(&'a self, ids: &'a [TaskId]) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.broker.revoke(ids)
    }

    fn results(&self) -> Option<Arc<dyn ResultBackend>> {
        Some(self.results.clone())
    }

    fn bus(&self) -> Option<Arc<dyn Bus>> {
        self.broker.bus()
    }

    fn host(&self, coroutine: Coroutine) -> Result<(), Coroutine> {
        self.broker.host(coroutine)
    }

    fn queues(&self) -> BoxFuture<'_, Result<Vec<QueueInfo>, BrokerError>> {
        self.broker.queues()
    }

    fn consumers(&self) -> BoxFuture<'_, Result<Vec<ConsumerInfo>, BrokerError>> {
        self.broker.consumers()
    }

    fn purge<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<u64, BrokerError>> {
        self.broker.purge(queue)
    }

    fn dead(&self, limit: usize) -> BoxFuture<'_, Result<Vec<DeadMessage>, BrokerError>> {
        self.broker.dead(limit)
    }

    fn retry_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        self.broker.retry_dead(numbers)
    }

    fn drop_dead<'a>(&'a self, numbers: &'a [i64]) -> BoxFuture<'a, Result<u64, BrokerError>> {
        self.broker.drop_dead(numbers)
    }
}

impl Consumer for PairedConsumer {
    fn receive(
        &self,
        credit: std::num::NonZeroUsize,
    ) -> BoxFuture<'_, Result<Vec<Delivery>, BrokerError>> {
        self.consumer.receive(credit)
    }

    fn settle(
        &self,
        mut settlements: Vec<Settlement>,
    ) -> BoxFuture<'_, Result<Vec<Settled>, BrokerError>> {
        Box::pin(async move {
            // What another worker has by now is its to end.
            let tags: Vec<_> = settlements.iter().map(|it| it.tag).collect();
            let ours = self.consumer.holds(&tags).await?;
            for (settlement, _) in settlements.iter_mut().zip(ours).filter(|(_, ours)| !ours) {
                settlement.result = None;
            }
            let results = settlements
                .iter_mut()
                .filter_map(|settlement| settlement.result.take())
                .collect::<Vec<_>>();
            if !results.is_empty() {
                self.results.store(results).await?;
            }
            self.consumer.settle(settlements).await
        })
    }

    fn turn(&self) -> Duration {
        self.consumer.turn()
    }

    fn revoked(&self) -> BoxFuture<'_, Result<Vec<TaskId>, BrokerError>> {
        self.consumer.revoked()
    }

    fn add_queue(&self, queue: Queue) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.consumer.add_queue(queue)
    }

    fn cancel_queue<'a>(&'a self, queue: &'a QueueName) -> BoxFuture<'a, Result<(), BrokerError>> {
        self.consumer.cancel_queue(queue)
    }

    fn holds<'a>(&'a self, tags: &'a [i64]) -> BoxFuture<'a, Result<Vec<bool>, BrokerError>> {
        self.consumer.holds(tags)
    }

    fn is_connected(&self) -> bool {
        self.consumer.is_connected()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        self.consumer.close()
    }
}
