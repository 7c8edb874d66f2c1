//! Calls whose tasks belong to another program's runtime.

use std::time::Duration;

use celeriac_core::{
    Broker as _, CallOptions, Conclusion, DeadReason, End, ErrorKind, ResultState, TaskError,
    Verdict, Work,
};
use celeriac_worker::Shutdown;

use crate::harness::{Harness, message, message_with};
use crate::troupe::{conclusion, result};

const GIVEN_BACK: Verdict = Verdict::Requeue {
    eta: None,
    counted: false,
};

async fn harness() -> Harness {
    Harness::for_runtime(2, |_| {}).await
}

/// What is stored, by state, each with the number of settlements before it.
fn stored(harness: &Harness) -> Vec<(String, usize)> {
    let short = |(result, settled): &(celeriac_core::EncodedResult, usize)| {
        (result.state.clone(), *settled)
    };
    harness
        .broker
        .with(|state| state.encoded.iter().map(short).collect())
}

fn is_delivered_again(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Requeue {
            eta: Some(_),
            counted: true
        }
    )
}

#[tokio::test(start_paused = true)]
async fn it_gets_the_message_whole_and_its_result_is_stored_before_the_ack() {
    let harness = harness().await;
    let tag = harness.push("celery.late", 1)[0];
    let playing = harness.stage.start().await;
    assert!(matches!(&playing.0.work, Work::Message(delivery) if delivery.tag == tag));
    assert_eq!(harness.troupe.received(), [tag]);

    playing.0.reply.stored(result(&playing.0.id, "STARTED"));
    playing.concludes(End::Succeeded);
    let settlement = harness.broker.settled(tag).await;
    assert_eq!(settlement.verdict, Verdict::Ack);
    assert!(settlement.result.is_none() && settlement.follow_ups.is_empty());
    let expected = ["STARTED", "SUCCESS"].map(|state| (state.to_owned(), 0));
    assert_eq!(stored(&harness), expected);
    assert_eq!(
        harness.heard.words(),
        [
            "received celery.late",
            "started celery.late",
            "concluded celery.late Succeeded",
            "finished celery.late Succeeded Some(1s)",
        ]
    );
    assert_eq!(harness.worker.report().succeeded, 1);
}

#[tokio::test(start_paused = true)]
async fn every_end_has_its_verdict() {
    let harness = Harness::for_runtime(1, |_| {}).await;
    let dead = |what: &str| Verdict::Dead(DeadReason::Rejected, what.to_owned());
    for (task, end, verdict) in [
        ("celery.late", End::Succeeded, Verdict::Ack),
        ("celery.late", End::Failed, Verdict::Ack),
        ("celery.late", End::Retried, Verdict::Ack),
        ("celery.late", End::Ignored, Verdict::Ack),
        ("celery.strict", End::Failed, dead("it failed")),
        (
            "celery.late",
            End::Rejected { requeue: false },
            dead("its task rejected the message"),
        ),
    ] {
        let tag = harness.push(task, 1)[0];
        harness.stage.start().await.concludes(end);
        let settled = harness.broker.settled(tag).await;
        assert_eq!(settled.verdict, verdict, "{task} {end:?}");
    }
    let tag = harness.push("celery.late", 1)[0];
    let playing = harness.stage.start().await;
    playing.concludes(End::Rejected { requeue: true });
    let settled = harness.broker.settled(tag).await;
    assert!(is_delivered_again(&settled.verdict), "{settled:?}");
    let report = harness.worker.report();
    assert_eq!(
        (
            report.succeeded,
            report.failed,
            report.retried,
            report.given_back
        ),
        (2, 3, 1, 1)
    );
}

