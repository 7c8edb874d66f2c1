//! Warm, soft, cold.

use std::time::Duration;

use celeriac_core::{Interrupt, TaskError, Verdict};
use celeriac_worker::Shutdown;
use tokio::time::Instant;

use crate::broker::Failure;
use crate::harness::Harness;

const GIVEN_BACK: Verdict = Verdict::Requeue {
    eta: None,
    counted: false,
};

/// Two calls run, two are held ahead, four are in the queue.
async fn busy() -> (Harness, [crate::stage::Playing; 2]) {
    let harness = Harness::new().await;
    harness.push("plain", 8);
    let running = [harness.stage.start().await, harness.stage.start().await];
    harness
        .broker
        .until(|state| (state.held.len() == 4).then_some(()))
        .await;
    (harness, running)
}

#[tokio::test(start_paused = true)]
async fn warm_gives_back_what_has_not_started_and_lets_the_rest_finish() {
    let (harness, running) = busy().await;
    let start = Instant::now();
    harness.worker.shutdown(Shutdown::Warm);
    for tag in [3, 4] {
        assert_eq!(harness.broker.settled(tag).await.verdict, GIVEN_BACK);
    }
    assert!(start.elapsed() <= Duration::from_secs(1));
    assert!(
        running
            .iter()
            .all(|playing| playing.0.control.interrupted().is_none())
    );

    tokio::time::sleep(Duration::from_secs(20)).await;
    for playing in &running {
        playing.returns("1");
    }
    let report = harness.worker.wait().await.unwrap();
    assert_eq!(
        (report.succeeded, report.given_back, report.unsettled),
        (2, 2, 0)
    );
    harness.broker.with(|state| {
        assert_eq!(state.ready.len(), 6);
        assert!(state.held.is_empty() && state.closed);
    });
}

#[tokio::test(start_paused = true)]
async fn nothing_is_fetched_after_the_order() {
    let harness = Harness::new().await;
    let start = Instant::now();
    harness.push("plain", 1);
    let playing = harness.stage.start().await;
    harness.worker.shutdown(Shutdown::Warm);
    tokio::time::sleep(Duration::from_secs(1)).await;
    harness.push("plain", 5);
    playing.returns("1");
    let report = harness.worker.wait().await.unwrap();
    assert_eq!(report.received, 1);
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test(start_paused = true)]
async fn what_outlasts_the_grace_period_is_killed_and_given_back() {
    let (harness, _running) = busy().await;
    let start = Instant::now();
    harness.worker.shutdown(Shutdown::Warm);
    // A second order of the same strength changes nothing.
    harness.worker.shutdown(Shutdown::Warm);
    let broker = harness.broker.clone();
    harness.worker.wait().await.unwrap();
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(25) && took < Duration::from_secs(27),
        "{took:?}"
    );
    broker.with(|state| {
        assert_eq!(state.ready.len(), 8);
        assert!(
            state.results.is_empty(),
            "no result is written for a killed call"
        );
    });
}

#[tokio::test(start_paused = true)]
async fn soft_tells_what_runs_to_stop_and_takes_it_back() {
    let (harness, [first, second]) = busy().await;
    harness.worker.shutdown(Shutdown::Warm);
    harness.worker.shutdown(Shutdown::Soft);
    assert_eq!(
        first.0.control.wait_interrupted().await,
        Interrupt::Shutdown
    );
    first.fails(TaskError::shutdown());
    second.returns("1");
    let report = harness.worker.wait().await.unwrap();
    assert_eq!((report.succeeded, report.given_back), (1, 3));
    assert_eq!(harness.broker.with(|state| state.ready.len()), 7);
}

#[tokio::test(start_paused = true)]
async fn cold_kills_and_gives_back_now() {
    let (harness, _running) = busy().await;
    let start = Instant::now();
    harness.worker.shutdown(Shutdown::Cold);
    let broker = harness.broker.clone();
    let report = harness.worker.wait().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
    assert_eq!((report.given_back, report.failed), (4, 0));
    assert_eq!(broker.with(|state| state.ready.len()), 8);
}

#[tokio::test(start_paused = true)]
async fn a_softer_order_after_a_harder_one_changes_nothing() {
    let (harness, _running) = busy().await;
    harness.worker.shutdown(Shutdown::Cold);
    harness.worker.shutdown(Shutdown::Warm);
    let start = Instant::now();
    harness.worker.wait().await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_dropped_worker_stops_cold() {
    let (harness, _running) = busy().await;
    drop(harness.worker);
    let ready = harness
        .broker
        .until(|state| state.closed.then_some(state.ready.len()))
        .await;
    assert_eq!(ready, 8);
}

#[tokio::test(start_paused = true)]
async fn a_silent_broker_does_not_keep_a_worker_beyond_its_grace() {
    let harness = Harness::new().await;
    harness.push("plain", 1);
    let playing = harness.stage.start().await;
    harness
        .broker
        .with(|state| state.failure = Some(Failure::Silent));
    playing.returns("1");
    let start = Instant::now();
    harness.worker.shutdown(Shutdown::Warm);
    let report = harness.worker.wait().await.unwrap();
    assert!(
        start.elapsed() <= Duration::from_secs(27),
        "{:?}",
        start.elapsed()
    );
    assert_eq!(report.unsettled, 1);
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_their_rate_limit_go_back_too() {
    let harness = Harness::new().await;
    let limited = harness.push("limited", 3);
    let playing = harness.stage.start().await;
    harness.worker.shutdown(Shutdown::Warm);
    for tag in &limited[1..] {
        assert_eq!(harness.broker.settled(*tag).await.verdict, GIVEN_BACK);
    }
    playing.returns("1");
    harness.worker.wait().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_idle_worker_stops_by_itself_if_asked_to_once_its_queues_are_empty() {
    let harness = Harness::with(2, |settings| {
        settings.stop_when_idle = Some(Duration::from_secs(2));
    })
    .await;
    let start = Instant::now();
    let tag = harness.push("plain", 1)[0];
    let playing = harness.stage.start().await;
    tokio::time::sleep(Duration::from_secs(10)).await;
    playing.fails(TaskError::lost("signal 9"));
    harness.broker.settled(tag).await;
    // Now it is delayed, and the worker waits for it.
    tokio::time::sleep(Duration::from_secs(10)).await;
    harness.broker.with(|state| {
        let delayed = std::mem::take(&mut state.delayed);
        state.ready.extend(delayed);
    });
    harness.stage.start().await.returns("1");
    let report = harness.worker.wait().await.unwrap();
    assert_eq!(report.succeeded, 1);
    let took = start.elapsed();
    assert!(
        took >= Duration::from_secs(22) && took < Duration::from_secs(25),
        "{took:?}"
    );
}
