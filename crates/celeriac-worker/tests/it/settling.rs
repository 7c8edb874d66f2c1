//! Outcomes on their way to the store.

use std::time::Duration;

use celeriac_core::{
    ContentType, DeadReason, ErrorKind, Payload, Progress, ResultState, TaskError, TaskId, Verdict,
};
use celeriac_worker::Shutdown;
use serde_json::json;
use tokio::time::Instant;

use crate::broker::Failure;
use crate::harness::{Harness, message};

#[tokio::test(start_paused = true)]
async fn a_failure_is_sent_again_under_its_id_and_the_observer_hears_of_it() {
    let harness = Harness::new().await;
    let tag = harness.push("retried", 1)[0];
    let playing = harness.stage.start().await;
    playing.fails(TaskError::failed("E", "busy"));
    let settlement = harness.broker.settled(tag).await;
    assert_eq!(settlement.verdict, Verdict::Ack);
    assert_eq!(settlement.result.unwrap().state, ResultState::Retry);
    let again = harness.broker.with(|state| state.published[0].clone());
    assert_eq!(
        (again.headers.id, again.headers.retries),
        (playing.0.id.clone(), 1)
    );
    assert_eq!(
        harness.heard.words().last().unwrap(),
        "retried retried failed"
    );
    assert_eq!(harness.worker.report().retried, 1);
}

#[tokio::test(start_paused = true)]
async fn headers_and_stamps_go_along_when_a_failure_is_sent_again() {
    let harness = Harness::new().await;
    let mut sent = message("retried");
    for (name, value) in [
        ("traceparent", json!("00-ab-cd-01")),
        ("nested", json!({"a": [1, null, "žluťoučký"]})),
        ("stamped_headers", json!(["customer"])),
        ("stamps", json!({"customer": ["c42"]})),
    ] {
        sent.headers.extra.insert(name.to_owned(), value);
    }
    let extra = sent.headers.extra.clone();
    let tag = harness.broker.push(sent);
    let playing = harness.stage.start().await;
    playing.fails(TaskError::failed("E", "busy"));
    harness.broker.settled(tag).await;
    let again = harness.broker.with(|state| state.published[0].clone());
    assert_eq!((again.headers.retries, again.headers.extra), (1, extra));
}

