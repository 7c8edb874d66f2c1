//! Who commands the workers is told how many hear it.

use celeriac_core::{Address, Broker, Bus, Notice, Topic};
use celeriac_drivers::redis::open;
use celeriac_testkit::peers::unique;
use redis::Commands as _;
use serde_json::Map;

use super::{broker_url, connect, connect_62};
use crate::conformance::options;

/// How many workers hear what is commanded.
async fn reached(bus: &dyn Bus) -> Option<usize> {
    let command = Notice::json(Map::new(), "{}");
    bus.send(Address::Workers, command).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_hear_a_command_as_there_are_workers() {
    for place in [connect("reach").await, connect_62("reach").await] {
        let bus = place.store().await.bus().unwrap();
        assert_eq!(reached(&*bus).await, Some(0));
        let _first = bus.listen(Topic::Commands(unique("w"))).await.unwrap();
        let _second = bus.listen(Topic::Commands(unique("w"))).await.unwrap();
        assert_eq!(reached(&*bus).await, Some(2));
        // Monitors hear no commands, and who only listens in is no worker.
        let _monitor = bus.listen(Topic::Events).await.unwrap();
        let mut client = place.client();
        let mut ear = client.as_pubsub();
        ear.subscribe(place.key("/0.celery.pidbox")).unwrap();
        assert_eq!(reached(&*bus).await, Some(2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_no_more_answers_leaves_nothing_behind() {
    let place = connect("reach").await;
    let mut client = place.client();
    let table = place.key("_kombu.binding.reply.celery.pidbox");
    let bus = place.store().await.bus().unwrap();
    for _ in 0..20 {
        let asker = unique("a");
        let asking = bus.listen(Topic::Answers(asker)).await.unwrap();
        assert_eq!(client.scard(&table), Ok(1));
        asking.close().await;
        assert_eq!(client.scard(&table), Ok(0));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_ask_how_many_they_are_is_told_too_many_and_never_too_few() {
    let place = connect("reach").await;
    let mut client = place.client();
    let user = unique("u");
    let mut acl = redis::cmd("ACL");
    acl.arg(&["SETUSER", &user, "on", ">secret", "~*", "&*", "+@all"]);
    let _: () = acl.arg("-pubsub").query(&mut client).unwrap();
    let login = format!("redis://{user}:secret@");
    let url = broker_url(&place.url.replacen("redis://", &login, 1));
    let bus = open(&url, &options()).await.unwrap().bus().unwrap();
    let _worker = bus.listen(Topic::Commands(unique("w"))).await.unwrap();
    let mut listener = place.client();
    let mut ear = listener.as_pubsub();
    ear.subscribe(place.key("/0.celery.pidbox")).unwrap();
    assert_eq!(reached(&*bus).await, Some(2));
    let _: () = redis::cmd("ACL")
        .arg(&["DELUSER", &user])
        .query(&mut client)
        .unwrap();
}
