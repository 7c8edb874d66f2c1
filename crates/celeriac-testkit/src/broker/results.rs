//! Results: stored, fetched, watched, forgotten.

use std::collections::HashMap;
use std::time::Duration;

use celeriac_core::results::ResultWatch;
use celeriac_core::{Progress, ResultState, StoredResult, TaskError, TaskId};
use jiff::Timestamp;

use super::backend;
use crate::{Fixture, result, within};

/// The results less what the store does not keep.
fn kept(fixture: &dyn Fixture, results: Vec<Option<StoredResult>>) -> Vec<Option<StoredResult>> {
    let kept = |result: Option<StoredResult>| result.map(|result| fixture.kept(result));
    results.into_iter().map(kept).collect()
}

async fn news(watch: &mut Box<dyn ResultWatch>) -> Vec<StoredResult> {
    within(watch.next()).await.expect("news comes")
}

/// Every state with value, error and progress, in the order asked for.
pub async fn a_result_is_fetched_as_it_was_stored(fixture: &dyn Fixture) {
    let (broker, other) = (fixture.open().await, fixture.open().await);
    let states = [
        ResultState::Started,
        ResultState::Progress(Progress {
            done: 3,
            total: 10,
            message: "half \"way\"".to_owned(),
        }),
        ResultState::Retry,
        ResultState::Success,
        ResultState::Failure,
        ResultState::Revoked,
    ];
    let mut stored = Vec::new();
    for (attempt, state) in (1..).zip(states) {
        let id = TaskId::new();
        let mut one = result(&id, state, attempt);
        if !matches!(one.state, ResultState::Success) {
            one.error = Some(TaskError::failed("ChargeError", "card refused"));
        }
        stored.push(one);
    }
    backend(&broker)
        .store(stored.clone())
        .await
        .expect("it stores");
    let mut ids: Vec<_> = stored.iter().map(|it| it.id.clone()).rev().collect();
    ids.insert(2, "nobody's".into());
    let found = backend(&other).fetch(&ids).await.expect("it fetches");
    let mut expected: Vec<_> = stored.into_iter().map(Some).rev().collect();
    expected.insert(2, None);
    assert_eq!(kept(fixture, found), kept(fixture, expected));
}

/// Late news of an earlier state changes nothing; another final state may, but not of a success.
pub async fn a_final_state_never_gives_way_to_a_passing_one(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let results = backend(&broker);
    let id = TaskId::new();
    let passing = [ResultState::Started, ResultState::Retry];
    for end in [
        ResultState::Failure,
        ResultState::Revoked,
        ResultState::Success,
    ] {
        let last = result(&id, end, 2);
        results.store(vec![last.clone()]).await.expect("it stores");
        for state in passing.clone() {
            let late = result(&id, state, 1);
            results.store(vec![late]).await.expect("it is no error");
        }
        let found = results.fetch(std::slice::from_ref(&id)).await;
        let found = kept(fixture, found.expect("it fetches"));
        assert_eq!(found, kept(fixture, vec![Some(last)]));
    }
}

/// What is held when a call is added is news, and so is what comes later through another handle.
pub async fn a_watch_tells_what_is_held_and_what_comes(fixture: &dyn Fixture) {
    let (broker, other) = (fixture.open().await, fixture.open().await);
    let (early, late, foreign) = (TaskId::new(), TaskId::new(), TaskId::new());
    let stored = result(&early, ResultState::Success, 1);
    backend(&other)
        .store(vec![stored.clone()])
        .await
        .expect("it stores");
    let mut watch = backend(&broker).watch().await.expect("it can be watched");
    watch.add(&[early, late.clone()]);
    let told = news(&mut watch).await.into_iter().map(Some).collect();
    assert_eq!(kept(fixture, told), kept(fixture, vec![Some(stored)]));

    let waiting = tokio::spawn(async move {
        let told = news(&mut watch).await;
        (told, watch)
    });
    let stored = result(&late, ResultState::Failure, 1);
    let both = vec![result(&foreign, ResultState::Success, 1), stored.clone()];
    backend(&other).store(both).await.expect("it stores");
    let (told, mut watch) = within(waiting).await.expect("it did not panic");
    let told = told.into_iter().map(Some).collect();
    assert_eq!(kept(fixture, told), kept(fixture, vec![Some(stored)]));

    // A call that is added again is told again.
    watch.add(std::slice::from_ref(&late));
    assert_eq!(news(&mut watch).await[0].id, late);
}