#[tokio::test(start_paused = true)]
async fn an_executor_that_drops_a_call_costs_a_delivery_and_not_the_message() {
    let harness = Harness::new().await;
    let tag = harness.push("plain", 1)[0];
    harness
        .broker
        .until(|state| state.held.first_key_value().map(|_| ()))
        .await;
    while harness.stage.queued() == 0 {
        tokio::task::yield_now().await;
    }
    harness.stage.lose_one();
    let verdict = harness.broker.settled(tag).await.verdict;
    assert!(matches!(
        verdict,
        Verdict::Requeue {
            eta: Some(_),
            counted: true
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn the_last_allowed_delivery_ends_among_the_dead() {
    let harness = Harness::with(2, |settings| {
        settings.delivery_limit = 1.try_into().unwrap();
    })
    .await;
    let tag = harness.push("plain", 1)[0];
    harness
        .stage
        .start()
        .await
        .fails(TaskError::lost("signal 9"));
    let settlement = harness.broker.settled(tag).await;
    assert_eq!(
        settlement.verdict,
        Verdict::Dead(DeadReason::DeliveryLimit, "signal 9".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn outcomes_outlive_a_broker_that_is_away_and_nothing_is_fetched_meanwhile() {
    let harness = Harness::new().await;
    let tags = harness.push("plain", 2);
    let (first, second) = (harness.stage.start().await, harness.stage.start().await);
    harness
        .broker
        .with(|state| state.failure = Some(Failure::Away));
    first.returns("1");
    second.returns("2");
    harness
        .broker
        .until(|state| (state.failed >= 5).then_some(()))
        .await;
    assert!(!harness.worker.report().ready);
    let fetches = harness.broker.with(|state| state.credits.len());
    assert!(fetches <= 2, "{fetches}");

    let healed = Instant::now();
    harness.broker.with(|state| state.failure = None);
    for tag in tags {
        harness.broker.settled(tag).await;
    }
    assert!(healed.elapsed() <= Duration::from_secs(5));
    let more = harness.push("plain", 1)[0];
    harness.stage.start().await.returns("3");
    harness.broker.settled(more).await;
    assert!(harness.worker.report().ready);
}

/// What follows a call that is acknowledged already is published apart from any settlement.
#[tokio::test(start_paused = true)]
async fn what_follows_is_published_once_though_the_broker_confirms_it_in_parts() {
    let harness = Harness::new().await;
    let told: Vec<String> = (0..9).map(|n| format!("told-{n}")).collect();
    let callback = |id: &String| json!({"task": "plain", "options": {"task_id": id}});
    let callbacks: Vec<_> = told.iter().map(callback).collect();
    let mut message = message("early");
    let body = json!([[], {}, { "callbacks": callbacks }]);
    message.body = Payload::encode(ContentType::Json, &body).unwrap();
    let tag = harness.broker.push(message);
    let playing = harness.stage.start().await;
    assert_eq!(harness.broker.settled(tag).await.verdict, Verdict::Ack);

    harness
        .broker
        .with(|state| state.failure = Some(Failure::Halves));
    playing.returns("1");
    // One stays, for it is the first of those that are left each time.
    harness
        .broker
        .until(|state| (state.published.len() + 1 == told.len()).then_some(()))
        .await;
    assert!(!harness.worker.report().ready);
    harness.broker.with(|state| state.failure = None);
    harness.worker.shutdown(Shutdown::Warm);
    let report = harness.worker.wait().await.unwrap();
    assert_eq!(report.unsettled, 0);
    let published = harness
        .broker
        .with(|state| std::mem::take(&mut state.published));
    let mut ids: Vec<_> = published
        .iter()
        .map(|message| message.headers.id.to_string())
        .collect();
    ids.sort();
    assert_eq!(ids, told);
}

#[tokio::test(start_paused = true)]
async fn fetching_goes_on_after_the_broker_was_away() {
    let harness = Harness::with(1, |_| {}).await;
    harness
        .broker
        .with(|state| state.failure = Some(Failure::Away));
    // The waiting fetch brings this one, the next one fails.
    harness.push("plain", 1);
    harness
        .broker
        .until(|state| (state.failed >= 3).then_some(()))
        .await;
    harness.broker.with(|state| state.failure = None);
    let tag = harness.push("plain", 1)[0];
    harness.stage.start().await.returns("1");
    harness.stage.start().await.returns("1");
    harness.broker.settled(tag).await;
}

#[tokio::test(start_paused = true)]
async fn a_lost_lease_is_counted_and_changes_nothing() {
    let harness = Harness::new().await;
    harness.broker.with(|state| state.lost.insert(1));
    let tags = harness.push("plain", 2);
    harness.stage.start().await.returns("1");
    harness.stage.start().await.returns("2");
    harness.broker.settled(tags[1]).await;
    harness.worker.shutdown(Shutdown::Warm);
    let report = harness.worker.wait().await.unwrap();
    assert_eq!((report.lease_lost, report.unsettled), (1, 0));
    assert_eq!(harness.broker.with(|state| state.results.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn one_settlement_the_store_refuses_does_not_hold_up_the_others() {
    let harness = Harness::with(4, |_| {}).await;
    harness
        .broker
        .with(|state| state.failure = Some(Failure::Refuses("retried")));
    let plain = harness.push("plain", 2);
    harness.push("retried", 1);
    for _ in 0..3 {
        harness.stage.start().await.returns("1");
    }
    for tag in plain {
        harness.broker.settled(tag).await;
    }
    harness.worker.shutdown(Shutdown::Warm);
    let report = harness.worker.wait().await.unwrap();
    assert_eq!(report.unsettled, 1);
    assert_eq!(
        harness.broker.with(|state| state.ready.len()),
        1,
        "it comes again"
    );
}

#[tokio::test(start_paused = true)]
async fn a_value_that_the_store_refuses_is_a_failure_for_who_waits() {
    let harness = Harness::new().await;
    harness
        .broker
        .with(|state| state.failure = Some(Failure::RefusesValues));
    let tags = harness.push("plain", 2);
    for _ in &tags {
        harness.stage.start().await.returns("1");
    }
    for tag in tags {
        let settlement = harness.broker.settled(tag).await;
        assert_eq!(settlement.verdict, Verdict::Ack);
        let result = settlement.result.unwrap();
        assert_eq!(result.state, ResultState::Failure);
        let error = result.error.unwrap();
        assert_eq!(error.kind(), ErrorKind::BadResult);
        assert!(error.message().contains("over the limit"), "{error}");
    }
    harness.worker.shutdown(Shutdown::Warm);
    assert_eq!(harness.worker.wait().await.unwrap().unsettled, 0);
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_cannot_be_used_any_more_ends_the_worker() {
    let harness = Harness::new().await;
    harness.push("plain", 1);
    let playing = harness.stage.start().await;
    harness
        .broker
        .with(|state| state.failure = Some(Failure::Corrupt));
    playing.returns("1");
    let error = harness.worker.wait().await.unwrap_err();
    assert!(error.to_string().contains("a page is torn"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn progress_is_stored_at_most_ten_times_a_second_and_the_newest_wins() {
    let harness = Harness::new().await;
    harness.push("plain", 1);
    let playing = harness.stage.start().await;
    let start = Instant::now();
    for done in 0..1000 {
        let progress = Progress {
            done,
            total: 1000,
            message: String::new(),
        };
        playing.0.control.report(progress);
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    let last = |state: &mut crate::broker::State| {
        let states = state
            .results
            .iter()
            .filter_map(|result| match &result.state {
                ResultState::Progress(progress) => Some(progress.done),
                _ => None,
            });
        let dones: Vec<_> = states.collect();
        (dones.last() == Some(&999)).then_some(dones)
    };
    let dones = harness.broker.until(last).await;
    assert!(dones.len() <= 12, "{dones:?}");
    assert!(dones.len() >= 5, "{dones:?}");
    assert!(start.elapsed() < Duration::from_millis(1200));
}

#[tokio::test(start_paused = true)]
async fn a_start_is_stored_only_if_asked_for() {
    for (track, states) in [(true, 2), (false, 1)] {
        let harness = Harness::with(1, |settings| settings.track_started = track).await;
        let tag = harness.push("plain", 1)[0];
        harness.stage.start().await.returns("1");
        harness.broker.settled(tag).await;
        let results = harness.broker.with(|state| state.results.clone());
        assert_eq!(results.len(), states);
        assert_eq!(results[0].state == ResultState::Started, track);
    }
}

#[tokio::test(start_paused = true)]
async fn a_result_over_the_limit_is_an_error_and_not_stored() {
    let harness = Harness::new().await;
    let tag = harness.push("plain", 1)[0];
    let huge = "1".repeat(17 * 1024 * 1024);
    harness.stage.start().await.returns(&huge);
    let result = harness.broker.settled(tag).await.result.unwrap();
    assert_eq!(result.error.unwrap().kind(), ErrorKind::BadResult);
    assert!(result.value.is_none());
}

#[tokio::test(start_paused = true)]
async fn two_deliveries_of_one_id_are_both_settled() {
    let harness = Harness::new().await;
    let mut message = message("plain");
    message.headers.id = TaskId::from("twice");
    let tags = [
        harness.broker.push(message.clone()),
        harness.broker.push(message),
    ];
    harness.stage.start().await.returns("1");
    harness.stage.start().await.returns("2");
    for tag in tags {
        harness.broker.settled(tag).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_message_that_comes_back_while_it_still_runs_is_run_once_and_settled() {
    let harness = Harness::with(4, |_| {}).await;
    let tag = harness.push("plain", 1)[0];
    let playing = harness.stage.start().await;
    // The lease lapses and the message is claimed again, by this very worker.
    harness.broker.with(|state| {
        let mut delivery = state.held.remove(&tag).unwrap();
        delivery.deliveries += 1;
        state.ready.push_back(delivery);
    });
    harness
        .broker
        .until(|state| state.held.get(&tag).map(|_| ()))
        .await;
    let next = harness.push("plain", 1)[0];
    harness.stage.start().await.returns("2");
    harness.broker.settled(next).await;
    assert_eq!(harness.stage.queued(), 0);

    playing.returns("1");
    assert_eq!(harness.broker.settled(tag).await.verdict, Verdict::Ack);
    assert_eq!(harness.worker.report().received, 3);
}
