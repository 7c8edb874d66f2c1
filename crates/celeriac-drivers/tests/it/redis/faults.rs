//! What becomes of messages when connections, workers and servers fail.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::{Duration, Instant};

use celeriac_core::broker::Subscription;
use celeriac_core::{Broker, BrokerError, ResultState, Settled, TaskId};
use celeriac_drivers::redis::open;
use celeriac_testkit::peers::{Fault, TcpProxy, Way};
use celeriac_testkit::{call, message, queue, result, within};
use redis::Commands;
use tokio::io::AsyncWriteExt;

use super::keys::{ack, consume, receive};
use super::{Store, broker_url};
use crate::conformance::options;

/// A store that is reached through a network with faults.
async fn behind(place: &Store) -> (TcpProxy, Arc<celeriac_drivers::redis::RedisStore>) {
    let (proxy, url) = TcpProxy::before_url(&place.url).await.unwrap();
    let store = open(&broker_url(&url), &options()).await.unwrap();
    (proxy, store)
}

/// Connections are cut while messages are sent, claimed and settled; whoever gets an error tries
/// again, as a worker does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_are_cut_at_any_time_lose_nothing() {
    const MESSAGES: usize = 2000;
    let place = Store::new("faults", "");
    let store = place.store().await;
    for part in (0..MESSAGES).step_by(500) {
        let batch = (part..part + 500).map(|n| {
            (
                queue("jobs").into(),
                message(format!("{n}").into(), "t", n, 0),
            )
        });
        store.publish(batch.collect()).await.unwrap();
    }
    let (proxy, faulty) = behind(&place).await;
    let subscription = Subscription {
        suspects: NonZeroUsize::MAX,
        ..Subscription::new("c", vec![queue("jobs")])
    };
    let consumer = faulty.consume(subscription).await.unwrap();
    let cutting = tokio::spawn(async move {
        let mut cuts = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(3 + cuts % 17)).await;
            proxy.strike(Fault::Cut);
            cuts += 1;
        }
    });
    let mut seen: HashMap<TaskId, usize> = HashMap::new();
    let (mut errors, mut lost) = (0, 0);
    let credit = NonZeroUsize::new(20).unwrap();
    let started = Instant::now();
    while seen.len() < MESSAGES {
        assert!(
            started.elapsed() < Duration::from_secs(90),
            "{} of {MESSAGES} came",
            seen.len()
        );
        let Ok(got) = consumer.receive(credit).await else {
            errors += 1;
            continue;
        };
        let settlements: Vec<_> = got.iter().map(ack).collect();
        for delivery in &got {
            *seen.entry(delivery.message.headers.id.clone()).or_default() += 1;
        }
        loop {
            match consumer.settle(settlements.clone()).await {
                Ok(settled) => {
                    lost += settled
                        .iter()
                        .filter(|how| **how == Settled::LeaseLost)
                        .count();
                    break;
                }
                Err(_) => errors += 1,
            }
        }
    }
    cutting.abort();
    assert!(errors > 0, "the cuts were felt");
    // A settlement whose answer was lost is told apart from one that failed only by its lease.
    assert!(
        lost < MESSAGES / 2,
        "{lost} settlements found their lease lost"
    );
    assert!(
        seen.values().all(|times| *times == 1),
        "nothing was delivered twice"
    );
    let queues = store.queues().await.unwrap();
    assert_eq!((queues[0].ready, queues[0].held), (0, 0));
}

