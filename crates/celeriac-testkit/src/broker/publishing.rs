//! Publishing: what comes out is what went in, in order and in time.

use std::time::Duration;

use celeriac_core::{BrokerError, Payload, Settled, TaskId};
use jiff::Timestamp;

use super::{
    ack, consume, depth, depth_becomes, nothing_but, number, numbers, publish, receive,
    receive_all, settle,
};
use crate::{Fixture, call, message, queue, within};

/// Headers, priority, body and unknown headers arrive as they were sent.
pub async fn what_is_published_is_received_whole(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let mut sent = message("order-17".into(), "shop.charge", 7, 3);
    sent.headers.retries = 2;
    sent.headers.timelimit = Some((Some(30.0), None));
    sent.headers.group = Some("g".to_owned());
    sent.headers.extra.insert("mine".to_owned(), 7.into());
    publish(&broker, &jobs, vec![sent.clone()]).await;

    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive(&consumer, 10).await;
    assert_eq!(got.len(), 1);
    // A broker that sends results as messages fills in where to.
    let mut sent = fixture.carried(sent);
    sent.reply_to.clone_from(&got[0].message.reply_to);
    assert_eq!(got[0].message, sent);
    assert_eq!(got[0].message.headers.extra["mine"], 7);
    assert_eq!(got[0].queue, jobs);
    assert_eq!(got[0].deliveries, 1);
    assert!(!got[0].revoked);
}

/// One priority of one queue is first in, first out, over several publications.
pub async fn order_is_kept_within_a_priority(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    for start in [0, 50, 100] {
        let batch = (start..start + 50).map(|n| call("t", n)).collect();
        publish(&broker, &jobs, batch).await;
    }
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive_all(&consumer, 150).await;
    assert_eq!(numbers(&got), (0..150).collect::<Vec<_>>());
}

/// Urgent ones are delivered first, whatever the order of publishing.
pub async fn urgent_messages_come_first(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    // Far enough apart for a store that has fewer steps.
    let urgencies = [0, 9, 2, 9, 0, 5];
    let batch = urgencies.into_iter().enumerate();
    let batch = batch.map(|(n, urgency)| message(TaskId::new(), "t", n, fixture.priority(urgency)));
    publish(&broker, &jobs, batch.collect()).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive_all(&consumer, 6).await;
    assert_eq!(numbers(&got), [1, 3, 5, 2, 0, 4]);
    assert_eq!(got[0].message.priority, fixture.priority(9));
}

/// A more urgent message in another queue comes before those in the queue whose turn it is.
pub async fn urgent_messages_come_first_across_queues(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let (left, right) = (queue("left"), queue("right"));
    for (number, (queue, urgency)) in [(&left, 1), (&right, 8), (&left, 5)]
        .into_iter()
        .enumerate()
    {
        let priority = fixture.priority(urgency);
        publish(
            &broker,
            queue,
            vec![message(TaskId::new(), "t", number, priority)],
        )
        .await;
    }
    let consumer = consume(&broker, "c", &[&left, &right]).await;
    let got = receive_all(&consumer, 3).await;
    assert_eq!(numbers(&got), [1, 2, 0]);
}

/// A full queue does not starve another of the same priority.
pub async fn queues_take_turns(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let (full, other) = (queue("full"), queue("other"));
    publish(&broker, &full, (0..1000).map(|n| call("t", n)).collect()).await;
    publish(&broker, &other, (0..20).map(|n| call("t", n)).collect()).await;
    let consumer = consume(&broker, "c", &[&full, &other]).await;
    for credit in [1, 10] {
        let mut seen = [0, 0];
        for _ in 0..4 {
            for delivery in receive(&consumer, credit).await {
                seen[usize::from(delivery.queue == other)] += 1;
            }
        }
        assert!(seen[0] > 0 && seen[1] > 0, "with credit {credit}: {seen:?}");
    }
}

/// A delayed message is not delivered early, and hardly late; those that are due pass it.
pub async fn a_delayed_message_comes_when_it_is_due_and_not_before(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let due = Timestamp::now() + Duration::from_millis(400);
    let mut late = call("late", 1);
    late.headers.eta = Some(due);
    let mut past = call("past", 2);
    past.headers.eta = Some(Timestamp::UNIX_EPOCH);
    publish(&broker, &jobs, vec![late, past]).await;

    assert_eq!(numbers(&receive(&consumer, 10).await), [2]);
    let info = depth(&broker, &jobs).await;
    assert_eq!((info.ready, info.delayed, info.held), (0, 1, 1));
    assert_eq!(numbers(&receive(&consumer, 10).await), [1]);
    let now = Timestamp::now();
    assert!(now >= due, "it came {:?} early", due.duration_since(now));
    let late_by = now.duration_since(due);
    assert!(late_by.as_millis() < 500, "it came {late_by:?} late");
}

