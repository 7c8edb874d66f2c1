//! What is said of a worker from beside it, and what it does when nothing is delivered.

use std::time::Duration;

use celeriac_core::TaskError;
use celeriac_worker::{Life, NotReady, OTHER, Shutdown, TaskMetrics, Watcher};
use tokio::time::{Instant, timeout};

use crate::broker::Failure;
use crate::harness::Harness;

/// Waits until the worker is `ready`, or is not for this reason.
async fn until(watcher: &Watcher, ready: Result<(), NotReady>) {
    let waiting = async {
        while watcher.look().await.unwrap().readiness != ready {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = timeout(Duration::from_secs(600), waiting).await;
    waited.unwrap_or_else(|_| panic!("it is never {ready:?}"));
}

async fn counted(watcher: &Watcher, task: &str) -> TaskMetrics {
    let metrics = watcher.look().await.unwrap().metrics;
    let found = metrics.tasks.into_iter().find(|it| it.task == task);
    found.unwrap_or_else(|| panic!("{task} was not counted"))
}

#[tokio::test(start_paused = true)]
async fn what_becomes_of_calls_is_counted_by_task() {
    let harness = Harness::with(1, |_| {}).await;
    let watcher = harness.worker.watcher();
    let tags = harness.push("plain", 2);
    let playing = harness.stage.start().await;
    playing.returns_after("1", Duration::from_millis(30));
    harness.broker.settled(tags[0]).await;
    let playing = harness.stage.start().await;
    let running = counted(&watcher, "plain").await;
    assert_eq!((running.received, running.started), (2, 2));
    assert_eq!(watcher.look().await.unwrap().metrics.running, 1);
    playing.fails(TaskError::failed("E", "no"));
    harness.broker.settled(tags[1]).await;
    let retried = harness.push("retried", 1)[0];
    let playing = harness.stage.start().await;
    playing.fails(TaskError::failed("E", "busy"));
    harness.broker.settled(retried).await;
    let unknown = harness.push("a name from outside", 1)[0];
    harness.broker.settled(unknown).await;

    let plain = counted(&watcher, "plain").await;
    assert_eq!(plain.queue, "celery");
    assert_eq!((plain.succeeded, plain.failed, plain.retried), (1, 1, 0));
    // Only what returned said how long it ran.
    assert_eq!((plain.runtime.count(), plain.wait.count()), (1, 2));
    assert_eq!(plain.runtime.sum, Duration::from_millis(30));
    let retried = counted(&watcher, "retried").await;
    assert_eq!((retried.received, retried.retried), (1, 1));
    let other = counted(&watcher, OTHER).await;
    assert_eq!((other.received, other.started, other.failed), (1, 0, 1));
    assert_eq!(other.queue, OTHER);
}

#[tokio::test(start_paused = true)]
async fn a_run_that_is_lost_is_counted_as_such_and_as_what_became_of_it() {
    let harness = Harness::with(1, |_| {}).await;
    let tag = harness.push("plain", 1)[0];
    let playing = harness.stage.start().await;
    playing.fails(TaskError::lost("its child died"));
    harness.broker.settled(tag).await;
    let plain = counted(&harness.worker.watcher(), "plain").await;
    assert_eq!((plain.lost, plain.given_back, plain.failed), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn while_the_broker_is_away_it_lives_and_is_not_ready_and_an_empty_queue_is_enough_to_recover()
 {
    let harness = Harness::with(1, |_| {}).await;
    let watcher = harness.worker.watcher();
    until(&watcher, Ok(())).await;
    harness
        .broker
        .with(|state| state.failure = Some(Failure::Away));
    harness.push("plain", 1);
    let playing = harness.stage.start().await;
    playing.returns("1");
    until(&watcher, Err(NotReady::CannotSettle)).await;
    assert_eq!(watcher.life().await, Life::Live);
    harness.broker.with(|state| state.failure = None);
    until(&watcher, Ok(())).await;
    assert!(harness.worker.report().ready);
    assert_eq!(harness.worker.report().succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn messages_that_wait_and_are_not_delivered_make_it_consume_anew() {
    let harness = Harness::with(1, |_| {}).await;
    let watcher = harness.worker.watcher();
    harness.broker.with(|state| state.stuck = Some(1));
    let begun = Instant::now();
    let tag = harness.push("plain", 1)[0];
    // The second consumer is no better: it is not ready until something is delivered.
    harness.broker.with(|state| state.stuck = Some(2));
    harness
        .broker
        .until(|state| (state.consumers == 2).then_some(()))
        .await;
    let took = begun.elapsed();
    assert!(
        took >= Duration::from_secs(30) && took < Duration::from_secs(40),
        "{took:?}"
    );
    let readiness = watcher.look().await.unwrap().readiness;
    assert_eq!(readiness, Err(NotReady::Stalled));
    harness
        .broker
        .until(|state| (state.consumers == 3).then_some(()))
        .await;
    let playing = harness.stage.start().await;
    playing.returns("1");
    harness.broker.settled(tag).await;
    until(&watcher, Ok(())).await;
    assert_eq!(harness.worker.report().reconnects, 2);
}

#[tokio::test(start_paused = true)]
async fn what_it_holds_is_not_given_up_for_what_it_is_not_given() {
    let harness = Harness::with(2, |_| {}).await;
    let watcher = harness.worker.watcher();
    let tag = harness.push("plain", 1)[0];
    let playing = harness.stage.start().await;
    harness.broker.with(|state| state.stuck = Some(1));
    harness.push("plain", 1);
    until(&watcher, Err(NotReady::Stalled)).await;
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(harness.broker.with(|state| state.consumers), 1);
    playing.returns("1");
    harness.broker.settled(tag).await;
    harness
        .broker
        .until(|state| (state.consumers == 2).then_some(()))
        .await;
    harness.stage.start().await.returns("2");
    until(&watcher, Ok(())).await;
}

#[tokio::test(start_paused = true)]
async fn an_empty_queue_is_no_stall() {
    let harness = Harness::with(1, |_| {}).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(harness.broker.with(|state| state.consumers), 1);
    let watcher = harness.worker.watcher();
    assert_eq!(watcher.look().await.unwrap().readiness, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn one_that_was_told_to_stop_lives_but_is_not_ready() {
    let harness = Harness::with(1, |_| {}).await;
    let mut watcher = harness.worker.watcher();
    harness.push("plain", 1);
    let playing = harness.stage.start().await;
    harness.worker.shutdown(Shutdown::Soft);
    watcher.stopping().await;
    until(&watcher, Err(NotReady::Stopping)).await;
    assert_eq!(watcher.life().await, Life::Live);
    playing.returns("1");
    harness.worker.wait().await.unwrap();
    assert!(watcher.look().await.is_none());
    assert_eq!(watcher.life().await, Life::Live);
}