/// The answer to a claim never comes: what was booked for us is found when we are back.
#[tokio::test]
async fn a_claim_that_was_not_heard_of_is_found() {
    let place = Store::new("faults", "&socket_timeout=1");
    let (proxy, faulty) = behind(&place).await;
    let consumer = consume(&faulty, "c").await;
    let store = place.store().await;
    let receiving = consumer.receive(NonZeroUsize::MIN);
    proxy.strike(Fault::Hold);
    store
        .publish(vec![(queue("jobs").into(), call("marked", 1))])
        .await
        .unwrap();
    let error = within(receiving).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
    book_for(&place, "c");
    proxy.heal();
    let delivery = within(async {
        loop {
            match consumer.receive(NonZeroUsize::MIN).await {
                Ok(mut got) => return got.remove(0),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    })
    .await;
    assert_eq!(delivery.message.headers.task, "marked");
    assert_eq!(delivery.deliveries, 1);
    let settled = within(consumer.settle(vec![ack(&delivery)])).await;
    assert_eq!(settled.unwrap(), [Settled::Done]);
}

/// Does what a claim does for the consumer of this name, which hears nothing of it.
fn book_for(place: &Store, consumer: &str) {
    let mut client = place.client();
    let owners: Vec<(String, String)> = client.hgetall(place.key("_celeriac.consumer")).unwrap();
    let named = |(_, particulars): &&(String, String)| particulars.contains(consumer);
    let (owner, _) = owners.iter().find(named).unwrap();
    let text: String = client.rpop(place.key("jobs"), None).unwrap();
    let envelope: serde_json::Value = serde_json::from_str(&text).unwrap();
    let tag = envelope["properties"]["delivery_tag"].as_str().unwrap();
    let now = jiff::Timestamp::now().as_duration().as_secs_f64();
    let record = format!("{owner} 1 {} 1 {}", text.len(), place.key("jobs"));
    let mut book = redis::pipe();
    book.atomic();
    book.hset(
        place.key("unacked"),
        tag,
        format!("[{text}, \"\", \"jobs\"]"),
    )
    .ignore();
    book.zadd(place.key("unacked_index"), tag, now).ignore();
    book.hset(place.key("_celeriac.held"), tag, record).ignore();
    let _: () = book.query(&mut client).unwrap();
}

/// Messages, results and revocations come by themselves once the server can be reached again.
#[tokio::test]
async fn whoever_waits_is_served_after_the_server_was_away() {
    let place = Store::new("faults", "");
    let (proxy, faulty) = behind(&place).await;
    let store = place.store().await;
    let consumer = consume(&faulty, "c").await;
    let mut watch = faulty.results().unwrap().watch().await.unwrap();
    let id: TaskId = "watched".into();
    watch.add(std::slice::from_ref(&id));
    proxy.strike(Fault::Refuse);
    let stored = vec![result(&id, ResultState::Success, 1)];
    store.results().unwrap().store(stored).await.unwrap();
    store.revoke(&["unwanted".into()]).await.unwrap();
    store
        .publish(vec![(queue("jobs").into(), call("t", 1))])
        .await
        .unwrap();
    let refused = faulty
        .publish(vec![(queue("jobs").into(), call("t", 2))])
        .await;
    assert!(refused.unwrap_err().is_transient());
    proxy.heal();
    let healed = Instant::now();
    let again = |error: BrokerError| assert!(error.is_transient(), "{error}");
    within(async {
        while let Err(error) = consumer.receive(NonZeroUsize::MIN).await {
            again(error);
        }
        while let Err(error) = consumer.revoked().await {
            again(error);
        }
        loop {
            match watch.next().await {
                Ok(news) => break assert_eq!(news[0].id, id),
                Err(error) => again(error),
            }
        }
    })
    .await;
    assert!(
        healed.elapsed() < Duration::from_secs(8),
        "{:?}",
        healed.elapsed()
    );
}

/// A connection may end within any answer, the first ones too: that passes.
#[tokio::test]
async fn a_connection_that_ends_within_an_answer_is_made_anew() {
    let place = Store::new("faults", "");
    let (proxy, faulty) = behind(&place).await;
    let mut torn = 0;
    for bytes in 1..=1000 {
        proxy.tear_after(Way::Replies, bytes);
        // What was carried by the last connection counts, too.
        while let Err(error) = faulty.queues().await {
            assert!(error.is_transient(), "after {bytes} bytes: {error:?}");
            torn += 1;
            proxy.heal();
        }
        proxy.strike(Fault::Cut);
    }
    assert!(torn > 200, "{torn} connections were torn");
}

/// More calls than are looked for at a time, and the connection is lost with the first of them.
#[tokio::test]
async fn results_are_heard_of_all_calls_though_the_first_look_is_cut() {
    let place = Store::new("faults", "");
    let (proxy, faulty) = behind(&place).await;
    let store = place.store().await.results().unwrap();
    let mut watch = faulty.results().unwrap().watch().await.unwrap();
    let ids: Vec<TaskId> = (0..2500).map(|n| format!("{n}").into()).collect();
    proxy.strike_after_reply(b"subscribe\r\n", Fault::Cut);
    watch.add(&ids);
    within(proxy.struck()).await;
    let stored = ids.iter().map(|id| result(id, ResultState::Success, 1));
    store.store(stored.collect()).await.unwrap();
    let mut told = HashSet::new();
    within(async {
        while told.len() < ids.len() {
            match watch.next().await {
                Ok(news) => told.extend(news.into_iter().map(|it| it.id)),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    })
    .await;
    assert_eq!(told, ids.into_iter().collect());
}

/// A connection that carries nothing more, without a word, is given up.
#[tokio::test]
async fn a_silent_connection_is_given_up() {
    let place = Store::new("faults", "&socket_timeout=1");
    let (proxy, faulty) = behind(&place).await;
    let consumer = consume(&faulty, "c").await;
    proxy.strike(Fault::Hold);
    let started = Instant::now();
    let error = faulty
        .publish(vec![(queue("jobs").into(), call("t", 1))])
        .await
        .unwrap_err();
    assert!(error.is_transient(), "{error}");
    assert!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    proxy.heal();
    let store = place.store().await;
    store.purge(&queue("jobs")).await.unwrap();
    store
        .publish(vec![(queue("jobs").into(), call("after", 1))])
        .await
        .unwrap();
    let delivery = within(async {
        loop {
            match consumer.receive(NonZeroUsize::MIN).await {
                Ok(mut got) => break got.remove(0),
                Err(error) => assert!(error.is_transient(), "{error}"),
            }
        }
    })
    .await;
    // What was given up may have arrived after all.
    assert!(["t", "after"].contains(&delivery.message.headers.task.as_str()));
}

/// A consumer whose beats stopped loses what it holds, and hears of it.
#[tokio::test]
async fn a_lease_that_was_not_renewed_ends_within_seconds() {
    let place = Store::new("faults", "");
    let (proxy, faulty) = behind(&place).await;
    let lease = Duration::from_secs(2);
    let subscribe = |name: &str| Subscription {
        lease,
        ..Subscription::new(name, vec![queue("jobs")])
    };
    let frozen = faulty.consume(subscribe("frozen")).await.unwrap();
    let store = place.store().await;
    store
        .publish(vec![(queue("jobs").into(), call("t", 1))])
        .await
        .unwrap();
    let first = receive(&frozen).await;
    assert_eq!(frozen.holds(&[first.tag]).await.unwrap(), [true]);
    let heir = store.consume(subscribe("heir")).await.unwrap();
    proxy.strike(Fault::Hold);
    let started = Instant::now();
    let second = receive(&heir).await;
    assert!(
        started.elapsed() > Duration::from_millis(500),
        "not before its time"
    );
    assert!(
        started.elapsed() < Duration::from_secs(8),
        "{:?}",
        started.elapsed()
    );
    assert_eq!(second.deliveries, 2);
    assert_eq!(second.message, first.message);
    proxy.heal();
    let holds = within(async {
        loop {
            if let Ok(holds) = frozen.holds(&[first.tag]).await {
                return holds;
            }
        }
    });
    assert_eq!(holds.await, [false], "it may store nothing elsewhere");
    assert_eq!(heir.holds(&[second.tag]).await.unwrap(), [true]);
    let settled = within(async {
        loop {
            if let Ok(settled) = frozen.settle(vec![ack(&first)]).await {
                return settled;
            }
        }
    });
    assert_eq!(settled.await, [Settled::LeaseLost]);
    let settled = within(heir.settle(vec![ack(&second)])).await.unwrap();
    assert_eq!(settled, [Settled::Done]);
}

/// What a worker of another kind held too long goes back as kombu gives it back.
#[tokio::test]
async fn what_another_worker_left_behind_is_restored() {
    let place = Store::new("faults", "&visibility_timeout=30");
    let store = place.store().await;
    store
        .publish(vec![(queue("jobs").into(), call("t", 1))])
        .await
        .unwrap();
    let mut client = place.client();
    let text: String = client.rpop(place.key("jobs"), None).unwrap();
    let now = jiff::Timestamp::now().as_duration().as_secs_f64();
    for (tag, age) in [("stale", 60.0), ("fresh", 5.0)] {
        let entry = format!("[{text}, \"\", \"jobs\"]");
        let _: () = client.hset(place.key("unacked"), tag, entry).unwrap();
        let _: () = client
            .zadd(place.key("unacked_index"), tag, now - age)
            .unwrap();
    }
    let consumer = consume(&store, "c").await;
    let delivery = receive(&consumer).await;
    assert_eq!(delivery.message.headers.task, "t");
    let left: Vec<String> = client.zrange(place.key("unacked_index"), 0, -1).unwrap();
    assert!(
        left.contains(&"fresh".to_owned()) && !left.contains(&"stale".to_owned()),
        "{left:?}"
    );
    let entries: Vec<String> = client.hvals(place.key("unacked")).unwrap();
    let flagged = entries
        .iter()
        .filter(|it| it.matches("\"redelivered\": true").count() == 2);
    assert_eq!(flagged.count(), 1);
    // The lock is given up once all is restored, which may be after the first of it was delivered.
    within(async {
        while client.exists(place.key("unacked_mutex")).unwrap() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_wrong_password_is_told_at_once_and_never_shown() {
    let place = Store::new("faults", "");
    let user = format!("u{}", uuid::Uuid::new_v4().simple());
    let mut client = place.client();
    let mut acl = redis::cmd("ACL");
    acl.arg(&["SETUSER", &user, "on", ">right", "~*", "&*", "+@all"]);
    let _: () = acl.query(&mut client).unwrap();
    let with = |password: &str| {
        let login = format!("redis://{user}:{password}@");
        broker_url(&place.url.replacen("redis://", &login, 1))
    };
    let refused = open(&with("s3cret-wrong"), &options()).await.unwrap_err();
    let good = open(&with("right"), &options()).await;
    let _: () = redis::cmd("ACL")
        .arg(&["DELUSER", &user])
        .query(&mut client)
        .unwrap();
    assert!(
        matches!(refused, BrokerError::Unusable { .. }),
        "{refused:?}"
    );
    assert!(refused.help().unwrap().contains("password"));
    assert!(!format!("{refused} {refused:?}").contains("s3cret"));
    good.unwrap();
}

#[tokio::test]
async fn a_server_of_another_kind_is_named_as_such() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answering = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let refused = open(&broker_url(&format!("redis://{address}")), &options()).await;
    let error = refused.unwrap_err();
    assert!(matches!(error, BrokerError::Unusable { .. }), "{error:?}");
    assert!(error.help().unwrap().contains("host and port"), "{error:?}");
    answering.abort();

    let nobody = open(&broker_url("redis://127.0.0.1:1"), &options()).await;
    assert!(nobody.unwrap_err().is_transient());
    let unknown = open(&broker_url("redis://no-such-host.invalid"), &options()).await;
    assert!(unknown.unwrap_err().is_transient());
}
