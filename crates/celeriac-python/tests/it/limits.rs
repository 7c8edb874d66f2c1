//! Time limits, and calls that are terminated.

use std::time::Duration;

use celeriac_core::outcome::ErrorKind;
use celeriac_core::runtime::End;
use celeriac_core::{Limits, TaskError};
use serde_json::json;

use crate::stage::{Stage, lives};

const SOON: Duration = Duration::from_millis(50);

#[tokio::test]
async fn a_soft_limit_reaches_the_task() {
    let mut stage = Stage::new(1).await;
    let gate = stage.gate("gate");
    let limits = Limits {
        soft: Some(SOON),
        hard: None,
    };
    let (tag, _) = stage.call_with(json!(["gate", gate.path()]), limits);
    stage.started(tag).await;
    let conclusion = stage.ended().await.1.unwrap();
    assert_eq!(conclusion.end, End::Failed);
    assert_eq!(conclusion.told.text.as_deref(), Some("SoftLimit()"));
    assert_eq!(conclusion.told.traceback.as_deref(), Some("there"));
}

#[tokio::test]
async fn a_hard_limit_ends_a_child_that_ignores_everything() {
    let mut stage = Stage::new(1).await;
    let gate = stage.gate("gate");
    let limits = Limits {
        soft: Some(SOON),
        hard: Some(2 * SOON),
    };
    let pid = stage.value(json!(["pid"])).await;
    let (tag, _) = stage.call_with(json!(["stubborn", gate.path()]), limits);
    stage.started(tag).await;
    assert_eq!(
        stage.ended().await,
        (tag, Err(TaskError::time_limit(2 * SOON)))
    );
    let next = stage.value(json!(["pid"])).await;
    assert_ne!(next, pid);
    assert!(stage.nothing_said());
}

#[tokio::test]
async fn a_limit_that_is_not_reached_does_nothing() {
    let mut stage = Stage::new(1).await;
    let limits = Limits {
        soft: Some(SOON),
        hard: Some(SOON),
    };
    let pid = stage.value(json!(["pid"])).await;
    for _ in 0..3 {
        let (tag, _) = stage.call_with(json!(["ignore"]), limits);
        let (ended, conclusion) = stage.ended().await;
        assert_eq!((ended, conclusion.unwrap().end), (tag, End::Ignored));
    }
    let gate = stage.gate("gate");
    let (tag, _) = stage.call_with(
        json!(["gate", gate.path()]),
        Limits {
            hard: None,
            ..limits
        },
    );
    assert_eq!(stage.ended().await.0, tag);
    assert_eq!(stage.value(json!(["pid"])).await, pid);
}

#[tokio::test]
async fn a_call_that_is_terminated_gets_the_signal() {
    let mut stage = Stage::new(1).await;
    let gate = stage.gate("gate");
    let running = stage.call(json!(["gate", gate.path()]));
    stage.started(running).await;
    let waiting = stage.call(json!(["ignore"]));
    stage
        .pool
        .terminate(&format!("call-{waiting}").as_str().into(), 15);
    assert_eq!(stage.ended().await, (waiting, Err(TaskError::cancelled())));
    stage
        .pool
        .terminate(&format!("call-{running}").as_str().into(), 15);
    let (tag, conclusion) = stage.ended().await;
    let error = conclusion.unwrap_err();
    assert_eq!((tag, error.kind()), (running, ErrorKind::Cancelled));
    assert_eq!(error.as_raised().unwrap().arguments, ["SIGTERM"]);
    assert_eq!(stage.value(json!(["echo", 1])).await, 1);
}

#[tokio::test]
async fn a_hard_limit_ends_what_the_task_has_started_though_it_ignores_the_request() {
    let mut stage = Stage::new(1).await;
    let path = |name: &str| stage.folder.path().join(name).to_str().unwrap().to_owned();
    let (draft, path) = (path("draft"), path("pid"));
    let limits = Limits {
        soft: None,
        hard: Some(Duration::from_secs(1)),
    };
    let (tag, _) = stage.call_with(json!(["family", draft, path]), limits);
    stage.started(tag).await;
    assert!(stage.ended().await.1.is_err());
    // Another child runs this one, so the first has been buried.
    stage.value(json!(["pid"])).await;
    let pid = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let begun = std::time::Instant::now();
    while lives(pid) {
        assert!(begun.elapsed() < Duration::from_secs(60), "it lives on");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