#[tokio::test(start_paused = true)]
async fn with_early_ack_it_is_settled_when_it_starts_and_never_again() {
    let harness = harness().await;
    let tag = harness.push("celery.early", 1)[0];
    let playing = harness.stage.start().await;
    assert_eq!(harness.broker.settled(tag).await.verdict, Verdict::Ack);
    assert_eq!(stored(&harness), []);
    playing.concludes(End::Rejected { requeue: true });

    let next = harness.push("celery.early", 1)[0];
    let playing = harness.stage.start().await;
    harness.broker.settled(next).await;
    playing.concludes(End::Failed);
    let waited = harness.broker.until(|state| state.encoded.first().cloned());
    assert_eq!(waited.await.0.state, "FAILURE");
    harness.worker.shutdown(Shutdown::Warm);
    let report = harness.worker.wait().await.unwrap();
    assert_eq!((report.lease_lost, report.unsettled), (0, 0));
    assert_eq!(harness.broker.with(|state| state.settled.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn with_early_ack_what_has_not_started_is_not_acknowledged() {
    let harness = Harness::for_runtime(1, |_| {}).await;
    let tags = harness.push("celery.early", 2);
    let playing = harness.stage.start().await;
    harness.broker.settled(tags[0]).await;
    harness.worker.shutdown(Shutdown::Warm);
    assert_eq!(harness.broker.settled(tags[1]).await.verdict, GIVEN_BACK);
    playing.concludes(End::Succeeded);
    harness.worker.wait().await.unwrap();
    assert_eq!(harness.broker.with(|state| state.ready.len()), 1);
}

/// The next call starts, and its child is killed.
async fn dies(harness: &Harness, reason: &'static str) {
    let playing = harness.stage.start().await;
    playing.fails(TaskError::lost(reason));
}

#[tokio::test(start_paused = true)]
async fn a_lost_child_is_told_and_acked_or_delivered_again_as_the_task_says() {
    let harness = harness().await;
    let tag = harness.push("celery.late", 1)[0];
    dies(&harness, "signal 9").await;
    let asked = harness.troupe.asked().await;
    assert_eq!(
        (asked.delivery.tag, asked.error.kind()),
        (tag, ErrorKind::Lost)
    );
    assert!(harness.broker.with(|state| state.settled.is_empty()));
    asked.tell();
    assert_eq!(harness.broker.settled(tag).await.verdict, Verdict::Ack);
    assert_eq!(stored(&harness), [("FAILURE".to_owned(), 0)]);
    let words = harness.heard.words();
    assert_eq!(words[2], "concluded celery.late Failed");
    assert_eq!(words[3], "finished celery.late Failed(Lost) None");

    let tag = harness.push("celery.strict", 1)[0];
    dies(&harness, "signal 9").await;
    let asked = harness.troupe.asked().await;
    assert!(asked.comes_again);
    asked.reply.concluded(Conclusion {
        results: Vec::new(),
        ..conclusion(&asked.delivery.message.headers.id, End::Failed)
    });
    let settled = harness.broker.settled(tag).await;
    assert!(is_delivered_again(&settled.verdict), "{settled:?}");
}

#[tokio::test(start_paused = true)]
async fn a_lost_child_whose_call_had_ended_after_all_is_acknowledged() {
    for (task, end, state) in [
        ("celery.late", End::Succeeded, "SUCCESS"),
        ("celery.strict", End::Succeeded, "SUCCESS"),
        ("celery.strict", End::Retried, "RETRY"),
    ] {
        let harness = harness().await;
        let tag = harness.push(task, 1)[0];
        dies(&harness, "signal 9").await;
        harness.troupe.asked().await.tell_that(end);
        assert_eq!(harness.broker.settled(tag).await.verdict, Verdict::Ack);
        assert_eq!(stored(&harness), [(state.to_owned(), 0)]);
        let report = harness.worker.report();
        assert_eq!((report.failed, report.given_back), (0, 0), "{task} {end:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_child_that_the_runtime_cannot_tell_of_is_delivered_again_all_the_same() {
    let harness = harness().await;
    let tag = harness.push("celery.strict", 1)[0];
    dies(&harness, "signal 9").await;
    let asked = harness.troupe.asked().await;
    asked.fail(TaskError::new(ErrorKind::Failed, "no service"));
    let settled = harness.broker.settled(tag).await;
    assert!(is_delivered_again(&settled.verdict), "{settled:?}");
    assert!(settled.result.is_none() && stored(&harness).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_child_of_an_acknowledged_call_is_only_told() {
    let harness = harness().await;
    let tag = harness.push("celery.early", 1)[0];
    let playing = harness.stage.start().await;
    harness.broker.settled(tag).await;
    playing.fails(TaskError::lost("signal 9"));
    harness.troupe.asked().await.tell();
    harness
        .broker
        .until(|state| (!state.encoded.is_empty()).then_some(()))
        .await;
    assert_eq!(harness.broker.with(|state| state.settled.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn the_last_allowed_delivery_is_told_and_dies_with_its_reason() {
    let limit = |settings: &mut celeriac_worker::WorkerSettings| {
        settings.delivery_limit = 1.try_into().unwrap();
    };
    let harness = Harness::for_runtime(2, limit).await;
    let tag = harness.push("celery.strict", 1)[0];
    dies(&harness, "signal 9").await;
    harness.troupe.asked().await.tell();
    let verdict = harness.broker.settled(tag).await.verdict;
    let dead = Verdict::Dead(DeadReason::DeliveryLimit, "signal 9".to_owned());
    assert_eq!(verdict, dead);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_start_is_told_and_settled() {
    let harness = harness().await;
    let revoked = harness.broker.push(message("celery.early"));
    harness.broker.with(|state| state.ready[0].revoked = true);
    let asked = harness.troupe.asked().await;
    assert_eq!(asked.error.kind(), ErrorKind::Cancelled);
    asked.tell();
    assert_eq!(harness.broker.settled(revoked).await.verdict, Verdict::Ack);

    let expired = CallOptions {
        expires: Some(Duration::ZERO),
        ..CallOptions::default()
    };
    let expired = harness.broker.push(message_with("celery.late", &expired));
    let asked = harness.troupe.asked().await;
    assert_eq!(asked.error.kind(), ErrorKind::Expired);
    asked.tell();
    assert_eq!(harness.broker.settled(expired).await.verdict, Verdict::Ack);

    let unknown = harness.broker.push(message("nobodys"));
    let asked = harness.troupe.asked().await;
    assert_eq!(asked.error.kind(), ErrorKind::Unregistered);
    asked.tell();
    let verdict = harness.broker.settled(unknown).await.verdict;
    assert!(matches!(
        verdict,
        Verdict::Dead(DeadReason::Unregistered, _)
    ));
    assert!(
        harness.troupe.received().is_empty(),
        "none of them was admitted"
    );
    assert_eq!(harness.worker.report().revoked, 2);
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_is_told_even_if_the_call_is_delivered_again() {
    let harness = harness().await;
    let over = || TaskError::new(ErrorKind::TimeLimit, "1 s");
    let tag = harness.push("celery.late", 1)[0];
    harness.stage.start().await.fails(over());
    harness.troupe.asked().await.tell();
    assert_eq!(harness.broker.settled(tag).await.verdict, Verdict::Ack);

    let tag = harness.push("celery.strict", 1)[0];
    harness.stage.start().await.fails(over());
    harness.troupe.asked().await.tell();
    let settled = harness.broker.settled(tag).await;
    assert!(is_delivered_again(&settled.verdict), "{settled:?}");
    let failed = ("FAILURE".to_owned(), 1);
    assert_eq!(stored(&harness).last(), Some(&failed));
}

#[tokio::test(start_paused = true)]
async fn what_the_runtime_cannot_tell_is_told_in_our_words() {
    let harness = harness().await;
    let tag = harness.push("celery.late", 1)[0];
    dies(&harness, "signal 9").await;
    let asked = harness.troupe.asked().await;
    asked.fail(TaskError::lost("it died"));
    assert_eq!(harness.broker.settled(tag).await.verdict, Verdict::Ack);
    let result = harness.broker.with(|state| state.results[0].clone());
    assert_eq!(result.state, ResultState::Failure);
    assert_eq!(result.error.unwrap().message(), "signal 9");

    // One that drops the question has not answered it either.
    let tag = harness.push("celery.late", 1)[0];
    dies(&harness, "signal 11").await;
    drop(harness.troupe.asked().await);
    harness.broker.settled(tag).await;
    assert_eq!(harness.broker.with(|state| state.results.len()), 2);
}

#[tokio::test(start_paused = true)]
async fn an_end_that_is_not_told_before_the_worker_stops_is_left_to_the_next_one() {
    let harness = harness().await;
    let tag = harness.push("celery.late", 1)[0];
    dies(&harness, "signal 9").await;
    let asked = harness.troupe.asked().await;
    harness.worker.shutdown(Shutdown::Warm);
    asked.fail(TaskError::shutdown());
    assert_eq!(harness.broker.settled(tag).await.verdict, GIVEN_BACK);
    harness.worker.wait().await.unwrap();
    assert!(harness.broker.with(|state| state.results.is_empty()));
}

#[tokio::test(start_paused = true)]
async fn a_warm_shutdown_waits_for_what_is_being_told() {
    let harness = harness().await;
    let tag = harness.push("celery.late", 1)[0];
    dies(&harness, "signal 9").await;
    let asked = harness.troupe.asked().await;
    harness.worker.shutdown(Shutdown::Warm);
    tokio::time::sleep(Duration::from_secs(5)).await;
    asked.tell();
    assert_eq!(harness.broker.settled(tag).await.verdict, Verdict::Ack);
    let report = harness.worker.wait().await.unwrap();
    assert_eq!((report.failed, report.given_back), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_cold_shutdown_gives_back_what_is_not_acked_and_fails_what_is() {
    let harness = Harness::for_runtime(3, |_| {}).await;
    let early = harness.push("celery.early", 1)[0];
    let late = harness.push("celery.late", 2);
    let _running = [harness.stage.start().await, harness.stage.start().await];
    harness.broker.settled(early).await;
    dies(&harness, "signal 9").await;
    let _untold = harness.troupe.asked().await;
    harness.worker.shutdown(Shutdown::Cold);
    let broker = harness.broker.clone();
    let report = harness.worker.wait().await.unwrap();
    assert_eq!(report.failed, 1);
    broker.with(|state| {
        let mut back: Vec<_> = state.ready.iter().map(|delivery| delivery.tag).collect();
        back.sort_unstable();
        assert_eq!(back, late);
        let kinds: Vec<_> = state
            .results
            .iter()
            .map(|it| it.error.as_ref().unwrap().kind())
            .collect();
        assert_eq!(kinds, [ErrorKind::Lost]);
    });
}

#[tokio::test(start_paused = true)]
async fn one_that_is_revoked_while_it_waits_its_turn_is_told() {
    let harness = Harness::for_runtime(2, |_| {}).await;
    harness.push("limited", 1);
    let first = harness.stage.start().await;
    let waiting = message("limited");
    let id = waiting.headers.id.clone();
    let tag = harness.broker.push(waiting);
    harness
        .broker
        .until(|state| state.held.contains_key(&tag).then_some(()))
        .await;
    harness.broker.revoke(&[id]).await.unwrap();
    let asked = harness.troupe.asked().await;
    assert_eq!(asked.error.kind(), ErrorKind::Cancelled);
    asked.tell();
    assert_eq!(harness.broker.settled(tag).await.verdict, Verdict::Ack);
    first.concludes(End::Succeeded);
}
