//! Children with many calls at once.

use std::time::Duration;

use celeriac_core::outcome::ErrorKind;
use celeriac_core::runtime::End;
use celeriac_core::{Interrupt, Limits, TaskError};
use celeriac_python::{PoolKind, PoolSettings};
use serde_json::json;

use crate::stage::{Stage, count};

const SOON: Duration = Duration::from_millis(50);

async fn stage() -> Stage {
    let settings = PoolSettings {
        kind: PoolKind::Coroutines,
        slots: count(10),
        ..PoolSettings::prefork(count(1))
    };
    Stage::with(settings, json!({})).await
}

#[tokio::test]
async fn a_child_runs_as_many_calls_as_it_has_slots() {
    let mut stage = stage().await;
    let gates: Vec<_> = (0..11).map(|n| stage.gate(&format!("gate-{n}"))).collect();
    let tags: Vec<_> = gates
        .iter()
        .map(|gate| stage.call(json!(["wait", gate.path()])))
        .collect();
    for &tag in &tags[..10] {
        stage.started(tag).await;
    }
    assert!(stage.nothing_said());
    gates[4].open();
    assert_eq!(stage.ended().await.0, tags[4]);
    stage.started(tags[10]).await;
    for n in [10, 0, 9] {
        gates[n].open();
        assert_eq!(stage.ended().await.0, tags[n]);
    }
}

#[tokio::test]
async fn a_revoked_coroutine_is_cancelled_and_its_neighbour_is_not() {
    let mut stage = stage().await;
    let (gate, beside) = (stage.gate("gate"), stage.gate("beside"));
    let neighbour = stage.call(json!(["wait", beside.path()]));
    let (tag, control) = stage.call_with(json!(["wait", gate.path()]), Limits::NONE);
    stage.started(neighbour).await;
    stage.started(tag).await;
    control.interrupt(Interrupt::Cancelled);
    assert_eq!(stage.ended().await, (tag, Err(TaskError::cancelled())));
    beside.open();
    let (tag, conclusion) = stage.ended().await;
    assert_eq!((tag, conclusion.unwrap().end), (neighbour, End::Succeeded));
}

#[tokio::test]
async fn each_coroutine_has_its_own_limits() {
    let mut stage = stage().await;
    let (gate, beside) = (stage.gate("gate"), stage.gate("beside"));
    let neighbour = stage.call(json!(["wait", beside.path()]));
    stage.started(neighbour).await;
    let soft = Limits {
        soft: Some(SOON),
        hard: None,
    };
    let (tag, _) = stage.call_with(json!(["wait", gate.path()]), soft);
    let (ended, conclusion) = stage.ended().await;
    assert_eq!((ended, conclusion.unwrap().end), (tag, End::Failed));
    let hard = Limits {
        soft: None,
        hard: Some(SOON),
    };
    let (tag, _) = stage.call_with(json!(["wait", gate.path()]), hard);
    assert_eq!(stage.ended().await, (tag, Err(TaskError::time_limit(SOON))));
    beside.open();
    let (tag, conclusion) = stage.ended().await;
    assert_eq!((tag, conclusion.unwrap().end), (neighbour, End::Succeeded));
}

#[tokio::test]
async fn a_coroutine_that_does_not_end_at_its_hard_limit_costs_its_child() {
    let mut stage = stage().await;
    let (gate, beside) = (stage.gate("gate"), stage.gate("beside"));
    let neighbour = stage.call(json!(["wait", beside.path()]));
    stage.started(neighbour).await;
    let hard = Limits {
        soft: None,
        hard: Some(SOON),
    };
    let (tag, _) = stage.call_with(json!(["deaf", gate.path()]), hard);
    assert_eq!(stage.ended().await, (tag, Err(TaskError::time_limit(SOON))));
    let (ended, conclusion) = stage.ended().await;
    let error = conclusion.unwrap_err();
    assert_eq!((ended, error.kind()), (neighbour, ErrorKind::Lost));
    assert!(error.message().contains("hard time limit"), "{error}");
}

#[tokio::test]
async fn an_order_is_not_held_up_by_calls_that_wait_for_room() {
    let mut stage = stage().await;
    // The pool learns that these calls are short, so that they are sent ahead.
    for _ in 0..100 {
        stage.call(json!(["quick"]));
    }
    for _ in 0..100 {
        stage.ended().await.1.unwrap();
    }
    let gates: Vec<_> = (0..10).map(|n| stage.gate(&format!("gate-{n}"))).collect();
    let soft = Limits {
        soft: Some(SOON),
        hard: None,
    };
    let (limited, _) = stage.call_with(json!(["wait", gates[0].path()]), soft);
    for gate in &gates[1..] {
        stage.call(json!(["wait", gate.path()]));
    }
    let ahead = stage.call(json!(["quick"]));
    let (tag, conclusion) = stage.ended().await;
    assert_eq!((tag, conclusion.unwrap().end), (limited, End::Failed));
    assert_eq!(stage.ended().await.0, ahead);
}