/// Started, progress, end: the last state is always told, and nothing after it.
pub async fn a_watch_tells_every_change_until_the_end(fixture: &dyn Fixture) {
    const CALLS: u64 = 20;
    let (broker, other) = (fixture.open().await, fixture.open().await);
    let ids: Vec<_> = (0..CALLS).map(|_| TaskId::new()).collect();
    let mut watch = backend(&broker).watch().await.expect("it can be watched");
    watch.add(&ids);
    let (results, storing) = (backend(&other), ids.clone());
    let worker = tokio::spawn(async move {
        for step in 0..5 {
            let state = |_| match step {
                0 => ResultState::Started,
                4 => ResultState::Success,
                done => ResultState::Progress(Progress {
                    done,
                    total: 4,
                    message: String::new(),
                }),
            };
            let all = storing.iter().map(|id| result(id, state(id), 1)).collect();
            results.store(all).await.expect("it stores");
        }
    });
    let mut last: HashMap<TaskId, StoredResult> = HashMap::new();
    while last.values().filter(|it| it.state.is_final()).count() < ids.len() {
        for told in news(&mut watch).await {
            let before = last.insert(told.id.clone(), told);
            assert!(
                before.is_none_or(|it| !it.state.is_final()),
                "news after the end"
            );
        }
    }
    within(worker).await.expect("it did not panic");
    let more = tokio::time::timeout(Duration::from_millis(100), watch.next()).await;
    assert!(more.is_err(), "nothing is watched any more");
}

/// What is left is told no more.
pub async fn a_watch_tells_nothing_of_what_was_left(fixture: &dyn Fixture) {
    let (broker, other) = (fixture.open().await, fixture.open().await);
    let [early, left, stays] = [(); 3].map(|()| TaskId::new());
    let results = backend(&other);
    let store = |id: &TaskId| results.store(vec![result(id, ResultState::Success, 1)]);
    store(&early).await.expect("it stores");
    let mut watch = backend(&broker).watch().await.expect("it can be watched");
    watch.add(&[left.clone(), stays.clone()]);
    watch.remove(&[left.clone(), "nobody's".into()]);
    watch.add(std::slice::from_ref(&early));
    assert_eq!(news(&mut watch).await[0].id, early);
    store(&left).await.expect("it stores");
    store(&stays).await.expect("it stores");
    let told: Vec<_> = news(&mut watch).await.into_iter().map(|it| it.id).collect();
    assert_eq!(told, [stays]);
}

/// News of a call to `next` that was dropped at any time comes with the next.
pub async fn a_dropped_watch_call_loses_nothing(fixture: &dyn Fixture) {
    let (broker, other) = (fixture.open().await, fixture.open().await);
    let ids: Vec<_> = (0..100).map(|_| TaskId::new()).collect();
    let mut watch = backend(&broker).watch().await.expect("it can be watched");
    watch.add(&ids);
    let mut told = Vec::new();
    for (micros, id) in (0_u64..).zip(&ids) {
        let stored = vec![result(id, ResultState::Success, 1)];
        backend(&other).store(stored).await.expect("it stores");
        let wait = Duration::from_micros(micros * 10);
        if let Ok(news) = tokio::time::timeout(wait, watch.next()).await {
            told.extend(news.expect("news comes"));
        }
    }
    while told.len() < ids.len() {
        told.extend(news(&mut watch).await);
    }
    let told: Vec<_> = told.into_iter().map(|it| it.id).collect();
    let mut sorted = told.clone();
    sorted.sort();
    sorted.dedup();
    assert_eq!(
        sorted.len(),
        ids.len(),
        "each was told once: {}",
        told.len()
    );
}

/// It is as if it had never been.
pub async fn a_forgotten_result_is_gone(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let results = backend(&broker);
    let (gone, stays) = (TaskId::new(), TaskId::new());
    let both = [&gone, &stays].map(|id| result(id, ResultState::Success, 1));
    results.store(both.to_vec()).await.expect("it stores");
    results
        .forget(&[gone.clone(), "nobody's".into()])
        .await
        .expect("it forgets");
    let found = results.fetch(&[gone, stays]).await.expect("it fetches");
    let expected = vec![None, Some(both[1].clone())];
    assert_eq!(kept(fixture, found), kept(fixture, expected));
}

/// A result past its time is not shown, swept or not.
pub async fn an_expired_result_is_gone(fixture: &dyn Fixture) {
    let broker = fixture.open().await;
    let results = backend(&broker);
    let id = TaskId::new();
    let mut old = result(&id, ResultState::Success, 1);
    old.expires_at = Timestamp::UNIX_EPOCH;
    results.store(vec![old]).await.expect("it stores");
    let found = results.fetch(&[id]).await.expect("it fetches");
    assert_eq!(found, [None]);
}
