//! The suite for brokers that are result backends too. Each function is one test.

pub mod chords;
pub mod consuming;
pub mod publishing;
pub mod replies;
pub mod results;
pub mod routing;
pub mod settling;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_core::broker::Subscription;
use celeriac_core::{
    Broker, Consumer, Delivery, Message, QueueInfo, QueueName, ResultBackend, Settled, Settlement,
    Verdict,
};

use crate::within;

/// After which a queue will not become what it should.
const LONG: Duration = Duration::from_secs(20);

/// A consumer of one queue.
async fn consume(broker: &Arc<dyn Broker>, name: &str, queues: &[&QueueName]) -> Arc<dyn Consumer> {
    let queues = queues.iter().map(|queue| (*queue).clone()).collect();
    broker
        .consume(Subscription {
            suspects: NonZeroUsize::MAX,
            ..Subscription::new(name, queues)
        })
        .await
        .expect("a consumer can be registered")
}

async fn receive(consumer: &Arc<dyn Consumer>, credit: usize) -> Vec<Delivery> {
    let credit = NonZeroUsize::new(credit).expect("tests ask for something");
    within(consumer.receive(credit))
        .await
        .expect("receiving works")
}

/// Receives until there are `count` deliveries.
async fn receive_all(consumer: &Arc<dyn Consumer>, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    while deliveries.len() < count {
        deliveries.extend(receive(consumer, count - deliveries.len()).await);
    }
    deliveries
}

/// Whether the consumer has nothing to receive: a message published after all others comes next.
async fn nothing_but(consumer: &Arc<dyn Consumer>, broker: &Arc<dyn Broker>, queue: &QueueName) {
    let last = crate::message(celeriac_core::TaskId::new(), "last", 0, 0);
    let id = last.headers.id.clone();
    publish(broker, queue, vec![last]).await;
    let next = receive(consumer, 1).await;
    assert_eq!(next[0].message.headers.id, id, "nothing else was ready");
    assert_eq!(settle(consumer, ack(&next[0])).await, Settled::Done);
}

async fn publish(broker: &Arc<dyn Broker>, queue: &QueueName, messages: Vec<Message>) {
    let messages = messages
        .into_iter()
        .map(|it| (queue.clone().into(), it))
        .collect();
    within(broker.publish(messages))
        .await
        .expect("publishing works");
}

fn ack(delivery: &Delivery) -> Settlement {
    verdict(delivery, Verdict::Ack)
}

fn verdict(delivery: &Delivery, verdict: Verdict) -> Settlement {
    Settlement {
        tag: delivery.tag,
        verdict,
        result: None,
        follow_ups: Vec::new(),
    }
}

async fn settle(consumer: &Arc<dyn Consumer>, settlement: Settlement) -> Settled {
    let settled = within(consumer.settle(vec![settlement])).await;
    settled.expect("settling works")[0]
}

async fn depth(broker: &Arc<dyn Broker>, queue: &QueueName) -> QueueInfo {
    let queues = broker.queues().await.expect("queues can be listed");
    let found = queues.into_iter().find(|info| info.name == *queue);
    found.expect("the queue is listed")
}

/// Waits until a queue has so many messages ready, delayed, held and dead: those that a server has sent
/// ahead are counted nowhere while they are on their way.
async fn depth_becomes(broker: &Arc<dyn Broker>, queue: &QueueName, expected: [u64; 4]) {
    let start = Instant::now();
    loop {
        let info = depth(broker, queue).await;
        let found = [info.ready, info.delayed, info.held, info.dead];
        if found == expected {
            return;
        }
        let waited = start.elapsed();
        assert!(waited < LONG, "{found:?} does not become {expected:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn backend(broker: &Arc<dyn Broker>) -> Arc<dyn ResultBackend> {
    broker.results().expect("this store keeps results too")
}

/// The number a test's message carries.
fn number(delivery: &Delivery) -> usize {
    let ((number,), _, _): ((usize,), serde_json::Value, serde_json::Value) =
        delivery.message.body.decode().expect("it is our own");
    number
}

fn numbers(deliveries: &[Delivery]) -> Vec<usize> {
    deliveries.iter().map(number).collect()
}
