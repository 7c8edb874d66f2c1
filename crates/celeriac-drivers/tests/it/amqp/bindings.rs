//! Bindings that somebody deletes: whoever meets that, or might, binds again.

use std::sync::Arc;

use celeriac_core::broker::Subscription;
use celeriac_core::{Broker, BrokerError, Destination, Exchange, Queue, QueueName, Topology};
use celeriac_testkit::{Fixture as _, block_on, call, queue, within};
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions};

use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation};

use super::fixture::Amqp;

/// Two queues of one topic.
fn topology() -> Topology {
    let world = Exchange::topic("world");
    let queues = [
        Queue::new("news").bind(world.clone(), "news.#"),
        Queue::new("tennis").bind(world, "#.tennis"),
    ];
    Topology::new(queues).unwrap()
}

fn to(routing_key: &str) -> Destination {
    Destination::exchange("world", routing_key).unwrap()
}

async fn send(broker: &Arc<dyn Broker>, routing_key: &str) -> Result<(), BrokerError> {
    within(broker.publish(vec![(to(routing_key), call("t", 1))])).await
}

async fn unbind(stranger: &Channel, amqp: &Amqp, queue: &QueueName, exchange: &str, key: &str) {
    let name = amqp.full_name(queue);
    let exchange = format!("{}{exchange}", amqp.prefix());
    let unbinding = stranger.queue_unbind(
        name.as_str().into(),
        exchange.as_str().into(),
        key.into(),
        FieldTable::default(),
    );
    unbinding.await.unwrap();
}

/// Takes one message from a queue, if there is one.
async fn get(stranger: &Channel, amqp: &Amqp, queue: &QueueName) -> bool {
    let name = amqp.full_name(queue);
    let options = BasicGetOptions { no_ack: true };
    let got = stranger.basic_get(name.as_str().into(), options).await;
    got.unwrap().is_some()
}

#[test]
fn a_sender_whose_message_finds_no_queue_binds_what_it_defines() {
    block_on(async {
        // Nobody binds anything by the way.
        let amqp = Amqp::with("&declare_interval=3600");
        let broker = amqp.open_with(topology()).await;
        let stranger = amqp.stranger().await;
        let news = queue("news");
        send(&broker, "news.x").await.unwrap();
        assert!(get(&stranger, &amqp, &news).await);
        unbind(&stranger, &amqp, &news, "world", "news.#").await;
        send(&broker, "news.x").await.unwrap();
        assert!(get(&stranger, &amqp, &news).await);
    });
}

#[test]
fn a_sender_that_defines_nothing_is_told_what_to_do() {
    block_on(async {
        let amqp = Amqp::with("");
        let broker = amqp.open_with(topology()).await;
        send(&broker, "news.x").await.unwrap();
        let other = amqp.open().await;
        send(&other, "news.x").await.unwrap();
        let stranger = amqp.stranger().await;
        unbind(&stranger, &amqp, &queue("news"), "world", "news.#").await;
        let error = send(&other, "news.x").await.unwrap_err();
        assert!(matches!(error, BrokerError::Unroutable { .. }), "{error:?}");
        let help = error.help().unwrap();
        assert!(help.contains("define the queue here too"), "{help}");
    });
}

/// The server says nothing of it, as the other queue takes the message.
#[test]
fn a_sender_binds_one_of_several_queues_again_after_a_while() {
    block_on(async {
        let amqp = Amqp::with("&declare_interval=0.2");
        let broker = amqp.open_with(topology()).await;
        let stranger = amqp.stranger().await;
        let (news, tennis) = (queue("news"), queue("tennis"));
        send(&broker, "news.tennis").await.unwrap();
        assert!(get(&stranger, &amqp, &tennis).await);
        unbind(&stranger, &amqp, &tennis, "world", "#.tennis").await;
        let bound = async {
            while !get(&stranger, &amqp, &tennis).await {
                send(&broker, "news.tennis").await.unwrap();
            }
        };
        within(bound).await;
        assert!(get(&stranger, &amqp, &news).await);
    });
}

/// Whether a message that Celery's clients would publish finds the queue.
async fn is_routed(stranger: &Channel, name: &str) -> bool {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    let sent = stranger.basic_publish(
        name.into(),
        name.into(),
        options,
        b"[]",
        BasicProperties::default(),
    );
    match sent.await.unwrap().await.unwrap() {
        Confirmation::Ack(returned) => returned.is_none(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_consumer_binds_its_queue_again_for_clients_that_are_not_told() {
    block_on(async {
        let amqp = Amqp::with("&declare_interval=2");
        let broker = amqp.open().await;
        let jobs = queue("jobs");
        let subscription = Subscription::new("c", vec![jobs.clone()]);
        let _consumer = broker.consume(subscription).await.unwrap();
        let stranger = amqp.stranger().await;
        let confirm = stranger.confirm_select(ConfirmSelectOptions::default());
        confirm.await.unwrap();
        let name = amqp.full_name(&jobs);
        let deleted = async {
            // It may be there again before one looks, once or twice.
            while is_routed(&stranger, &name).await {
                unbind(&stranger, &amqp, &jobs, "jobs", &name).await;
            }
        };
        within(deleted).await;
        let bound = async { while !is_routed(&stranger, &name).await {} };
        within(bound).await;
    });
}
