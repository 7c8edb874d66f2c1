//! How much is fetched ahead.

use std::time::Duration;

use crate::harness::Harness;

#[tokio::test(start_paused = true)]
async fn long_tasks_are_held_once_per_slot_and_once_ahead() {
    let harness = Harness::with(3, |_| {}).await;
    harness.push("plain", 100);
    let held = |harness: &Harness| harness.broker.with(|state| state.held.len());
    let running = harness.stage.start().await;
    harness
        .broker
        .until(|state| (state.held.len() >= 6).then_some(()))
        .await;
    running.returns_after("1", Duration::from_secs(60));
    for _ in 0..20 {
        harness
            .stage
            .start()
            .await
            .returns_after("1", Duration::from_secs(60));
        assert!(held(&harness) <= 6);
    }
}

#[tokio::test(start_paused = true)]
async fn tiny_tasks_are_fetched_and_settled_in_batches() {
    let harness = Harness::with(2, |_| {}).await;
    let tags = harness.push("plain", 5000);
    for _ in 0..5000 {
        harness
            .stage
            .start()
            .await
            .returns_after("1", Duration::from_micros(20));
    }
    harness
        .broker
        .until(|state| (state.settled.len() == tags.len()).then_some(()))
        .await;
    let (fetches, batches) = harness
        .broker
        .with(|state| (state.credits.clone(), state.batches.len()));
    assert!(fetches.iter().any(|credit| *credit >= 1000), "{fetches:?}");
    assert!(batches < 1000, "{batches}");
}
