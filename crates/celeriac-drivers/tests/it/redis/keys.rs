//! Keys and values are those that kombu and Celery read and write.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{
    Broker, Consumer, Delivery, Destination, Exchange, Queue, ResultState, Settled, Settlement,
    TaskId, Topology, Verdict,
};
use celeriac_drivers::redis::RedisStore;
use celeriac_testkit::{Fixture as _, call, message, queue, result, within};
use redis::Commands;
use serde_json::Value;

use super::Store;

pub(super) async fn consume(store: &Arc<RedisStore>, name: &str) -> Arc<dyn Consumer> {
    let subscription = Subscription::new(name, vec![queue("jobs")]);
    within(store.consume(subscription)).await.unwrap()
}

pub(super) async fn receive(consumer: &Arc<dyn Consumer>) -> Delivery {
    let mut got = within(consumer.receive(NonZeroUsize::MIN)).await.unwrap();
    got.remove(0)
}

pub(super) fn ack(delivery: &Delivery) -> Settlement {
    Settlement {
        tag: delivery.tag,
        verdict: Verdict::Ack,
        result: None,
        follow_ups: Vec::new(),
    }
}

#[tokio::test]
async fn a_message_lies_in_the_list_of_its_priority_as_kombu_would_push_it() {
    let place = Store::new("keys", "");
    let store = place.store().await;
    let (urgent, other) = (
        message("u".into(), "t", 1, 2),
        message("o".into(), "t", 2, 7),
    );
    let both = [urgent, other].map(|message| (queue("jobs").into(), message));
    store.publish(both.into()).await.unwrap();
    let mut client = place.client();
    for (list, id, priority) in [("jobs", "u", 2), ("jobs\u{6}\u{16}6", "o", 7)] {
        let texts: Vec<String> = client.lrange(place.key(list), 0, -1).unwrap();
        assert_eq!(texts.len(), 1, "{list:?}");
        let envelope: Value = serde_json::from_str(&texts[0]).unwrap();
        assert_eq!(envelope["headers"]["id"], id);
        let properties = &envelope["properties"];
        assert_eq!(properties["priority"], priority);
        assert_eq!(properties["body_encoding"], "base64");
        assert_eq!(properties["delivery_info"]["exchange"], "");
        assert_eq!(properties["delivery_info"]["routing_key"], "jobs");
        assert!(properties["delivery_tag"].is_string());
    }
}

#[tokio::test]
async fn a_held_message_stands_where_kombu_would_put_it_and_is_gone_when_settled() {
    let place = Store::new("keys", "");
    let store = place.store().await;
    store
        .publish(vec![(queue("jobs").into(), call("t", 1))])
        .await
        .unwrap();
    let mut client = place.client();
    let text: String = client.lindex(place.key("jobs"), 0).unwrap();
    let envelope: Value = serde_json::from_str(&text).unwrap();
    let tag = envelope["properties"]["delivery_tag"]
        .as_str()
        .unwrap()
        .to_owned();

    let consumer = consume(&store, "c").await;
    let delivery = receive(&consumer).await;
    let entry: String = client.hget(place.key("unacked"), &tag).unwrap();
    assert_eq!(
        entry,
        format!("[{text}, \"\", \"jobs\"]"),
        "its text is unchanged"
    );
    let at: f64 = client.zscore(place.key("unacked_index"), &tag).unwrap();
    let now = jiff::Timestamp::now().as_duration().as_secs_f64();
    assert!((now - at).abs() < 60.0, "{at} is the time of the delivery");

    let id = delivery.message.headers.id.clone();
    let settlement = Settlement {
        result: Some(result(&id, ResultState::Success, 1)),
        ..ack(&delivery)
    };
    let settled = within(consumer.settle(vec![settlement])).await.unwrap();
    assert_eq!(settled, [Settled::Done]);
    let key = place.key(&format!("celery-task-meta-{id}"));
    let stored: String = client.get(&key).unwrap();
    let stored: Value = serde_json::from_str(&stored).unwrap();
    assert_eq!(
        (&stored["status"], &stored["task_id"]),
        (&"SUCCESS".into(), &id.to_string().into())
    );
    let left_s: i64 = client.ttl(&key).unwrap();
    assert!((3500..=3600).contains(&left_s), "{left_s}");
    for gone in ["jobs", "unacked", "unacked_index", "_celeriac.held"] {
        let there: bool = client.exists(place.key(gone)).unwrap();
        assert!(!there, "{gone}");
    }
}

#[tokio::test]
async fn a_consumers_queues_are_bound_as_python_binds_them() {
    let place = Store::new("keys", "");
    let store = place.store().await;
    let _consumer = consume(&store, "c").await;
    let mut client = place.client();
    for table in ["_kombu.binding.jobs", "_kombu.binding_permanent.jobs"] {
        let bound: Vec<String> = client.smembers(place.key(table)).unwrap();
        assert_eq!(bound, ["jobs\u{6}\u{16}\u{6}\u{16}jobs"]);
    }
}

