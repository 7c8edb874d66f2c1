//! Connections that end in the middle, and servers that go on differently.

use std::collections::HashSet;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use celeriac_core::broker::Subscription;
use celeriac_core::{Broker, Consumer, Delivery, Settled, Settlement, TaskId, Verdict};
use celeriac_drivers::amqp;
use celeriac_testkit::peers::{Fault, SpareRabbitMq};
use celeriac_testkit::{Fixture as _, block_on, call, queue, within};
use lapin::options::QueueDeleteOptions;

use super::fixture::{Amqp, driver_options, url};
use crate::player::{self, Player};

fn ack(delivery: &Delivery) -> Settlement {
    Settlement {
        tag: delivery.tag,
        verdict: Verdict::Ack,
        result: None,
        follow_ups: Vec::new(),
    }
}

async fn consume(broker: &Arc<impl Broker + ?Sized>, name: &str) -> Arc<dyn Consumer> {
    let subscription = Subscription {
        suspects: NonZeroUsize::MAX,
        ..Subscription::new(name, vec![queue("jobs")])
    };
    broker.consume(subscription).await.unwrap()
}

/// Receives, going on through errors that pass.
async fn receive(consumer: &Arc<dyn Consumer>, credit: usize) -> Vec<Delivery> {
    let credit = NonZeroUsize::new(credit).unwrap();
    loop {
        match within(consumer.receive(credit)).await {
            Ok(got) => return got,
            Err(error) => assert!(error.is_transient(), "{error}"),
        }
    }
}

