//! Settling: result, follow-ups and verdict, together and once.

use std::num::NonZeroU32;
use std::time::Duration;

use celeriac_core::broker::Subscription;
use celeriac_core::{DeadReason, ErrorKind, ResultState, Settled, Settlement, Verdict};
use jiff::Timestamp;

use super::{
    ack, backend, consume, depth, nothing_but, numbers, publish, receive, receive_all, settle,
    verdict,
};
use crate::{Fixture, call, queue, result, within};

const COUNTED: Verdict = Verdict::Requeue {
    eta: None,
    counted: true,
};

const UNCOUNTED: Verdict = Verdict::Requeue {
    eta: None,
    counted: false,
};

/// That of a subscription, if nothing else is said.
const LIMIT: NonZeroU32 = NonZeroU32::new(5).unwrap();

/// It is in no count any more and is not delivered again.
pub async fn an_acked_message_is_gone(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    publish(&broker, &jobs, vec![call("t", 1)]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive(&consumer, 1).await;
    assert_eq!(settle(&consumer, ack(&got[0])).await, Settled::Done);
    let info = depth(&broker, &jobs).await;
    assert_eq!(
        (info.ready, info.delayed, info.held, info.dead),
        (0, 0, 0, 0)
    );
    nothing_but(&consumer, &broker, &jobs).await;
}

/// The second time finds the lease lost, and so does a tag that never was.
pub async fn a_settled_delivery_cannot_be_settled_again(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    publish(&broker, &jobs, vec![call("t", 1), call("t", 2)]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive_all(&consumer, 2).await;
    let mut never = ack(&got[0]);
    never.tag = 1 << 40;
    let settled = consumer.settle(vec![ack(&got[0]), ack(&got[0]), never, ack(&got[1])]);
    assert_eq!(
        within(settled).await.expect("settling works"),
        [
            Settled::Done,
            Settled::LeaseLost,
            Settled::LeaseLost,
            Settled::Done
        ]
    );
}

/// All three are there once the call returns, and the follow-up can be received.
pub async fn follow_ups_and_result_come_with_the_ack(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let (jobs, next) = (queue("jobs"), queue("next"));
    publish(&broker, &jobs, vec![call("first", 1)]).await;
    let consumer = consume(&broker, "c", &[&jobs, &next]).await;
    let got = receive(&consumer, 1).await;
    let id = got[0].message.headers.id.clone();
    let stored = result(&id, ResultState::Success, 1);
    let settlement = Settlement {
        result: Some(stored.clone()),
        follow_ups: vec![
            (next.clone().into(), call("second", 2)),
            (jobs.clone().into(), call("third", 3)),
        ],
        ..ack(&got[0])
    };
    assert_eq!(settle(&consumer, settlement).await, Settled::Done);
    let found = backend(&broker).fetch(&[id]).await.expect("it is fetched");
    let found = found.into_iter().flatten().map(|it| fixture.kept(it));
    assert_eq!(found.collect::<Vec<_>>(), [fixture.kept(stored)]);
    let mut came = numbers(&receive_all(&consumer, 2).await);
    came.sort_unstable();
    assert_eq!(came, [2, 3]);
}

/// Neither result nor follow-up nor verdict of a delivery that is not ours any more happens.
pub async fn a_lost_lease_settles_nothing(fixture: &dyn Fixture) {
    let (broker, other) = (fixture.open().await, fixture.open().await);
    let jobs = queue("jobs");
    publish(&broker, &jobs, vec![call("t", 1)]).await;
    let frozen = consume(&broker, "frozen", &[&jobs]).await;
    let got = receive(&frozen, 1).await;
    let heir = consume(&other, "heir", &[&jobs]).await;
    fixture.kill("frozen").await;
    let again = receive(&heir, 1).await;
    assert_eq!(again[0].message, got[0].message);

    let id = got[0].message.headers.id.clone();
    let settlement = Settlement {
        result: Some(result(&id, ResultState::Success, 1)),
        follow_ups: vec![(jobs.clone().into(), call("ghost", 13))],
        ..ack(&got[0])
    };
    assert_eq!(settle(&frozen, settlement).await, Settled::LeaseLost);
    let found = backend(&broker).fetch(&[id]).await.expect("it is fetched");
    assert_eq!(found, [None]);
    assert_eq!(depth(&broker, &jobs).await.held, 1);
    assert_eq!(settle(&heir, ack(&again[0])).await, Settled::Done);
    // The frozen one is a consumer again, of what comes from now on.
    heir.close().await.expect("it closes");
    nothing_but(&frozen, &broker, &jobs).await;
}

/// The count grows with each delivery, unless the delivery did not count.
pub async fn a_requeued_message_comes_back_counted_or_not(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    publish(&broker, &jobs, vec![call("t", 1)]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let steps = [
        (1, COUNTED),
        (2, UNCOUNTED),
        (2, COUNTED),
        (3, Verdict::Ack),
    ];
    for (deliveries, end) in steps {
        let got = receive(&consumer, 1).await;
        assert_eq!(got[0].deliveries, deliveries);
        settle(&consumer, verdict(&got[0], end)).await;
    }
    nothing_but(&consumer, &broker, &jobs).await;
}

/// A requeue with a time waits like any delayed message.
pub async fn a_requeued_message_waits_for_its_time(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    publish(&broker, &jobs, vec![call("t", 1)]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive(&consumer, 1).await;
    let due = Timestamp::now() + Duration::from_millis(300);
    let later = Verdict::Requeue {
        eta: Some(due),
        counted: true,
    };
    settle(&consumer, verdict(&got[0], later)).await;
    assert_eq!(depth(&broker, &jobs).await.delayed, 1);
    let got = receive(&consumer, 1).await;
    assert!(Timestamp::now() >= due);
    assert_eq!(got[0].deliveries, 2);
}

/// Past the limit it is delivered for its end to be decided: result, dead message, what follows.
pub async fn a_message_past_the_delivery_limit_has_its_end_decided(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let poison = call("poison", 1);
    let id = poison.headers.id.clone();
    publish(&broker, &jobs, vec![poison]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    for _ in 1..=LIMIT.get() {
        let got = receive(&consumer, 1).await;
        assert!(!got[0].is_exhausted(LIMIT));
        settle(&consumer, verdict(&got[0], COUNTED)).await;
    }
    let got = receive(&consumer, 1).await;
    assert_eq!(got[0].message.headers.id, id);
    assert!(got[0].is_exhausted(LIMIT));
    let next = call("next", 2);
    let dead = Verdict::Dead(DeadReason::DeliveryLimit, "too often".to_owned());
    let settlement = Settlement {
        follow_ups: vec![(jobs.clone().into(), next.clone())],
        ..verdict(&got[0], dead)
    };
    assert_eq!(settle(&consumer, settlement).await, Settled::Done);

    let got = receive(&consumer, 1).await;
    assert_eq!(got[0].message.headers.id, next.headers.id);
    settle(&consumer, ack(&got[0])).await;
    let dead = broker.dead(10).await.expect("the dead are listed");
    assert_eq!(dead.len(), 1);
    assert_eq!(dead[0].reason, DeadReason::DeliveryLimit);
    assert_eq!(dead[0].detail, "too often");
}

/// If nobody lives to decide its end the driver makes it dead, with a failure for those who wait.
pub async fn a_message_whose_end_nobody_decides_dies_and_its_waiters_end(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let poison = call("poison", 1);
    let mut unwatched = call("poison", 2);
    unwatched.headers.ignore_result = Some(true);
    let ids = [&poison, &unwatched].map(|it| it.headers.id.clone());
    publish(&broker, &jobs, vec![poison, unwatched]).await;
    let mut watch = backend(&broker).watch().await.expect("it can be watched");
    watch.add(&ids);
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let most = Subscription::new("c", vec![jobs.clone()]).most_deliveries();
    assert!(most > LIMIT);
    for delivery in 1..=most.get() {
        for got in receive_all(&consumer, 2).await {
            assert_eq!(got.deliveries, delivery);
            settle(&consumer, verdict(&got, COUNTED)).await;
        }
    }
    nothing_but(&consumer, &broker, &jobs).await;

    let dead = broker.dead(10).await.expect("the dead are listed");
    assert_eq!(dead.len(), 2);
    assert_eq!(dead[0].reason, DeadReason::DeliveryLimit);
    assert_eq!(dead[0].deliveries, most.get());
    let news = within(watch.next()).await.expect("news comes");
    assert_eq!(
        (&news[0].id, &news[0].state),
        (&ids[0], &ResultState::Failure)
    );
    let error = news[0].error.as_ref().expect("a failure has an error");
    assert_eq!(error.kind(), ErrorKind::DeliveryLimit);
    let held = backend(&broker).fetch(&ids).await.expect("it fetches");
    assert_eq!(held[1], None, "nobody wants to know");
}

/// Bytes that are no message reach no worker, are kept to the letter, and stop nobody.
pub async fn a_malformed_message_is_quarantined_with_its_bytes(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let cases = fixture.malformed();
    for (headers, content_type, body) in &cases {
        fixture.insert_raw(&jobs, headers, content_type, body).await;
    }
    let consumer = consume(&broker, "c", &[&jobs]).await;
    nothing_but(&consumer, &broker, &jobs).await;

    let dead = broker.dead(100).await.expect("the dead are listed");
    assert_eq!(dead.len(), cases.len());
    for (headers, content_type, body) in &cases {
        let (headers, content_type, body) = fixture.quarantined(headers, content_type, body);
        let found = dead
            .iter()
            .find(|it| it.headers == headers && it.content_type == content_type);
        let found = found.expect("the headers are kept");
        assert_eq!(found.reason, DeadReason::Malformed);
        assert_eq!((&found.content_type, &found.body), (&content_type, &body));
        assert!(!found.detail.is_empty());
    }
    let numbers: Vec<_> = dead.iter().map(|it| it.number).collect();
    assert_eq!(broker.retry_dead(&numbers).await.expect("it answers"), 0);
    assert_eq!(depth(&broker, &jobs).await.dead, cases.len() as u64);
}

/// The dead come newest first; a retried one is new again, a dropped one is gone for good.
pub async fn dead_messages_are_listed_retried_and_dropped(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    publish(&broker, &jobs, (0..3).map(|n| call("t", n)).collect()).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    for delivery in receive_all(&consumer, 3).await {
        let dead = Verdict::Dead(DeadReason::Unregistered, "nobody knows it".to_owned());
        settle(&consumer, verdict(&delivery, dead)).await;
    }
    let dead = broker.dead(2).await.expect("the dead are listed");
    assert_eq!(dead.len(), 2);
    let all = broker.dead(100).await.expect("the dead are listed");
    assert_eq!(all.len(), 3);
    assert_eq!(all[0].number, dead[0].number);
    assert!(all.is_sorted_by(|a, b| a.died_at >= b.died_at));
    assert_eq!(all[0].detail, "nobody knows it");
    assert_eq!(all[0].queue, jobs);

    let dropped = broker.drop_dead(&[all[0].number, all[0].number, -1]).await;
    assert_eq!(dropped.expect("it drops"), 1);
    let retried = broker.retry_dead(&[all[1].number, all[0].number]).await;
    assert_eq!(retried.expect("it retries"), 1);
    let got = receive(&consumer, 1).await;
    assert_eq!(got[0].deliveries, 1);
    assert_eq!(broker.dead(100).await.expect("they are listed").len(), 1);
}

/// The failure of a dead message does not answer for the message that is tried again.
pub async fn a_retried_message_leaves_its_failure_behind(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let Some(results) = broker.results() else {
        return;
    };
    let jobs = queue("jobs");
    let message = call("t", 0);
    let id = message.headers.id.clone();
    publish(&broker, &jobs, vec![message]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let delivery = receive(&consumer, 1).await.remove(0);
    let dead = Verdict::Dead(DeadReason::RetriesExhausted, "no more".to_owned());
    let mut settlement = verdict(&delivery, dead);
    settlement.result = Some(result(&id, ResultState::Failure, 1));
    settle(&consumer, settlement).await;
    let ids = [id];
    let held = results.fetch(&ids).await.expect("it answers");
    assert_eq!(
        held[0].as_ref().expect("it failed").state,
        ResultState::Failure
    );

    let number = broker.dead(1).await.expect("they are listed")[0].number;
    let retried = broker.retry_dead(&[number]).await.expect("it retries");
    assert_eq!(retried, 1);
    assert_eq!(results.fetch(&ids).await.expect("it answers"), [None]);
}
