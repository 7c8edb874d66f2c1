//! How a pool ends.

use celeriac_core::outcome::ErrorKind;
use celeriac_core::{Executor, ShutdownMode};
use serde_json::{Map, json};

use crate::stage::{Said, Stage, descendants};

/// How many processes there are; one is the fork server.
fn processes() -> usize {
    descendants(std::process::id()).len()
}

#[tokio::test]
async fn a_shutdown_that_waits_runs_everything() {
    let mut stage = Stage::new(2).await;
    let gate = stage.gate("gate");
    let running = stage.call(json!(["gate", gate.path()]));
    stage.started(running).await;
    for _ in 0..50 {
        stage.call(json!(["ignore"]));
    }
    {
        let shutdown = stage.pool.shutdown(ShutdownMode::Wait);
        gate.open();
        shutdown.await;
    }
    for _ in 0..51 {
        stage.ended().await.1.unwrap();
    }
    assert_eq!(processes(), 1);
    let late = stage.call(json!(["ignore"]));
    let (tag, conclusion) = stage.ended().await;
    assert_eq!(
        (tag, conclusion.unwrap_err().kind()),
        (late, ErrorKind::Shutdown)
    );
    // What follows from the end of the worker can still be told.
    stage.pool.lifecycle("shutdown", Map::new()).await.unwrap();
    assert_eq!(processes(), 2);
    stage.pool.close().await;
    assert_eq!(processes(), 0);
}

#[tokio::test]
async fn a_shutdown_that_cancels_gives_back_what_has_not_begun() {
    let mut stage = Stage::new(1).await;
    for _ in 0..20 {
        stage.value(json!(["echo", 1])).await;
    }
    let gate = stage.gate("gate");
    let running = stage.call(json!(["gate", gate.path()]));
    for _ in 0..50 {
        stage.call(json!(["ignore"]));
    }
    stage.started(running).await;
    let shutdown = stage.pool.shutdown(ShutdownMode::CancelQueued);
    let shutdown = async {
        shutdown.await;
    };
    // Who is asked afterwards answers when it has been heard.
    stage.pool.control("echo", json!(1)).await.unwrap();
    gate.open();
    shutdown.await;
    let mut refused = 0;
    for _ in 0..51 {
        let (tag, conclusion) = stage.ended().await;
        match conclusion {
            Ok(_) => assert_eq!(tag, running),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Shutdown);
                refused += 1;
            }
        }
    }
    assert_eq!(refused, 50);
    // The fork server, and the service that was asked.
    assert_eq!(processes(), 2);
}

#[tokio::test]
async fn a_shutdown_that_kills_ends_what_runs() {
    let mut stage = Stage::new(1).await;
    let gate = stage.gate("gate");
    let running = stage.call(json!(["stubborn", gate.path()]));
    stage.started(running).await;
    let waiting = stage.call(json!(["ignore"]));
    // A second call with a harder mode overtakes the first.
    let patient = stage.pool.shutdown(ShutdownMode::Wait);
    stage.pool.shutdown(ShutdownMode::Kill).await;
    patient.await;
    for _ in 0..2 {
        let (tag, conclusion) = stage.ended().await;
        assert!([running, waiting].contains(&tag));
        assert_eq!(conclusion.unwrap_err().kind(), ErrorKind::Shutdown);
    }
    stage.pool.close().await;
    assert_eq!(processes(), 0);
}

#[tokio::test]
async fn a_pool_that_is_dropped_leaves_nothing() {
    let mut stage = Stage::new(3).await;
    let gate = stage.gate("gate");
    let running = stage.call(json!(["stubborn", gate.path()]));
    stage.started(running).await;
    stage.pool.control("echo", json!(1)).await.unwrap();
    assert_eq!(processes(), 5);
    drop(stage.pool);
    assert_eq!(processes(), 0);
}

#[tokio::test]
async fn an_idle_pool_can_be_closed_at_once() {
    let mut stage = Stage::new(2).await;
    let tag = stage.call(json!(["echo", 1]));
    assert!(matches!(stage.next().await, (started, Said::Started) if started == tag));
    stage.pool.close().await;
    assert_eq!(processes(), 0);
}