/// Waits until `how_far` has come to `end`, for as long as it goes on.
async fn until_it_has_come_to(end: usize, how_far: impl Fn() -> usize) {
    let mut at = how_far();
    while at < end {
        let further = async {
            loop {
                let now = how_far();
                if now > at {
                    return now;
                }
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        at = within(further).await;
    }
}

#[test]
fn what_was_confirmed_is_there_however_often_the_connection_is_cut() {
    const TOGETHER: usize = 40;
    block_on(async {
        let amqp = Amqp::with("");
        let client = amqp.handle().await;
        let done = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicUsize::new(0));
        let (publisher, ended, counter) = (client.clone(), done.clone(), count.clone());
        let publishing = tokio::spawn(async move {
            let mut confirmed = HashSet::new();
            while !ended.load(Ordering::Relaxed) {
                let calls: Vec<_> = (0..TOGETHER)
                    .map(|n| (queue("jobs").into(), call("t", n)))
                    .collect();
                let ids = calls.iter().map(|(_, it)| it.headers.id.clone());
                let ids: Vec<_> = ids.collect();
                match within(publisher.publish(calls)).await {
                    Ok(()) => confirmed.extend(ids),
                    Err(error) => assert!(error.is_transient(), "{error}"),
                }
                counter.store(confirmed.len(), Ordering::Relaxed);
            }
            confirmed
        });
        let how_far = || count.load(Ordering::Relaxed);
        for cut in 0..15_u64 {
            // However slowly the machine connects again, each cut finds a connection at work.
            until_it_has_come_to(how_far() + TOGETHER, how_far).await;
            tokio::time::sleep(Duration::from_micros(cut * 700)).await;
            amqp.strike_handle(&client, Fault::Cut);
        }
        done.store(true, Ordering::Relaxed);
        let mut missing: HashSet<TaskId> = publishing.await.unwrap();
        // More may be there: what was sent and not confirmed.
        let broker = amqp.open().await;
        let consumer = consume(&broker, "drain").await;
        while !missing.is_empty() {
            let got = receive(&consumer, 500).await;
            for delivery in &got {
                missing.remove(&delivery.message.headers.id);
            }
            consumer
                .settle(got.iter().map(ack).collect())
                .await
                .unwrap();
        }
    });
}

#[test]
fn every_follow_up_of_an_acknowledged_call_is_there_though_connections_are_cut() {
    const CALLS: usize = 300;
    block_on(async {
        let amqp = Amqp::with("");
        let client = amqp.handle().await;
        let calls: Vec<_> = (0..CALLS)
            .map(|n| (queue("jobs").into(), call("t", n)))
            .collect();
        client.publish(calls).await.unwrap();
        let worker = amqp.handle().await;
        let consumer = consume(&worker, "worker").await;
        let (mut done, mut rounds) = (HashSet::new(), 0);
        while done.len() < CALLS {
            let got = receive(&consumer, 10).await;
            rounds += 1;
            let settlements = got.iter().map(|delivery| {
                let mut next = call("next", 0);
                next.headers.id = format!("after-{}", delivery.message.headers.id).into();
                Settlement {
                    follow_ups: vec![(queue("next").into(), next)],
                    ..ack(delivery)
                }
            });
            let settling = consumer.settle(settlements.collect());
            if rounds % 5 == 0 {
                let (settled, ()) = tokio::join!(settling, async {
                    tokio::time::sleep(Duration::from_micros(rounds * 37 % 2000)).await;
                    amqp.strike_handle(&worker, Fault::Cut);
                });
                // What was not carried out comes again.
                let settled = settled.unwrap_or_else(|error| {
                    assert!(error.is_transient(), "{error}");
                    Vec::new()
                });
                let carried = got
                    .iter()
                    .zip(settled)
                    .filter(|(_, how)| *how == Settled::Done);
                done.extend(carried.map(|(it, _)| it.message.headers.id.clone()));
                continue;
            }
            if let Ok(settled) = settling.await {
                let carried = got
                    .iter()
                    .zip(settled)
                    .filter(|(_, how)| *how == Settled::Done);
                done.extend(carried.map(|(it, _)| it.message.headers.id.clone()));
            }
        }
        consumer.close().await.unwrap();
        let other = amqp.open().await;
        let next = Subscription::new("next", vec![queue("next")]);
        let consumer = other.consume(next).await.unwrap();
        let mut missing: HashSet<TaskId> = done
            .iter()
            .map(|id| TaskId::from(format!("after-{id}")))
            .collect();
        while !missing.is_empty() {
            for delivery in receive(&consumer, 500).await {
                missing.remove(&delivery.message.headers.id);
                consumer.settle(vec![ack(&delivery)]).await.unwrap();
            }
        }
    });
}

/// Plays a consumer that settles nothing.
async fn play_holder(server: &str) {
    let broker = amqp::open(&url(server), &driver_options()).await.unwrap();
    let consumer = consume(&Arc::new(broker), "holder").await;
    loop {
        receive(&consumer, 50).await;
    }
}

#[test]
fn what_a_killed_process_held_comes_back_at_once_and_counted() {
    const CALLS: usize = 40;
    const TEST: &str = "amqp::faults::what_a_killed_process_held_comes_back_at_once_and_counted";
    if let Some(server) = player::part() {
        return block_on(play_holder(&server));
    }
    block_on(async {
        let amqp = Amqp::with("");
        let broker = amqp.handle().await;
        let calls: Vec<_> = (0..CALLS)
            .map(|n| (queue("jobs").into(), call("t", n)))
            .collect();
        broker.publish(calls).await.unwrap();
        let holder = Player::start(TEST, &amqp.url());
        let held = async {
            loop {
                let consumers = broker.consumers().await.unwrap();
                if consumers.iter().any(|it| it.held == CALLS as u64) {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        within(held).await;
        drop(holder);
        let killed = Instant::now();
        let heir = consume(&broker, "heir").await;
        let mut seen = HashSet::new();
        while seen.len() < CALLS {
            for delivery in receive(&heir, 100).await {
                assert_eq!(delivery.deliveries, 2);
                seen.insert(delivery.message.headers.id.clone());
            }
        }
        let after = killed.elapsed();
        assert!(after < Duration::from_secs(5), "it took {after:?}");
    });
}

/// Plays a worker that writes down what it has run, and then settles it.
async fn play_taker(part: &str) {
    let (server, path) = part.split_once(' ').unwrap();
    let broker = amqp::open(&url(server), &driver_options()).await.unwrap();
    let subscription = Subscription {
        delivery_limit: NonZeroU32::new(1000).unwrap(),
        ..Subscription::new("taker", vec![queue("jobs")])
    };
    let consumer = broker.consume(subscription).await.unwrap();
    let mut file = OpenOptions::new().append(true).open(path).unwrap();
    loop {
        let got = receive(&consumer, 10).await;
        for delivery in &got {
            // One write each: what is killed must not leave half a line.
            let line = format!("{}\n", delivery.message.headers.id);
            file.write_all(line.as_bytes()).unwrap();
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        let settling = consumer.settle(got.iter().map(ack).collect());
        settling.await.unwrap();
    }
}

#[test]
fn killing_the_worker_ten_times_loses_no_call() {
    const CALLS: usize = 3000;
    const TEST: &str = "amqp::faults::killing_the_worker_ten_times_loses_no_call";
    if let Some(part) = player::part() {
        return block_on(play_taker(&part));
    }
    block_on(async {
        let amqp = Amqp::with("");
        let broker = amqp.handle().await;
        let calls: Vec<_> = (0..CALLS)
            .map(|n| (queue("jobs").into(), call("t", n)))
            .collect();
        let ids: HashSet<String> = calls
            .iter()
            .map(|(_, it)| it.headers.id.to_string())
            .collect();
        broker.publish(calls).await.unwrap();
        let run = tempfile::NamedTempFile::new().unwrap();
        let part = format!("{} {}", amqp.url(), run.path().display());
        let start = || Player::start(TEST, &part);
        let text = || std::fs::read_to_string(run.path()).unwrap();
        let count = || text().lines().count();
        for kill in 0..10_u64 {
            let (before, taker) = (count(), start());
            until_it_has_come_to(CALLS.min(before + 30), count).await;
            tokio::time::sleep(Duration::from_millis(kill * 3)).await;
            drop(taker);
        }
        let _last = start();
        let ran = || {
            let text = text();
            let seen: HashSet<&str> = text.lines().collect();
            ids.iter().filter(|id| seen.contains(id.as_str())).count()
        };
        until_it_has_come_to(CALLS, ran).await;
    });
}

#[test]
fn a_queue_that_is_deleted_is_made_again_for_both_sides() {
    block_on(async {
        let amqp = Amqp::with("");
        let broker = amqp.handle().await;
        let consumer = consume(&broker, "c").await;
        broker
            .publish(vec![(queue("jobs").into(), call("t", 1))])
            .await
            .unwrap();
        let got = receive(&consumer, 5).await;
        consumer.settle(vec![ack(&got[0])]).await.unwrap();
        let stranger = amqp.stranger().await;
        let name = amqp.full_name(&queue("jobs"));
        let delete = stranger.queue_delete(name.as_str().into(), QueueDeleteOptions::default());
        delete.await.unwrap();
        // A client that does not know of it either.
        broker
            .publish(vec![(queue("jobs").into(), call("t", 2))])
            .await
            .unwrap();
        assert_eq!(receive(&consumer, 5).await.len(), 1);
    });
}

#[test]
fn a_silent_connection_is_found_out_and_work_goes_on_when_it_heals() {
    block_on(async {
        let amqp = Amqp::with("&heartbeat=1");
        let worker = amqp.handle().await;
        let client = amqp.handle().await;
        let consumer = consume(&worker, "c").await;
        let jobs = |n| vec![(queue("jobs").into(), call("t", n))];
        client.publish(jobs(1)).await.unwrap();
        let got = receive(&consumer, 1).await;
        amqp.strike_handle(&worker, Fault::Hold);
        // The server gives up the silent one, and another consumer has the message.
        let heir = consume(&client, "heir").await;
        let again = receive(&heir, 1).await;
        assert_eq!(again[0].message.headers.id, got[0].message.headers.id);
        heir.settle(vec![ack(&again[0])]).await.unwrap();
        heir.close().await.unwrap();
        amqp.heal(&worker);
        client.publish(jobs(2)).await.unwrap();
        let healed = Instant::now();
        let next = receive(&consumer, 1).await;
        assert_ne!(next[0].message.headers.id, got[0].message.headers.id);
        let after = healed.elapsed();
        assert!(after < Duration::from_secs(8), "it took {after:?}");
        let settled = consumer.settle(vec![ack(&got[0]), ack(&next[0])]).await;
        assert_eq!(settled.unwrap(), [Settled::LeaseLost, Settled::Done]);
    });
}

#[test]
fn a_call_that_outlasts_the_servers_patience_is_kept_by_its_consumer() {
    block_on(async {
        let amqp = Amqp::with("");
        // It believes that the server waits for 4 s; so it keeps what it has held for 2 s.
        let worker = amqp.handle_with("&consumer_timeout=4").await;
        let client = amqp.handle().await;
        client
            .publish(vec![(queue("jobs").into(), call("long", 1))])
            .await
            .unwrap();
        let consumer = consume(&worker, "patient").await;
        let got = receive(&consumer, 1).await;
        let other = consume(&client, "other").await;
        let patience = Duration::from_secs(7);
        let stolen = tokio::time::timeout(patience, other.receive(NonZeroUsize::MIN)).await;
        assert!(stolen.is_err(), "it was delivered to another one");
        let held = |infos: Vec<celeriac_core::QueueInfo>| infos[0].held;
        assert_eq!(held(client.queues().await.unwrap()), 1);
        let settled = consumer.settle(vec![ack(&got[0])]).await.unwrap();
        assert_eq!(settled, [Settled::Done]);

        // One that dies meanwhile leaves it to others.
        client
            .publish(vec![(queue("jobs").into(), call("long", 2))])
            .await
            .unwrap();
        other.close().await.unwrap();
        let got = receive(&consumer, 1).await;
        tokio::time::sleep(Duration::from_secs(3)).await;
        drop(consumer);
        let heir = consume(&client, "heir").await;
        let again = receive(&heir, 1).await;
        assert_eq!(again[0].message.headers.id, got[0].message.headers.id);
        assert_eq!(again[0].deliveries, 2);
    });
}

#[test]
fn a_server_without_memory_makes_senders_wait_and_then_tells_them() {
    block_on(async {
        let server = SpareRabbitMq::take();
        let amqp = Amqp::spare(&server, "");
        let impatient = amqp.handle_with("&publish_timeout=1").await;
        let patient = amqp.handle().await;
        let one = |n| vec![(queue("jobs").into(), call("t", n))];
        for broker in [&impatient, &patient] {
            broker.publish(one(0)).await.unwrap();
        }
        let consumer = consume(&patient, "c").await;
        server.control(&["set_vm_memory_high_watermark", "0.0001"]);
        // The first one tells the server that we send; from then on it tells us that it takes none.
        let refused = async {
            loop {
                if let Err(error) = impatient.publish(one(1)).await {
                    return error;
                }
            }
        };
        let error = within(refused).await;
        assert!(error.is_transient(), "{error:?}");
        // Consumers have connections of their own, and go on.
        let got = receive(&consumer, 10).await;
        let settled = consumer.settle(got.iter().map(ack).collect()).await;
        assert!(settled.unwrap().iter().all(|it| *it == Settled::Done));
        let waiting = tokio::spawn(async move { patient.publish(one(2)).await });
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!waiting.is_finished());
        server.control(&["set_vm_memory_high_watermark", "0.4"]);
        within(waiting).await.unwrap().unwrap();
    });
}
