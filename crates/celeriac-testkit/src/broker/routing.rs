//! Exchanges: what goes to which queue.

use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Broker, BrokerError, Consumer, Destination, Exchange, Queue, Topology};
use jiff::Timestamp;

use super::{ack, consume, nothing_but, receive, receive_all, settle};
use crate::fixture::{Fixture, call, queue, within};

/// Two queues of one topic, one of a direct exchange, and a broadcast.
fn topology() -> Topology {
    let world = Exchange::topic("world");
    Topology::new([
        Queue::new("news")
            .bind(world.clone(), "news.#")
            .bind(world.clone(), "*.sport"),
        Queue::new("tennis").bind(world, "news.*.tennis"),
        Queue::new("paid").bind(Exchange::direct("shop"), "money"),
        Queue::broadcast("all"),
    ])
    .expect("the definitions agree")
}

fn to(exchange: &str, routing_key: &str) -> Destination {
    Destination::exchange(exchange, routing_key).expect("tests use good names")
}

async fn send(broker: &Arc<dyn Broker>, to: Destination, number: usize) {
    let message = call(&format!("t{number}"), number);
    within(broker.publish(vec![(to, message)]))
        .await
        .expect("it is published");
}

/// The tasks of the next `count` deliveries, sorted; acknowledged.
async fn tasks(consumer: &Arc<dyn Consumer>, count: usize) -> Vec<String> {
    let mut tasks = Vec::new();
    for delivery in receive_all(consumer, count).await {
        settle(consumer, ack(&delivery)).await;
        tasks.push(delivery.message.headers.task);
    }
    tasks.sort_unstable();
    tasks
}

/// One message may go to several queues, once to each, and one that fits none is refused. Queues get
/// what was published before anybody consumed them.
pub async fn a_topic_leads_to_the_queues_whose_patterns_fit(fixture: &dyn Fixture) {
    let broker = fixture.open_with(topology()).await;
    send(&broker, to("world", "news.sport.tennis"), 1).await;
    send(&broker, to("world", "news.sport"), 2).await;
    send(&broker, to("world", "news.a.b.c"), 3).await;
    send(&broker, to("world", "tv.sport"), 4).await;
    let nowhere = vec![(to("world", "tv.sport.tennis"), call("lost", 5))];
    let refused = within(broker.publish(nowhere)).await;
    assert!(
        matches!(refused, Err(BrokerError::Unroutable { .. })),
        "{refused:?}"
    );
    let (news, tennis) = (queue("news"), queue("tennis"));
    let consumer = consume(&broker, "news", &[&news]).await;
    assert_eq!(tasks(&consumer, 4).await, ["t1", "t2", "t3", "t4"]);
    let other = consume(&broker, "tennis", &[&tennis]).await;
    assert_eq!(tasks(&other, 1).await, ["t1"]);
    nothing_but(&consumer, &broker, &news).await;
    nothing_but(&other, &broker, &tennis).await;
}

/// One worker that takes from two queues gets two copies, and settles each by itself.
pub async fn copies_of_one_message_are_settled_one_by_one(fixture: &dyn Fixture) {
    let broker = fixture.open_with(topology()).await;
    let (news, tennis) = (queue("news"), queue("tennis"));
    let consumer = consume(&broker, "both", &[&news, &tennis]).await;
    send(&broker, to("world", "news.sport.tennis"), 1).await;
    let copies = receive_all(&consumer, 2).await;
    let mut queues: Vec<_> = copies.iter().map(|copy| copy.queue.clone()).collect();
    queues.sort_unstable();
    assert_eq!(queues, [news.clone(), tennis.clone()]);
    let one = |broker: Arc<dyn Broker>| async move {
        let queues = broker.queues().await.expect("they can be listed");
        let held = queues.iter().map(|queue| queue.held);
        held.sum::<u64>()
    };
    settle(&consumer, ack(&copies[0])).await;
    assert_eq!(one(broker.clone()).await, 1);
    settle(&consumer, ack(&copies[1])).await;
    assert_eq!(one(broker.clone()).await, 0);
}

/// A key leads to the queue that is bound with it; a handle that knows no definition finds it too.
pub async fn a_direct_exchange_compares_keys(fixture: &dyn Fixture) {
    let broker = fixture.open_with(topology()).await;
    let paid = queue("paid");
    let consumer = consume(&broker, "c", &[&paid]).await;
    let stranger = fixture.open().await;
    send(&stranger, to("shop", "money"), 1).await;
    // By its name it is reached without an exchange.
    send(&stranger, paid.clone().into(), 2).await;
    assert_eq!(tasks(&consumer, 2).await, ["t1", "t2"]);
    for destination in [to("shop", "credit"), to("nobodys", "money")] {
        let refused = within(stranger.publish(vec![(destination, call("lost", 3))])).await;
        assert!(
            matches!(refused, Err(BrokerError::Unroutable { .. })),
            "{refused:?}"
        );
    }
    send(&stranger, to("shop", "money"), 4).await;
    assert_eq!(tasks(&consumer, 1).await, ["t4"]);
}

