//! Consuming: credit, leases, giving back, revocation.

use std::collections::HashSet;
use std::num::NonZeroUsize;
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{BrokerError, Queue, Settled, TaskId};
use jiff::Timestamp;

use super::{ack, consume, depth, nothing_but, numbers, publish, receive, receive_all, settle};
use crate::{Fixture, call, message, queue, within};

/// No call returns more than it asked for.
pub async fn credit_is_never_exceeded(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    publish(&broker, &jobs, (0..100).map(|n| call("t", n)).collect()).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let mut held = 0;
    for credit in [1, 7, 30] {
        let got = receive(&consumer, credit).await;
        assert!((1..=credit).contains(&got.len()));
        held += got.len() as u64;
        assert_eq!(depth(&broker, &jobs).await.held, held);
    }
}

/// However many messages wait before them, no more are held of those that are ready.
pub async fn what_waits_for_its_time_takes_no_room(fixture: &dyn Fixture) {
    const WAITING: usize = 300;
    const READY: usize = 50;
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let far = Some(Timestamp::now() + Duration::from_secs(3600));
    let mut batch: Vec<_> = (0..WAITING + READY).map(|n| call("t", n)).collect();
    for delayed in &mut batch[..WAITING] {
        delayed.headers.eta = far;
    }
    publish(&broker, &jobs, batch).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive(&consumer, 2).await;
    assert_eq!(numbers(&got), [WAITING, WAITING + 1]);
    let depth = depth(&broker, &jobs).await;
    let counts = (depth.delayed, depth.held, depth.ready);
    assert_eq!(counts, (WAITING as u64, 2, READY as u64 - 2));
    let other = fixture.open().await;
    let heir = consume(&other, "heir", &[&jobs]).await;
    let rest = receive_all(&heir, READY - 2).await;
    assert_eq!(
        numbers(&rest),
        (WAITING + 2..WAITING + READY).collect::<Vec<_>>()
    );
}

/// Whatever the interleaving, each message goes to one of them.
pub async fn two_consumers_never_share_a_message(fixture: &dyn Fixture) {
    const MESSAGES: usize = 2000;
    let jobs = queue("jobs");
    let (done, finished) = tokio::sync::watch::channel(0);
    let mut tasks = Vec::new();
    for name in ["left", "right"] {
        let broker = fixture.open().await;
        let (jobs, done, mut finished) = (jobs.clone(), done.clone(), finished.clone());
        tasks.push(tokio::spawn(async move {
            let consumer = consume(&broker, name, &[&jobs]).await;
            let mut seen = Vec::new();
            loop {
                let got = tokio::select! {
                    got = receive(&consumer, 17) => got,
                    _ = finished.wait_for(|count| *count == MESSAGES) => return seen,
                };
                let settled = consumer.settle(got.iter().map(ack).collect()).await;
                assert!(
                    settled
                        .expect("it settles")
                        .iter()
                        .all(|it| *it == Settled::Done)
                );
                seen.extend(numbers(&got));
                done.send_modify(|count| *count += got.len());
            }
        }));
    }
    let broker = fixture.open().await;
    for start in (0..MESSAGES).step_by(100) {
        publish(
            &broker,
            &jobs,
            (start..start + 100).map(|n| call("t", n)).collect(),
        )
        .await;
    }
    let mut seen = Vec::new();
    for task in tasks {
        seen.extend(within(task).await.expect("it did not panic"));
    }
    assert_eq!(seen.len(), MESSAGES);
    assert_eq!(seen.into_iter().collect::<HashSet<_>>().len(), MESSAGES);
}