/// Expiry is the worker's business: the broker delivers and passes the header on.
pub async fn an_expired_message_is_delivered_with_its_header(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let mut old = call("old", 1);
    old.headers.expires = Some(Timestamp::UNIX_EPOCH);
    publish(&broker, &jobs, vec![old]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive(&consumer, 1).await;
    assert!(got[0].message.is_expired(Timestamp::now()));
}

/// One message that is refused takes the others with it.
pub async fn publishing_is_all_or_none(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let mut huge = call("huge", 0);
    huge.body = Payload {
        bytes: vec![b' '; (1 << 20) + 1].into(),
        ..huge.body
    };
    let both = vec![
        (jobs.clone().into(), call("good", 1)),
        (jobs.clone().into(), huge),
    ];
    assert!(broker.publish(both).await.is_err());
    let consumer = consume(&broker, "c", &[&jobs]).await;
    nothing_but(&consumer, &broker, &jobs).await;
}

/// Duplicates are the caller's business.
pub async fn one_id_published_twice_is_delivered_twice(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let twice = call("t", 1);
    publish(&broker, &jobs, vec![twice.clone(), twice.clone()]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive_all(&consumer, 2).await;
    assert_ne!(got[0].tag, got[1].tag);
    assert_eq!(got[0].message, got[1].message);
}

/// Names that would confuse a store that pasted them into its own language.
pub async fn odd_queue_names_are_kept_apart(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let longest = "x".repeat(fixture.longest_queue_name());
    let names = [
        "a b",
        "a_b",
        "a%b",
        "a/b:c",
        "'; DROP TABLE message; --",
        "очередь",
        "📦",
        "A B",
        &longest,
    ];
    for (index, name) in names.iter().enumerate() {
        publish(&broker, &queue(name), vec![call("t", index)]).await;
    }
    for (index, name) in names.iter().enumerate() {
        let only = queue(name);
        let consumer = consume(&broker, "c", &[&only]).await;
        let got = receive(&consumer, 10).await;
        assert_eq!(numbers(&got), [index], "{name}");
        assert_eq!(got[0].queue, only);
        settle(&consumer, ack(&got[0])).await;
    }
    let mut listed: Vec<_> = broker.queues().await.expect("they are listed");
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    let mut expected: Vec<_> = names.iter().map(|name| queue(name)).collect();
    expected.sort();
    assert_eq!(
        listed.iter().map(|it| it.name.clone()).collect::<Vec<_>>(),
        expected
    );
}

/// The error says how large the body is and how large it may be; the largest allowed one passes.
pub async fn a_body_over_the_limit_is_refused(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let mut sent = call("huge", 0);
    sent.body.bytes = vec![b' '; (1 << 20) + 1].into();
    let refused = broker
        .publish(vec![(jobs.clone().into(), sent.clone())])
        .await;
    assert!(
        matches!(
            refused,
            Err(BrokerError::TooLarge {
                size_bytes: 1_048_577,
                limit_bytes: 1_048_576,
                ..
            })
        ),
        "{refused:?}"
    );
    sent.body.bytes = vec![b' '; 1 << 20].into();
    publish(&broker, &jobs, vec![sent.clone()]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive(&consumer, 1).await;
    let mut sent = fixture.carried(sent);
    sent.reply_to.clone_from(&got[0].message.reply_to);
    assert_eq!(got[0].message, sent);
}

/// Whoever publishes wakes whoever waits, through another handle too.
pub async fn a_waiting_consumer_is_woken_by_another_handle(fixture: &dyn Fixture) {
    let (one, other) = (fixture.open().await, fixture.open().await);
    let jobs = queue("jobs");
    let consumer = consume(&one, "c", &[&jobs]).await;
    let waiting = tokio::spawn({
        let consumer = consumer.clone();
        async move { receive(&consumer, 1).await }
    });
    publish(&other, &jobs, vec![call("t", 5)]).await;
    let got = within(waiting).await.expect("it did not panic");
    assert_eq!(number(&got[0]), 5);
}

/// Ready, delayed, held and dead messages are counted, each in one place.
pub async fn queue_depths_are_exact(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let (jobs, empty) = (queue("jobs"), queue("empty"));
    let mut batch: Vec<_> = (0..10).map(|n| call("t", n)).collect();
    // First, for a store that puts aside what waits when it meets it.
    for message in &mut batch[..3] {
        message.headers.eta = Some(Timestamp::now() + Duration::from_secs(3600));
    }
    publish(&broker, &jobs, batch).await;
    let consumer = consume(&broker, "c", &[&jobs, &empty]).await;
    let got = receive_all(&consumer, 3).await;
    depth_becomes(&broker, &jobs, [4, 3, 3, 0]).await;
    let dead = celeriac_core::Verdict::Dead(celeriac_core::DeadReason::Unregistered, String::new());
    settle(&consumer, super::verdict(&got[0], dead)).await;
    settle(&consumer, ack(&got[1])).await;
    depth_becomes(&broker, &jobs, [4, 3, 1, 1]).await;
    depth_becomes(&broker, &empty, [0; 4]).await;
}

/// Ready and delayed messages go, held ones and other queues stay.
pub async fn purge_drops_what_nobody_holds(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let (jobs, other) = (queue("jobs"), queue("other"));
    let mut batch: Vec<_> = (0..5).map(|n| call("t", n)).collect();
    batch[4].headers.eta = Some(Timestamp::now() + Duration::from_secs(3600));
    publish(&broker, &jobs, batch).await;
    publish(&broker, &other, vec![call("t", 9)]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let held = receive(&consumer, 1).await;
    assert_eq!(broker.purge(&jobs).await.expect("it purges"), 4);
    assert_eq!(
        broker.purge(&queue("nobody's")).await.expect("it purges"),
        0
    );
    let info = depth(&broker, &jobs).await;
    assert_eq!((info.ready, info.delayed, info.held), (0, 0, 1));
    assert_eq!(depth(&broker, &other).await.ready, 1);
    assert_eq!(settle(&consumer, ack(&held[0])).await, Settled::Done);
}
