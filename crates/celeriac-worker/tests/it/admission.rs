//! What is run, what is refused and what waits.

use std::time::Duration;

use celeriac_core::{
    Broker as _, CallOptions, DeadReason, ErrorKind, Interrupt, ResultState, Verdict,
};
use tokio::time::Instant;

use crate::harness::{Harness, message, message_with};

#[tokio::test(start_paused = true)]
async fn a_call_runs_and_its_value_is_stored_and_acked() {
    let harness = Harness::new().await;
    let tag = harness.push("plain", 1)[0];
    harness.stage.start().await.returns("42");
    let settlement = harness.broker.settled(tag).await;
    assert_eq!(settlement.verdict, Verdict::Ack);
    let result = settlement.result.unwrap();
    assert_eq!(result.state, ResultState::Success);
    assert_eq!(&result.value.unwrap().bytes[..], b"42");
    assert_eq!(
        harness.heard.words(),
        [
            "received plain",
            "started plain",
            "finished plain Succeeded Some(1s)"
        ]
    );
}

#[tokio::test(start_paused = true)]
async fn an_expired_call_is_not_run() {
    let harness = Harness::new().await;
    let options = CallOptions {
        expires: Some(Duration::ZERO),
        ..CallOptions::default()
    };
    let tag = harness.broker.push(message_with("plain", &options));
    let settlement = harness.broker.settled(tag).await;
    let result = settlement.result.unwrap();
    assert_eq!(result.state, ResultState::Revoked);
    assert_eq!(result.error.unwrap().kind(), ErrorKind::Expired);
    assert_eq!(harness.stage.queued(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_task_is_dead_with_its_bytes_and_fails_for_its_sender() {
    let harness = Harness::new().await;
    let tag = harness.push("nobody.knows", 1)[0];
    let settlement = harness.broker.settled(tag).await;
    assert!(matches!(
        &settlement.verdict,
        Verdict::Dead(DeadReason::Unregistered, why) if why.contains("nobody.knows")
    ));
    let result = settlement.result.unwrap();
    assert_eq!(result.state, ResultState::Failure);
    assert!(
        result
            .error
            .unwrap()
            .message()
            .contains("registered: early")
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_revoked_in_its_queue_is_not_run() {
    let harness = Harness::new().await;
    harness.broker.with(|state| state.failure = None);
    let tag = harness.broker.push(message("plain"));
    harness.broker.with(|state| {
        for delivery in &mut state.ready {
            delivery.revoked = true;
        }
    });
    let result = harness.broker.settled(tag).await.result.unwrap();
    assert_eq!(result.state, ResultState::Revoked);
    assert_eq!(result.error.unwrap().kind(), ErrorKind::Cancelled);
}

#[tokio::test(start_paused = true)]
async fn revoking_a_running_call_interrupts_it() {
    let harness = Harness::new().await;
    harness.push("plain", 2);
    let first = harness.stage.start().await;
    let second = harness.stage.start().await;
    harness
        .broker
        .revoke(std::slice::from_ref(&second.0.id))
        .await
        .unwrap();
    assert_eq!(
        second.0.control.wait_interrupted().await,
        Interrupt::Cancelled
    );
    assert_eq!(first.0.control.interrupted(), None);
}

#[tokio::test(start_paused = true)]
async fn limits_are_the_messages_or_else_the_tasks() {
    let harness = Harness::new().await;
    let options = CallOptions {
        time_limit: Some(Duration::from_secs(3)),
        ..CallOptions::default()
    };
    harness.broker.push(message_with("plain", &options));
    let limits = harness.stage.start().await.0.limits;
    assert_eq!(limits.hard, Some(Duration::from_secs(3)));
    assert_eq!(limits.soft, Some(Duration::from_secs(7)));
}

#[tokio::test(start_paused = true)]
async fn a_rate_limited_task_waits_and_does_not_hold_up_others() {
    let harness = Harness::new().await;
    let start = Instant::now();
    let limited = harness.push("limited", 3);
    harness.push("plain", 1);
    let names: Vec<_> = [harness.stage.start().await, harness.stage.start().await]
        .iter()
        .map(|playing| playing.0.task.name)
        .collect();
    assert_eq!(
        (names, start.elapsed()),
        (vec!["limited", "plain"], Duration::ZERO)
    );

    for second in [0.5, 1.0] {
        let playing = harness.stage.start().await;
        assert_eq!(playing.0.task.name, "limited");
        let late = start.elapsed().as_secs_f64() - second;
        assert!((0.0..0.01).contains(&late), "{late}");
        playing.returns("1");
    }
    harness.broker.settled(limited[2]).await;
}

#[tokio::test(start_paused = true)]
async fn what_a_rate_limit_holds_up_for_long_goes_back_to_its_queue_uncounted() {
    let harness = Harness::new().await;
    let limited = harness.push("limited", 4);
    let verdict = harness.broker.settled(limited[3]).await.verdict;
    assert!(matches!(
        verdict,
        Verdict::Requeue {
            eta: Some(_),
            counted: false
        }
    ));
}

#[tokio::test(start_paused = true)]
async fn a_call_revoked_while_its_rate_limit_holds_it_is_settled_at_once() {
    let harness = Harness::new().await;
    let start = Instant::now();
    let limited = harness.push("limited", 2);
    let first = harness.stage.start().await;
    let second = harness
        .broker
        .until(|state| state.held.get(&limited[1]).cloned())
        .await;
    harness
        .broker
        .revoke(&[second.message.headers.id])
        .await
        .unwrap();
    let result = harness.broker.settled(limited[1]).await.result.unwrap();
    assert_eq!(result.state, ResultState::Revoked);
    assert!(start.elapsed() < Duration::from_millis(500));
    assert_eq!(first.0.control.interrupted(), None);
}