/// Each consumer has a queue of its own, that goes with it; nobody who listens is no error.
pub async fn a_broadcast_reaches_every_consumer(fixture: &dyn Fixture) {
    let broker = fixture.open_with(topology()).await;
    let all = queue("all");
    send(&broker, to("all", "celery"), 0).await;
    let one = consume(&broker, "one", &[&all]).await;
    let two = consume(&broker, "two", &[&all, &queue("jobs")]).await;
    // Subscribed from here on.
    send(&broker, to("all", "celery"), 1).await;
    assert_eq!(tasks(&one, 1).await, ["t1"]);
    assert_eq!(tasks(&two, 1).await, ["t1"]);
    within(one.close()).await.expect("it is closed");
    send(&broker, to("all", ""), 2).await;
    send(&broker, queue("jobs").into(), 3).await;
    assert_eq!(tasks(&two, 2).await, ["t2", "t3"]);
    let mut own = within(broker.queues()).await.expect("they can be listed");
    own.retain(|queue| queue.name.as_str().contains("bcast"));
    assert!(own.len() <= 1, "only one consumer is left: {own:?}");
}

/// What follows a delivery goes to exchanges too, in the step that settles it; one that has its time
/// to come waits behind the exchange.
pub async fn follow_ups_go_to_exchanges(fixture: &dyn Fixture) {
    let broker = fixture.open_with(topology()).await;
    let (news, all, jobs) = (queue("news"), queue("all"), queue("jobs"));
    let listener = consume(&broker, "listener", &[&all]).await;
    let consumer = consume(&broker, "c", &[&news, &jobs]).await;
    send(&broker, jobs.clone().into(), 1).await;
    let first = receive(&consumer, 1).await.remove(0);
    let mut late = call("late", 3);
    late.headers.eta = Some(Timestamp::now() + Duration::from_millis(1500));
    let due = late.headers.eta;
    let mut settlement = ack(&first);
    settlement.follow_ups = vec![
        (to("world", "news.now"), call("now", 2)),
        (to("world", "news.later"), late),
        (to("all", "celery"), call("heard", 4)),
    ];
    settle(&consumer, settlement).await;
    assert_eq!(tasks(&listener, 1).await, ["heard"]);
    assert_eq!(tasks(&consumer, 1).await, ["now"]);
    assert_eq!(tasks(&consumer, 1).await, ["late"]);
    assert!(due <= Some(Timestamp::now()));
}

/// A broadcast that is given back for later comes back to the consumer that had it, to no other.
pub async fn a_broadcast_is_given_back_to_one(fixture: &dyn Fixture) {
    let broker = fixture.open_with(topology()).await;
    let all = queue("all");
    let one = consume(&broker, "one", &[&all]).await;
    let two = consume(&broker, "two", &[&all]).await;
    send(&broker, to("all", "celery"), 1).await;
    let mine = receive(&one, 1).await.remove(0);
    let due = Timestamp::now() + Duration::from_millis(1500);
    settle(
        &one,
        celeriac_core::Settlement {
            verdict: celeriac_core::Verdict::Requeue {
                eta: Some(due),
                counted: true,
            },
            ..ack(&mine)
        },
    )
    .await;
    assert_eq!(tasks(&two, 1).await, ["t1"]);
    let again = receive(&one, 1).await.remove(0);
    assert!(Timestamp::now() >= due);
    assert_eq!(again.deliveries, 2);
    settle(&one, ack(&again)).await;
    send(&broker, to("all", "celery"), 2).await;
    assert_eq!(tasks(&two, 1).await, ["t2"]);
    assert_eq!(tasks(&one, 1).await, ["t2"]);
}

/// A queue that is added to a running consumer is bound as it is defined then.
pub async fn an_added_queue_is_bound(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let sender = fixture.open_with(topology()).await;
    let consumer = consume(&broker, "c", &[]).await;
    let added = Queue::new("added").bind(Exchange::topic("world"), "added.*");
    within(consumer.add_queue(added))
        .await
        .expect("a queue can be added");
    send(&sender, to("world", "added.now"), 1).await;
    assert_eq!(tasks(&consumer, 1).await, ["t1"]);
    let other_kind = Queue::new("other").bind(Exchange::direct("world"), "key");
    let refused = within(consumer.add_queue(other_kind)).await;
    let error = refused.expect_err("the exchange is of another kind");
    assert!(error.is_refusal(), "{error}");
}
