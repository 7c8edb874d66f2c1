//! Results that are sent to whoever sent the call.

use std::time::Duration;

use celeriac_core::results::ResultWatch;
use celeriac_core::{Delivery, Message, ResultState, Settled, Settlement, StoredResult, TaskError};

use super::{ack, backend, consume, publish, receive_all, settle};
use crate::{Fixture, call, queue, result, within};

async fn news(watch: &mut Box<dyn ResultWatch>) -> Vec<StoredResult> {
    within(watch.next()).await.expect("news comes")
}

/// The delivery, acknowledged, with the end of its call.
fn ended(delivery: &Delivery, state: ResultState) -> Settlement {
    let mut stored = result(&delivery.message.headers.id, state, 1);
    if stored.state != ResultState::Success {
        stored.error = Some(TaskError::failed("ChargeError", "card refused"));
    }
    Settlement {
        result: Some(stored),
        ..ack(delivery)
    }
}

/// Value and error come whole, also through a watch; another handle knows nothing of them.
pub async fn a_result_goes_to_the_sender_and_to_nobody_else(fixture: &dyn Fixture) {
    let (client, worker) = (fixture.open().await, fixture.open().await);
    let jobs = queue("jobs");
    let calls: Vec<Message> = (0..2).map(|n| call("t", n)).collect();
    let ids = [0, 1].map(|n: usize| calls[n].headers.id.clone());
    let mut watch = backend(&client).watch().await.expect("it can be watched");
    watch.add(&ids);
    publish(&client, &jobs, calls).await;
    let consumer = consume(&worker, "c", &[&jobs]).await;
    let got = receive_all(&consumer, 2).await;
    let mut sent = Vec::new();
    for (delivery, state) in got.iter().zip([ResultState::Success, ResultState::Failure]) {
        let settlement = ended(delivery, state);
        sent.extend(settlement.result.clone().map(Some));
        assert_eq!(settle(&consumer, settlement).await, Settled::Done);
    }
    let found = backend(&client).fetch(&ids).await.expect("it fetches");
    for (found, sent) in found.iter().flatten().zip(sent.iter().flatten()) {
        assert_eq!((&found.id, &found.state), (&sent.id, &sent.state));
        assert_eq!((&found.value, &found.task), (&sent.value, &sent.task));
        assert_eq!(found.attempt, sent.attempt);
        let text = |result: &StoredResult| result.error.as_ref().map(ToString::to_string);
        assert_eq!(text(found), text(sent));
    }
    let mut told = Vec::new();
    while told.len() < 2 {
        told.extend(news(&mut watch).await.into_iter().map(Some));
    }
    told.sort_by_key(|it| it.as_ref().map(|it| it.id == ids[1]));
    assert_eq!(told, found);
    let elsewhere = backend(&worker).fetch(&ids).await.expect("it fetches");
    assert_eq!(elsewhere, [None, None]);
}

/// Started, progress, end: nothing follows the end, however late it comes.
pub async fn a_final_state_is_the_last_that_is_told(fixture: &dyn Fixture) {
    let (client, worker) = (fixture.open().await, fixture.open().await);
    let jobs = queue("jobs");
    let sent = call("t", 1);
    let id = sent.headers.id.clone();
    let mut watch = backend(&client).watch().await.expect("it can be watched");
    watch.add(std::slice::from_ref(&id));
    publish(&client, &jobs, vec![sent]).await;
    let consumer = consume(&worker, "c", &[&jobs]).await;
    let got = receive_all(&consumer, 1).await;
    let mut started = result(&id, ResultState::Started, 1);
    started.trail.reply_to = got[0].message.reply_to.clone();
    let storing = backend(&worker);
    storing
        .store(vec![started.clone()])
        .await
        .expect("it stores");
    assert_eq!(news(&mut watch).await[0].state, ResultState::Started);
    settle(&consumer, ended(&got[0], ResultState::Success)).await;
    assert_eq!(news(&mut watch).await[0].state, ResultState::Success);
    storing.store(vec![started]).await.expect("it is no error");
    let found = backend(&client).fetch(&[id]).await.expect("it fetches");
    let state = found[0].as_ref().map(|it| &it.state);
    assert_eq!(state, Some(&ResultState::Success));
    let more = tokio::time::timeout(Duration::from_millis(100), watch.next()).await;
    assert!(more.is_err(), "nothing is watched any more");
}

/// What came before anybody asked is told at once.
pub async fn results_wait_for_whoever_looks_late(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let sent = call("t", 1);
    let id = sent.headers.id.clone();
    publish(&broker, &jobs, vec![sent]).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive_all(&consumer, 1).await;
    settle(&consumer, ended(&got[0], ResultState::Success)).await;
    let mut watch = backend(&broker).watch().await.expect("it can be watched");
    watch.add(std::slice::from_ref(&id));
    assert_eq!(news(&mut watch).await[0].id, id);
}

/// What is left is told no more.
pub async fn a_watch_tells_nothing_of_what_was_left(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let calls = [1, 2].map(|n| call("t", n));
    let [left, stays] = [0, 1].map(|n: usize| calls[n].headers.id.clone());
    let mut watch = backend(&broker).watch().await.expect("it can be watched");
    watch.add(&[left.clone(), stays.clone()]);
    watch.remove(&[left, "nobody's".into()]);
    publish(&broker, &jobs, calls.to_vec()).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    for delivery in receive_all(&consumer, 2).await {
        settle(&consumer, ended(&delivery, ResultState::Success)).await;
    }
    let told: Vec<_> = news(&mut watch).await.into_iter().map(|it| it.id).collect();
    assert_eq!(told, [stays]);
}

/// News of a call to `next` that was dropped at any time comes with the next.
pub async fn a_dropped_watch_call_loses_nothing(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let calls: Vec<Message> = (0..100).map(|n| call("t", n)).collect();
    let ids: Vec<_> = calls.iter().map(|it| it.headers.id.clone()).collect();
    let mut watch = backend(&broker).watch().await.expect("it can be watched");
    watch.add(&ids);
    publish(&broker, &jobs, calls).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    let got = receive_all(&consumer, 100).await;
    let mut told = Vec::new();
    for (micros, delivery) in (0_u64..).zip(&got) {
        settle(&consumer, ended(delivery, ResultState::Success)).await;
        let wait = Duration::from_micros(micros * 10);
        if let Ok(news) = tokio::time::timeout(wait, watch.next()).await {
            told.extend(news.expect("news comes"));
        }
    }
    while told.len() < ids.len() {
        told.extend(news(&mut watch).await);
    }
    let told: std::collections::HashSet<_> = told.into_iter().map(|it| it.id).collect();
    assert_eq!(told.len(), ids.len());
}

/// It is as if it had never been.
pub async fn a_forgotten_result_is_gone(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let jobs = queue("jobs");
    let calls: Vec<Message> = (0..2).map(|n| call("t", n)).collect();
    let ids = [0, 1].map(|n: usize| calls[n].headers.id.clone());
    publish(&broker, &jobs, calls).await;
    let consumer = consume(&broker, "c", &[&jobs]).await;
    for delivery in receive_all(&consumer, 2).await {
        settle(&consumer, ended(&delivery, ResultState::Success)).await;
    }
    let results = backend(&broker);
    assert!(results.fetch(&ids).await.expect("it fetches")[0].is_some());
    let forgotten = [ids[0].clone(), "nobody's".into()];
    results.forget(&forgotten).await.expect("it forgets");
    let found = results.fetch(&ids).await.expect("it fetches");
    assert!(found[0].is_none() && found[1].is_some());
}