/// A call that is dropped at any time hands what it claimed to the next.
pub async fn a_dropped_receive_loses_nothing(fixture: &dyn Fixture) {
    const MESSAGES: usize = 200;
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let credit = NonZeroUsize::new(3).expect("it is not zero");
    // Dropped while it waits for nothing.
    for micros in [0, 10, 1000] {
        let wait = Duration::from_micros(micros);
        let _ = tokio::time::timeout(wait, consumer.receive(credit)).await;
    }
    publish(
        &broker,
        &jobs,
        (0..MESSAGES).map(|n| call("t", n)).collect(),
    )
    .await;
    let mut seen = Vec::new();
    let mut micros = 0;
    let all = async {
        while seen.len() < MESSAGES {
            micros = (micros + 37) % 1500;
            let wait = Duration::from_micros(micros);
            if let Ok(got) = tokio::time::timeout(wait, consumer.receive(credit)).await {
                let got = got.expect("receiving works");
                assert!(got.len() <= 3);
                seen.extend(numbers(&got));
            }
        }
    };
    within(all).await;
    assert_eq!(seen, (0..MESSAGES).collect::<Vec<_>>());
}

/// What was not settled goes back at once, as if it had never been delivered.
pub async fn a_closed_consumer_gives_back_uncounted(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    publish(&broker, &jobs, (0..4).map(|n| call("t", n)).collect()).await;
    let first = consume(&broker, "first", &[&jobs]).await;
    let got = receive_all(&first, 3).await;
    settle(&first, ack(&got[0])).await;
    first.close().await.expect("it closes");
    first.close().await.expect("closing twice is closing once");
    assert!(
        broker
            .consumers()
            .await
            .expect("they are listed")
            .is_empty()
    );
    let one = NonZeroUsize::MIN;
    for refused in [
        within(first.receive(one)).await.err(),
        within(first.settle(vec![ack(&got[1])])).await.err(),
    ] {
        assert!(
            matches!(refused, Some(BrokerError::Closed { .. })),
            "{refused:?}"
        );
    }
    let second = consume(&broker, "second", &[&jobs]).await;
    let again = receive_all(&second, 3).await;
    let mut came = numbers(&again);
    let mut most = 1;
    if !fixture.gives_back_exactly() {
        came.sort_unstable();
        most = 2;
    }
    assert_eq!(came, [1, 2, 3]);
    assert!(again.iter().all(|it| it.deliveries <= most));
}

/// Dropping a consumer without closing it gives back too.
pub async fn a_dropped_consumer_gives_back(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    publish(&broker, &jobs, vec![call("t", 1)]).await;
    let first = consume(&broker, "first", &[&jobs]).await;
    receive(&first, 1).await;
    let second = consume(&broker, "second", &[&jobs]).await;
    drop(first);
    assert_eq!(numbers(&receive(&second, 1).await), [1]);
}

/// Another consumer gets them, one more delivery on their count.
pub async fn a_dead_consumers_messages_come_back_counted(fixture: &dyn Fixture) {
    let (broker, other) = (fixture.open().await, fixture.open().await);
    let jobs = queue("jobs");
    publish(&broker, &jobs, (0..3).map(|n| call("t", n)).collect()).await;
    let dying = consume(&broker, "dying", &[&jobs]).await;
    receive_all(&dying, 2).await;
    let heir = consume(&other, "heir", &[&jobs]).await;
    assert_eq!(numbers(&receive(&heir, 10).await), [2]);
    fixture.kill("dying").await;
    let got = receive_all(&heir, 2).await;
    assert_eq!(numbers(&got), [0, 1]);
    assert!(got.iter().all(|it| it.deliveries == 2));
}

