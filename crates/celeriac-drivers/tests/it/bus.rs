//! What is broadcast beside the tasks: on Redis and on RabbitMQ alike.

use std::any::Any;
use std::ops::Index;
use std::sync::Arc;
use std::time::Duration;

use celeriac_core::{Address, Broker, BrokerError, Bus, Listener, Notice, Topic};
use celeriac_testkit::peers::unique;
use serde_json::{Map, json};
use tokio::time::timeout;

/// Only what hangs takes so long.
const HANG: Duration = Duration::from_secs(60);

/// Two programs at one place, which goes when this does.
struct Pair {
    buses: [Arc<dyn Bus>; 2],
    _place: Box<dyn Any + Send>,
}

impl Index<usize> for Pair {
    type Output = Arc<dyn Bus>;

    fn index(&self, place: usize) -> &Self::Output {
        &self.buses[place]
    }
}

async fn redis() -> Pair {
    let place = crate::redis::connect("bus").await;
    Pair {
        buses: [
            place.store().await.bus().unwrap(),
            place.store().await.bus().unwrap(),
        ],
        _place: Box::new(place),
    }
}

#[cfg(feature = "amqp")]
async fn amqp() -> Pair {
    let place = crate::amqp::fixture::Amqp::with("");
    Pair {
        buses: [
            place.handle().await.bus().unwrap(),
            place.handle().await.bus().unwrap(),
        ],
        _place: Box::new(place),
    }
}

async fn pairs() -> Vec<Pair> {
    vec![
        redis().await,
        #[cfg(feature = "amqp")]
        amqp().await,
    ]
}

fn notice(text: &str) -> Notice {
    let headers = Map::from_iter([("clock".to_owned(), json!(7))]);
    Notice::json(headers, json!({"text": text}).to_string())
}

async fn next(listener: &mut dyn Listener) -> Notice {
    timeout(HANG, listener.next())
        .await
        .expect("it is heard")
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_to_workers_is_heard_by_each_of_them() {
    for pair in pairs().await {
        let (here, there) = (&pair[0], &pair[1]);
        let mut first = here.listen(Topic::Commands(unique("w"))).await.unwrap();
        let mut second = there.listen(Topic::Commands(unique("w"))).await.unwrap();
        here.send(Address::Workers, notice("all")).await.unwrap();
        for listener in [&mut first, &mut second] {
            assert_eq!(next(listener.as_mut()).await, notice("all"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_workers_of_one_name_both_hear() {
    for pair in pairs().await {
        let name = unique("w");
        let mut first = pair[0].listen(Topic::Commands(name.clone())).await.unwrap();
        let mut second = pair[1].listen(Topic::Commands(name)).await.unwrap();
        pair[0].send(Address::Workers, notice("all")).await.unwrap();
        for listener in [&mut first, &mut second] {
            assert_eq!(next(listener.as_mut()).await, notice("all"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_reaches_its_asker_and_no_other() {
    for pair in pairs().await {
        let (asker, other) = (unique("a"), unique("a"));
        let mut asking = pair[0].listen(Topic::Answers(asker.clone())).await.unwrap();
        let mut others = pair[0].listen(Topic::Answers(other.clone())).await.unwrap();
        let to = |key: &str| Address::Asker {
            exchange: pair[1].answers(),
            routing_key: key.to_owned(),
        };
        pair[1].send(to(&asker), notice("yours")).await.unwrap();
        pair[1].send(to(&other), notice("other")).await.unwrap();
        assert_eq!(next(asking.as_mut()).await, notice("yours"));
        assert_eq!(next(others.as_mut()).await, notice("other"));
        // Nobody is there: that is no error, and nothing is left behind.
        pair[1].send(to("nobody"), notice("lost")).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_goes_into_a_queue_of_tasks() {
    for pair in pairs().await {
        let to = Address::Asker {
            exchange: "celery".to_owned(),
            routing_key: "celery".to_owned(),
        };
        let refused = pair[0].send(to, notice("x")).await;
        assert!(matches!(refused, Err(BrokerError::Unsupported { .. })));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_are_heard_whatever_their_type() {
    for pair in pairs().await {
        let mut monitor = pair[0].listen(Topic::Events).await.unwrap();
        let mine = unique("e");
        for key in ["worker.heartbeat", "task.multi"] {
            let to = Address::Monitors(key.to_owned());
            pair[1].send(to, notice(&mine)).await.unwrap();
        }
        let mut heard = 0;
        // The exchange is everybody's on this server.
        while heard < 2 {
            heard += usize::from(next(monitor.as_mut()).await == notice(&mine));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_takes_nothing_misses_and_is_told_how_much() {
    for pair in pairs().await {
        let mut slow = pair[0].listen(Topic::Commands(unique("w"))).await.unwrap();
        let mut quick = pair[1].listen(Topic::Commands(unique("w"))).await.unwrap();
        let many = 6000;
        for number in 0..many {
            pair[1]
                .send(Address::Workers, notice(&number.to_string()))
                .await
                .unwrap();
            // It follows, so that whatever is sent has been delivered.
            assert_eq!(next(quick.as_mut()).await, notice(&number.to_string()));
        }
        assert_eq!(quick.missed(), 0);
        assert_eq!(next(slow.as_mut()).await, notice("0"));
        let seen = async {
            while slow.missed() == 0 {
                tokio::task::yield_now().await;
            }
        };
        timeout(HANG, seen)
            .await
            .expect("what is missed is counted");
        // There is room again.
        pair[1]
            .send(Address::Workers, notice("again"))
            .await
            .unwrap();
        while next(slow.as_mut()).await != notice("again") {}
    }
}
