//! Tasks that are acknowledged when they start.

use celeriac_core::{ErrorKind, ResultState, TaskError, Verdict};
use celeriac_worker::Shutdown;

use crate::harness::Harness;

#[tokio::test(start_paused = true)]
async fn it_is_acked_at_its_start_and_only_its_result_follows() {
    let harness = Harness::new().await;
    let tag = harness.push("early", 1)[0];
    let playing = harness.stage.start().await;
    let settlement = harness.broker.settled(tag).await;
    assert_eq!(settlement.verdict, Verdict::Ack);
    assert!(settlement.result.is_none());

    playing.returns("1");
    let result = harness
        .broker
        .until(|state| state.results.last().cloned())
        .await;
    assert_eq!(result.state, ResultState::Success);
    assert_eq!(harness.broker.with(|state| state.settled.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_not_delivered_again_when_its_child_dies() {
    let harness = Harness::new().await;
    harness.push("early", 1);
    harness
        .stage
        .start()
        .await
        .fails(TaskError::lost("signal 9"));
    let result = harness
        .broker
        .until(|state| state.results.last().cloned())
        .await;
    assert_eq!(result.state, ResultState::Failure);
    assert_eq!(result.error.unwrap().message(), "signal 9");
    assert!(
        harness
            .broker
            .with(|state| state.ready.is_empty() && state.published.is_empty())
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_had_not_started_survives_a_shutdown() {
    let harness = Harness::with(1, |_| {}).await;
    let tags = harness.push("early", 2);
    let running = harness.stage.start().await;
    harness
        .broker
        .until(|state| (state.held.len() == 1).then_some(()))
        .await;
    harness.worker.shutdown(Shutdown::Warm);
    let verdict = harness.broker.settled(tags[1]).await.verdict;
    assert_eq!(
        verdict,
        Verdict::Requeue {
            eta: None,
            counted: false
        }
    );
    running.returns("1");
    harness.worker.wait().await.unwrap();
    assert_eq!(harness.broker.with(|state| state.ready.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn one_killed_at_shutdown_fails_for_its_sender() {
    let harness = Harness::new().await;
    let tag = harness.push("early", 1)[0];
    let _running = harness.stage.start().await;
    harness.broker.settled(tag).await;
    harness.worker.shutdown(Shutdown::Cold);
    harness.worker.wait().await.unwrap();
    let result = harness
        .broker
        .with(|state| state.results.last().cloned())
        .unwrap();
    assert_eq!(result.state, ResultState::Failure);
    assert_eq!(result.error.unwrap().kind(), ErrorKind::Lost);
}

#[tokio::test(start_paused = true)]
async fn one_that_another_worker_has_too_leaves_no_result() {
    let harness = Harness::new().await;
    harness.broker.with(|state| state.lost.insert(1));
    harness.push("early", 1);
    let playing = harness.stage.start().await;
    harness
        .broker
        .until(|state| state.batches.first().copied())
        .await;
    playing.returns("1");
    harness.worker.shutdown(Shutdown::Warm);
    let report = harness.worker.wait().await.unwrap();
    assert_eq!(report.lease_lost, 1);
    assert!(harness.broker.with(|state| state.results.is_empty()));
}