/// What came back from a dead consumer is held in small numbers, and fresh messages behind it wait,
/// so that a death counts against what ran and not against what was only fetched.
pub async fn suspects_are_held_a_few_at_a_time(fixture: &dyn Fixture) {
    let (broker, other) = (fixture.open().await, fixture.open().await);
    let jobs = queue("jobs");
    publish(&broker, &jobs, (0..4).map(|n| call("t", n)).collect()).await;
    let dying = consume(&broker, "dying", &[&jobs]).await;
    receive_all(&dying, 4).await;
    fixture.kill("dying").await;
    let careful = Subscription {
        suspects: NonZeroUsize::new(2).expect("2 is not zero"),
        ..Subscription::new("careful", vec![jobs.clone()])
    };
    let careful = other.consume(careful).await.expect("it consumes");
    let first = receive_all(&careful, 2).await;
    assert_eq!(numbers(&first), [0, 1]);
    publish(&broker, &jobs, vec![call("t", 4)]).await;
    assert_eq!(depth(&broker, &jobs).await.ready, 3);
    // One settled lets one through, without news from elsewhere.
    let (second, _) = tokio::join!(receive(&careful, 10), settle(&careful, ack(&first[0])));
    let suspects = second.iter().filter(|it| it.deliveries > 1);
    assert_eq!(suspects.count(), 1);
    if fixture.gives_back_exactly() {
        assert_eq!(numbers(&second), [2]);
    }
    settle(&careful, ack(&first[1])).await;
    for delivery in &second {
        settle(&careful, ack(delivery)).await;
    }
    // What was given back may have changed places.
    let mut rest = receive_all(&careful, 3 - second.len()).await;
    rest.extend(second);
    rest.sort_by_key(|it| numbers(std::slice::from_ref(it)));
    assert_eq!(numbers(&rest), [2, 3, 4]);
    assert_eq!(rest[2].deliveries, 1);
}

/// Name, queues, process and what it holds; until it is closed.
pub async fn consumers_are_listed_while_they_live(fixture: &dyn Fixture) {
    let (broker, other) = (fixture.open().await, fixture.open().await);
    let (jobs, more) = (queue("jobs"), queue("more"));
    publish(&broker, &jobs, vec![call("t", 1)]).await;
    let consumer = consume(&broker, "celeriac@here", &[&jobs, &more]).await;
    receive(&consumer, 1).await;
    let listed = other.consumers().await.expect("they are listed");
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].name, "celeriac@here");
    assert_eq!(listed[0].pid, std::process::id());
    assert_eq!(listed[0].queues, [jobs, more]);
    assert_eq!(listed[0].held, 1);
    assert!(listed[0].silent_for < Duration::from_secs(10));
    consumer.close().await.expect("it closes");
    assert!(other.consumers().await.expect("they are listed").is_empty());
}

/// Every consumer hears of it once; a message that is still queued comes with the mark.
pub async fn a_revoked_call_is_news_and_marked(fixture: &dyn Fixture) {
    let (broker, other) = (fixture.open().await, fixture.open().await);
    let jobs = queue("jobs");
    let early: TaskId = "early".into();
    broker.revoke(&[early]).await.expect("it revokes");
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let (unwanted, wanted): (TaskId, TaskId) = ("unwanted".into(), "wanted".into());
    let both = [&unwanted, &wanted].map(|id| message((*id).clone(), "t", 0, 0));
    publish(&broker, &jobs, both.into()).await;
    let ids = [unwanted.clone(), "elsewhere".into()];
    other.revoke(&ids).await.expect("it revokes");
    let told = within(consumer.revoked()).await.expect("news comes");
    assert_eq!(told, ids);
    for delivery in receive_all(&consumer, 2).await {
        assert_eq!(delivery.revoked, delivery.message.headers.id == unwanted);
    }
}

/// What waits for its time is delivered at once if it is revoked, and nothing else is.
pub async fn a_revoked_call_does_not_wait_for_its_time(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let far = Some(Timestamp::now() + Duration::from_secs(3600));
    let batch = ["unwanted", "wanted"].map(|id| {
        let mut delayed = message(id.into(), "t", 0, 0);
        delayed.headers.eta = far;
        delayed
    });
    publish(&broker, &jobs, batch.into()).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let unwanted: TaskId = "unwanted".into();
    broker
        .revoke(std::slice::from_ref(&unwanted))
        .await
        .expect("it revokes");
    let got = receive(&consumer, 10).await;
    assert_eq!(got.len(), 1);
    assert_eq!(got[0].message.headers.id, unwanted);
    assert!(got[0].revoked);
    assert_eq!(depth(&broker, &jobs).await.delayed, 1);
}