/// kombu routes by the table, and drops what it finds no queue for.
#[tokio::test]
async fn a_binding_that_somebody_deletes_is_made_again() {
    let place = Store::new("keys", "");
    let store = place.store().await;
    let _consumer = consume(&store, "c").await;
    let mut client = place.client();
    let table = place.key("_kombu.binding.jobs");
    let bound: Vec<String> = client.smembers(&table).unwrap();
    let deleted: usize = client.srem(&table, &bound).unwrap();
    assert_eq!(deleted, 1);
    let again = async {
        while client.smembers::<_, Vec<String>>(&table).unwrap() != bound {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    within(again).await;
}

/// A sender looks at the table before it publishes.
#[tokio::test]
async fn a_sender_binds_what_it_defines_again() {
    let place = Store::new("keys", "");
    let paid = Queue::new("paid").bind(Exchange::direct("shop"), "money");
    let store = place.open_with(Topology::new([paid]).unwrap()).await;
    let mut client = place.client();
    for number in 1..=2 {
        let to = Destination::exchange("shop", "money").unwrap();
        store.publish(vec![(to, call("t", 1))]).await.unwrap();
        let waiting: usize = client.llen(place.key("paid")).unwrap();
        assert_eq!(waiting, number);
        let deleted: usize = client.del(place.key("_kombu.binding.shop")).unwrap();
        assert_eq!(deleted, 1);
    }
}

/// The tables are those that Celery's own worker made for these queues.
#[tokio::test]
async fn defined_queues_are_bound_as_python_binds_them() {
    let place = Store::new("keys", "");
    let world = Exchange::topic("world");
    let topology = Topology::new([
        Queue::new("news").bind(world, "news.#"),
        Queue::new("dir").bind(Exchange::direct("dex"), "dkey"),
        Queue::broadcast("bc"),
    ]);
    let store = place.open_with(topology.unwrap()).await;
    let queues = ["news", "dir", "bc"].map(queue).to_vec();
    let consumer = store.consume(Subscription::new("c", queues)).await.unwrap();
    let mut client = place.client();
    let mut members = |table: &str| -> Vec<String> { client.smembers(place.key(table)).unwrap() };
    for table in ["_kombu.binding", "_kombu.binding_permanent"] {
        let bound = members(&format!("{table}.world"));
        assert_eq!(bound, ["news.#\u{6}\u{16}^news\\..*?$\u{6}\u{16}news"]);
        let bound = members(&format!("{table}.dex"));
        assert_eq!(bound, ["dkey\u{6}\u{16}\u{6}\u{16}dir"]);
    }
    let [own] = &members("_kombu.binding.bc")[..] else {
        panic!("one consumer has one queue");
    };
    assert!(
        own.starts_with("celery\u{6}\u{16}\u{6}\u{16}bcast."),
        "{own}"
    );
    assert!(members("_kombu.binding_permanent.bc").is_empty());
    consumer.close().await.unwrap();
    assert!(members("_kombu.binding.bc").is_empty());
}

/// Its queue would fill for ever: Celery's clients push into it as long as it is bound.
#[tokio::test]
async fn the_broadcasts_of_a_dead_consumer_are_forgotten_by_the_next() {
    let place = Store::new("keys", "");
    let mut client = place.client();
    let (table, dead) = (
        place.key("_kombu.binding.bc"),
        "bcast.0123456789abcdef0123456789abcdef.0",
    );
    let pythons = "celery\u{6}\u{16}\u{6}\u{16}bcast.5c3c1a0e-95d9-4f8e-9d41-06cf5e13ff9c";
    for member in [&format!("celery\u{6}\u{16}\u{6}\u{16}{dead}"), pythons] {
        let _: () = client.sadd(&table, member).unwrap();
    }
    let _: () = client.lpush(place.key(dead), "never run").unwrap();
    let topology = Topology::new([Queue::broadcast("bc")]).unwrap();
    let store = place.open_with(topology).await;
    let subscription = || Subscription::new("c", vec![queue("bc")]);
    let _one = store.consume(subscription()).await.unwrap();
    let _two = store.consume(subscription()).await.unwrap();
    let mut bound: Vec<String> = client.smembers(&table).unwrap();
    bound.retain(|member| !member.ends_with(dead));
    assert_eq!(
        bound.len(),
        3,
        "Python's queue and those of the living: {bound:?}"
    );
    let left: bool = client.exists(place.key(dead)).unwrap();
    assert!(!left);
}

#[tokio::test]
async fn two_messages_with_one_delivery_tag_are_both_kept() {
    let place = Store::new("keys", "");
    let store = place.store().await;
    let both = ["a", "b"].map(|id| (queue("jobs").into(), message(id.into(), "t", 1, 0)));
    store.publish(both.into()).await.unwrap();
    let mut client = place.client();
    let texts: Vec<String> = client.lrange(place.key("jobs"), 0, -1).unwrap();
    let tag = |text: &str| {
        let envelope: Value = serde_json::from_str(text).unwrap();
        envelope["properties"]["delivery_tag"]
            .as_str()
            .unwrap()
            .to_owned()
    };
    let same: Vec<String> = texts
        .iter()
        .map(|text| text.replace(&tag(text), "always"))
        .collect();
    let _: () = client.del(place.key("jobs")).unwrap();
    let _: () = client.rpush(place.key("jobs"), same).unwrap();

    let consumer = consume(&store, "c").await;
    let (first, second) = (receive(&consumer).await, receive(&consumer).await);
    let ids: Vec<TaskId> = [&first, &second]
        .map(|it| it.message.headers.id.clone())
        .into();
    assert_eq!(ids, ["a".into(), "b".into()]);
    assert_eq!((first.deliveries, second.deliveries), (1, 1));
    let held: usize = client.hlen(place.key("unacked")).unwrap();
    assert_eq!(held, 2);
    let settled = within(consumer.settle(vec![ack(&first), ack(&second)]))
        .await
        .unwrap();
    assert_eq!(settled, [Settled::Done, Settled::Done]);
}

#[tokio::test]
async fn an_element_without_a_delivery_tag_is_quarantined_and_the_next_runs() {
    let place = Store::new("keys", "");
    let store = place.store().await;
    let mut client = place.client();
    let junk: [&[u8]; 4] = [
        b"junk",
        b"",
        b"\xff\xfe",
        br#"{"headers": {"task": "t", "id": "x"}}"#,
    ];
    for element in junk {
        let _: () = client.lpush(place.key("jobs"), element).unwrap();
    }
    store
        .publish(vec![(queue("jobs").into(), call("good", 1))])
        .await
        .unwrap();
    let consumer = consume(&store, "c").await;
    assert_eq!(receive(&consumer).await.message.headers.task, "good");
    let dead = store.dead(10).await.unwrap();
    let mut kept: Vec<&[u8]> = dead.iter().map(|it| &it.headers[..]).collect();
    kept.sort_unstable();
    let mut pushed = junk.to_vec();
    pushed.sort_unstable();
    assert_eq!(kept, pushed);
}

/// Nobody pushes it to a list when it is due, so whoever waits has to know of it beforehand.
#[tokio::test]
async fn what_is_given_back_for_later_comes_in_time_to_one_who_waits_already() {
    let place = Store::new("keys", "");
    let store = place.store().await;
    let message = vec![(queue("jobs").into(), call("t", 1))];
    store.publish(message).await.unwrap();
    let consumer = consume(&store, "c").await;
    let delivery = receive(&consumer).await;
    let given_back = jiff::Timestamp::now();
    let later = Settlement {
        verdict: Verdict::Requeue {
            eta: Some(given_back + Duration::from_millis(300)),
            counted: false,
        },
        ..ack(&delivery)
    };
    // The first of both is polled first, so it asks before the settlement is carried out.
    let (again, settled) = tokio::join!(biased; receive(&consumer), consumer.settle(vec![later]));
    assert_eq!(settled.unwrap(), [Settled::Done]);
    assert_eq!(again.message.headers.id, delivery.message.headers.id);
    let took = jiff::Timestamp::now().duration_since(given_back);
    let took = Duration::try_from(took).unwrap();
    let in_time = Duration::from_millis(300)..Duration::from_secs(3);
    assert!(in_time.contains(&took), "it came after {took:?}");
}

/// Of messages that are acknowledged together, each is told apart that is not ours any more.
#[tokio::test]
async fn what_another_worker_took_back_is_told_among_others_that_are_acknowledged() {
    let place = Store::new("keys", "");
    let store = place.store().await;
    let consumer = consume(&store, "c").await;
    let mut held = Vec::new();
    for number in 0..3 {
        let message = vec![(queue("jobs").into(), call("t", number))];
        store.publish(message).await.unwrap();
        held.push(receive(&consumer).await);
    }
    // As kombu does it when its visibility timeout has passed: out of index and hash in one step.
    let mut client = place.client();
    let entries: Vec<(String, String)> = client.hgetall(place.key("unacked")).unwrap();
    let id = held[1].message.headers.id.to_string();
    let (tag, _) = entries.iter().find(|(_, it)| it.contains(&id)).unwrap();
    let _: () = client.zrem(place.key("unacked_index"), tag).unwrap();
    let _: () = client.hdel(place.key("unacked"), tag).unwrap();

    let acks = held.iter().map(ack).collect();
    let settled = within(consumer.settle(acks)).await.unwrap();
    let (done, lost) = (Settled::Done, Settled::LeaseLost);
    assert_eq!(settled, [done, lost, done]);
    for gone in ["unacked", "unacked_index", "_celeriac.held"] {
        let there: bool = client.exists(place.key(gone)).unwrap();
        assert!(!there, "{gone}");
    }
    let count: String = client.hget(place.key("_celeriac.deliveries"), tag).unwrap();
    assert!(
        count.starts_with("1 "),
        "how often it was delivered is kept: {count}"
    );
}