/// News of a dropped call comes with the next.
pub async fn a_dropped_call_for_revocations_loses_nothing(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let ids: Vec<TaskId> = (0..50).map(|n| format!("id-{n}").into()).collect();
    let mut told = Vec::new();
    for (micros, id) in (0_u64..).zip(&ids) {
        let revoked = broker.revoke(std::slice::from_ref(id)).await;
        revoked.expect("it revokes");
        let wait = Duration::from_micros(micros * 10);
        if let Ok(news) = tokio::time::timeout(wait, consumer.revoked()).await {
            told.extend(news.expect("news comes"));
        }
    }
    while told.len() < ids.len() {
        told.extend(within(consumer.revoked()).await.expect("news comes"));
    }
    assert_eq!(told, ids);
    nothing_but(&consumer, &broker, &jobs).await;
}

/// Whoever waits for a message gets it from a queue that is added meanwhile.
pub async fn a_queue_is_added_while_the_consumer_waits(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let (first, second) = (queue("first"), queue("second"));
    let consumer = consume(&broker, "c", &[&first]).await;
    publish(&broker, &second, vec![call("t", 1)]).await;
    let (received, added) = tokio::join!(
        receive(&consumer, 9),
        within(consumer.add_queue(Queue::new("second")))
    );
    added.expect("a queue can be added");
    assert_eq!((numbers(&received), &received[0].queue), (vec![1], &second));
    let twice = within(consumer.add_queue(Queue::new("second"))).await;
    twice.expect("it is taken from already");
    publish(&broker, &first, vec![call("t", 2)]).await;
    assert_eq!(numbers(&receive(&consumer, 9).await), [2]);
    let listed = broker.consumers().await.expect("they can be listed");
    assert_eq!(listed[0].queues, [first, second]);
    let nameless = within(consumer.add_queue(Queue::new(""))).await;
    nameless.expect_err("it has no name");
}

/// What was delivered of it is settled as ever, and what was only claimed goes back uncounted.
pub async fn a_cancelled_queue_is_left_to_others(fixture: &dyn Fixture) {
    const MESSAGES: usize = 60;
    let broker = fixture.open().await;
    let (left, kept) = (queue("left"), queue("kept"));
    publish(
        &broker,
        &left,
        (0..MESSAGES).map(|n| call("t", n)).collect(),
    )
    .await;
    let consumer = consume(&broker, "c", &[&left, &kept]).await;
    // Claims ahead, where a store does, are larger than what is asked for last.
    let held = receive(&consumer, 20).await;
    let more = receive(&consumer, 1).await;
    within(consumer.cancel_queue(&left))
        .await
        .expect("a queue can be cancelled");
    within(consumer.cancel_queue(&left))
        .await
        .expect("it was cancelled already");
    let rest = MESSAGES - held.len() - more.len();
    let heir = consume(&broker, "heir", &[&left]).await;
    let theirs = receive_all(&heir, rest).await;
    if fixture.gives_back_exactly() {
        assert!(theirs.iter().all(|it| it.deliveries == 1));
    }
    let distinct: HashSet<_> = numbers(&theirs).into_iter().collect();
    assert_eq!(distinct.len(), rest);
    for delivery in held.iter().chain(&more) {
        assert_eq!(settle(&consumer, ack(delivery)).await, Settled::Done);
    }
    // It takes from the other one, and from that one alone.
    publish(&broker, &left, vec![call("t", MESSAGES)]).await;
    nothing_but(&consumer, &broker, &kept).await;
    within(consumer.cancel_queue(&kept))
        .await
        .expect("the last one can be cancelled");
    let (received, added) = tokio::join!(
        receive(&consumer, 1),
        within(async {
            publish(&broker, &kept, vec![call("t", 0)]).await;
            heir.close().await?;
            consumer.add_queue(Queue::new("left")).await
        })
    );
    added.expect("a queue can be added again");
    assert!(received.iter().all(|it| it.queue == left));
}
